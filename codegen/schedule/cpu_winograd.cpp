// CPU schedules of the Winograd transforms: vectors of channels, everything about a tile unrolled.
// Halide makes several registers of a vector that is wider than one.
#include "codegen/schedule/schedules.h"
#include "codegen/tiles.h"

#include <algorithm>
#include <utility>

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

/// The stage along H, kept for one vector of channels of one tile.
void keep_rows(Func& rows, Func& out, const Var& block, int lanes) {
  const auto args = rows.args();
  rows.compute_at(out, block).vectorize(args[0], lanes).unroll(args[1]).unroll(args[2]);
}

/// Output elements of a tile along H and W.
std::pair<int, int> tile_extents(const Node& node) {
  const auto m = static_cast<int>(node.attrs().integer("m"));
  const auto window = node.attrs().integers("window");
  return {window[0] > 1 ? m : 1, window[1] > 1 ? m : 1};
}

/// Loops of an image that is made tile by tile, a vector of channels of each at a time: returns the
/// loops over vectors and over lines of tiles.
std::pair<Var, Var> schedule_tiles(Composition& c, const KernelSpec& spec, const Machine& machine,
                                   const Var& tx) {
  const int lanes = machine.lanes;
  Func& out = c.outputs[0];  // C, W, H, N
  const auto [mh, mw] = tile_extents(*c.anchors.at(0).node);
  Var block("block"), lane("lane"), ty("ty"), xi("xi"), yi("yi");
  out.split(c.vars[0], block, lane, lanes, channel_tail(c, spec, lanes))
      .split(c.vars[1], tx, xi, mw, TailStrategy::GuardWithIf)
      .split(c.vars[2], ty, yi, mh, TailStrategy::GuardWithIf)
      .reorder(lane, xi, yi, block, tx, ty, c.vars[3])
      .vectorize(lane)
      .unroll(xi)
      .unroll(yi);
  return {block, ty};
}

/// Both stages of the output transform, kept for one vector of channels of one tile.
void keep_tile(Func& tile, Func& rows, Func& out, const Var& block, const Node& node, int lanes) {
  const auto [mh, mw] = tile_extents(node);
  const auto args = tile.args();
  tile.compute_at(out, block).vectorize(args[0], lanes).unroll(args[1]).unroll(args[2]);
  tile.bound(args[1], 0, mw).bound(args[2], 0, mh);
  keep_rows(rows, out, block, lanes);
}

}  // namespace

void schedule_winograd_points(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes * spec.vectors;
  Func& out = c.outputs[0];  // C, TW, TH, N, point; or lane, C, panel, point
  const Var& point = c.vars.back();
  const Node& node = *c.anchors.at(0).node;
  Var block("block"), lane("lane"), chunk("chunk"), row("row");
  out.bound(point, 0, static_cast<int>(node.result()->shape()[0].value()));
  const bool weights = node.op().has(kPrepack);
  if (weights)
    out.output_buffer().dim(0).set_extent(static_cast<int>(node.attrs().integer("block")));
  out.split(c.vars[0], block, lane, lanes,
            weights ? TailStrategy::RoundUp : channel_tail(c, spec, lanes));
  std::vector<VarOrRVar> order = {lane, point, block};
  std::vector<VarOrRVar> tasks;
  if (spec.rows > 1) {
    // The channels, not the filters, are neighbours in memory: a square of both is read by lines of
    // memory and kept.
    out.split(c.vars[1], chunk, row, spec.rows, TailStrategy::RoundUp);
    order = {lane, point, row, block, chunk, c.vars[2]};
    tasks = {chunk, c.vars[2]};
    Func& taps = c.stages.at(1);
    const auto args = taps.args();
    taps.compute_at(out, block).reorder(args[1], args[0]).vectorize(args[1], machine.lanes);
  } else if (!weights) {
    order.insert(order.end(), {c.vars[1], c.vars[2], c.vars[3]});
    tasks = {c.vars[2], c.vars[3]};
  } else {  // one channel is too little work for a task
    out.split(c.vars[1], chunk, row, 16, TailStrategy::GuardWithIf);
    order.insert(order.end(), {row, chunk, c.vars[2]});
    tasks = {chunk, c.vars[2]};
  }
  out.reorder(order).vectorize(lane).unroll(point);
  keep_rows(c.stages.at(0), out, spec.rows > 1 ? row : block, lanes);
  parallel_over(out, tasks);
}

void schedule_winograd_output(Composition& c, const KernelSpec& spec, const Machine& machine) {
  Var tx("tx");
  Func& out = c.outputs[0];
  const auto [block, ty] = schedule_tiles(c, spec, machine, tx);
  keep_tile(c.stages.at(1), c.stages.at(0), out, block, *c.anchors.at(0).node, machine.lanes);
  parallel_over(out, {ty, c.vars[3]});
}

// A task is a run of tiles along a line of the image: all their points, then a product per point,
// whose panels of weights stay in the first-level cache for the run, then their part of the image.
void schedule_winograd_conv(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes;
  const int panel = lanes * spec.vectors;
  Func& out = c.outputs[0];  // F, W, H, N
  const Node& node = *c.anchors.at(0).node;
  Func &input_rows = c.stages.at(0), &points = c.stages.at(1), &sums = c.stages.at(2),
       &products = c.stages.at(3), &output_rows = c.stages.at(4), &tile = c.stages.at(5);
  const int count = static_cast<int>(node.operand(1)->shape()[0].value());
  Var run("run"), tx("tx");
  const auto [block, ty] = schedule_tiles(c, spec, machine, tx);
  out.split(tx, run, tx, spec.run, TailStrategy::ShiftInwards);
  const Var task = parallel_over(out, {run, ty, c.vars[3]}).var;
  keep_tile(tile, output_rows, out, block, node, lanes);

  const auto p = points.args();  // C, TW, TH, N, point
  Var part("part"), lane("lane");
  points.compute_at(out, task)
      .bound(p[0], 0, spec.channels)
      .bound(p[4], 0, count)
      .split(p[0], part, lane, lanes, TailStrategy::ShiftInwards)
      .reorder(lane, p[4], part, p[1], p[2], p[3])
      .vectorize(lane)
      .unroll(p[4]);
  keep_rows(input_rows, points, part, lanes);

  const auto f = products.args();  // F, TW, TH, N, point
  Var ko("ko"), ki("ki"), xt("xt"), xi("xi");
  products.compute_at(out, task)
      .bound(f[0], 0, (spec.filters + panel - 1) / panel * panel)
      .bound(f[4], 0, count)
      .split(f[0], ko, ki, panel, TailStrategy::RoundUp)
      .split(f[1], xt, xi, spec.rows, TailStrategy::RoundUp)
      .reorder(ki, xi, xt, ko, f[4], f[2], f[3])
      .vectorize(ki, lanes)
      .unroll(ki)
      .unroll(xi);
  const auto s = sums.args();
  sums.compute_at(products, xt).vectorize(s[0], lanes).unroll(s[0]).unroll(s[1]);
  const Halide::RVar depth = sums.rvars()[0];
  sums.update()
      .reorder(s[0], s[1], depth)
      .vectorize(s[0], lanes)
      .unroll(s[0])
      .unroll(s[1])
      .unroll(depth, std::min(spec.depth_multiple, kDepthUnroll));
}

void schedule_winograd_weight_adjoint(Composition& c, const KernelSpec& spec,
                                      const Machine& machine) {
  const int lanes = machine.lanes;
  Func& out = c.outputs[0];  // F, C, W, H
  const auto window = c.anchors.at(0).node->attrs().integers("window");
  Var block("block"), lane("lane"), chunk("chunk"), row("row");
  out.bound(c.vars[2], 0, static_cast<int>(window[1]))
      .bound(c.vars[3], 0, static_cast<int>(window[0]))
      .split(c.vars[0], block, lane, lanes, channel_tail(c, spec, lanes))
      .split(c.vars[1], chunk, row, 8, TailStrategy::GuardWithIf)
      .reorder(lane, c.vars[2], c.vars[3], block, row, chunk)
      .vectorize(lane)
      .unroll(c.vars[2])
      .unroll(c.vars[3])
      .parallel(chunk);
  keep_rows(c.stages.at(0), out, block, lanes);
}

}  // namespace tintype
