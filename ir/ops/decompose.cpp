// Shared pieces of ONNX-level decompositions.
#include "ir/ops/decompose.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tintype::ops {

Value* extent_scalar(Builder& b, const Dim& extent, DType dtype) {
  if (extent.is_static()) return b.scalar(static_cast<double>(extent.value()), dtype);
  return b.cast(b.reshape(b.dims({extent}), {}), dtype);
}

std::vector<int64_t> channels_last(int rank) {
  std::vector<int64_t> perm = {0};
  for (int64_t i = 2; i < rank; ++i) perm.push_back(i);
  perm.push_back(1);
  return perm;
}

std::vector<int64_t> channels_first(int rank) {
  std::vector<int64_t> perm = {0, rank - 1};
  for (int64_t i = 1; i + 1 < rank; ++i) perm.push_back(i);
  return perm;
}

Value* per_channel(Builder& b, const Node& n, Value* v, int rank) {
  if (v->rank() != 1) fail(n, "expected one number per channel, got " + v->type().text());
  Shape shape = {v->shape()[0]};
  for (int i = 2; i < rank; ++i) shape.emplace_back(1);
  return b.reshape(v, std::move(shape));
}

std::vector<int64_t> normalized_axes(const Node& n, std::vector<int64_t> axes, int rank) {
  for (int64_t& a : axes) a = normalize_axis(a, rank, n.where());
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) fail(n, "an axis is named twice");
  return axes;
}

Value* reduce_mean(Builder& b, Value* x, const std::vector<int64_t>& axes) {
  Dim count = 1;
  for (int64_t a : axes) count = count * x->shape()[static_cast<size_t>(a)];
  return b.div(b.reduce("reduce_sum", x, axes), extent_scalar(b, count, x->dtype()));
}

namespace {

template <typename T>
Value* limit_constant(Builder& b, bool low) {
  using L = std::numeric_limits<T>;
  return b.constant(Tensor::scalar<T>(low ? L::lowest() : L::max()));
}

Value* limit_of(Builder& b, DType dtype, bool low) {
  switch (dtype) {
    case DType::i8: return limit_constant<int8_t>(b, low);
    case DType::i16: return limit_constant<int16_t>(b, low);
    case DType::i32: return limit_constant<int32_t>(b, low);
    case DType::i64: return limit_constant<int64_t>(b, low);
    case DType::u8: return limit_constant<uint8_t>(b, low);
    case DType::u16: return limit_constant<uint16_t>(b, low);
    case DType::u32: return limit_constant<uint32_t>(b, low);
    case DType::u64: return limit_constant<uint64_t>(b, low);
    case DType::boolean: return b.scalar(low ? 0 : 1, dtype);
    default: {
      const double inf = std::numeric_limits<double>::infinity();
      return b.scalar(low ? -inf : inf, dtype);
    }
  }
}

}  // namespace

Value* lowest(Builder& b, DType dtype) { return limit_of(b, dtype, true); }
Value* highest(Builder& b, DType dtype) { return limit_of(b, dtype, false); }

Shape without_axes(const Shape& shape, const std::vector<int64_t>& axes) {
  Shape out;
  for (size_t i = 0; i < shape.size(); ++i)
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) == axes.end())
      out.push_back(shape[i]);
  return out;
}

Value* power(Builder& b, Value* x, double p) {
  if (p == 1.0) return x;
  if (p == 2.0) return b.mul(x, x);
  if (p == 0.5) return b.unary("sqrt", x);
  if (p == 0.75) return b.unary("sqrt", b.mul(x, b.unary("sqrt", x)));
  return b.pow(x, b.scalar(p, x->dtype()));
}

bool all_positive(const std::vector<int64_t>& list) {
  return std::all_of(list.begin(), list.end(), [](int64_t v) { return v > 0; });
}

Dim reach_of(int64_t window, int64_t dilation) {
  return (Dim(window) - Dim(1)) * Dim(dilation) + Dim(1);
}

bool Window::padded() const {
  for (size_t i = 0; i < before.size(); ++i)
    if (!before[i].is(0) || !after[i].is(0)) return true;
  return false;
}

Window resolve_window(const Node& n, const Shape& input, std::vector<int64_t> kernel) {
  const AttrMap& a = n.attrs();
  const size_t spatial = kernel.size();
  if (input.size() != spatial + 2)
    fail(n, "input " + text_of(input) + " does not fit a window with " + std::to_string(spatial) +
                " spatial axes");
  Window w;
  w.kernel = std::move(kernel);
  w.strides = a.integers("strides", std::vector<int64_t>(spatial, 1));
  w.dilations = a.integers("dilations", std::vector<int64_t>(spatial, 1));
  const auto pads = a.integers("pads", std::vector<int64_t>(2 * spatial, 0));
  const std::string auto_pad = a.string("auto_pad", "NOTSET");
  const bool ceil_mode = a.integer("ceil_mode") != 0;
  if (w.strides.size() != spatial || w.dilations.size() != spatial || pads.size() != 2 * spatial)
    fail(n, "strides, dilations and pads must fit " + std::to_string(spatial) + " spatial axes");
  for (size_t i = 0; i < spatial; ++i) {
    if (w.kernel[i] < 1 || w.strides[i] < 1 || w.dilations[i] < 1)
      fail(n, "kernel_shape, strides and dilations must be positive");
    const Dim& in = input[i + 2];
    const Dim stride = w.strides[i];
    const Dim reach = reach_of(w.kernel[i], w.dilations[i]);
    Dim before = pads[i];
    Dim after = pads[i + spatial];
    Dim extra = 0;
    if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      const Dim out = ceil_div(in, stride);
      const Dim total = max((out - Dim(1)) * stride + reach - in, Dim(0));
      before = auto_pad == "SAME_UPPER" ? floor_div(total, Dim(2)) : ceil_div(total, Dim(2));
      after = total - before;
    } else if (auto_pad == "VALID") {
      before = after = 0;
    } else if (auto_pad != "NOTSET" && !auto_pad.empty()) {
      fail(n, "auto_pad '" + auto_pad + "' is not one of NOTSET, SAME_UPPER, SAME_LOWER, VALID");
    }
    if (ceil_mode) {
      // A window that would start beyond the input and its leading padding is dropped.
      const Dim free = in + before + after - reach;
      const Dim out =
          min(ceil_div(free, stride) + Dim(1), floor_div(in + before - Dim(1), stride) + Dim(1));
      extra = max((out - Dim(1)) * stride - free, Dim(0));
      after = after + extra;
    }
    w.before.push_back(before);
    w.after.push_back(after);
    w.extra.push_back(extra);
  }
  return w;
}

Value* pad_spatial(Builder& b, Value* x, const Window& w, Value* value) {
  Shape before = {0};
  Shape after = {0};
  before.insert(before.end(), w.before.begin(), w.before.end());
  after.insert(after.end(), w.after.begin(), w.after.end());
  before.emplace_back(0);
  after.emplace_back(0);
  return b.pad(x, std::move(before), std::move(after), value);
}

}  // namespace tintype::ops
