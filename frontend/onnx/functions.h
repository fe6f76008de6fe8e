// Functions of ONNX: those a model brings along, and those that define standard operators in terms
// of others.
#pragma once

#include "frontend/onnx/model_proto.h"

#include <onnx/onnx_pb.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tintype {

/// Model-local functions by identity.
class FunctionTable {
 public:
  /// Throws Error for two functions with the same identity.
  explicit FunctionTable(const onnx::ModelProto& model);
  const onnx::FunctionProto* find(const onnx::NodeProto& node) const;

 private:
  std::unordered_map<std::string, const onnx::FunctionProto*> functions_;
};

/// Refuses recursion, too deep nesting, and models that would be too large once inlined; without
/// doing the work that it measures. Throws Error.
void check_functions(const onnx::ModelProto& model, const FunctionTable& table,
                     const Limits& limits);

/// Replaces calls of model-local functions by their bodies, converted to the model's opset.
void inline_functions(onnx::ModelProto& model);

/// The body of a standard operator that ONNX defines as a function, for a node with these input
/// types (VALUE_NOT_SET for absent ones): attributes bound, nodes in opset kNewestOpset. Nothing
/// when the operator is not a function. Throws Error.
std::optional<onnx::FunctionProto> standard_function(const onnx::NodeProto& node,
                                                     const std::vector<onnx::TypeProto>& inputs);

}  // namespace tintype
