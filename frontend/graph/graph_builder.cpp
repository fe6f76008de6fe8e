// Bookkeeping of the graph API: names, parameters, nodes and rows of the layer table.
#include "frontend/graph/graph_builder.h"

#include "ir/arithmetic_errors.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <cctype>

namespace tintype {

namespace {

/// Symbols stand in texts of graphs, where other names would not be read back.
bool is_symbol(const std::string& name) {
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c < 128 && (std::isalnum(c) != 0 || c == '_'); });
}

void check_type(const std::string& where, const TensorType& type) {
  if (type.dtype == DType::undefined) throw Error(where + ": it has no element type");
  for (const Dim& d : type.shape) {
    if (d.is_static() && d.value() < 0)
      throw Error(where + ": extent " + d.text() +
                  "; what is not known yet has a symbol, as N in f32(\"N\", 3)");
    d.symbols([&where](const std::string& symbol) {
      if (!is_symbol(symbol))
        throw Error(where + ": the symbol '" + symbol +
                    "' is no name of letters, digits and _ that begins with no digit");
    });
  }
}

}  // namespace

GraphBuilder::GraphBuilder(const std::string& name, const GraphBuilderOptions& options)
    : graph_(std::make_unique<Graph>(name)), options_(options) {}

GraphBuilder::Scope::Scope(GraphBuilder& builder, const std::string& name)
    : builder_(builder), length_(builder.prefix_.size()) {
  builder_.prefix_ += name + "/";
}

Graph& GraphBuilder::live() const {
  if (graph_ == nullptr) throw Error("the graph of this builder was taken; make another builder");
  return *graph_;
}

void GraphBuilder::require_own(const std::string& where, const Variable& v) const {
  if (&v.builder() == this && v.value() != nullptr) return;
  throw Error(where + ": a variable of another GraphBuilder");
}

Variable GraphBuilder::input(const std::string& name, TensorType type) {
  Graph& graph = live();
  const std::string where = "input '" + name + "'";
  if (name.empty()) throw Error("an input needs a name");
  check_type(where, type);
  if (!names_.insert(name).second) throw Error(where + ": the name is taken");
  for (const Dim& d : type.shape)
    d.symbols([&](const std::string& symbol) { graph.reserve_symbol(symbol); });
  return {*this, graph.add_input(name, std::move(type))};
}

void GraphBuilder::output(const std::string& name, Variable value) {
  Graph& graph = live();
  const std::string where = "output '" + name + "'";
  if (name.empty()) throw Error("an output needs a name");
  require_own(where, value);
  for (size_t i = 0; i < graph.output_count(); ++i)
    if (graph.output_name(static_cast<int>(i)) == name)
      throw Error(where + ": the name is taken by another output");
  for (const auto& input : graph.inputs())
    if (input->name() == name && input.get() != value.value())
      throw Error(where + ": the name is taken by an input");
  if (value.value()->name().empty()) value.value()->set_name(name);
  graph.add_output(name, value.value());
}

Variable GraphBuilder::state(const std::string& name, Tensor initial) {
  Graph& graph = live();
  const std::string where = "state '" + name + "'";
  if (name.empty()) throw Error("a state needs a name");
  if (!initial.defined()) throw Error(where + ": its initial value is no tensor");
  if (!names_.insert(name).second) throw Error(where + ": the name is taken");
  return {*this, graph.add_state(name, std::move(initial))};
}

void GraphBuilder::set_next(const Variable& state, Variable next) {
  Graph& graph = live();
  require_own("set_next", state);
  require_own("state '" + state.value()->name() + "'", next);
  if (graph.state_of(state.value()) == nullptr)
    throw Error("'" + state.value()->name() + "' is no state; make one with GraphBuilder::state");
  graph.set_next(state.value(), next.value());
}

std::string GraphBuilder::begin(std::string_view stem, const std::string& name) {
  live();
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
  Tensor t = with_arithmetic_errors(name + ": ", [&] {
    return options_.shapes_only ? Tensor::borrow(DType::f32, std::move(dims), nullptr, nullptr)
                                : initialize(how, dims, fan_in, fan_out, options_.seed, name);
  });
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
  if (!value.defined()) throw Error("a constant needs a tensor");
  return {*this, Builder(live()).constant(std::move(value))};
}

Variable GraphBuilder::scalar(double value, DType dtype) {
  return {*this, Builder(live()).scalar(value, dtype)};
}

Variable GraphBuilder::node(const std::string& layer, std::string_view op,
                            const std::vector<Variable>& operands, AttrMap attrs) {
  Builder builder(live());
  builder.set_origins({layer});
  std::vector<Value*> values;
  values.reserve(operands.size());
  for (const Variable& v : operands) {
    require_own(layer, v);
    if (v.value()->dtype() == DType::undefined)
      throw Error(layer + " (" + std::string(op) + "): an operand has no type");
    values.push_back(v.value());
  }
  return {*this, builder.make(op, std::move(values), std::move(attrs))};
}

std::vector<Variable> GraphBuilder::nodes(const std::string& layer, std::string_view op,
                                          std::vector<Value*> operands, AttrMap attrs,
                                          int results) {
  Builder builder(live());
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
  live();
  if (options_.shapes_only)
    throw Error("graph '" + graph_->name() +
                "' has no parameter values; build it without shapes_only");
  if (graph_->output_count() == 0)
    throw Error("graph '" + graph_->name() + "' has no output; name one with output()");
  return std::move(graph_);
}

}  // namespace tintype
