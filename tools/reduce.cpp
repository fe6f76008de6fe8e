// tintype reduce: makes what shows a fault small.
#include "tools/driver/reduce.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "passes/pattern_file.h"
#include "passes/plugin.h"
#include "tools/command.h"
#include "tools/driver/check_passes.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/pipeline.h"
#include "tools/driver/reference_run.h"
#include "tools/driver/reproducer.h"

#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>

namespace tintype::cli {

namespace {

struct ReduceArguments {
  ModelArguments model;
  std::string output = "reduced", test;
  uint64_t seed = 1;
  double tolerance = 1e-4;
};

Reproducer read(const ReduceArguments& a, const CompileOptions& options) {
  if (std::filesystem::is_directory(a.model.path))
    return load_reproducer(a.model.path, [](const Reproducer& r) {
      for (const std::string& p : r.plugins) load_plugin(p);
      for (const std::string& p : r.patterns) load_patterns(p);
    });
  Reproducer r;
  r.graph = load_graph(a.model.path, options.import);
  r.passes = options.passes;
  r.tolerance = a.tolerance;
  r.seed = a.seed;
  r.plugins = a.model.plugins;
  r.patterns = a.model.patterns;
  return r;
}

/// Every value of the graph by its name, so that whatever becomes an input has the value it had.
std::map<std::string, Tensor> all_values(const Graph& graph, const CompileOptions& options,
                                         const Reproducer& r) {
  ReferenceRun run(options, r.seed, r.inputs);
  std::vector<std::string> names;
  for (const auto& n : graph.nodes())
    for (int i = 0; i < n->result_count(); ++i)
      if (!n->result(i)->name().empty() && n->result(i)->constant() == nullptr)
        names.push_back(n->result(i)->name());
  std::vector<Tensor> values;
  try {
    values = run(*exposing(graph, names));
  } catch (const Error&) {
    names.clear();  // what becomes an input then gets random values
    run(graph);
  }
  std::map<std::string, Tensor> by_name = run.inputs();
  const size_t first = graph.output_count() - graph.states().size();
  for (size_t i = 0; i < names.size(); ++i) by_name[names[i]] = values[first + i];
  return by_name;
}

/// The first fault of the pipeline on a graph, or nothing.
std::optional<PassFault> fault_of(const Graph& graph, const PassPipeline& pipeline,
                                  const CompileOptions& options, const Reproducer& r,
                                  const std::map<std::string, Tensor>& values) {
  std::unique_ptr<Graph> copy = graph.clone();
  CheckPassesOptions check;
  check.tolerance = r.tolerance;
  check.seed = r.seed;
  check.inputs = values;
  PipelineOptions run;
  run.verify = true;
  run.disabled = options.disabled_passes;
  PassCheck found = check_passes(copy, pipeline, options, run, check);
  if (found.faults.empty()) return std::nullopt;
  return std::move(found.faults[0]);
}

/// A command that is given the graph's file succeeds as long as the graph shows the problem.
Interesting passes_test(const std::string& command) {
  return [command](const Graph& graph) {
    const std::string path = (std::filesystem::temp_directory_path() /
                              ("tintype-reduce-" + std::to_string(getpid()) + ".ir"))
                                 .string();
    save_text(graph, path);
    const int status = std::system((command + " '" + path + "' >/dev/null 2>&1").c_str());
    std::filesystem::remove(path);
    std::filesystem::remove(path + ".tensors");
    return status == 0;
  };
}

void report_progress(size_t nodes) {
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{} nodes left\033[K", nodes);
}

int reduce(const ReduceArguments& a) {
  CompileOptions options = a.model.options();
  options.progress = nullptr;
  Reproducer r = read(a, options);
  options.passes = r.passes;
  name_values(*r.graph);
  const size_t nodes = r.graph->size();
  std::unique_ptr<Graph> small;
  std::map<std::string, Tensor> values;
  if (!a.test.empty()) {
    small = reduce_graph(*r.graph, passes_test(a.test), report_progress);
  } else {
    const PassPipeline pipeline = pipeline_for(options);
    values = all_values(*r.graph, options, r);
    const auto whole = fault_of(*r.graph, pipeline, options, r, values);
    if (!whole)
      throw Error(a.model.path + ": no pass of '" + text_of(pipeline) +
                  "' changes results or fails; nothing to reduce");
    r.message = whole->message;
    small = reduce_graph(
        *r.graph,
        [&](const Graph& g) {
          const auto fault = fault_of(g, pipeline, options, r, values);
          return fault && fault->pass == whole->pass && fault->threw == whole->threw;
        },
        report_progress);
  }
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r\033[K");
  r.inputs.clear();
  for (const auto& input : small->inputs())
    if (const auto it = values.find(input->name()); it != values.end())
      r.inputs[input->name()] = it->second;
  const size_t left = small->size();
  r.graph = std::move(small);
  save_reproducer(r, a.output);
  fmt::print("{}: {} of {} nodes left\n", a.output, left, nodes);
  return kOk;
}

}  // namespace

Runner add_reduce(CLI::App& parent) {
  auto a = std::make_shared<ReduceArguments>();
  CLI::App* app =
      parent.add_subcommand("reduce", "shrink what shows a fault of a pass to few nodes");
  a->model.add_to(*app);
  app->get_option("model")->description(
      "a folder of tintype opt --reproducer, an .onnx model or the text of a graph");
  app->add_option("-o,--output", a->output, "folder to write");
  app->add_option(
      "--test", a->test,
      "instead of --passes: a command that, given a graph's file, succeeds when the problem shows");
  add_seed(*app, a->seed, "of inputs");
  app->add_option("--tolerance", a->tolerance,
                  "share of an output's largest element by which a sound pass may change it")
      ->check(not_negative());
  app->footer("Examples:\n  tintype reduce fault/ -o small/\n"
              "  tintype reduce net.onnx --passes mine --plugin ./libmine.so -o small/");
  return [a] { return reduce(*a); };
}

}  // namespace tintype::cli
