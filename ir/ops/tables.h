// The families of op records, and helpers their inference functions share.
#pragma once

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/graph.h"
#include "ir/op_def.h"

#include <span>

namespace tintype::ops {

std::span<const OpDef> core_pointwise();
std::span<const OpDef> core_movement();
std::span<const OpDef> core_reduction();
std::span<const OpDef> core_contraction();
std::span<const OpDef> core_winograd();
std::span<const OpDef> core_random();
std::span<const OpDef> core_structure();
std::span<const OpDef> core_control();
std::span<const OpDef> onnx_pointwise();
std::span<const OpDef> onnx_convolution();
std::span<const OpDef> onnx_pooling();
std::span<const OpDef> onnx_normalization();
std::span<const OpDef> onnx_shape();
std::span<const OpDef> onnx_random();
std::span<const OpDef> onnx_reduction();
std::span<const OpDef> onnx_matmul();
std::span<const OpDef> onnx_attention();
std::span<const OpDef> onnx_einsum();
std::span<const OpDef> onnx_indexing();
std::span<const OpDef> onnx_quantization();
std::span<const OpDef> onnx_recurrent();
std::span<const OpDef> onnx_resize();
std::span<const OpDef> onnx_sampling();
std::span<const OpDef> onnx_signal();

/// Integer list operand known at compile time (constant, or symbolic content that is static);
/// throws NeedsInputValue or Error naming `what`.
std::vector<int64_t> static_integers(const Node& node, int operand, std::string_view what);
/// The same as extents, symbols allowed.
std::vector<Dim> symbolic_integers(const Node& node, int operand, std::string_view what);
/// The same of what has one element.
int64_t static_integer(const Node& node, int operand, std::string_view what);
Dim symbolic_integer(const Node& node, int operand, std::string_view what);
/// Constant operand as numbers; throws like static_integers.
std::vector<double> static_numbers(const Node& node, int operand, std::string_view what);
/// The same for a scalar.
double static_number(const Node& node, int operand, std::string_view what);
/// Throws Error naming the node, its op and its origin.
[[noreturn]] void fail(const Node& node, const std::string& message);

/// Why packing and transforms have no gradient.
inline constexpr std::string_view kAfterwards =
    "it belongs to an algorithm selected after differentiation";

/// Largest number of elements whose symbolic content is tracked.
inline constexpr size_t kMaxContent = 4096;

}  // namespace tintype::ops
