// Options of `tintype train`, kept beside a run and compared when it goes on.
#include "tools/train_arguments.h"

#include "frontend/train/optimizers.h"
#include "frontend/train/schedules.h"
#include "ir/diagnostic.h"
#include "tools/command.h"
#include "tools/config_file.h"
#include "tools/train_results.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;

}  // namespace

void TrainArguments::add_to(CLI::App& command) {
  app = &command;
  command.add_option("model", model)->group("");  // the line above says what it is
  data.add_to(command);
  command.add_option("--loss", loss,
                     "cross_entropy (default for classes), mse (default for numbers), huber ...");
  command.add_option("--optimizer", optimizer, "sgd, adam, adamw, rmsprop ..., as adam,lr=1e-3");
  command.add_option("--schedule", schedule, "[step:][warmup,length=N+]cosine, step, plateau ...");
  command.add_option("--epochs", epochs, "times through the data, in all")->check(positive());
  command.add_option("--init", init,
                     "draw weights anew: he_normal, xavier_uniform, constant,value=0.1 ...");
  command.add_option("--freeze", freeze, "regular expression: parameters that stay as they are");
  command.add_option("--group", groups, "REGEX,rate=0.1,weight_decay=0,max_norm=3 (repeatable)");
  command.add_option("--clip", clip, "gradients: value=V, norm=V or global_norm=V");
  command.add_option("--regularize", regularize,
                     "weights: l1=PENALTY,l2=PENALTY,max_norm=LIMIT of each unit's weights");
  command.add_option("--average", average, "weights: ema,decay=0.999 or swa,start=EPOCH");
  command.add_option("--early-stopping", early_stopping, "METRIC,patience=10,min_delta=0");
  command.add_option("--top-k", top_k, "accuracies to count")->delimiter(',')->check(positive());
  command
      .add_option("--recompute", recompute,
                  "compute activations twice to save memory: auto, SEGMENTS or a size as 200MB")
      ->expected(0, 1)
      ->default_str("auto");
  command.add_option("--diagnostics", diagnostics, "look for trouble every N epochs; 0: never")
      ->check(not_negative());
  add_seed(command, seed, "of weights, order and dropout");
  command.add_option("--threads", threads, "upper bound; results do not depend on it")
      ->check(not_negative());
  command.add_option("--target", target, kTargetHelp);
  command.add_option("--libraries", libraries, kLibrariesHelp);
  command.add_option("--math", math, kTrainMathHelp)
      ->check(CLI::Validator(CLI::IsMember(math_modes())).description(""));
  // Without a line of the help, which has no room for one.
  command.add_option("--cache", cache, "folder of compiled kernels")->group("");
  command.add_option("--config", config,
                     "a JSON or TOML file with these options; the command line wins");
  command.add_option("--resume", resume,
                     "go on with the run in this folder, as if it had not stopped");
  command
      .add_option("--keep-checkpoints", keep_checkpoints,
                  "keep those of the last N epochs, for evaluate")
      ->check(not_negative())
      ->type_name("N");
  command.add_option("--weights", weights, "start from the values in a .safetensors file");
  command.add_option("--show", show, "print so many validation images with predictions")
      ->check(not_negative());
  command.add_flag("--force", force, "replace the run in the output folder");
  command.add_option("--save-step", save_step,
                     "write the step as a graph, for opt, show, bench and profile");
  command.add_option("-o,--output", output, "folder of the results");
  command.add_flag("--json", json, "print the history as JSON");
  command.add_flag("-v,--verbose", verbose, "a line per epoch, on a terminal or not");
}

bool is_file(const std::string& model) { return model.ends_with(".onnx") || fs::exists(model); }

namespace {

/// An option that makes a run what it is. Those whose text may say the same in several ways are
/// compared by what it says.
struct Fixed {
  const char* option;
  std::string (*meaning)(const TrainArguments& a) = nullptr;
};
constexpr Fixed kFixed[] = {
    {"--table"},
    {"--resize"},
    {"--augment"},
    {"--normalize", [](const TrainArguments& a) { return a.data.normalize; }},
    {"--batch", [](const TrainArguments& a) { return std::to_string(a.data.batch); }},
    {"--validation-split",
     [](const TrainArguments& a) { return fmt::to_string(a.data.validation_split); }},
    {"--optimizer", [](const TrainArguments& a) { return text_of(parse_optimizer(a.optimizer)); }},
    {"--schedule", [](const TrainArguments& a) { return Schedule::parse(a.schedule).text(); }},
    {"--seed", [](const TrainArguments& a) { return std::to_string(a.seed); }},
    {"--top-k", [](const TrainArguments& a) { return fmt::format("{}", fmt::join(a.top_k, ",")); }},
    {"--init"},
    {"--weights",
     [](const TrainArguments& a) {
       return a.weights.empty() ? "" : fs::absolute(a.weights).string();
     }},
    {"--freeze"},
    {"--group"},
    {"--clip"},
    {"--regularize"},
    {"--average"},
};

/// What an option was given, as on a command line.
std::string given(const TrainArguments& a, const char* option) {
  return fmt::format("{}", fmt::join(a.app->get_option(option)->results(), " "));
}

/// A run goes on as if it had not stopped, or not at all.
void refuse_other_run(const TrainArguments& a, const TrainArguments& run) {
  for (const Fixed& f : kFixed) {
    if (a.app->get_option(f.option)->count() == 0) continue;
    const std::string now = given(a, f.option), before = given(run, f.option);
    if (now == before || (f.meaning != nullptr && f.meaning(a) == f.meaning(run))) continue;
    throw UsageError(fmt::format(
        "--resume: the run in '{}' was started with {}, not with '{}'; a run goes on as it began",
        a.resume,
        before.empty() ? fmt::format("no {}", f.option) : fmt::format("{} '{}'", f.option, before),
        now));
  }
  if (a.app->get_option("--output")->count() > 0 &&
      fs::absolute(a.output).lexically_normal() / "" !=
          fs::absolute(a.resume).lexically_normal() / "")
    throw UsageError(
        fmt::format("--resume: the run goes on in its folder '{}'; leave out -o {}, or "
                    "copy the folder before",
                    a.resume, a.output));
}

std::string absolute(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

/// FILE or NAME=FILE.
std::string absolute_data(const std::string& text) {
  const size_t eq = text.find('=');
  if (eq == std::string::npos || fs::exists(text)) return absolute(text);
  return text.substr(0, eq + 1) + absolute(text.substr(eq + 1));
}

}  // namespace

void apply_resumed(TrainArguments& a) {
  if (a.resume.empty()) return;
  const RunFolder folder(a.resume);
  if (!folder.has_run())
    throw Error("--resume: there is no training run in '" + a.resume + "' (no checkpoint.ttc)");
  const std::string config = folder.file("config.json");
  CLI::App app_of_run;
  TrainArguments run;
  run.add_to(app_of_run);
  apply_config(app_of_run, config);
  from_option([&] { refuse_other_run(a, run); });
  apply_config(*a.app, config);
  a.output = a.resume;
}

void save_arguments(const TrainArguments& a, const std::string& path) {
  const auto from_anywhere = [](const std::string& option, const std::string& text) {
    if (option == "model") return is_file(text) ? absolute(text) : text;
    if (option == "data" || option == "validation") return absolute_data(text);
    const bool file = option == "weights" || (option == "cache" && text != "default");
    return file ? absolute(text) : text;
  };
  save_config(*a.app, {"resume", "config", "output", "json", "force", "save-step", "show"}, path,
              from_anywhere);
}

}  // namespace tintype::cli
