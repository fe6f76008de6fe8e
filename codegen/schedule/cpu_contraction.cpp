// CPU schedules with a register tile: dot, direct convolution, depthwise convolution.
#include "codegen/schedule/schedules.h"
#include "codegen/tiles.h"

#include <algorithm>

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

// A panel that does not fit the first-level cache would come from the second for every tile. So all
// tiles of a task take some steps of their sums while as many rows of the panel stay in the first,
// and keep the sums in memory meanwhile.
void schedule_depth_blocks(Anchor& a, Func& out, const Var& task, const KernelSpec& spec,
                           int lanes) {
  const Var &channel = a.vars[0], &x = a.vars[1];
  Var part("part"), xt("sums_xt"), xi("sums_xi");
  Halide::RVar outer("outer"), step("step");
  Halide::Stage sum = a.func.update();
  sum.split(a.domain[0], outer, step, spec.depth_block, TailStrategy::GuardWithIf);
  Func block = sum.rfactor(outer, part);
  a.func.compute_at(out, task).vectorize(channel, lanes).unroll(channel);
  sum = a.func.update();
  sum.split(x, xt, xi, spec.rows, TailStrategy::RoundUp)
      .reorder({channel, xi, xt, outer})
      .vectorize(channel, lanes)
      .unroll(channel)
      .unroll(xi);
  block.compute_at(a.func, xt).vectorize(channel, lanes).unroll(channel).unroll(x);
  block.update().reorder({channel, x, step}).vectorize(channel, lanes).unroll(channel).unroll(x);
  if (spec.depth_multiple > 1)
    block.update().unroll(step, std::min(spec.depth_multiple, kDepthUnroll));
}

}  // namespace

// One tile is `rows` output positions by `vectors` vectors of channels, held in registers while the
// reduction runs: per step `vectors` loads of weights, `rows` broadcasts, rows * vectors
// multiply-adds. Tiles shift inwards at the end of a row of positions, so a row has at least `rows`
// of them (the caller picks a smaller tile otherwise).
void schedule_contraction(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes;
  const int panel = lanes * spec.vectors;
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const Var& channel = c.vars[0];
  const Var& x = c.vars[1];
  Var ko("ko"), ki("ki"), xt("xt"), xi("xi"), yo("yo"), yi("yi"), xo("xo");
  const TailStrategy panel_tail = spec.tail == PanelTail::whole    ? TailStrategy::RoundUp
                                  : spec.tail == PanelTail::padded ? TailStrategy::Predicate
                                                                   : TailStrategy::ShiftInwards;
  if (spec.tail == PanelTail::whole) {
    auto dim = out.output_buffers()[0].dim(0);
    dim.set_extent((dim.extent() / panel) * panel);
  }
  out.split(channel, ko, ki, panel, panel_tail);
  const TailStrategy row_tail =
      spec.guarded_rows ? TailStrategy::GuardWithIf : TailStrategy::ShiftInwards;
  if (spec.rows > 1) out.split(x, xt, xi, spec.rows, row_tail);
  else out.split(x, xt, xi, 1);
  std::vector<VarOrRVar> order = {ki, xi};
  std::vector<VarOrRVar> tasks;
  const bool spatial = a.node->is("conv") && c.vars.size() > 3;
  if (spatial) {
    // A task is one panel of weights over a few rows of the image.
    out.split(c.vars[2], yo, yi, image_rows_per_task(*a.node), TailStrategy::GuardWithIf);
    order.insert(order.end(), {xt, yi, ko, yo});
    tasks = {ko, yo};
  } else {
    // A task is one panel over several tiles; panels vary fastest, so that the positions of a chunk
    // are read from cache for every panel after the first. Where there are chunks, an even number
    // of equal ones lets two threads keep to one half of the positions in all layers.
    const Expr tiles = (out.output_buffers()[0].dim(1).extent() + spec.rows - 1) / spec.rows;
    const Expr chunks = Halide::max(2 * ((tiles + kTaskTiles / 2 - 1) / (2 * kTaskTiles)), 1);
    out.split(xt, xo, xt, (tiles + chunks - 1) / chunks, TailStrategy::GuardWithIf);
    order.insert(order.end(), {xt, ko, xo});
    tasks = {ko, xo};
    if (c.vars.size() > 2) {
      order.emplace_back(c.vars[2]);
      tasks.emplace_back(c.vars[2]);
    }
  }
  for (size_t d = 3; d < c.vars.size(); ++d) {
    order.emplace_back(c.vars[d]);
    tasks.emplace_back(c.vars[d]);
  }
  out.reorder(order).vectorize(ki, lanes).unroll(ki).unroll(xi);
  const VarOrRVar task = parallel_over(out, tasks);
  if (spec.tail == PanelTail::padded) a.func.bound_extent(a.vars[0], panel);
  if (spec.depth_block > 0) return schedule_depth_blocks(a, out, task.var, spec, lanes);
  if (spec.guarded_rows) a.func.bound_extent(a.vars[1], spec.rows);
  a.func.compute_at(out, xt).vectorize(a.vars[0], lanes).unroll(a.vars[0]).unroll(a.vars[1]);
  std::vector<VarOrRVar> inner = {a.vars[0], a.vars[1]};
  for (const Halide::RVar& r : a.func.rvars()) inner.emplace_back(r);  // none for a depth of 1
  Halide::Stage update = a.func.update();
  update.reorder(inner).vectorize(a.vars[0], lanes).unroll(a.vars[0]).unroll(a.vars[1]);
  if (spec.depth_multiple > 1)
    update.unroll(a.domain[0], std::min(spec.depth_multiple, kDepthUnroll));
}

// One vector of channels times `rows` positions: every tap is one load of weights and one
// multiply-add per position.
void schedule_depthwise(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes;
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const Var& channel = c.vars[0];
  const Var& x = c.vars[1];
  Var block("block"), lane("lane"), xt("xt"), xi("xi");
  const TailStrategy tail = channel_tail(c, spec, lanes);
  const TailStrategy inner_tail = tail == TailStrategy::Predicate ? tail : TailStrategy::Auto;
  out.split(channel, block, lane, lanes, tail).vectorize(lane);
  out.split(x, xt, xi, spec.rows, spec.rows > 1 ? TailStrategy::ShiftInwards : TailStrategy::Auto)
      .reorder(lane, xi, block, xt)
      .unroll(xi);
  a.func.compute_at(out, block).vectorize(a.vars[0], lanes, inner_tail).unroll(a.vars[1]);
  Halide::Stage update = a.func.update();
  update.vectorize(a.vars[0], lanes, inner_tail).unroll(a.vars[1]);
  int taps = 1;
  for (int64_t k : a.node->attrs().integers("window")) taps *= static_cast<int>(k);
  std::vector<VarOrRVar> inner = {a.vars[0], a.vars[1]};
  const std::vector<Halide::RVar> domain = a.func.rvars();
  inner.insert(inner.end(), domain.begin(), domain.end());
  update.reorder(inner);
  if (taps <= 25)
    for (size_t d = 1; d < domain.size(); ++d) update.unroll(domain[d]);
  std::vector<VarOrRVar> tasks;
  for (size_t d = 2; d < c.vars.size(); ++d) tasks.emplace_back(c.vars[d]);
  if (tasks.empty()) tasks.emplace_back(xt);
  parallel_over(out, tasks);
}

}  // namespace tintype
