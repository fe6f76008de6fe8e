// tintype evaluate: loss, metrics and confusions of trained models, alone and averaged.
#include "frontend/data/json.h"
#include "frontend/data/npy.h"
#include "frontend/onnx/export.h"
#include "frontend/plot/history.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "tools/classification.h"
#include "tools/command.h"
#include "tools/config_file.h"
#include "tools/driver/ensemble.h"
#include "tools/train_data.h"
#include "tools/train_report.h"
#include "tools/trained_model.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct EvaluateArguments {
  CLI::App* app = nullptr;
  std::vector<std::string> models;
  DataArguments data;
  std::string loss, output;
  std::vector<int64_t> top_k = {1};
  uint64_t seed = 1;
  int threads = 0;
  std::string target, libraries = "auto", cache = "default";
  bool average_weights = false, json = false;

  bool given(const char* option) const { return app->get_option(option)->count() > 0; }
};

/// Options of a run that say which data it validates with.
constexpr const char* kDataOptions[] = {"data", "validation", "validation-split", "seed", "table"};

Json data_options(const std::string& run) {
  const std::string path = run + "/config.json";
  if (!fs::exists(path)) throw Error(path + ": is not there; say with --data what to evaluate on");
  std::ifstream file = open_text(path);
  Json chosen = Json::object();
  try {
    const Json config = parse_json<Json>(file);
    chosen["seed"] = std::to_string(EvaluateArguments().seed);  // that of runs that name none
    for (const char* name : kDataOptions)
      if (config.contains(name)) chosen[name] = config[name];
  } catch (const Json::exception& e) {
    throw Error(path + ": " + fault_of(e));
  }
  return chosen;
}

/// Without --data, the validation data of the runs, which has to be the same for all: what one run
/// validates with, another may have learnt by heart.
void apply_data_of_runs(EvaluateArguments& a, const std::vector<TrainedModel>& models) {
  if (!a.data.data.empty()) return;
  std::optional<Json> first;
  for (const TrainedModel& m : models) {
    if (m.run.empty())
      throw Error("evaluate: which data? give --data, since '" + m.path + "' is no training run");
    const Json options = data_options(m.run);
    if (first && options != *first)
      throw Error("'" + models[0].path + "' and '" + m.path +
                  "' were validated with different data (" + first->dump() + " and " +
                  options.dump() + "); say with --data what to evaluate on");
    first = options;
  }
  apply_config(*a.app, models[0].run + "/config.json",
               {std::begin(kDataOptions), std::end(kDataOptions)});
}

/// What a run did to its inputs, where the command line says nothing.
DataArguments arguments_for(const EvaluateArguments& a, const TrainedModel& model) {
  DataArguments d = a.data;
  if (!model.inputs) return d;
  const InputSpec& spec = *model.inputs;
  if (!a.given("--resize")) d.resize = spec.resize;
  if (!a.given("--normalize")) d.normalize = spec.normalize;
  if (!a.given("--table")) {
    d.table = spec.table;
    d.input_names = spec.columns;
    d.target_name = spec.target;
  }
  d.augment = spec.augment;
  d.class_names = spec.classes;
  d.numbered_classes = spec.classes.empty();
  return d;
}

/// Data as one model wants it.
struct Samples {
  TrainingData data;
  DatasetPtr held_out;  ///< validation data where there is any
};

Samples open_samples(const EvaluateArguments& a, const TrainedModel& model,
                     const std::optional<Loss>& loss) {
  Samples s;
  const DataArguments arguments = arguments_for(a, model);
  s.data = open_training_data(arguments, *model.graph, a.seed);
  settle_targets(s.data, *model.graph, loss, arguments);
  s.held_out = s.data.validation ? s.data.validation : s.data.training;
  return s;
}

/// Of the command line, else of training.
std::optional<Loss> loss_of(const EvaluateArguments& a, const std::vector<TrainedModel>& models) {
  std::string text = a.loss;
  for (const TrainedModel& m : models) {
    if (a.given("--loss") || !m.inputs) continue;
    if (text.empty()) text = m.inputs->loss;
    else if (text != m.inputs->loss)
      throw Error("'" + models[0].path + "' was trained with the loss " + text + ", '" + m.path +
                  "' with " + m.inputs->loss + "; choose one with --loss");
  }
  if (text.empty()) return std::nullopt;
  return from_option([&text] { return parse_loss(text); });
}

/// Averaged predictions of all samples, one behind the other.
class Predictions {
 public:
  void add(const Tensor& batch) {
    if (dims_.empty()) dims_ = batch.dims(), dims_[0] = 0;
    dims_[0] += batch.dims()[0];
    dtype_ = batch.dtype();
    const auto* data = static_cast<const std::byte*>(batch.data());
    bytes_.insert(bytes_.end(), data, data + batch.bytes());
  }
  Tensor all() const {
    Tensor t = Tensor::empty(dtype_, dims_);
    if (!bytes_.empty()) std::memcpy(t.mutable_data(), bytes_.data(), bytes_.size());
    return t;
  }

 private:
  DType dtype_ = DType::f32;
  std::vector<int64_t> dims_;
  std::vector<std::byte> bytes_;
};

/// What came out of an evaluation, and the samples as the first model saw them.
struct Outcome {
  const EvaluateArguments& a;
  const std::vector<TrainedModel>& models;
  const Samples& samples;
  Loss loss;
  Evaluation scores;
  Tensor prediction;
  std::optional<Classified> classes;     ///< where samples have labels and predictions are rows
  std::unique_ptr<Graph> averaged = {};  ///< the model of mean weights, where it was asked for
};

std::optional<Classified> classify(const Tensor& prediction, const Loss& loss,
                                   const Dataset& dataset) {
  Classified c;
  c.truth = dataset.labels();
  if (!takes_labels(loss) || c.truth.empty() || prediction.rank() != 2 || prediction.dims()[1] < 2)
    return std::nullopt;
  c.add(prediction);
  return c;
}

Json json_of(const Outcome& o) {
  Json j = Json::object();
  j["data"] = o.samples.data.description;
  j["samples"] = o.samples.held_out->size();
  j["loss"] = text_of(o.loss);
  for (size_t i = 0; i < o.models.size(); ++i)
    j["models"].push_back({{"model", o.models[i].path}, {"scores", o.scores.members[i]}});
  j["averaged"] = o.scores.together;
  if (!o.classes) return j;
  for (const ClassScore& s : class_scores(*o.classes, *o.samples.held_out))
    j["classes"].push_back({{"class", s.name},
                            {"samples", s.samples},
                            {"precision", s.precision},
                            {"recall", s.recall},
                            {"f1", s.f1}});
  const std::vector<int64_t> counts = o.classes->confusion();
  const auto classes = static_cast<size_t>(o.classes->classes);
  for (size_t i = 0; i < classes; ++i) {
    const auto row = counts.begin() + static_cast<std::ptrdiff_t>(i * classes);
    j["confusion"].push_back(std::vector<int64_t>(row, row + static_cast<std::ptrdiff_t>(classes)));
  }
  return j;
}

void print_classes(const Classified& c, const Dataset& dataset) {
  constexpr int64_t kListed = 20;
  constexpr size_t kConfusions = 5;
  if (c.classes <= kListed) {
    size_t width = 5;
    const auto scores = class_scores(c, dataset);
    for (const ClassScore& s : scores) width = std::max(width, s.name.size());
    fmt::print("\n{:<{}}  samples  precision  recall     f1\n", "class", width);
    for (const ClassScore& s : scores)
      fmt::print("{:<{}}  {:>7}  {:>7.1f} %  {:>4.1f} %  {:.3f}\n", s.name, width, s.samples,
                 100 * s.precision, 100 * s.recall, s.f1);
  }
  const std::vector<int64_t> counts = c.confusion();
  std::vector<int64_t> wrong;
  for (int64_t i = 0; i < c.classes * c.classes; ++i)
    if (i / c.classes != i % c.classes && counts[static_cast<size_t>(i)] > 0) wrong.push_back(i);
  std::stable_sort(wrong.begin(), wrong.end(), [&](int64_t x, int64_t y) {
    return counts[static_cast<size_t>(x)] > counts[static_cast<size_t>(y)];
  });
  if (!wrong.empty()) fmt::print("\nmost frequent mistakes\n");
  for (size_t i = 0; i < std::min(wrong.size(), kConfusions); ++i)
    fmt::print("  {:>4}  {} taken for {}\n", counts[static_cast<size_t>(wrong[i])],
               class_name(dataset, wrong[i] / c.classes),
               class_name(dataset, wrong[i] % c.classes));
}

void print_outcome(const Outcome& o) {
  fmt::print("{} samples; {}\n", grouped(o.samples.held_out->size()), o.samples.data.description);
  size_t width = std::string_view("averaged").size();
  for (const TrainedModel& m : o.models) width = std::max(width, m.path.size());
  for (size_t i = 0; i < o.models.size(); ++i)
    fmt::print("{:<{}}  {}\n", o.models[i].path, width, text_of(o.scores.members[i]));
  if (o.models.size() > 1)
    fmt::print("{:<{}}  {}\n", "averaged", width, text_of(o.scores.together));
  if (o.classes) print_classes(*o.classes, *o.samples.held_out);
}

void save_outcome(const Outcome& o) {
  const std::string& folder = o.a.output;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(folder + ": cannot be made: " + error.message());
  const auto check = [](const Status& s) {
    if (!s.ok()) throw Error(s.message());
  };
  check(save_text(json_text(json_of(o)), folder + "/evaluation.json"));
  check(save_npy(probabilities_of(o.prediction, o.loss), folder + "/predictions.npy"));
  if (o.a.average_weights) {  // a model that was in no file yet
    export_onnx(*o.averaged, folder + "/model.onnx");
    if (o.models[0].inputs) save_input_spec(*o.models[0].inputs, folder + "/inputs.json");
  }
  if (o.classes)
    save_classification(folder, *o.classes, *o.samples.held_out, /*mistakes_first=*/true);
}

int evaluate(EvaluateArguments& a) {
  std::vector<TrainedModel> models;
  for (const std::string& path : a.models) models.push_back(load_trained(path));
  apply_data_of_runs(a, models);
  if (a.average_weights) {
    TrainedModel mean = average_weights(std::move(models));
    models.clear();
    models.push_back(std::move(mean));
  }
  EnsembleOptions options;
  options.top_k = a.top_k;
  options.compile.cache_directory = a.cache;
  set_target(a.target, options.compile);
  set_libraries(a.libraries, options.compile);
  options.compile.progress = compile_progress();
  options.threads = a.threads;
  std::vector<Samples> samples;
  const std::optional<Loss> loss = loss_of(a, models);
  for (const TrainedModel& m : models) samples.push_back(open_samples(a, m, loss));
  if (loss) options.loss.loss = *loss;
  else if (samples[0].data.reconstruct) options.loss.loss = MeanSquaredError{};
  if (a.data.batch == 0) a.data.batch = samples[0].held_out->size();
  options.compile.batch = a.data.batch;
  std::unique_ptr<Graph> averaged = a.average_weights ? models[0].graph->clone() : nullptr;
  std::vector<std::unique_ptr<Graph>> graphs;
  for (TrainedModel& m : models) graphs.push_back(std::move(m.graph));
  Ensemble ensemble(std::move(graphs), options);
  std::vector<std::unique_ptr<BatchSource>> batches;
  std::vector<BatchSource*> sources;
  for (size_t i = 0; i < models.size(); ++i) {
    batches.push_back(samples[i].data.batches_in_order(samples[i].held_out, ensemble.batch_types(i),
                                                       a.data.batch));
    sources.push_back(batches.back().get());
  }
  Predictions predictions;
  Outcome o = {a, models, samples[0], options.loss.loss, {}, {}, {}, std::move(averaged)};
  o.scores = ensemble.evaluate(sources, [&](const Tensor& p) { predictions.add(p); });
  o.prediction = predictions.all();
  o.classes = classify(o.prediction, o.loss, *samples[0].held_out);
  if (!a.output.empty()) save_outcome(o);
  if (a.json) std::cout << json_text(json_of(o));
  else print_outcome(o);
  return kOk;
}

}  // namespace

Runner add_evaluate(CLI::App& parent) {
  auto args = std::make_shared<EvaluateArguments>();
  EvaluateArguments& a = *args;
  CLI::App* app = parent.add_subcommand(
      "evaluate", "loss, metrics and mistakes of trained models, alone and averaged");
  a.app = app;
  app->add_option("model", a.models,
                  "folders of training runs, their checkpoints, .onnx models or texts of graphs")
      ->required();
  a.data.add_evaluation_to(*app);
  app->add_option("--loss", a.loss, "default: that of training, or cross_entropy");
  app->add_option("--top-k", a.top_k, "accuracies to count")->delimiter(',')->check(positive());
  add_seed(*app, a.seed, "of --validation-split");
  app->add_option("--threads", a.threads, "upper bound; results do not depend on it")
      ->check(not_negative());
  app->add_option("--target", a.target, kTargetHelp);
  app->add_option("--libraries", a.libraries, kLibrariesHelp);
  app->add_option("--cache", a.cache, "folder of compiled kernels");
  app->add_option("-o,--output", a.output,
                  "folder for evaluation.json, predictions.npy, confusion.svg, predictions.svg");
  app->add_flag("--average-weights", a.average_weights,
                "evaluate one model with the mean of all weights; -o keeps it as model.onnx");
  app->add_flag("--json", a.json, "print the report as JSON");
  app->footer(
      "Without --data, training runs are evaluated on the validation data they had. What a run did\n"
      "to its inputs (resizing, normalisation, classes) is done to them here, too.\n\n"
      "Examples:\n  tintype evaluate run\n"
      "  tintype evaluate run/checkpoint-0008.ttc run/checkpoint-0010.ttc --data mnist/\n"
      "  tintype evaluate run/checkpoint-00*.ttc --average-weights -o mean\n"
      "  tintype evaluate a b c --data images/test --top-k 1,5 -o report");
  return [args] { return evaluate(*args); };
}

}  // namespace tintype::cli
