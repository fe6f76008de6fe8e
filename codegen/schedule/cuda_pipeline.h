// Lowering passes for what Halide's schedules cannot say about the blocks of a CUDA kernel.
#pragma once

#include <Halide.h>
#include <memory>
#include <string>

namespace tintype::cuda {

/// What threads keep for themselves between two barriers becomes registers. A Func that a block
/// computes, a part per thread, is one array with a place for every thread's part; stored as
/// MemoryType::Register, every thread would get all of it.
std::unique_ptr<Halide::Internal::IRMutator> own_registers();

/// A serial loop whose name begins with `loop`, in which a block first copies panels to shared
/// memory and then computes with them, becomes a pipeline: while the panels of one step are used,
/// those of the next are on their way to registers, from there to a second copy of the shared
/// memory. One barrier per step remains of three.
std::unique_ptr<Halide::Internal::IRMutator> pipelined(std::string loop);

}  // namespace tintype::cuda
