// From a serialized TensorProto to a Tensor, borrowing the file's bytes where that is possible.
#pragma once

#include "frontend/onnx/mapped_file.h"
#include "frontend/onnx/wire.h"
#include "ir/limits.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

/// Where a model's external data lies; each file is mapped once. An empty directory refuses
/// external data.
class ExternalData {
 public:
  explicit ExternalData(std::string directory) : directory_(std::move(directory)) {}
  /// Throws Error.
  const MappedFile& file(const std::string& location);

 private:
  std::string directory_;
  std::map<std::string, MappedFile> files_;
};

/// The fields of a TensorProto that matter, located but not decoded.
struct TensorRecord {
  std::string name;
  std::vector<int64_t> dims;
  int32_t data_type = 0;
  wire::Bytes message;  ///< the whole TensorProto
  size_t payload = 0;   ///< bytes of element data inside the message
  bool external = false;
};

/// Scans a TensorProto. Throws wire::Malformed.
TensorRecord scan_tensor(wire::Bytes message);

/// The tensor of a record whose message lies in memory kept alive by `owner`. Elements are borrowed
/// when they lie there little-endian and naturally aligned, and copied otherwise. Throws Error
/// (without saying which tensor: the caller knows better) and wire::Malformed.
Tensor decode_tensor(const TensorRecord& record, const std::shared_ptr<const void>& owner,
                     ExternalData& external, const Limits& limits);

/// The element type of an ONNX TensorProto::DataType number; undefined for those not supported.
DType dtype_from_onnx(int32_t data_type);
/// Inverse of dtype_from_onnx.
int32_t dtype_to_onnx(DType dtype);
/// "FLOAT8E4M3FN" and the like, for messages; the number when there is no name.
std::string onnx_type_name(int32_t data_type);

}  // namespace tintype
