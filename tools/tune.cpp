// tintype tune: measures algorithms instead of reckoning, and keeps what won.
#include "frontend/data/json.h"
#include "ir/diagnostic.h"
#include "tools/command.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/tuner.h"
#include "tools/model_inputs.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace tintype::cli {

namespace {

struct TuneArguments {
  ModelArguments model;
  std::vector<std::string> inputs;
  std::string budget = "60s", output, json;
  bool again = false;
};

/// "90", "90s", "1.5m": seconds.
double seconds_of(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [unit, error] = std::from_chars(text.data(), end, value);
  const std::string_view rest(unit, static_cast<size_t>(end - unit));
  if (error != std::errc() || !(value > 0) || value > 1e6 ||
      (!rest.empty() && rest != "s" && rest != "m"))
    throw UsageError("--budget expects a time such as 60s or 5m, got '" + text + "'");
  return rest == "m" ? 60 * value : value;
}

/// A mistake in the name must not cost a minute of measuring.
std::string file_of(const TuneArguments& a, const CompileOptions& options) {
  if (!a.output.empty()) {
    const std::filesystem::path folder = std::filesystem::absolute(a.output).parent_path();
    if (access(folder.c_str(), W_OK) != 0)
      throw Error(a.output + ": cannot be written: " + std::strerror(errno));
    return a.output;
  }
  const std::string path = default_tuning_path(options.cache_directory);
  if (path.empty())
    throw Error("there is no folder for the choices: leave out --no-cache, or name a file with -o");
  return path;
}

TuningFile existing(const std::string& path) {
  return std::filesystem::exists(path) ? load_tuning(path) : TuningFile();
}

/// Draws how far the measurements are, on a terminal.
class TuneBar {
 public:
  void draw(const TuneProgress& p) const {
    if (!terminal_) return;
    fmt::print(stderr, "\r\033[Ktuning {} {} programs, at most {} left", progress_bar(p.share),
               p.programs, clock_text(p.seconds_left));
    std::fflush(stderr);
  }
  void clear() const {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) != 0;
};

std::string names_of(const TunedNode& n) {
  if (n.names.size() == 1) return n.names[0];
  return fmt::format("{} and {} more", n.names[0], n.names.size() - 1);
}

double gain(double untuned, double tuned) { return 100 * (1 - tuned / untuned); }

void print_table(const TuneReport& r) {
  size_t changed = 0, left = 0;
  for (const TunedNode& n : r.nodes) {
    changed += n.choice == n.untuned ? 0 : 1;
    left += n.measured || !(n.choice == n.untuned) ? 0 : 1;
  }
  if (changed > 0)
    fmt::print("{:<46} {:<24} {:>9}  {:<24} {:>9} {:>8}\n", "node", "untuned", "ms", "tuned", "ms",
               "less");
  for (const TunedNode& n : r.nodes)
    if (!(n.choice == n.untuned))
      fmt::print("{:<46.46} {:<24} {:>9.4f}  {:<24} {:>9.4f} {:>6.1f} %\n", names_of(n),
                 n.untuned.text(), n.untuned_ms, n.choice.text(), n.ms, gain(n.untuned_ms, n.ms));
  fmt::print("of {} kinds of nodes, {} keep their algorithm{}{}\n", r.nodes.size(),
             r.nodes.size() - changed - left,
             left > 0 ? fmt::format(", {} are not measured yet", left) : "",
             r.too_short > 0 ? fmt::format("; {} nodes are too short to measure", r.too_short)
                             : "");
  if (r.rejected)
    fmt::print("whole runs are not faster with other algorithms: nothing is changed\n");
  fmt::print(
      "whole run {:.3f} ms untuned, {:.3f} ms tuned ({:.1f} % less); {} programs in {:.0f} s\n",
      r.untuned_ms, r.tuned_ms, gain(r.untuned_ms, r.tuned_ms), r.programs, r.seconds);
}

nlohmann::json json_of(const TuneArguments& a, const TuneReport& r, const std::string& file) {
  nlohmann::json nodes = nlohmann::json::array();
  for (const TunedNode& n : r.nodes)
    nodes.push_back({{"node", n.key},
                     {"names", n.names},
                     {"candidates", n.candidates},
                     {"measured", n.measured},
                     {"untuned", n.untuned.text()},
                     {"untuned_ms", n.untuned_ms},
                     {"choice", n.choice.text()},
                     {"ms", n.ms}});
  return {{"model", a.model.path},
          {"file", file},
          {"processor", r.setting.processor},
          {"target", r.setting.target},
          {"threads", r.setting.threads},
          {"math", r.setting.math},
          {"untuned_ms", r.untuned_ms},
          {"tuned_ms", r.tuned_ms},
          {"rejected", r.rejected},
          {"interrupted", r.interrupted},
          {"too_short", r.too_short},
          {"programs", r.programs},
          {"seconds", r.seconds},
          {"nodes", std::move(nodes)}};
}

int tune_model(const TuneArguments& a) {
  if (a.model.path.ends_with(".tt"))
    throw Error(a.model.path + ": is compiled, its algorithms are chosen; tune the model it came "
                               "from, then compile that again");
  TuneOptions options;
  options.compile = a.model.options();
  options.compile.progress = nullptr;
  options.seconds = seconds_of(a.budget);
  require_writable(a.json);
  const std::string file = file_of(a, options.compile);
  const TuningFile before = existing(file);
  if (!a.again)
    options.known = [&](const TuningSetting& s) { return before.choices_for(s, false); };
  options.inputs = [&](const Model& m) {
    return make_inputs(m, a.inputs, a.model.dim_values(), 1);
  };
  const TuneBar bar;
  options.progress = [&bar](const TuneProgress& p) { bar.draw(p); };
  options.stop = InterruptGuard::interrupted;
  const InterruptGuard guard;
  const TuneReport report = tune(load_graph(a.model.path, options.compile.import), options);
  bar.clear();
  TuningFile tuning = existing(file);  // another process may have added to it
  tuning.merge(report.setting, report.choices);
  save_tuning(tuning, file);
  if (!a.json.empty()) write_report(json_text(json_of(a, report, file)), a.json);
  if (a.json == "-") return InterruptGuard::exit_code();
  if (report.interrupted) fmt::print("interrupted: what was found until then is kept\n");
  print_table(report);
  fmt::print("{}: {} choices, {}\n", file, report.choices.size(),
             a.output.empty() ? "used from now on; --tuning none does without"
                              : "for --tuning " + file);
  return InterruptGuard::exit_code();
}

}  // namespace

Runner add_tune(CLI::App& parent) {
  auto args = std::make_shared<TuneArguments>();
  CLI::App* app =
      parent.add_subcommand("tune", "measure which algorithms are fastest here, and keep them");
  args->model.add_to(*app);
  for (const char* option : {"--tuning", "--reference"})  // it writes one, and has no algorithms
    app->remove_option(app->get_option(option));
  app->add_option("--input", args->inputs, "[NAME=]FILE; random where none is given (repeatable)");
  app->add_option("--budget", args->budget, "how long to measure, such as 30s or 5m");
  app->add_option("-o,--output", args->output,
                  "file to add the choices to (default: tuning.json beside the compiled kernels)");
  app->add_flag("--again", args->again, "measure what the file has choices for, too");
  app->add_option("--json", args->json,
                  "write the report as JSON to a file, or - for standard output");
  app->footer(
      "Choices hold for this processor, target, number of threads and --math, and for the extents\n"
      "given with --dim. Ctrl-C keeps what was found.\n\n"
      "Examples:\n  tintype tune resnet50.onnx --threads 2\n"
      "  tintype tune resnet50.onnx --dim N=8 --budget 2m -o resnet50.tuning.json");
  return [args] { return tune_model(*args); };
}

}  // namespace tintype::cli
