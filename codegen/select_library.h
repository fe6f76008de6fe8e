// The part of select-algorithms that decides between our kernels and NVIDIA's libraries.
#pragma once

#include "codegen/select_algorithms.h"

namespace tintype {

/// Whether a library is to do a node. The reckoning behind that is told to those who ask.
bool library_wins(const Node& n, const SelectAlgorithmsOptions& options);

/// Marks the node, or what takes its place, for the library. Weights of a convolution come to lie
/// with the channels innermost, as the library wants them: panels of one filter.
void rewrite_for_library(Graph& graph, Node* n, const SelectAlgorithmsOptions& options);

}  // namespace tintype
