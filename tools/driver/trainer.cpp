// The training loop over compiled programs that share their states.
#include "tools/driver/trainer.h"

#include "frontend/train/diagnostics.h"
#include "ir/diagnostic.h"
#include "runtime/scalar.h"
#include "tools/driver/data_files.h"
#include "tools/driver/state_values.h"
#include "tools/driver/training_progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <set>
#include <sstream>

namespace tintype {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kBest = "best/";

/// A compiled program and its session.
struct Stage {
  TrainingGraph about;
  CompiledModel compiled;
  std::optional<Session> session;
};

template <typename T>
T checked(Result<T> result, const std::string& where) {
  if (!result.ok()) throw Error(where + ": " + result.status().message());
  return std::move(result).value();
}

void checked(const Status& status, const std::string& where) {
  if (!status.ok()) throw Error(where + ": " + status.message());
}

Stage compile_program(TrainingGraph graph, const CompileOptions& options,
                      const std::shared_ptr<StateStore>& store) {
  Stage p;
  p.about = std::move(graph);
  const std::map<std::string, Tensor> values = take_state_values(*p.about.graph);
  const std::vector<std::string> present = store->names();
  p.compiled = compile_graph(std::move(p.about.graph), options);
  p.session = checked(Session::create(p.compiled.model, store), "training");
  give_state_values(*store, values, present);
  return p;
}

bool has_segments(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const auto& n) {
    return n->is("scan") && n->attrs().integer("checkpoint") > 0;
  });
}

double scalar_of(const Tensor& t) { return element_as_double(t, 0); }

/// Whether some element passes the test; that of f32 is a loop that compilers vectorise.
template <typename Test>
bool any_element(const Tensor& t, const Test& test) {
  if (!is_float(t.dtype())) return false;
  bool any = false;
  if (t.dtype() == DType::f32)
    for (const float v : t.values<float>()) any |= test(v);
  else
    for (int64_t i = 0; i < t.size(); ++i) any |= test(element_as_double(t, i));
  return any;
}

bool all_finite(const Tensor& t) {
  return !any_element(t, [](auto v) { return !(std::abs(v) < INFINITY); });
}

bool any_nan(const Tensor& t) {
  return any_element(t, [](auto v) { return v != v; });
}

int64_t examples_in(const Batch& batch) {
  return batch.empty() || batch.begin()->second.rank() == 0 ? 0 : batch.begin()->second.dims()[0];
}

std::string fingerprint_of(const TrainingGraph& about, const TrainerOptions& o) {
  std::string text;
  for (const LossTerm& l : o.training.losses) text += text_of(l.loss) + ";";
  text += text_of(o.training.optimizer) + ";" + o.schedule.text() + ";";
  for (const TrainedParameter& p : about.parameters)
    if (!p.frozen) text += p.name + type_string(DType::undefined, p.dims) + ";";
  return text;
}

/// Which part of the fingerprint of a checkpoint is not that of this run.
std::string difference(const std::string& before, const std::string& now, size_t losses) {
  std::istringstream old_parts(before), new_parts(now);
  for (size_t i = 0;; ++i) {
    std::string was, is;
    std::getline(old_parts, was, ';');
    std::getline(new_parts, is, ';');
    if (!old_parts && !new_parts) return "it has other options";
    if (was == is) continue;
    const char* what = i < losses        ? "loss"
                       : i == losses     ? "optimizer"
                       : i == losses + 1 ? "schedule"
                                         : "next trained parameter";
    const auto quoted = [](const std::string& s) { return s.empty() ? "none" : "'" + s + "'"; };
    return std::string("its ") + what + " is " + quoted(was) + ", that of this run " + quoted(is);
  }
}

}  // namespace

struct Trainer::State {
  TrainerOptions options;
  std::unique_ptr<Graph> model;
  std::shared_ptr<StateStore> states = std::make_shared<StateStore>();
  Stage train;
  std::optional<Stage> diagnose;
  /// Programs in inference mode have a store of their own, because they may use averaged weights.
  std::shared_ptr<StateStore> inference_states = std::make_shared<StateStore>();
  std::optional<Stage> evaluation, prediction;
  bool inference_stale = true;
  std::map<std::string, Tensor> best;
  bool best_in_use = false;  ///< after a run, not during one
  TrainingProgress progress;

  /// Where memory is to be saved, loops over many steps are cut into segments: before everything
  /// else, since their gradients depend on it, and only where whole loops need too much.
  void compile_training() {
    TrainingOptions& t = options.training;
    const std::optional<RecomputeOptions>& wish = options.compile.recompute;
    t.scan_segments.reset();
    if (!wish) {
      train = compile_program(make_training_graph(model->clone(), t), options.compile, states);
      return;
    }
    t.scan_segments = wish->segments;
    TrainingGraph segmented = make_training_graph(model->clone(), t);
    if (wish->bytes > 0 && has_segments(*segmented.graph)) {
      t.scan_segments.reset();
      train = compile_program(make_training_graph(model->clone(), t), options.compile, states);
      if (train.compiled.report.recompute->arena_after <= static_cast<size_t>(wish->bytes)) return;
      t.scan_segments = wish->segments;
    }
    train = compile_program(std::move(segmented), options.compile, states);
  }

  RunOptions run_options() const { return {.threads = options.threads}; }
  bool averages() const { return options.training.average; }

  /// Names of the states that the model itself has, as far as they change.
  std::vector<std::string> model_states() const {
    std::vector<std::string> names = train.about.statistics;
    for (const TrainedParameter& p : train.about.parameters)
      if (!p.frozen && p.used) names.push_back(p.name);
    return names;
  }

  /// The value that inference uses: of the average when there is one.
  Tensor current(const std::string& name) const {
    const bool has_average = averages() && progress.averaged > 0;
    return checked(states->get(has_average ? "average/" + name : name), "training");
  }

  Tensor value_in_use(const std::string& name) const {
    if (best_in_use)
      if (const auto it = best.find(name); it != best.end()) return it->second;
    return current(name);
  }

  Stage& inference_program(std::optional<Stage>& slot, bool with_loss) {
    if (slot) return *slot;
    CompileOptions compile = options.compile;
    compile.recompute.reset();  // nothing waits for a backward pass
    slot = compile_program(make_evaluation_graph(model->clone(), options.training, with_loss),
                           compile, inference_states);
    return *slot;
  }

  void load_inference_states() {
    if (!inference_stale) return;
    const std::vector<std::string> present = inference_states->names();
    for (const std::string& name : model_states())
      if (std::binary_search(present.begin(), present.end(), name))
        checked(inference_states->set(name, value_in_use(name)), "evaluation");
    inference_stale = false;
  }

  Scores evaluate(BatchSource& data) {
    if (!evaluation) inference_stale = true;
    Stage& p = inference_program(evaluation, true);
    load_inference_states();
    const Program& program = p.session->program();
    ScoreSums sums;
    data.start(0, 0);
    for (int64_t number = 0; auto batch = data.next(); ++number) {
      const std::string where = "evaluation, batch " + std::to_string(number);
      for (const TargetInput& t : p.about.targets) check_labels(t, *batch);
      add_scores(sums, p, program, checked(p.session->run(*batch, run_options()), where), *batch);
    }
    return sums.scores(p.about.metrics);
  }

  static void add_scores(ScoreSums& sums, const Stage& p, const Program& program,
                         const std::vector<Tensor>& results, const Batch& batch) {
    double loss = 0;
    std::vector<double> metrics(p.about.metrics.size());
    for (size_t i = 0; i < results.size(); ++i) {
      const std::string& name = program.outputs[i].name;
      if (name == "loss") loss = scalar_of(results[i]);
      for (size_t m = 0; m < metrics.size(); ++m)
        if (name == p.about.metrics[m]) metrics[m] = scalar_of(results[i]);
    }
    sums.add(loss, metrics, examples_in(batch), batch.at(p.about.targets[0].name).size());
  }

  /// Weight of this step in the average.
  double average_weight(const BatchSource& data) const {
    const Averaging& a = options.averaging;
    if (a.ema_decay > 0) return progress.averaged == 0 ? 1 : 1 - a.ema_decay;
    const bool last = progress.batch + 1 == data.batches();
    if (a.swa_start < 0 || progress.epoch < a.swa_start || !last) return 0;
    return 1 / static_cast<double>(progress.averaged + 1);
  }

  Stage& diagnosing_program() {
    if (!diagnose) {
      TrainingOptions o = options.training;
      o.diagnostics = true;
      diagnose = compile_program(make_training_graph(model->clone(), o), options.compile, states);
    }
    return *diagnose;
  }

  bool diagnoses_now() const {
    return options.diagnostics_every > 0 && progress.batch == 0 &&
           progress.epoch % options.diagnostics_every == 0;
  }

  std::string where() const {
    return "epoch " + std::to_string(progress.epoch + 1) + ", step " +
           std::to_string(progress.steps + 1);
  }

  void step(const Batch& examples, const BatchSource& data, double rate);
  void check_inputs(const Batch& inputs) const;
  void check_weights() const;
  [[noreturn]] void explain_non_finite(const Batch& inputs, const std::string& what);
  void finish_epoch(const FitOptions& fit, LearningRate& schedule, BatchSource* validation);
  void check_metric(const FitOptions& fit) const;
  void note_best(const FitOptions& fit, const HistoryRow& row);
  void warn(const Warning& warning);
  void warn_of_identical_units();
};

/// Each trouble is reported once in a run.
void Trainer::State::warn(const Warning& warning) {
  if (progress.warned.insert(warning.about).second) progress.warnings.push_back(warning.text);
}

void Trainer::State::step(const Batch& examples, const BatchSource& data, double rate) {
  for (const TargetInput& t : train.about.targets) check_labels(t, examples);
  check_inputs(examples);
  Batch inputs = examples;
  inputs["learning_rate"] = Tensor::scalar(static_cast<float>(rate));
  const double weight = averages() ? average_weight(data) : 0;
  if (averages()) inputs["average_weight"] = Tensor::scalar(static_cast<float>(weight));
  Stage& p = diagnoses_now() ? diagnosing_program() : train;
  const std::vector<Tensor> results = checked(p.session->run(inputs, run_options()), where());
  inference_stale = true;
  const Program& program = p.session->program();
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string& name = program.outputs[i].name;
    for (const auto& [output, what] :
         {std::pair{"loss", "loss"}, std::pair{"gradient_norm", "norm of the gradients"}})
      if (name == output && !std::isfinite(scalar_of(results[i])))
        explain_non_finite(inputs, fmt::format("the {} is {}", what, scalar_of(results[i])));
    if (name != "diagnostics") continue;
    for (const Warning& w : warnings_of(p.about.diagnostics, results[i])) warn(w);
    progress.diagnostics = statistics_of(p.about.diagnostics, results[i]);
  }
  add_scores(progress.sums, p, program, results, examples);
  if (weight > 0) ++progress.averaged;
  ++progress.steps;
}

/// A NaN may reach gradients and not the loss. Infinity is no mistake where it masks.
void Trainer::State::check_inputs(const Batch& inputs) const {
  for (const auto& [name, tensor] : inputs)
    if (any_nan(tensor))
      throw Error(where() + ": input '" + name + "' of this batch is not finite");
}

/// Gradients may overflow under a loss that is finite: what they did to the weights is not saved.
void Trainer::State::check_weights() const {
  for (const std::string& name : model_states())
    if (!all_finite(checked(states->get(name), "training")))
      throw Error("epoch " + std::to_string(progress.epoch + 1) + ": '" + name +
                  "' is not finite at its end; lower the learning rate or clip gradients");
}

void Trainer::State::explain_non_finite(const Batch& inputs, const std::string& what) {
  const std::string start = where() + ": " + what;
  for (const auto& [name, tensor] : inputs)
    if (!all_finite(tensor))
      throw Error(start + ": input '" + name + "' of this batch is not finite");
  for (const std::string& name : model_states())
    if (!all_finite(checked(states->get(name), "training")))
      throw Error(start + ": '" + name +
                  "' is not finite since the step before; lower the learning rate " +
                  "or clip gradients");
  Stage& p = diagnosing_program();
  const std::vector<Tensor> results = checked(p.session->run(inputs, run_options()), where());
  std::string node;
  for (size_t i = 0; i < results.size(); ++i)
    if (p.session->program().outputs[i].name == "diagnostics")
      node = first_non_finite(p.about.diagnostics, results[i]);
  throw Error(
      start +
      (node.empty() ? ": all results of the model's nodes are finite"
                    : ": the first result that is not finite is that of " + node) +
      "; lower the learning rate or clip gradients; the weights are those before this step");
}

void Trainer::State::warn_of_identical_units() {
  for (const TrainedParameter& p : train.about.parameters) {
    if (p.frozen || !p.used) continue;
    const double share = identical_units(checked(states->get(p.name), "training"), p.unit_axis);
    if (share > 0)
      warn({"identical " + p.name, std::to_string(static_cast<int>(std::lround(100 * share))) +
                                       " % of the units of " + p.name +
                                       " are identical, as equal initial weights leave them; "
                                       "initialise them at random"});
  }
}

bool Trainer::larger_is_better(const std::string& metric) {
  return metric.find("loss") == std::string::npos && metric.find("error") == std::string::npos;
}

void Trainer::State::note_best(const FitOptions& fit, const HistoryRow& row) {
  if (!fit.early_stopping) return;
  const EarlyStopping& e = *fit.early_stopping;
  const Scores& scores = row.validation.empty() ? row.training : row.validation;
  const double value = scores.at(e.metric);
  const double gain =
      progress.best ? (larger_is_better(e.metric) ? value - *progress.best : *progress.best - value)
                    : std::numeric_limits<double>::infinity();
  if (!std::isnan(value) && gain > e.min_delta) {
    progress.best = value;
    progress.best_epoch = row.epoch;
    progress.bad_epochs = 0;
    if (e.restore_best)
      for (const std::string& name : model_states()) best[name] = current(name);
  } else {
    ++progress.bad_epochs;
  }
  if (e.patience > 0 && progress.bad_epochs >= e.patience) progress.finished = true;
}

void Trainer::State::finish_epoch(const FitOptions& fit, LearningRate& schedule,
                                  BatchSource* validation) {
  check_weights();
  HistoryRow row;
  row.epoch = progress.epoch;
  row.learning_rate = schedule.at(progress.epoch, std::max<int64_t>(progress.steps - 1, 0));
  row.training = progress.sums.scores(train.about.metrics);
  if (validation != nullptr) row.validation = evaluate(*validation);
  const Scores& watched = row.validation.empty() ? row.training : row.validation;
  if (const auto loss = watched.find("loss"); loss != watched.end())
    schedule.epoch_done(loss->second);
  progress.rate_memory = schedule.memory();
  if (options.diagnostics_every > 0 && progress.epoch % options.diagnostics_every == 0)
    warn_of_identical_units();
  row.warnings = std::move(progress.warnings);
  row.seconds = progress.seconds;
  row.diagnostics = std::move(progress.diagnostics);
  note_best(fit, row);
  progress.history.push_back(std::move(row));
  ++progress.epoch;
  progress.batch = 0;
  progress.sums = {};
  progress.seconds = 0;
  progress.warnings.clear();
  progress.diagnostics.clear();
}

Trainer::Trainer(std::unique_ptr<Graph> model, TrainerOptions options)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  if (model == nullptr) throw Error("there is no graph to train");
  const Averaging& a = options.averaging;
  if (a.ema_decay < 0 || a.ema_decay >= 1)
    throw Error("the decay of averaged weights must be in [0, 1), got " +
                std::to_string(a.ema_decay));
  if (a.ema_decay > 0 && a.swa_start >= 0)
    throw Error(
        "averaged weights are either exponential (ema_decay) or stochastic (swa_start), not both");
  options.training.average = a.ema_decay > 0 || a.swa_start >= 0;
  s.options = std::move(options);
  s.model = std::move(model);
  s.compile_training();
  s.progress.fingerprint = fingerprint_of(s.train.about, s.options);
}

Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

void Trainer::State::check_metric(const FitOptions& fit) const {
  if (!fit.early_stopping) return;
  std::vector<std::string> names = train.about.metrics;
  names.emplace_back("loss");
  const std::string& wanted = fit.early_stopping->metric;
  if (std::find(names.begin(), names.end(), wanted) == names.end())
    throw Error("early stopping: there is no metric '" + wanted + "'" +
                did_you_mean(wanted, names));
}

const std::vector<HistoryRow>& Trainer::fit(BatchSource& training, BatchSource* validation,
                                            const FitOptions& fit) {
  State& s = *state_;
  TrainingProgress& p = s.progress;
  s.check_metric(fit);
  if (training.size() == 0) throw Error("the training data has no examples");
  if (validation != nullptr && validation->size() == 0)
    throw Error("the validation data has no examples");
  const bool per_step = s.options.schedule.per_step;
  LearningRate schedule(s.options.schedule, learning_rate(s.options.training.optimizer),
                        per_step ? fit.epochs * training.batches() : fit.epochs);
  s.best_in_use = false;
  if (!p.rate_memory.empty()) schedule.restore(p.rate_memory);
  while (p.epoch < fit.epochs && !p.finished) {
    training.start(p.epoch, p.batch);
    while (p.batch < training.batches()) {
      const auto start = Clock::now();
      const std::optional<Batch> batch = training.next();
      if (!batch) throw Error(s.where() + ": the data ended early");
      const double rate = schedule.at(p.epoch, p.steps);
      s.step(*batch, training, rate);
      p.seconds += std::chrono::duration<double>(Clock::now() - start).count();
      const StepReport report = {p.epoch,
                                 p.batch,
                                 training.batches(),
                                 static_cast<int64_t>(p.sums.examples),
                                 training.size(),
                                 p.sums.scores(s.train.about.metrics),
                                 rate};
      ++p.batch;
      if (fit.on_step && !fit.on_step(report)) return p.history;
    }
    s.finish_epoch(fit, schedule, validation);
    if (fit.on_epoch && !fit.on_epoch(p.history.back())) return p.history;
  }
  // From here on the best weights are the ones in use.
  s.best_in_use = true;
  s.inference_stale = true;
  return p.history;
}

Scores Trainer::evaluate(BatchSource& data) { return state_->evaluate(data); }

std::map<std::string, Tensor> Trainer::predict(const Batch& inputs) {
  State& s = *state_;
  if (!s.prediction) s.inference_stale = true;
  Stage& p = s.inference_program(s.prediction, false);
  s.load_inference_states();
  const std::vector<Tensor> results =
      checked(p.session->run(inputs, s.run_options()), "prediction");
  std::map<std::string, Tensor> named;
  for (size_t i = 0; i < results.size(); ++i)
    named.emplace(p.session->program().outputs[i].name, results[i]);
  return named;
}

std::unique_ptr<Graph> Trainer::trained() const {
  const State& s = *state_;
  const std::vector<std::string> list = s.model_states();
  const std::set<std::string> names(list.begin(), list.end());
  return export_trained(*s.model, [&](const std::string& name) -> std::optional<Tensor> {
    if (names.count(name) == 0) return std::nullopt;
    return s.value_in_use(name);
  });
}

std::map<std::string, Tensor> Trainer::weights() const {
  std::map<std::string, Tensor> weights;
  for (const std::string& name : state_->model_states())
    weights.emplace(name, state_->value_in_use(name));
  return weights;
}

void Trainer::set_weights(const std::map<std::string, Tensor>& weights) {
  const std::vector<std::string> names = state_->model_states();
  for (const auto& [name, tensor] : weights) {
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw Error("weights: the model trains no '" + name + "'" + did_you_mean(name, names));
    checked(state_->states->set(name, tensor), "weights");
  }
  state_->best_in_use = false;
  state_->inference_stale = true;
}

bool Trainer::averaged() const { return state_->averages() && state_->progress.averaged > 0; }

Snapshot Trainer::snapshot() const {
  Snapshot out = {checked(state_->states->snapshot(), "checkpoint"), state_->progress.to_json()};
  for (const auto& [name, tensor] : state_->best) out.tensors.emplace(kBest + name, tensor);
  return out;
}

void Trainer::restore(const Snapshot& snapshot) {
  State& s = *state_;
  TrainingProgress progress = TrainingProgress::from_json(snapshot.progress);
  if (progress.fingerprint != s.progress.fingerprint)
    throw Error(
        "the checkpoint is of another run: " +
        difference(progress.fingerprint, s.progress.fingerprint, s.options.training.losses.size()));
  for (const std::string& name : s.states->names())
    if (snapshot.tensors.count(name) == 0)
      throw Error("the checkpoint has no state '" + name + "'");
  for (const auto& [name, tensor] : snapshot.tensors) {
    if (name.starts_with(kBest)) s.best[name.substr(std::string_view(kBest).size())] = tensor;
    else checked(s.states->set(name, tensor), "checkpoint");
  }
  s.progress = std::move(progress);
  s.best_in_use = false;
  s.inference_stale = true;
}

const Graph& Trainer::model() const { return *state_->model; }
const TrainingGraph& Trainer::program() const { return state_->train.about; }
const CompileReport& Trainer::compile_report() const { return state_->train.compiled.report; }
StateStore& Trainer::states() { return *state_->states; }
int64_t Trainer::steps() const { return state_->progress.steps; }
const std::vector<HistoryRow>& Trainer::history() const { return state_->progress.history; }

size_t Trainer::step_bytes(const Batch& batch) const {
  const State& s = *state_;
  std::vector<Tensor> inputs;
  for (const Port& port : s.train.compiled.model.program().inputs) {
    const auto found = batch.find(port.name);
    inputs.push_back(found != batch.end() ? found->second : Tensor::scalar(0.0f));
  }
  const MemoryReport m = checked(s.train.compiled.model.memory(inputs), "memory");
  return m.arena + m.constants + m.device_arena + m.device_constants + s.states->bytes();
}

}  // namespace tintype
