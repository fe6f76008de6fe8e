// Structural checks of a graph.
#pragma once

#include "ir/graph.h"

#include <string>

namespace tintype {

/// The first broken invariant, as one line naming the node, or "" when there is none. Checked are:
/// operands defined before use, use lists, operand and result counts, attributes against the op's
/// schema, types and contents equal to what inference gives, region bodies, and outputs.
std::string find_problem(const Graph& graph);
/// InternalError when find_problem finds one.
void verify(const Graph& graph);

}  // namespace tintype
