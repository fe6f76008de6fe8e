// CPU schedules of products on AMX: the sums of a task are one call of the runtime.
#include "codegen/schedule/schedules.h"
#include "runtime/tile_product.h"

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

// A task is `rows` positions of a product, or lines of an image, by all columns, or by `vectors`
// panels of them where positions are few. The runtime turns both sides into tiles; what follows the
// sums reads them from the caches.
void schedule_amx(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes;
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  if (a.node->is("pack")) {
    out.vectorize(c.vars[0], lanes).parallel(c.vars.back());
    a.func.compute_at(out, c.vars.back());
    return;
  }
  // The sums are in panels: so are the loops that read them.
  Var panel("panel"), column("column"), vector("vector"), lane("lane"), part("part"),
      block("block"), row("row");
  const bool whole = spec.tail == PanelTail::whole;
  const int multiple = spec.vectors > 0 ? spec.vectors * kTileColumns : whole ? kTileColumns : 1;
  if (multiple > 1) {
    auto dim = out.output_buffers()[0].dim(0);
    dim.set_extent((dim.extent() / multiple) * multiple);
  }
  out.split(c.vars[0], panel, column, kTileColumns,
            whole ? TailStrategy::RoundUp : TailStrategy::GuardWithIf)
      .split(column, vector, lane, lanes, whole ? TailStrategy::RoundUp : TailStrategy::Predicate)
      .vectorize(lane);
  std::vector<VarOrRVar> tasks;
  if (spec.vectors > 0) {
    out.split(panel, part, panel, spec.vectors, TailStrategy::RoundUp);
    tasks.emplace_back(part);
  }
  const bool image = a.node->is("conv") && c.vars.size() > 3;
  const size_t axis = image ? 2 : 1;
  out.split(c.vars[axis], block, row, spec.rows, TailStrategy::GuardWithIf);
  tasks.emplace_back(block);
  for (size_t d = axis + 1; d < c.vars.size(); ++d) tasks.emplace_back(c.vars[d]);
  std::vector<VarOrRVar> order = {lane, vector, panel};
  if (image) order.emplace_back(c.vars[1]);
  order.emplace_back(row);
  order.insert(order.end(), tasks.begin(), tasks.end());
  out.reorder(order);
  a.func.compute_at(out, parallel_over(out, tasks).var);
}

}  // namespace tintype
