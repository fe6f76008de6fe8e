// The CPU schedule of a recurrent cell: a product with several matrices at once, whose slices meet
// in pointwise ops.
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

// Row by row, so that the weights of all gates stay in registers and one broadcast element of the
// state serves them all. Gate by gate, the broadcast elements of all rows stay, which takes fewer
// registers where rows are fewer and a multiply-add cannot read them from memory.
void schedule_sums(Anchor& a, int index, int lanes, bool masked, const KernelSpec& spec,
                   const Machine& machine) {
  Halide::Stage update = a.func.update(index);
  const Halide::RDom& domain = index == 0 ? a.domain : a.second;
  const std::vector<Halide::RVar> rvars = a.func.rvars(index);  // none for a depth of 1
  const bool some_gates = domain.dimensions() > 1;
  const VarOrRVar gate = some_gates ? VarOrRVar(domain[1]) : VarOrRVar(a.vars[2]);
  const int64_t weights = a.node->result()->shape()[0].value() * spec.vectors;
  const bool by_gate = !machine.broadcasts && !spec.gates_apart && spec.rows < weights;
  std::vector<VarOrRVar> order = {a.vars[0], gate, a.vars[1]};
  if (by_gate) std::swap(order[1], order[2]);
  for (const Halide::RVar& r : rvars)
    if (!some_gates || r.name() != domain[1].name()) order.emplace_back(r);
  update.reorder(order)
      .vectorize(a.vars[0], lanes, masked ? TailStrategy::Predicate : TailStrategy::Auto)
      .unroll(a.vars[1]);
  if (!spec.gates_apart) update.unroll(gate);
  if (!masked) update.unroll(a.vars[0]);
  const int steps = spec.gates_apart ? kDepthUnroll : 2;
  if (spec.depth_multiple > 1) update.unroll(domain[0], std::min(spec.depth_multiple, steps));
}

/// The loops of a tile's sums.
void schedule_tile(Func& sums, const Anchor& a, int panel, int lanes, const KernelSpec& spec) {
  const Var &unit = a.vars[0], &row = a.vars[1];
  const bool masked = spec.tail == PanelTail::masked;
  if (spec.tail == PanelTail::padded) sums.bound_extent(unit, panel);
  sums.vectorize(unit, lanes, masked ? TailStrategy::Predicate : TailStrategy::Auto).unroll(row);
  if (!masked) sums.unroll(unit);
}

}  // namespace

// A tile is `rows` sequences by `vectors` vectors of hidden units: the sums of all gates stay in
// registers while the state runs by, then the pointwise part turns them into all results of the
// kernel. With few registers the sums of one gate after the other do, and are put down. With few
// sequences the time goes into reading the matrices: each thread gets the same panels on every
// step, so that they stay in its caches. With many, each gets the same sequences.
void schedule_cell(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = vector_lanes(spec, machine);
  const int panel = lanes * spec.vectors;
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const Var& unit = c.vars[0];
  const Var& row = c.vars[1];
  Var ko("ko"), ki("ki"), bt("bt"), bi("bi"), task("task");
  const bool masked = spec.tail == PanelTail::masked;
  const TailStrategy tail = spec.tail == PanelTail::whole     ? TailStrategy::RoundUp
                            : spec.tail == PanelTail::shifted ? TailStrategy::ShiftInwards
                                                              : TailStrategy::Predicate;
  const Expr units = out.output_buffers()[0].dim(0).extent();
  if (spec.tail == PanelTail::whole)  // the other results have the bounds of the first
    out.output_buffers()[0].dim(0).set_extent((units / panel) * panel);
  out.split(unit, ko, ki, panel, tail);
  if (spec.rows > 1) out.split(row, bt, bi, spec.rows, TailStrategy::ShiftInwards);
  else out.split(row, bt, bi, 1);
  const auto share = [&](const Expr& extent, int size) {
    const Expr pieces = (extent + size - 1) / size;
    return Halide::max((pieces + spec.tasks - 1) / spec.tasks, 1);
  };
  if (spec.split_rows)
    out.split(bt, task, bt, share(out.output_buffers()[0].dim(1).extent(), spec.rows),
              TailStrategy::GuardWithIf);
  else out.split(ko, task, ko, share(units, panel), TailStrategy::GuardWithIf);
  std::vector<VarOrRVar> loops = {ki, bi, bt, ko, task};
  if (c.vars.size() > 2) loops.emplace_back(c.vars[2]);  // of extent 1
  out.reorder(loops).vectorize(ki, lanes).parallel(task);
  const auto gates = static_cast<int>(a.node->result()->shape()[0].value());
  if (spec.gates_apart) {
    Func sums = a.func.in();
    schedule_tile(sums, a, panel, lanes, spec);
    sums.compute_at(out, bt).bound(a.vars[2], 0, gates).reorder(a.vars[0], a.vars[1], a.vars[2]);
    a.func.compute_at(sums, a.vars[2]);
  } else {
    out.unroll(ki).unroll(bi);
    a.func.compute_at(out, bt).bound(a.vars[2], 0, gates).unroll(a.vars[2]);
  }
  schedule_tile(a.func, a, panel, lanes, spec);
  for (int i = 0; i < a.func.num_update_definitions(); ++i)
    schedule_sums(a, i, lanes, masked, spec, machine);
}

}  // namespace tintype
