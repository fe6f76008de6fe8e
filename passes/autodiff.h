// Reverse-mode differentiation of graphs of core ops, by the gradient functions of their records.
#pragma once

#include "ir/graph.h"

#include <span>
#include <string>
#include <vector>

namespace tintype {

/// A node that gradients would have to pass through, but cannot.
struct NotDifferentiable {
  const Node* node;
  std::string reason;
};

/// The nodes without a gradient between `wrt` and `results`, in graph order.
std::vector<NotDifferentiable> not_differentiable(const Graph& graph,
                                                  std::span<Value* const> results,
                                                  std::span<Value* const> wrt);
/// The nodes that keep a model from being trained: those without a gradient between its float
/// inputs and parameters (constants of rank 1 or more) and its float outputs.
std::vector<NotDifferentiable> not_differentiable(const Graph& graph);

/// d loss / d wrt[i] as new values at the end of the graph, typed like wrt[i]; null where the loss
/// does not depend on wrt[i], or only through ops that are constant almost everywhere. `loss` has
/// one element; it and all of `wrt` (inputs or results of nodes) are floats. Core ops only: run
/// "decompose" first. Added nodes carry the origins of their forward node as "grad:<origin>".
///
/// Throws Error when an argument is unsuitable, and with the list of all nodes that
/// not_differentiable finds. The result is differentiable again.
std::vector<Value*> gradients(Graph& graph, Value* loss, std::span<Value* const> wrt);

}  // namespace tintype
