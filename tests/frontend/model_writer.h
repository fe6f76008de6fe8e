// Writes small ONNX models as bytes, also ones that no ONNX library would agree to write.
#pragma once

#include "frontend/onnx/import.h"
#include "frontend/onnx/wire.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tintype::test {

/// ONNX's numbers for element types.
inline constexpr int kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7, kString = 8,
                     kBool = 9, kFloat16 = 10, kFloat8 = 17;

using Extent = std::variant<int64_t, std::string>;
using Extents = std::vector<Extent>;

/// A protobuf message under construction.
class Message {
 public:
  Message& integer(uint32_t number, int64_t value) {
    wire::append_varint_field(bytes_, number, static_cast<uint64_t>(value));
    return *this;
  }
  Message& text(uint32_t number, std::string_view value) {
    wire::append_bytes_field(bytes_, number, value);
    return *this;
  }
  Message& message(uint32_t number, const Message& value) { return text(number, value.bytes_); }
  Message& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

template <typename T>
std::string raw_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// TensorProto with raw_data.
Message tensor(std::string_view name, int data_type, const std::vector<int64_t>& dims,
               std::string_view raw);
Message floats(std::string_view name, const std::vector<int64_t>& dims,
               const std::vector<float>& values);
Message int64s(std::string_view name, const std::vector<int64_t>& dims,
               const std::vector<int64_t>& values);
/// TensorProto whose data lies in a file; `entries` are the keys and values of external_data.
Message external_tensor(std::string_view name, int data_type, const std::vector<int64_t>& dims,
                        const std::vector<std::pair<std::string, std::string>>& entries);

/// TypeProto of a tensor, of a sequence of such, of an optional.
Message tensor_type(int data_type, const Extents& extents);
Message sequence_type(const Message& element);
Message optional_type(const Message& held);
/// ValueInfoProto.
Message value(std::string_view name, const Message& type);
Message value(std::string_view name, int data_type, const Extents& extents);

Message attribute(std::string_view name, int64_t value);
Message attribute(std::string_view name, float value);
Message attribute(std::string_view name, std::string_view value);
Message attribute(std::string_view name, const std::vector<int64_t>& value);
Message tensor_attribute(std::string_view name, const Message& value);
Message graph_attribute(std::string_view name, const Message& value);
/// Inside a function: the value comes from the call's attribute `of_call`; `type` is ONNX's number.
Message attribute_reference(std::string_view name, std::string_view of_call, int type);

/// NodeProto. An op written "domain::Op" is in that domain.
Message node(std::string_view op, const std::vector<std::string>& inputs,
             const std::vector<std::string>& outputs, const std::vector<Message>& attributes = {},
             std::string_view name = "");

struct GraphParts {
  std::vector<Message> nodes = {}, initializers = {}, inputs = {}, outputs = {};
};
Message graph(const GraphParts& parts);

struct ModelParts {
  int64_t ir_version = 8;
  int64_t opset = 17;
  std::vector<Message> functions = {};
  std::vector<std::pair<std::string, int64_t>> other_opsets = {};
};
/// A serialized ModelProto.
std::string model(const GraphParts& parts, const ModelParts& how = {});

/// FunctionProto.
Message function(std::string_view domain, std::string_view name,
                 const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::vector<Message>& nodes, int64_t opset,
                 const std::vector<std::string>& attributes = {});

/// The model bytes as the importer takes them; `bytes` must outlive the result of importing.
ModelBytes view(const std::string& bytes, const std::string& directory = "");

/// The message of the Error that importing throws, or "" when it succeeds.
std::string import_error(const std::string& bytes, const ImportOptions& options = {},
                         const std::string& directory = "");

}  // namespace tintype::test
