// If, Loop and Scan: their graphs become bodies of control nodes, or are written out.
#include "frontend/onnx/node_import.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/ops/control.h"
#include "passes/known_value.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

namespace tintype {

namespace {

constexpr int64_t kMostUnrolled = 1024;

const onnx::GraphProto& graph_attribute(const onnx::NodeProto& node, std::string_view name) {
  for (const auto& a : node.attribute())
    if (a.name() == name && a.has_g()) return a.g();
  throw Error("attribute '" + std::string(name) + "' with a graph is missing");
}

std::vector<int64_t> integers(const onnx::NodeProto& node, std::string_view name, size_t count) {
  for (const auto& a : node.attribute()) {
    if (a.name() != name) continue;
    std::vector<int64_t> values(a.ints().begin(), a.ints().end());
    if (values.size() != count)
      throw Error("attribute '" + std::string(name) + "' needs " + std::to_string(count) +
                  " entries, has " + std::to_string(values.size()));
    return values;
  }
  return std::vector<int64_t>(count, 0);
}

std::optional<Dim> known_extent(const Value* v) {
  if (v != nullptr && v->content() && v->content()->size() == 1) return v->content()->front();
  return std::nullopt;
}

std::optional<bool> known_condition(const Value* v) {
  while (v->def() != nullptr && v->def()->is("Identity")) v = v->def()->operand(0);
  if (const Tensor* t = v->constant();
      t != nullptr && t->size() == 1 && t->dtype() == DType::boolean)
    return *static_cast<const uint8_t*>(t->data()) != 0;
  if (const auto e = known_extent(v); e && e->is_static()) return e->value() != 0;
  if (const auto t = known_tensor(v); t && t->size() == 1 && t->dtype() == DType::boolean)
    return *static_cast<const uint8_t*>(t->data()) != 0;
  return std::nullopt;
}

/// A constant in the value's place, where constants alone decide it.
Value* settled(Builder& b, Value* v) {
  if (v == nullptr || v->constant() != nullptr || (v->content() && v->rank() == 0)) return v;
  const std::optional<Tensor> t = known_tensor(v);
  return t ? b.constant(*t) : v;
}

/// Trip counts and conditions may come as vectors of one element.
Value* as_scalar(Builder& b, Value* v, const char* what) {
  if (v == nullptr || v->rank() == 0) return v;
  if (v->rank() != 1) throw Error(std::string(what) + " must be a scalar, got " + v->type().text());
  return b.reshape(v, {});
}

constexpr const char* kCountWanted =
    "its trip count decides the extent of its outputs and must be known when compiling";
constexpr const char* kConditionWanted =
    "its condition decides the shapes of its outputs and must be known when compiling";
constexpr const char* kListsWanted =
    "its condition decides the length of a sequence, or whether an optional has a value, and must "
    "be known when compiling";

/// The innermost body around a scope, or null in the main graph.
const BodyImport* body_around(const Scope* scope) {
  while (scope != nullptr && scope->body == nullptr) scope = scope->outer;
  return scope == nullptr ? nullptr : scope->body;
}

/// An input of the main graph that a value of this scope is computed from: one of integers or truth
/// values, failing that another one; null when there is none.
const Value* model_input_behind(const Value* v, const Scope& scope) {
  struct Place {
    const Value* value;
    const Scope* scope;
  };
  std::vector<Place> open = {{v, &scope}};
  std::set<const Value*> seen;
  const Value* other = nullptr;
  while (!open.empty()) {
    const Place at = open.back();
    open.pop_back();
    if (at.value == nullptr || !seen.insert(at.value).second) continue;
    if (const Node* n = at.value->def(); n != nullptr) {
      for (const Value* operand : n->operands()) open.push_back({operand, at.scope});
    } else if (const BodyImport* body = body_around(at.scope); body != nullptr) {
      // Captured values are the last inputs of a body.
      const size_t formal = body->graph->inputs().size() - body->captures.size();
      const Scope* outer = at.scope;
      while (outer->body == nullptr) outer = outer->outer;
      if (const auto i = static_cast<size_t>(at.value->index()); i >= formal)
        open.push_back({body->captures[i - formal], outer->outer});
    } else if (is_int(at.value->dtype()) || at.value->dtype() == DType::boolean) {
      return at.value;
    } else if (!at.value->name().empty()) {
      other = at.value;
    }
  }
  return other;
}

std::vector<std::unique_ptr<Graph>> bodies(std::unique_ptr<Graph> one,
                                           std::unique_ptr<Graph> two = nullptr) {
  std::vector<std::unique_ptr<Graph>> list;
  list.push_back(std::move(one));
  if (two != nullptr) list.push_back(std::move(two));
  return list;
}

Value* transposed_to(Builder& b, Value* v, int64_t from, int64_t to) {
  std::vector<int64_t> order(static_cast<size_t>(v->rank()));
  std::iota(order.begin(), order.end(), int64_t{0});
  order.erase(order.begin() + from);
  order.insert(order.begin() + to, from);
  return b.transpose(v, order);
}

Value* reversed(Builder& b, Value* v) {
  return b.make("reverse", {v}, {{"axes", std::vector<int64_t>{0}}});
}

bool same_structure(const std::vector<ModelValue>& a, const std::vector<ModelValue>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const ModelValue& x, const ModelValue& y) { return x.same_structure(y); });
}

void add_outputs(Graph& graph, const std::vector<ModelValue>& values) {
  for (const ModelValue& v : values)
    for (Value* t : v.values()) graph.add_output(t->name(), t);
}

/// What a node's results are when its body returns values like these.
std::vector<ModelValue> results_like(const std::vector<ModelValue>& values, const Node& n) {
  std::vector<ModelValue> results;
  int next = 0;
  for (const ModelValue& v : values) {
    std::vector<Value*> tensors(v.size());
    for (Value*& t : tensors) t = n.result(next++);
    results.push_back(v.with(std::move(tensors)));
  }
  return results;
}

/// The values that a loop carries, as it gets them.
std::vector<ModelValue> carried_values(const onnx::GraphProto& body,
                                       const std::vector<ModelValue>& operands) {
  std::vector<ModelValue> carried;
  for (size_t i = 2; i < static_cast<size_t>(body.input_size()); ++i) {
    if (i >= operands.size() || operands[i].is_none())
      throw Error("loop-carried value " + std::to_string(i - 2) + " is missing");
    carried.push_back(operands[i]);
  }
  return carried;
}

Value* body_condition(const std::vector<ModelValue>& results) {
  if (results[0].tensor() != nullptr) return results[0].tensor();
  throw Error("its body must return a condition first, got " + results[0].text());
}

BodyImport begin_body(const onnx::GraphProto& proto, Graph& outer, Scope& inner,
                      const Scope& scope) {
  BodyImport body{std::make_unique<Graph>(printable(proto.name())), &outer, {}};
  inner.outer = &scope;
  for (const auto& t : proto.initializer()) inner.initializers[t.name()] = &t;
  return body;
}

}  // namespace

void NodeImporter::needs_value(const Value* v, const Scope& scope, const std::string& message) {
  const Value* source = model_input_behind(v, scope);
  if (source == nullptr) throw Error(message + ", but it depends on data");
  throw NeedsInputValue(source->name(), message + "; it depends on input '" + source->name() +
                                            "': give its value with --known-input");
}

template <typename Work>
void NodeImporter::inside(BodyImport& body, Work&& work) {
  Graph* before = std::exchange(graph_, body.graph.get());
  try {
    work();
  } catch (...) {
    graph_ = before;
    throw;
  }
  graph_ = before;
}

namespace {

// Constants and what describes shapes are repeated inside, everything else is handed in.
Value* handed_in(BodyImport& body, Value* v) {
  Builder b(*body.graph);
  if (const Tensor* t = v->constant()) {
    Value* twin = b.constant(*t);
    twin->set_name(v->name());
    return twin;
  }
  if (v->content() && v->rank() <= 1) {
    Value* twin = b.cast(b.reshape(b.dims(*v->content()), v->shape()), v->dtype());
    twin->set_content(v->content());
    return twin;
  }
  if (const auto known = known_tensor(v); known && v->dtype() != DType::undefined)
    return b.constant(*known);
  body.captures.push_back(v);
  return body.graph->add_input(v->name(), v->type());
}

}  // namespace

/// What a name of an outer graph stands for inside.
ModelValue NodeImporter::capture(Scope& scope, const std::string& name) {
  BodyImport& body = *scope.body;
  Graph* inner = std::exchange(graph_, body.outer);
  ModelValue v;
  try {
    v = find(*const_cast<Scope*>(scope.outer), name);
  } catch (...) {
    graph_ = inner;
    throw;
  }
  graph_ = inner;
  if (v.is_none()) return {};
  std::vector<Value*> twins;
  for (Value* outer : v.values()) twins.push_back(handed_in(body, outer));
  return scope.values[name] = v.with(std::move(twins));
}

std::vector<ModelValue> NodeImporter::import_graph(const onnx::GraphProto& proto, Scope& inner,
                                                   int depth) {
  import_nodes(proto.node(), inner, depth + 1);
  std::vector<ModelValue> outputs;
  for (const auto& output : proto.output()) {
    const ModelValue v = find(inner, output.name());
    if (v.is_none()) throw Error("its body has a problem");
    outputs.push_back(v);
  }
  return outputs;
}

void NodeImporter::inline_branch(const onnx::NodeProto& node, const onnx::GraphProto& branch,
                                 Scope& scope, int depth) {
  Scope inner;
  inner.outer = &scope;
  for (const auto& t : branch.initializer()) inner.initializers[t.name()] = &t;
  const std::vector<ModelValue> outputs = import_graph(branch, inner, depth);
  for (int i = 0; i < node.output_size(); ++i)
    bind(scope, node, i, outputs[static_cast<size_t>(i)]);
}

void NodeImporter::import_if(const onnx::NodeProto& node, Value* condition, Scope& scope,
                             int depth) {
  const auto branch = [&node](const char* name) {
    const onnx::GraphProto& proto = graph_attribute(node, name);
    if (proto.output_size() != node.output_size())
      throw Error("the branch has " + std::to_string(proto.output_size()) + " outputs, the node " +
                  std::to_string(node.output_size()));
    return &proto;
  };
  if (const std::optional<bool> taken = known_condition(condition))
    return inline_branch(node, *branch(*taken ? "then_branch" : "else_branch"), scope, depth);
  const onnx::GraphProto* branches[] = {branch("then_branch"), branch("else_branch")};
  // Both branches get the captures of both, those of the first in front.
  Scope inner[2];
  BodyImport body[2];
  std::vector<ModelValue> outputs[2];
  for (int i = 0; i < 2; ++i) {
    body[i] = begin_body(*branches[i], *graph_, inner[i], scope);
    inner[i].body = &body[i];
    inside(body[i], [&] {
      outputs[i] = import_graph(*branches[i], inner[i], depth);
      add_outputs(*graph_, outputs[i]);
    });
  }
  if (!same_structure(outputs[0], outputs[1])) needs_value(condition, scope, kListsWanted);
  Builder b(*graph_);
  b.set_origins(origins_);
  std::vector<Value*> operands = {as_scalar(b, condition, "the condition")};
  operands.insert(operands.end(), body[0].captures.begin(), body[0].captures.end());
  operands.insert(operands.end(), body[1].captures.begin(), body[1].captures.end());
  for (Value* v : body[1].captures) body[0].graph->add_input(v->name(), v->type());
  for (size_t i = 0; i < body[0].captures.size(); ++i) {
    const Value* v = body[0].captures[i];
    body[1].graph->add_input(v->name(), v->type());
    body[1].graph->move_input(body[1].graph->inputs().size() - 1, i);
  }
  const auto results = static_cast<int>(body[0].graph->output_count());
  const Node* n = b.create("if", operands, {}, results,
                           bodies(std::move(body[0].graph), std::move(body[1].graph)));
  const std::vector<ModelValue> bound = results_like(outputs[0], *n);
  for (int i = 0; i < node.output_size(); ++i) bind(scope, node, i, bound[static_cast<size_t>(i)]);
}

void NodeImporter::import_scan(const onnx::NodeProto& node, const std::vector<Value*>& operands,
                               Scope& scope, int depth) {
  const onnx::GraphProto& proto = graph_attribute(node, "body");
  int64_t scanned = 0;
  for (const auto& a : node.attribute())
    if (a.name() == "num_scan_inputs") scanned = a.i();
  const auto count = static_cast<int64_t>(operands.size());
  if (scanned < 1 || scanned > count)
    throw Error("num_scan_inputs is " + std::to_string(scanned) + ", the node has " +
                std::to_string(count) + " inputs");
  const auto states = static_cast<size_t>(count - scanned);
  const auto inputs = static_cast<size_t>(scanned);
  if (proto.input_size() != count || proto.output_size() != node.output_size() ||
      static_cast<size_t>(proto.output_size()) < states)
    throw Error("its body has " + std::to_string(proto.input_size()) + " inputs and " +
                std::to_string(proto.output_size()) + " outputs, the node " +
                std::to_string(count) + " and " + std::to_string(node.output_size()));
  const auto outputs = static_cast<size_t>(proto.output_size()) - states;
  const auto input_axes = integers(node, "scan_input_axes", inputs);
  const auto output_axes = integers(node, "scan_output_axes", outputs);
  auto input_directions = integers(node, "scan_input_directions", inputs);
  auto output_directions = integers(node, "scan_output_directions", outputs);
  const auto all_back = [](const std::vector<int64_t>& d) {
    return std::all_of(d.begin(), d.end(), [](int64_t v) { return v == 1; });
  };
  const bool reverse = all_back(input_directions) && all_back(output_directions);
  Builder b(*graph_);
  b.set_origins(origins_);
  Scope inner;
  BodyImport body = begin_body(proto, *graph_, inner, scope);
  inner.body = &body;
  std::vector<Value*> given;
  for (size_t i = 0; i < operands.size(); ++i) {
    Value* v = operands[i];
    if (v == nullptr) throw Error("input " + std::to_string(i) + " is required");
    TensorType type = v->type();
    if (i >= states) {
      const size_t k = i - states;
      if (v->rank() == 0) throw Error("scan input " + std::to_string(k) + " is a scalar");
      v = transposed_to(b, v, normalize_axis(input_axes[k], v->rank(), "scan_input_axes"), 0);
      if (!reverse && input_directions[k] == 1) v = reversed(b, v);
      type = {v->dtype(), Shape(v->shape().begin() + 1, v->shape().end())};
    }
    given.push_back(v);
    const std::string& name = proto.input(static_cast<int>(i)).name();
    inner.values[name] = body.graph->add_input(printable(name), type);
  }
  inside(body, [&] {
    for (const ModelValue& v : import_graph(proto, inner, depth)) {
      if (v.tensor() == nullptr) throw Error("its body must return tensors, got " + v.text());
      graph_->add_output(v.tensor()->name(), v.tensor());
    }
  });
  const Dim trips = given[states]->shape()[0];
  given.insert(given.end(), body.captures.begin(), body.captures.end());
  AttrMap attrs = {
      {"states", static_cast<int64_t>(states)}, {"scanned", scanned}, {"trips", Shape{trips}}};
  if (reverse) attrs.set("reverse", int64_t{1});
  const Node* n =
      b.create("scan", given, std::move(attrs), node.output_size(), bodies(std::move(body.graph)));
  for (int i = 0; i < node.output_size(); ++i) {
    Value* v = n->result(i);
    if (const auto at = static_cast<size_t>(i); at >= states) {
      if (!reverse && output_directions[at - states] == 1) v = reversed(b, v);
      v = transposed_to(b, v, 0,
                        normalize_axis(output_axes[at - states], v->rank(), "scan_output_axes"));
    }
    bind(scope, node, i, v);
  }
}

void NodeImporter::import_loop(const onnx::NodeProto& node, std::vector<ModelValue> operands,
                               Scope& scope, int depth) {
  const onnx::GraphProto& proto = graph_attribute(node, "body");
  const int states = std::max(0, node.input_size() - 2);
  const int outputs = proto.output_size() - 1 - states;
  if (proto.input_size() != states + 2 || outputs < 0 || node.output_size() > states + outputs)
    throw Error("its body has " + std::to_string(proto.input_size()) + " inputs and " +
                std::to_string(proto.output_size()) + " outputs for " + std::to_string(states) +
                " loop-carried values and " + std::to_string(node.output_size()) + " outputs");
  Builder b(*graph_);
  b.set_origins(origins_);
  operands.resize(std::max<size_t>(2, operands.size()));
  for (size_t i = 0; i < 2; ++i) operands[i] = settled(b, tensor_operand(operands[i], i));
  if (operands[1].tensor() != nullptr && known_condition(operands[1].tensor()) == false) {
    operands[0] = b.constant(Tensor::scalar<int64_t>(0));
    operands[1] = {};
  }
  const std::optional<Dim> trips = known_extent(operands[0].tensor());
  const bool few = trips && trips->is_static() && trips->value() <= kMostUnrolled;
  if (few && states + outputs > 0) {
    // Bodies that need the number of the trip while compiling, or whose values change their shape
    // from trip to trip, are written out trip by trip.
    try {
      if (import_rolled_loop(node, operands, scope, depth)) return;
    } catch (const Error&) {
    }
    return unroll_loop(node, operands, trips->value(), scope, depth);
  }
  try {
    if (import_rolled_loop(node, operands, scope, depth)) return;
  } catch (const NeedsInputValue&) {
    // What the body wants to know may be the number of the trip, which writing it out would tell.
    if (trips) throw;
  }
  // Without outputs to stack, and with states that stay as they are, nobody would have to know.
  const Value* count = operands[0].tensor();
  if (!trips && count != nullptr) needs_value(count, scope, kCountWanted);
  needs_value(operands[1].tensor(), scope, kConditionWanted);
}

bool NodeImporter::import_rolled_loop(const onnx::NodeProto& node,
                                      const std::vector<ModelValue>& operands, Scope& scope,
                                      int depth) {
  const onnx::GraphProto& proto = graph_attribute(node, "body");
  Builder b(*graph_);
  b.set_origins(origins_);
  Value* count = as_scalar(b, operands[0].tensor(), "the trip count");
  Value* condition = as_scalar(b, operands[1].tensor(), "the condition");
  Scope inner;
  BodyImport body = begin_body(proto, *graph_, inner, scope);
  inner.body = &body;
  const std::vector<ModelValue> carried = carried_values(proto, operands);
  std::vector<Value*> states;
  for (size_t i = 0; i < carried.size(); ++i) {
    const std::string& name = proto.input(static_cast<int>(i) + 2).name();
    std::vector<Value*> formal;
    for (Value* v : carried[i].values()) {
      states.push_back(v);
      formal.push_back(body.graph->add_input(printable(name), v->type()));
    }
    inner.values[name] = carried[i].with(formal);
  }
  Value* trip = body.graph->add_input("trip", {DType::i64, {}});
  std::vector<ModelValue> results;
  Value* again = nullptr;
  inside(body, [&] {
    Builder in(*graph_);
    const auto& declared = proto.input(0).type().tensor_type();
    inner.values[proto.input(0).name()] =
        declared.shape().dim_size() == 1 ? in.reshape(trip, {1}) : trip;
    inner.values[proto.input(1).name()] = in.scalar(1, DType::boolean);
    results = import_graph(proto, inner, depth);
    in.set_origins(origins_);
    again = as_scalar(in, body_condition(results), "the condition that the body computes");
  });
  // Lists that grow or shrink have another length on every trip.
  results.erase(results.begin());
  const auto last_state = results.begin() + static_cast<std::ptrdiff_t>(carried.size());
  if (!same_structure(carried, {results.begin(), last_state})) return false;
  if (std::any_of(last_state, results.end(), [](const auto& v) { return v.tensor() == nullptr; }))
    throw Error("what its body returns for every trip must be a tensor");
  const bool counted = (condition == nullptr || known_condition(condition) == true) &&
                       known_condition(again) == true;
  const std::optional<Dim> trips = known_extent(count);
  const auto state_count = static_cast<int64_t>(states.size());
  const bool has_outputs = results.size() > carried.size();
  std::vector<Value*> given;
  Node* n = nullptr;
  if (counted && trips) {
    const Dim extent = max(*trips, Dim(0));
    given = states;
    given.push_back(b.make(
        "iota", {}, {{"shape", Shape{extent}}, {"axis", int64_t{0}}, {"dtype", DType::i64}}));
    add_outputs(*body.graph, results);
    const auto outputs = static_cast<int>(body.graph->output_count());
    given.insert(given.end(), body.captures.begin(), body.captures.end());
    n = b.create("scan", given,
                 {{"states", state_count}, {"scanned", int64_t{1}}, {"trips", Shape{extent}}},
                 outputs, bodies(std::move(body.graph)));
  } else {
    if (has_outputs) return false;
    if (states.empty()) throw Error("a loop without results is not supported");
    given = {count, condition};
    given.insert(given.end(), states.begin(), states.end());
    given.insert(given.end(), body.captures.begin(), body.captures.end());
    body.graph->move_input(states.size(), 0);
    body.graph->add_output(again->name(), again);
    add_outputs(*body.graph, results);
    n = b.create("loop", given, {{"states", state_count}}, static_cast<int>(state_count),
                 bodies(std::move(body.graph)));
  }
  const std::vector<ModelValue> bound = results_like(results, *n);
  for (int i = 0; i < node.output_size(); ++i) bind(scope, node, i, bound[static_cast<size_t>(i)]);
  return true;
}

void NodeImporter::unroll_loop(const onnx::NodeProto& node, const std::vector<ModelValue>& operands,
                               int64_t trips, Scope& scope, int depth) {
  const onnx::GraphProto& proto = graph_attribute(node, "body");
  Builder b(*graph_);
  b.set_origins(origins_);
  Value* condition = operands[1].tensor();
  std::vector<ModelValue> states = carried_values(proto, operands);
  std::vector<std::vector<Value*>> stacked(static_cast<size_t>(proto.output_size()) - 1 -
                                           states.size());
  for (int64_t trip = 0; trip < trips; ++trip) {
    if (condition != nullptr) {
      const std::optional<bool> on = known_condition(condition);
      if (!on) needs_value(condition, scope, kConditionWanted);
      if (!*on) break;
    }
    Scope inner;
    inner.outer = &scope;
    for (const auto& t : proto.initializer()) inner.initializers[t.name()] = &t;
    const bool vector = proto.input(0).type().tensor_type().shape().dim_size() == 1;
    inner.values[proto.input(0).name()] =
        b.constant(vector ? Tensor::from<int64_t>({1}, {trip}) : Tensor::scalar<int64_t>(trip));
    inner.values[proto.input(1).name()] = b.scalar(1, DType::boolean);
    for (size_t i = 0; i < states.size(); ++i)
      inner.values[proto.input(static_cast<int>(i) + 2).name()] = states[i];
    const std::vector<ModelValue> outputs = import_graph(proto, inner, depth);
    condition = body_condition(outputs);
    std::copy_n(outputs.begin() + 1, states.size(), states.begin());
    // What is known of a state is found once, not again for every condition made of it.
    if (condition->constant() == nullptr)
      for (ModelValue& state : states)
        if (state.tensor() != nullptr) state = settled(b, state.tensor());
    for (size_t i = 0; i < stacked.size(); ++i) {
      const ModelValue& out = outputs[1 + states.size() + i];
      Value* v = out.tensor();
      if (v == nullptr)
        throw Error("what its body returns for every trip must be a tensor, got " + out.text());
      Shape shape = v->shape();
      shape.insert(shape.begin(), Dim(1));
      stacked[i].push_back(b.reshape(v, shape));
    }
  }
  for (int i = 0; i < node.output_size(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (at < states.size()) {
      bind(scope, node, i, states[at]);
      continue;
    }
    const std::vector<Value*>& parts = stacked[at - states.size()];
    if (parts.empty()) throw Error("a loop of no trips has outputs of unknown shape");
    bind(scope, node, i, b.concat(parts, 0));
  }
}

}  // namespace tintype
