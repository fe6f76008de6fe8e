// Products of written-out recurrent steps: the same weights again and again, each product behind
// the one before.
#pragma once

#include "ir/graph.h"

#include <cstddef>
#include <unordered_set>
#include <vector>

namespace tintype {

/// Fewer steps are left as they are written.
inline constexpr size_t kLeastSteps = 3;

/// dot(x, w) with all of w as it is.
inline bool is_plain_product(const Node& n) {
  return n.is("dot") && n.attrs().integer("block") == 0;
}

/// The nodes that depend on a node, itself included.
std::unordered_set<const Node*> nodes_behind(const Graph& graph, const Node& first);

/// Products with the same weights, in order, as far as all depend on the first; in the order in
/// which the graph mentions the weights. At least kLeastSteps each.
std::vector<std::vector<Node*>> recurrent_chains(const Graph& graph);

}  // namespace tintype
