// CPU schedules of products on AMX: the sums of a task are one call of the runtime.
#include "codegen/schedule/schedules.h"
#include "runtime/tile_product.h"

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

// A task is some rows of the weights, which are read as they lie, by all columns.
void schedule_tile_pack(Composition& c, int lanes) {
  constexpr int kRows = 4 * kTileDepth;
  Func& out = c.outputs[0];
  Var block("block"), row("row");
  out.split(c.vars[1], block, row, kRows, TailStrategy::GuardWithIf);
  std::vector<VarOrRVar> order = {c.vars[0], row, c.vars.back(), block}, tasks = {block};
  if (c.vars.size() > 3) {
    order.emplace_back(c.vars[2]);
    tasks.emplace_back(c.vars[2]);
  }
  out.reorder(order).vectorize(c.vars[0], lanes);
  c.anchors.at(0).func.compute_at(out, parallel_over(out, tasks).var);
}

}  // namespace

// A task is `rows` positions of a product, or lines of an image, by all columns, or by `vectors`
// panels of them where positions are few. The runtime turns both sides into tiles; what follows the
// sums reads them from the caches.
void schedule_amx(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes;
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  if (a.node->is("pack")) return schedule_tile_pack(c, lanes);
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
  // Blocks are of positions, of lines of an image, or of images whose windows are written out.
  const bool image = a.node->is("conv") && c.vars.size() > 3;
  const size_t axis = !image ? 1 : spec.tile_rows == TileRows::windows ? 3 : 2;
  out.split(c.vars[axis], block, row, spec.rows, TailStrategy::GuardWithIf);
  tasks.emplace_back(block);
  std::vector<VarOrRVar> order = {lane, vector, panel};
  for (size_t d = 1; d < axis; ++d) order.emplace_back(c.vars[d]);
  order.emplace_back(row);
  for (size_t d = axis + 1; d < c.vars.size(); ++d) tasks.emplace_back(c.vars[d]);
  order.insert(order.end(), tasks.begin(), tasks.end());
  out.reorder(order);
  a.func.compute_at(out, parallel_over(out, tasks).var);
}

}  // namespace tintype
