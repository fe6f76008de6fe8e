// tintype train: a network of the zoo or an ONNX model, trained on files, to a folder of results.
#include "frontend/data/safetensors.h"
#include "frontend/onnx/import.h"
#include "frontend/train/spec.h"
#include "frontend/zoo/zoo.h"
#include "ir/diagnostic.h"
#include "tools/command.h"
#include "tools/config_file.h"
#include "tools/driver/pipeline.h"
#include "tools/train_data.h"
#include "tools/train_report.h"
#include "tools/train_results.h"

#include <atomic>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct TrainArguments {
  CLI::App* app = nullptr;
  std::string model, config, resume, weights, save_step, output = "run";
  DataArguments data;
  std::string loss = "cross_entropy", optimizer = "adam", schedule = "constant";
  std::string freeze, clip, regularize, average, early_stopping;
  std::vector<std::string> groups;
  std::vector<int64_t> top_k = {1};
  int64_t epochs = 10, diagnostics = 1, show = 0;
  uint64_t seed = 1;
  int threads = 0;
  std::string cache = "default";
  bool json = false, verbose = false, force = false;
};

std::atomic<bool> interrupted{false};

/// Ctrl-C ends the run after the step that is under way; a second one ends the program.
class InterruptGuard {
 public:
  InterruptGuard() {
    interrupted = false;
    std::signal(SIGINT, [](int) {
      if (interrupted.exchange(true)) std::_Exit(130);
    });
  }
  ~InterruptGuard() { std::signal(SIGINT, SIG_DFL); }
};

ParameterGroup parse_group(const std::string& text) {
  SpecReader reader(text, "--group");
  ParameterGroup group = {.pattern = reader.name()};
  double decay = kNone;
  double max_norm = kNone;
  reader("rate", group.rate_scale);
  reader("weight_decay", decay);
  reader("max_norm", max_norm);
  reader.finish();
  if (!std::isnan(decay)) group.weight_decay = decay;
  if (!std::isnan(max_norm)) group.max_norm = max_norm;
  return group;
}

Clipping parse_clipping(const std::string& text) {
  Clipping c;
  if (text.empty()) return c;
  SpecReader reader("clip," + text, "--clip");
  reader("value", c.value);
  reader("norm", c.norm);
  reader("global_norm", c.global_norm);
  reader.finish();
  return c;
}

void apply_regularizers(const std::string& text, TrainingOptions& options) {
  if (text.empty()) return;
  SpecReader reader("regularize," + text, "--regularize");
  reader("l1", options.l1);
  reader("l2", options.l2);
  reader("max_norm", options.max_norm);
  reader.finish();
}

Averaging parse_averaging(const std::string& text) {
  Averaging a;
  if (text.empty()) return a;
  SpecReader reader(text, "--average");
  if (reader.name() == "ema") {
    a.ema_decay = 0.999;
    reader("decay", a.ema_decay);
  } else if (reader.name() == "swa") {
    a.swa_start = 0;
    reader("start", a.swa_start);
  } else {
    throw Error("--average expects ema[,decay=D] or swa[,start=EPOCH], got '" + text + "'");
  }
  reader.finish();
  return a;
}

std::optional<EarlyStopping> parse_early_stopping(const std::string& text) {
  if (text.empty()) return std::nullopt;
  SpecReader reader(text, "--early-stopping");
  EarlyStopping e = {.metric = reader.name(), .patience = 10};
  reader("patience", e.patience);
  reader("min_delta", e.min_delta);
  reader("restore_best", e.restore_best);
  reader.finish();
  return e;
}

bool is_file(const std::string& model) { return model.ends_with(".onnx") || fs::exists(model); }

/// An imported model whose batch is a symbol, as training needs it.
std::unique_ptr<Graph> import_for_training(const std::string& path) {
  ImportOptions options;
  std::unique_ptr<Graph> graph = import_onnx(path, options);
  for (const auto& v : graph->inputs()) {
    if (v->rank() == 0 || !v->shape()[0].is_static()) continue;
    Shape shape = v->shape();
    shape[0] = Dim::symbol("N");
    options.input_shapes[v->name()] = std::move(shape);
  }
  return options.input_shapes.empty() ? std::move(graph) : import_onnx(path, options);
}

/// Names of the data: the inputs of the model, then the target.
std::vector<std::string> data_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto& v : graph.inputs()) names.push_back(v->name());
  names.emplace_back("target");
  return names;
}

struct Loaded {
  std::unique_ptr<Graph> graph;
  TrainingData data;
};

/// A network of the zoo takes the extents and classes of the data.
Loaded load_model_and_data(const TrainArguments& a) {
  if (is_file(a.model)) {
    std::unique_ptr<Graph> graph = import_for_training(a.model);
    TrainingData data = open_training_data(a.data, data_names(*graph), a.seed);
    return {std::move(graph), std::move(data)};
  }
  ZooOptions options = {.seed = a.seed, .shapes_only = true};
  const auto shapes = build_zoo_network(a.model, options);
  TrainingData data = open_training_data(a.data, data_names(shapes->graph()), a.seed);
  options.input = data.input_dims();
  options.classes = data.training->classes();
  if (data.validation) options.classes = std::max(options.classes, data.validation->classes());
  options.shapes_only = false;
  return {build_zoo_network(a.model, options)->take(), std::move(data)};
}

TrainerOptions trainer_options(const TrainArguments& a) {
  TrainerOptions o;
  o.training.losses = {{.loss = parse_loss(a.loss)}};
  o.training.optimizer = parse_optimizer(a.optimizer);
  for (const std::string& g : a.groups) o.training.groups.push_back(parse_group(g));
  o.training.freeze = a.freeze;
  apply_regularizers(a.regularize, o.training);
  o.training.clipping = parse_clipping(a.clip);
  o.training.top_k = a.top_k;
  o.training.seed = a.seed;
  o.schedule = Schedule::parse(a.schedule);
  o.averaging = parse_averaging(a.average);
  o.compile.cache_directory = a.cache;
  o.compile.batch = a.data.batch;
  o.compile.progress = compile_progress();
  o.threads = a.threads;
  o.diagnostics_every = a.diagnostics;
  return o;
}

void describe(const TrainArguments& a, const Trainer& trainer, const TrainingData& data,
              const Batch& batch) {
  int64_t trained = 0;
  int64_t frozen = 0;
  for (const TrainedParameter& p : trainer.program().parameters)
    (p.frozen ? frozen : trained) += element_count(p.dims);
  const CodegenReport& c = trainer.compile_report().codegen;
  const auto megabytes = static_cast<double>(trainer.step_bytes(batch)) * 1e-6;
  fmt::print("{}: {} parameters{}; step compiled: {} kernels in {:.1f} s; {:.0f} MB per step\n",
             a.model, grouped(trained),
             frozen > 0 ? " and " + grouped(frozen) + " frozen ones" : "", c.kernels,
             c.compile_ms / 1000, megabytes);
  fmt::print("{}\n", data.description);
  if (const std::string n = data.normalization.text(); n != "none")
    fmt::print("inputs are normalised: {}\n", n);
  for (const std::string& note : trainer.program().notes) fmt::print("note: {}\n", note);
  std::fflush(stdout);  // before what the run says on standard error
}

/// The run that is to go on: its options, as far as the command line has none.
void apply_resumed(TrainArguments& a) {
  if (a.resume.empty()) return;
  const RunFolder folder(a.resume);
  if (!folder.has_run())
    throw Error("--resume: there is no training run in '" + a.resume + "' (no checkpoint.ttc)");
  apply_config(*a.app, folder.file("config.json"));
  a.output = a.resume;
}

void check(const TrainArguments& a) {
  if (a.model.empty())
    throw Error("train: which model? give a network of `tintype zoo` or an .onnx file");
  if (a.data.data.empty())
    throw Error("train: which data? give --data FOLDER, or --data INPUT.npy TARGET.npy");
  if (a.resume.empty() && !a.force && RunFolder(a.output).has_run())
    throw Error("'" + a.output + "' holds a training run; continue it with --resume " + a.output +
                ", replace it with --force, or give another folder with -o");
}

void load_weights(Trainer& trainer, const std::string& path) {
  if (path.empty()) return;
  const Result<SafetensorsFile> file = load_safetensors(path);
  if (!file.ok()) throw Error(file.status().message());
  try {
    trainer.set_weights(file.value().tensors);
  } catch (const Error& e) {
    throw Error(path + ": " + e.what());
  }
}

/// Trains, saving after each epoch and when interrupted.
const std::vector<HistoryRow>& fit(const TrainArguments& a, Trainer& trainer,
                                   const TrainingData& data, BatchSource& batches,
                                   const RunFolder& folder) {
  const auto validation = data.validation_batches(trainer, a.data);
  TrainReport report(a.epochs, a.verbose);
  FitOptions fit = {.epochs = a.epochs, .early_stopping = parse_early_stopping(a.early_stopping)};
  fit.on_step = [&](const StepReport& r) {
    report.step(r);
    return !interrupted;
  };
  fit.on_epoch = [&](const HistoryRow& r) {
    report.epoch(r);
    folder.save_progress(trainer, data, a.data, a.seed, trainer.history());
    return !interrupted;
  };
  const InterruptGuard guard;
  const std::vector<HistoryRow>& rows = trainer.fit(batches, validation.get(), fit);
  report.clear();
  if (interrupted) {
    folder.save_progress(trainer, data, a.data, a.seed, rows);
    fmt::print(stderr, "interrupted after step {}; continue with tintype train --resume {}\n",
               trainer.steps(), folder.path());
  }
  return rows;
}

int train(TrainArguments& a) {
  apply_resumed(a);
  check(a);
  Loaded loaded = load_model_and_data(a);
  if (!a.save_step.empty())
    save_graph(*make_training_graph(loaded.graph->clone(), trainer_options(a).training).graph,
               a.save_step);
  Trainer trainer(std::move(loaded.graph), trainer_options(a));
  const TrainingData& data = loaded.data;
  const auto batches = data.batches(trainer, a.data, a.seed);
  load_weights(trainer, a.weights);
  const RunFolder folder(a.output);
  if (!a.resume.empty()) folder.restore(trainer, data, a.data, a.seed);
  if (!a.json)
    if (const std::optional<Batch> first = batches->next()) describe(a, trainer, data, *first);
  fs::create_directories(a.output);
  save_config(*a.app, {"resume", "config", "output", "json", "force", "save-step", "show"},
              folder.file("config.json"));
  const std::vector<HistoryRow>& history = fit(a, trainer, data, *batches, folder);
  folder.save_results(trainer, data, a.data);
  if (a.json) {
    std::cout << nlohmann::json{{"model", folder.file("model.onnx")},
                                {"input", data.normalization.text()},
                                {"history", nlohmann::json::parse(history_json(history))}}
                     .dump(1)
              << "\n";
    return kOk;
  }
  if (a.show > 0) fmt::print("{}", text_pictures(trainer, data, a.data, a.show));
  if (!history.empty() && !history.back().validation.empty())
    fmt::print("validation: {}\n", text_of(history.back().validation));
  fmt::print("{} and, beside it, curves, history, weights and checkpoint\n",
             folder.file("model.onnx"));
  return kOk;
}

}  // namespace

Runner add_train(CLI::App& parent) {
  auto args = std::make_shared<TrainArguments>();
  TrainArguments& a = *args;
  CLI::App* app = parent.add_subcommand("train", "train a network");
  a.app = app;
  app->add_option("model", a.model, "a network of `tintype zoo`, or an .onnx model");
  a.data.add_to(*app);
  app->add_option("--loss", a.loss, "cross_entropy, binary_cross_entropy, mse, l1, huber ...");
  app->add_option("--optimizer", a.optimizer, "sgd, adam, adamw, rmsprop ..., as adam,lr=1e-3");
  app->add_option("--schedule", a.schedule, "[step:][warmup,length=N+]cosine, step, plateau ...");
  app->add_option("--epochs", a.epochs, "times through the data, in all")
      ->check(CLI::PositiveNumber);
  app->add_option("--freeze", a.freeze, "regular expression: parameters that stay as they are");
  app->add_option("--group", a.groups, "REGEX,rate=0.1,weight_decay=0,max_norm=3 (repeatable)");
  app->add_option("--clip", a.clip, "gradients: value=V, norm=V or global_norm=V");
  app->add_option("--regularize", a.regularize,
                  "weights: l1=PENALTY,l2=PENALTY,max_norm=LIMIT of each unit's weights");
  app->add_option("--average", a.average, "weights: ema,decay=0.999 or swa,start=EPOCH");
  app->add_option("--early-stopping", a.early_stopping, "METRIC,patience=10,min_delta=0");
  app->add_option("--top-k", a.top_k, "accuracies to count")->delimiter(',');
  app->add_option("--diagnostics", a.diagnostics, "look for trouble every N epochs; 0: never");
  app->add_option("--seed", a.seed, "of weights, order and dropout");
  app->add_option("--threads", a.threads, "upper bound; results do not depend on it");
  app->add_option("--cache", a.cache, "folder of compiled kernels");
  app->add_option("--config", a.config,
                  "a JSON or TOML file with these options; the command line wins");
  app->add_option("--resume", a.resume,
                  "go on with the run in this folder, as if it had not stopped");
  app->add_option("--weights", a.weights, "start from the values in a .safetensors file");
  app->add_option("--show", a.show, "print so many validation images with predictions")
      ->check(CLI::NonNegativeNumber);
  app->add_flag("--force", a.force, "replace the run in the output folder");
  app->add_option("--save-step", a.save_step,
                  "write the step as a graph, for opt, show, bench and profile");
  app->add_option("-o,--output", a.output, "folder of the results");
  app->add_flag("--json", a.json, "print the history as JSON");
  app->add_flag("-v,--verbose", a.verbose, "a line per epoch, on a terminal or not");
  app->footer(
      "Examples:\n  tintype train lenet5 --data mnist/ --augment shift=2 --epochs 20 -o run\n"
      "  tintype train --resume run --epochs 40\n"
      "  tintype train model.onnx --data x=x.npy target=y.npy --loss mse --freeze '^conv'");
  return [args] {
    if (!args->config.empty()) apply_config(*args->app, args->config);
    return train(*args);
  };
}

}  // namespace tintype::cli
