// Constants to states, dropout and batch normalisation to training mode.
#include "frontend/train/stateful_model.h"

#include "frontend/train/graph_math.h"
#include "frontend/train/parameters.h"
#include "frontend/train/pattern.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <set>

namespace tintype {

namespace {

/// Turns a named constant into a state of that name.
Value* to_state(Graph& graph, Value* constant) {
  Node* node = constant->def();
  const std::string name = constant->name();
  Value* state = graph.add_state(name, *constant->constant());
  graph.replace_all_uses(constant, state);
  graph.erase(node);
  return state;
}

void require_unique_names(const std::vector<Parameter>& parameters) {
  std::set<std::string> names;
  for (const Parameter& p : parameters)
    if (!names.insert(p.value->name()).second)
      throw Error("two parameters are named '" + p.value->name() + "'; give each its own name");
}

// running = m running + (1 - m) batch. The node's own results, with momentum 0, are the batch's
// mean and its variance divided by n; PyTorch keeps the one divided by n - 1.
void update_statistics(Builder& b, Node& norm, double momentum, Value* mean, Value* variance) {
  Graph& graph = b.graph();
  const auto blend = [&](Value* old, Value* now) {
    now = b.cast(now, old->dtype());
    return b.add(b.with_scalar("mul", old, momentum), b.with_scalar("mul", now, 1 - momentum));
  };
  Dim n = norm.operand(0)->shape()[0];
  for (int i = 2; i < norm.operand(0)->rank(); ++i)
    n = n * norm.operand(0)->shape()[static_cast<size_t>(i)];
  const DType t = norm.result(2)->dtype();
  Value* correction = b.div(extent(b, n, t), extent(b, max(n - Dim(1), Dim(1)), t));
  // A normalisation applied twice updates its statistics twice.
  const auto latest = [&](Value* state) {
    return graph.output(static_cast<size_t>(graph.state_of(state)->next));
  };
  graph.set_next(mean, blend(latest(mean), norm.result(1)));
  graph.set_next(variance, blend(latest(variance), b.mul(norm.result(2), correction)));
}

/// The operand as a state; it is one already when an earlier node shares it.
Value* statistic_state(Graph& graph, const Node& node, int operand, const std::string& suffix,
                       TrainingGraph& about) {
  Value* v = node.operand(operand);
  if (v->constant() == nullptr) return v;
  if (v->name().empty()) v->set_name(node.where() + suffix);
  about.statistics.push_back(v->name());
  return to_state(graph, v);
}

}  // namespace

void to_inference(Node& norm) {
  norm.attrs().erase("training_mode");
  for (int i = norm.result_count() - 1; i > 0; --i) {
    // The running mean and variance after the node are what they were before.
    if (i < 3) norm.graph().replace_all_uses(norm.result(i), norm.operand(i + 2));
    norm.erase_result(i);
  }
}

namespace {

void train_batch_norms(Graph& graph, const NamePattern& frozen, bool training,
                       TrainingGraph& about) {
  for (Node* found : find_running_norms(graph)) {
    Node& node = *found;
    to_inference(node);
    const Value* scale = node.operand(1);
    if (frozen.matches(scale->name())) continue;
    Value* mean = statistic_state(graph, node, 3, ".running_mean", about);
    Value* variance = statistic_state(graph, node, 4, ".running_var", about);
    if (!training) continue;
    Builder b(graph, &node);
    b.set_origins(node.origins());
    Node* norm = b.create("BatchNormalization", node.operands(),
                          {{"epsilon", node.attrs().number("epsilon", 1e-5)},
                           {"momentum", 0.0},
                           {"training_mode", int64_t{1}}},
                          3);
    update_statistics(b, *norm, node.attrs().number("momentum", 0.9), mean, variance);
    norm->result(0)->set_name(node.result(0)->name());
    graph.replace_all_uses(node.result(0), norm->result(0));
    graph.erase(&node);
  }
}

/// Switches dropouts to their training form, which draws random bits when it decomposes.
void train_dropouts(Graph& graph, TrainingGraph& about) {
  int number = 0;
  for (Node* node : graph.node_list()) {
    if (!node->is("Dropout")) continue;
    ++number;
    Builder b(graph, node);
    b.set_origins(node->origins());
    while (node->operand_count() < 3) node->add_operand(nullptr);
    node->set_operand(2, b.scalar(1, DType::boolean));
  }
  if (number > 0)
    about.notes.push_back("dropout is active in " + std::to_string(number) + " nodes");
}

/// A dropout of an imported model may be marked for training; inference wants it gone.
void remove_dropouts(Graph& graph) {
  for (Node* node : graph.node_list())
    if (node->is("Dropout") &&
        (node->result_count() < 2 ||
         (node->result(1)->uses().empty() && node->result(1)->output_uses() == 0))) {
      graph.replace_all_uses(node->result(0), node->operand(0));
      graph.erase(node);
    }
}

}  // namespace

/// Exporters merge constants that are equal; training would tie what was meant to be apart.
void note_shared(const std::vector<Parameter>& parameters, TrainingGraph& about) {
  int shared = 0;
  std::string first;
  for (const Parameter& p : parameters) {
    if (p.users < 2) continue;
    if (shared++ == 0) first = p.value->name() + "' by " + std::to_string(p.users);
  }
  if (shared > 0)
    about.notes.push_back("parameters that several nodes share stay tied: " +
                          std::to_string(shared) + ", the first is '" + first);
}

/// Whoever expects one of these to move shall hear that it does not.
void note_untrained(const Graph& graph, TrainingGraph& about) {
  about.untrained = find_untrained(graph);
  for (const auto why : {UntrainedConstant::Why::formula, UntrainedConstant::Why::quantized}) {
    int64_t count = 0;
    std::string first;
    for (const UntrainedConstant& c : about.untrained)
      if (c.why == why && count++ == 0) first = c.name;
    if (count > 0)
      about.notes.push_back("not trained (" + text_of(why) + "): '" + first + "'" +
                            (count > 1 ? " and " + std::to_string(count - 1) + " more" : ""));
  }
}

/// Whether only sums, products and the like with constants lie between this value and an input.
bool is_scaled_input(const Value* v) {
  while (const Node* n = v->def()) {
    if (!n->is("Add") && !n->is("Sub") && !n->is("Mul") && !n->is("Div")) return false;
    const Value* x = n->operand(0)->constant() == nullptr ? n->operand(0) : n->operand(1);
    const Value* other = x == n->operand(0) ? n->operand(1) : n->operand(0);
    if (x->constant() != nullptr || other->constant() == nullptr) return false;
    v = x;
  }
  return true;
}

/// Means and deviations of inputs are stored like parameters by exporters that do not tell buffers
/// apart.
void note_input_scales(const std::vector<Parameter>& parameters, const NamePattern& frozen,
                       TrainingGraph& about) {
  std::string list, pattern;
  for (const Parameter& p : parameters) {
    const std::string& name = p.value->name();
    const bool scales = std::ranges::all_of(
        p.value->uses(), [](const Use& u) { return is_scaled_input(u.node->result()); });
    if (!scales || frozen.matches(name)) continue;
    list += (list.empty() ? "'" : ", '") + name + "'";
    pattern += (pattern.empty() ? "" : "|") + name;
  }
  if (!list.empty())
    about.notes.push_back("trained, though applied to the input as a normalisation would be: " +
                          list + "; --freeze '^(" + pattern + ")$' keeps what is one");
}

StatefulModel make_stateful(Graph& graph, const TrainingOptions& options, bool training,
                            TrainingGraph& about) {
  const std::vector<Parameter> parameters = find_parameters(graph);
  require_unique_names(parameters);
  note_shared(parameters, about);
  note_untrained(graph, about);
  const NamePattern frozen(options.freeze, "--freeze");
  note_input_scales(parameters, frozen, about);
  StatefulModel model;
  // Nodes that need a number per step come first in the graph.
  Builder b(graph, graph.nodes().empty() ? nullptr : graph.nodes().front().get());
  if (training) {
    model.step = graph.add_state("step", Tensor::scalar<int64_t>(0));
    model.this_step = b.add(model.step, b.scalar(1, DType::i64));
    graph.set_next(model.step, model.this_step);
    model.seed = graph.add_state("seed", Tensor::scalar(static_cast<int64_t>(options.seed)));
    train_dropouts(graph, about);
  } else {
    remove_dropouts(graph);
  }
  train_batch_norms(graph, frozen, training, about);
  size_t frozen_count = 0;
  for (const Parameter& p : parameters) {
    const std::string name = p.value->name();
    const bool is_frozen = frozen.matches(name);
    about.parameters.push_back({name, p.value->constant()->dims(), p.unit_axis, is_frozen});
    if (is_frozen) ++frozen_count;
    else model.trainable.push_back({name, to_state(graph, p.value), p.unit_axis});
  }
  // The constants of `parameters` are gone by now; `about` has their names.
  if (!frozen.empty() && frozen_count == 0)
    throw Error("--freeze '" + options.freeze + "' matches no parameter" +
                (parameters.empty() ? "" : "; the first is '" + about.parameters[0].name + "'"));
  return model;
}

}  // namespace tintype
