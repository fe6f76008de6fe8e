// Structural checks of a graph.
#pragma once

#include "ir/graph.h"

#include <string>
#include <vector>

namespace tintype {

/// The first broken invariant, as one line naming the node, or "" when there is none. Checked are:
/// operands defined before use, use lists, operand and result counts, attributes against the op's
/// schema, types and contents equal to what inference gives, region bodies, and outputs.
std::string find_problem(const Graph& graph);
/// What of a node's attributes its op's record does not have, or has otherwise; "" when they fit.
std::string attribute_problem(const Node& node);
/// InternalError when find_problem finds one.
void verify(const Graph& graph);

/// True of equal types, and of types that differ in extents that a constraint makes equal: between
/// those inference may choose.
bool agree(const TensorType& a, const TensorType& b, const std::vector<DimConstraint>& known);

}  // namespace tintype
