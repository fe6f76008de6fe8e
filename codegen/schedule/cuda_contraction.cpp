// The CUDA schedule of dot and direct convolution.
#include "codegen/schedule/cuda_loops.h"
#include "codegen/schedule/schedules.h"

#include <algorithm>

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

// A thread keeps a tile of `rows` positions by `vectors` neighbouring channels in registers. The
// lanes of a warp are neighbours along the channels: per step of the reduction they load one line
// of weights, a vector each, and the same element of the operand for every position, which is one
// transaction; where the operand lies as vectors, one for four steps, which halves what the
// first-level cache has to deliver. The warps of a block take other positions (rows of an image,
// where there are some) and find the weights in the first-level cache. Tiles reach past the edges;
// define_dot and define_conv keep what they read there inside.
void schedule_cuda_contraction(Composition& c, const KernelSpec& spec) {
  constexpr int kWarp = 32, kLeastThreads = 64, kLeastGroups = 4;
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const auto panel = static_cast<int>(a.node->attrs().integer("block"));
  const int lanes = panel > 0 ? panel / spec.vectors : kWarp;
  const int groups = std::max(kLeastThreads / lanes, kLeastGroups);
  Var ko("ko"), kt("kt"), ki("ki"), xt("xt"), xi("xi"), group("group"), far("far"), block("block");
  out.split(c.vars[0], ko, ki, lanes * spec.vectors, TailStrategy::GuardWithIf)
      .split(ki, kt, ki, spec.vectors)
      .split(c.vars[1], xt, xi, spec.rows, TailStrategy::GuardWithIf);
  const bool image = a.node->is("conv") && c.vars.size() > 3;
  out.split(image ? c.vars[2] : xt, far, group, groups, TailStrategy::GuardWithIf);
  std::vector<VarOrRVar> blocks = {ko};
  if (image) blocks.emplace_back(xt);
  blocks.emplace_back(far);
  for (size_t d = image ? 3 : 2; d < c.vars.size(); ++d) blocks.emplace_back(c.vars[d]);
  std::vector<VarOrRVar> order = {ki, xi, kt, group};
  order.insert(order.end(), blocks.begin(), blocks.end());
  out.reorder(order).unroll(ki).unroll(xi);
  out.gpu_blocks(cuda::fused(Halide::Stage(out), blocks)).gpu_threads(kt, group);
  a.func.compute_at(out, kt)
      .bound_extent(a.vars[0], spec.vectors)
      .bound_extent(a.vars[1], spec.rows);
  a.func.vectorize(a.vars[0], spec.vectors).unroll(a.vars[1]);
  Halide::Stage update = a.func.update();
  std::vector<VarOrRVar> inner = {a.vars[0], a.vars[1]};
  if (spec.depth_multiple > 1) {
    const int steps = std::min(spec.depth_multiple, 4);
    const Halide::RVar chunk("chunk"), step("step");
    update.split(a.domain[0], chunk, step, steps).unroll(step);
    inner.insert(inner.end(), {step, chunk});
    for (Func& left : c.stages) {
      const Var place = left.args()[0], position = a.vars[1];
      left.compute_at(a.func, chunk)
          .bound_extent(place, steps)
          .bound_extent(position, spec.rows)
          .vectorize(place, steps)
          .unroll(position);
    }
  } else if (const auto rvars = a.func.rvars(); !rvars.empty()) {  // none for a depth of 1
    inner.emplace_back(rvars[0]);
  }
  const std::vector<Halide::RVar> rvars = a.func.rvars();
  for (size_t i = 1; i < rvars.size(); ++i) inner.emplace_back(rvars[i]);
  update.reorder(inner).vectorize(a.vars[0], spec.vectors).unroll(a.vars[1]);
}

}  // namespace tintype
