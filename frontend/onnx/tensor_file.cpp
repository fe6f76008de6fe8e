// A TensorProto by itself is decoded like an initializer.
#include "frontend/onnx/tensor_file.h"

#include "frontend/onnx/mapped_file.h"
#include "frontend/onnx/model_proto.h"
#include "frontend/onnx/tensor_decode.h"
#include "ir/diagnostic.h"

namespace tintype {

Tensor load_tensor_proto(const std::string& path) {
  try {
    const MappedFile file = map_file(path);
    ExternalData none("");
    return decode_tensor(scan_tensor(file.bytes), file.owner, none, Limits());
  } catch (const Error& e) {
    throw Error(printable(path) + ": " + e.what());
  } catch (const wire::Malformed& e) {
    throw Error(printable(path) + ": not a tensor: " + e.what());
  }
}

}  // namespace tintype
