// Writes graphs as ONNX models, at any stage between import and code generation.
#pragma once

#include "ir/graph.h"

#include <string>

namespace tintype {

struct ExportOptions {
  /// Version of the default operator set, 17 to 28. ONNX-level nodes are converted down to it.
  int opset = 21;
  /// When the weights take more bytes than this in all, they go to `<path>.data` beside the model,
  /// because one protobuf file holds 2 GB at most.
  size_t external_above = size_t{1500} << 20;
};

/// Writes the graph to `path`, replacing it at once or not at all. Names, origins (as node names)
/// and types are kept.
///
/// Core ops with a counterpart in ONNX become that; the others become nodes of the domain
/// "tintype", and regions become model-local functions of that domain. A graph with such nodes
/// shows in Netron, but only Tintype knows what they compute; it is written in opset 28.
///
/// Throws Error when the file cannot be written, or when a node cannot be expressed in the opset.
void export_onnx(const Graph& graph, const std::string& path, const ExportOptions& options = {});

}  // namespace tintype
