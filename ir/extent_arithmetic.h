// Arithmetic on extents as models do it: in tensors of several axes, with integers that divide
// towards zero, and with floats.
#pragma once

#include "ir/graph.h"

#include <optional>
#include <vector>

namespace tintype {

/// Distance between neighbours of each axis, in row-major order; nothing when an extent is not
/// known.
std::optional<std::vector<int64_t>> strides_of(const Shape& shape);
/// The elements of `x` that a view with this first element and these strides sees.
std::optional<std::vector<Dim>> strided_content(const std::vector<Dim>& x, const Shape& shape,
                                                int64_t first, const std::vector<int64_t>& strides);
/// The content of a value that is broadcast to a shape, when both are known.
std::optional<std::vector<Dim>> broadcast_content(const Value& v, const Shape& shape);

/// a / b rounded towards zero, as integers divide; b positive.
Dim trunc_div(const Dim& a, const Dim& b);

/// The elements of an integer tensor that is cast from floating point, as ceil(H / 2) is, when that
/// is computed from extents and constants in a way that rounding does not change where extents are
/// below 2^14.
std::optional<std::vector<Dim>> extents_through_floats(const Node& cast);

}  // namespace tintype
