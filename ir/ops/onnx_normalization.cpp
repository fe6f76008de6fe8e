// Normalisations and softmax of ONNX.
#include "ir/ops/decompose.h"

#include <numeric>
#include <string>

namespace tintype::ops {

namespace {

// y = x * k + (bias - mean * k),  k = scale / sqrt(var + epsilon)
Values batch_norm(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  if (x->rank() < 2) fail(n, "expected N,C,..., got " + x->type().text());
  const DType t = x->dtype();
  const double epsilon = n.attrs().number("epsilon", 1e-5);
  const bool training = n.attrs().integer("training_mode") != 0;
  Value* scale = b.cast(n.operand(1), t);
  Value* bias = b.cast(n.operand(2), t);
  Value* mean = b.cast(n.operand(3), t);
  Value* variance = b.cast(n.operand(4), t);
  Values results(static_cast<size_t>(n.result_count()), nullptr);
  if (training) {
    std::vector<int64_t> axes = {0};
    for (int64_t i = 2; i < x->rank(); ++i) axes.push_back(i);
    const double momentum = n.attrs().number("momentum", 0.9);
    Value* batch_mean = reduce_mean(b, x, axes);
    Value* centred = b.sub(x, batch_mean);
    const Shape channels = {x->shape()[1]};
    Value* batch_variance = b.reshape(reduce_mean(b, b.mul(centred, centred), axes), channels);
    batch_mean = b.reshape(batch_mean, channels);
    auto running = [&](Value* old, Value* now) {
      return b.add(b.with_scalar("mul", old, momentum), b.with_scalar("mul", now, 1.0 - momentum));
    };
    if (results.size() > 1) results[1] = b.cast(running(mean, batch_mean), n.operand(3)->dtype());
    if (results.size() > 2)
      results[2] = b.cast(running(variance, batch_variance), n.operand(4)->dtype());
    mean = batch_mean;
    variance = batch_variance;
  }
  Value* k = b.div(scale, b.unary("sqrt", b.with_scalar("add", variance, epsilon)));
  Value* shift = b.sub(bias, b.mul(mean, k));
  results[0] =
      b.add(b.mul(x, per_channel(b, n, k, x->rank())), per_channel(b, n, shift, x->rank()));
  return results;
}

struct Moments {
  Value* normalized;
  Value* mean;
  Value* inverse_deviation;
};

/// (x - mean) / sqrt(variance + epsilon) over axes
Moments standardize(Builder& b, Value* x, const std::vector<int64_t>& axes, double epsilon) {
  Value* mean = reduce_mean(b, x, axes);
  Value* centred = b.sub(x, mean);
  Value* variance = reduce_mean(b, b.mul(centred, centred), axes);
  Value* inverse =
      b.div(b.scalar(1, x->dtype()), b.unary("sqrt", b.with_scalar("add", variance, epsilon)));
  return {b.mul(centred, inverse), mean, inverse};
}

std::vector<int64_t> axes_from(int first, int rank) {
  std::vector<int64_t> axes(static_cast<size_t>(rank - first));
  std::iota(axes.begin(), axes.end(), static_cast<int64_t>(first));
  return axes;
}

Values instance_norm(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  if (x->rank() < 3) fail(n, "expected N,C,spatial, got " + x->type().text());
  Value* y =
      standardize(b, x, axes_from(2, x->rank()), n.attrs().number("epsilon", 1e-5)).normalized;
  return {b.add(b.mul(y, per_channel(b, n, n.operand(1), x->rank())),
                per_channel(b, n, n.operand(2), x->rank()))};
}

Values layer_norm(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const DType stash =
      n.attrs().integer("stash_type", 1) == 1 && x->dtype() != DType::f64 ? DType::f32 : x->dtype();
  const int axis = normalize_axis(n.attrs().integer("axis", -1), x->rank(), n.where());
  const Moments m = standardize(b, b.cast(x, stash), axes_from(axis, x->rank()),
                                n.attrs().number("epsilon", 1e-5));
  Value* y = b.mul(b.cast(m.normalized, x->dtype()), n.operand(1));
  if (n.operand(2) != nullptr) y = b.add(y, n.operand(2));
  return {y, m.mean, m.inverse_deviation};
}

Values rms_norm(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const DType stash =
      n.attrs().integer("stash_type", 1) == 1 && x->dtype() != DType::f64 ? DType::f32 : x->dtype();
  const int axis = normalize_axis(n.attrs().integer("axis", -1), x->rank(), n.where());
  Value* wide = b.cast(x, stash);
  Value* mean = reduce_mean(b, b.mul(wide, wide), axes_from(axis, x->rank()));
  Value* root = b.unary("sqrt", b.with_scalar("add", mean, n.attrs().number("epsilon", 1e-5)));
  Value* y = b.cast(b.div(wide, root), x->dtype());
  return {b.mul(y, n.operand(1))};
}

Values group_norm(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const int64_t groups = n.attrs().integer("num_groups", 1);
  if (x->rank() < 2 || groups < 1)
    fail(n, "expected N,C,... and num_groups > 0, got " + x->type().text());
  const DType stash =
      n.attrs().integer("stash_type", 1) == 1 && x->dtype() != DType::f64 ? DType::f32 : x->dtype();
  Shape grouped = {x->shape()[0], Dim(groups), floor_div(x->shape()[1], Dim(groups))};
  grouped.insert(grouped.end(), x->shape().begin() + 2, x->shape().end());
  Value* wide = b.cast(b.reshape(x, grouped), stash);
  Value* y = standardize(b, wide, axes_from(2, wide->rank()), n.attrs().number("epsilon", 1e-5))
                 .normalized;
  y = b.cast(b.reshape(y, x->shape()), x->dtype());
  return {b.add(b.mul(y, per_channel(b, n, n.operand(1), x->rank())),
                per_channel(b, n, n.operand(2), x->rank()))};
}

// y = x / (bias + alpha / size * sum of squares over neighbouring channels)^beta
Values lrn(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  if (x->rank() < 2) fail(n, "expected N,C,..., got " + x->type().text());
  const int64_t size = n.attrs().integer("size");
  if (size < 1 || size > kMostWrittenOut)
    fail(n,
         "size is " + std::to_string(size) + ", expected 1 to " + std::to_string(kMostWrittenOut));
  Shape before(x->shape().size(), Dim(0));
  Shape after = before;
  before[1] = (size - 1) / 2;
  after[1] = size - 1 - (size - 1) / 2;
  Value* squares = b.pad(b.mul(x, x), before, after);
  Value* sum = nullptr;
  for (int64_t i = 0; i < size; ++i) {
    Value* part = b.slice_axis(squares, 1, Dim(i), x->shape()[1]);
    sum = sum == nullptr ? part : b.add(sum, part);
  }
  const double alpha = n.attrs().number("alpha", 1e-4) / static_cast<double>(size);
  Value* base =
      b.with_scalar("add", b.with_scalar("mul", sum, alpha), n.attrs().number("bias", 1.0));
  return {b.div(x, power(b, base, n.attrs().number("beta", 0.75)))};
}

// exp(x - max) / sum, shifted so that it cannot overflow
Value* softmax_of(Builder& b, Value* x, int64_t axis, bool logarithm) {
  Value* shifted = b.sub(x, b.reduce("reduce_max", x, {axis}));
  Value* e = b.exp(shifted);
  Value* sum = b.reduce("reduce_sum", e, {axis});
  return logarithm ? b.sub(shifted, b.log(sum)) : b.div(e, sum);
}

Values softmax(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  return {
      softmax_of(b, x, normalize_axis(n.attrs().integer("axis", -1), x->rank(), n.where()), false)};
}

Values log_softmax(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  return {
      softmax_of(b, x, normalize_axis(n.attrs().integer("axis", -1), x->rank(), n.where()), true)};
}

Values hardmax(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const int64_t axis = normalize_axis(n.attrs().integer("axis", -1), x->rank(), n.where());
  Value* winner = b.make("arg_max", {x}, {{"axis", axis}});
  Shape line(x->shape().size(), Dim(1));
  line[static_cast<size_t>(axis)] = x->shape()[static_cast<size_t>(axis)];
  Value* index = b.make("iota", {}, {{"shape", line}, {"axis", axis}, {"dtype", DType::i64}});
  return {b.cast(b.compare("eq", index, winner), x->dtype())};
}

Values lp_normalization(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const int64_t axis = normalize_axis(n.attrs().integer("axis", -1), x->rank(), n.where());
  const auto p = static_cast<double>(n.attrs().integer("p", 2));
  Value* norm = power(b, b.reduce("reduce_sum", power(b, b.unary("abs", x), p), {axis}), 1.0 / p);
  Value* zero = b.compare("eq", norm, b.scalar(0, x->dtype()));
  return {b.div(x, b.select(zero, b.scalar(1, x->dtype()), norm))};
}

Values mean_variance_normalization(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const auto axes = normalized_axes(n, n.attrs().integers("axes", {0, 2, 3}), x->rank());
  Value* centred = b.sub(x, reduce_mean(b, x, axes));
  Value* mean = reduce_mean(b, x, axes);
  Value* variance = b.sub(reduce_mean(b, b.mul(x, x), axes), b.mul(mean, mean));
  return {b.div(centred, b.with_scalar("add", b.unary("sqrt", variance), 1e-9))};
}

constexpr AttrDef kBatchNorm[] = {{"epsilon", AttrKind::number},
                                  {"momentum", AttrKind::number},
                                  {"training_mode", AttrKind::integer}};
constexpr AttrDef kEpsilon[] = {{"epsilon", AttrKind::number}};
constexpr AttrDef kLayerNorm[] = {
    {"axis", AttrKind::integer}, {"epsilon", AttrKind::number}, {"stash_type", AttrKind::integer}};
constexpr AttrDef kGroupNorm[] = {{"epsilon", AttrKind::number},
                                  {"num_groups", AttrKind::integer, true},
                                  {"stash_type", AttrKind::integer}};
constexpr AttrDef kLrn[] = {{"alpha", AttrKind::number},
                            {"beta", AttrKind::number},
                            {"bias", AttrKind::number},
                            {"size", AttrKind::integer, true}};
constexpr AttrDef kAxis[] = {{"axis", AttrKind::integer}};
constexpr AttrDef kLpNorm[] = {{"axis", AttrKind::integer}, {"p", AttrKind::integer}};
constexpr AttrDef kAxes[] = {{"axes", AttrKind::integers}};

constexpr OpDef onnx(std::string_view name, int operands, int optional,
                     std::span<const AttrDef> attrs, DecomposeFunction f, std::string_view doc,
                     int results = 1) {
  return {.name = name,
          .min_operands = operands,
          .max_operands = operands + optional,
          .max_results = results,
          .attrs = attrs,
          .traits = kOnnx,
          .decompose = f,
          .doc = doc};
}

constexpr OpDef kOps[] = {
    onnx("BatchNormalization", 5, 0, kBatchNorm, batch_norm, "normalisation per channel", 3),
    onnx("InstanceNormalization", 3, 0, kEpsilon, instance_norm,
         "normalisation per sample and channel"),
    onnx("LayerNormalization", 2, 1, kLayerNorm, layer_norm, "normalisation over trailing axes", 3),
    onnx("RMSNormalization", 2, 0, kLayerNorm, rms_norm, "division by the root mean square"),
    onnx("GroupNormalization", 3, 0, kGroupNorm, group_norm, "normalisation per group of channels"),
    onnx("LRN", 1, 0, kLrn, lrn, "local response normalisation across channels"),
    onnx("Softmax", 1, 0, kAxis, softmax, "normalised exponentials"),
    onnx("LogSoftmax", 1, 0, kAxis, log_softmax, "logarithm of softmax"),
    onnx("Hardmax", 1, 0, kAxis, hardmax, "one at the first largest element, zero elsewhere"),
    onnx("LpNormalization", 1, 0, kLpNorm, lp_normalization, "division by the p-norm"),
    onnx("MeanVarianceNormalization", 1, 0, kAxes, mean_variance_normalization,
         "zero mean, unit variance"),
};

}  // namespace

std::span<const OpDef> onnx_normalization() { return kOps; }

}  // namespace tintype::ops
