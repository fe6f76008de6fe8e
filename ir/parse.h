// Reading graphs from the text that print writes.
#pragma once

#include "ir/graph.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace tintype {

/// Tensors that the text mentions by name.
using TensorTable = std::map<std::string, Tensor>;

/// The graph of a text; print of the result is the same text. Types of results are inferred; where
/// they are stated, they must agree. Throws Error, "line 12: what was expected and found".
std::unique_ptr<Graph> parse_graph(std::string_view text, const TensorTable& tensors = {});

/// Writes the text to `path`, and the tensors too large for it to `path`.tensors when there are
/// any and `path` is a file, not a device or pipe. Throws Error when a file cannot be written.
void save_text(const Graph& graph, const std::string& path);
/// Reads what save_text wrote, or any text of parse_graph. Throws Error naming the file.
std::unique_ptr<Graph> load_text(const std::string& path);

}  // namespace tintype
