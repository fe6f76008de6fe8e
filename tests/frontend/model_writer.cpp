// Field numbers are those of onnx.proto.
#include "tests/frontend/model_writer.h"

#include "ir/diagnostic.h"

#include <cstring>

namespace tintype::test {

namespace {

Message tensor_header(std::string_view name, int data_type, const std::vector<int64_t>& dims) {
  Message m;
  for (int64_t d : dims) m.integer(1, d);
  return m.integer(2, data_type).text(8, name);
}

Message named(std::string_view name, int type) { return Message().text(1, name).integer(20, type); }

}  // namespace

Message tensor(std::string_view name, int data_type, const std::vector<int64_t>& dims,
               std::string_view raw) {
  return tensor_header(name, data_type, dims).text(9, raw);
}

Message floats(std::string_view name, const std::vector<int64_t>& dims,
               const std::vector<float>& values) {
  return tensor(name, kFloat, dims, raw_bytes(values));
}

Message int64s(std::string_view name, const std::vector<int64_t>& dims,
               const std::vector<int64_t>& values) {
  return tensor(name, kInt64, dims, raw_bytes(values));
}

Message external_tensor(std::string_view name, int data_type, const std::vector<int64_t>& dims,
                        const std::vector<std::pair<std::string, std::string>>& entries) {
  Message m = tensor_header(name, data_type, dims);
  for (const auto& [key, text] : entries) m.message(13, Message().text(1, key).text(2, text));
  return m.integer(14, 1);
}

Message tensor_type(int data_type, const Extents& extents) {
  Message shape;
  for (const Extent& e : extents) {
    Message dim;
    if (const auto* number = std::get_if<int64_t>(&e)) dim.integer(1, *number);
    else if (!std::get<std::string>(e).empty()) dim.text(2, std::get<std::string>(e));
    shape.message(1, dim);
  }
  return Message().message(1, Message().integer(1, data_type).message(2, shape));
}

Message sequence_type(const Message& element) {
  return Message().message(4, Message().message(1, element));
}

Message optional_type(const Message& held) {
  return Message().message(9, Message().message(1, held));
}

Message value(std::string_view name, const Message& type) {
  return Message().text(1, name).message(2, type);
}

Message value(std::string_view name, int data_type, const Extents& extents) {
  return value(name, tensor_type(data_type, extents));
}

Message attribute(std::string_view name, int64_t value) { return named(name, 2).integer(3, value); }

Message attribute(std::string_view name, float value) {
  std::string field(1, static_cast<char>((2 << 3) | 5));
  field.append(reinterpret_cast<const char*>(&value), sizeof(value));
  return named(name, 1).raw(field);
}

Message attribute(std::string_view name, std::string_view value) {
  return named(name, 3).text(4, value);
}

Message attribute(std::string_view name, const std::vector<int64_t>& value) {
  Message m = named(name, 7);
  for (int64_t v : value) m.integer(8, v);
  return m;
}

Message tensor_attribute(std::string_view name, const Message& value) {
  return named(name, 4).message(5, value);
}

Message graph_attribute(std::string_view name, const Message& value) {
  return named(name, 5).message(6, value);
}

Message attribute_reference(std::string_view name, std::string_view of_call, int type) {
  return named(name, type).text(21, of_call);
}

Message node(std::string_view op, const std::vector<std::string>& inputs,
             const std::vector<std::string>& outputs, const std::vector<Message>& attributes,
             std::string_view name) {
  Message m;
  for (const auto& i : inputs) m.text(1, i);
  for (const auto& o : outputs) m.text(2, o);
  if (!name.empty()) m.text(3, name);
  const size_t colons = op.find("::");
  m.text(4, colons == std::string_view::npos ? op : op.substr(colons + 2));
  for (const auto& a : attributes) m.message(5, a);
  if (colons != std::string_view::npos) m.text(7, op.substr(0, colons));
  return m;
}

Message graph(const GraphParts& parts) {
  Message m;
  for (const auto& n : parts.nodes) m.message(1, n);
  m.text(2, "test");
  for (const auto& t : parts.initializers) m.message(5, t);
  for (const auto& i : parts.inputs) m.message(11, i);
  for (const auto& o : parts.outputs) m.message(12, o);
  return m;
}

std::string model(const GraphParts& parts, const ModelParts& how) {
  Message m;
  m.integer(1, how.ir_version).message(7, graph(parts));
  m.message(8, Message().text(1, "").integer(2, how.opset));
  for (const auto& [domain, version] : how.other_opsets)
    m.message(8, Message().text(1, domain).integer(2, version));
  for (const auto& f : how.functions) m.message(25, f);
  return m.bytes();
}

Message function(std::string_view domain, std::string_view name,
                 const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::vector<Message>& nodes, int64_t opset,
                 const std::vector<std::string>& attributes) {
  Message m;
  m.text(1, name);
  for (const auto& i : inputs) m.text(4, i);
  for (const auto& o : outputs) m.text(5, o);
  for (const auto& a : attributes) m.text(6, a);
  for (const auto& n : nodes) m.message(7, n);
  m.message(9, Message().text(1, "").integer(2, opset));
  m.message(9, Message().text(1, domain).integer(2, 1));
  return m.text(10, domain);
}

ModelBytes view(const std::string& bytes, const std::string& directory) {
  return {{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
          nullptr,
          "model.onnx",
          directory};
}

std::string import_error(const std::string& bytes, const ImportOptions& options,
                         const std::string& directory) {
  try {
    import_onnx(view(bytes, directory), options);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace tintype::test
