// CPU schedules of the Winograd transforms: vectors of channels, everything about a tile unrolled.
// Halide makes several registers of a vector that is wider than one.
#include "codegen/schedule/schedules.h"

#include <algorithm>

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
  if (!weights) {
    order.insert(order.end(), {c.vars[1], c.vars[2], c.vars[3]});
    tasks = {c.vars[2], c.vars[3]};
  } else {  // one channel is too little work for a task
    out.split(c.vars[1], chunk, row, 16, TailStrategy::GuardWithIf);
    order.insert(order.end(), {row, chunk, c.vars[2]});
    tasks = {chunk, c.vars[2]};
  }
  out.reorder(order).vectorize(lane).unroll(point);
  keep_rows(c.stages.at(0), out, block, lanes);
  parallel_over(out, tasks);
}

void schedule_winograd_output(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes;
  Func& out = c.outputs[0];  // C, W, H, N
  const int64_t m = c.anchors.at(0).node->attrs().integer("m");
  const auto window = c.anchors[0].node->attrs().integers("window");
  const int mh = window[0] > 1 ? static_cast<int>(m) : 1;
  const int mw = window[1] > 1 ? static_cast<int>(m) : 1;
  Var block("block"), lane("lane"), tx("tx"), ty("ty"), xi("xi"), yi("yi");
  out.split(c.vars[0], block, lane, lanes, channel_tail(c, spec, lanes))
      .split(c.vars[1], tx, xi, mw, TailStrategy::GuardWithIf)
      .split(c.vars[2], ty, yi, mh, TailStrategy::GuardWithIf)
      .reorder(lane, xi, yi, block, tx, ty, c.vars[3])
      .vectorize(lane)
      .unroll(xi)
      .unroll(yi);
  Func& tile = c.stages.at(1);
  const auto args = tile.args();
  tile.compute_at(out, block).vectorize(args[0], lanes).unroll(args[1]).unroll(args[2]);
  tile.bound(args[1], 0, mw).bound(args[2], 0, mh);
  keep_rows(c.stages.at(0), out, block, lanes);
  parallel_over(out, {ty, c.vars[3]});
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
