// CPU schedules of sums that go to computed places, and of the gradients of windows.
#include "codegen/schedule/schedules.h"

#include <algorithm>

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

struct VectorTask {
  VarOrRVar task;      ///< the parallel loop
  int lanes;           ///< of its vector
  TailStrategy inner;  ///< of what is computed for it
};

/// A task is one vector of the innermost axis for one index of the outermost.
VectorTask vector_per_task(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = vector_lanes(spec, machine);
  Func& out = c.outputs[0];
  const TailStrategy tail = channel_tail(c, spec, lanes);
  Var block("block"), lane("lane");
  out.split(c.vars[0], block, lane, lanes, tail).vectorize(lane);
  std::vector<VarOrRVar> order = {lane};
  for (size_t d = 1; d + 1 < c.vars.size(); ++d) order.emplace_back(c.vars[d]);
  order.insert(order.end(), {block, c.vars.back()});
  out.reorder(order);
  return {parallel_over(out, {block, c.vars.back()}), lanes,
          tail == TailStrategy::Predicate ? tail : TailStrategy::Auto};
}

}  // namespace

// A task owns one vector of the innermost axis for one index of the outermost: no two tasks, and no
// two lanes, add to the same element, and the order of additions is that of the updates.
void schedule_scatter(Composition& c, const KernelSpec& spec, const Machine& machine) {
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const auto [task, lanes, inner] = vector_per_task(c, spec, machine);
  a.func.compute_at(out, task.var).vectorize(a.vars[0], lanes, inner);
  Var chunk("chunk"), part("part");
  std::vector<VarOrRVar> update = {part};
  for (const Halide::RVar& r : a.func.rvars()) update.emplace_back(r);
  update.emplace_back(chunk);
  a.func.update().split(a.vars[0], chunk, part, lanes, inner).reorder(update).vectorize(part);
}

// A task finds the largest taps of the windows that reach some lines of an image, then every place
// adds up the windows that chose it. Lines are read and written as they lie, all channels at once.
void schedule_window_max_gradient(Composition& c, const KernelSpec& spec, const Machine& machine) {
  constexpr int kLines = 8, kUnrolledTaps = 25;
  const int lanes = vector_lanes(spec, machine);
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const TailStrategy tail = channel_tail(c, spec, lanes);
  const TailStrategy inner = tail == TailStrategy::Predicate ? tail : TailStrategy::Auto;
  Var block("block"), lane("lane"), part("part"), line("line");
  const Var &lines = c.vars[c.vars.size() - 2], &image = c.vars.back();
  out.split(c.vars[0], block, lane, lanes, tail)
      .vectorize(lane)
      .split(lines, part, line, kLines, TailStrategy::GuardWithIf);
  std::vector<VarOrRVar> order = {lane, block};
  for (size_t d = 1; d + 2 < c.vars.size(); ++d) order.emplace_back(c.vars[d]);
  order.insert(order.end(), {line, part, image});
  out.reorder(order);
  const VarOrRVar task = parallel_over(out, {part, image});
  a.func.compute_at(out, block).vectorize(a.vars[0], lanes, inner);
  Halide::Stage sum = a.func.update();
  sum.vectorize(a.vars[0], lanes, inner);
  for (const Halide::RVar& r : a.func.rvars()) sum.unroll(r);
  int64_t taps = 1;
  for (const int64_t k : a.node->attrs().integers("window")) taps *= k;
  for (Func& f : c.stages) {
    const Var channel = f.args()[0];
    f.compute_at(out, task.var).vectorize(channel, lanes, inner);
    f.update().vectorize(channel, lanes, inner);
    if (taps <= kUnrolledTaps)
      for (const Halide::RVar& r : f.rvars()) f.update().unroll(r);
  }
}

namespace {

/// Neighbouring taps of a line of the window whose sums fit the registers together: every task
/// reads all of dy, so that few tasks for a line are better than many.
int taps_at_once(const Anchor& a, const KernelSpec& spec, const Machine& machine) {
  const auto line = static_cast<int>(a.node->attrs().integers("window").back());
  const int sums = machine.broadcasts ? 24 : 12;
  const int most = std::clamp(sums / (spec.rows * spec.vectors), 1, line);
  const int tasks = (line + most - 1) / most;
  return (line + tasks - 1) / tasks;
}

}  // namespace

// A tile of `rows` channels by `vectors` vectors of filters stays in registers while the windows
// run by: per window `vectors` loads of dy, `rows` broadcasts of x, rows * vectors multiply-adds.
void schedule_weight_gradient(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = vector_lanes(spec, machine);
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const Var& filter = c.vars[0];
  const Var& channel = c.vars[1];
  Var block("block"), lane("lane"), tile("tile"), row("row");
  const bool masked = spec.tail == PanelTail::masked;
  const int panel = lanes * spec.vectors;
  const TailStrategy tail = spec.tail == PanelTail::whole     ? TailStrategy::RoundUp
                            : spec.tail == PanelTail::shifted ? TailStrategy::ShiftInwards
                                                              : TailStrategy::Predicate;
  if (spec.tail == PanelTail::whole) {
    auto dim = out.output_buffers()[0].dim(0);
    dim.set_extent((dim.extent() / panel) * panel);
  }
  out.split(filter, block, lane, panel, tail);
  if (spec.rows > 1) out.split(channel, tile, row, spec.rows, TailStrategy::ShiftInwards);
  else out.split(channel, tile, row, 1);
  // With few channels the taps of a line of the window fill the registers instead.
  const int taps = c.vars.size() > 2 ? taps_at_once(a, spec, machine) : 1;
  const bool by_line = taps > 1;
  Var part("part"), tap("tap");
  std::vector<VarOrRVar> order = {lane, row};
  std::vector<VarOrRVar> tasks = {tile, block};
  if (by_line) order.emplace_back(tap);
  order.insert(order.end(), {tile, block});
  if (by_line) {
    const auto line = static_cast<int>(a.node->attrs().integers("window").back());
    out.bound(c.vars[2], 0, line)
        .split(c.vars[2], part, tap, taps, TailStrategy::ShiftInwards)
        .unroll(tap);
    order.emplace_back(part);
    tasks.emplace_back(part);
  }
  for (size_t d = by_line ? 3 : 2; d < c.vars.size(); ++d) {
    order.emplace_back(c.vars[d]);
    tasks.emplace_back(c.vars[d]);
  }
  out.reorder(order).vectorize(lane, lanes).unroll(row);
  const VarOrRVar task = parallel_over(out, tasks);
  const TailStrategy inner = masked ? TailStrategy::Predicate : TailStrategy::Auto;
  if (spec.tail == PanelTail::padded) a.func.bound_extent(a.vars[0], panel);
  a.func.compute_at(out, task.var).vectorize(a.vars[0], lanes, inner).unroll(a.vars[1]);
  std::vector<VarOrRVar> update = {a.vars[0], a.vars[1]};
  if (by_line) update.emplace_back(a.vars[2]);
  for (const Halide::RVar& r : a.func.rvars()) update.emplace_back(r);
  Halide::Stage sum = a.func.update();
  sum.reorder(update).vectorize(a.vars[0], lanes, inner).unroll(a.vars[1]);
  if (by_line) {
    a.func.unroll(a.vars[2]);
    sum.unroll(a.vars[2]);
  }
  if (!masked) {
    a.func.unroll(a.vars[0]);
    sum.unroll(a.vars[0]);
  }
}

}  // namespace tintype
