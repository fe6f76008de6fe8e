// Winograd's minimal filtering (Lavin & Gray 2016): transforms of input and output tiles.
#pragma once

#include "ir/graph.h"

#include <Halide.h>
#include <functional>
#include <vector>

namespace tintype::winograd {

/// Reads the operand at an index, outermost first.
using Reader = std::function<Halide::Expr(const std::vector<Halide::Expr>&)>;

/// V[point, N, TH, TW, C] = B^T d B. `vars` innermost first; intermediate Funcs go to `stages`.
Halide::Func input_transform(const Node& node, const std::vector<Halide::Var>& vars,
                             const Reader& read, std::vector<Halide::Func>& stages);
/// Y[N, H, W, C] = A^T m A at the tile and the place inside it that (H, W) names.
Halide::Func output_transform(const Node& node, const std::vector<Halide::Var>& vars,
                              const Reader& read, std::vector<Halide::Func>& stages);

}  // namespace tintype::winograd
