// The passes between a model and its kernels, as a pipeline whose text names every one of them.
#pragma once

#include "passes/pass_manager.h"
#include "tools/driver/driver.h"

#include <optional>
#include <string>

namespace tintype {

/// The pipeline `text`, or the one that `options` asks for ("default", "strict", "reference") where
/// there is none. Steps whose options the text leaves open get the target and the likely extents of
/// `options`. Throws Error for unknown passes and options. Thread-safe.
PassPipeline pipeline_for(const CompileOptions& options, const std::string& text = "");

/// What the first pass that changed results did.
struct PassFault {
  std::string pass;
  int step = 0;         ///< its position in the pipeline
  std::string message;  ///< output, element, value before and after
};

/// Runs the pipeline and, around each pass that changes the graph, the graph itself, unfused and
/// unscheduled, on the same seeded inputs; extents that are symbols take their value from
/// options.hints, else 1. Stops behind the first pass after which an element differs by more than
/// `tolerance` of its output's largest element; the graph is then as that pass left it.
std::optional<PassFault> verify_passes(Graph& graph, const PassPipeline& pipeline,
                                       const CompileOptions& options, const PipelineOptions& passes,
                                       double tolerance = 1e-4, uint64_t seed = 1);

/// A graph from a file: an ONNX model, or the text of a graph (ir/parse.h), told apart by content.
std::unique_ptr<Graph> load_graph(const std::string& path, const ImportOptions& options = {});
/// Writes ONNX when the name ends in .onnx, else text.
void save_graph(const Graph& graph, const std::string& path);

}  // namespace tintype
