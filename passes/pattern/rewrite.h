// Rewriting a graph by a pattern.
#pragma once

#include "passes/pass.h"
#include "passes/pattern/pattern.h"

namespace tintype::pattern {

/// Replaces the pattern wherever it is found, in the graph's order, until it is found no more. A
/// match whose replacement would not have the replaced tensors' types is left alone. Throws Error,
/// naming the pattern, when the rewriting does not come to an end within the pass's option
/// `max-rewrites` (by default 1000 + 16 for every node of the graph).
bool apply_pattern(Graph& graph, PassContext& context, const Pattern& pattern);

}  // namespace tintype::pattern
