// Gradients of matrix products, convolution and sliding windows.
#include "ir/ops/gradients.h"

#include <algorithm>

namespace tintype::ops {

namespace {

Value* matrix_transpose(Builder& b, Value* x) {
  std::vector<int64_t> perm;
  for (int64_t i = 0; i < x->rank(); ++i) perm.push_back(i);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return b.transpose(x, std::move(perm));
}

void require_unpacked(const Node& n) {
  if (n.attrs().integer("block") > 0)
    fail(n, "weights are packed already; differentiate before algorithms are selected");
}

std::vector<int64_t> spatial_attribute(const Node& n, std::string_view name) {
  const size_t spatial = n.attrs().integers("window").size();
  return n.attrs().integers(name, std::vector<int64_t>(spatial, 1));
}

/// A tensor over window positions [N, positions..., C] spread out so that position o lies at
/// o * stride + (window - 1) * dilation of every spatial axis, zeros elsewhere; the reversed window
/// slides over it with stride 1 and meets each of the `input` places once.
Value* spread(Builder& b, const Node& n, Value* dy, const Shape& input) {
  const auto window = n.attrs().integers("window");
  const auto strides = spatial_attribute(n, "strides");
  const auto dilations = spatial_attribute(n, "dilations");
  std::vector<int64_t> factors(input.size(), 1);
  std::copy(strides.begin(), strides.end(), factors.begin() + 1);
  Value* g = dy;
  if (factors != std::vector<int64_t>(input.size(), 1))
    g = b.make("dilate", {g}, {{"factors", factors}});
  Shape before(input.size(), Dim(0));
  Shape after = before;
  for (size_t i = 0; i < window.size(); ++i) {
    before[i + 1] = (window[i] - 1) * dilations[i];
    after[i + 1] = input[i + 1] - g->shape()[i + 1];
  }
  return b.pad(g, std::move(before), std::move(after));
}

/// x padded by zeros behind its spatial axes, up to the extents of `shape`.
Value* pad_up_to(Builder& b, Value* x, const Shape& shape) {
  Shape after(shape.size(), Dim(0));
  for (size_t i = 0; i < shape.size(); ++i) after[i] = shape[i] - x->shape()[i];
  return b.pad(x, Shape(shape.size(), Dim(0)), std::move(after));
}

bool is_empty(const Value* v) {
  return std::any_of(v->shape().begin(), v->shape().end(), [](const Dim& d) { return d.is(0); });
}

/// w[window..., C/group, F] as weights that lead from F to C channels, window reversed:
/// [window..., F/group, C].
Value* backward_weights(Builder& b, Value* w, int64_t group) {
  const size_t spatial = w->shape().size() - 2;
  std::vector<int64_t> axes, perm;
  for (size_t i = 0; i < spatial; ++i) {
    if (!w->shape()[i].is(1)) axes.push_back(static_cast<int64_t>(i));
    perm.push_back(static_cast<int64_t>(i));
  }
  if (!axes.empty()) w = b.make("reverse", {w}, {{"axes", axes}});
  const auto s = static_cast<int64_t>(spatial);
  if (group == 1) {
    perm.insert(perm.end(), {s + 1, s});
    return b.transpose(w, std::move(perm));
  }
  Shape window(w->shape().begin(), w->shape().begin() + static_cast<std::ptrdiff_t>(spatial));
  const Dim depth = w->shape()[spatial];
  const Dim filters = floor_div(w->shape()[spatial + 1], Dim(group));
  Shape split = window, result = window;
  split.insert(split.end(), {depth, Dim(group), filters});
  result.insert(result.end(), {filters, depth * Dim(group)});
  perm.insert(perm.end(), {s + 2, s + 1, s});
  return b.reshape(b.transpose(b.reshape(w, split), perm), result);
}

bool all_ones(const std::vector<int64_t>& list) {
  return std::all_of(list.begin(), list.end(), [](int64_t v) { return v == 1; });
}

Value* plain_conv(Builder& b, Value* x, Value* w, int64_t group, const Dim& filters) {
  std::vector<int64_t> window;
  for (size_t i = 0; i + 2 < w->shape().size(); ++i) window.push_back(w->shape()[i].value());
  return b.make("conv", {x, w},
                {{"window", window}, {"group", group}, {"filters", filters.value()}});
}

/// d loss / d x of y = conv(x, w), where n has the attributes of the convolution. The pass
/// split-phases takes away the zeros that strides put between the elements of dy.
Value* input_gradient(Builder& b, const Node& n, Value* dy, Value* w, const Shape& input) {
  if (is_empty(dy)) return zeros(b, dy->dtype(), input);
  const int64_t group = n.attrs().integer("group", 1);
  if (!input.back().is_static())
    fail(n, "the gradient needs a fixed number of channels, got " + text_of(input));
  if (all_ones(n.attrs().integers("window"))) {  // elements between the places read have none
    Value* dx = plain_conv(b, dy, backward_weights(b, w, group), group, input.back());
    return spread(b, n, dx, input);
  }
  return b.make("conv", {spread(b, n, dy, input), backward_weights(b, w, group)},
                {{"window", n.attrs().integers("window")},
                 {"dilations", spatial_attribute(n, "dilations")},
                 {"group", group},
                 {"filters", input.back().value()}});
}

/// Every element of dy for each place of its window, where windows lie side by side.
Value* repeated(Builder& b, Value* dy, const std::vector<int64_t>& window, const Shape& input) {
  const Shape& s = dy->shape();
  Shape split = {s[0]}, whole = {s[0]}, merged = {s[0]};
  for (size_t i = 0; i < window.size(); ++i) {
    split.insert(split.end(), {s[i + 1], Dim(1)});
    whole.insert(whole.end(), {s[i + 1], Dim(window[i])});
    merged.push_back(s[i + 1] * Dim(window[i]));
  }
  for (Shape* shape : {&split, &whole, &merged}) shape->push_back(s.back());
  return pad_up_to(b, b.reshape(b.broadcast(b.reshape(dy, split), whole), merged), input);
}

AttrMap window_attributes(const Node& n) {
  AttrMap attrs = {{"window", n.attrs().integers("window")},
                   {"strides", spatial_attribute(n, "strides")},
                   {"dilations", spatial_attribute(n, "dilations")}};
  return attrs;
}

}  // namespace

// y = a b:  da = dy b^T,  db = a^T dy
//
// Where operands are narrower than the result, so are their gradients, which products of the wide
// type make.
namespace {

/// True when a single matrix on the left meets several on the right.
bool shares_left(const Value* left, const Value* right) {
  const auto single = [](const Dim& d) { return d.is(1); };
  return std::all_of(left->shape().begin(), left->shape().end() - 2, single) &&
         !std::all_of(right->shape().begin(), right->shape().end() - 2, single);
}

// sum over the matrices i of dy_i b_i^T, as one product [M, i N] x [i N, K]
Value* gradient_of_shared_left(Builder& b, Value* dy, Value* right, const Shape& shape) {
  std::vector<int64_t> perm = {dy->rank() - 2};
  for (int64_t i = 0; i < dy->rank(); ++i)
    if (i != dy->rank() - 2) perm.push_back(i);
  const Dim rows = dy->shape()[dy->shape().size() - 2];
  Value* columns = matrix_transpose(b, right);
  const Dim outer = columns->shape().back();
  const Dim depth = product(Shape(columns->shape().begin(), columns->shape().end() - 1));
  Value* wide = b.reshape(b.transpose(dy, perm), {rows, depth});
  return b.reshape(b.make("dot", {wide, b.reshape(columns, {depth, outer})}), shape);
}

}  // namespace

Values dot_gradient(Builder& b, const Node& n, const Values& dy) {
  require_unpacked(n);
  const DType narrow = n.operand(0)->dtype();
  Value* left = b.cast(n.operand(0), dy[0]->dtype());
  Value* right = b.cast(n.operand(1), dy[0]->dtype());
  Value* da =
      shares_left(left, right)
          ? gradient_of_shared_left(b, dy[0], right, left->shape())
          : sum_to_shape(b, b.make("dot", {dy[0], matrix_transpose(b, right)}), left->shape());
  Value* g = dy[0];
  if (right->rank() == 2 && left->rank() > 2) {
    // One matrix for all of the batch: one long product instead of a sum of products.
    auto flat = [&b](Value* v) {
      const Shape& s = v->shape();
      return b.reshape(v, {product(Shape(s.begin(), s.end() - 1)), s.back()});
    };
    left = flat(left);
    g = flat(g);
  }
  Value* db = sum_to_shape(b, b.make("dot", {matrix_transpose(b, left), g}), right->shape());
  return {b.cast(da, narrow), b.cast(db, narrow)};
}

Values conv_gradient(Builder& b, const Node& n, const Values& dy) {
  require_unpacked(n);
  const DType narrow = n.operand(0)->dtype();
  Value* x = b.cast(n.operand(0), dy[0]->dtype());
  Value* w = b.cast(n.operand(1), dy[0]->dtype());
  AttrMap attrs = window_attributes(n);
  attrs.set("group", n.attrs().integer("group", 1));
  Value* dw = b.make("conv_weight_gradient", {x, dy[0]}, std::move(attrs));
  return {b.cast(input_gradient(b, n, dy[0], w, x->shape()), narrow),
          b.cast(b.reshape(dw, w->shape()), narrow)};
}

// conv_weight_gradient(x, g) is linear in both: with respect to x it is the input gradient of a
// convolution with weights dw, with respect to g that convolution.
Values conv_weight_gradient_gradient(Builder& b, const Node& n, const Values& dw) {
  const DType narrow = n.operand(0)->dtype();
  Value* x = b.cast(n.operand(0), dw[0]->dtype());
  Value* g = b.cast(n.operand(1), dw[0]->dtype());
  const Dim filters = g->shape().back();
  if (!filters.is_static()) fail(n, "the gradient needs a fixed number of filters");
  AttrMap attrs = window_attributes(n);
  attrs.set("group", n.attrs().integer("group", 1));
  attrs.set("filters", filters.value());
  return {b.cast(input_gradient(b, n, g, dw[0], x->shape()), narrow),
          b.cast(b.make("conv", {x, dw[0]}, std::move(attrs)), narrow)};
}

Values window_reduce_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  if (is_empty(dy[0])) return {zeros(b, x->dtype(), x->shape())};
  if (n.attrs().string("kind") == "max")
    return {b.make("window_max_gradient", {x, dy[0]}, window_attributes(n))};
  const auto window = n.attrs().integers("window");
  if (window == spatial_attribute(n, "strides") && all_ones(spatial_attribute(n, "dilations")))
    return {repeated(b, dy[0], window, x->shape())};
  // An element is in as many sums as windows cover it.
  return {b.make("window_reduce", {spread(b, n, dy[0], x->shape())},
                 {{"kind", std::string("sum")},
                  {"window", window},
                  {"dilations", spatial_attribute(n, "dilations")}})};
}

// Linear in dy: every window reads back the gradient at its largest element.
Values window_max_gradient_gradient(Builder& b, const Node& n, const Values& gradient) {
  Value* x = n.operand(0);
  Value* largest = b.make("window_argmax", {x}, window_attributes(n));
  const Shape shape = n.operand(1)->shape();
  auto plane = [&b](Value* v) {
    const Shape& s = v->shape();
    return b.reshape(v, {s[0], product(Shape(s.begin() + 1, s.end() - 1)), s.back()});
  };
  Value* picked =
      b.make("gather_elements", {plane(gradient[0]), plane(largest)}, {{"axis", int64_t{1}}});
  return {nullptr, b.reshape(picked, shape)};
}

}  // namespace tintype::ops
