// Graphs in files: ONNX models and the text of graphs, told apart by how they start.
#pragma once

#include "frontend/onnx/import.h"
#include "ir/graph.h"

#include <memory>
#include <string>
#include <string_view>

namespace tintype {

/// A graph from a file: an ONNX model, or the text of a graph (ir/parse.h). Throws Error, which
/// says what the file looks like where it is neither.
std::unique_ptr<Graph> load_graph(const std::string& path, const ImportOptions& options = {});
/// Whether a file is the text of a graph.
bool is_graph_text(const std::string& path);
/// A graph of the bytes of a model or a text, which messages call `name`.
std::unique_ptr<Graph> read_graph(std::string_view bytes, const std::string& name,
                                  const ImportOptions& options = {});
/// That of a file with all problems instead of the first, as import_onnx_collect. A text has no
/// opset.
ImportReport load_graph_collect(const std::string& path);

/// Writes ONNX when the name ends in .onnx, else text. ONNX is written in the usual opset
/// (ExportOptions), or in the newest one where the graph has ops that only that has.
void save_graph(const Graph& graph, const std::string& path);

}  // namespace tintype
