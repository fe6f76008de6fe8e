// Winograd's minimal filtering (Lavin & Gray 2016): transforms of tiles and weights.
#pragma once

#include "ir/graph.h"

#include <Halide.h>
#include <functional>
#include <vector>

namespace tintype::winograd {

/// Reads the operand at an index, outermost first.
using Reader = std::function<Halide::Expr(const std::vector<Halide::Expr>&)>;

/// V[point, N, TH, TW, C] = B^T d B, the same with A dy A^T, or U[point, panel, C, lane] = G w G^T.
/// `vars` innermost first; intermediate Funcs go to `stages`. Filters from `filters` on, where that
/// is defined, are zero. With `apart`, a second stage holds the weights as they are read.
Halide::Func to_points(const Node& node, const std::vector<Halide::Var>& vars, const Reader& read,
                       const Halide::Expr& filters, std::vector<Halide::Func>& stages,
                       bool apart = false);
/// The products at the points of a convolution in one piece, C and the steps before and after
/// included: Y[N, H, W, F] of `x` and packed weights `u`, both readers; `depth` channels. Stages:
/// those of to_points, V, the products of a register tile, all products, those of output_transform.
Halide::Func convolution(const Node& node, const std::vector<Halide::Var>& vars, const Reader& x,
                         const Reader& u, const Halide::Expr& depth,
                         std::vector<Halide::Func>& stages);
/// Y[N, H, W, C] = A^T m A at the tile and the place inside it that (H, W) names.
Halide::Func output_transform(const Node& node, const std::vector<Halide::Var>& vars,
                              const Reader& read, std::vector<Halide::Func>& stages);
/// dw[H, W, C, F] = G^T dU G.
Halide::Func weight_adjoint(const Node& node, const std::vector<Halide::Var>& vars,
                            const Reader& read, std::vector<Halide::Func>& stages);

}  // namespace tintype::winograd
