// Gradient functions of the core op records, and helpers they share.
//
// Conventions at kinks and ties are PyTorch's: relu'(0) = abs'(0) = 0, a tie of binary max or min
// gives half to each side, reduce_max and reduce_min share evenly among equal elements, a window
// maximum belongs to the first largest element.
#pragma once

#include "ir/ops/decompose.h"

namespace tintype::ops {

/// What a GradientFunction is, as a type to declare functions with.
using Gradient = Values(Builder&, const Node&, const Values&);

// gradient_pointwise.cpp
Gradient add_gradient, sub_gradient, mul_gradient, div_gradient, mod_gradient, pow_gradient,
    max_gradient, min_gradient, identity_gradient, neg_gradient, abs_gradient, relu_gradient,
    select_gradient, cast_gradient;
// gradient_functions.cpp
Gradient exp_gradient, log_gradient, sqrt_gradient, rsqrt_gradient, reciprocal_gradient,
    sin_gradient, cos_gradient, tan_gradient, asin_gradient, acos_gradient, atan_gradient,
    sinh_gradient, cosh_gradient, tanh_gradient, asinh_gradient, acosh_gradient, atanh_gradient,
    erf_gradient, sigmoid_gradient;
// gradient_reduction.cpp
Gradient reduce_sum_gradient, reduce_prod_gradient, reduce_extreme_gradient, cumsum_gradient,
    cumprod_gradient, top_k_gradient;
// gradient_movement.cpp
Gradient reshape_gradient, transpose_gradient, broadcast_gradient, slice_gradient, reverse_gradient,
    pad_gradient, dilate_gradient, concat_gradient;
// gradient_index.cpp
Gradient gather_gradient, gather_elements_gradient, gather_nd_gradient, scatter_elements_gradient,
    scatter_nd_gradient, scatter_add_gradient;
// gradient_control.cpp
Gradient scan_gradient;
// gradient_contraction.cpp
Gradient dot_gradient, conv_gradient, conv_weight_gradient_gradient, window_reduce_gradient,
    window_max_gradient_gradient;

/// Zeros of this type, without memory of their own.
Value* zeros(Builder& b, DType dtype, const Shape& shape);
/// The gradient of an operand of shape `shape` that was broadcast: sums over what broadcasting
/// repeated.
Value* sum_to_shape(Builder& b, Value* gradient, const Shape& shape);
/// condition ? gradient : 0
Value* masked(Builder& b, Value* condition, Value* gradient);
/// 1 where the condition holds, else 0.
Value* indicator(Builder& b, Value* condition, DType dtype);
/// slices[outer, i, inner] added to row indices[i] of zeros[outer, extent, inner], where the three
/// are the axes before, at and after `axis` of `shape`.
Value* scatter_add(Builder& b, Value* indices, Value* slices, const Shape& shape, int axis);

}  // namespace tintype::ops
