// Rewrites ModelProto -> GraphProto field by field; everything not named here is copied verbatim.
#include "frontend/onnx/skeleton.h"

#include "ir/diagnostic.h"

#include <optional>
#include <set>
#include <vector>

namespace tintype {

namespace {

using wire::Bytes;
using wire::Field;
using wire::Reader;
using wire::Type;

// Field numbers from onnx.proto.
constexpr uint32_t kModelGraph = 7;
constexpr uint32_t kGraphNode = 1, kGraphInitializer = 5, kGraphInput = 11,
                   kGraphSparseInitializer = 15;
constexpr uint32_t kValueInfoName = 1, kValueInfoType = 2;
constexpr uint32_t kTypeTensor = 1, kTensorTypeElement = 1, kTensorTypeShape = 2;
constexpr uint32_t kShapeDim = 1, kDimValue = 1;
constexpr uint32_t kNodeOutput = 2, kNodeOpType = 4, kNodeAttribute = 5, kNodeDomain = 7;
constexpr uint32_t kAttributeName = 1, kAttributeTensor = 5;

std::string value_info(const std::string& name, const TensorRecord& tensor) {
  std::string shape;
  for (int64_t d : tensor.dims) {
    std::string dim;
    wire::append_varint_field(dim, kDimValue, static_cast<uint64_t>(d));
    wire::append_bytes_field(shape, kShapeDim, dim);
  }
  std::string tensor_type;
  wire::append_varint_field(tensor_type, kTensorTypeElement,
                            static_cast<uint64_t>(tensor.data_type));
  wire::append_bytes_field(tensor_type, kTensorTypeShape, shape);
  std::string type;
  wire::append_bytes_field(type, kTypeTensor, tensor_type);
  std::string info;
  wire::append_bytes_field(info, kValueInfoName, name);
  wire::append_bytes_field(info, kValueInfoType, type);
  return info;
}

bool is_large(const TensorRecord& tensor) {
  return tensor.external || tensor.payload > kSkeletonTensorBytes;
}

struct NamedTensor {
  std::string name;
  TensorRecord tensor;
};

/// The tensor of an attribute `value`, when that is all the attribute holds.
std::optional<TensorRecord> value_tensor(Bytes attribute) {
  std::string_view name;
  std::vector<Bytes> tensors;
  Reader reader(attribute);
  for (Field f; reader.next(f);) {
    if (f.is(kAttributeName, Type::bytes)) name = f.text();
    if (f.is(kAttributeTensor, Type::bytes)) tensors.push_back(f.bytes);
  }
  if (name != "value" || tensors.size() != 1) return std::nullopt;
  return scan_tensor(tensors[0]);
}

/// A node `Constant(value = <large tensor>)` with one output.
std::optional<NamedTensor> large_constant(Bytes node) {
  std::string_view op_type, domain;
  std::vector<std::string_view> outputs;
  std::vector<Bytes> attributes;
  Reader reader(node);
  for (Field f; reader.next(f);) {
    if (f.is(kNodeOpType, Type::bytes)) op_type = f.text();
    if (f.is(kNodeDomain, Type::bytes)) domain = f.text();
    if (f.is(kNodeOutput, Type::bytes)) outputs.push_back(f.text());
    if (f.is(kNodeAttribute, Type::bytes)) attributes.push_back(f.bytes);
  }
  if (op_type != "Constant" || !(domain.empty() || domain == "ai.onnx")) return std::nullopt;
  if (outputs.size() != 1 || outputs[0].empty() || attributes.size() != 1) return std::nullopt;
  std::optional<TensorRecord> tensor = value_tensor(attributes[0]);
  if (!tensor.has_value() || !is_large(*tensor)) return std::nullopt;
  return NamedTensor{std::string(outputs[0]), std::move(*tensor)};
}

class Splitter {
 public:
  Skeleton run(Bytes model) {
    collect_inputs(model);
    Reader reader(model);
    for (Field f; reader.next(f);) {
      if (f.is(kModelGraph, Type::bytes))
        wire::append_bytes_field(result_.model, kModelGraph, graph(f.bytes));
      else wire::append(result_.model, f.whole);
    }
    return std::move(result_);
  }

 private:
  void collect_inputs(Bytes model) {
    Reader models(model);
    for (Field g; models.next(g);) {
      if (!g.is(kModelGraph, Type::bytes)) continue;
      Reader graphs(g.bytes);
      for (Field input; graphs.next(input);) {
        if (!input.is(kGraphInput, Type::bytes)) continue;
        Reader infos(input.bytes);
        for (Field f; infos.next(f);)
          if (f.is(kValueInfoName, Type::bytes)) inputs_.emplace(f.text());
      }
    }
  }

  std::string graph(Bytes message) {
    std::string out;
    Reader reader(message);
    for (Field f; reader.next(f);) {
      if (f.is(kGraphSparseInitializer, Type::bytes))
        throw Error("sparse initializers are not supported; store them as dense tensors");
      std::optional<NamedTensor> moved;
      if (f.is(kGraphInitializer, Type::bytes)) {
        TensorRecord tensor = scan_tensor(f.bytes);
        if (is_large(tensor)) moved = {tensor.name, tensor};
      } else if (f.is(kGraphNode, Type::bytes)) {
        moved = large_constant(f.bytes);
        if (moved.has_value()) result_.literals.insert(moved->name);
      }
      if (moved.has_value()) move_out(std::move(*moved), out);
      else wire::append(out, f.whole);
    }
    return out;
  }

  void move_out(NamedTensor weight, std::string& out) {
    if (weight.name.empty()) throw Error("an initializer has no name");
    if (inputs_.count(weight.name) == 0)
      wire::append_bytes_field(out, kGraphInput, value_info(weight.name, weight.tensor));
    if (!result_.weights.emplace(weight.name, std::move(weight.tensor)).second)
      throw Error("two initializers or constants are called '" + weight.name + "'");
  }

  std::set<std::string, std::less<>> inputs_;
  Skeleton result_;
};

}  // namespace

Skeleton make_skeleton(Bytes model) { return Splitter().run(model); }

}  // namespace tintype
