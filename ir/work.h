// How much arithmetic ops do.
#pragma once

#include "ir/graph.h"

namespace tintype {

/// Multiplications and additions of the contractions in a graph of core ops.
Dim contraction_flops(const Graph& graph);

}  // namespace tintype
