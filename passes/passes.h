// The built-in passes. Each is described in its own file and in the table in registry.cpp.
#pragma once

#include "passes/pass.h"

namespace tintype {

bool common_subexpressions(Graph& graph, PassContext& context);
bool dead_code(Graph& graph, PassContext& context);
bool decompose(Graph& graph, PassContext& context);
bool fold_batch_norm(Graph& graph, PassContext& context);
bool fold_constants(Graph& graph, PassContext& context);
bool fuse_gates(Graph& graph, PassContext& context);
bool fuse_regions(Graph& graph, PassContext& context);
bool hoist_updates(Graph& graph, PassContext& context);
bool layout_states(Graph& graph, PassContext& context);
bool read_last_steps(Graph& graph, PassContext& context);
bool recognize_attention(Graph& graph, PassContext& context);
bool merge_projections(Graph& graph, PassContext& context);
bool normalize_cells(Graph& graph, PassContext& context);
bool recompute(Graph& graph, PassContext& context);
bool reshape_updates(Graph& graph, PassContext& context);
bool roll_loops(Graph& graph, PassContext& context);
bool segment_scans(Graph& graph, PassContext& context);
bool simplify_control(Graph& graph, PassContext& context);
bool simplify(Graph& graph, PassContext& context);
bool sink_repeats(Graph& graph, PassContext& context);
bool sink_transposes(Graph& graph, PassContext& context);
bool split_phases(Graph& graph, PassContext& context);
bool stack_steps(Graph& graph, PassContext& context);

}  // namespace tintype
