// Schedules of composed kernels: how loops are split, ordered, vectorised and made parallel. A
// schedule never changes results beyond the order that define_reduce fixes.
#pragma once

#include "codegen/compose.h"

namespace tintype {

/// Dispatches on spec.schedule.
void schedule(Composition& c, const KernelSpec& spec, const Machine& machine);

void schedule_elementwise(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_contraction(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_amx(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_attention(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_cell(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_depthwise(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_window(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_scatter(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_window_max_gradient(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_weight_gradient(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_pack(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_rows(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_winograd_points(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_winograd_output(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_winograd_weight_adjoint(Composition& c, const KernelSpec& spec,
                                      const Machine& machine);

void schedule_added(Composition& c, const KernelSpec& spec, const Machine& machine);
void schedule_winograd_conv(Composition& c, const KernelSpec& spec, const Machine& machine);

/// The same for kernels of a CUDA device.
void schedule_cuda(Composition& c, const KernelSpec& spec);
void schedule_cuda_tiled(Composition& c, const KernelSpec& spec);
/// Lowering passes of ours behind Halide's: what host code must not read, and the registers and the
/// pipeline of a tiled product.
void add_cuda_passes(Halide::Pipeline& pipeline, const Composition& c);
void schedule_cuda_contraction(Composition& c, const KernelSpec& spec);
void schedule_cuda_rows(Composition& c, const KernelSpec& spec);
void schedule_cuda_winograd_points(Composition& c, const KernelSpec& spec);
void schedule_cuda_winograd_output(Composition& c, const KernelSpec& spec);
void schedule_cuda_winograd_weight_adjoint(Composition& c, const KernelSpec& spec);

/// Computes what the outputs are made of, as far as it has update definitions, once and for all,
/// and returns it.
std::vector<Halide::Func> compute_updates_at_root(const std::vector<Halide::Func>& outputs);
/// Elements of the widest output type that fill a vector register.
int vector_lanes(const KernelSpec& spec, const Machine& machine);
/// How vectors of channels end, by spec.tail; promises whole vectors to Halide where that holds.
Halide::TailStrategy channel_tail(Composition& c, const KernelSpec& spec, int lanes);
/// Fuses the given loops, innermost first, into one, runs it in parallel and returns it.
Halide::VarOrRVar parallel_over(Halide::Func& f, const std::vector<Halide::VarOrRVar>& loops);

}  // namespace tintype
