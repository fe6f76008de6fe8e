// Puts the stages together.
#include "tools/driver/driver.h"

#include "codegen/kernel_cache.h"
#include "codegen/narrow_operands.h"
#include "codegen/shared_object.h"
#include "ir/diagnostic.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/pipeline.h"

#include <algorithm>
#include <chrono>
#include <span>

namespace tintype {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Machine machine_of(const CompileOptions& options) {
  return options.target.empty() ? host_machine() : machine_for(options.target);
}

/// Small constants get memory of their own: a bias of a few bytes would otherwise keep the whole
/// model file mapped, and counted as resident, after all large weights were packed.
void detach_small_constants(Graph& graph) {
  constexpr size_t kSmall = size_t{64} << 10;
  for (const auto& n : graph.nodes())
    if (const Tensor* t = n->is("constant") ? n->result()->constant() : nullptr;
        t != nullptr && t->bytes() <= kSmall)
      n->attrs().set("value", t->clone());
}

CompileOptions with_batch_hint(const Graph& graph, CompileOptions options) {
  for (const auto& v : graph.inputs())
    if (!v->shape().empty())
      if (const auto name = v->shape()[0].symbol_name())
        options.hints.emplace(*name, options.batch);
  return options;
}

CodegenOptions codegen_options(const CompileOptions& options) {
  CodegenOptions codegen;
  codegen.machine = machine_of(options);
  codegen.cache_directory = options.cache_directory == "default" ? KernelCache::default_directory()
                                                                 : options.cache_directory;
  codegen.reference = options.reference;
  if (options.reference) codegen.machine.cuda = 0;  // the oracle runs on the CPU
  codegen.hints = options.hints;
  codegen.compile_threads = options.compile_threads;
  codegen.progress = options.progress;
  return codegen;
}

/// optimize(), and what its last pass, recompute, does to the memory that the program plans.
RecomputeReport optimize_and_recompute(Graph& graph, const CompileOptions& options,
                                       const CodegenOptions& codegen) {
  PipelineOptions passes;
  passes.explain = options.explain;
  passes.disabled = options.disabled_passes;
  PassPipeline pipeline = pipeline_for(options);
  const PassStep last = pipeline.back();
  pipeline.pop_back();
  run_pipeline(graph, pipeline, passes);
  RecomputeReport report;
  report.arena_before = planned_arena(graph, codegen).value_or(0);
  run_pipeline(graph, {last}, passes);
  report.arena_after = planned_arena(graph, codegen).value_or(0);
  report.steps =
      static_cast<int>(std::count_if(graph.nodes().begin(), graph.nodes().end(), [](const auto& n) {
        return n->body() != nullptr && n->where().starts_with("again:");
      }));
  return report;
}

CompiledModel finish(std::unique_ptr<Graph> graph, const CompileOptions& requested,
                     double import_ms) {
  const CompileOptions options = with_batch_hint(*graph, requested);
  const CodegenOptions codegen = codegen_options(options);
  CompiledModel result;
  result.report.import_ms = import_ms;
  result.report.tuning_problem = tuning_problem(options);
  if (options.math == MathMode::fast && !options.reference)
    result.report.narrow_problem = narrow_problem(codegen.machine, options.narrow);
  auto start = Clock::now();
  if (options.recompute) result.report.recompute = optimize_and_recompute(*graph, options, codegen);
  else optimize(*graph, options);
  detach_small_constants(*graph);
  result.report.passes_ms = milliseconds_since(start);
  start = Clock::now();
  Compiled compiled = compile(*graph, codegen);
  result.report.codegen = compiled.report;
  result.objects = std::move(compiled.objects);
  Result<Model> model = Model::create(compiled.program, compiled.library);
  if (!model.ok()) throw InternalError(model.status().message());
  result.model = std::move(model).value();
  result.graph = std::move(graph);
  result.report.load_ms =
      import_ms + result.report.passes_ms + milliseconds_since(start) - compiled.report.compile_ms;
  return result;
}

}  // namespace

void optimize(Graph& graph, const CompileOptions& options) {
  PipelineOptions passes;
  passes.explain = options.explain;
  passes.disabled = options.disabled_passes;
  run_pipeline(graph, pipeline_for(options), passes);
}

CompiledModel compile_model(const std::string& path, const CompileOptions& options) {
  const auto start = Clock::now();
  std::unique_ptr<Graph> graph = load_graph(path, options.import);
  return finish(std::move(graph), options, milliseconds_since(start));
}

CompiledModel compile_graph(std::unique_ptr<Graph> graph, const CompileOptions& options) {
  if (graph == nullptr) throw Error("there is no graph to compile");
  return finish(std::move(graph), options, 0.0);
}

void save_model(const CompiledModel& model, const std::string& path) {
  const Program& program = model.model.program();
  if (model.objects.empty() && !program.kernels.empty())
    throw Error(path +
                ": a model that was loaded from a .tt file is not saved again; copy the file");
  const std::vector<char> code = link_shared_object(model.objects, program.target);
  const Status saved = save_program(program, std::as_bytes(std::span<const char>(code)), path);
  if (!saved.ok()) throw Error(saved.message());
}

CompiledModel open_model(const std::string& path, const CompileOptions& options) {
  if (!path.ends_with(".tt")) return compile_model(path, options);
  const auto start = Clock::now();
  Result<Model> model = Model::load(path);
  if (!model.ok()) throw Error(model.status().message());
  CompiledModel result;
  result.model = std::move(model).value();
  result.report.load_ms = milliseconds_since(start);
  result.report.codegen.kernels = static_cast<int>(result.model.program().kernels.size());
  return result;
}

}  // namespace tintype
