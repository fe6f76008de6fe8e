// Reductions, scans and sorts of ONNX.
#include "ir/ops/decompose.h"

#include <numeric>

namespace tintype::ops {

namespace {

/// Axes of a reduction; empty means "nothing to reduce".
std::vector<int64_t> reduce_axes(const Node& n) {
  const int rank = n.operand(0)->rank();
  std::vector<int64_t> axes;
  if (n.operand(1) != nullptr) axes = static_integers(n, 1, "axes");
  if (axes.empty() && n.attrs().integer("noop_with_empty_axes") == 0) {
    axes.resize(static_cast<size_t>(rank));
    std::iota(axes.begin(), axes.end(), int64_t{0});
  }
  return normalized_axes(n, axes, rank);
}

Value* finish(Builder& b, const Node& n, Value* y, const std::vector<int64_t>& axes) {
  if (n.attrs().integer("keepdims", 1) == 0) y = b.reshape(y, without_axes(y->shape(), axes));
  return y == n.operand(0) ? b.unary("identity", y) : y;
}

Values reduce_as(Builder& b, const Node& n, std::string_view core) {
  const auto axes = reduce_axes(n);
  return {finish(b, n, b.reduce(core, n.operand(0), axes), axes)};
}

Values reduce_sum(Builder& b, const Node& n) { return reduce_as(b, n, "reduce_sum"); }
Values reduce_prod(Builder& b, const Node& n) { return reduce_as(b, n, "reduce_prod"); }

/// Booleans reduce as bytes: max is "any", min is "all".
Values reduce_extreme(Builder& b, const Node& n, std::string_view core) {
  if (n.operand(0)->dtype() != DType::boolean) return reduce_as(b, n, core);
  const auto axes = reduce_axes(n);
  Value* y = b.reduce(core, b.cast(n.operand(0), DType::u8), axes);
  return {finish(b, n, b.cast(y, DType::boolean), axes)};
}

Values reduce_max(Builder& b, const Node& n) { return reduce_extreme(b, n, "reduce_max"); }
Values reduce_min(Builder& b, const Node& n) { return reduce_extreme(b, n, "reduce_min"); }

Values reduce_mean_op(Builder& b, const Node& n) {
  const auto axes = reduce_axes(n);
  return {finish(b, n, reduce_mean(b, n.operand(0), axes), axes)};
}

Value* sum_of(Builder& b, const Node& n, Value* x, const std::vector<int64_t>& axes) {
  return finish(b, n, b.reduce("reduce_sum", x, axes), axes);
}

Values reduce_l1(Builder& b, const Node& n) {
  return {sum_of(b, n, b.unary("abs", n.operand(0)), reduce_axes(n))};
}

Values reduce_sum_square(Builder& b, const Node& n) {
  return {sum_of(b, n, b.mul(n.operand(0), n.operand(0)), reduce_axes(n))};
}

/// Integer tensors take their logarithms and roots in f64.
Value* as_float(Builder& b, Value* x) { return is_float(x->dtype()) ? x : b.cast(x, DType::f64); }

Values reduce_l2(Builder& b, const Node& n) {
  Value* x = as_float(b, n.operand(0));
  Value* sum = sum_of(b, n, b.mul(x, x), reduce_axes(n));
  return {b.cast(b.unary("sqrt", sum), n.operand(0)->dtype())};
}

Values reduce_log_sum(Builder& b, const Node& n) {
  Value* sum = sum_of(b, n, as_float(b, n.operand(0)), reduce_axes(n));
  return {b.cast(b.log(sum), n.operand(0)->dtype())};
}

// max + log(sum(exp(x - max))), with the shift left out where the maximum is infinite
Values reduce_log_sum_exp(Builder& b, const Node& n) {
  const auto axes = reduce_axes(n);
  Value* x = as_float(b, n.operand(0));
  Value* peak = b.reduce("reduce_max", x, axes);
  peak = b.select(b.unary("is_inf", peak), b.scalar(0, x->dtype()), peak);
  Value* sum = b.reduce("reduce_sum", b.exp(b.sub(x, peak)), axes);
  Value* y = b.cast(b.add(b.log(sum), peak), n.operand(0)->dtype());
  return {finish(b, n, y, axes)};
}

Values arg_extreme(Builder& b, const Node& n, std::string_view core) {
  const int64_t axis =
      normalize_axis(n.attrs().integer("axis", 0), n.operand(0)->rank(), n.where());
  Value* y =
      b.make(core, {n.operand(0)},
             {{"axis", axis}, {"select_last_index", n.attrs().integer("select_last_index")}});
  return {finish(b, n, y, {axis})};
}

Values arg_max(Builder& b, const Node& n) { return arg_extreme(b, n, "arg_max"); }
Values arg_min(Builder& b, const Node& n) { return arg_extreme(b, n, "arg_min"); }

Values cumulative(Builder& b, const Node& n, std::string_view core) {
  const int64_t axis =
      normalize_axis(static_integer(n, 1, "axis"), n.operand(0)->rank(), n.where());
  return {b.make(core, {n.operand(0)},
                 {{"axis", axis},
                  {"exclusive", n.attrs().integer("exclusive")},
                  {"reverse", n.attrs().integer("reverse")}})};
}

Values cumsum(Builder& b, const Node& n) { return cumulative(b, n, "cumsum"); }
Values cumprod(Builder& b, const Node& n) { return cumulative(b, n, "cumprod"); }

Values top_k(Builder& b, const Node& n) {
  const int64_t axis =
      normalize_axis(n.attrs().integer("axis", -1), n.operand(0)->rank(), n.where());
  const int64_t k = static_integer(n, 1, "k");
  if (k < 0) fail(n, "k is negative");
  Node* top = b.create("top_k", {n.operand(0)},
                       {{"axis", axis},
                        {"k", k},
                        {"largest", n.attrs().integer("largest", 1)},
                        {"sorted", n.attrs().integer("sorted", 1)}},
                       2);
  return {top->result(0), top->result(1)};
}

constexpr AttrDef kReduce[] = {{"keepdims", AttrKind::integer},
                               {"noop_with_empty_axes", AttrKind::integer}};
constexpr AttrDef kArg[] = {{"axis", AttrKind::integer},
                            {"keepdims", AttrKind::integer},
                            {"select_last_index", AttrKind::integer}};
constexpr AttrDef kCumsum[] = {{"exclusive", AttrKind::integer}, {"reverse", AttrKind::integer}};
constexpr AttrDef kTopK[] = {
    {"axis", AttrKind::integer}, {"largest", AttrKind::integer}, {"sorted", AttrKind::integer}};

constexpr OpDef kOps[] = {
    onnx_op("ReduceSum", 1, 2, reduce_sum, kReduce),
    onnx_op("ReduceProd", 1, 2, reduce_prod, kReduce),
    onnx_op("ReduceMax", 1, 2, reduce_max, kReduce),
    onnx_op("ReduceMin", 1, 2, reduce_min, kReduce),
    onnx_op("ReduceMean", 1, 2, reduce_mean_op, kReduce),
    onnx_op("ReduceL1", 1, 2, reduce_l1, kReduce),
    onnx_op("ReduceL2", 1, 2, reduce_l2, kReduce),
    onnx_op("ReduceSumSquare", 1, 2, reduce_sum_square, kReduce),
    onnx_op("ReduceLogSum", 1, 2, reduce_log_sum, kReduce),
    onnx_op("ReduceLogSumExp", 1, 2, reduce_log_sum_exp, kReduce),
    onnx_op("ArgMax", 1, 1, arg_max, kArg),
    onnx_op("ArgMin", 1, 1, arg_min, kArg),
    onnx_op("CumProd", 2, 2, cumprod, kCumsum),
    onnx_op("CumSum", 2, 2, cumsum, kCumsum),
    onnx_op("TopK", 2, 2, top_k, kTopK, 2),
};

}  // namespace

std::span<const OpDef> onnx_reduction() { return kOps; }

}  // namespace tintype::ops
