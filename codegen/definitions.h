// Definitions in Halide of ops that plugins add. The only public header that needs Halide.h.
#pragma once

#include "ir/graph.h"

#include <Halide.h>
#include <string_view>
#include <vector>

namespace tintype {

/// One element of the result of a pointwise op from the operands' elements. These arrive in the
/// type that arithmetic uses: 16-bit floats as f32, all others as they are.
using PointwiseDefinition = Halide::Expr (*)(const Node& node,
                                             const std::vector<Halide::Expr>& operands);

/// Gives an added op (register_ops, ir/custom_ops.h) with the trait kPointwise its definition.
/// Kernels fuse it with their neighbours and schedule it like built-in ops. The kernel cache tells
/// builds of the plugin apart. Throws Error when the op has another definition. Thread-safe.
void register_definition(std::string_view op_name, PointwiseDefinition define);

}  // namespace tintype
