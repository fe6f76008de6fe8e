// tintype train: a network of the zoo or an ONNX model, trained on files, to a folder of results.
#include "frontend/data/json.h"
#include "frontend/data/safetensors.h"
#include "frontend/train/initialization.h"
#include "frontend/train/parameters.h"
#include "frontend/train/pattern.h"
#include "frontend/train/spec.h"
#include "frontend/zoo/zoo.h"
#include "ir/diagnostic.h"
#include "tools/command.h"
#include "tools/config_file.h"
#include "tools/driver/graph_file.h"
#include "tools/train_arguments.h"
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
  set_target(a.target, o.compile);
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

/// A limit that cannot be kept is no error: the run may fit all the same.
void warn_of_recompute(const TrainArguments& a, const Trainer& trainer) {
  const auto& report = trainer.compile_report().recompute;
  const auto wish = parse_recompute(a.recompute);
  if (!report || !wish || wish->bytes <= 0) return;
  if (report->arena_after > static_cast<size_t>(wish->bytes))
    fmt::print(stderr, "warning: --recompute {}: the buffers need {:.1f} MB at least\n",
               a.recompute, static_cast<double>(report->arena_after) * 1e-6);
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

/// What cannot be a folder is said before the step is compiled; making it waits until all is well.
void check_folder(const std::string& path) {
  fs::path existing = fs::absolute(path);
  while (!fs::exists(existing) && existing.has_relative_path()) existing = existing.parent_path();
  if (!fs::is_directory(existing))
    throw Error(path + ": cannot be made: " + existing.string() + " is no folder");
}

void check(const TrainArguments& a) {
  if (a.model.empty())
    throw UsageError("train: which model? give a network of `tintype zoo`, an .onnx "
                     "file or the text of a graph");
  if (a.data.data.empty())
    throw UsageError("train: which data? give --data FOLDER, or --data INPUT.npy TARGET.npy");
  if (a.resume.empty() && !a.force && RunFolder(a.output).has_run())
    throw Error("'" + a.output + "' holds a training run; continue it with --resume " + a.output +
                ", replace it with --force, or give another folder with -o");
  check_folder(a.output);
}

/// Mistakes in the texts of options, before data are read and the step is compiled.
void check_specs(TrainArguments a) {
  from_option([&a] {
    if (a.loss.empty()) a.loss = "mse";  // the data decide
    (void)trainer_options(a);
    if (!a.init.empty()) (void)parse_initializer(a.init);
    (void)parse_early_stopping(a.early_stopping);
    (void)NamePattern(a.freeze, "--freeze");
    for (const std::string& g : a.groups) (void)NamePattern(parse_group(g).pattern, "--group");
  });
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

/// --epochs counts those of the run so far.
void check_epochs(const TrainArguments& a, const Trainer& trainer) {
  const auto done = static_cast<int64_t>(trainer.history().size());
  if (a.epochs < done)
    throw UsageError(
        fmt::format("--epochs {}: the run in '{}' has {} epochs behind it, and --epochs "
                    "counts them",
                    a.epochs, a.resume, done));
  if (a.epochs == done)
    fmt::print(stderr, "the run in '{}' has its {} epochs; --epochs with more goes on\n", a.resume,
               done);
}

int train(TrainArguments& a) {
  apply_resumed(a);
  check(a);
  check_specs(a);
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
  warn_of_recompute(a, trainer);
  const TrainingData& data = loaded.data;
  const auto batches = data.batches(trainer, a.data, a.seed);
  const RunFolder folder(a.output);
  if (!a.resume.empty()) {
    folder.restore(trainer, data, a.data, a.seed);
    check_epochs(a, trainer);
  }
  if (!a.json)
    if (const std::optional<Batch> first = batches->next()) describe(a, trainer, data, *first);
  make_folder(a.output);
  folder.save_parameters(trainer.program());
  save_input_spec(input_spec(a.data, data, a.loss), folder.file("inputs.json"));
  save_arguments(a, folder.file("config.json"));
  const std::vector<HistoryRow>& history = fit(a, trainer, data, *batches, folder);
  folder.save_results(trainer, data, a.data);
  if (a.json) {
    std::cout << json_text(
        nlohmann::json{{"model", folder.file("model.onnx")},
                       {"input", data.normalization.text()},
                       {"history", nlohmann::json::parse(history_json(history))}});
    return InterruptGuard::exit_code();
  }
  if (a.show > 0) fmt::print("{}", text_pictures(trainer, data, a.data, a.show));
  if (!history.empty() && !history.back().validation.empty())
    fmt::print("validation: {}\n", text_of(history.back().validation));
  fmt::print("{} and, beside it, curves, history, weights and checkpoint\n",
             folder.file("model.onnx"));
  return InterruptGuard::exit_code();
}

}  // namespace

Runner add_train(CLI::App& parent) {
  auto args = std::make_shared<TrainArguments>();
  TrainArguments& a = *args;
  CLI::App* app = parent.add_subcommand(
      "train", "train a network of `tintype zoo`, an .onnx model or the text of a graph");
  a.add_to(*app);
  app->footer(
      "Examples:\n  tintype train lenet5 --data mnist/ --augment shift=2 --epochs 20 -o run");
  return [args] {
    if (!args->config.empty()) apply_config(*args->app, args->config);
    return train(*args);
  };
}

}  // namespace tintype::cli
