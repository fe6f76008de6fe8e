// Gradients of the ops that move elements to computed places: each is the movement backwards.
#include "ir/ops/gradients.h"

namespace tintype::ops {

Values reshape_gradient(Builder& b, const Node& n, const Values& dy) {
  return {b.reshape(dy[0], n.operand(0)->shape())};
}

Values transpose_gradient(Builder& b, const Node& n, const Values& dy) {
  const auto perm = n.attrs().integers("perm");
  std::vector<int64_t> inverse(perm.size());
  for (size_t i = 0; i < perm.size(); ++i)
    inverse[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return {b.transpose(dy[0], std::move(inverse))};
}

Values broadcast_gradient(Builder& b, const Node& n, const Values& dy) {
  return {sum_to_shape(b, dy[0], n.operand(0)->shape())};
}

Values reverse_gradient(Builder& b, const Node& n, const Values& dy) {
  return {b.make("reverse", {dy[0]}, n.attrs())};
}

// Zeros between the elements where the slice skipped some, zeros around where it cropped.
Values slice_gradient(Builder& b, const Node& n, const Values& dy) {
  const Shape& shape = n.operand(0)->shape();
  Shape starts = n.attrs().dims("starts");
  const Shape sizes = n.attrs().dims("sizes");
  std::vector<int64_t> steps = n.attrs().integers("steps");
  std::vector<int64_t> backwards;
  bool spread = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (sizes[i].is(0)) return {zeros(b, dy[0]->dtype(), shape)};
    if (sizes[i].is(1)) steps[i] = 1;
    if (steps[i] < 0) {
      backwards.push_back(static_cast<int64_t>(i));
      starts[i] = starts[i] + (sizes[i] - Dim(1)) * Dim(steps[i]);
      steps[i] = -steps[i];
    }
    spread = spread || steps[i] != 1;
  }
  Value* g = dy[0];
  if (!backwards.empty()) g = b.make("reverse", {g}, {{"axes", backwards}});
  if (spread) g = b.make("dilate", {g}, {{"factors", steps}});
  Shape after;
  for (size_t i = 0; i < shape.size(); ++i) after.push_back(shape[i] - starts[i] - g->shape()[i]);
  return {b.pad(g, std::move(starts), std::move(after))};
}

Values dilate_gradient(Builder& b, const Node& n, const Values& dy) {
  const Shape& shape = n.operand(0)->shape();
  return {b.slice(dy[0], Shape(shape.size(), Dim(0)), shape, n.attrs().integers("factors"))};
}

Values concat_gradient(Builder& b, const Node& n, const Values& dy) {
  const int axis = normalize_axis(n.attrs().integer("axis"), n.result()->rank(), n.where());
  Values parts;
  Dim start = 0;
  for (Value* v : n.operands()) {
    const Dim size = v->shape()[static_cast<size_t>(axis)];
    parts.push_back(b.slice_axis(dy[0], axis, start, size));
    start = start + size;
  }
  return parts;
}

namespace {

/// Takes margins away again and puts back what negative amounts cropped. What is known to be a
/// margin is sliced off, which moves nothing.
Value* without_margins(Builder& b, Value* g, const Shape& shape, const Shape& before,
                       const Shape& after) {
  const auto is_margin = [](const Dim& d) { return d.lower_bound().value_or(-1) >= 0; };
  Shape starts(shape.size(), Dim(0)), sizes = g->shape(), less_before = starts, less_after = starts;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (is_margin(before[i]) && is_margin(after[i])) {
      starts[i] = before[i];
      sizes[i] = shape[i];
    } else {
      less_before[i] = Dim(0) - before[i];
      less_after[i] = Dim(0) - after[i];
    }
  }
  g = b.slice(g, std::move(starts), std::move(sizes), std::vector<int64_t>(shape.size(), 1));
  return b.pad(g, std::move(less_before), std::move(less_after));
}

/// Adds what the margins repeat to the elements they repeat, axis by axis.
Value* folded_margins(Builder& b, const Node& n, Value* g) {
  const Shape& shape = n.operand(0)->shape();
  const Shape before = n.attrs().dims("before");
  const Shape after = n.attrs().dims("after");
  for (size_t i = 0; i < shape.size(); ++i) {
    if (before[i].is(0) && after[i].is(0)) continue;
    Value* places = b.make("iota", {}, {{"shape", Shape{shape[i]}}, {"dtype", DType::i64}});
    Value* sources = b.pad(places, {before[i]}, {after[i]}, nullptr, n.attrs().string("mode"));
    Shape partial = g->shape();
    partial[i] = shape[i];
    g = scatter_add(b, sources, g, partial, static_cast<int>(i));
  }
  return g;
}

}  // namespace

Values pad_gradient(Builder& b, const Node& n, const Values& dy) {
  if (n.attrs().string("mode", "constant") != "constant") return {folded_margins(b, n, dy[0])};
  const Shape before = n.attrs().dims("before");
  const Shape after = n.attrs().dims("after");
  Values gradients = {without_margins(b, dy[0], n.operand(0)->shape(), before, after)};
  Value* fill = n.operand(1);
  if (fill == nullptr) return gradients;
  const DType t = dy[0]->dtype();
  Value* margin = b.pad(zeros(b, t, n.operand(0)->shape()), before, after, b.scalar(1, t));
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < dy[0]->rank(); ++i) axes.push_back(i);
  gradients.push_back(b.reshape(b.reduce("reduce_sum", b.mul(dy[0], margin), axes), fill->shape()));
  return gradients;
}

}  // namespace tintype::ops
