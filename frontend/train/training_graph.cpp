// Losses, gradients and updates on top of a model whose parameters are states.
#include "frontend/train/training_graph.h"

#include "frontend/train/diagnostics.h"
#include "frontend/train/graph_math.h"
#include "frontend/train/pattern.h"
#include "frontend/train/stateful_model.h"
#include "ir/diagnostic.h"
#include "ir/random.h"
#include "passes/autodiff.h"
#include "passes/pass_manager.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

namespace tintype {

namespace {

size_t output_index(const Graph& graph, const std::string& name) {
  std::vector<std::string> names;
  for (size_t i = 0; i < graph.output_count(); ++i) {
    if (graph.is_next(static_cast<int>(i))) continue;
    if (name.empty() || graph.output_name(i) == name) return i;
    names.push_back(graph.output_name(i));
  }
  throw Error(name.empty() ? "the model has no output to compute a loss from"
                           : "the model has no output '" + name + "'" + did_you_mean(name, names));
}

// cross_entropy(softmax(x)) is what nobody means: the loss takes x and applies softmax itself.
Value* without_softmax(const LossTerm& term, Value* prediction, std::vector<std::string>& notes) {
  if (!std::holds_alternative<CrossEntropy>(term.loss)) return prediction;
  const Node* def = prediction->def();
  if (def == nullptr || !def->is("Softmax")) return prediction;
  const int64_t axis = def->attrs().integer("axis", -1);
  const int rank = prediction->rank();
  if ((axis < 0 ? axis + rank : axis) != class_axis(prediction->type())) return prediction;
  notes.push_back("the loss is computed from the input of " + def->where() +
                  ", since cross entropy contains the softmax");
  return def->operand(0);
}

/// Predictions of all loss terms, kept as values of the graph through decomposition by temporary
/// identities.
std::vector<Value*> predictions_of(Graph& graph, const TrainingOptions& options,
                                   TrainingGraph& about) {
  if (options.losses.empty()) throw Error("training needs at least one loss");
  std::vector<Value*> predictions;
  Builder b(graph);
  for (const LossTerm& term : options.losses)
    predictions.push_back(b.unary("identity", prediction_of(graph, term, about.notes)));
  return predictions;
}

void require_new_input(const Graph& graph, const std::string& name) {
  for (const auto& v : graph.inputs())
    if (v->name() == name)
      throw Error("the model has an input or parameter named '" + name +
                  "', which the training program needs; rename it");
}

TargetInput describe(const LossTerm& term, Value* prediction, const TensorType& type) {
  TargetInput target = {term.target, type, std::nullopt, std::nullopt};
  if (!takes_labels(term.loss)) return target;
  const Dim classes = prediction->shape()[static_cast<size_t>(class_axis(prediction->type()))];
  if (classes.is_static()) target.classes = classes.value();
  std::visit(
      [&](const auto& o) {
        if constexpr (requires { o.ignore_index; }) target.ignored = o.ignore_index;
      },
      term.loss);
  return target;
}

/// One input per distinct target name.
std::vector<Value*> add_targets(Graph& graph, const TrainingOptions& options,
                                const std::vector<Value*>& predictions, TrainingGraph& about) {
  std::map<std::string, Value*> known;
  std::vector<Value*> targets;
  for (size_t i = 0; i < options.losses.size(); ++i) {
    const LossTerm& term = options.losses[i];
    const TensorType type = target_type(term.loss, predictions[i]->type());
    Value*& target = known[term.target];
    if (target == nullptr) {
      require_new_input(graph, term.target);
      target = graph.add_input(term.target, type);
      about.targets.push_back(describe(term, predictions[i], type));
    } else if (target->dtype() != type.dtype || target->rank() != type.rank()) {
      throw Error("target '" + term.target + "' is " + target->type().text() +
                  " for one loss and " + type.text() + " for another; name them apart");
    }
    targets.push_back(target);
  }
  return targets;
}

/// The weighted sum of the loss terms, f32, and the metrics of the first as outputs.
Value* add_losses(Graph& graph, const TrainingOptions& options,
                  const std::vector<Value*>& predictions, TrainingGraph& about) {
  const std::vector<Value*> targets = add_targets(graph, options, predictions, about);
  Builder b(graph);
  b.set_origins({"loss"});
  Value* total = nullptr;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const LossTerm& term = options.losses[i];
    Value* loss = b.cast(add_loss(b, term.loss, predictions[i], targets[i]), DType::f32);
    if (term.weight != 1) loss = b.with_scalar("mul", loss, term.weight);
    total = total == nullptr ? loss : b.add(total, loss);
  }
  b.set_origins({"metrics"});
  for (const Metric& m :
       add_metrics(b, options.losses[0].loss, predictions[0], targets[0], options.top_k)) {
    about.metrics.push_back(m.name);
    graph.add_output(m.name, m.sum);
  }
  return total;
}

/// The training program returns losses, not predictions.
void erase_model_outputs(Graph& graph) {
  for (size_t i = graph.output_count(); i-- > 0;)
    if (!graph.is_next(static_cast<int>(i))) graph.erase_output(i);
}

struct Group {
  Optimizer optimizer;
  double rate_scale = 1;
  double max_norm = 0;
};

/// The settings of each parameter; a group that matches none is the user's mistake.
class Groups {
 public:
  explicit Groups(const TrainingOptions& options) : options_(options) {
    for (const ParameterGroup& g : options.groups)
      patterns_.emplace_back(g.pattern, "parameter group");
    matched_.resize(patterns_.size());
  }

  Group of(const std::string& name) {
    Group group = {options_.optimizer, 1, options_.max_norm};
    for (size_t i = 0; i < patterns_.size(); ++i) {
      if (!patterns_[i].matches(name)) continue;
      matched_[i] = true;
      const ParameterGroup& g = options_.groups[i];
      group.rate_scale = g.rate_scale;
      if (g.weight_decay) group.optimizer = with_weight_decay(group.optimizer, *g.weight_decay);
      if (g.max_norm) group.max_norm = *g.max_norm;
      break;
    }
    return group;
  }

  void require_all_matched() const {
    for (size_t i = 0; i < matched_.size(); ++i)
      if (!matched_[i])
        throw Error("parameter group '" + options_.groups[i].pattern +
                    "' matches no trained parameter");
  }

 private:
  const TrainingOptions& options_;
  std::vector<NamePattern> patterns_;
  std::vector<bool> matched_;
};

/// What the update of the parameters works on.
struct Step {
  Graph& graph;
  const TrainingOptions& options;
  const StatefulModel& model;
  Value* rate;
};

/// Updates every parameter that has a gradient; the others stay.
void add_updates(const Step& s, const std::vector<Value*>& gradients, DiagnosticProbe* probe) {
  Groups groups(s.options);
  Builder b(s.graph);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const StatefulParameter& p = s.model.trainable[i];
    const Group group = groups.of(p.name);
    if (gradients[i] == nullptr) continue;
    b.set_origins({"update of " + p.name});
    Value* rate = group.rate_scale == 1 ? s.rate : b.with_scalar("mul", s.rate, group.rate_scale);
    const UpdateContext context = {b, rate, s.model.this_step};
    Value* next = add_update(context, group.optimizer, p.name, p.state, gradients[i]);
    if (group.max_norm > 0 && p.unit_axis >= 0)
      next = project_max_norm(b, next, p.unit_axis, group.max_norm);
    s.graph.set_next(p.state, next);
    if (probe != nullptr) probe->watch_update(b, p.name, gradients[i], p.state, next);
  }
  groups.require_all_matched();
}

// average += w (p - average), of the running statistics, too: averaged weights normalise with what
// their neighbours on the way saw.
void add_averages(const Step& s, const std::vector<std::string>& statistics) {
  require_new_input(s.graph, "average_weight");
  Value* w = s.graph.add_input("average_weight", {DType::f32, {}});
  std::vector<Value*> averaged;
  for (const StatefulParameter& p : s.model.trainable) averaged.push_back(p.state);
  for (const State& state : s.graph.states())
    if (std::find(statistics.begin(), statistics.end(), state.current->name()) != statistics.end())
      averaged.push_back(state.current);
  for (Value* v : averaged) {
    Builder b(s.graph);
    b.set_origins({"average of " + v->name()});
    const State* state = s.graph.state_of(v);
    Value* next = s.graph.output(static_cast<size_t>(state->next));
    Value* average = s.graph.add_state("average/" + v->name(), state->initial.clone());
    s.graph.set_next(average, lerp(b, average, next, b.cast(w, v->dtype())));
  }
}

/// A step whose loss is not finite leaves every state as it is, so that its cause can be found; so
/// does one whose gradients are not, where their norm is known before the first update. Whoever
/// reads the next value of a state reads what was decided on: it makes no difference to a step that
/// counts, and the undecided value needs no memory of its own.
void hold_unless_finite(Graph& graph, Value* loss, Value* gradient_norm) {
  Value* last = gradient_norm != nullptr ? gradient_norm : loss;
  Builder b(graph, graph.next(last->def()));
  b.set_origins({"finite loss"});
  Value* bad = b.make("or", {b.unary("is_nan", loss), b.unary("is_inf", loss)});
  if (gradient_norm != nullptr)
    for (const char* test : {"is_nan", "is_inf"})
      bad = b.make("or", {bad, b.unary(test, gradient_norm)});
  std::unordered_map<const Node*, size_t> place;
  for (const auto& n : graph.nodes()) place.emplace(n.get(), place.size());
  for (size_t i = 0; i < graph.states().size(); ++i) {
    const State& s = graph.states()[i];
    Value* next = graph.output(static_cast<size_t>(s.next));
    if (next == s.current) continue;
    Node* maker = next->def();
    const bool after_loss = maker != nullptr && place.at(maker) > place.at(bad->def());
    b.set_insertion_point(after_loss ? graph.next(maker) : nullptr);
    Value* decided = b.select(bad, s.current, next);
    for (const Use& u : std::vector<Use>(next->uses()))
      if (after_loss && u.node != decided->def()) u.node->set_operand(u.operand, decided);
    graph.set_next(s.current, decided);
  }
}

std::vector<Value*> add_gradients(Graph& graph, Value* loss, const StatefulModel& model,
                                  TrainingGraph& about) {
  std::vector<Value*> wrt;
  for (const StatefulParameter& p : model.trainable) wrt.push_back(p.state);
  std::vector<Value*> found = gradients(graph, loss, wrt);
  bool any = false;
  for (size_t i = 0; i < found.size(); ++i) {
    any = any || found[i] != nullptr;
    for (TrainedParameter& p : about.parameters)
      if (p.name == model.trainable[i].name) p.used = found[i] != nullptr;
  }
  if (!any) throw Error("the loss does not depend on any parameter that is trained");
  return found;
}

/// What reads a parameter without a gradient reads a constant. Its state stays, so that checkpoints
/// have it, but with nobody to say in which order of axes it is kept: programs that share it would
/// not agree.
void read_unused_as_constants(Graph& graph, const std::vector<Value*>& gradients,
                              StatefulModel& model) {
  Builder b(graph, graph.nodes().front().get());
  std::vector<StatefulParameter> used;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const StatefulParameter& p = model.trainable[i];
    if (gradients[i] != nullptr) {
      used.push_back(p);
      continue;
    }
    if (p.state->uses().empty()) continue;
    Value* constant = b.constant(graph.state_of(p.state)->initial);
    constant->set_name(p.name);
    for (const Use& u : std::vector<Use>(p.state->uses())) u.node->set_operand(u.operand, constant);
  }
  model.trainable = std::move(used);
}

/// Runs passes; `values` then point to what takes the place of the values they pointed to.
void run_passes(Graph& graph, const std::string& passes, const std::vector<Value**>& values) {
  const size_t first = graph.output_count();
  for (Value** v : values) graph.add_output("", *v);
  run_pipeline(graph, parse_pipeline(passes));
  for (size_t i = 0; i < values.size(); ++i) *values[i] = graph.output(first + i);
  for (size_t i = values.size(); i-- > 0;) graph.erase_output(first + i);
}

}  // namespace

Value* prediction_of(const Graph& graph, const LossTerm& term, std::vector<std::string>& notes) {
  return without_softmax(term, graph.output(output_index(graph, term.output)), notes);
}

TrainingGraph make_training_graph(std::unique_ptr<Graph> model, const TrainingOptions& options) {
  TrainingGraph out;
  Graph& graph = *model;
  for (const char* name : {"learning_rate", "step", "seed"}) require_new_input(graph, name);
  const std::vector<Value*> predictions = predictions_of(graph, options, out);
  erase_model_outputs(graph);
  StatefulModel stateful = make_stateful(graph, options, /*training=*/true, out);
  if (stateful.trainable.empty())
    throw Error(options.freeze.empty()
                    ? "the model has no parameters: no named constant is a weight"
                    : "--freeze '" + options.freeze + "' leaves nothing to train");
  DiagnosticProbe probe;
  if (options.diagnostics) probe.watch_activations(graph);
  Value* loss = add_losses(graph, options, predictions, out);
  // Of transposed convolutions split into phases, the gradients meet no zeros either.
  std::string passes = "decompose,split-phases,roll";
  if (options.scan_segments)
    passes += ",segment-scans{segments=" + std::to_string(*options.scan_segments) + "}";
  std::vector<Value**> values = {&loss, &stateful.this_step};
  for (Value*& v : probe.values()) values.push_back(&v);
  run_passes(graph, passes, values);
  set_random_state(graph, stateful.seed, stateful.step);
  Builder b(graph);
  b.set_origins({"penalty"});
  std::vector<Value*> weights;
  for (const StatefulParameter& p : stateful.trainable)
    if (p.state->rank() >= 2) weights.push_back(p.state);
  if (Value* penalty = add_penalty(b, weights, options.l1, options.l2)) loss = b.add(loss, penalty);
  graph.add_output("loss", loss);

  std::vector<Value*> parameter_gradients = add_gradients(graph, loss, stateful, out);
  b.set_origins({"gradient clipping"});
  ClippedGradients clipped = clip_gradients(b, std::move(parameter_gradients), options.clipping);
  if (clipped.global_norm != nullptr) graph.add_output("gradient_norm", clipped.global_norm);
  Value* rate = graph.add_input("learning_rate", {DType::f32, {}});
  const Step step = {graph, options, stateful, rate};
  add_updates(step, clipped.gradients, options.diagnostics ? &probe : nullptr);
  read_unused_as_constants(graph, clipped.gradients, stateful);
  if (options.average) add_averages(step, out.statistics);
  hold_unless_finite(graph, loss, clipped.global_norm);
  if (options.diagnostics) out.diagnostics = probe.finish(graph);
  graph.sort();
  out.graph = std::move(model);
  return out;
}

TrainingGraph make_evaluation_graph(std::unique_ptr<Graph> model, const TrainingOptions& options,
                                    bool with_loss) {
  TrainingGraph out;
  Graph& graph = *model;
  std::vector<Value*> predictions;
  if (with_loss) predictions = predictions_of(graph, options, out);
  make_stateful(graph, options, /*training=*/false, out);
  if (with_loss) graph.add_output("loss", add_losses(graph, options, predictions, out));
  run_pipeline(graph, parse_pipeline("decompose"));
  out.graph = std::move(model);
  return out;
}

std::unique_ptr<Graph> export_trained(const Graph& model, const StateValues& values) {
  std::unique_ptr<Graph> graph = model.clone();
  for (Node* node : graph->node_list()) {
    if (node->is("constant")) {
      const std::string& name = node->result()->name();
      const std::optional<Tensor> value = name.empty() ? std::nullopt : values(name);
      if (!value) continue;
      const Tensor& old = *node->result()->constant();
      if (value->dtype() != old.dtype() || value->dims() != old.dims())
        throw Error("parameter '" + name + "' is " + old.type_string() + " in the model, but " +
                    value->type_string() + " in the trained state");
      node->attrs().set("value", *value);
    } else if (node->is("BatchNormalization")) {
      to_inference(*node);
    } else if (node->is("Dropout") &&
               (node->result_count() < 2 || node->result(1)->uses().empty())) {
      Value* y = node->result(0);
      Value* x = node->operand(0);
      if (x->name().empty()) x->set_name(y->name());
      graph->replace_all_uses(y, x);
      const std::vector<Value*> operands = node->operands();
      graph->erase(node);
      // The ratio and the switch of training would stay behind as initializers of nothing.
      for (size_t i = 1; i < operands.size(); ++i)
        if (Value* v = operands[i];
            v != nullptr && v->constant() != nullptr && v->uses().empty() && v->output_uses() == 0)
          graph->erase(v->def());
    }
  }
  return graph;
}

}  // namespace tintype
