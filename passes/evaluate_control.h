// Evaluation of scans, loops and branches, trip by trip.
#pragma once

#include "passes/evaluate.h"

namespace tintype {

/// Results of a control node (scan, loop, if) for given operands. Throws like evaluate_graph.
std::vector<Tensor> evaluate_control(const Node& node, std::span<const Tensor> operands,
                                     const SymbolLookup& symbols);

}  // namespace tintype
