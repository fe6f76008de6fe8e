// Attention among core ops, for fuse-regions.
#pragma once

#include "ir/graph.h"

#include <optional>
#include <vector>

namespace tintype {

/// The nodes of softmax(f(q k^T)) v, all that lead from the first product to this one, when nothing
/// else uses what they compute: f is pointwise, with whatever else it reads.
std::optional<std::vector<Node*>> attention_group(Node& context);

}  // namespace tintype
