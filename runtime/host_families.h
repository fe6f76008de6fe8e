// The families of host ops; each is one table in its own source file.
#pragma once

#include "runtime/host_ops.h"

namespace tintype {

std::span<const HostOp> binary_host_ops();
std::span<const HostOp> unary_host_ops();
std::span<const HostOp> cast_host_ops();
std::span<const HostOp> shape_host_ops();
std::span<const HostOp> index_host_ops();
std::span<const HostOp> reduce_host_ops();
std::span<const HostOp> sort_host_ops();
std::span<const HostOp> contraction_host_ops();
std::span<const HostOp> window_host_ops();
std::span<const HostOp> weight_host_ops();
std::span<const HostOp> winograd_host_ops();
std::span<const HostOp> gradient_host_ops();
std::span<const HostOp> random_host_ops();

/// The weights [stack..., depth, columns] that `pack` with `terms` made [panels, stack..., rows,
/// columns of all terms] of, in f32.
Tensor unpacked_terms(const Tensor& w, int64_t terms, int64_t depth, int64_t columns);

}  // namespace tintype
