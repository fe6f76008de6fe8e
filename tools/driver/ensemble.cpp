// Each model is a program for inference; one more program computes loss and metrics of predictions.
#include "tools/driver/ensemble.h"

#include "ir/diagnostic.h"
#include "runtime/scalar.h"
#include "runtime/session.h"
#include "tools/driver/data_files.h"
#include "tools/driver/score_sums.h"

#include <algorithm>
#include <cmath>

namespace tintype {

namespace {

template <typename T>
T checked(Result<T> result, const std::string& where) {
  if (!result.ok()) throw Error(where + ": " + result.status().message());
  return std::move(result).value();
}

/// How predictions relate to what is averaged.
enum class Form : uint8_t { logits, log_odds, log_probabilities, plain };

Form form_of(const Loss& loss) {
  if (std::holds_alternative<CrossEntropy>(loss)) return Form::logits;
  if (std::holds_alternative<BinaryCrossEntropy>(loss)) return Form::log_odds;
  if (std::holds_alternative<KlDivergence>(loss) ||
      std::holds_alternative<NegativeLogLikelihood>(loss))
    return Form::log_probabilities;
  return Form::plain;
}

/// log(sum of exp(v)), without overflow.
double log_sum_exp(std::span<const double> values) {
  const double most = *std::max_element(values.begin(), values.end());
  if (!std::isfinite(most)) return most;
  double sum = 0;
  for (const double v : values) sum += std::exp(v - most);
  return most + std::log(sum);
}

/// log(1 + exp(x)), without overflow.
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

std::vector<double> as_doubles(const Tensor& t) {
  std::vector<double> values(static_cast<size_t>(t.size()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = element_as_double(t, static_cast<int64_t>(i));
  return values;
}

/// Logits minus their log-sum-exp over the classes (axis 1, or 0 of a vector).
void log_softmax(std::vector<double>& values, const std::vector<int64_t>& dims) {
  const size_t axis = dims.size() > 1 ? 1 : 0;
  const auto classes = static_cast<size_t>(dims[axis]);
  size_t inner = 1;
  for (size_t i = axis + 1; i < dims.size(); ++i) inner *= static_cast<size_t>(dims[i]);
  const size_t outer = classes * inner == 0 ? 0 : values.size() / (classes * inner);
  std::vector<double> column(classes);
  for (size_t o = 0; o < outer; ++o)
    for (size_t i = 0; i < inner; ++i) {
      const auto at = [&](size_t c) -> double& { return values[(o * classes + c) * inner + i]; };
      for (size_t c = 0; c < classes; ++c) column[c] = at(c);
      const double total = log_sum_exp(column);
      for (size_t c = 0; c < classes; ++c) at(c) -= total;
    }
}

Tensor tensor_of(const std::vector<double>& values, const Tensor& like) {
  Tensor t = Tensor::empty(like.dtype(), like.dims());
  auto* at = static_cast<std::byte*>(t.mutable_data());
  for (const double v : values) {
    store_scalar(t.dtype(), v, at);
    at += size_of(t.dtype());
  }
  return t;
}

struct Member {
  CompiledModel compiled;
  std::vector<std::pair<std::string, TensorType>> inputs;
};

/// The model with its prediction as the one output. Returns the prediction's type.
TensorType keep_prediction(Graph& graph, const LossTerm& term) {
  std::vector<std::string> notes;
  Value* prediction = prediction_of(graph, term, notes);
  for (size_t i = graph.output_count(); i-- > 0;) graph.erase_output(i);
  graph.add_output("prediction", prediction);
  return prediction->type();
}

/// A program that takes predictions and targets, and returns loss and metrics.
TrainingGraph scoring_graph(const TensorType& prediction, const EnsembleOptions& options) {
  auto graph = std::make_unique<Graph>("scores");
  graph->add_output("prediction", graph->add_input("prediction", prediction));
  LossTerm term = options.loss;
  term.output.clear();
  return make_evaluation_graph(std::move(graph), {.losses = {term}, .top_k = options.top_k});
}

}  // namespace

struct Ensemble::State {
  EnsembleOptions options;
  std::vector<Member> members;
  TrainingGraph about;  ///< of the scoring program
  CompiledModel scoring;

  RunOptions run_options() const { return {.threads = options.threads}; }

  Tensor predict(size_t member, const Batch& batch) const {
    Batch inputs;
    for (const auto& [name, type] : members[member].inputs) {
      const auto found = batch.find(name);
      if (found == batch.end())
        throw Error("prediction: there is nothing for input '" + name + "'");
      inputs.emplace(name, found->second);
    }
    return checked(members[member].compiled.model.run(inputs, run_options()), "prediction")[0];
  }

  void score(const Tensor& prediction, const Batch& batch, ScoreSums& sums) const {
    const TargetInput& target = about.targets[0];
    check_labels(target, batch);
    const Tensor& truth = batch.at(target.name);
    const Batch inputs = {{"prediction", prediction}, {target.name, truth}};
    const auto results = checked(scoring.model.run(inputs, run_options()), "evaluation");
    const Program& program = scoring.model.program();
    double loss = 0;
    std::vector<double> metrics(about.metrics.size());
    for (size_t i = 0; i < results.size(); ++i) {
      const double value = element_as_double(results[i], 0);
      if (program.outputs[i].name == "loss") loss = value;
      for (size_t m = 0; m < metrics.size(); ++m)
        if (program.outputs[i].name == about.metrics[m]) metrics[m] = value;
    }
    sums.add(loss, metrics, prediction.dims()[0], truth.size());
  }
};

Ensemble::Ensemble(std::vector<std::unique_ptr<Graph>> models, EnsembleOptions options)
    : state_(std::make_unique<State>()) {
  if (models.empty()) throw Error("there is no model to evaluate");
  State& s = *state_;
  s.options = std::move(options);
  TensorType prediction;
  for (auto& graph : models) {
    Member member;
    for (const auto& v : graph->inputs()) member.inputs.emplace_back(v->name(), v->type());
    const std::string name = graph->name();
    const TensorType type = keep_prediction(*graph, s.options.loss);
    if (s.members.empty()) prediction = type;
    else if (type.text() != prediction.text())
      throw Error("the models do not answer the same question: the first predicts " +
                  prediction.text() + ", '" + name + "' predicts " + type.text());
    member.compiled = compile_graph(std::move(graph), s.options.compile);
    s.members.push_back(std::move(member));
  }
  s.about = scoring_graph(prediction, s.options);
  s.scoring = compile_graph(std::move(s.about.graph), s.options.compile);
}

Ensemble::~Ensemble() = default;
Ensemble::Ensemble(Ensemble&&) noexcept = default;
Ensemble& Ensemble::operator=(Ensemble&&) noexcept = default;

size_t Ensemble::size() const { return state_->members.size(); }

std::vector<std::pair<std::string, TensorType>> Ensemble::batch_types(size_t i) const {
  auto types = state_->members[i].inputs;
  for (const TargetInput& t : state_->about.targets) types.emplace_back(t.name, t.type);
  return types;
}

Evaluation Ensemble::evaluate(std::span<BatchSource* const> sources,
                              const std::function<void(const Tensor&)>& on_batch) {
  const State& s = *state_;
  if (sources.size() != 1 && sources.size() != s.members.size())
    throw Error("evaluation: expected one source of data or " + std::to_string(s.members.size()) +
                ", got " + std::to_string(sources.size()));
  for (BatchSource* source : sources) {
    if (source->size() != sources[0]->size())
      throw Error("evaluation: one model gets " + std::to_string(sources[0]->size()) +
                  " samples, another " + std::to_string(source->size()));
    source->start(0, 0);
  }
  if (sources[0]->size() == 0) throw Error("evaluation: the data has no examples");
  std::vector<ScoreSums> alone(s.members.size());
  ScoreSums together;
  while (true) {
    std::vector<Batch> batches;
    for (BatchSource* source : sources)
      if (auto batch = source->next()) batches.push_back(std::move(*batch));
    if (batches.size() != sources.size()) break;
    std::vector<Tensor> predictions;
    for (size_t m = 0; m < s.members.size(); ++m) {
      const Batch& batch = batches[batches.size() == 1 ? 0 : m];
      predictions.push_back(s.predict(m, batch));
      s.score(predictions[m], batch, alone[m]);
    }
    const Tensor mean = average_predictions(predictions, s.options.loss.loss);
    s.score(mean, batches[0], together);
    if (on_batch) on_batch(mean);
  }
  Evaluation result;
  for (const ScoreSums& sums : alone) result.members.push_back(sums.scores(s.about.metrics));
  result.together = together.scores(s.about.metrics);
  return result;
}

Tensor Ensemble::predict(std::span<const Batch> inputs) {
  const State& s = *state_;
  if (inputs.size() != 1 && inputs.size() != s.members.size())
    throw Error("prediction: expected one batch or " + std::to_string(s.members.size()) + ", got " +
                std::to_string(inputs.size()));
  std::vector<Tensor> predictions;
  for (size_t m = 0; m < s.members.size(); ++m)
    predictions.push_back(s.predict(m, inputs[inputs.size() == 1 ? 0 : m]));
  return average_predictions(predictions, s.options.loss.loss);
}

// log mean p = log sum exp(log p) - log n; log odds of a mean: log sum p - log sum (1 - p).
Tensor average_predictions(std::span<const Tensor> predictions, const Loss& loss) {
  if (predictions.empty()) throw Error("there are no predictions to average");
  if (predictions.size() == 1) return predictions[0];
  const Form form = form_of(loss);
  const double log_count = std::log(static_cast<double>(predictions.size()));
  std::vector<std::vector<double>> all;
  for (const Tensor& t : predictions) {
    if (t.dims() != predictions[0].dims() || t.dtype() != predictions[0].dtype())
      throw Error("predictions of " + predictions[0].type_string() + " and " + t.type_string() +
                  " have no mean");
    all.push_back(as_doubles(t));
    if (form == Form::logits) log_softmax(all.back(), t.dims());
  }
  std::vector<double> mean(all[0].size()), column(all.size()), other(all.size());
  for (size_t i = 0; i < mean.size(); ++i) {
    for (size_t m = 0; m < all.size(); ++m) column[m] = all[m][i];
    if (form == Form::plain) {
      for (const double v : column) mean[i] += v / static_cast<double>(all.size());
    } else if (form == Form::log_odds) {
      for (size_t m = 0; m < all.size(); ++m) {
        other[m] = -softplus(column[m]);    // log(1 - sigmoid)
        column[m] = -softplus(-column[m]);  // log(sigmoid)
      }
      mean[i] = log_sum_exp(column) - log_sum_exp(other);
    } else {
      mean[i] = log_sum_exp(column) - log_count;
    }
  }
  return tensor_of(mean, predictions[0]);
}

Tensor probabilities_of(const Tensor& prediction, const Loss& loss) {
  const Form form = form_of(loss);
  if (form == Form::plain) return prediction;
  std::vector<double> values = as_doubles(prediction);
  if (form == Form::logits) log_softmax(values, prediction.dims());
  for (double& v : values) v = form == Form::log_odds ? 1 / (1 + std::exp(-v)) : std::exp(v);
  return tensor_of(values, prediction);
}

}  // namespace tintype
