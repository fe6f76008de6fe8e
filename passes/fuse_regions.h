// fuse-regions: groups core ops into regions, each of which becomes one kernel.
#pragma once

#include "ir/graph.h"

namespace tintype {

struct FuseRegionsOptions {
  int max_ops = 64;         ///< ops of one region
  bool single_ops = false;  ///< every op its own region: the unfused reference program
};

/// Wraps every op that codegen runs into a region: an anchor (contraction, window, reductions over
/// the same axes) with the pointwise ops around it, or pointwise ops alone. Views, concats, margins
/// and host ops stay outside. Returns the number of regions made.
int fuse_regions(Graph& graph, const FuseRegionsOptions& options = {});

}  // namespace tintype
