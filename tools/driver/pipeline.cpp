// Code generation's part of the pipeline.
#include "tools/driver/pipeline.h"

#include "codegen/narrow_operands.h"
#include "codegen/select_algorithms.h"
#include "ir/diagnostic.h"
#include "tools/driver/tuning_file.h"

#include <cstdio>
#include <filesystem>

namespace tintype {

namespace {

constexpr PassOption kSelect[] = {
    {"target", "this computer", "Halide target string that the cost model reckons for"},
    {"winograd", "1", "0 keeps to algorithms that add in the order of the window"},
    {"terms", "2", "bf16 terms, 1 to 3, that AMX takes f32 apart into; 0 keeps to vectors of f32"},
    {"libraries", "auto",
     "whether a CUDA device may use cuBLASLt and cuDNN: auto, never or always"},
    {"tf32", "1", "0 lets these keep to f32 arithmetic"},
    {"extents", "", "likely values of symbols, as in N:8;H:224; others count as 1"},
    {"tuning", "",
     "file of tintype tune, whose measured choices go before those of the cost model"},
    {"threads", "0", "that these were measured with; 0: as many as programs use by default"},
    {"any-processor", "1", "0 leaves out what was measured on another processor"},
};

constexpr std::pair<std::string_view, Libraries> kLibraries[] = {
    {"auto", Libraries::automatic}, {"never", Libraries::never}, {"always", Libraries::always}};

/// The file that options.tuning stands for, or "": the default one is left out where it is missing
/// or damaged.
std::string tuning_path(const CompileOptions& options) {
  if (options.tuning != "auto") return options.tuning;
  const std::string path = default_tuning_path(options.cache_directory);
  if (path.empty() || !std::filesystem::exists(path)) return "";
  try {
    load_tuning(path);
    return path;
  } catch (const Error&) {
    return "";  // tuning_problem says so
  }
}
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

/// Processors on which a step should not multiply its input itself, with many sequences either:
/// those with AMX, and those whose cores start two multiply-adds of 16 lanes a cycle and keep 2 MiB
/// in the second-level cache, take longer to read a step's weights than to use them (LSTM, 16
/// sequences, 256 units: 3.2 ms unmerged, 4.3 merged). With 16 registers the sums of a step have
/// smaller tiles than those of the product before the loop (Zen 3, GRU, 64 sequences, 512 units: 71
/// ms unmerged, 102 merged).
bool projects_before(const CompileOptions& options) {
  const Machine m = options.target.empty() ? host_machine() : machine_for(options.target);
  return (m.amx && options.math != MathMode::strict) || m.registers <= 16 ||
         (m.lanes * m.multiply_adds >= 32 && m.l2_bytes >= int64_t{2} << 20);
}

/// What became of a node, and why.
void explain(const PassContext& context, const Decision& d) {
  std::string what = "reckoned: " + d.choice.text();
  if (d.tuned != nullptr) {
    char times[64];
    std::snprintf(times, sizeof times, " in %.4f ms, ", d.tuned->milliseconds);
    what = "tuned: " + d.choice.text() + times;
    std::snprintf(times, sizeof times, " in %.4f ms", d.tuned->reckoned_milliseconds);
    what += "untuned: " + d.reckoned.text() + times;
  }
  if (d.choice.kind == Algorithm::Kind::plain) context.declined(*d.node, what);
  else context.matched(*d.node, what);
}

/// Measured choices for what the step's options say, where they name a file.
Tuning tuning_of(const PassContext& context, const SelectAlgorithmsOptions& options) {
  const std::string path = context.text("tuning", "");
  if (path.empty()) return {};
  const auto threads = static_cast<int>(context.integer("threads", 0));
  return load_tuning(path).choices_for(tuning_setting(options, threads),
                                       context.flag("any-processor", true));
}

bool select(Graph& graph, PassContext& context) {
  SelectAlgorithmsOptions options = select_options(context);
  const Tuning tuning = tuning_of(context, options);
  if (!tuning.empty()) options.tuning = &tuning;
  if (context.explaining()) {
    options.explain = [&context](const Node& n, const std::string& what) {
      context.matched(n, what);
    };
    options.decided = [&context](const Decision& d) { explain(context, d); };
  }
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

SelectAlgorithmsOptions select_options(const PassContext& context) {
  const std::string target = context.text("target", "");
  SelectAlgorithmsOptions options;
  options.machine = target.empty() ? host_machine() : machine_for(target);
  options.strict = !context.flag("winograd", true);
  options.terms = static_cast<int>(context.integer("terms", options.terms));
  if (options.terms < 0 || options.terms > 3)
    throw Error("select-algorithms: terms must be 0, 1, 2 or 3, not " +
                std::to_string(options.terms));
  options.tf32 = context.flag("tf32", true);
  options.libraries = parse_libraries(context.text("libraries", "auto"));
  options.hints = context.extents("extents");
  return options;
}

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
  if (const std::string path = tuning_path(options); !path.empty()) {
    set_default(pipeline, kPass, "tuning", path);
    set_default(pipeline, kPass, "threads", std::to_string(options.threads));
    if (options.tuning == "auto") set_default(pipeline, kPass, "any-processor", "0");
  }
  if (options.math == MathMode::strict) set_default(pipeline, kPass, "winograd", "0");
  if (options.math == MathMode::fast) set_default(pipeline, kPass, "terms", "1");
  if (options.math == MathMode::strict || !options.tf32) set_default(pipeline, kPass, "tf32", "0");
  for (const auto& [text, value] : kLibraries)
    if (value == options.libraries) set_default(pipeline, kPass, "libraries", std::string(text));
  // One kernel for all of attention divides after the second product instead of before it, and
  // there is none for CUDA.
  const bool cuda = options.target.find("cuda") != std::string::npos;
  if (options.math == MathMode::strict || cuda)
    set_default(pipeline, "fuse-regions", "attention", "0");
  // There, the product before the loop keeps the whole device busy, that of a step does not.
  if (cuda || projects_before(options)) set_default(pipeline, "merge-projections", "rows", "0");
  return pipeline;
}

std::string tuning_problem(const CompileOptions& options) {
  if (options.tuning.empty()) return "";
  try {
    if (options.tuning == "auto") {
      const std::string path = default_tuning_path(options.cache_directory);
      if (!path.empty() && std::filesystem::exists(path)) load_tuning(path);
      return "";
    }
    for (const PassStep& step : pipeline_for(options)) {
      if (step.pass->run != select) continue;
      const PassContext context(*step.pass, step.options, nullptr);
      if (tuning_of(context, select_options(context)).empty())
        return options.tuning + ": has no choices for this target, math, number of threads and " +
               "version of tintype; the cost model chooses";
    }
    return "";
  } catch (const Error& e) {
    return e.what() + std::string("; the cost model chooses");
  }
}

}  // namespace tintype
