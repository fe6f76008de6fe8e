// Bookkeeping of the graph API: names, parameters, nodes and rows of the layer table.
#include "frontend/graph/graph_builder.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"

namespace tintype {

GraphBuilder::GraphBuilder(const std::string& name, const GraphBuilderOptions& options)
    : graph_(std::make_unique<Graph>(name)), options_(options) {}

GraphBuilder::Scope::Scope(GraphBuilder& builder, const std::string& name)
    : builder_(builder), length_(builder.prefix_.size()) {
  builder_.prefix_ += name + "/";
}

Variable GraphBuilder::input(const std::string& name, TensorType type) {
  if (!names_.insert(name).second) throw Error("input '" + name + "': the name is taken");
  for (const Dim& d : type.shape)
    d.symbols([&](const std::string& symbol) { graph_->reserve_symbol(symbol); });
  return {*this, graph_->add_input(name, std::move(type))};
}

void GraphBuilder::output(const std::string& name, Variable value) {
  if (value.value()->name().empty()) value.value()->set_name(name);
  graph_->add_output(name, value.value());
}

Variable GraphBuilder::state(const std::string& name, Tensor initial) {
  if (!names_.insert(name).second) throw Error("state '" + name + "': the name is taken");
  return {*this, graph_->add_state(name, std::move(initial))};
}

void GraphBuilder::set_next(const Variable& state, Variable next) {
  if (graph_->state_of(state.value()) == nullptr)
    throw Error("'" + state.value()->name() + "' is no state; make one with GraphBuilder::state");
  graph_->set_next(state.value(), next.value());
}

std::string GraphBuilder::begin(std::string_view stem, const std::string& name) {
  std::string full = prefix_ + name;
  if (name.empty()) {
    full = prefix_ + std::string(stem);
    full += std::to_string(++counts_[full]);
  }
  if (!names_.insert(full).second)
    throw Error("layer '" + full + "': the name is taken; give each layer its own");
  pending_parameters_ = 0;
  return full;
}

Variable GraphBuilder::parameter(const std::string& layer, std::string_view which,
                                 std::vector<int64_t> dims, const Initializer& how, int64_t fan_in,
                                 int64_t fan_out, bool trainable) {
  const std::string name = layer + "." + std::string(which);
  Tensor t = options_.shapes_only ? Tensor::borrow(DType::f32, std::move(dims), nullptr, nullptr)
                                  : initialize(how, dims, fan_in, fan_out, options_.seed, name);
  if (trainable) pending_parameters_ += t.size();
  Variable v = constant(std::move(t));
  v.value()->set_name(name);
  return v;
}

Variable GraphBuilder::parameter(const std::string& name, std::vector<int64_t> dims,
                                 const Initializer& how) {
  const std::string full = prefix_ + name;
  const size_t dot = full.rfind('.');
  if (dot == std::string::npos || dot + 1 == full.size())
    throw Error("parameter '" + full + "': expected a name of the form layer.parameter");
  if (!names_.insert(full).second)
    throw Error("parameter '" + full + "': the name is taken; give each parameter its own");
  pending_parameters_ = 0;
  const int64_t from = dims.size() > 1 ? dims.front() : 1;
  const int64_t to = dims.size() > 1 ? dims.back() : 1;
  const Variable v =
      parameter(full.substr(0, dot), full.substr(dot + 1), std::move(dims), how, from, to);
  return finish(full, "parameter", v);
}

Variable GraphBuilder::constant(Tensor value) {
  return {*this, Builder(*graph_).constant(std::move(value))};
}

Variable GraphBuilder::scalar(double value, DType dtype) {
  return {*this, Builder(*graph_).scalar(value, dtype)};
}

Variable GraphBuilder::node(const std::string& layer, std::string_view op,
                            const std::vector<Variable>& operands, AttrMap attrs) {
  Builder builder(*graph_);
  builder.set_origins({layer});
  std::vector<Value*> values;
  values.reserve(operands.size());
  for (const Variable& v : operands) {
    if (v.value()->dtype() == DType::undefined)
      throw Error(layer + " (" + std::string(op) + "): an operand has no type");
    values.push_back(v.value());
  }
  return {*this, builder.make(op, std::move(values), std::move(attrs))};
}

std::vector<Variable> GraphBuilder::nodes(const std::string& layer, std::string_view op,
                                          std::vector<Value*> operands, AttrMap attrs,
                                          int results) {
  Builder builder(*graph_);
  builder.set_origins({layer});
  const Node* n = builder.create(op, std::move(operands), std::move(attrs), results);
  std::vector<Variable> list;
  for (int i = 0; i < results; ++i) list.emplace_back(*this, n->result(i));
  return list;
}

Variable GraphBuilder::finish(const std::string& layer, std::string_view op, Variable result,
                              int64_t multiply_adds_per_element) {
  // A symbolic extent, usually the batch, counts as one.
  const int64_t elements = product(result.shape())
                               .evaluate([](std::string_view) { return std::optional<int64_t>(1); })
                               .value_or(0);
  layers_.push_back({layer, std::string(op), result.shape(), pending_parameters_,
                     multiply_adds_per_element * elements});
  pending_parameters_ = 0;
  if (result.value()->name().empty()) result.value()->set_name(layer);
  return result;
}

Variable GraphBuilder::concat(const std::vector<Variable>& values, int64_t axis,
                              const std::string& name) {
  const std::string layer = begin("concat", name);
  if (values.empty()) throw Error(layer + " (Concat): expected at least one value, got none");
  return finish(layer, "concat", node(layer, "Concat", values, {{"axis", axis}}));
}

std::unique_ptr<Graph> GraphBuilder::take() {
  if (options_.shapes_only)
    throw Error("graph '" + graph_->name() +
                "' has no parameter values; build it without shapes_only");
  if (graph_->output_count() == 0)
    throw Error("graph '" + graph_->name() + "' has no output; name one with output()");
  return std::move(graph_);
}

}  // namespace tintype
