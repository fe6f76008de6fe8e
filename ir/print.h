// Text form of a graph: one line per node, regions nested.
#pragma once

#include "ir/graph.h"

#include <map>
#include <string>

namespace tintype {

struct PrintOptions {
  bool origins = true;          ///< trailing `// from` comments
  int64_t inline_elements = 8;  ///< constants up to this many elements print their values
  /// Where larger constants go, under the names that the text gives them. Without a table their
  /// elements are left out, and the text cannot be parsed.
  std::map<std::string, Tensor>* tensors = nullptr;
};

/// The whole graph. Results are named %0, %1 ... in order, inputs by their names where they have
/// one. parse_graph reads the text back.
std::string print(const Graph& graph, const PrintOptions& options = {});
/// Attributes as they appear in text: `{axis = 1, mode = "edge"}`, or "" when there are none.
std::string print(const AttrMap& attrs, int64_t inline_elements = 8);

/// In quotation marks, with escapes that parse_graph resolves.
std::string quoted_text(const std::string& s);

}  // namespace tintype
