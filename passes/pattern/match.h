// Finding a pattern in a graph.
#pragma once

#include "passes/pattern/pattern.h"

#include <optional>
#include <string>
#include <vector>

namespace tintype::pattern {

struct Match {
  std::vector<Node*> nodes;  ///< by position in Pattern::nodes
  Captures captures;         ///< by number of the tensor
};

/// The pattern with `root` as its last node, or nothing; then `why` says which constraint was the
/// first to fail in the attempt that came farthest.
std::optional<Match> match(const Pattern& pattern, Node& root, std::string& why);

}  // namespace tintype::pattern
