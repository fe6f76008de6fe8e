// fuse-regions: groups core ops into regions, each of which becomes one kernel.
#pragma once

#include "ir/graph.h"

namespace tintype {

/// Wraps every op that codegen runs into a region: an anchor (contraction, window, reductions over
/// the same axes) with the pointwise ops around it, or pointwise ops alone. Views, concats, margins
/// and host ops stay outside. Returns the number of regions made. With `single_ops`, every op is
/// its own region: the unfused reference program.
int fuse_regions(Graph& graph, int max_ops = 64, bool single_ops = false);

}  // namespace tintype
