// CPU schedules without a register tile: elementwise, windows, rows, and what all share.
#include "codegen/schedule/schedules.h"
#include "ir/diagnostic.h"

#include <algorithm>

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

/// Loops as written. What scatters is computed once: by default every result element would compute
/// all of it again.
void schedule_reference(Composition& c) {
  if (c.added != nullptr) {
    compute_updates_at_root(c.outputs);
    return;
  }
  for (Anchor& a : c.anchors)
    if (a.node->op().has(kKernel)) a.func.compute_root();
}

}  // namespace

void schedule(Composition& c, const KernelSpec& spec, const Machine& machine) {
  if (spec.cuda) return schedule_cuda(c, spec);
  switch (spec.schedule) {
    case ScheduleKind::reference: return schedule_reference(c);
    case ScheduleKind::elementwise: return schedule_elementwise(c, spec, machine);
    case ScheduleKind::contraction: return schedule_contraction(c, spec, machine);
    case ScheduleKind::amx: return schedule_amx(c, spec, machine);
    case ScheduleKind::attention: return schedule_attention(c, spec, machine);
    case ScheduleKind::cell: return schedule_cell(c, spec, machine);
    case ScheduleKind::depthwise: return schedule_depthwise(c, spec, machine);
    case ScheduleKind::window: return schedule_window(c, spec, machine);
    case ScheduleKind::pack: return schedule_pack(c, spec, machine);
    case ScheduleKind::rows: return schedule_rows(c, spec, machine);
    case ScheduleKind::scatter: return schedule_scatter(c, spec, machine);
    case ScheduleKind::window_max_gradient: return schedule_window_max_gradient(c, spec, machine);
    case ScheduleKind::weight_gradient: return schedule_weight_gradient(c, spec, machine);
    case ScheduleKind::winograd_points: return schedule_winograd_points(c, spec, machine);
    case ScheduleKind::winograd_output: return schedule_winograd_output(c, spec, machine);
    case ScheduleKind::winograd_weight_adjoint:
      return schedule_winograd_weight_adjoint(c, spec, machine);
    case ScheduleKind::winograd_conv: return schedule_winograd_conv(c, spec, machine);
    case ScheduleKind::added: return schedule_added(c, spec, machine);
    case ScheduleKind::tiled: break;
  }
  internal_error(__FILE__, __LINE__,
                 "kernel " + spec.name + " has no schedule of kind " +
                     std::string(name_of(spec.schedule)) + " for the CPU");
}

int vector_lanes(const KernelSpec& spec, const Machine& machine) {
  size_t bytes = 4;
  for (const BufferSpec& b : spec.inputs) bytes = std::max(bytes, size_of(b.dtype));
  for (const BufferSpec& b : spec.outputs) bytes = std::max(bytes, size_of(b.dtype));
  return std::max(1, machine.lanes * 4 / static_cast<int>(bytes));
}

TailStrategy channel_tail(Composition& c, const KernelSpec& spec, int lanes) {
  if (spec.tail == PanelTail::shifted) return TailStrategy::ShiftInwards;
  if (spec.tail == PanelTail::padded || spec.tail == PanelTail::masked)
    return TailStrategy::Predicate;
  auto dim = c.outputs[0].output_buffers()[0].dim(0);
  dim.set_extent((dim.extent() / lanes) * lanes);
  return TailStrategy::RoundUp;
}

VarOrRVar parallel_over(Func& f, const std::vector<VarOrRVar>& loops) {
  if (loops.empty()) return Var::outermost();
  VarOrRVar fused = loops[0];
  for (size_t i = 1; i < loops.size(); ++i) {
    Var next("task" + std::to_string(i));
    f.fuse(fused, loops[i], next);
    fused = next;
  }
  f.parallel(fused);
  return fused;
}

namespace {

/// Outer loops of a Func from position `first` on.
std::vector<VarOrRVar> outer(const std::vector<Var>& vars, size_t first) {
  std::vector<VarOrRVar> loops;
  for (size_t i = first; i < vars.size(); ++i) loops.emplace_back(vars[i]);
  return loops;
}

bool unit_dim(const KernelSpec& spec, size_t inner_index) {
  const auto& unit = spec.outputs[0].unit;
  return unit[unit.size() - 1 - inner_index];
}

}  // namespace

void schedule_elementwise(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = vector_lanes(spec, machine);
  Func& out = c.outputs[0];
  if (c.vars.empty()) return;
  constexpr int kVectorsPerTask =
      512;  // 32 KiB of f32: large against a task's start, small against L1
  const Var& x = c.vars[0];
  Var block("block"), lane("lane");
  if (c.vars.size() == 1) {
    Var task("task");
    out.split(x, block, lane, lanes, TailStrategy::GuardWithIf)
        .vectorize(lane)
        .split(block, task, block, kVectorsPerTask, TailStrategy::GuardWithIf)
        .parallel(task);
    return;
  }
  // Rows of unknown length: a task takes several of them, so that short rows do not cost a task
  // each.
  Var row("row"), task("task");
  // Rows that do not fill a vector would all be left to a scalar loop.
  const TailStrategy tail = spec.lanes > 0 ? TailStrategy::Predicate : TailStrategy::GuardWithIf;
  if (!unit_dim(spec, 0)) out.split(x, block, lane, lanes, tail).vectorize(lane);
  // Taking a fused index apart costs divisions: too many for rows as short as that.
  const size_t plain = spec.lanes > 0 ? std::min<size_t>(2, c.vars.size() - 2) : 0;
  VarOrRVar fused = c.vars[1 + plain];
  for (size_t i = 2 + plain; i < c.vars.size(); ++i) {
    Var next("fused" + std::to_string(i));
    out.fuse(fused, c.vars[i], next);
    fused = next;
  }
  out.split(fused, task, row, 8, TailStrategy::GuardWithIf).parallel(task);
}

// Panels lie one after the other. Where the columns of a row are neighbours in the operand too, a
// task reads some rows and spreads them over all panels; else it reads along the rows of one panel.
void schedule_pack(Composition& c, const KernelSpec& spec, const Machine& machine) {
  Func& out = c.outputs[0];
  const auto block = static_cast<int>(spec.body->output(0)->shape().back().value());
  out.output_buffer().dim(0).set_extent(block);
  out.output_buffer().dim(1).set_stride(block);
  Var chunk("chunk"), row("row");
  out.bound(c.vars[0], 0, block)
      .vectorize(c.vars[0], std::min(block, vector_lanes(spec, machine)))
      .unroll(c.vars[0])
      .split(c.vars[1], chunk, row, 32, TailStrategy::GuardWithIf);
  const Node& pack = *spec.body->nodes().front();
  const auto perm = pack.attrs().integers("perm");
  const bool by_rows = spec.inputs[0].dense && perm.back() + 1 == static_cast<int64_t>(perm.size());
  const Var panel = c.vars.back();
  std::vector<VarOrRVar> order = {c.vars[0]}, tasks = {chunk};
  if (by_rows) order.emplace_back(panel);
  order.insert(order.end(), {row, chunk});
  for (size_t d = 2; d + 1 < c.vars.size(); ++d) {
    order.emplace_back(c.vars[d]);
    tasks.emplace_back(c.vars[d]);
  }
  if (!by_rows) {
    order.emplace_back(panel);
    tasks.emplace_back(panel);
  }
  out.reorder(order);
  parallel_over(out, tasks);
}

void schedule_window(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = vector_lanes(spec, machine);
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const Var& channel = c.vars[0];
  const Var& x = c.vars[1];
  Var block("block"), lane("lane");
  // A vector of channels per output position; the window is unrolled by its static extents.
  const TailStrategy tail = channel_tail(c, spec, lanes);
  out.split(channel, block, lane, lanes, tail).vectorize(lane).reorder(lane, block, x);
  const TailStrategy inner = spec.tail == PanelTail::masked ? tail : TailStrategy::Auto;
  if (spec.tail == PanelTail::padded) a.func.bound_extent(a.vars[0], lanes);
  a.func.compute_at(out, block).vectorize(a.vars[0], lanes, inner);
  a.func.update().vectorize(a.vars[0], lanes, inner);
  int taps = 1;
  for (int64_t k : a.node->attrs().integers("window")) taps *= static_cast<int>(k);
  if (taps <= 16 && a.node->op().has(kWindow))
    for (const Halide::RVar& r : a.func.rvars()) a.func.update().unroll(r);
  parallel_over(out, outer(c.vars, 2));
}

namespace {

void schedule_channel_sums(Composition& c, int lanes) {
  for (Func& part : c.partials) {
    const Var channel = part.args()[0], task = part.args()[1];
    part.compute_root().vectorize(channel, lanes, TailStrategy::Predicate).parallel(task);
    Var block("block"), lane("lane");
    std::vector<VarOrRVar> order = {lane};
    for (const Halide::RVar& r : part.rvars()) order.emplace_back(r);
    order.insert(order.end(), {block, task});
    part.update()
        .split(channel, block, lane, lanes, TailStrategy::Predicate)
        .reorder(order)
        .vectorize(lane)
        .parallel(task);
  }
  for (Anchor& a : c.anchors) {
    a.func.compute_root().vectorize(a.vars[0], lanes, TailStrategy::Predicate);
    a.func.update().vectorize(a.vars[0], lanes, TailStrategy::Predicate);
  }
  c.outputs[0].vectorize(c.vars[0], lanes, TailStrategy::Predicate).parallel(c.vars.back());
}

}  // namespace

void schedule_rows(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = vector_lanes(spec, machine);
  if (c.channel_sums) return schedule_channel_sums(c, lanes);
  Func& out = c.outputs[0];
  const size_t rank = c.vars.size();
  std::vector<bool> reduced(rank, false);
  for (const Anchor& a : c.anchors)
    for (int64_t axis : a.node->attrs().integers("axes"))
      reduced[rank - 1 - static_cast<size_t>(axis)] = true;
  const bool inner_reduced = reduced[0];
  std::vector<VarOrRVar> order, rows;
  Var block("block"), lane("lane");
  const bool lane_loop = !unit_dim(spec, 0);
  if (lane_loop) {
    out.split(c.vars[0], block, lane, lanes, TailStrategy::GuardWithIf).vectorize(lane);
    order.emplace_back(lane);
    if (inner_reduced) order.emplace_back(block);
  }
  for (size_t d = 1; d < rank; ++d)
    if (reduced[d]) order.emplace_back(c.vars[d]);
  if (!inner_reduced && lane_loop) rows.emplace_back(block);
  for (size_t d = 0; d < rank; ++d)
    if (!reduced[d] && d > 0) rows.emplace_back(c.vars[d]);
  if (inner_reduced && !lane_loop) order.insert(order.begin(), VarOrRVar(c.vars[0]));
  if (!inner_reduced && !lane_loop) rows.insert(rows.begin(), VarOrRVar(c.vars[0]));
  std::vector<VarOrRVar> all = order;
  all.insert(all.end(), rows.begin(), rows.end());
  if (all.size() > 1) out.reorder(all);
  auto place = [&](Func& f) {
    if (rows.empty()) f.compute_root();
    else if (rows[0].is_rvar) internal_error(__FILE__, __LINE__, "row loop is a reduction");
    else f.compute_at(out, rows[0].var);
  };
  for (Func& f : c.stages) {
    place(f);
    f.vectorize(f.args()[0], lanes, TailStrategy::GuardWithIf);
  }
  for (Func& f : c.partials) {
    place(f);
    f.vectorize(f.args()[0], lanes);
    f.update().vectorize(f.args()[0], lanes);
  }
  for (Anchor& a : c.anchors) {
    place(a.func);
    const bool own_partial =
        std::any_of(a.node->attrs().integers("axes").begin(),
                    a.node->attrs().integers("axes").end(), [](int64_t) { return true; }) &&
        inner_reduced;
    if (own_partial) {
      a.func.update().unroll(a.domain[0]);
    } else if (lane_loop) {
      a.func.vectorize(a.vars[0], lanes, TailStrategy::GuardWithIf);
      a.func.update().vectorize(a.vars[0], lanes, TailStrategy::GuardWithIf);
    }
  }
  // The row loops become one parallel loop; compute_at names the innermost row loop, so it stays.
  if (rows.size() > 1) parallel_over(out, std::vector<VarOrRVar>(rows.begin() + 1, rows.end()));
  else if (rows.size() == 1) out.parallel(rows[0]);
}

}  // namespace tintype
