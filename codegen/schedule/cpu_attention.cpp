// The CPU schedule of attention: two products and the softmax between them, some queries at a time.
#include "codegen/schedule/schedules.h"

#include <algorithm>

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

/// Rows of a register tile beside its vectors, what is loaded and a broadcast value.
int tile_rows(int vectors, const Machine& machine) {
  return std::clamp((machine.registers - vectors - 2) / vectors, 1, 12);
}

}  // namespace

// A task is a chunk of `rows` queries of one head. Up to the softmax, queries are what vectors
// hold: largest ones and sums then need no work across lanes, and keys are read element by element
// as they lie, transposed or not. Scores and exponentials of the chunk stay in the second-level
// cache. The second product turns to vectors of features, with an exponential per query as the
// broadcast value.
void schedule_attention(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const int lanes = machine.lanes, panel = lanes * spec.vectors, chunk = spec.rows;
  Func& out = c.outputs[0];
  Func queries = c.stages.at(0), scores = c.stages.at(1), exponentials = c.stages.at(2);
  const Anchor &product = c.anchors.front(), &context = c.anchors.back();
  const Var &column = c.vars[0], &row = c.vars[1];
  Var ko("ko"), ki("ki"), chunks("chunks"), query("query"), rt("rt"), ri("ri"), kt("kt"),
      key("key");
  const bool masked = spec.tail == PanelTail::masked;
  const TailStrategy tail = spec.tail == PanelTail::whole ? TailStrategy::RoundUp
                            : masked                      ? TailStrategy::Predicate
                                                          : TailStrategy::ShiftInwards;
  if (spec.tail == PanelTail::whole) {
    auto dim = out.output_buffer().dim(0);
    dim.set_extent((dim.extent() / panel) * panel);
  }
  const int context_rows = std::min(tile_rows(spec.vectors, machine), chunk);
  out.split(column, ko, ki, panel, tail)
      .split(row, chunks, query, chunk,
             chunk == lanes ? TailStrategy::GuardWithIf : TailStrategy::ShiftInwards)
      .split(query, rt, ri, context_rows, TailStrategy::ShiftInwards);
  std::vector<VarOrRVar> order = {ki, ri, rt, ko, chunks}, tasks = {chunks};
  for (size_t d = 2; d < c.vars.size(); ++d) {
    order.emplace_back(c.vars[d]);
    tasks.emplace_back(c.vars[d]);
  }
  out.reorder(order).vectorize(ki, lanes).unroll(ki).unroll(ri);
  const Var task = parallel_over(out, tasks).var;

  const TailStrategy inner = masked ? TailStrategy::Predicate : TailStrategy::Auto;
  Func sums = context.func;
  sums.compute_at(out, rt).vectorize(context.vars[0], lanes, inner).unroll(context.vars[1]);
  Halide::Stage add = sums.update();
  std::vector<VarOrRVar> inside = {context.vars[0], context.vars[1]};
  for (const Halide::RVar& r : sums.rvars()) inside.emplace_back(r);
  add.reorder(inside).vectorize(context.vars[0], lanes, inner).unroll(context.vars[1]);
  if (!masked) {
    sums.unroll(context.vars[0]);
    add.unroll(context.vars[0]);
  }

  // All else has the queries of the chunk in its vectors.
  const Var &k = product.vars[0], &q = product.vars[1];
  const auto place = [&](Func f) {
    f.compute_at(out, task).bound_extent(q, chunk).reorder_storage(q, k).reorder(q, k);
    f.vectorize(q, lanes).unroll(q);
  };
  for (const Func& f : {queries, scores, exponentials}) place(f);
  const int score_keys = tile_rows(chunk / lanes, machine);
  // Past the last key, never before the first: what is read there is the last key again.
  scores.split(k, kt, key, score_keys, TailStrategy::RoundUp).reorder(q, key, kt).unroll(key);
  Func dots = product.func;
  dots.compute_at(scores, kt).bound_extent(q, chunk).reorder_storage(q, k).reorder(q, k);
  dots.vectorize(q, lanes).unroll(q).unroll(k);
  Halide::Stage multiply = dots.update();
  std::vector<VarOrRVar> deep = {q, k};
  for (const Halide::RVar& r : dots.rvars()) deep.emplace_back(r);
  multiply.reorder(deep).vectorize(q, lanes).unroll(q).unroll(k);
  for (size_t i = 1; i + 1 < c.anchors.size(); ++i) {
    Func f = c.anchors[i].func;
    f.compute_at(out, task).bound_extent(q, chunk).vectorize(q, lanes).unroll(q);
    std::vector<VarOrRVar> along = {q};
    for (const Halide::RVar& r : f.rvars()) along.emplace_back(r);
    f.update().reorder(along).vectorize(q, lanes).unroll(q);
  }
}

}  // namespace tintype
