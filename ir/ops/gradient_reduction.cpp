// Gradients of reductions, scans and sorts.
#include "ir/ops/gradients.h"

namespace tintype::ops {

Values reduce_sum_gradient(Builder& b, const Node& n, const Values& dy) {
  return {b.broadcast(dy[0], n.operand(0)->shape())};
}

// The product of the others is y / x without zeros among the elements; with one zero it differs
// from 0 at that zero alone; with more it is 0 everywhere.
Values reduce_prod_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  const DType t = x->dtype();
  const auto axes = n.attrs().integers("axes");
  Value* zero = b.scalar(0, t);
  Value* one = b.scalar(1, t);
  Value* is_zero = b.compare("eq", x, zero);
  Value* count = b.reduce("reduce_sum", indicator(b, is_zero, t), axes);
  Value* nonzero = b.select(is_zero, one, x);
  Value* product = b.reduce("reduce_prod", nonzero, axes);
  Value* at_zero = masked(b, b.compare("eq", count, one), product);
  Value* elsewhere = masked(b, b.compare("eq", count, zero), b.div(product, nonzero));
  return {b.mul(dy[0], b.select(is_zero, at_zero, elsewhere))};
}

Values reduce_extreme_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  Value* chosen = indicator(b, b.compare("eq", x, n.result()), x->dtype());
  Value* share = b.div(dy[0], b.reduce("reduce_sum", chosen, n.attrs().integers("axes")));
  return {b.mul(chosen, share)};
}

// y_i sums x_j for j <= i, so x_j has a part in y_i for i >= j: the same scan, other direction.
Values cumsum_gradient(Builder& b, const Node& n, const Values& dy) {
  AttrMap attrs = n.attrs();
  attrs.set("reverse", int64_t{attrs.integer("reverse") == 0 ? 1 : 0});
  return {b.make("cumsum", {dy[0]}, std::move(attrs))};
}

// Until the first zero, x_i is a factor of every y_k that it is part of: sums of dy y, over x_i. Of
// the first zero itself the same holds with a one in its place, and behind it everything is zero.
Values cumprod_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  const DType t = x->dtype();
  const auto parts = [&](Value* of) { return cumsum_gradient(b, n, {b.mul(dy[0], of)})[0]; };
  Value* is_zero = b.compare("eq", x, b.scalar(0, t));
  AttrMap inclusive = n.attrs();
  inclusive.set("exclusive", int64_t{0});
  Value* count = b.make("cumsum", {indicator(b, is_zero, t)}, inclusive);
  Value* before = b.compare("eq", count, b.scalar(0, t));
  Value* first = b.make("and", {is_zero, b.compare("eq", count, b.scalar(1, t))});
  Value* one = b.scalar(1, t);
  Value* at_first = parts(b.make("cumprod", {b.select(first, one, x)}, n.attrs()));
  Value* elsewhere = masked(b, before, b.div(parts(n.result()), b.select(is_zero, one, x)));
  return {b.select(first, at_first, elsewhere)};
}

Values top_k_gradient(Builder& b, const Node& n, const Values& dy) {
  if (dy[0] == nullptr) return {nullptr};
  Value* x = n.operand(0);
  Value* indices =
      n.result_count() > 1 ? n.result(1) : b.create("top_k", {x}, n.attrs(), 2)->result(1);
  return {b.make("scatter_elements", {zeros(b, x->dtype(), x->shape()), indices, dy[0]},
                 {{"axis", n.attrs().integer("axis")}, {"reduction", std::string("add")}})};
}

}  // namespace tintype::ops
