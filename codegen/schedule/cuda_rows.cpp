// CUDA schedules of reductions over axes and what follows them: softmax, normalisation, statistics.
#include "codegen/schedule/cuda_loops.h"
#include "codegen/schedule/schedules.h"

#include <algorithm>

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

constexpr int kWarp = 32;

/// Loads that are on their way at once, in a thread that adds them up one after the other.
constexpr int kLoads = 8;

// Sums of some places, sums of those, and what is left: three launches.
void schedule_channel_sums(Composition& c, const KernelSpec& spec) {
  for (Func& part : c.partials) {
    part.compute_root();
    std::vector<VarOrRVar> inside;
    for (const Halide::RVar& r : part.rvars()) inside.emplace_back(r);
    cuda::thread_per_element(Halide::Stage(part), cuda::loops_of(part.args()));
    cuda::thread_per_element(part.update(), cuda::loops_of(part.args()), inside);
    part.update().unroll(inside[0], kLoads, TailStrategy::GuardWithIf);
  }
  const Var thread = cuda::thread_tile(c.outputs[0], c.vars, {}, spec);
  for (Anchor& a : c.anchors) a.func.compute_at(c.outputs[0], thread);
}

// The lanes of a warp are neighbours along an axis that stays; each reduces its own column.
void schedule_columns(Composition& c, const std::vector<bool>& reduced, const KernelSpec& spec) {
  Func& out = c.outputs[0];
  std::vector<Var> stay;
  std::vector<VarOrRVar> inside;
  for (size_t d = 0; d < c.vars.size(); ++d) {
    if (reduced[d]) inside.emplace_back(c.vars[d]);
    else stay.push_back(c.vars[d]);
  }
  if (stay.empty()) {  // one thread, in a loop of one iteration
    const auto last = static_cast<int>(c.vars.size()) - 1;
    stay.emplace_back("whole");
    out.split(c.vars.back(), stay[0], c.vars.back(),
              Halide::max(out.output_buffer().dim(last).extent(), 1), TailStrategy::GuardWithIf);
  }
  const Var thread = cuda::thread_tile(out, stay, inside, spec);
  for (Anchor& a : c.anchors) {
    a.func.compute_at(out, thread);
    a.func.update().unroll(a.domain[0], kLoads, TailStrategy::GuardWithIf);
  }
}

// A warp takes a row: every lane reduces its share of it, then the 32 results of a row, in shared
// memory, are combined in order.
void schedule_warp_rows(Composition& c, const std::vector<bool>& reduced, bool wide) {
  Func& out = c.outputs[0];
  Var step("step"), lane("lane");
  std::vector<VarOrRVar> order, rows;
  Var innermost = c.vars[0];
  if (std::find(reduced.begin(), reduced.end(), false) == reduced.end()) {
    innermost = Var("rest");  // everything is reduced: one block
    rows.emplace_back(Var("whole"));
    out.split(c.vars[0], rows[0].var, innermost,
              Halide::max(out.output_buffer().dim(0).extent(), 1), TailStrategy::GuardWithIf);
  }
  // A result without the axis is the business of the first lane alone.
  out.split(innermost, step, lane, wide ? kWarp : 1, TailStrategy::GuardWithIf);
  order.emplace_back(step);
  for (size_t d = 1; d < c.vars.size(); ++d) (reduced[d] ? order : rows).emplace_back(c.vars[d]);
  order.emplace_back(lane);
  std::vector<VarOrRVar> all = order;
  all.insert(all.end(), rows.begin(), rows.end());
  out.reorder(all);
  const VarOrRVar block = cuda::fused(Halide::Stage(out), rows);
  out.gpu_blocks(block).gpu_threads(lane);
  const auto one_row = [&](Func& f) {
    f.compute_at(out, block.var).store_in(Halide::MemoryType::GPUShared);
  };
  for (Func& f : c.partials) {
    one_row(f);
    const Var lane_of = f.args()[0];
    f.bound(lane_of, 0, kWarp).gpu_threads(lane_of);
    f.update().gpu_threads(lane_of);
  }
  for (Anchor& a : c.anchors) {
    one_row(a.func);
    a.func.update().unroll(a.domain[0]);
  }
}

}  // namespace

void schedule_cuda_rows(Composition& c, const KernelSpec& spec) {
  if (c.channel_sums) return schedule_channel_sums(c, spec);
  const size_t rank = c.vars.size();
  std::vector<bool> reduced(rank, false);
  for (const Anchor& a : c.anchors)
    for (int64_t axis : a.node->attrs().integers("axes"))
      reduced[rank - 1 - static_cast<size_t>(axis)] = true;
  const bool wide = !spec.outputs[0].unit[rank - 1];
  if (c.partials.empty()) schedule_columns(c, reduced, spec);
  else schedule_warp_rows(c, reduced, wide);
}

}  // namespace tintype
