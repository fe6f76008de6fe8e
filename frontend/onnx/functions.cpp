// Inlining budgets, and expansion of operators that ONNX defines as functions.
#include "frontend/onnx/functions.h"

#include "ir/diagnostic.h"

#include <onnx/defs/schema.h>
#include <onnx/inliner/inliner.h>
#include <onnx/shape_inference/attribute_binder.h>
#include <onnx/version_converter/convert.h>

#include <algorithm>
#include <set>

namespace tintype {

namespace {

std::string identity(const std::string& domain, const std::string& name,
                     const std::string& overload) {
  // Zero bytes keep the parts apart whatever characters they contain.
  return domain + '\0' + name + '\0' + overload;
}

/// Calls `visit` for the nodes of a list and of all graphs nested in them. Recursion is bounded by
/// the nesting limit of the protobuf parser.
template <typename Nodes, typename Visit>
void for_each_node(const Nodes& nodes, const Visit& visit) {
  for (const onnx::NodeProto& node : nodes) {
    visit(node);
    for (const auto& a : node.attribute()) {
      if (a.has_g()) for_each_node(a.g().node(), visit);
      for (const auto& g : a.graphs()) for_each_node(g.node(), visit);
    }
  }
}

/// Size and depth of a function once everything in it is inlined, computed callees first.
class InlinedSize {
 public:
  InlinedSize(const FunctionTable& table, const Limits& limits) : table_(table), limits_(limits) {}

  template <typename Nodes>
  int64_t of(const Nodes& nodes) {
    int64_t total = 0;
    for_each_node(nodes, [&](const onnx::NodeProto& node) {
      const onnx::FunctionProto* callee = table_.find(node);
      if (__builtin_add_overflow(total, callee == nullptr ? 1 : of(*callee), &total) ||
          total > limits_.nodes)
        throw Error("model has more than " + std::to_string(limits_.nodes) +
                    " nodes once its functions are inlined");
    });
    return total;
  }

 private:
  int64_t of(const onnx::FunctionProto& f) {
    if (const auto it = known_.find(&f); it != known_.end()) return it->second;
    if (!active_.insert(&f).second)
      throw Error("model-local function '" + printable(f.name()) + "' calls itself");
    if (static_cast<int>(active_.size()) > limits_.depth)
      throw Error("model-local functions are nested more than " + std::to_string(limits_.depth) +
                  " deep");
    const int64_t size = of(f.node());
    active_.erase(&f);
    known_[&f] = size;
    return size;
  }

  const FunctionTable& table_;
  const Limits& limits_;
  std::unordered_map<const onnx::FunctionProto*, int64_t> known_;
  std::set<const onnx::FunctionProto*> active_;
};

}  // namespace

FunctionTable::FunctionTable(const onnx::ModelProto& model) {
  for (const onnx::FunctionProto& f : model.functions())
    if (!functions_.emplace(identity(f.domain(), f.name(), f.overload()), &f).second)
      throw Error("two model-local functions are called '" + printable(f.name()) + "'");
}

const onnx::FunctionProto* FunctionTable::find(const onnx::NodeProto& node) const {
  if (functions_.empty()) return nullptr;
  const auto it = functions_.find(identity(node.domain(), node.op_type(), node.overload()));
  return it == functions_.end() ? nullptr : it->second;
}

void check_functions(const onnx::ModelProto& model, const FunctionTable& table,
                     const Limits& limits) {
  InlinedSize size(table, limits);
  size.of(model.graph().node());
  for (const onnx::FunctionProto& f : model.functions()) size.of(f.node());
}

void inline_functions(onnx::ModelProto& model) {
  if (model.functions_size() == 0) return;
  onnx::inliner::InlineLocalFunctions(model, /*convert_version=*/true);
}

namespace {

constexpr const char* kDefaultDomain = "";

/// The largest version not above kNewestOpset.
int newest(const std::vector<int>& versions) {
  int best = 0;
  for (int v : versions)
    if (v <= kNewestOpset) best = std::max(best, v);
  return best;
}

/// True when an operator of the body means something else in the newest opset, for all one can
/// know.
bool needs_conversion(const onnx::FunctionProto& f, int version) {
  bool changed = false;
  for_each_node(f.node(), [&](const onnx::NodeProto& n) {
    if (!is_default_domain(n.domain())) return;
    const auto* then = onnx::OpSchemaRegistry::Schema(n.op_type(), version, kDefaultDomain);
    const auto* now = onnx::OpSchemaRegistry::Schema(n.op_type(), kNewestOpset, kDefaultDomain);
    changed =
        changed || then == nullptr || now == nullptr || then->SinceVersion() != now->SinceVersion();
  });
  return changed;
}

void convert_body(onnx::FunctionProto& f, int version, const std::vector<onnx::TypeProto>& inputs) {
  onnx::ModelProto model;
  model.set_ir_version(onnx::IR_VERSION);
  auto* import = model.add_opset_import();
  import->set_domain(kDefaultDomain);
  import->set_version(version);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name(f.name());
  for (int i = 0; i < f.input_size() && i < static_cast<int>(inputs.size()); ++i) {
    auto* input = graph.add_input();
    input->set_name(f.input(i));
    *input->mutable_type() = inputs[static_cast<size_t>(i)];
  }
  // Optional outputs need not be computed by every body.
  std::set<std::string> computed;
  for (const onnx::NodeProto& n : f.node()) computed.insert(n.output().begin(), n.output().end());
  for (const std::string& name : f.output())
    if (computed.count(name) != 0) graph.add_output()->set_name(name);
  graph.mutable_node()->Swap(f.mutable_node());
  model = onnx::version_conversion::ConvertVersion(model, kNewestOpset);
  for (onnx::TensorProto& t : *model.mutable_graph()->mutable_initializer()) {
    onnx::NodeProto* constant = f.add_node();
    constant->set_op_type("Constant");
    constant->add_output(t.name());
    onnx::AttributeProto* value = constant->add_attribute();
    value->set_name("value");
    value->set_type(onnx::AttributeProto::TENSOR);
    value->mutable_t()->Swap(&t);
  }
  for (onnx::NodeProto& n : *model.mutable_graph()->mutable_node()) f.add_node()->Swap(&n);
}

/// Formal inputs without an actual one are absent inside the body, too.
void drop_absent_inputs(onnx::FunctionProto& f, const onnx::NodeProto& call) {
  for (int i = 0; i < f.input_size(); ++i) {
    if (i < call.input_size() && !call.input(i).empty()) continue;
    for (onnx::NodeProto& n : *f.mutable_node())
      for (std::string& name : *n.mutable_input())
        if (name == f.input(i)) name.clear();
  }
}

onnx::NodeProto with_defaults(const onnx::NodeProto& node, const onnx::OpSchema& schema) {
  onnx::NodeProto full = node;
  for (const auto& [name, attribute] : schema.attributes()) {
    const bool present = std::any_of(node.attribute().begin(), node.attribute().end(),
                                     [&n = name](const auto& a) { return a.name() == n; });
    if (!present && attribute.default_value.has_name())
      *full.add_attribute() = attribute.default_value;
  }
  return full;
}

}  // namespace

std::optional<onnx::FunctionProto> standard_function(const onnx::NodeProto& node,
                                                     const std::vector<onnx::TypeProto>& inputs) {
  if (!is_default_domain(node.domain())) return std::nullopt;
  const auto* schema = onnx::OpSchemaRegistry::Schema(node.op_type(), kNewestOpset, kDefaultDomain);
  if (schema == nullptr) return std::nullopt;
  const onnx::NodeProto call = with_defaults(node, *schema);
  onnx::FunctionProto function;
  int version = newest(schema->function_opset_versions());
  if (version != 0) {
    function = *schema->GetFunction(version);
  } else {
    version = newest(schema->context_dependent_function_opset_versions());
    if (version == 0) return std::nullopt;
    const onnx::FunctionBodyBuildContextImpl context(call, inputs);
    if (!schema->BuildContextDependentFunction(context, function, version)) return std::nullopt;
  }
  try {
    onnx::internal::AttributeBinder::BindAttributes(call, function);
    drop_absent_inputs(function, call);
    if (needs_conversion(function, version)) convert_body(function, version, inputs);
  } catch (const std::exception& e) {
    throw Error("cannot expand the operator's definition: " + one_line(e.what()));
  }
  return function;
}

}  // namespace tintype
