// Penalties, projections and clipping.
#include "frontend/train/regularizers.h"

#include "frontend/train/graph_math.h"

namespace tintype {

namespace {

/// min(1, limit / (norm + 1e-6))
Value* shrink_factor(Builder& b, Value* norm, double limit) {
  Value* quotient = b.div(b.scalar(limit, norm->dtype()), b.with_scalar("add", norm, 1e-6));
  return b.with_scalar("min", quotient, 1);
}

}  // namespace

Value* add_penalty(Builder& b, const std::vector<Value*>& weights, double l1, double l2) {
  Value* total = nullptr;
  const auto add = [&](Value* term, double scale) {
    term = b.cast(b.with_scalar("mul", term, scale), DType::f32);
    total = total == nullptr ? term : b.add(total, term);
  };
  for (Value* w : weights) {
    if (l1 != 0) add(sum_all(b, b.unary("abs", w)), l1);
    if (l2 != 0) add(sum_squares(b, w), l2);
  }
  return total;
}

Value* global_norm(Builder& b, const std::vector<Value*>& tensors) {
  Value* total = nullptr;
  for (Value* t : tensors) {
    if (t == nullptr) continue;
    Value* squares = b.cast(sum_squares(b, t), DType::f32);
    total = total == nullptr ? squares : b.add(total, squares);
  }
  return b.unary("sqrt", total == nullptr ? b.scalar(0, DType::f32) : total);
}

ClippedGradients clip_gradients(Builder& b, std::vector<Value*> gradients, const Clipping& limits) {
  const auto each = [&](auto clipped) {
    for (Value*& g : gradients)
      if (g != nullptr) g = clipped(g);
  };
  if (limits.value > 0)
    each([&](Value* g) {
      return b.with_scalar("min", b.with_scalar("max", g, -limits.value), limits.value);
    });
  if (limits.norm > 0)
    each([&](Value* g) {
      return b.mul(g, shrink_factor(b, b.unary("sqrt", sum_squares(b, g)), limits.norm));
    });
  if (limits.global_norm <= 0) return {std::move(gradients), nullptr};
  Value* norm = global_norm(b, gradients);
  Value* factor = shrink_factor(b, norm, limits.global_norm);
  each([&](Value* g) { return b.mul(g, b.cast(factor, g->dtype())); });
  return {std::move(gradients), norm};
}

Value* project_max_norm(Builder& b, Value* w, int unit_axis, double limit) {
  std::vector<int64_t> axes;
  for (int i = 0; i < w->rank(); ++i)
    if (i != unit_axis) axes.push_back(i);
  Value* norm = b.unary("sqrt", b.reduce("reduce_sum", b.mul(w, w), axes));
  Value* scale = b.div(b.scalar(limit, w->dtype()), b.with_scalar("add", norm, 1e-7));
  Value* over = b.compare("gt", norm, b.scalar(limit, w->dtype()));
  return b.mul(w, b.select(over, scale, b.scalar(1, w->dtype())));
}

}  // namespace tintype
