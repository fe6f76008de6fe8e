// What movement ops read: an element of the result is one of the operand, at an index computed from
// its own.
#pragma once

#include "ir/graph.h"

#include <Halide.h>
#include <functional>
#include <vector>

namespace tintype::movement {

/// An index per dim, outermost first, as the IR counts.
using Index = std::vector<Halide::Expr>;

/// How a definition reads operands: elements, run-time extents, and amounts in attributes.
struct Operands {
  std::function<Halide::Expr(const Value*, const Index&)> element;
  std::function<Halide::Expr(const Value*, size_t dim)> extent;
  std::function<Halide::Expr(const Dim&)> amount;
};

/// The element of n's result at `index`. `columns`: of a pack, the extent of the axis that is cut
/// into panels, undefined where they are whole. Throws InternalError for an op without definition.
Halide::Expr define(const Node& n, const Index& index, const Operands& of,
                    const Halide::Expr& columns);

/// Index into an operand that broadcasts against a result.
Index broadcast_index(const Value* operand, const Index& index);

}  // namespace tintype::movement
