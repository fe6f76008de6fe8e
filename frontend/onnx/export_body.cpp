// Names, constants, extents and regions on the way from Graph to ONNX.
#include "frontend/onnx/export_body.h"

#include "frontend/onnx/model_proto.h"
#include "frontend/onnx/node_import.h"
#include "frontend/onnx/tensor_decode.h"
#include "ir/diagnostic.h"

#include <algorithm>

namespace tintype {

onnx::TensorProto tensor_proto(const Tensor& tensor, const std::string& name) {
  onnx::TensorProto proto;
  proto.set_name(name);
  for (int64_t d : tensor.dims()) proto.add_dims(d);
  proto.set_data_type(dtype_to_onnx(tensor.dtype()));
  if (tensor.bytes() != 0) proto.set_raw_data(tensor.data(), tensor.bytes());
  else proto.set_raw_data("");
  return proto;
}

namespace {

struct AttributeWriter {
  onnx::AttributeProto& a;

  void operator()(int64_t v) const {
    a.set_type(onnx::AttributeProto::INT);
    a.set_i(v);
  }
  void operator()(double v) const {
    a.set_type(onnx::AttributeProto::FLOAT);
    a.set_f(static_cast<float>(v));
  }
  void operator()(const std::string& v) const {
    a.set_type(onnx::AttributeProto::STRING);
    a.set_s(v);
  }
  void operator()(const std::vector<int64_t>& v) const {
    a.set_type(onnx::AttributeProto::INTS);
    for (int64_t i : v) a.add_ints(i);
  }
  void operator()(const std::vector<double>& v) const {
    a.set_type(onnx::AttributeProto::FLOATS);
    for (double f : v) a.add_floats(static_cast<float>(f));
  }
  void operator()(const std::vector<std::string>& v) const {
    a.set_type(onnx::AttributeProto::STRINGS);
    for (const std::string& s : v) a.add_strings(s);
  }
  void operator()(const Tensor& v) const {
    a.set_type(onnx::AttributeProto::TENSOR);
    *a.mutable_t() = tensor_proto(v, "");
  }
  void operator()(DType v) const { (*this)(int64_t{dtype_to_onnx(v)}); }
  void operator()(const Shape& v) const {
    const bool all_static =
        std::all_of(v.begin(), v.end(), [](const Dim& d) { return d.is_static(); });
    if (all_static) {
      std::vector<int64_t> values;
      for (const Dim& d : v) values.push_back(d.value());
      return (*this)(values);
    }
    std::vector<std::string> texts;
    for (const Dim& d : v) texts.push_back(d.text());
    (*this)(texts);
  }
};

}  // namespace

void export_attributes(const AttrMap& attrs, onnx::NodeProto& node) {
  for (const auto& [name, value] : attrs.entries()) {
    onnx::AttributeProto& a = *node.add_attribute();
    a.set_name(name);
    std::visit(AttributeWriter{a}, value);
  }
}

BodyExporter::BodyExporter(const Graph& graph, ExportedModel& model, NodeProtos& nodes,
                           ValueInfos& infos, bool is_main)
    : graph_(graph), model_(model), nodes_(nodes), infos_(infos), is_main_(is_main) {}

std::string BodyExporter::fresh(const std::string& stem) {
  std::string name = stem;
  for (int i = 1; !taken_.insert(name).second; ++i) name = stem + "_" + std::to_string(i);
  return name;
}

void BodyExporter::name_values() {
  // The interface keeps its names at all costs, values keep theirs where they are still free.
  for (const auto& input : graph_.inputs())
    if (names_.count(input.get()) == 0)
      names_[input.get()] = fresh(input->name().empty() ? "input" : input->name());
  for (size_t i = 0; i < graph_.output_count(); ++i) {
    const Value* v = graph_.output(i);
    const std::string& wanted = graph_.output_name(i);
    const auto known = names_.find(v);
    if (known != names_.end() && known->second == wanted) {  // an input passed through
      outputs_.push_back(wanted);
      continue;
    }
    outputs_.push_back(fresh(wanted.empty() ? "output" : wanted));
    const bool computed = v->def() != nullptr && v->constant() == nullptr;
    if (computed && known == names_.end()) names_[v] = outputs_.back();
  }
  for (const auto& n : graph_.nodes())
    for (int i = 0; i < n->result_count(); ++i) {
      const Value* v = n->result(i);
      if (names_.count(v) != 0) continue;
      const bool unused = v->uses().empty() && v->output_uses() == 0;
      if (unused && v->dtype() == DType::undefined) names_[v] = "";
      else names_[v] = fresh(v->name().empty() ? std::string(n->name()) + "_out" : v->name());
    }
}

void BodyExporter::run() {
  name_values();
  for (const auto& n : graph_.nodes()) export_node(*n);
  export_outputs();
}

void BodyExporter::export_outputs() {
  node_ = nullptr;
  for (size_t i = 0; i < graph_.output_count(); ++i) {
    const std::string& name = names_.at(graph_.output(i));
    if (name != outputs_[i]) emit("Identity", {name}, {}, outputs_[i]);
  }
}

void BodyExporter::describe(const std::string& name, const TensorType& type, bool has_type) {
  if (!has_type || name.empty()) return;
  onnx::ValueInfoProto& info = *infos_.Add();
  info.set_name(name);
  *info.mutable_type() = type_proto(type);
}

/// All constants become initializers, so what the model's file said of them stands beside them.
void BodyExporter::describe_source(const Node& constant) {
  const ConstantSource source = source_of(constant);
  if (source == ConstantSource::initializer) return;
  describe(result(), constant.result()->type(), /*has_type=*/true);
  auto* metadata = infos_.Mutable(infos_.size() - 1)->add_metadata_props();
  metadata->set_key(kSourceKey);
  metadata->set_value(std::string(name_of(source)));
}

std::string BodyExporter::operand(int i) const {
  const Value* v = node_->operand(i);
  return v == nullptr ? "" : names_.at(v);
}

onnx::NodeProto& BodyExporter::emit_node(const std::string& op, const std::string& domain,
                                         std::vector<std::string> inputs,
                                         const std::vector<std::string>& outputs,
                                         const AttrMap& attrs) {
  onnx::NodeProto& proto = *nodes_.Add();
  proto.set_op_type(op);
  proto.set_domain(domain);
  std::string stem = node_ == nullptr ? op : node_->where();
  std::string name = stem;
  for (int i = 1; !node_names_.insert(name).second; ++i) name = stem + "_" + std::to_string(i);
  proto.set_name(name);
  while (!inputs.empty() && inputs.back().empty()) inputs.pop_back();
  for (std::string& i : inputs) proto.add_input(std::move(i));
  for (const std::string& o : outputs) proto.add_output(o);
  export_attributes(attrs, proto);
  return proto;
}

std::string BodyExporter::emit(const std::string& op, std::vector<std::string> inputs,
                               const AttrMap& attrs, std::string output) {
  if (output.empty()) output = fresh(op + "_out");
  emit_node(op, "", std::move(inputs), {output}, attrs);
  return output;
}

std::string BodyExporter::constant(const Tensor& value, const std::string& name) {
  const std::string given = name.empty() ? fresh("constant") : name;
  if (is_main_) model_.weights.push_back({given, value});
  else emit_node("Constant", "", {}, {given}, {{"value", value}});
  return given;
}

std::string BodyExporter::int64s(const std::vector<int64_t>& values) {
  return constant(Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values));
}

std::string BodyExporter::symbol(const std::string& name) {
  // A body may count in extents of the graphs around it.
  for (const BodyExporter* b = this; b != nullptr; b = b->outer_) {
    for (size_t i = 0; i < b->graph_.inputs().size(); ++i) {
      const Shape& shape = b->graph_.inputs()[i]->shape();
      for (size_t axis = 0; axis < shape.size(); ++axis)
        if (shape[axis].symbol_name() == name) {
          const auto at = static_cast<int64_t>(axis);
          return emit("Shape", {b->input_name(i)}, {{"start", at}, {"end", at + 1}});
        }
    }
  }
  throw Error("cannot export: no input has the extent '" + name + "'");
}

std::string BodyExporter::atom(const DimAtom& a) {
  if (a.kind == DimAtom::Kind::symbol) return symbol(a.name);
  const std::string x = extent(a.a);
  const std::string y = extent(a.b);
  if (a.kind == DimAtom::Kind::min) return emit("Min", {x, y});
  if (a.kind == DimAtom::Kind::max) return emit("Max", {x, y});
  // floor(x / y) = (x - mod(x, y)) / y exactly; ONNX's Div would truncate.
  return emit("Div", {emit("Sub", {x, emit("Mod", {x, y})}), y});
}

std::string BodyExporter::extent(const Dim& d) {
  const std::string text = d.text();
  if (const auto it = extents_.find(text); it != extents_.end()) return it->second;
  if (d.is_static()) return extents_[text] = int64s({d.value()});
  std::string sum;
  for (const DimTerm& term : d.poly()->terms) {
    std::string product;
    for (const auto& a : term.atoms) {
      const std::string factor = atom(*a);
      product = product.empty() ? factor : emit("Mul", {product, factor});
    }
    if (product.empty()) product = int64s({term.coefficient});
    else if (term.coefficient != 1) product = emit("Mul", {product, int64s({term.coefficient})});
    sum = sum.empty() ? product : emit("Add", {sum, product});
  }
  return extents_[text] = sum;
}

std::string BodyExporter::extents(const Shape& shape) {
  std::vector<std::string> parts;
  std::vector<int64_t> known;
  for (const Dim& d : shape) {
    if (d.is_static()) {
      known.push_back(d.value());
      continue;
    }
    if (!known.empty()) parts.push_back(int64s(known));
    known.clear();
    parts.push_back(extent(d));
  }
  if (!known.empty() || parts.empty()) parts.push_back(int64s(known));
  return parts.size() == 1 ? parts[0] : emit("Concat", parts, {{"axis", int64_t{0}}});
}

void BodyExporter::export_node(const Node& node) {
  node_ = &node;
  if (const Tensor* value = node.result_count() == 1 ? node.result()->constant() : nullptr) {
    constant(*value, result());
    // In bodies it is a Constant node, which says as much.
    if (is_main_) describe_source(node);
    return;
  }
  for (int i = 0; i < node.result_count(); ++i) {
    const Value* v = node.result(i);
    const bool is_output = std::find(outputs_.begin(), outputs_.end(), result(i)) != outputs_.end();
    describe(result(i), v->type(), v->dtype() != DType::undefined && !is_output);
  }
  if (node.op().has(kControl)) return export_control(*this);
  if (node.body() != nullptr) return export_region(node);
  if (node.op().is_core() ? export_core_op(*this) : export_split(*this)) return;
  std::vector<std::string> inputs, outputs;
  for (int i = 0; i < node.operand_count(); ++i) inputs.push_back(operand(i));
  for (int i = 0; i < node.result_count(); ++i) outputs.push_back(result(i));
  while (outputs.size() > 1 && outputs.back().empty()) outputs.pop_back();
  const std::string name(node.name());
  const size_t colons = name.find("::");
  if (colons != std::string::npos) {
    emit_node(name.substr(colons + 2), name.substr(0, colons), inputs, outputs, node.attrs());
  } else if (node.op().is_core()) {
    model_.has_own_ops = true;
    emit_node(name, kTintypeDomain, inputs, outputs, node.attrs());
  } else {
    emit_node(name, "", inputs, outputs, node.attrs());
  }
}

void BodyExporter::export_region(const Node& node) {
  std::string stem = node.attrs().string("name", "region");
  if (find_op(stem) != nullptr) stem += "_region";  // ops of ours are in the functions' domain, too
  std::string name = stem;
  for (int i = 1; !model_.functions.insert(name).second; ++i) name = stem + "_" + std::to_string(i);
  model_.has_own_ops = true;

  onnx::FunctionProto function;
  BodyExporter body(*node.body(), model_, *function.mutable_node(), *function.mutable_value_info(),
                    /*is_main=*/false);
  body.run();
  function.set_name(name);
  function.set_domain(kTintypeDomain);
  for (size_t i = 0; i < node.body()->inputs().size(); ++i) function.add_input(body.input_name(i));
  for (size_t i = 0; i < node.body()->output_count(); ++i) function.add_output(body.output_name(i));
  std::set<std::string> domains = {"", kTintypeDomain};
  for (const auto& n : function.node()) domains.insert(n.domain());
  for (const std::string& domain : domains) {
    auto* import = function.add_opset_import();
    import->set_domain(domain);
    import->set_version(domain.empty() ? kNewestOpset : 1);
    model_.domains.insert(domain);
  }
  *model_.proto.add_functions() = std::move(function);

  std::vector<std::string> inputs, outputs;
  for (int i = 0; i < node.operand_count(); ++i) inputs.push_back(operand(i));
  for (int i = 0; i < node.result_count(); ++i) outputs.push_back(result(i));
  emit_node(name, kTintypeDomain, inputs, outputs, {});
}

onnx::GraphProto BodyExporter::subgraph(const Graph& body,
                                        const std::map<size_t, std::string>& bound) {
  onnx::GraphProto proto;
  BodyExporter inner(body, model_, *proto.mutable_node(), *proto.mutable_value_info(),
                     /*is_main=*/false);
  inner.outer_ = this;
  inner.taken_ = taken_;
  inner.node_names_ = node_names_;
  for (const auto& [i, name] : bound) inner.names_[body.inputs()[i].get()] = name;
  inner.run();
  proto.set_name(body.name().empty() ? "body" : body.name());
  for (size_t i = 0; i < body.inputs().size(); ++i) {
    if (bound.count(i) != 0) continue;
    auto* input = proto.add_input();
    input->set_name(inner.input_name(i));
    *input->mutable_type() = type_proto(body.inputs()[i]->type());
  }
  for (size_t i = 0; i < body.output_count(); ++i) {
    auto* output = proto.add_output();
    output->set_name(inner.output_name(i));
    *output->mutable_type() = type_proto(body.output(i)->type());
  }
  // Names inside must differ from those used later outside.
  taken_ = inner.taken_;
  node_names_ = inner.node_names_;
  return proto;
}

}  // namespace tintype
