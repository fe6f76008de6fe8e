// Reverse accumulation over a graph, by the gradient functions of the op records.
#pragma once

#include "ir/graph.h"

#include <span>
#include <string>
#include <unordered_set>
#include <vector>

namespace tintype {

/// The nodes through which gradients go.
struct GradientPath {
  std::unordered_set<const Value*> reached;  ///< values that depend on one of `wrt`
  std::vector<const Node*> nodes;            ///< from `wrt` to `results`, last first
};

GradientPath gradient_path(const Graph& graph, std::span<Value* const> results,
                           std::span<Value* const> wrt);

/// Why gradients can not pass a node; empty when they can.
std::string reason_against_gradient(const Node& n);

/// The gradient of a value that is known from outside.
struct GradientSeed {
  const Value* value;
  Value* gradient;
};

/// Gradients with respect to `wrt`, as new values at the end of the graph; null where there is
/// none. All nodes of the path can be differentiated. What only other operands would need is not
/// left behind. Added nodes carry the origins of their forward node as "grad:<origin>".
std::vector<Value*> accumulate_gradients(Graph& graph, const GradientPath& path,
                                         std::span<const GradientSeed> seeds,
                                         std::span<Value* const> wrt);

/// True for nodes that accumulate_gradients added, by their origins, and for what passes made of
/// such nodes alone.
bool is_of_backward_pass(const Node& n);

}  // namespace tintype
