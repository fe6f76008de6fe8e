// tintype opt: runs passes on a graph and shows what they do.
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "tools/command.h"
#include "tools/driver/pipeline.h"

#include <algorithm>
#include <fmt/format.h>
#include <iostream>
#include <iterator>
#include <limits>

namespace tintype::cli {

namespace {

struct OptArguments {
  ModelArguments model;
  std::string passes, output = "-";
  std::vector<std::string> disabled, before, after, explained;
  int64_t inline_elements = 8;
  int stop_after = -1;
  uint64_t seed = 1;
  double tolerance = 1e-4;
  bool list = false, time = false, verify = false;
  CLI::Option* print_before = nullptr;
  CLI::Option* print_after = nullptr;
  CLI::Option* explain_option = nullptr;
};

int list_passes() {
  for (const Pass* p : all_passes()) {
    fmt::print("{:<24} {}\n", p->name, p->summary);
    for (const PassOption& o : p->options)
      fmt::print("    {:<20} {} (default: {})\n", o.name, o.doc,
                 o.fallback.empty() ? "none" : o.fallback);
  }
  fmt::print("\nPipelines, which stand for their passes:\n");
  for (const NamedPipeline& p : named_pipelines())
    fmt::print("{:<24} {}\n    {}\n", p.name, p.summary, p.text);
  return kOk;
}

/// Prints graphs around passes and counts what changed. Everything goes to standard error: the
/// result may go to standard output.
class Reporter : public PassObserver {
 public:
  explicit Reporter(const OptArguments& a) : a_(a) {}

  void before(const PassStep& step, const Graph& graph) override {
    nodes_ = graph.size();
    show(graph, step, a_.print_before->count() > 0, a_.before, "before");
  }

  void after(const PassStep& step, const Graph& graph, const PassTiming& timing) override {
    show(graph, step, a_.print_after->count() > 0, a_.after, "after");
    rows_.push_back(
        {std::string(step.pass->name), nodes_, timing.nodes, timing.seconds, timing.changed});
  }

  void explain(const Explanation& e) {
    const auto& only = a_.explained;
    if (!only.empty() && std::find(only.begin(), only.end(), e.pass) == only.end()) return;
    fmt::print(stderr, "{}: {}  {}\n", e.pass, e.origin, e.reason);
    auto& [matched, all] = counts_[std::string(e.pass)];
    matched += e.matched ? 1 : 0;
    ++all;
  }

  void summary() const {
    for (const auto& [pass, count] : counts_)
      fmt::print(stderr, "{}: {} of {} candidates rewritten\n", pass, count.first, count.second);
    if (!a_.time) return;
    double total = 0;
    fmt::print(stderr, "{:<24} {:>8} {:>8} {:>10}\n", "pass", "before", "after", "ms");
    for (const Row& r : rows_) {
      fmt::print(stderr, "{:<24} {:>8} {:>8} {:>10.3f}{}\n", r.pass, r.before, r.after,
                 r.seconds * 1e3, r.changed ? "" : "   no change");
      total += r.seconds;
    }
    fmt::print(stderr, "{:<24} {:>8} {:>8} {:>10.3f}\n", "all",
               rows_.empty() ? 0 : rows_.front().before, rows_.empty() ? 0 : rows_.back().after,
               total * 1e3);
  }

 private:
  struct Row {
    std::string pass;
    size_t before, after;
    double seconds;
    bool changed;
  };

  static void show(const Graph& graph, const PassStep& step, bool asked,
                   const std::vector<std::string>& only, const char* when) {
    const bool all = only.empty() || (only.size() == 1 && only[0].empty());
    if (!asked || (!all && std::find(only.begin(), only.end(), step.pass->name) == only.end()))
      return;
    fmt::print(stderr, "// {} {}\n{}", when, step.pass->name, print(graph));
  }

  const OptArguments& a_;
  size_t nodes_ = 0;
  std::vector<Row> rows_;
  std::map<std::string, std::pair<int, int>> counts_;
};

std::unique_ptr<Graph> read_graph(const OptArguments& a, const CompileOptions& options) {
  if (a.model.path != "-") return load_graph(a.model.path, options.import);
  const std::string text(std::istreambuf_iterator<char>(std::cin), {});
  try {
    return parse_graph(text);
  } catch (const Error& e) {
    throw Error(std::string("standard input: ") + e.what());
  }
}

void check_names(const std::vector<std::string>& names) {
  for (const std::string& n : names)
    if (!n.empty()) find_pass(n);
}

int opt(const OptArguments& a) {
  const CompileOptions options = a.model.options();
  const PassPipeline pipeline = pipeline_for(options, a.passes);  // registers all passes
  if (a.list) return list_passes();
  if (a.model.path.empty())
    throw Error("opt needs a model: a file, or - for text on standard input");
  for (const auto* names : {&a.before, &a.after, &a.explained}) check_names(*names);
  std::unique_ptr<Graph> graph = read_graph(a, options);
  Reporter reporter(a);
  PipelineOptions run;
  run.verify = true;
  run.stop_after = a.stop_after;
  run.disabled = a.disabled;
  run.observer = &reporter;
  if (a.explain_option->count() > 0)
    run.explain = [&reporter](const Explanation& e) { reporter.explain(e); };
  std::optional<PassFault> fault;
  if (a.verify) fault = verify_passes(*graph, pipeline, options, run, a.tolerance, a.seed);
  else run_pipeline(*graph, pipeline, run);
  reporter.summary();
  if (fault)
    throw Error(fmt::format(
        "pass '{}' (number {} of the pipeline) changed results: {}; leave it out with --disable-pass {}",
        fault->pass, fault->step + 1, fault->message, fault->pass));
  if (a.verify)
    fmt::print(stderr,
               "values unchanged by all passes (tolerance {:g} of each output's largest element)\n",
               a.tolerance);
  if (a.output != "-") {
    save_graph(*graph, a.output);
    return kOk;
  }
  PrintOptions how;
  how.inline_elements =
      a.inline_elements < 0 ? std::numeric_limits<int64_t>::max() : a.inline_elements;
  std::cout << print(*graph, how);
  return kOk;
}

}  // namespace

Runner add_opt(CLI::App& parent) {
  auto a = std::make_shared<OptArguments>();
  CLI::App* app = parent.add_subcommand("opt", "run passes on a graph and show what they do");
  a->model.add_to(*app);
  app->get_option("model")->required(false)->description(
      "an .onnx model or the text of a graph; - reads text from standard input");
  app->add_option("--passes", a->passes,
                  "pass,pass{option=value},pipeline ... (default: what compile runs)");
  app->add_option("-o,--output", a->output,
                  "file to write, text or .onnx; - prints text (the default)");
  app->add_flag("--list-passes", a->list, "list passes, their options and the named pipelines");
  a->print_before = app->add_option("--print-before", a->before,
                                    "print the graph before each pass, or before those named")
                        ->expected(0, -1)
                        ->delimiter(',');
  a->print_after = app->add_option("--print-after", a->after, "the same after passes")
                       ->expected(0, -1)
                       ->delimiter(',');
  a->explain_option =
      app->add_option(
             "--explain", a->explained,
             "say for each candidate of the passes (or of those named) what was done, or why nothing was")
          ->expected(0, -1)
          ->delimiter(',');
  app->add_option("--stop-after", a->stop_after, "run the first N passes only")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--disable-pass", a->disabled, "leave a pass out (repeatable)");
  app->add_flag("--time-passes,--stats", a->time, "time and number of nodes of each pass");
  app->add_option(
      "--inline-elements", a->inline_elements,
      "constants up to this many elements are printed in full; -1: all, so that the text parses back");
  app->add_flag("--verify-passes", a->verify,
                "compare the graph's values before and after each pass");
  app->add_option("--seed", a->seed, "of the inputs for --verify-passes");
  app->add_option("--tolerance", a->tolerance,
                  "of --verify-passes, as a share of an output's largest element");
  app->footer(
      "Examples:\n  tintype opt resnet50.onnx --passes decompose,fold-constants,simplify --time-passes -o r.ir\n"
      "  tintype opt resnet50.onnx --explain fold-batch-norm -o /dev/null");
  return [a] { return opt(*a); };
}

}  // namespace tintype::cli
