// Ops that other libraries and plugins add.
#pragma once

#include "ir/op_def.h"

#include <span>

namespace tintype {

/// Adds ops of other libraries and of plugins, named "domain::Name"; ONNX models call them by
/// domain and name. The table must live until the program ends. An op has either a decomposition,
/// or inference and, elsewhere, a definition: register_definition (codegen/definitions.h) when it
/// is kPointwise, register_kernel (same header) when it is kKernel, register_host_ops
/// (runtime/host_ops.h) when it is kHostOnly. Throws Error for a record that lacks a part and for a
/// name that is taken. Thread-safe.
void register_ops(std::span<const OpDef> ops);

/// True for an op that was added.
inline bool is_added(const OpDef& op) { return op.name.find("::") != std::string_view::npos; }

/// Inference for ops whose first result has the type of the first operand.
void infer_like_first(InferContext& c);
/// Inference for pointwise ops: one element type, shapes broadcast by numpy's rules.
void infer_pointwise(InferContext& c);

}  // namespace tintype
