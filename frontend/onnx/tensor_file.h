// Tensors in files of their own, as ONNX's test suite stores inputs and outputs.
#pragma once

#include "runtime/tensor.h"

#include <string>

namespace tintype {

/// Reads a serialized TensorProto. Throws Error, naming the file. Thread-safe.
Tensor load_tensor_proto(const std::string& path);

}  // namespace tintype
