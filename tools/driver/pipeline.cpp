// Code generation's part of the pipeline, and numeric checks between passes.
#include "tools/driver/pipeline.h"

#include "codegen/select_algorithms.h"
#include "frontend/onnx/export.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "runtime/session.h"
#include "tools/driver/compare.h"
#include "tools/driver/data_files.h"

#include <fmt/format.h>
#include <fstream>

namespace tintype {

namespace {

constexpr PassOption kSelect[] = {
    {"target", "this computer", "Halide target string that the cost model reckons for"},
    {"winograd", "1", "0 keeps to algorithms that add in the order of the window"},
    {"extents", "", "likely values of symbols, as in N:8;H:224; others count as 1"},
};

std::string text_of(const std::map<std::string, int64_t>& extents) {
  std::string text;
  for (const auto& [name, value] : extents)
    text += (text.empty() ? "" : ";") + name + ":" + std::to_string(value);
  return text;
}

bool select(Graph& graph, PassContext& context) {
  const std::string target = context.text("target", "");
  SelectAlgorithmsOptions options;
  options.machine = target.empty() ? host_machine() : machine_for(target);
  options.strict = !context.flag("winograd", true);
  options.hints = context.extents("extents");
  return select_algorithms(graph, options);
}

constexpr Pass kPasses[] = {
    {"select-algorithms", "decides how convolutions and products run, and packs their weights",
     kSelect, select},
};

void register_codegen_passes() {
  static const bool once = [] {
    register_passes(kPasses);
    return true;
  }();
  static_cast<void>(once);
}

/// Largest difference in the outputs of two runs, as a share of the output's largest element.
std::string difference(const std::vector<Tensor>& before, const std::vector<Tensor>& after,
                       const Graph& graph, double tolerance) {
  for (size_t i = 0; i < before.size(); ++i) {
    const Comparison scale = compare_tensors(before[i], before[i], 0, 0);
    const Comparison c = compare_tensors(after[i], before[i], 0, tolerance * scale.scale);
    if (!c.ok) return "output '" + graph.output_name(i) + "': " + c.message;
  }
  return "";
}

/// The graph's own results: every op a kernel of its own, without a schedule.
class ReferenceRun {
 public:
  ReferenceRun(const CompileOptions& options, uint64_t seed) : options_(options), seed_(seed) {
    options_.reference = true;
    options_.explain = nullptr;
    options_.progress = nullptr;
  }

  std::vector<Tensor> operator()(const Graph& graph) {
    const CompiledModel m = compile_graph(graph.clone(), options_);
    if (inputs_.empty()) make_inputs(m.model.program());
    Result<Session> session = Session::create(m.model);
    if (!session.ok()) throw Error(session.status().message());
    Result<std::vector<Tensor>> results = session.value().run(std::span<const Tensor>(inputs_));
    if (!results.ok()) throw Error(results.status().message());
    std::vector<Tensor> all = std::move(results).value();
    for (const StateVariable& s : m.model.program().states)
      all.push_back(session.value().states()->get(s.name).value());
    return all;
  }

 private:
  void make_inputs(const Program& p) {
    for (const Port& port : p.inputs) {
      std::vector<int64_t> dims;
      for (ExprId id : port.dims) dims.push_back(extent(p, id));
      inputs_.push_back(random_tensor(port.dtype, dims, seed_ + inputs_.size()));
    }
  }

  int64_t extent(const Program& p, ExprId id) const {
    const ExtentExpr& e = p.expressions[static_cast<size_t>(id)];
    if (e.kind == ExtentExpr::Kind::constant) return e.value;
    if (e.kind != ExtentExpr::Kind::symbol) return 1;
    const auto it = options_.hints.find(p.symbols[static_cast<size_t>(e.value)].name);
    return it == options_.hints.end() ? 1 : it->second;
  }

  CompileOptions options_;
  uint64_t seed_;
  std::vector<Tensor> inputs_;
};

}  // namespace

PassPipeline pipeline_for(const CompileOptions& options, const std::string& text) {
  register_codegen_passes();
  const char* named = options.reference                  ? "reference"
                      : options.math == MathMode::strict ? "strict"
                                                         : "default";
  PassPipeline pipeline = parse_pipeline(text.empty() ? named : text);
  if (options.recompute && text.empty())
    pipeline.push_back({&find_pass("recompute"),
                        {{"bytes", std::to_string(options.recompute->bytes)},
                         {"segments", std::to_string(options.recompute->segments)}}});
  constexpr std::string_view kPass = "select-algorithms";
  if (!options.target.empty()) set_default(pipeline, kPass, "target", options.target);
  if (!options.hints.empty())
    for (const std::string_view pass : {kPass, std::string_view("recompute")})
      set_default(pipeline, pass, "extents", text_of(options.hints));
  if (options.math == MathMode::strict) set_default(pipeline, kPass, "winograd", "0");
  return pipeline;
}

std::optional<PassFault> verify_passes(Graph& graph, const PassPipeline& pipeline,
                                       const CompileOptions& options, const PipelineOptions& passes,
                                       double tolerance, uint64_t seed) {
  ReferenceRun run(options, seed);
  std::vector<Tensor> before = run(graph);
  const size_t count = passes.stop_after < 0
                           ? pipeline.size()
                           : std::min(pipeline.size(), static_cast<size_t>(passes.stop_after));
  PipelineOptions one = passes;
  one.stop_after = -1;
  for (size_t i = 0; i < count; ++i) {
    const auto timings = run_pipeline(graph, {pipeline[i]}, one);
    if (timings.empty() || !timings[0].changed) continue;
    const std::vector<Tensor> after = run(graph);
    const std::string what = difference(before, after, graph, tolerance);
    if (!what.empty())
      return PassFault{std::string(pipeline[i].pass->name), static_cast<int>(i), what};
  }
  return std::nullopt;
}

std::unique_ptr<Graph> load_graph(const std::string& path, const ImportOptions& options) {
  constexpr std::string_view kStart = "graph ";
  char start[kStart.size()] = {};
  std::ifstream(path, std::ios::binary).read(start, sizeof start);
  return std::string_view(start, sizeof start) == kStart ? load_text(path)
                                                         : import_onnx(path, options);
}

void save_graph(const Graph& graph, const std::string& path) {
  if (path.ends_with(".onnx")) export_onnx(graph, path);
  else save_text(graph, path);
}

}  // namespace tintype
