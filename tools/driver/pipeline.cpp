// Code generation's part of the pipeline, and graphs in files.
#include "tools/driver/pipeline.h"

#include "codegen/narrow_operands.h"
#include "codegen/select_algorithms.h"
#include "frontend/onnx/export.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"

#include <fstream>

namespace tintype {

namespace {

constexpr PassOption kSelect[] = {
    {"target", "this computer", "Halide target string that the cost model reckons for"},
    {"winograd", "1", "0 keeps to algorithms that add in the order of the window"},
    {"libraries", "auto",
     "whether a CUDA device may use cuBLASLt and cuDNN: auto, never or always"},
    {"tf32", "1", "0 lets these keep to f32 arithmetic"},
    {"extents", "", "likely values of symbols, as in N:8;H:224; others count as 1"},
};

constexpr std::pair<std::string_view, Libraries> kLibraries[] = {
    {"auto", Libraries::automatic}, {"never", Libraries::never}, {"always", Libraries::always}};

constexpr PassOption kNarrow[] = {
    {"target", "this computer", "what the rule asks for arithmetic in the type"},
    {"type", "bf16", "of operands: bf16 or f16"},
    {"always", "0", "1 narrows whatever can be, large or small"},
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
  options.tf32 = context.flag("tf32", true);
  options.libraries = parse_libraries(context.text("libraries", "auto"));
  options.hints = context.extents("extents");
  if (context.explaining())
    options.explain = [&context](const Node& n, const std::string& what) {
      context.matched(n, what);
    };
  return select_algorithms(graph, options);
}

bool narrow(Graph& graph, PassContext& context) {
  if (context.in_body()) return false;  // what a step computes stays f32
  const std::string target = context.text("target", ""), type = context.text("type", "bf16");
  if (type != "bf16" && type != "f16")
    throw Error("narrow-operands: type is bf16 or f16, got '" + type + "'");
  NarrowOptions options;
  options.machine = target.empty() ? host_machine() : machine_for(target);
  options.type = type == "f16" ? DType::f16 : DType::bf16;
  options.always = context.flag("always", false);
  options.hints = context.extents("extents");
  if (context.explaining())
    options.explain = [&context](const Node& n, bool narrowed, const std::string& what) {
      narrowed ? context.matched(n, what) : context.declined(n, what);
    };
  return narrow_operands(graph, options);
}

constexpr Pass kPasses[] = {
    {"narrow-operands", "operands of products in 16 bits, where the machine gains by that", kNarrow,
     narrow},
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

}  // namespace

Libraries parse_libraries(std::string_view name) {
  for (const auto& [text, value] : kLibraries)
    if (text == name) return value;
  throw Error("libraries are 'auto', 'never' or 'always', got '" + std::string(name) + "'");
}

std::string_view pipeline_name(const CompileOptions& options) {
  if (options.reference) return "reference";
  switch (options.math) {
    case MathMode::strict: return "strict";
    case MathMode::fast: return "fast";
    case MathMode::standard: break;
  }
  return "default";
}

PassPipeline pipeline_for(const CompileOptions& options) {
  register_codegen_passes();
  PassPipeline pipeline =
      parse_pipeline(options.passes.empty() ? pipeline_name(options) : options.passes);
  if (options.recompute && options.passes.empty())
    pipeline.push_back({&find_pass("recompute"),
                        {{"bytes", std::to_string(options.recompute->bytes)},
                         {"segments", std::to_string(options.recompute->segments)}}});
  constexpr std::string_view kPass = "select-algorithms", kNarrowing = "narrow-operands";
  if (!options.target.empty())
    for (const std::string_view pass : {kPass, kNarrowing})
      set_default(pipeline, pass, "target", options.target);
  set_default(pipeline, kNarrowing, "type", std::string(name_of(options.narrow)));
  if (!options.hints.empty())
    for (const std::string_view pass :
         {kPass, kNarrowing, std::string_view("merge-projections"), std::string_view("recompute")})
      set_default(pipeline, pass, "extents", text_of(options.hints));
  if (options.math == MathMode::strict) set_default(pipeline, kPass, "winograd", "0");
  if (options.math == MathMode::strict || !options.tf32) set_default(pipeline, kPass, "tf32", "0");
  for (const auto& [text, value] : kLibraries)
    if (value == options.libraries) set_default(pipeline, kPass, "libraries", std::string(text));
  // One kernel for all of attention divides after the second product instead of before it, and
  // there is none for CUDA.
  const bool cuda = options.target.find("cuda") != std::string::npos;
  if (options.math == MathMode::strict || cuda)
    set_default(pipeline, "fuse-regions", "attention", "0");
  // There, the product before the loop keeps the whole device busy, that of a step does not.
  if (cuda) set_default(pipeline, "merge-projections", "rows", "0");
  return pipeline;
}

std::unique_ptr<Graph> load_graph(const std::string& path, const ImportOptions& options) {
  constexpr std::string_view kStart = "graph ";
  char start[kStart.size()] = {};
  std::ifstream(path, std::ios::binary).read(start, sizeof start);
  return std::string_view(start, sizeof start) == kStart ? load_text(path)
                                                         : import_onnx(path, options);
}

void save_graph(const Graph& graph, const std::string& path) {
  if (!path.ends_with(".onnx")) return save_text(graph, path);
  try {
    export_onnx(graph, path);
  } catch (const Error&) {
    // A pass may have made ops that the usual version of the operator set does not have.
    ExportOptions newest;
    newest.opset = kNewestOpset;
    export_onnx(graph, path, newest);
  }
}

}  // namespace tintype
