// tintype train: a network of the zoo or an ONNX model, trained on files, to a folder of results.
#include "frontend/data/json.h"
#include "frontend/data/safetensors.h"
#include "frontend/train/initialization.h"
#include "frontend/train/parameters.h"
#include "frontend/train/spec.h"
#include "frontend/zoo/zoo.h"
#include "ir/diagnostic.h"
#include "tools/command.h"
#include "tools/config_file.h"
#include "tools/driver/pipeline.h"
#include "tools/train_data.h"
#include "tools/train_report.h"
#include "tools/train_results.h"
#include "tools/train_specs.h"
#include "tools/trained_model.h"

#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;

struct TrainArguments {
  CLI::App* app = nullptr;
  std::string model, config, resume, weights, save_step, target, libraries = "auto", output = "run";
  std::string math = "default";
  DataArguments data;
  std::string loss, optimizer = "adam", schedule = "constant";
  std::string init, freeze, clip, regularize, average, early_stopping, recompute;
  std::vector<std::string> groups;
  std::vector<int64_t> top_k = {1};
  int64_t epochs = 10, diagnostics = 1, show = 0, keep_checkpoints = 0;
  uint64_t seed = 1;
  int threads = 0;
  std::string cache = "default";
  bool json = false, verbose = false, force = false;
};

bool is_file(const std::string& model) { return model.ends_with(".onnx") || fs::exists(model); }

struct Loaded {
  std::unique_ptr<Graph> graph;
  TrainingData data;
};

/// A network of the zoo takes the extents and classes of the data.
Loaded load_model_and_data(const TrainArguments& a) {
  if (is_file(a.model)) {
    std::unique_ptr<Graph> graph = import_for_training(a.model);
    TrainingData data = open_training_data(a.data, *graph, a.seed);
    return {std::move(graph), std::move(data)};
  }
  ZooOptions options = {.seed = a.seed, .shapes_only = true};
  const auto shapes = build_zoo_network(a.model, options);
  TrainingData data = open_training_data(a.data, shapes->graph(), a.seed);
  options.input = data.input_dims();
  options.classes = data.outputs();
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
  o.compile.target = a.target;
  set_libraries(a.libraries, o.compile);
  set_math(a.math, o.compile);
  o.compile.batch = a.data.batch;
  o.compile.recompute = parse_recompute(a.recompute);
  o.compile.progress = compile_progress();
  o.threads = a.threads;
  o.diagnostics_every = a.diagnostics;
  return o;
}

std::string savings(const RecomputeReport& r) {
  const auto megabytes = [](size_t bytes) { return static_cast<double>(bytes) * 1e-6; };
  if (r.steps == 0)
    return fmt::format("recomputation: nothing to gain over the {:.1f} MB of buffers",
                       megabytes(r.arena_before));
  return fmt::format(
      "recomputation: {:.1f} MB of buffers instead of {:.1f} MB; {} kernels run twice",
      megabytes(r.arena_after), megabytes(r.arena_before), r.steps);
}

void describe(const TrainArguments& a, const Trainer& trainer, const TrainingData& data,
              const Batch& batch) {
  int64_t trained = 0, frozen = 0, unused = 0;
  for (const TrainedParameter& p : trainer.program().parameters)
    (p.frozen ? frozen : p.used ? trained : unused) += element_count(p.dims);
  const CodegenReport& c = trainer.compile_report().codegen;
  const auto megabytes = static_cast<double>(trainer.step_bytes(batch)) * 1e-6;
  fmt::print(
      "{}: {} parameters{}; step compiled: {} kernels in {:.1f} s; {:.0f} MB per step\n", a.model,
      grouped(trained),
      (frozen > 0 ? " and " + grouped(frozen) + " frozen ones" : "") +
          (unused > 0 ? " and " + grouped(unused) + " that the loss does not depend on" : ""),
      c.kernels, c.compile_ms / 1000, megabytes);
  if (a.verbose)
    for (const TrainedParameter& p : trainer.program().parameters)
      fmt::print("  {} [{}]{}\n", p.name, fmt::join(p.dims, ","),
                 p.frozen ? ", frozen"
                 : p.used ? ""
                          : ", not in the loss");
  if (const auto& r = trainer.compile_report().recompute) fmt::print("{}\n", savings(*r));
  fmt::print("{}\n", data.description);
  if (const std::string n = data.normalization.text(); n != "none")
    fmt::print("inputs are normalised: {}\n", n);
  for (const std::string& note : trainer.program().notes) fmt::print("note: {}\n", note);
  for (const std::string& what : c.on_host) fmt::print("on the CPU: {}\n", what);
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

/// What cannot be a folder is said before the step is compiled; making it waits until all is well.
void check_folder(const std::string& path) {
  fs::path existing = fs::absolute(path);
  while (!fs::exists(existing) && existing.has_relative_path()) existing = existing.parent_path();
  if (!fs::is_directory(existing))
    throw Error(path + ": cannot be made: " + existing.string() + " is no folder");
}

void check(const TrainArguments& a) {
  if (a.model.empty())
    throw Error("train: which model? give a network of `tintype zoo` or an .onnx file");
  if (a.data.data.empty())
    throw Error("train: which data? give --data FOLDER, or --data INPUT.npy TARGET.npy");
  if (a.resume.empty() && !a.force && RunFolder(a.output).has_run())
    throw Error("'" + a.output + "' holds a training run; continue it with --resume " + a.output +
                ", replace it with --force, or give another folder with -o");
  check_folder(a.output);
  (void)parse_early_stopping(a.early_stopping);  // which is needed after the step is compiled
}

/// Before anything is compiled: frozen parameters are constants of the program.
void load_weights(Graph& graph, const std::string& path) {
  const Result<SafetensorsFile> file = load_safetensors(path);
  if (!file.ok()) throw Error(file.status().message());
  try {
    const std::vector<std::string> kept = set_weights(graph, file.value().tensors);
    if (!kept.empty())
      fmt::print(stderr, "warning: {} has nothing for {} of the model's weights, '{}' first\n",
                 path, kept.size(), kept[0]);
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
    return !InterruptGuard::interrupted();
  };
  fit.on_epoch = [&](const HistoryRow& r) {
    report.epoch(r);
    folder.save_progress(trainer, data, a.data, a.seed, trainer.history());
    if (a.keep_checkpoints > 0) folder.keep_checkpoint(r.epoch + 1, a.keep_checkpoints);
    return !InterruptGuard::interrupted();
  };
  const InterruptGuard guard;
  const std::vector<HistoryRow>& rows = trainer.fit(batches, validation.get(), fit);
  report.clear();
  if (InterruptGuard::interrupted()) {
    folder.save_progress(trainer, data, a.data, a.seed, rows);
    fmt::print(stderr, "interrupted after step {}; continue with tintype train --resume {}\n",
               trainer.steps(), folder.path());
  }
  return rows;
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw Error(path + ": cannot be made: " + error.message());
}

int train(TrainArguments& a) {
  apply_resumed(a);
  check(a);
  Loaded loaded = load_model_and_data(a);
  if (!a.init.empty()) initialize_weights(*loaded.graph, parse_initializer(a.init), a.seed);
  if (!a.weights.empty()) load_weights(*loaded.graph, a.weights);
  settle_targets(loaded.data, *loaded.graph,
                 a.loss.empty() ? std::nullopt : std::optional(parse_loss(a.loss)), a.data);
  if (a.loss.empty()) a.loss = loaded.data.numbers() ? "mse" : "cross_entropy";
  check_targets(loaded.data, parse_loss(a.loss));
  if (a.data.batch == 0) a.data.batch = loaded.data.training->size();
  if (!a.save_step.empty())
    save_graph(*make_training_graph(loaded.graph->clone(), trainer_options(a).training).graph,
               a.save_step);
  Trainer trainer(std::move(loaded.graph), trainer_options(a));
  const TrainingData& data = loaded.data;
  const auto batches = data.batches(trainer, a.data, a.seed);
  const RunFolder folder(a.output);
  if (!a.resume.empty()) folder.restore(trainer, data, a.data, a.seed);
  if (!a.json)
    if (const std::optional<Batch> first = batches->next()) describe(a, trainer, data, *first);
  make_folder(a.output);
  folder.save_parameters(trainer.program());
  save_input_spec(input_spec(a.data, data, a.loss), folder.file("inputs.json"));
  save_config(*a.app, {"resume", "config", "output", "json", "force", "save-step", "show"},
              folder.file("config.json"));
  const std::vector<HistoryRow>& history = fit(a, trainer, data, *batches, folder);
  folder.save_results(trainer, data, a.data);
  if (a.json) {
    std::cout << json_text(
        nlohmann::json{{"model", folder.file("model.onnx")},
                       {"input", data.normalization.text()},
                       {"history", nlohmann::json::parse(history_json(history))}});
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
  CLI::App* app =
      parent.add_subcommand("train", "train a network of `tintype zoo`, or an .onnx model");
  a.app = app;
  app->add_option("model", a.model)->group("");  // the line above says what it is
  a.data.add_to(*app);
  app->add_option("--loss", a.loss,
                  "cross_entropy (default for classes), mse (default for numbers), huber ...");
  app->add_option("--optimizer", a.optimizer, "sgd, adam, adamw, rmsprop ..., as adam,lr=1e-3");
  app->add_option("--schedule", a.schedule, "[step:][warmup,length=N+]cosine, step, plateau ...");
  app->add_option("--epochs", a.epochs, "times through the data, in all")->check(positive());
  app->add_option("--init", a.init,
                  "draw weights anew: he_normal, xavier_uniform, constant,value=0.1 ...");
  app->add_option("--freeze", a.freeze, "regular expression: parameters that stay as they are");
  app->add_option("--group", a.groups, "REGEX,rate=0.1,weight_decay=0,max_norm=3 (repeatable)");
  app->add_option("--clip", a.clip, "gradients: value=V, norm=V or global_norm=V");
  app->add_option("--regularize", a.regularize,
                  "weights: l1=PENALTY,l2=PENALTY,max_norm=LIMIT of each unit's weights");
  app->add_option("--average", a.average, "weights: ema,decay=0.999 or swa,start=EPOCH");
  app->add_option("--early-stopping", a.early_stopping, "METRIC,patience=10,min_delta=0");
  app->add_option("--top-k", a.top_k, "accuracies to count")->delimiter(',')->check(positive());
  app->add_option("--recompute", a.recompute,
                  "compute activations twice to save memory: auto, SEGMENTS or a size as 200MB")
      ->expected(0, 1)
      ->default_str("auto");
  app->add_option("--diagnostics", a.diagnostics, "look for trouble every N epochs; 0: never")
      ->check(not_negative());
  app->add_option("--seed", a.seed, "of weights, order and dropout");
  app->add_option("--threads", a.threads, "upper bound; results do not depend on it")
      ->check(not_negative());
  app->add_option("--target", a.target, kTargetHelp);
  app->add_option("--libraries", a.libraries, kLibrariesHelp);
  app->add_option("--math", a.math, kTrainMathHelp)
      ->check(CLI::Validator(CLI::IsMember(math_modes())).description(""));
  // Without a line of the help, which has no room for one.
  app->add_option("--cache", a.cache, "folder of compiled kernels")->group("");
  app->add_option("--config", a.config,
                  "a JSON or TOML file with these options; the command line wins");
  app->add_option("--resume", a.resume,
                  "go on with the run in this folder, as if it had not stopped");
  app->add_option("--keep-checkpoints", a.keep_checkpoints,
                  "keep those of the last N epochs, for evaluate")
      ->check(not_negative())
      ->type_name("N");
  app->add_option("--weights", a.weights, "start from the values in a .safetensors file");
  app->add_option("--show", a.show, "print so many validation images with predictions")
      ->check(not_negative());
  app->add_flag("--force", a.force, "replace the run in the output folder");
  app->add_option("--save-step", a.save_step,
                  "write the step as a graph, for opt, show, bench and profile");
  app->add_option("-o,--output", a.output, "folder of the results");
  app->add_flag("--json", a.json, "print the history as JSON");
  app->add_flag("-v,--verbose", a.verbose, "a line per epoch, on a terminal or not");
  app->footer(
      "Examples:\n  tintype train lenet5 --data mnist/ --augment shift=2 --epochs 20 -o run");
  return [args] {
    if (!args->config.empty()) apply_config(*args->app, args->config);
    return train(*args);
  };
}

}  // namespace tintype::cli
