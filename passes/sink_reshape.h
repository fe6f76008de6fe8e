// How a transpose commutes with a reshape.
#pragma once

#include "passes/patterns.h"

#include <optional>

namespace tintype {

/// reshape(transpose(x, perm), shape) = transpose(reshape(transpose(x, inner), this->shape), outer)
struct ReshapePlan {
  Perm inner;  ///< moves elements only inside groups of axes that the reshape joins or splits
  Shape shape;
  Perm outer;  ///< not the identity
};

/// The plan, or nothing when no whole group of axes would move after the reshape. Groups keep the
/// order of their innermost axes in x, so that what is contiguous stays so.
std::optional<ReshapePlan> plan_reshape(const Shape& x, const Perm& perm, const Shape& shape);

/// transpose(reshape(x, shape), perm) = reshape(transpose(x, result), permuted shape): the result,
/// or nothing when perm tears axes apart that the reshape splits.
std::optional<Perm> raise_above_reshape(const Shape& x, const Shape& shape, const Perm& perm);

}  // namespace tintype
