// Separates a serialized model into its structure and its weights, so that protobuf, ONNX's checker
// and its version converter only ever see the structure.
#pragma once

#include "frontend/onnx/tensor_decode.h"
#include "frontend/onnx/wire.h"

#include <map>
#include <set>
#include <string>

namespace tintype {

struct Skeleton {
  /// A serialized ModelProto. Large and external initializers, and large `Constant` nodes of the
  /// main graph, appear as graph inputs.
  std::string model;
  /// What those inputs stand for, by value name.
  std::map<std::string, TensorRecord> weights;
  /// Those of them that are `Constant` nodes.
  std::set<std::string> literals;
};

/// Tensors up to this many bytes stay in the skeleton: axes, shapes and scalars, whose values the
/// converter and shape inference want to see.
inline constexpr size_t kSkeletonTensorBytes = 1024;

/// Throws wire::Malformed, and Error for duplicate names and sparse initializers.
Skeleton make_skeleton(wire::Bytes model);

}  // namespace tintype
