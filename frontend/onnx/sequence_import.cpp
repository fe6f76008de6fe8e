// Operators on sequences and optionals: they make and read lists of tensors, few of them nodes.
#include "frontend/onnx/node_import.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "passes/known_value.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <unordered_map>

namespace tintype {

std::string ModelValue::text() const {
  switch (kind_) {
    case Kind::none: return "nothing";
    case Kind::tensor: return values_[0]->type().text();
    case Kind::sequence:
      return "a sequence of " + std::to_string(size()) + (size() == 1 ? " tensor" : " tensors");
    case Kind::absent: return "an optional without a value";
  }
  return "?";
}

/// One node while it is imported.
struct NodeImporter::SequenceNode {
  const onnx::NodeProto& node;
  const std::vector<ModelValue>& operands;
  const Scope& scope;
  NodeImporter& importer;
  Builder b;

  AttrMap attrs() const { return import_attributes(node, importer.limits_); }
  bool has(size_t i) const { return i < operands.size() && !operands[i].is_none(); }
  const ModelValue& operand(size_t i) const {
    if (!has(i)) throw Error("input " + std::to_string(i) + " is required");
    return operands[i];
  }
  const ModelValue& sequence(size_t i) const {
    if (!operand(i).is_sequence())
      throw Error("input " + std::to_string(i) + " must be a sequence, got " + operand(i).text());
    return operand(i);
  }
  Value* tensor(size_t i) const { return tensor_operand(operand(i), i); }

  /// The integers of operand i, which decide about lists. Throws where they are not known.
  std::vector<int64_t> integers(size_t i, const std::string& what) const {
    const Value* v = tensor(i);
    if (!is_int(v->dtype())) throw Error(what + " must be integers, got " + v->type().text());
    const std::optional<Tensor> known = known_tensor(v);
    if (!known) importer.needs_value(v, scope, what + " must be known when compiling");
    std::vector<int64_t> values;
    for (int64_t k = 0; k < known->size(); ++k)
      values.push_back(static_cast<int64_t>(
          load_scalar(known->dtype(), static_cast<const std::byte*>(known->data()) +
                                          static_cast<size_t>(k) * size_of(known->dtype()))));
    return values;
  }

  /// A position counted from the front, where `places` exist.
  size_t position(size_t i, size_t places, const ModelValue& in) const {
    const std::vector<int64_t> at = integers(i, "the position in a sequence");
    if (at.size() != 1)
      throw Error("the position must be one number, got " + tensor(i)->type().text());
    const auto count = static_cast<int64_t>(places), size = static_cast<int64_t>(in.size());
    if (at[0] < -size || at[0] >= count)
      throw Error("position " + std::to_string(at[0]) + " is outside of " + in.text());
    return static_cast<size_t>(at[0] < 0 ? at[0] + size : at[0]);
  }
};

namespace {

void require_element_type(DType dtype, const Value* v) {
  if (v->dtype() == dtype) return;
  throw Error("a sequence of " + std::string(name_of(dtype)) + " tensors cannot hold " +
              v->type().text());
}

bool same_types(const std::vector<Value*>& values) {
  return std::all_of(values.begin(), values.end(),
                     [&](const Value* v) { return v->type() == values[0]->type(); });
}

Value* with_axis(Builder& b, Value* v, int axis) {
  Shape shape = v->shape();
  shape.insert(shape.begin() + axis, Dim(1));
  return b.reshape(v, shape);
}

Value* stacked(Builder& b, const std::vector<Value*>& values, int axis) {
  std::vector<Value*> parts;
  for (Value* v : values) parts.push_back(with_axis(b, v, axis));
  return b.concat(parts, axis);
}

}  // namespace

ModelValue NodeImporter::sequence_construct(SequenceNode& n) {
  std::vector<Value*> elements;
  for (size_t i = 0; i < n.operands.size(); ++i) elements.push_back(n.tensor(i));
  if (elements.empty()) throw Error("input 0 is required");
  for (const Value* v : elements) require_element_type(elements[0]->dtype(), v);
  return ModelValue::sequence(elements[0]->dtype(), elements);
}

ModelValue NodeImporter::sequence_empty(SequenceNode& n) {
  const auto number = static_cast<int32_t>(n.attrs().integer("dtype", onnx::TensorProto::FLOAT));
  const DType dtype = dtype_from_onnx(number);
  if (dtype == DType::undefined)
    throw Error("element type " + onnx_type_name(number) + " is not supported");
  return ModelValue::sequence(dtype, {});
}

ModelValue NodeImporter::sequence_at(SequenceNode& n) {
  const ModelValue& from = n.sequence(0);
  Value* at = n.tensor(1);
  // Elements alike may be picked by a position that only a run knows.
  if (from.size() > 1 && same_types(from.values()) && is_int(at->dtype()) && !known_tensor(at)) {
    if (at->rank() != 0) at = n.b.reshape(at, {});
    return n.b.create("Gather", {stacked(n.b, from.values(), 0), at}, {{"axis", int64_t{0}}})
        ->result();
  }
  return from.values()[n.position(1, from.size(), from)];
}

ModelValue NodeImporter::sequence_insert(SequenceNode& n) {
  const ModelValue& from = n.sequence(0);
  Value* v = n.tensor(1);
  require_element_type(from.dtype(), v);
  std::vector<Value*> elements = from.values();
  const size_t at = n.has(2) ? n.position(2, elements.size() + 1, from) : elements.size();
  elements.insert(elements.begin() + static_cast<std::ptrdiff_t>(at), v);
  return ModelValue::sequence(from.dtype(), elements);
}

ModelValue NodeImporter::sequence_erase(SequenceNode& n) {
  const ModelValue& from = n.sequence(0);
  std::vector<Value*> elements = from.values();
  if (elements.empty()) throw Error("nothing can be erased from an empty sequence");
  const size_t at = n.has(1) ? n.position(1, elements.size(), from) : elements.size() - 1;
  elements.erase(elements.begin() + static_cast<std::ptrdiff_t>(at));
  return ModelValue::sequence(from.dtype(), elements);
}

ModelValue NodeImporter::sequence_length(SequenceNode& n) {
  return n.b.constant(Tensor::scalar<int64_t>(static_cast<int64_t>(n.sequence(0).size())));
}

namespace {

void check_length(uint64_t parts) {
  constexpr uint64_t kMostParts = 65536;
  if (parts > kMostParts)
    throw Error("a sequence of " + std::to_string(parts) + " tensors is longer than " +
                std::to_string(kMostParts));
}

}  // namespace

// Parts of one along the axis, of `split` each (the last may be shorter), or of the sizes given.
ModelValue NodeImporter::split_to_sequence(SequenceNode& n) {
  Value* v = n.tensor(0);
  const AttrMap attrs = n.attrs();
  const int axis = normalize_axis(attrs.integer("axis"), v->rank(), "axis");
  const Dim extent = v->shape()[static_cast<size_t>(axis)];
  if (!extent.is_static())
    throw Error("extent " + extent.text() + " of axis " + std::to_string(axis) +
                " decides the length of a sequence and must be known when compiling; give the "
                "shape of the model's input with --shape");
  const bool single = !n.has(1);
  std::vector<int64_t> sizes;
  if (single || n.tensor(1)->rank() == 0) {
    const int64_t part = single ? 1 : n.integers(1, "the split")[0];
    if (part < 1) throw Error("the split must be positive, got " + std::to_string(part));
    check_length(static_cast<uint64_t>((extent.value() - 1) / part) + 1);
    for (int64_t rest = extent.value(); rest > 0; rest -= part)
      sizes.push_back(std::min(rest, part));
  } else {
    sizes = n.integers(1, "the split");
    int64_t sum = 0;
    for (const int64_t s : sizes) {
      if (s < 0) throw Error("sizes must not be negative, got " + std::to_string(s));
      if (__builtin_add_overflow(sum, s, &sum)) throw Error("the sum of sizes overflows");
    }
    if (sum != extent.value())
      throw Error("the sizes add up to " + std::to_string(sum) + ", the extent of axis " +
                  std::to_string(axis) + " is " + extent.text());
  }
  check_length(sizes.size());
  std::vector<Value*> parts;
  int64_t start = 0;
  for (const int64_t size : sizes) {
    Value* part = n.b.slice_axis(v, axis, start, size);
    if (single && attrs.integer("keepdims", 1) == 0) {
      Shape shape = part->shape();
      shape.erase(shape.begin() + axis);
      part = n.b.reshape(part, shape);
    }
    parts.push_back(part);
    start += size;
  }
  return ModelValue::sequence(v->dtype(), parts);
}

ModelValue NodeImporter::concat_from_sequence(SequenceNode& n) {
  const ModelValue& from = n.sequence(0);
  const AttrMap attrs = n.attrs();
  if (from.size() == 0) throw Error("an empty sequence cannot be concatenated");
  const bool new_axis = attrs.integer("new_axis") != 0;
  const int rank = from.values()[0]->rank() + (new_axis ? 1 : 0);
  const int axis = normalize_axis(attrs.integer("axis"), rank, "axis");
  return new_axis ? stacked(n.b, from.values(), axis) : n.b.concat(from.values(), axis);
}

ModelValue NodeImporter::optional_of(SequenceNode& n) {
  return n.has(0) ? n.operand(0) : ModelValue::absent();
}

ModelValue NodeImporter::optional_has_element(SequenceNode& n) {
  return n.b.scalar(n.has(0) && !n.operand(0).is_absent() ? 1 : 0, DType::boolean);
}

ModelValue NodeImporter::optional_get_element(SequenceNode& n) {
  if (n.operand(0).is_absent()) throw Error("input 0 is an optional without a value");
  return n.operand(0);
}

Value* NodeImporter::tensor_operand(const ModelValue& v, size_t index) {
  if (v.is_none() || v.tensor() != nullptr) return v.tensor();
  throw Error("input " + std::to_string(index) + " must be a tensor, got " + v.text());
}

std::vector<Value*> NodeImporter::tensor_operands(const std::vector<ModelValue>& operands) {
  std::vector<Value*> tensors;
  for (size_t i = 0; i < operands.size(); ++i) tensors.push_back(tensor_operand(operands[i], i));
  return tensors;
}

bool NodeImporter::import_sequence_op(const onnx::NodeProto& node,
                                      const std::vector<ModelValue>& operands, Scope& scope) {
  using Import = ModelValue (*)(SequenceNode&);
  static const std::unordered_map<std::string_view, Import> kOps = {
      {"ConcatFromSequence", concat_from_sequence},
      {"Optional", optional_of},
      {"OptionalGetElement", optional_get_element},
      {"OptionalHasElement", optional_has_element},
      {"SequenceAt", sequence_at},
      {"SequenceConstruct", sequence_construct},
      {"SequenceEmpty", sequence_empty},
      {"SequenceErase", sequence_erase},
      {"SequenceInsert", sequence_insert},
      {"SequenceLength", sequence_length},
      {"SplitToSequence", split_to_sequence}};
  if (node.op_type() == "Identity" && operands.size() == 1 && !operands[0].is_none() &&
      operands[0].tensor() == nullptr) {
    bind(scope, node, 0, operands[0]);
    return true;
  }
  const auto it = kOps.find(node.op_type());
  if (it == kOps.end()) return false;
  SequenceNode n{node, operands, scope, *this, Builder(*graph_)};
  n.b.set_origins(origins_);
  bind(scope, node, 0, it->second(n));
  return true;
}

}  // namespace tintype
