// recompute: trades time for memory in training programs.
#pragma once

#include "ir/graph.h"
#include "passes/evaluate.h"
#include "passes/pass.h"

#include <cstdint>

namespace tintype {

struct RecomputeOptions {
  /// Memory that buffers may take; 0: as little as possible.
  int64_t bytes = 0;
  /// Segments that the forward pass is cut into at most; 0: as many as are best.
  int64_t segments = 0;
};

/// What the pass did to its estimate: sizes of all buffers that are alive at the same time.
struct Recomputation {
  int64_t bytes_before = 0, bytes_after = 0;
  int nodes = 0;  ///< computed a second time; 0: the graph is unchanged
};

/// The most bytes of results that are alive at once when nodes run in their order. Extents that
/// `symbols` does not know count as 1.
int64_t peak_bytes(const Graph& graph, const SymbolLookup& symbols);

/// Computes values of the forward pass a second time, right before the backward pass reads them, so
/// that they need not be kept until then. For graphs of regions, whose nodes run in their order:
/// what is computed again is the same kernel on the same operands, so that no bit changes, random
/// numbers included. Nodes that gradients have added (is_of_backward_pass) and those that descend
/// from them are the backward pass; without such a node nothing happens. Repeated nodes have the
/// origins "again:<origin>".
///
/// Two kinds of plans compete. Either all results of contractions are kept and the rest, cheap to
/// compute, is not; or the forward pass is cut into segments and only what crosses a cut is kept
/// (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost), for many limits on the size
/// of a segment, with the cuts that keep least. Of the plans within `bytes` the one that computes
/// least wins; when there is none, or no limit, the one that needs least memory.
Recomputation recompute(Graph& graph, const RecomputeOptions& options, const SymbolLookup& symbols);

}  // namespace tintype
