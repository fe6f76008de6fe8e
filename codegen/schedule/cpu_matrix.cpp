// The CPU schedule of products that a matrix unit computes.
#include "codegen/matrix_unit.h"
#include "codegen/schedule/matrix_tiles.h"
#include "codegen/schedule/schedules.h"

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::RVar;
using Halide::Stage;
using Halide::TailStrategy;
using Halide::Var;

namespace {

/// Tiles of a panel for all steps of the sum: the loops that the lowering pass replaces.
void schedule_tiles(MatrixProduct& p) {
  const Var c = p.sums.args()[0], at = p.sums.args()[1];
  const Var ct("column_tile"), rt("row_tile");
  const Var column(matrix::kColumnLoop), row(matrix::kRowLoop);
  const RVar step(matrix::kStepLoop), depth(matrix::kDepthLoop);
  Stage s = p.sums.update();
  s.tile(c, at, ct, rt, column, row, kMatrixColumns, kMatrixRows, TailStrategy::RoundUp)
      .split(p.depth, step, depth, kMatrixDepth);
  std::vector<Halide::VarOrRVar> order = {column, row, depth, ct, rt, step};
  if (p.sums.rvars().size() > 1) order.emplace_back(p.sums.rvars()[1]);  // taps
  s.reorder(order).unroll(ct).unroll(rt);
}

}  // namespace

// A task takes `run` tiles of `rows` positions. It copies what belongs to them to the left side
// first; then every panel of weights is read once from memory or the third cache, and again from
// the second for each of the tiles.
void schedule_matrix(Composition& c, const KernelSpec& spec, const Machine&) {
  MatrixProduct& p = *c.matrix;
  Func& out = c.outputs[0];
  const Var columns = c.vars[0];
  const Var panel("panel"), group("group"), lane("lane"), within("within"), piece("piece");
  const int width = spec.vectors * kMatrixColumns;
  const Expr extent = out.output_buffers()[0].dim(0).extent();
  const Expr panels = (extent + width - 1) / width;
  Stage s = out.update();
  s.allow_race_conditions();  // positions are not told apart by their dims
  // A vector of 32 is converted to bf16 by one instruction.
  const int lanes = spec.tail == PanelTail::whole ? width : kMatrixColumns;
  if (spec.tail == PanelTail::whole)
    for (Halide::OutputImageParam& b : out.output_buffers())
      b.dim(0).set_extent(b.dim(0).extent() / width * width);
  s.split(columns, panel, within, width,
          spec.tail == PanelTail::whole ? TailStrategy::RoundUp : TailStrategy::GuardWithIf)
      .split(within, group, lane, lanes);
  const RVar row = p.places[0], tile = p.places[1], task = p.places[2];
  if (spec.tasks > 1) {
    s.split(panel, piece, panel, (panels + spec.tasks - 1) / spec.tasks, TailStrategy::GuardWithIf)
        .reorder({lane, group, row, tile, panel, task, piece})
        .parallel(piece);
  } else {
    s.reorder({lane, group, row, tile, panel, task});
  }
  s.vectorize(lane).unroll(group).parallel(task);
  p.sums.compute_at(out, tile)
      .bound_extent(p.sums.args()[0], width)
      .bound_extent(p.sums.args()[1], spec.rows)
      .bound_extent(p.sums.args()[2], 1);
  schedule_tiles(p);
  for (Func& place : c.stages)
    place.compute_at(out, task).bound_extent(place.args()[0], spec.rows * spec.run);
  const std::vector<Var> left = p.left.args();
  p.left.compute_at(out, task)
      .bound_extent(left[2], spec.rows * spec.run)
      .vectorize(left[0], kMatrixDepth, TailStrategy::RoundUp);
  if (p.whole) return;
  const RVar vector("vector"), element("element");
  p.left.update()
      .split(p.channels, vector, element, kMatrixColumns, TailStrategy::GuardWithIf)
      .vectorize(element);
}

void add_matrix_passes(Halide::Pipeline& pipeline, const Composition& c) {
  pipeline.add_custom_lowering_pass(matrix::tiles(c.matrix->sums.name()).release());
}

}  // namespace tintype
