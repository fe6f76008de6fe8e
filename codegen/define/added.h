// Definitions that plugins have added, as the compiler asks for them.
#pragma once

#include "codegen/definitions.h"

#include <optional>
#include <string>
#include <string_view>

namespace tintype {

/// Null when the op has none.
PointwiseDefinition find_pointwise_definition(std::string_view op_name);
std::optional<KernelDefinition> find_kernel_definition(std::string_view op_name);

/// The Funcs of a node with a kernel definition, checked against the types of its results. Throws
/// Error, naming the node: no definition, other types, whatever Halide refuses.
KernelFuncs define_kernel(const KernelOperands& operands);

}  // namespace tintype
