// Options and messages that the subcommands share.
#include "tools/command.h"

#include "codegen/machine.h"
#include "frontend/plot/history.h"
#include "ir/diagnostic.h"
#include "passes/pattern_file.h"
#include "passes/plugin.h"
#include "runtime/atomic_file.h"
#include "tools/driver/data_files.h"
#include "tools/driver/pipeline.h"

#include <atomic>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <unistd.h>

namespace tintype::cli {

void ModelArguments::add_to(CLI::App& app) {
  app.add_option("model", path, kGraphHelp)->required();
  app.add_option("--math", math, kMathHelp)->check(CLI::IsMember(math_modes()));
  app.add_option("--target", target, kTargetHelp);
  app.add_option("--libraries", libraries, kLibrariesHelp);
  app.add_option("--threads", threads,
                 "upper bound on threads; results of a compiled model do not depend on it")
      ->check(not_negative());
  app.add_option("--cache", cache, "folder of compiled kernels (default: ~/.cache/tintype)");
  app.add_option("--tuning", tuning,
                 "measured choices: a file of tintype tune, or none (default: tuning.json there)");
  app.add_flag("--no-cache", no_cache, "compile every kernel anew and keep none");
  app.add_flag("--reference", reference, "run the unfused, unscheduled program instead");
  app.add_option("--dim", dims, "value of a symbolic extent, NAME=VALUE (repeatable)");
  app.add_option("--known-input", known_inputs,
                 "compile an input's value in, NAME=FILE (repeatable)");
  app.add_option("--shape", shapes, "shape of an input, NAME=1x3x224x224 (repeatable)");
  app.add_option("--input-length", lengths,
                 "number of tensors of a sequence, NAME=NUMBER; whether an optional has a value, "
                 "NAME=1 or NAME=none (repeatable)");
  app.add_option(
      "--passes", passes,
      "pass,pass{option=value},pipeline ... (default: all --patterns, then the pipeline of --math)");
  app.add_option("--disable-pass", disabled_passes, "leave a pass out (repeatable)")
      ->delimiter(',');
  app.add_option("--patterns", patterns, "file of patterns that --passes may name (repeatable)");
  app.add_option("--plugin", plugins, "shared library with passes and ops (repeatable)");
}

void ModelArguments::add_program_to(CLI::App& app) {
  add_to(app);
  app.get_option("model")->description(
      "an .onnx model, the text of a graph, or a compiled .tt file");
  runs_programs_ = &app;
}

void ModelArguments::refuse_options_of_compiling() const {
  // Not --plugin: the program may call its ops.
  for (const char* name :
       {"--math", "--target", "--libraries", "--tuning", "--reference", "--known-input", "--shape",
        "--input-length", "--passes", "--disable-pass", "--patterns"})
    if (runs_programs_->get_option(name)->count() > 0)
      throw UsageError(
          fmt::format("{0}: is compiled already, so that {1} changes nothing; give {1} "
                      "to tintype compile, or the model instead of the .tt file",
                      path, name));
}

namespace {

CLI::Validator number_from(const char* least, bool (*fine)(double)) {
  const auto check = [=](const std::string& text) -> std::string {
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && rest == end && fine(value)) return "";
    return fmt::format("expected a number {}, got '{}'", least, text);
  };
  return {check, ""};
}

/// The library's own conversion lets negative numbers and too large ones wrap around.
std::string seed_problem(const std::string& text) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && rest == end) return "";
  return fmt::format("expected a whole number from 0 to 2^64-1, got '{}'", text);
}

}  // namespace

CLI::Validator not_negative() {
  return number_from("from 0", [](double v) { return v >= 0; });
}
CLI::Validator positive() {
  return number_from("above 0", [](double v) { return v > 0; });
}
CLI::Validator share() {
  return number_from("from 0 to below 1", [](double v) { return v >= 0 && v < 1; });
}

void add_seed(CLI::App& app, uint64_t& seed, const std::string& help) {
  app.add_option("--seed", seed, help)->check(CLI::Validator(seed_problem, ""));
}

std::pair<std::string, std::string> split_assignment(const std::string& text,
                                                     const std::string& option) {
  const size_t at = text.find('=');
  if (at == std::string::npos || at == 0)
    throw UsageError(option + " expects NAME=VALUE, got '" + text + "'");
  return {text.substr(0, at), text.substr(at + 1)};
}

std::vector<int64_t> parse_extents(const std::string& text, const std::string& option) {
  std::vector<int64_t> extents;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    const bool separated = next == end || (*next == 'x' && next + 1 != end);
    if (error != std::errc() || value < 1 || value > 1 << 20 || !separated)
      throw UsageError(option + " expects extents such as 28 or 1x28x28, got '" + text + "'");
    extents.push_back(value);
    at = next == end ? end : next + 1;
  }
  return extents;
}

namespace {

int64_t positive_integer(const std::string& text, const std::string& option) {
  if (text.empty() || text.size() > 12 || text.find_first_not_of("0123456789") != std::string::npos)
    throw UsageError(option + " expects a non-negative integer, got '" + text + "'");
  return std::stoll(text);
}

Shape parse_shape(const std::string& text) {
  Shape shape;
  size_t start = 0;
  while (start <= text.size()) {
    const size_t end = std::min(text.find('x', start), text.size());
    const auto dim = parse_dim(text.substr(start, end - start));
    if (!dim) throw UsageError("--shape expects extents separated by 'x', got '" + text + "'");
    shape.push_back(*dim);
    start = end + 1;
  }
  return shape;
}

}  // namespace

std::map<std::string, int64_t> ModelArguments::dim_values() const {
  std::map<std::string, int64_t> values;
  for (const std::string& d : dims) {
    const auto [name, value] = split_assignment(d, "--dim");
    values[name] = positive_integer(value, "--dim " + name);
  }
  return values;
}

void ModelArguments::check_dims(const std::vector<std::string>& symbols) const {
  require_symbols(dim_values(), symbols);
}

std::vector<std::string> input_symbols(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto& input : graph.inputs())
    for (const Dim& d : input->shape())
      d.symbols([&names](const std::string& name) {
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      });
  return names;
}

void require_symbols(const std::map<std::string, int64_t>& dims,
                     const std::vector<std::string>& symbols) {
  for (const auto& [name, value] : dims)
    if (std::find(symbols.begin(), symbols.end(), name) == symbols.end())
      throw UsageError(fmt::format(
          "--dim: the model has no symbolic extent '{}'{}; {}", name, did_you_mean(name, symbols),
          symbols.empty() ? "it has none" : fmt::format("it has {}", fmt::join(symbols, ", "))));
}

std::vector<std::string> math_modes() { return {"default", "strict", "fast", "fast,f16"}; }

void set_math(const std::string& text, CompileOptions& options) {
  options.math = text == "strict"           ? MathMode::strict
                 : text.starts_with("fast") ? MathMode::fast
                                            : MathMode::standard;
  options.narrow = text == "fast,f16" ? DType::f16 : DType::bf16;
}

void set_libraries(const std::string& text, CompileOptions& options) {
  const std::string when = text.substr(0, text.find(','));
  const std::string rest = text.substr(when.size());
  if (!rest.empty() && rest != ",f32")
    throw UsageError("--libraries expects auto, never or always, perhaps with ',f32', got '" +
                     text + "'");
  options.libraries = from_option([&] { return parse_libraries(when); });
  options.tf32 = rest.empty();
}

void set_target(const std::string& text, CompileOptions& options) {
  if (!text.empty()) from_option([&] { machine_for(text); });
  options.target = text;
}

CompileOptions ModelArguments::options() const {
  if (runs_programs_ != nullptr && path.ends_with(".tt")) refuse_options_of_compiling();
  CompileOptions o;
  set_math(math, o);
  o.reference = reference;
  set_target(target, o);
  set_libraries(libraries, o);
  o.cache_directory = no_cache ? "" : cache;
  o.tuning = tuning == "none" ? "" : tuning;
  o.threads = threads;
  o.hints = dim_values();
  for (const std::string& k : known_inputs) {
    const auto [name, file] = split_assignment(k, "--known-input");
    o.import.known_inputs[name] = load_tensor(file);
  }
  for (const std::string& s : shapes) {
    const auto [name, shape] = split_assignment(s, "--shape");
    o.import.input_shapes[name] = parse_shape(shape);
  }
  for (const std::string& l : lengths) {
    const auto [name, length] = split_assignment(l, "--input-length");
    o.import.input_lengths[name] = length == "none"
                                       ? ImportOptions::kAbsent
                                       : positive_integer(length, "--input-length " + name);
  }
  o.progress = compile_progress();
  o.passes = passes;
  o.disabled_passes = disabled_passes;
  for (const std::string& p : plugins) load_plugin(p);
  std::string before;  // patterns match what was imported, so they go first
  for (const std::string& p : patterns)
    for (const std::string& name : load_patterns(p)) before += name + ",";
  if (passes.empty() && !before.empty()) o.passes = before + std::string(pipeline_name(o));
  from_option([&] {
    pipeline_for(o);
    for (const std::string& pass : disabled_passes) find_pass(pass);
  });
  return o;
}

Session open_session(const CompiledModel& model, const std::string& path) {
  Result<Session> session = Session::create(model.model);
  if (!session.ok()) throw Error(path + ": " + session.status().message());
  return std::move(session).value();
}

void require_writable(const std::string& path) {
  if (path.empty() || path == "-") return;
  const Result<AtomicFile> file = AtomicFile::create(path);
  if (!file.ok()) throw Error(file.status().message());
}

void write_report(const std::string& text, const std::string& path) {
  if (path == "-") {
    fmt::print("{}", text);
    return;
  }
  if (const Status saved = save_text(text, path); !saved.ok()) throw Error(saved.message());
}

namespace {
std::atomic<int> interrupt{0};  ///< the signal
}  // namespace

InterruptGuard::InterruptGuard() {
  interrupt = 0;
  for (const int signal : {SIGINT, SIGTERM})
    std::signal(signal, [](int which) {
      if (interrupt.exchange(which) != 0) std::_Exit(kSignal + which);
    });
}
InterruptGuard::~InterruptGuard() {
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
}
bool InterruptGuard::interrupted() { return interrupt != 0; }
int InterruptGuard::exit_code() { return interrupted() ? kSignal + interrupt : kOk; }

std::string progress_bar(double share) {
  constexpr int kWidth = 24;
  const int half_cells = static_cast<int>(std::lround(share * 2 * kWidth));
  std::string text;
  for (int i = 0; i < kWidth; ++i)
    text += 2 * i + 1 < half_cells ? "━" : 2 * i < half_cells ? "╸" : "─";
  return text;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole >= 3600)
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::function<void(int, int)> compile_progress() {
  if (isatty(STDERR_FILENO) == 0) return nullptr;
  return [](int done, int total) {
    fmt::print(stderr, "\rcompiling kernels {} {}/{}{}",
               progress_bar(static_cast<double>(done) / total), done, total,
               done == total ? "\r\033[K" : "");
    std::fflush(stderr);
  };
}

void print_warnings(const CompileReport& report) {
  for (const std::string& problem : {report.codegen.cache_problem, report.tuning_problem})
    if (!problem.empty()) fmt::print(stderr, "warning: {}\n", problem);
}

void print_compile_summary(const CompileReport& report) {
  const CodegenReport& c = report.codegen;
  print_warnings(report);
  for (const std::string& what : c.on_host) fmt::print(stderr, "on the CPU: {}\n", what);
  if (!report.narrow_problem.empty())
    fmt::print(stderr, "warning: --math fast: {}; only what waits for weights gains by 16 bits\n",
               report.narrow_problem);
  if (isatty(STDERR_FILENO) == 0 || c.kernels == c.from_cache) return;
  fmt::print(stderr, "compiled {} kernels in {:.1f} s ({} more from the cache)\n",
             c.kernels - c.from_cache, c.compile_ms / 1000, c.from_cache);
}

std::map<int32_t, std::string> library_steps(const Model& model) {
  std::map<int32_t, std::string> steps;
  for (const LibraryUse& use : model.libraries())
    steps[use.step] = use.problem.empty() ? use.library : "kernels";
  return steps;
}

void print_libraries(const Model& model) {
  struct Count {
    int all = 0, done = 0;
    std::string problem;
  };
  std::map<std::string, Count> counts;
  for (const LibraryUse& use : model.libraries()) {
    Count& c = counts[use.library];
    ++c.all;
    if (use.problem.empty()) ++c.done;
    else c.problem = use.problem;
  }
  for (const auto& [library, c] : counts)
    fmt::print(stderr, "{}: {} of {} steps{}\n", library, c.done, c.all,
               c.problem.empty() ? "" : "; the others are kernels (" + c.problem + ")");
}

std::string grouped(int64_t n) {
  std::string s = std::to_string(n);
  for (int i = static_cast<int>(s.size()) - 3; i > 0; i -= 3) s.insert(static_cast<size_t>(i), ",");
  return s;
}

double peak_rss_mb() {
  // ru_maxrss would include what the parent used before exec.
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "VmHWM:") {
      double kib = 0;
      status >> kib;
      return kib * 1024 / 1e6;
    }
  return 0;
}

}  // namespace tintype::cli
