// Loops that CUDA schedules have in common.
#pragma once

#include "codegen/kernel.h"

#include <Halide.h>
#include <vector>

namespace tintype::cuda {

std::vector<Halide::VarOrRVar> loops_of(const std::vector<Halide::Var>& vars);

/// One loop over all iterations of `loops`, innermost first.
Halide::VarOrRVar fused(Halide::Stage stage, const std::vector<Halide::VarOrRVar>& loops);

/// All iterations of `loops` become threads of blocks along one axis of the grid, the only one that
/// is wide enough for any tensor; loops of `inside` run within a thread. For stages that compute
/// nothing of others: what an index is cannot be told from that of such a loop when bounds are
/// inferred.
void thread_per_element(Halide::Stage stage, const std::vector<Halide::VarOrRVar>& loops,
                        const std::vector<Halide::VarOrRVar>& inside = {});

/// Threads along the first two of `loops`, as many as spec.vectors and spec.rows say; the rest are
/// blocks. Other Funcs may be computed at the loop that it returns, for one element of each.
Halide::Var thread_tile(Halide::Func& f, const std::vector<Halide::Var>& loops,
                        const std::vector<Halide::VarOrRVar>& inside, const KernelSpec& spec);

}  // namespace tintype::cuda
