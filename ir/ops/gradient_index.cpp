// Gradients of gathers and scatters: each gathers where the other scatters.
#include "ir/ops/gradients.h"

namespace tintype::ops {

namespace {

Shape part(const Shape& shape, size_t begin, size_t end) {
  return {shape.begin() + static_cast<std::ptrdiff_t>(begin),
          shape.begin() + static_cast<std::ptrdiff_t>(end)};
}

/// The two directions of one kind of indexing.
struct Indexing {
  std::string_view gather_op, scatter_op;
  AttrMap attrs;  ///< of both
  Value* indices;

  Value* gather(Builder& b, Value* from) const { return b.make(gather_op, {from, indices}, attrs); }
  Value* scatter(Builder& b, Value* onto, Value* updates, const std::string& reduction) const {
    AttrMap with = attrs;
    with.set("reduction", reduction);
    return b.make(scatter_op, {onto, indices, updates}, std::move(with));
  }
};

// Every factor's gradient is the product of the others (see reduce_prod_gradient).
Values scatter_product(Builder& b, const Node& n, const Indexing& at, Value* dy) {
  Value* x = n.operand(0);
  Value* updates = n.operand(2);
  const DType t = x->dtype();
  Value* zero = b.scalar(0, t);
  Value* one = b.scalar(1, t);
  auto is_zero = [&](Value* v) { return b.compare("eq", v, zero); };
  auto nonzero = [&](Value* v) { return b.select(is_zero(v), one, v); };
  auto zero_count = [&](Value* v) { return indicator(b, is_zero(v), t); };
  Value* product = at.scatter(b, nonzero(x), nonzero(updates), "mul");
  Value* count = at.scatter(b, zero_count(x), zero_count(updates), "add");
  auto others = [&](Value* v, Value* all, Value* zeros_in_all) {
    Value* at_zero = masked(b, b.compare("eq", zeros_in_all, one), all);
    Value* elsewhere = masked(b, b.compare("eq", zeros_in_all, zero), b.div(all, nonzero(v)));
    return b.select(is_zero(v), at_zero, elsewhere);
  };
  return {b.mul(dy, others(x, product, count)), nullptr,
          b.mul(at.gather(b, dy), others(updates, at.gather(b, product), at.gather(b, count)))};
}

// Equal candidates share evenly.
Values scatter_extreme(Builder& b, const Node& n, const Indexing& at, Value* dy) {
  Value* x = n.operand(0);
  Value* updates = n.operand(2);
  const DType t = x->dtype();
  Value* x_chosen = indicator(b, b.compare("eq", x, n.result()), t);
  Value* chosen = indicator(b, b.compare("eq", updates, at.gather(b, n.result())), t);
  Value* share = b.div(dy, at.scatter(b, x_chosen, chosen, "add"));
  return {b.mul(share, x_chosen), nullptr, b.mul(at.gather(b, share), chosen)};
}

Values scatter_gradient(Builder& b, const Node& n, const Indexing& at, Value* dy) {
  const std::string reduction = n.attrs().string("reduction", "none");
  if (reduction == "mul") return scatter_product(b, n, at, dy);
  if (reduction == "max" || reduction == "min") return scatter_extreme(b, n, at, dy);
  Value* updates = at.gather(b, dy);
  if (reduction == "add") return {dy, nullptr, updates};
  Value* replaced = zeros(b, dy->dtype(), n.operand(2)->shape());
  return {at.scatter(b, dy, replaced, "none"), nullptr, updates};
}

/// Index tuples that name the batch axes too.
Value* with_batch_axes(Builder& b, Value* indices, int64_t batch_dims) {
  Shape column = indices->shape();
  column.back() = 1;
  Values parts;
  for (int64_t i = 0; i < batch_dims; ++i)
    parts.push_back(
        b.make("iota", {}, {{"shape", column}, {"axis", i}, {"dtype", indices->dtype()}}));
  parts.push_back(indices);
  return b.concat(std::move(parts), indices->rank() - 1);
}

}  // namespace

Value* scatter_add(Builder& b, Value* indices, Value* slices, const Shape& shape, int axis) {
  const auto a = static_cast<size_t>(axis);
  const Dim outer = product(part(shape, 0, a));
  const Dim inner = product(part(shape, a + 1, shape.size()));
  const Dim count = product(indices->shape());
  Value* rows =
      b.make("scatter_add", {b.reshape(indices, {count}), b.reshape(slices, {outer, count, inner})},
             {{"rows", Shape{shape[a]}}});
  return b.reshape(rows, shape);
}

Values scatter_add_gradient(Builder& b, const Node& n, const Values& dy) {
  return {nullptr, b.make("gather", {dy[0], n.operand(0)}, {{"axis", int64_t{1}}})};
}

Values gather_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  const int axis = normalize_axis(n.attrs().integer("axis"), x->rank(), n.where());
  return {scatter_add(b, n.operand(1), dy[0], x->shape(), axis), nullptr};
}

Values gather_elements_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  const Indexing at{"gather_elements", "scatter_elements", n.attrs(), n.operand(1)};
  return {at.scatter(b, zeros(b, x->dtype(), x->shape()), dy[0], "add"), nullptr};
}

Values gather_nd_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  Value* indices = with_batch_axes(b, n.operand(1), n.attrs().integer("batch_dims"));
  const Indexing at{"gather_nd", "scatter_nd", {}, indices};
  return {at.scatter(b, zeros(b, x->dtype(), x->shape()), dy[0], "add"), nullptr};
}

Values scatter_elements_gradient(Builder& b, const Node& n, const Values& dy) {
  AttrMap attrs = {{"axis", n.attrs().integer("axis")}};
  return scatter_gradient(
      b, n, {"gather_elements", "scatter_elements", std::move(attrs), n.operand(1)}, dy[0]);
}

Values scatter_nd_gradient(Builder& b, const Node& n, const Values& dy) {
  return scatter_gradient(b, n, {"gather_nd", "scatter_nd", {}, n.operand(1)}, dy[0]);
}

}  // namespace tintype::ops
