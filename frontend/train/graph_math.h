// Small graph fragments that losses, optimizers and metrics share.
#pragma once

#include "ir/builder.h"

#include <string>

namespace tintype {

/// Rank-0 tensor of `dtype` holding an extent.
Value* extent(Builder& b, const Dim& extent, DType dtype);
/// Number of elements of x as a rank-0 tensor, of x's type unless another is given.
Value* element_count(Builder& b, Value* x);
Value* element_count(Builder& b, Value* x, DType dtype);
/// Sum of all elements, rank 0.
Value* sum_all(Builder& b, Value* x);
/// Largest element, rank 0.
Value* max_all(Builder& b, Value* x);
/// Sum of squares of all elements, rank 0.
Value* sum_squares(Builder& b, Value* x);
/// 1 where the condition holds, else 0, in x's element type; averaged over all elements.
Value* share_of(Builder& b, Value* condition, DType dtype);
/// a + (b - a) w, as torch.lerp for w < 0.5
Value* lerp(Builder& b, Value* from, Value* to, Value* weight);
/// A state of a static type, all elements equal to `fill` at first.
Value* add_filled_state(Graph& graph, const std::string& name, const TensorType& type, double fill);
/// x; gradients() takes it for a constant.
Value* stop_gradient(Builder& b, Value* x);

}  // namespace tintype
