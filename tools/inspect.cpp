// tintype check, profile, show: what a model contains and where its time goes.
#include "codegen/lower.h"
#include "frontend/data/json.h"
#include "frontend/train/parameters.h"
#include "ir/diagnostic.h"
#include "ir/print.h"
#include "passes/autodiff.h"
#include "passes/passes.h"
#include "tools/command.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/graphviz.h"
#include "tools/model_inputs.h"

#include <algorithm>
#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>

namespace tintype::cli {

namespace {

std::string counted(double n) {
  if (n >= 1e9) return fmt::format("{:.1f} G", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.1f} M", n / 1e6);
  if (n >= 1e3) return fmt::format("{:.1f} k", n / 1e3);
  return fmt::format("{:.0f} ", n);
}

/// Nodes that keep a model from being trained, "conv1 (TopK): why".
std::vector<std::string> training_problems(const Graph& model) {
  const auto graph = model.clone();
  PassContext context;
  decompose(*graph, context);
  std::vector<std::string> problems;
  for (const NotDifferentiable& p : not_differentiable(*graph))
    problems.push_back(fmt::format("{} ({}): {}", p.node->where(), p.node->name(), p.reason));
  return problems;
}

/// What `train` would change in a model, and what it would not: rows of name and shape.
struct Trainables {
  nlohmann::json trained = nlohmann::json::array(), others = nlohmann::json::array();

  explicit Trainables(const Graph* model) {
    if (model == nullptr) return;
    for (const Parameter& p : find_parameters(*model))
      trained.push_back({{"name", p.value->name()}, {"shape", p.value->constant()->dims()}});
    for (const UntrainedConstant& c : find_untrained(*model))
      others.push_back({{"name", c.name}, {"shape", c.dims}, {"why", text_of(c.why)}});
  }

  void print() const {
    list("  trains ", trained);
    list("  does not train ", others);
  }

 private:
  static void list(const char* what, const nlohmann::json& rows) {
    constexpr size_t kListed = 8;
    std::vector<std::string> names;
    for (size_t i = 0; i < std::min(kListed, rows.size()); ++i) {
      names.push_back(rows[i]["name"].get<std::string>());
      if (rows[i].contains("why"))
        names.back() += fmt::format(" ({})", rows[i]["why"].get<std::string>());
    }
    if (names.empty()) return;
    fmt::print("{}{}{}\n", what, fmt::join(names, ", "),
               rows.size() == names.size()
                   ? ""
                   : fmt::format(" and {} more; --json lists them", rows.size() - names.size()));
  }
};

int check(const std::string& path, bool json) {
  ImportReport report = load_graph_collect(path);
  const Trainables trainables(report.graph.get());
  std::vector<std::string> untrainable;
  if (report.problems.empty()) {
    try {
      untrainable = training_problems(*report.graph);
      CompileOptions options;
      optimize(*report.graph, options);
      LowerOptions lowering;
      lowering.machine = host_machine();
      lower(*report.graph, lowering);
    } catch (const Error& e) {
      report.problems.emplace_back(path + ": " + e.what());
    }
  }
  const int opset = report.info.opset;  // 0: the text of a graph has none
  if (json) {
    const nlohmann::json j = {{"model", path},
                              {"opset", opset > 0 ? nlohmann::json(opset) : nlohmann::json()},
                              {"nodes", report.info.node_count},
                              {"parameters", report.info.parameter_count},
                              {"problems", report.problems},
                              {"not_differentiable", untrainable},
                              {"trained", trainables.trained},
                              {"not_trained", trainables.others}};
    fmt::print("{}", json_text(j));
    return report.problems.empty() ? kOk : kFailed;
  }
  for (const std::string& p : report.problems) fmt::print("{}\n", p);
  if (!report.problems.empty()) {
    fmt::print("{} problem{}\n", report.problems.size(), report.problems.size() == 1 ? "" : "s");
    return kFailed;
  }
  std::string inputs;
  for (const auto& v : report.graph->inputs())
    inputs += (inputs.empty() ? "" : ", ") + v->name() + ": " + v->type().text();
  fmt::print("{}  {}, {} nodes, {}parameters ({:.1f} MB), input {}\n", path,
             opset > 0 ? fmt::format("opset {}", opset) : "text", report.info.node_count,
             counted(static_cast<double>(report.info.parameter_count)),
             static_cast<double>(report.info.parameter_bytes) / 1048576.0, inputs);
  const Machine m = host_machine();
  fmt::print("everything supported on host ({}); {}\n",
             m.lanes == 16  ? "x86-64, AVX-512"
             : m.lanes == 8 ? "x86-64, AVX2"
                            : m.target,
             untrainable.empty() ? "trainable" : "not trainable through");
  for (const std::string& p : untrainable) fmt::print("  {}\n", p);
  if (untrainable.empty()) trainables.print();
  return kOk;
}

/// How runs with these inputs use streams of the CUDA device. A profile waits after every step.
void print_streams(const Model& model, std::span<const Tensor> inputs) {
  const auto streams = model.streams(inputs);
  const auto memory = model.memory(inputs);
  if (!streams.ok() || !memory.ok()) return;
  fmt::print(
      "runs that are not profiled use {} streams, which wait for each other {} times; buffers on the device: {:.2f} MB, {:.2f} MB with one stream (TINTYPE_CUDA_STREAMS=1)\n",
      streams.value().streams, streams.value().waits,
      static_cast<double>(memory.value().device_arena) / 1e6,
      static_cast<double>(streams.value().arena_on_one_stream) / 1e6);
}

struct ProfileArguments {
  ModelArguments model;
  std::vector<std::string> inputs;
  int runs = 20, top = 0;
  std::string json;
};

int profile(const ProfileArguments& a) {
  require_writable(a.json);
  CompiledModel m = open_model(a.model.path, a.model.options());
  print_warnings(m.report);
  const std::vector<Tensor> inputs = make_inputs(m.model, a.inputs, a.model.dim_values(), 1);
  RunOptions options;
  options.threads = a.model.threads;
  auto times =
      open_session(m, a.model.path).profile(std::span<const Tensor>(inputs), a.runs, options);
  if (!times.ok()) throw Error(a.model.path + ": " + times.status().message());
  std::vector<StepTime> rows = times.value();
  const auto libraries = library_steps(m.model);
  const auto algorithm = [&](const StepTime& s, const std::string& other) {
    if (const auto it = libraries.find(s.step); it != libraries.end()) return it->second;
    return s.kernel < 0 ? other
                        : m.model.program().kernels[static_cast<size_t>(s.kernel)].algorithm;
  };
  const auto streams = m.model.streams(std::span<const Tensor>(inputs));
  if (!streams.ok()) throw Error(a.model.path + ": " + streams.status().message());
  const bool several = streams.value().streams > 1;
  double total = 0;
  for (const StepTime& s : rows) total += s.milliseconds;
  const Program& p = m.model.program();
  if (!a.json.empty()) {
    nlohmann::json j = nlohmann::json::array();
    for (const StepTime& s : rows) {
      const Step& step = p.steps[static_cast<size_t>(s.step)];
      j.push_back({{"ms", s.milliseconds},
                   {"step", step.name},
                   {"from", step.origin},
                   {"flops", s.flops},
                   {"algorithm", algorithm(s, "")}});
      if (several) j.back()["stream"] = s.stream;
    }
    write_report(json_text(j), a.json);
    return kOk;
  }
  std::sort(rows.begin(), rows.end(),
            [](const StepTime& x, const StepTime& y) { return x.milliseconds > y.milliseconds; });
  if (a.top > 0 && static_cast<size_t>(a.top) < rows.size())
    rows.resize(static_cast<size_t>(a.top));
  fmt::print("{:>10} {:>7} {:>8}  {}{:<26} {:<13} {}\n", "time", "share", "GFLOP/s",
             several ? "stream  " : "", "step", "algorithm", "from");
  for (const StepTime& s : rows) {
    const Step& step = p.steps[static_cast<size_t>(s.step)];
    fmt::print("{:>7.4f} ms {:>5.1f} % {:>8}  {}{:<26.26} {:<13} {:.70}\n", s.milliseconds,
               100 * s.milliseconds / total,
               s.flops > 0 ? fmt::format("{:.0f}", s.flops / s.milliseconds * 1e-6) : "",
               several ? fmt::format("{:>6}  ", s.stream) : "", step.name, algorithm(s, "host"),
               step.origin);
  }
  fmt::print("{:>7.4f} ms in {} steps\n", total, times.value().size());
  print_libraries(m.model);
  if (several) print_streams(m.model, inputs);
  return kOk;
}

struct ShowArguments {
  ModelArguments model;
  std::string stage = "optimized", svg, dot;
};

int show(const ShowArguments& a) {
  CompileOptions options = a.model.options();
  std::unique_ptr<Graph> graph = load_graph(a.model.path, options.import);
  a.model.check_dims(input_symbols(*graph));
  if (a.stage == "optimized") optimize(*graph, options);
  if (a.svg.empty() && a.dot.empty()) {
    std::cout << print(*graph);
    return kOk;
  }
  const std::string dot = to_dot(*graph);
  if (!a.dot.empty()) write_report(dot, a.dot);
  if (!a.svg.empty()) render_svg(dot, a.svg);
  return kOk;
}

}  // namespace

Runner add_check(CLI::App& parent) {
  auto path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App* app = parent.add_subcommand("check", "report all problems of a model at once");
  app->add_option("model", *path, kGraphHelp)->required();
  app->add_flag("--json", *json, "print JSON");
  app->footer("Examples:\n  tintype check resnet50.onnx\n  tintype check model.onnx --json");
  return [path, json] { return check(*path, *json); };
}

Runner add_profile(CLI::App& parent) {
  auto args = std::make_shared<ProfileArguments>();
  CLI::App* app = parent.add_subcommand("profile", "time each step of a model");
  args->model.add_program_to(*app);
  app->add_option("--input", args->inputs, "[NAME=]FILE; random where none is given (repeatable)");
  app->add_option("--runs", args->runs, "runs to average over")->check(positive());
  app->add_option("--top", args->top, "only the N longest steps")->check(not_negative());
  app->add_option("--json", args->json,
                  "write the table as JSON to a file, or - for standard output");
  app->footer(
      "Examples:\n  tintype profile resnet50.onnx --top 10\n  tintype profile resnet50.onnx --json -");
  return [args] { return profile(*args); };
}

Runner add_show(CLI::App& parent) {
  auto args = std::make_shared<ShowArguments>();
  CLI::App* app = parent.add_subcommand("show", "print a graph as text, or draw it");
  args->model.add_to(*app);
  app->add_option("--stage", args->stage, "imported or optimized")
      ->check(CLI::IsMember({"imported", "optimized"}));
  app->add_option("--svg", args->svg, "draw the graph with its fused regions (needs Graphviz)");
  app->add_option("--dot", args->dot, "write Graphviz source");
  app->footer(
      "Examples:\n  tintype show resnet50.onnx --svg resnet50.svg\n  tintype show resnet50.onnx --stage imported");
  return [args] { return show(*args); };
}

}  // namespace tintype::cli
