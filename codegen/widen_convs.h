// Convolutions of few filters, several positions at once.
#pragma once

#include "codegen/select_algorithms.h"

namespace tintype {

/// Lets convolutions whose filters do not fill a vector compute neighbouring positions of a line as
/// further filters, where that leaves fewer lanes empty than it adds taps. Weights grow by zeros
/// and are made anew when they change; what follows pointwise works on the wide result, too.
/// True when something was rewritten.
bool widen_convs(Graph& graph, const SelectAlgorithmsOptions& options);

}  // namespace tintype
