// One ONNX node at a time: constants, decided branches, nodes with a record, functions.
#include "frontend/onnx/node_import.h"

#include "frontend/onnx/functions.h"
#include "frontend/onnx/legacy.h"
#include "ir/arithmetic_errors.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace tintype {

bool Scope::is_poisoned(const std::string& name) const {
  for (const Scope* s = this; s != nullptr; s = s->outer) {
    if (s->poisoned.count(name) != 0) return true;
    if (s->values.count(name) != 0) return false;
  }
  return false;
}

onnx::TypeProto type_proto(const TensorType& type) {
  onnx::TypeProto proto;
  auto* tensor = proto.mutable_tensor_type();
  tensor->set_elem_type(dtype_to_onnx(type.dtype));
  write_shape(type.shape, *tensor->mutable_shape());
  return proto;
}

namespace {

/// The same of what a name stands for; VALUE_NOT_SET for what is left out or absent.
onnx::TypeProto value_type_proto(const ModelValue& v) {
  if (v.tensor() != nullptr) return type_proto(v.tensor()->type());
  onnx::TypeProto proto;
  if (v.is_sequence()) {
    auto* element = proto.mutable_sequence_type()->mutable_elem_type();
    element->mutable_tensor_type()->set_elem_type(dtype_to_onnx(v.dtype()));
  }
  return proto;
}

bool starts_with(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

/// Messages of op records begin with the origin and the op in parentheses; the label says both
/// better.
std::string without_place(const std::string& message, const std::string& origin) {
  if (!starts_with(message, origin)) return message;
  size_t at = origin.size();
  if (message.compare(at, 2, " (") == 0) {
    const size_t close = message.find(')', at);
    if (close != std::string::npos) at = close + 1;
  }
  return message.compare(at, 2, ": ") == 0 ? message.substr(at + 2) : message;
}

/// Attributes the record does not know would be ignored silently, those of another kind misread.
void check_attributes(const AttrMap& attrs, const OpDef& def) {
  const auto kind_of = [](const Attr& a) {
    constexpr AttrKind kinds[] = {AttrKind::integer,  AttrKind::number,  AttrKind::string,
                                  AttrKind::integers, AttrKind::numbers, AttrKind::strings,
                                  AttrKind::tensor};
    return kinds[a.index()];  // the importer makes no other kinds
  };
  for (const auto& [name, value] : attrs.entries()) {
    const auto known = std::find_if(def.attrs.begin(), def.attrs.end(),
                                    [&n = name](const AttrDef& a) { return a.name == n; });
    if (known == def.attrs.end())
      throw Error("attribute '" + printable(name) + "' is not supported");
    if (kind_of(value) != known->kind)
      throw Error("attribute '" + printable(name) + "' must be a " +
                  std::string(name_of(known->kind)) + ", found a " +
                  std::string(name_of(kind_of(value))));
  }
  for (const AttrDef& a : def.attrs)
    if (a.required && !attrs.has(a.name))
      throw Error("attribute '" + std::string(a.name) + "' is missing");
}

bool has_graph(const onnx::NodeProto& node) {
  for (const auto& a : node.attribute())
    if (a.has_g() || a.graphs_size() != 0) return true;
  return false;
}

/// Only floats with an axis can be parameters; the others need no mark.
void mark(Value* constant, ConstantSource source) {
  if (is_float(constant->dtype()) && constant->rank() > 0) set_source(*constant->def(), source);
}

}  // namespace

Value* NodeImporter::weight(const std::string& name, const TensorRecord& record,
                            const std::shared_ptr<const void>& owner) {
  try {
    Builder b(*graph_);
    Value* v = b.constant(decode_tensor(record, owner, external_, limits_));
    v->set_name(name);
    mark(v,
         skeleton_.literals.count(name) != 0 ? ConstantSource::literal : prepared_.source_of(name));
    return v;
  } catch (const Error& e) {
    throw Error("tensor '" + printable(name) + "': " + e.what());
  } catch (const wire::Malformed& e) {
    throw Error("tensor '" + printable(name) + "': malformed: " + e.what());
  }
}

ModelValue NodeImporter::find(Scope& scope, const std::string& name) {
  if (const auto it = scope.values.find(name); it != scope.values.end()) return it->second;
  if (scope.poisoned.count(name) != 0) return {};
  if (const auto it = scope.initializers.find(name); it != scope.initializers.end()) {
    const std::string bytes = it->second->SerializeAsString();
    const TensorRecord record =
        scan_tensor({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    return scope.values[name] = weight(name, record, nullptr);
  }
  if (scope.body != nullptr) return capture(scope, name);
  if (scope.outer != nullptr) return find(*const_cast<Scope*>(scope.outer), name);
  if (const auto it = weights_.find(name); it != weights_.end()) return it->second;
  const auto stored = skeleton_.weights.find(name);
  if (stored == skeleton_.weights.end())
    throw Error("value '" + printable(name) + "' is not defined");
  return weights_[name] = weight(name, stored->second, owner_);
}

void NodeImporter::bind(Scope& scope, const onnx::NodeProto& node, int index,
                        const ModelValue& value) {
  const std::string& name = node.output(index);
  if (name.empty()) return;
  if (Value* t = value.tensor(); t != nullptr && t->name().empty() && t->def() != nullptr)
    t->set_name(name);
  if (!scope.values.emplace(name, value).second)
    throw Error("value '" + printable(name) + "' is computed twice");
}

NodeImporter::Place NodeImporter::place_of(
    const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes, int index) const {
  const onnx::NodeProto& node = nodes[index];
  // Nodes that the converter adds have no name; they serve the next one that has.
  int named = index;
  while (named < nodes.size() && nodes[named].name().empty()) {
    for (const std::string& output : nodes[named].output())
      if (const auto it = prepared_.node_names.find(output); it != prepared_.node_names.end())
        return {it->second, prepared_.labels.at(output)};
    ++named;
  }
  const std::string origin = named < nodes.size() ? nodes[named].name() : node.op_type();
  for (const std::string& output : node.output())
    if (const auto it = prepared_.labels.find(output); it != prepared_.labels.end())
      return {origin, it->second};
  const std::string domain = is_default_domain(node.domain()) ? "" : node.domain() + "::";
  return {origin, printable(origin) + " (" + printable(domain + node.op_type()) + ")"};
}

void NodeImporter::import_nodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes,
                                Scope& scope, int depth) {
  if (depth > limits_.depth)
    throw Error("functions and branches are nested more than " + std::to_string(limits_.depth) +
                " deep");
  for (int i = 0; i < nodes.size(); ++i) {
    const onnx::NodeProto& node = nodes[i];
    const Place place = place_of(nodes, i);
    // Nodes of an expanded function belong to the node that was expanded.
    const bool outermost = depth == 0;
    if (outermost) origins_ = {place.origin};
    try {
      if (++imported_ > limits_.nodes)
        throw Error("model has more than " + std::to_string(limits_.nodes) + " nodes");
      with_arithmetic_errors("", [&] { import_node(node, place, scope, depth); });
    } catch (const NeedsInputValue& e) {
      if (!outermost) throw;
      throw NeedsInputValue(e.input(), place.label + ": " + without_place(e.what(), place.origin));
    } catch (const Error& e) {
      if (!outermost) throw;
      for (const std::string& output : node.output()) scope.poisoned.insert(output);
      const std::string message = e.what();
      problem_(starts_with(message, place.label)
                   ? message
                   : place.label + ": " + without_place(message, place.origin));
    }
  }
}

void NodeImporter::import_node(const onnx::NodeProto& node, const Place& place, Scope& scope,
                               int depth) {
  if (node.domain() == kUnknownDomain) {
    const auto it = prepared_.unknown.find(node.name());
    throw Error(it != prepared_.unknown.end() ? it->second : place.label + ": unknown operator");
  }
  if (is_default_domain(node.domain()) && node.op_type() == "Constant")
    return import_constant(node, scope);
  std::vector<ModelValue> operands;
  for (const std::string& name : node.input()) {
    operands.push_back(name.empty() ? ModelValue() : find(scope, name));
    if (!name.empty() && operands.back().is_none()) {  // the cause is reported already
      for (const std::string& output : node.output()) scope.poisoned.insert(output);
      return;
    }
  }
  while (!operands.empty() && operands.back().is_none()) operands.pop_back();
  const bool standard = is_default_domain(node.domain());
  if (standard && node.op_type() == "If" && !operands.empty())
    return import_if(node, tensor_operand(operands[0], 0), scope, depth);
  if (standard && node.op_type() == "Scan")
    return import_scan(node, tensor_operands(operands), scope, depth);
  if (standard && node.op_type() == "Loop") return import_loop(node, operands, scope, depth);
  if (standard && import_sequence_op(node, operands, scope)) return;
  if (has_graph(node) && !(standard && node.op_type() == "SequenceMap"))
    throw Error("operators with graphs inside other than If, Loop, Scan and SequenceMap are not "
                "supported");
  const std::string name = standard ? node.op_type() : node.domain() + "::" + node.op_type();
  // Core ops of Tintype itself have no domain; those that plugins bring do.
  if (const OpDef* def = find_op(name); def != nullptr && (!def->is_core() || !standard))
    return import_record(node, *def, tensor_operands(operands), scope);
  if (!import_function(node, operands, scope, depth))
    throw Error("operator '" + printable(name) + "' is not supported");
}

void NodeImporter::import_constant(const onnx::NodeProto& node, Scope& scope) {
  if (node.attribute_size() != 1 || node.output_size() != 1)
    throw Error("expected one attribute and one output");
  const AttrMap attrs = import_attributes(node, limits_);
  const auto& [kind, attr] = *attrs.entries().begin();
  const std::string& name = kind;
  Tensor value;
  if (const auto* tensor = std::get_if<Tensor>(&attr); tensor != nullptr && name == "value") {
    value = *tensor;
  } else if (const auto* i = std::get_if<int64_t>(&attr); i != nullptr && name == "value_int") {
    value = Tensor::scalar<int64_t>(*i);
  } else if (const auto* f = std::get_if<double>(&attr); f != nullptr && name == "value_float") {
    value = Tensor::scalar<float>(static_cast<float>(*f));
  } else if (const auto* is = std::get_if<std::vector<int64_t>>(&attr);
             is != nullptr && name == "value_ints") {
    value = Tensor::from<int64_t>({static_cast<int64_t>(is->size())}, *is);
  } else if (const auto* fs = std::get_if<std::vector<double>>(&attr);
             fs != nullptr && name == "value_floats") {
    const std::vector<float> narrow(fs->begin(), fs->end());
    value = Tensor::from<float>({static_cast<int64_t>(narrow.size())}, narrow);
  } else {
    throw Error("constants given as '" + printable(name) + "' are not supported");
  }
  Builder b(*graph_);
  b.set_origins(origins_);
  Value* constant = b.constant(std::move(value));
  mark(constant, ConstantSource::literal);
  bind(scope, node, 0, constant);
}

void NodeImporter::import_record(const onnx::NodeProto& node, const OpDef& def,
                                 std::vector<Value*> operands, Scope& scope) {
  AttrMap attrs = import_attributes(node, limits_);
  check_attributes(attrs, def);
  int results = node.output_size();
  while (results > def.min_results && node.output(results - 1).empty()) --results;
  results = std::max(results, def.min_results);
  if (def.max_results >= 0 && results > def.max_results)
    throw Error(std::to_string(results) + " outputs are wanted, at most " +
                std::to_string(def.max_results) + " are supported");
  Builder b(*graph_);
  b.set_origins(origins_);
  adapt_node(b, def.name, prepared_.info.opset, operands, attrs);
  Node* created = b.create(def.name, std::move(operands), std::move(attrs), results);
  for (int i = 0; i < std::min(results, node.output_size()); ++i) {
    if (created->result(i)->dtype() == DType::undefined && !node.output(i).empty())
      throw Error("output " + std::to_string(i) + " is not supported");
    bind(scope, node, i, created->result(i));
  }
}

bool NodeImporter::import_function(const onnx::NodeProto& node,
                                   const std::vector<ModelValue>& operands, Scope& scope,
                                   int depth) {
  std::vector<onnx::TypeProto> types;
  for (const ModelValue& v : operands) types.push_back(value_type_proto(v));
  const std::optional<onnx::FunctionProto> f = standard_function(node, types);
  if (!f.has_value()) return false;
  Scope inner;
  if (has_graph(node)) inner.outer = &scope;  // which its graph may read
  for (int i = 0; i < f->input_size() && i < static_cast<int>(operands.size()); ++i)
    if (!operands[static_cast<size_t>(i)].is_none())
      inner.values[f->input(i)] = operands[static_cast<size_t>(i)];
  import_nodes(f->node(), inner, depth + 1);
  for (int i = 0; i < node.output_size() && i < f->output_size(); ++i)
    if (!node.output(i).empty()) bind(scope, node, i, find(inner, f->output(i)));
  return true;
}

}  // namespace tintype
