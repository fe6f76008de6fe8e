// tintype bench: latency percentiles, compile and load times, peak memory.
#include "frontend/data/json.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "tools/command.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/state_values.h"
#include "tools/model_inputs.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

namespace tintype::cli {

namespace {

struct BenchArguments {
  ModelArguments model;
  std::vector<std::string> inputs;
  int64_t batch = 1;
  double seconds = 2;
  std::string json, baseline, fail_if;
};

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// The symbol of the first axis of the first input stands for the batch.
std::map<std::string, int64_t> with_batch(const Model& model, std::map<std::string, int64_t> dims,
                                          int64_t batch) {
  const Program& p = model.program();
  for (const Port& port : p.inputs) {
    if (port.dims.empty()) continue;
    const ExtentExpr& e = p.expressions[static_cast<size_t>(port.dims[0])];
    if (e.kind == ExtentExpr::Kind::symbol)
      dims.emplace(p.symbols[static_cast<size_t>(e.value)].name, batch);
    else if (e.kind == ExtentExpr::Kind::constant && e.value != batch && batch != 1)
      throw Error("--batch " + std::to_string(batch) + ": the batch of input '" + port.name +
                  "' is fixed to " + std::to_string(e.value));
  }
  return dims;
}

/// The model; initial values of its states are taken out of it, so that they are in memory once.
CompiledModel open_without_states(const std::string& path, const CompileOptions& options,
                                  std::map<std::string, Tensor>& states) {
  if (path.ends_with(".tt")) return open_model(path, options);
  const auto start = Clock::now();
  std::unique_ptr<Graph> graph = load_graph(path, options.import);
  states = take_state_values(*graph);
  const double import_ms = since(start);
  CompiledModel m = compile_graph(std::move(graph), options);
  m.report.import_ms = import_ms;
  return m;
}

nlohmann::json measure(const BenchArguments& a) {
  CompileOptions options = a.model.options();
  options.batch = a.batch;
  const auto start = Clock::now();
  std::map<std::string, Tensor> states;
  CompiledModel m = open_without_states(a.model.path, options, states);
  const double ready = since(start);
  print_warnings(m.report);
  const std::vector<Tensor> inputs =
      make_inputs(m.model, a.inputs, with_batch(m.model, a.model.dim_values(), a.batch), 1);
  Session session = open_session(m, a.model.path);
  give_state_values(*session.states(), states);
  states.clear();
  RunOptions run;
  run.threads = a.model.threads;
  auto once = [&] {
    const auto t = Clock::now();
    const auto r = session.run(std::span<const Tensor>(inputs), run);
    if (!r.ok()) throw Error(a.model.path + ": " + r.status().message());
    return since(t);
  };
  const double first = once();
  for (int i = 0; i < 3; ++i) once();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (since(begin) < a.seconds * 1000 || times.size() < 5) times.push_back(once());
  std::sort(times.begin(), times.end());
  auto percentile = [&](double p) {
    return times[std::min(times.size() - 1,
                          static_cast<size_t>(p * static_cast<double>(times.size())))];
  };
  const auto profile = session.profile(std::span<const Tensor>(inputs), 1, run);
  double flops = 0;
  if (profile.ok())
    for (const StepTime& s : profile.value()) flops += s.flops;
  const auto memory = m.model.memory(std::span<const Tensor>(inputs));
  nlohmann::json j = {{"model", a.model.path},
                      {"batch", a.batch},
                      {"threads", a.model.threads},
                      {"median_ms", percentile(0.5)},
                      {"p90_ms", percentile(0.9)},
                      {"p99_ms", percentile(0.99)},
                      {"min_ms", times[0]},
                      {"runs", times.size()},
                      {"compile_ms", m.report.codegen.compile_ms},
                      {"load_ms", ready - m.report.codegen.compile_ms},
                      {"import_ms", m.report.import_ms},
                      {"passes_ms", m.report.passes_ms},
                      {"link_ms", m.report.codegen.link_ms},
                      {"first_run_ms", first},
                      {"peak_rss_mb", peak_rss_mb()},
                      {"kernels", m.report.codegen.kernels},
                      {"cached_kernels", m.report.codegen.from_cache},
                      {"gflops", flops / percentile(0.5) * 1e-6}};
  if (const auto libraries = library_steps(m.model); !libraries.empty()) {
    std::map<std::string, int> counts;
    for (const auto& [step, who] : libraries) ++counts[who];
    j["library_steps"] = counts;
  }
  if (memory.ok()) {
    j["arena_mb"] = static_cast<double>(memory.value().arena) / 1e6;
    j["unplanned_mb"] = static_cast<double>(memory.value().unplanned) / 1e6;
    j["constants_mb"] = static_cast<double>(memory.value().constants) / 1e6;
  }
  return j;
}

void print_human(const nlohmann::json& j) {
  auto n = [&j](const char* key) { return j.at(key).get<double>(); };
  fmt::print(
      "compile {:.1f} s   load {:.2f} s   first run {:.1f} ms   peak memory {:.0f} MB   {} kernels\n",
      n("compile_ms") / 1000, n("load_ms") / 1000, n("first_run_ms"), n("peak_rss_mb"),
      j.at("kernels").get<int>());
  fmt::print(
      "latency  median {:.3f} ms   p90 {:.3f}   p99 {:.3f}   min {:.3f}   {:.1f} runs/s   {:.0f} GFLOP/s executed\n",
      n("median_ms"), n("p90_ms"), n("p99_ms"), n("min_ms"), 1000.0 * n("batch") / n("median_ms"),
      n("gflops"));
}

/// What --baseline and --fail-if say, read before anything is measured.
struct Comparand {
  double median_ms = 0;
  std::optional<double> most_growth;  ///< in percent
};

std::optional<Comparand> comparand(const BenchArguments& a) {
  if (a.baseline.empty()) {
    if (!a.fail_if.empty()) throw UsageError("--fail-if compares with a --baseline; name one");
    return std::nullopt;
  }
  std::ifstream file = open_text(a.baseline);
  const auto old = parse_json_or_discard(file);
  if (!old.is_object() || !old.contains("median_ms") || !old["median_ms"].is_number())
    throw Error(a.baseline + ": is not a report of tintype bench --json");
  Comparand c = {old["median_ms"].get<double>(), std::nullopt};
  if (a.fail_if.empty()) return c;
  double limit = 0;
  int read = 0;
  if (std::sscanf(a.fail_if.c_str(), "+%lf%%%n", &limit, &read) != 1 ||
      static_cast<size_t>(read) != a.fail_if.size())
    throw UsageError("--fail-if expects for example +5%, got '" + a.fail_if + "'");
  c.most_growth = limit;
  return c;
}

/// True when the median is more than the allowed share above the baseline's.
bool regressed(const BenchArguments& a, const Comparand& before, const nlohmann::json& now) {
  const double growth = 100 * (now.at("median_ms").get<double>() / before.median_ms - 1);
  fmt::print(a.json == "-" ? stderr : stdout, "baseline {}: median {:+.1f} %\n", a.baseline,
             growth);
  return before.most_growth && growth > *before.most_growth;
}

int bench(const BenchArguments& a) {
  require_writable(a.json);
  const std::optional<Comparand> before = comparand(a);
  const nlohmann::json j = measure(a);
  if (a.json != "-") print_human(j);
  if (!a.json.empty()) write_report(json_text(j, a.json == "-" ? -1 : 1), a.json);
  return before && regressed(a, *before, j) ? kFailed : kOk;
}

}  // namespace

Runner add_bench(CLI::App& parent) {
  auto args = std::make_shared<BenchArguments>();
  CLI::App* app = parent.add_subcommand("bench", "measure latency, compile time and memory");
  args->model.add_program_to(*app);
  app->add_option("--input", args->inputs, "[NAME=]FILE; random where none is given (repeatable)");
  app->add_option("--batch", args->batch, "extent of the first axis where it is symbolic")
      ->check(positive());
  app->add_option("--seconds", args->seconds, "how long to measure")->check(not_negative());
  app->add_option("--json", args->json,
                  "write the report as JSON to a file, or - for standard output");
  app->add_option("--baseline", args->baseline, "an earlier JSON report to compare with");
  app->add_option("--fail-if", args->fail_if, "exit with 1 when the median grew by more, e.g. +5%");
  app->footer(
      "Examples:\n  tintype bench resnet50.onnx --threads 2\n  tintype bench resnet50.onnx --json new.json --baseline old.json --fail-if +5%");
  return [args] { return bench(*args); };
}

}  // namespace tintype::cli
