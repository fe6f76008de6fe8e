// CUDA schedules in which a thread computes one element of the result, with all it needs for it in
// registers; and what all CUDA schedules share.
#include "codegen/schedule/cuda_loads.h"
#include "codegen/schedule/cuda_loops.h"
#include "codegen/schedule/cuda_pipeline.h"
#include "codegen/schedule/schedules.h"
#include "ir/diagnostic.h"

#include <algorithm>

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace cuda {

namespace {

constexpr int kThreads = 128;

}  // namespace

VarOrRVar fused(Halide::Stage stage, const std::vector<VarOrRVar>& loops) {
  VarOrRVar all = loops.at(0);
  for (size_t i = 1; i < loops.size(); ++i) {
    Var next("all" + std::to_string(i));
    stage.fuse(all, loops[i], next);
    all = next;
  }
  return all;
}

std::vector<VarOrRVar> loops_of(const std::vector<Var>& vars) { return {vars.begin(), vars.end()}; }

void thread_per_element(Halide::Stage stage, const std::vector<VarOrRVar>& loops,
                        const std::vector<VarOrRVar>& inside) {
  Var block("block"), thread("thread");
  const VarOrRVar all = fused(stage, loops);
  stage.split(all, block, thread, kThreads, TailStrategy::GuardWithIf);
  std::vector<VarOrRVar> order = inside;
  order.insert(order.end(), {thread, block});
  stage.reorder(order).gpu_blocks(block).gpu_threads(thread);
}

Var thread_tile(Func& f, const std::vector<Var>& loops, const std::vector<VarOrRVar>& inside,
                const KernelSpec& spec) {
  Var across("across"), along("along"), x("x_block"), y("y_block"), block("block");
  std::vector<VarOrRVar> order = inside, threads = {across}, blocks = {x};
  f.split(loops.at(0), x, across, spec.vectors, TailStrategy::GuardWithIf);
  if (loops.size() > 1) {
    f.split(loops[1], y, along, spec.rows, TailStrategy::GuardWithIf);
    threads.emplace_back(along);
    blocks.emplace_back(y);
  }
  for (size_t i = 2; i < loops.size(); ++i) blocks.emplace_back(loops[i]);
  order.insert(order.end(), threads.begin(), threads.end());
  order.insert(order.end(), blocks.begin(), blocks.end());
  f.reorder(order);
  f.gpu_blocks(fused(Halide::Stage(f), blocks)).gpu_threads(across);
  if (loops.size() > 1) f.gpu_threads(along);
  return across;
}

}  // namespace cuda

namespace {

std::vector<VarOrRVar> domain_of(const Func& f) {
  std::vector<VarOrRVar> loops;
  for (const Halide::RVar& r : f.rvars()) loops.emplace_back(r);
  return loops;
}

void schedule_elements(Composition& c) {
  for (Func& out : c.outputs) cuda::thread_per_element(Halide::Stage(out), cuda::loops_of(c.vars));
}

/// Every thread runs the whole reduction of its element.
void schedule_reduction(Composition& c, const KernelSpec& spec) {
  Func& out = c.outputs[0];
  const Var thread = cuda::thread_tile(out, c.vars, {}, spec);
  for (Anchor& a : c.anchors) {
    a.func.compute_at(out, thread);
    int taps = 1;
    for (int64_t k : a.node->attrs().integers("window")) taps *= static_cast<int>(k);
    if (a.node->op().has(kWindow) && taps <= 16)
      for (const Halide::RVar& r : a.func.rvars()) a.func.update().unroll(r);
  }
}

/// Threads own an element of the innermost axis and an index of the outermost, as in the CPU's
/// schedule: no two add to the same place, and the order of additions is that of the updates.
void schedule_scatter(Composition& c) {
  Anchor& a = c.anchors.at(0);
  a.func.compute_root();
  cuda::thread_per_element(Halide::Stage(a.func), cuda::loops_of(a.vars));
  cuda::thread_per_element(a.func.update(), {a.vars.front(), a.vars.back()}, domain_of(a.func));
  schedule_elements(c);
}

/// First the largest tap of every window, then, per place, the windows that chose it.
void schedule_window_max_gradient(Composition& c, const KernelSpec& spec) {
  for (Func& f : c.stages) {
    const std::vector<Var> vars = f.args();
    f.compute_root();
    cuda::thread_per_element(Halide::Stage(f), cuda::loops_of(vars));
    cuda::thread_per_element(f.update(), cuda::loops_of(vars), domain_of(f));
  }
  schedule_reduction(c, spec);
}

/// A thread per hidden unit and sequence keeps the sums of all gates.
void schedule_cell(Composition& c, const KernelSpec& spec) {
  Func& out = c.outputs[0];
  Anchor& a = c.anchors.at(0);
  const auto gates = static_cast<int>(a.node->result()->shape()[0].value());
  const Var thread = cuda::thread_tile(out, c.vars, {}, spec);
  a.func.compute_at(out, thread).bound(a.vars[2], 0, gates).unroll(a.vars[2]);
  std::vector<VarOrRVar> order = {a.vars[2]};
  for (const VarOrRVar& r : domain_of(a.func)) order.push_back(r);
  a.func.update().reorder(order).unroll(a.vars[2]);
  if (spec.depth_multiple > 1)
    a.func.update().unroll(a.domain[0], std::min(spec.depth_multiple, 4));
}

}  // namespace

void schedule_cuda(Composition& c, const KernelSpec& spec) {
  switch (spec.schedule) {
    case ScheduleKind::elementwise:
    case ScheduleKind::pack: return schedule_elements(c);
    case ScheduleKind::contraction: return schedule_cuda_contraction(c, spec);
    case ScheduleKind::tiled: return schedule_cuda_tiled(c, spec);
    case ScheduleKind::rows: return schedule_cuda_rows(c, spec);
    case ScheduleKind::cell: return schedule_cell(c, spec);
    case ScheduleKind::depthwise:
    case ScheduleKind::window:
    case ScheduleKind::weight_gradient: return schedule_reduction(c, spec);
    case ScheduleKind::scatter: return schedule_scatter(c);
    case ScheduleKind::window_max_gradient: return schedule_window_max_gradient(c, spec);
    case ScheduleKind::winograd_points: return schedule_cuda_winograd_points(c, spec);
    case ScheduleKind::winograd_output: return schedule_cuda_winograd_output(c, spec);
    case ScheduleKind::winograd_weight_adjoint:
      return schedule_cuda_winograd_weight_adjoint(c, spec);
    case ScheduleKind::reference:
    case ScheduleKind::attention:
    case ScheduleKind::amx:
    case ScheduleKind::winograd_conv:
    case ScheduleKind::added: break;
  }
  internal_error(__FILE__, __LINE__,
                 "kernel " + spec.name + " has no CUDA schedule of kind " +
                     std::string(name_of(spec.schedule)));
}

void add_cuda_passes(Halide::Pipeline& pipeline, const Composition& c) {
  pipeline.add_custom_lowering_pass(cuda::loads_on_device().release());
  if (!c.tiled) return;
  pipeline.add_custom_lowering_pass(cuda::own_registers().release());
  pipeline.add_custom_lowering_pass(cuda::pipelined(c.tiled->sums.name() + ".s1.").release());
}

}  // namespace tintype
