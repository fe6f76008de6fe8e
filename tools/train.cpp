// tintype train: a network of the zoo or an ONNX model, trained on files, to a folder of results.
#include "frontend/onnx/export.h"
#include "frontend/onnx/import.h"
#include "frontend/train/spec.h"
#include "frontend/zoo/zoo.h"
#include "ir/diagnostic.h"
#include "tools/command.h"
#include "tools/driver/pipeline.h"
#include "tools/json_config.h"
#include "tools/train_data.h"
#include "tools/train_report.h"

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
  std::string model, config, save_step, output = "run";
  std::vector<std::string> data, validation;
  double validation_split = 0;
  std::string loss = "cross_entropy", optimizer = "adam", schedule = "constant";
  std::string freeze, clip, average, early_stopping;
  std::vector<std::string> groups;
  double l1 = 0, l2 = 0, max_norm = 0;
  std::vector<int64_t> top_k = {1};
  int64_t epochs = 10, batch = 32, diagnostics = 1;
  uint64_t seed = 1;
  int threads = 0;
  std::string cache = "default";
  bool json = false, verbose = false;
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
  Examples examples;
};

/// A network of the zoo takes the extents and classes of the data.
Loaded load_model_and_data(const TrainArguments& a) {
  if (is_file(a.model)) {
    Loaded l = {import_for_training(a.model), {}};
    l.examples = load_examples(a.data, data_names(*l.graph));
    return l;
  }
  ZooOptions options = {.seed = a.seed, .shapes_only = true};
  Loaded l = {nullptr, {}};
  l.examples = load_examples(a.data, data_names(build_zoo_network(a.model, options)->graph()));
  for (const auto& [name, tensor] : l.examples) {
    if (name == "target") options.classes = class_count(tensor);
    else
      options.input.assign(tensor.dims().begin() + (tensor.rank() > 0 ? 1 : 0),
                           tensor.dims().end());
  }
  options.shapes_only = false;
  l.graph = build_zoo_network(a.model, options)->take();
  return l;
}

Batch ready(const Trainer& trainer, Examples examples) {
  for (const auto& v : trainer.model().inputs())
    examples[v->name()] = converted(examples.at(v->name()), v->type(), v->name());
  for (const TargetInput& t : trainer.program().targets)
    examples[t.name] = converted(examples.at(t.name), t.type, t.name);
  return examples;
}

TrainerOptions trainer_options(const TrainArguments& a) {
  TrainerOptions o;
  o.training.losses = {{.loss = parse_loss(a.loss)}};
  o.training.optimizer = parse_optimizer(a.optimizer);
  for (const std::string& g : a.groups) o.training.groups.push_back(parse_group(g));
  o.training.freeze = a.freeze;
  o.training.l1 = a.l1;
  o.training.l2 = a.l2;
  o.training.max_norm = a.max_norm;
  o.training.clipping = parse_clipping(a.clip);
  o.training.top_k = a.top_k;
  o.training.seed = a.seed;
  o.schedule = Schedule::parse(a.schedule);
  o.averaging = parse_averaging(a.average);
  o.compile.cache_directory = a.cache;
  o.compile.batch = a.batch;
  o.compile.progress = compile_progress();
  o.threads = a.threads;
  o.diagnostics_every = a.diagnostics;
  return o;
}

void describe(const TrainArguments& a, const Trainer& trainer, const Batch& examples) {
  int64_t trained = 0;
  int64_t frozen = 0;
  for (const TrainedParameter& p : trainer.program().parameters)
    (p.frozen ? frozen : trained) += element_count(p.dims);
  const CodegenReport& c = trainer.compile_report().codegen;
  Batch batch;
  for (const auto& [name, tensor] : examples) {
    std::vector<int64_t> dims = tensor.dims();
    dims[0] = std::min(dims[0], a.batch);
    batch.emplace(name, Tensor::borrow(tensor.dtype(), dims, tensor.data(), nullptr));
  }
  const auto megabytes = static_cast<double>(trainer.step_bytes(batch)) * 1e-6;
  fmt::print("{}: {} parameters{}; step compiled: {} kernels in {:.1f} s; {:.0f} MB per step\n",
             a.model, grouped(trained),
             frozen > 0 ? " and " + grouped(frozen) + " frozen ones" : "", c.kernels,
             c.compile_ms / 1000, megabytes);
  for (const std::string& note : trainer.program().notes) fmt::print("note: {}\n", note);
  std::fflush(stdout);  // before what the run says on standard error
}

nlohmann::json history_json(const std::vector<EpochReport>& history) {
  nlohmann::json rows = nlohmann::json::array();
  for (const EpochReport& e : history)
    rows.push_back({{"epoch", e.epoch + 1},
                    {"learning_rate", e.learning_rate},
                    {"training", e.training},
                    {"validation", e.validation},
                    {"seconds", e.seconds},
                    {"warnings", e.warnings}});
  return rows;
}

int train(const TrainArguments& a) {
  if (a.model.empty())
    throw Error("train: which model? give a network of `tintype zoo` or an .onnx file");
  if (a.data.empty()) throw Error("train: which data? give --data INPUT.npy TARGET.npy");
  Loaded loaded = load_model_and_data(a);
  std::optional<Examples> held_out;
  if (!a.validation.empty()) held_out = load_examples(a.validation, data_names(*loaded.graph));
  else if (a.validation_split != 0)
    held_out = split_off(loaded.examples, a.validation_split, a.seed);
  if (!a.save_step.empty())
    save_graph(*make_training_graph(loaded.graph->clone(), trainer_options(a).training).graph,
               a.save_step);
  Trainer trainer(std::move(loaded.graph), trainer_options(a));
  const Batch examples = ready(trainer, std::move(loaded.examples));
  if (!a.json) describe(a, trainer, examples);
  const auto data = batches_of(examples, {.batch = a.batch, .shuffle = true, .seed = a.seed});
  std::unique_ptr<BatchSource> validation;
  if (held_out) validation = batches_of(ready(trainer, *held_out), {.batch = a.batch});

  TrainReport report(a.epochs, a.verbose);
  FitOptions fit = {.epochs = a.epochs, .early_stopping = parse_early_stopping(a.early_stopping)};
  fit.on_step = [&](const StepReport& r) {
    report.step(r);
    return !interrupted;
  };
  fit.on_epoch = [&](const EpochReport& r) {
    report.epoch(r);
    return !interrupted;
  };
  const InterruptGuard guard;
  const std::vector<EpochReport>& history = trainer.fit(*data, validation.get(), fit);
  report.clear();
  fs::create_directories(a.output);
  const std::string path = a.output + "/model.onnx";
  export_onnx(*trainer.trained(), path);
  if (a.json)
    std::cout << nlohmann::json{{"model", path}, {"history", history_json(history)}}.dump(1)
              << "\n";
  else fmt::print("{}\n", path);
  return kOk;
}

}  // namespace

Runner add_train(CLI::App& parent) {
  auto args = std::make_shared<TrainArguments>();
  TrainArguments& a = *args;
  CLI::App* app = parent.add_subcommand("train", "train a network");
  a.app = app;
  app->add_option("model", a.model, "a network of `tintype zoo`, or an .onnx model");
  app->add_option("--data", a.data, "[NAME=]FILE.npy for each input, then for the target");
  app->add_option("--validation", a.validation, "the same for validation");
  app->add_option("--validation-split", a.validation_split, "share of --data kept for validation");
  app->add_option("--loss", a.loss, "cross_entropy, binary_cross_entropy, mse, l1, huber ...");
  app->add_option("--optimizer", a.optimizer, "sgd, adam, adamw, rmsprop ..., as adam,lr=1e-3");
  app->add_option("--schedule", a.schedule, "[step:][warmup,length=N+]cosine, step, plateau ...");
  app->add_option("--epochs", a.epochs)->check(CLI::PositiveNumber);
  app->add_option("--batch", a.batch)->check(CLI::PositiveNumber);
  app->add_option("--freeze", a.freeze, "regular expression: parameters that stay as they are");
  app->add_option("--group", a.groups, "REGEX,rate=0.1,weight_decay=0,max_norm=3 (repeatable)");
  app->add_option("--clip", a.clip, "gradients: value=V, norm=V or global_norm=V");
  app->add_option("--l1", a.l1, "penalty on weights");
  app->add_option("--l2", a.l2, "penalty on squared weights");
  app->add_option("--max-norm", a.max_norm, "limit of each unit's incoming weights");
  app->add_option("--average", a.average, "weights: ema,decay=0.999 or swa,start=EPOCH");
  app->add_option("--early-stopping", a.early_stopping, "METRIC,patience=10,min_delta=0");
  app->add_option("--top-k", a.top_k, "accuracies to count")->delimiter(',');
  app->add_option("--diagnostics", a.diagnostics, "look for trouble every N epochs; 0: never");
  app->add_option("--seed", a.seed, "of weights, order and dropout");
  app->add_option("--threads", a.threads, "upper bound; results do not depend on it");
  app->add_option("--cache", a.cache, "folder of compiled kernels");
  app->add_option("--config", a.config, "JSON object with these options; the command line wins");
  app->add_option("--save-step", a.save_step,
                  "write the step as a graph, for opt, show, bench and profile");
  app->add_option("-o,--output", a.output, "folder of the results");
  app->add_flag("--json", a.json, "print the history as JSON");
  app->add_flag("-v,--verbose", a.verbose, "a line per epoch, on a terminal or not");
  app->footer("Examples:\n  tintype train lenet5 --data images.npy labels.npy --epochs 20 -o run\n"
              "  tintype train model.onnx --data x=x.npy target=y.npy --loss mse --freeze '^conv'");
  return [args] {
    if (!args->config.empty()) apply_json_config(*args->app, args->config);
    return train(*args);
  };
}

}  // namespace tintype::cli
