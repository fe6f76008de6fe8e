// Which inputs of a graph are places on an axis of something, as token numbers are of an embedding.
#pragma once

#include "ir/graph.h"

#include <vector>

namespace tintype {

/// An input whose elements `gather` reads as places on an axis.
struct IndexInput {
  const Value* input;
  const Node* gather;
  Dim extent;  ///< of the axis
};

/// Of a graph before or after regions are made. Indices that are moved or change between types of
/// integers on their way are found; those that are computed with, and what loops and branches
/// gather, are not: kernels keep to the axis there, and take its nearest end.
std::vector<IndexInput> find_index_inputs(const Graph& graph);

}  // namespace tintype
