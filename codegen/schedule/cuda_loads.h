// Keeps host code of CUDA kernels from reading what only the device can read.
#pragma once

#include <Halide.h>
#include <memory>

namespace tintype::cuda {

/// Moves values that depend on the contents of buffers into the kernels that use them. Halide
/// leaves out a stage where a condition says that nobody needs it, and asks that condition as early
/// as its variables allow: for `select(flag, old, new)` on the host, with the address of `flag` on
/// the device. Throws InternalError where host code would still read a buffer.
std::unique_ptr<Halide::Internal::IRMutator> loads_on_device();

}  // namespace tintype::cuda
