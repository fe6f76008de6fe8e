// Pooling of ONNX in terms of window and axis reductions.
#include "ir/ops/decompose.h"

#include <numeric>

namespace tintype::ops {

namespace {

std::vector<int64_t> kernel_shape(const Node& n) {
  const auto kernel = n.attrs().integers("kernel_shape");
  if (kernel.empty()) fail(n, "kernel_shape is required");
  return kernel;
}

Value* window_reduce(Builder& b, Value* x, const Window& w, std::string kind) {
  return b.make("window_reduce", {x},
                {{"kind", std::move(kind)},
                 {"window", w.kernel},
                 {"strides", w.strides},
                 {"dilations", w.dilations}});
}

/// Turns positions inside the padded plane into ONNX's indices: flat over the unpadded N,C,spatial.
Value* onnx_indices(Builder& b, Value* position, const Shape& input, const Shape& padded,
                    const Window& w, bool column_major) {
  const size_t spatial = w.kernel.size();
  auto scalar = [&b](const Dim& d) { return extent_scalar(b, d, DType::i64); };
  std::vector<Value*> coordinate(spatial);
  Value* rest = position;
  for (size_t i = spatial; i-- > 0;) {
    Value* extent = scalar(padded[i + 1]);
    coordinate[i] = b.sub(b.make("mod", {rest, extent}), scalar(w.before[i]));
    rest = b.div(rest, extent);
  }
  Value* flat = nullptr;
  for (size_t k = 0; k < spatial; ++k) {
    const size_t i = column_major ? spatial - 1 - k : k;
    flat =
        flat == nullptr ? coordinate[i] : b.add(b.mul(flat, scalar(input[i + 2])), coordinate[i]);
  }
  Shape n_shape(spatial + 2, Dim(1)), c_shape(spatial + 2, Dim(1));
  n_shape[0] = input[0];
  c_shape[spatial + 1] = input[1];
  Value* batch =
      b.make("iota", {}, {{"shape", n_shape}, {"axis", int64_t{0}}, {"dtype", DType::i64}});
  Value* channel = b.make(
      "iota", {},
      {{"shape", c_shape}, {"axis", static_cast<int64_t>(spatial + 1)}, {"dtype", DType::i64}});
  Dim plane = 1;
  for (size_t i = 0; i < spatial; ++i) plane = plane * input[i + 2];
  Value* base = b.mul(b.add(b.mul(batch, scalar(input[1])), channel), scalar(plane));
  return b.add(base, flat);
}

Values max_pool(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const Window w = resolve_window(n, x->shape(), kernel_shape(n));
  Value* padded = b.transpose(x, channels_last(x->rank()));
  if (w.padded()) padded = pad_spatial(b, padded, w, lowest(b, x->dtype()));
  const auto back = channels_first(x->rank());
  Values results = {b.transpose(window_reduce(b, padded, w, "max"), back)};
  if (n.result_count() > 1) {
    Value* position =
        b.make("window_argmax", {padded},
               {{"window", w.kernel}, {"strides", w.strides}, {"dilations", w.dilations}});
    results.push_back(b.transpose(onnx_indices(b, position, x->shape(), padded->shape(), w,
                                               n.attrs().integer("storage_order") != 0),
                                  back));
  }
  return results;
}

/// Elements that each window averages over: a scalar where it is the same everywhere.
Value* window_counts(Builder& b, const Node& n, const Window& w, const Shape& input, DType dtype) {
  const bool include_pad = n.attrs().integer("count_include_pad") != 0;
  bool uniform = true;
  for (size_t i = 0; i < w.kernel.size(); ++i)
    uniform =
        uniform && w.extra[i].is(0) && (include_pad || (w.before[i].is(0) && w.after[i].is(0)));
  if (uniform) {
    const auto area = std::accumulate(w.kernel.begin(), w.kernel.end(), 1.0, std::multiplies<>());
    return b.scalar(area, dtype);
  }
  // Ones where elements count, zeros elsewhere, summed by the same windows.
  Shape counted = {1};
  Window rim = w;
  for (size_t i = 0; i < w.kernel.size(); ++i) {
    Dim extent = input[i + 2];
    if (include_pad) {
      extent = extent + w.before[i] + w.after[i] - w.extra[i];
      rim.before[i] = 0;
      rim.after[i] = w.extra[i];
    }
    counted.push_back(extent);
  }
  counted.emplace_back(1);
  Value* ones = b.broadcast(b.scalar(1, dtype), counted);
  return window_reduce(b, pad_spatial(b, ones, rim, nullptr), rim, "sum");
}

Values average_pool(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const Window w = resolve_window(n, x->shape(), kernel_shape(n));
  Value* padded = pad_spatial(b, b.transpose(x, channels_last(x->rank())), w, nullptr);
  Value* sum = window_reduce(b, padded, w, "sum");
  Value* mean = b.div(sum, window_counts(b, n, w, x->shape(), x->dtype()));
  return {b.transpose(mean, channels_first(x->rank()))};
}

Values lp_pool(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const auto p = static_cast<double>(n.attrs().integer("p", 2));
  const Window w = resolve_window(n, x->shape(), kernel_shape(n));
  Value* powered = power(b, b.unary("abs", b.transpose(x, channels_last(x->rank()))), p);
  Value* sum = window_reduce(b, pad_spatial(b, powered, w, nullptr), w, "sum");
  return {b.transpose(power(b, sum, 1.0 / p), channels_first(x->rank()))};
}

std::vector<int64_t> spatial_axes(const Node& n) {
  if (n.operand(0)->rank() < 3) fail(n, "expected N,C,spatial, got " + n.operand(0)->type().text());
  std::vector<int64_t> axes(static_cast<size_t>(n.operand(0)->rank()) - 2);
  std::iota(axes.begin(), axes.end(), int64_t{2});
  return axes;
}

Values global_average_pool(Builder& b, const Node& n) {
  return {reduce_mean(b, n.operand(0), spatial_axes(n))};
}

Values global_max_pool(Builder& b, const Node& n) {
  return {b.reduce("reduce_max", n.operand(0), spatial_axes(n))};
}

Values global_lp_pool(Builder& b, const Node& n) {
  const auto p = static_cast<double>(n.attrs().integer("p", 2));
  Value* powered = power(b, b.unary("abs", n.operand(0)), p);
  return {power(b, b.reduce("reduce_sum", powered, spatial_axes(n)), 1.0 / p)};
}

constexpr AttrDef kPool[] = {{"auto_pad", AttrKind::string},
                             {"ceil_mode", AttrKind::integer},
                             {"count_include_pad", AttrKind::integer},
                             {"dilations", AttrKind::integers},
                             {"kernel_shape", AttrKind::integers, true},
                             {"p", AttrKind::integer},
                             {"pads", AttrKind::integers},
                             {"storage_order", AttrKind::integer},
                             {"strides", AttrKind::integers}};
constexpr AttrDef kP[] = {{"p", AttrKind::integer}};

constexpr OpDef kOps[] = {
    {.name = "MaxPool",
     .min_operands = 1,
     .max_operands = 1,
     .max_results = 2,
     .attrs = kPool,
     .traits = kOnnx,
     .decompose = max_pool,
     .doc = "largest element of each window"},
    {.name = "AveragePool",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kPool,
     .traits = kOnnx,
     .decompose = average_pool,
     .doc = "mean of each window"},
    {.name = "LpPool",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kPool,
     .traits = kOnnx,
     .decompose = lp_pool,
     .doc = "p-norm of each window"},
    {.name = "GlobalAveragePool",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kOnnx,
     .decompose = global_average_pool,
     .doc = "mean over the spatial axes"},
    {.name = "GlobalMaxPool",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kOnnx,
     .decompose = global_max_pool,
     .doc = "largest element over the spatial axes"},
    {.name = "GlobalLpPool",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kP,
     .traits = kOnnx,
     .decompose = global_lp_pool,
     .doc = "p-norm over the spatial axes"},
};

}  // namespace

std::span<const OpDef> onnx_pooling() { return kOps; }

}  // namespace tintype::ops
