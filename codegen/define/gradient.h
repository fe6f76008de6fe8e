// Definitions of the ops that only gradients need: sums over windows and indices.
#pragma once

#include "ir/graph.h"

#include <Halide.h>
#include <functional>
#include <vector>

namespace tintype::gradient {

/// How a definition reads operands: elements at an index, outermost first, and run-time extents.
struct Operands {
  std::function<Halide::Expr(const Value*, const std::vector<Halide::Expr>&)> element;
  std::function<Halide::Expr(const Value*, size_t dim)> extent;
};

/// A pure initialisation and one update over `domain`.
struct Sum {
  Halide::Func func;
  Halide::RDom domain;
};

/// `vars` innermost first, in all of these.
Sum conv_weight_gradient(const Node& n, const std::vector<Halide::Var>& vars, const Operands& of);
/// The search for the largest element of a window goes to `stages`.
Sum window_max_gradient(const Node& n, const std::vector<Halide::Var>& vars, const Operands& of,
                        std::vector<Halide::Func>& stages);
/// `rows`: extent of the axis that the indices name.
Sum scatter_add(const Node& n, const std::vector<Halide::Var>& vars, const Operands& of,
                const Halide::Expr& rows);

}  // namespace tintype::gradient
