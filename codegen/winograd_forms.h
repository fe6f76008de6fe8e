// Which forms of Winograd's algorithm a convolution can take, and which is the cheapest.
#pragma once

#include "codegen/conv_cost.h"
#include "codegen/select_algorithms.h"
#include "ir/graph.h"

#include <vector>

namespace tintype {

/// The pad by zeros that makes x, or null.
const Node* zero_pad(const Value* x);

/// The sizes of a 2-D convolution with results `out`, or of its weight gradient; symbols as likely.
ConvProblem conv_problem(const Node& n, const Shape& out, const SelectAlgorithmsOptions& options);

/// The forms that a conv with results `out`, or its weight gradient, can take: windows of three to
/// seven along one axis or both, one step at a time, and channels that fill vectors.
std::vector<WinogradForm> winograd_forms(const Node& n, const Shape& out,
                                         const SelectAlgorithmsOptions& options);

/// The form that beats the direct algorithm; its m is 0 when there is none.
WinogradForm pick_winograd_form(const Node& n, const Shape& out, int weight_transforms,
                                const SelectAlgorithmsOptions& options);

}  // namespace tintype
