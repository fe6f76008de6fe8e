// tintype opt: runs passes on a graph and shows what they do.
#include "ir/diagnostic.h"
#include "ir/print.h"
#include "tools/command.h"
#include "tools/driver/check_passes.h"
#include "tools/driver/data_files.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/pipeline.h"
#include "tools/driver/reproducer.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <unistd.h>

namespace tintype::cli {

namespace {

struct OptArguments {
  ModelArguments model;
  std::string output = "-", format, reproducer;
  std::vector<std::string> before, after, explained, inputs;
  int64_t inline_elements = 8;
  int stop_after = -1;
  uint64_t seed = 1;
  double tolerance = 1e-4;
  bool list = false, time = false, stats = false, verify = false, disable_faulty = false;
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

/// An option without names, which reads as one empty name, means every pass.
bool is_meant(const std::vector<std::string>& names, std::string_view pass) {
  return names.empty() || (names.size() == 1 && names[0].empty()) ||
         std::find(names.begin(), names.end(), pass) != names.end();
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
    if (!is_meant(a_.explained, e.pass)) return;
    fmt::print(stderr, "{}: {}  {}\n", e.pass, e.origin, e.reason);
    auto& [matched, all] = counts_[std::string(e.pass)];
    matched += e.matched ? 1 : 0;
    ++all;
  }

  void summary() const {
    if (a_.explain_option->count() > 0) tell_of_passes_without_candidates();
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
    if (!asked || !is_meant(only, step.pass->name)) return;
    fmt::print(stderr, "// {} {}\n{}", when, step.pass->name, print(graph));
  }

  /// Silence would look as if the option were not understood.
  void tell_of_passes_without_candidates() const {
    if (is_meant(a_.explained, "") && counts_.empty())
      fmt::print(stderr, "none of the {} passes explained anything\n", rows_.size());
    for (const std::string& pass : a_.explained) {
      if (pass.empty() || counts_.contains(pass)) continue;
      const bool ran =
          std::any_of(rows_.begin(), rows_.end(), [&pass](const Row& r) { return r.pass == pass; });
      fmt::print(stderr, "{}: {}\n", pass, ran ? "no candidates" : "is not in the pipeline");
    }
  }

  const OptArguments& a_;
  size_t nodes_ = 0;
  std::vector<Row> rows_;
  std::map<std::string, std::pair<int, int>> counts_;
};

std::unique_ptr<Graph> read_standard_input(const CompileOptions& options) {
  const std::string bytes(std::istreambuf_iterator<char>(std::cin), {});
  return read_graph(bytes, "standard input", options.import);
}

void check_names(const std::vector<std::string>& names) {
  for (const std::string& n : names)
    if (!n.empty()) from_option([&n] { find_pass(n); });
}

std::map<std::string, Tensor> read_inputs(const OptArguments& a, const Graph& graph) {
  std::vector<std::string> known;
  for (const auto& v : graph.inputs()) known.push_back(v->name());
  std::map<std::string, Tensor> inputs;
  for (const std::string& i : a.inputs) {
    const auto [name, file] = split_assignment(i, "--input");
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw UsageError("--input: the graph has no input '" + name + "'" +
                       did_you_mean(name, known));
    inputs[name] = load_tensor(file);
  }
  return inputs;
}

std::string fault_text(const PassFault& f) {
  return fmt::format("pass '{}' (number {} of the pipeline) {}{}{}", f.pass, f.step + 1,
                     f.threw ? "failed: " : "changed results: ",
                     f.node.empty() ? "" : "first at " + f.node + "; ", f.message);
}

/// The pipeline with the graph's values compared around every pass.
void verify(const OptArguments& a, std::unique_ptr<Graph>& graph, const PassPipeline& pipeline,
            const CompileOptions& options, const PipelineOptions& run) {
  CheckPassesOptions check;
  check.tolerance = a.tolerance;
  check.seed = a.seed;
  check.inputs = read_inputs(a, *graph);
  check.disable_faulty = a.disable_faulty;
  check.on_fault = [&](const PassFault& fault, const Graph& before,
                       const std::map<std::string, Tensor>& inputs) {
    if (a.reproducer.empty()) return;
    Reproducer r;
    r.graph = before.clone();
    forget_names(*r.graph);
    r.passes = text_of({pipeline[fault.step]});
    r.tolerance = a.tolerance;
    r.seed = a.seed;
    r.inputs = inputs;
    r.plugins = a.model.plugins;
    r.patterns = a.model.patterns;
    r.message = fault_text(fault);
    const std::string folder =
        a.disable_faulty ? a.reproducer + "/" + std::to_string(fault.step + 1) + "-" + fault.pass
                         : a.reproducer;
    save_reproducer(r, folder);
    fmt::print(stderr, "{}: written; tintype reduce {} makes it small\n", folder, folder);
  };
  const PassCheck found = check_passes(graph, pipeline, options, run, check);
  if (found.faults.empty()) {
    fmt::print(stderr, "values unchanged by all passes (max error {:.1g} of an output's scale)\n",
               found.max_error);
    return;
  }
  if (!a.disable_faulty)
    throw Error(fault_text(found.faults[0]) + "; leave it out with --disable-pass " +
                found.faults[0].pass + ", or keep what shows it with --reproducer FOLDER");
  for (const PassFault& f : found.faults)
    fmt::print(stderr, "warning: {}; left out\n", fault_text(f));
}

void print_stats(const Graph& graph, const char* when) {
  std::map<std::string, int> ops;
  int64_t elements = 0, bytes = 0;
  for (const auto& n : graph.nodes()) {
    ++ops[std::string(n->name())];
    if (const Tensor* t = n->result_count() == 1 ? n->result()->constant() : nullptr) {
      elements += t->size();
      bytes += static_cast<int64_t>(t->bytes());
    }
  }
  fmt::print(stderr, "{}: {} nodes, constants of {} elements ({:.1f} MB)\n", when, graph.size(),
             grouped(elements), static_cast<double>(bytes) / 1e6);
  std::vector<std::pair<int, std::string>> order;
  for (const auto& [name, count] : ops) order.emplace_back(-count, name);
  std::sort(order.begin(), order.end());
  for (const auto& [count, name] : order) fmt::print(stderr, "{:>8}  {}\n", -count, name);
}

/// A model goes through a file: ONNX's own checks want one.
void write_onnx_to_standard_output(const Graph& graph) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("tintype-opt-" + std::to_string(getpid()) + ".onnx");
  save_graph(graph, path.string());
  std::ifstream file(path, std::ios::binary);
  std::cout << file.rdbuf() << std::flush;
  std::filesystem::remove(path);
}

void write_graph(const OptArguments& a, const Graph& graph) {
  if (a.output != "-") return save_graph(graph, a.output);
  if (a.format == "onnx") return write_onnx_to_standard_output(graph);
  PrintOptions how;
  how.inline_elements =
      a.inline_elements < 0 ? std::numeric_limits<int64_t>::max() : a.inline_elements;
  std::cout << print(graph, how);
}

int opt(const OptArguments& a) {
  const CompileOptions options = a.model.options();     // loads plugins and patterns
  const PassPipeline pipeline = pipeline_for(options);  // registers all other passes
  if (a.list) return list_passes();
  if (a.model.path.empty())
    throw UsageError("opt needs a model: a file, or - for text or ONNX on standard input");
  for (const auto* names : {&a.before, &a.after, &a.explained}) check_names(*names);
  std::unique_ptr<Graph> graph =
      a.model.path == "-" ? read_standard_input(options) : load_graph(a.model.path, options.import);
  a.model.check_dims(input_symbols(*graph));
  if (a.stats) print_stats(*graph, "before");
  Reporter reporter(a);
  PipelineOptions run;
  run.verify = true;
  run.stop_after = a.stop_after;
  run.disabled = a.model.disabled_passes;
  run.observer = &reporter;
  if (a.explain_option->count() > 0)
    run.explain = [&reporter](const Explanation& e) { reporter.explain(e); };
  if (a.verify || a.disable_faulty || !a.reproducer.empty())
    verify(a, graph, pipeline, options, run);
  else run_pipeline(*graph, pipeline, run);
  reporter.summary();
  if (a.stats) print_stats(*graph, "after");
  write_graph(a, *graph);
  return kOk;
}

}  // namespace

Runner add_opt(CLI::App& parent) {
  auto a = std::make_shared<OptArguments>();
  CLI::App* app = parent.add_subcommand("opt", "run passes on a graph and show what they do");
  a->model.add_to(*app);
  app->get_option("model")->required(false)->description(
      "an .onnx model or the text of a graph; - reads either from standard input");
  app->add_option("-o,--output", a->output,
                  "file to write, text or .onnx; - is standard output (the default)");
  app->add_option("--format", a->format, "of standard output: text (the default) or onnx")
      ->check(CLI::IsMember({"text", "onnx"}));
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
      ->check(not_negative())
      ->option_text("INT");
  app->add_flag("--time-passes", a->time, "time and number of nodes of each pass");
  app->add_flag("--stats", a->stats, "number of nodes by op, and constants, before and after");
  app->add_option(
      "--inline-elements", a->inline_elements,
      "constants up to this many elements are printed in full; -1: all, so that the text parses back");
  app->add_flag("--verify-passes", a->verify,
                "compare the graph's values before and after each pass");
  app->add_flag("--disable-faulty", a->disable_faulty,
                "the same, and leave out passes that change results");
  app->add_option("--reproducer", a->reproducer,
                  "the same, and keep what shows the fault in a folder");
  app->add_option("--input", a->inputs, "NAME=FILE for --verify-passes (repeatable)");
  add_seed(*app, a->seed, "of its other inputs");
  app->add_option("--tolerance", a->tolerance, "of it, as a share of an output's largest element")
      ->check(not_negative());
  app->footer(
      "Examples:\n  tintype opt resnet50.onnx --passes decompose,fold-constants,simplify --time-passes -o r.ir\n"
      "  tintype opt net.onnx --patterns swish.pat --passes swish,fuse-regions --verify-passes");
  return [a] { return opt(*a); };
}

}  // namespace tintype::cli
