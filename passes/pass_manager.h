// Pipelines: passes in order, written as text, run with verification, timing and observers.
#pragma once

#include "passes/pass.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// A pass with its option values.
struct PassStep {
  const Pass* pass;
  std::map<std::string, std::string> options;
};

using PassPipeline = std::vector<PassStep>;

struct NamedPipeline {
  std::string_view name;
  std::string_view summary;
  std::string text;
};

/// The built-in pipelines.
std::span<const NamedPipeline> named_pipelines();

/// Reads `pass,pass{option=value,option=value},pipeline`. A named pipeline stands for its passes.
/// Throws Error for unknown passes and options, with the nearest name.
PassPipeline parse_pipeline(std::string_view text);
/// Gives an option of all steps of a pass a value, unless the text gave one.
void set_default(PassPipeline& pipeline, std::string_view pass, const std::string& option,
                 const std::string& value);
/// The form that parse_pipeline reads, named pipelines spelled out.
std::string text_of(const PassPipeline& pipeline);

struct PassTiming {
  std::string_view pass;
  double seconds = 0;
  bool changed = false;
  size_t nodes = 0;  ///< afterwards
};

/// Called around each pass that runs.
struct PassObserver {
  virtual ~PassObserver() = default;
  virtual void before(const PassStep&, const Graph&) {}
  virtual void after(const PassStep&, const Graph&, const PassTiming&) {}
};

struct PipelineOptions {
  bool verify = false;                ///< verify the graph after each pass; an error names the pass
  int stop_after = -1;                ///< number of passes to run; negative: all
  std::vector<std::string> disabled;  ///< names of passes to leave out; unknown names throw Error
  ExplainSink explain;
  PassObserver* observer = nullptr;
};

/// Runs the passes in order. Throws what they throw.
std::vector<PassTiming> run_pipeline(Graph& graph, const PassPipeline& pipeline,
                                     const PipelineOptions& options = {});

}  // namespace tintype
