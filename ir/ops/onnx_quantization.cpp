// Numbers as small integers: real = scale (integer - zero point).
#include "ir/ops/decompose.h"

#include <algorithm>
#include <string>

namespace tintype::ops {

namespace {

/// A scale or zero point, so that it broadcasts against x: one for all elements, one for each index
/// of the axis, or (with `block`) one for each block of indices.
Value* spread(Builder& b, const Node& n, Value* v, const Value* x, const char* what) {
  const int64_t block = n.attrs().integer("block_size");
  if (block < 0) fail(n, "block_size is negative");
  if (block == 0 && (v->rank() == 0 || (v->rank() == 1 && v->shape()[0].is(1))))
    return b.reshape(v, {});
  // A vector has one axis to choose from, whatever the attribute says.
  const int64_t stated = x->rank() == 1 ? 0 : n.attrs().integer("axis", 1);
  const auto axis = static_cast<size_t>(normalize_axis(stated, x->rank(), n.where()));
  const Dim extent = x->shape()[axis];
  const std::string found = std::string(what) + " " + v->type().text();
  if (block == 0) {
    if (v->rank() != 1) fail(n, found + " has several axes, which needs block_size");
    if ((v->shape()[0] - extent).is_static() && !(v->shape()[0] == extent))
      fail(n, found + " does not fit axis " + std::to_string(axis) + " of " + x->type().text());
    b.graph().require_equal(v->shape()[0], extent, n.where() + ": " + what + " must fit the axis");
    Shape shape(static_cast<size_t>(x->rank()) - axis, Dim(1));
    shape[0] = v->shape()[0];
    return b.reshape(v, std::move(shape));
  }
  Shape expected = x->shape();
  expected[axis] = ceil_div(extent, Dim(block));
  if (v->shape() != expected)
    fail(n, found + " does not fit blocks of " + std::to_string(block) + " of " + x->type().text() +
                ", expected " + text_of(expected));
  Shape apart = expected, repeated = expected, joined = expected;
  const auto behind = static_cast<std::ptrdiff_t>(axis) + 1;
  apart.insert(apart.begin() + behind, Dim(1));
  repeated.insert(repeated.begin() + behind, Dim(block));
  joined[axis] = expected[axis] * Dim(block);
  v = b.reshape(b.broadcast(b.reshape(v, apart), repeated), joined);
  return b.slice_axis(v, static_cast<int>(axis), Dim(0), extent);
}

void require_quantized(const Node& n, DType dtype) {
  if (!is_int(dtype) || size_of(dtype) > 2)
    fail(n, "element type " + std::string(name_of(dtype)) +
                " is not one of i8, u8, i16, u16, to which numbers are quantised");
}

/// Numbers to the nearest integers (ties to even), shifted by the zero point, within the range.
Value* saturated(Builder& b, Value* x, Value* zero_point, DType to) {
  Value* y = b.cast(b.unary("round", x), DType::f32);
  if (zero_point != nullptr) y = b.add(y, b.cast(zero_point, DType::f32));
  y = b.max(y, b.cast(lowest(b, to), DType::f32));
  y = b.min(y, b.cast(highest(b, to), DType::f32));
  return b.cast(y, to);
}

// y = saturate(round(x / scale) + zero point)
Values quantize_linear(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* zero = n.operand(2);
  const AttrMap& a = n.attrs();
  const int64_t stated = a.integer("output_dtype");
  const DType to = zero != nullptr ? zero->dtype()
                   : stated != 0   ? dtype_of_onnx(n, stated)
                                   : DType::u8;
  if (stated != 0 && dtype_of_onnx(n, stated) != to)
    fail(n, "output_dtype is " + std::string(name_of(dtype_of_onnx(n, stated))) +
                ", the zero point " + zero->type().text());
  require_quantized(n, to);
  const int64_t precision = a.integer("precision");
  DType work = precision != 0 ? dtype_of_onnx(n, precision) : n.operand(1)->dtype();
  if (!is_float(work)) work = DType::f32;
  Value* scale = spread(b, n, b.cast(n.operand(1), work), x, "scale");
  if (zero != nullptr) zero = spread(b, n, zero, x, "zero point");
  return {saturated(b, b.div(b.cast(x, work), scale), zero, to)};
}

/// x - zero point, as i32.
Value* shifted(Builder& b, const Node& n, Value* x, Value* zero) {
  Value* wide = b.cast(x, DType::i32);
  if (zero == nullptr) return wide;
  if (zero->dtype() != x->dtype())
    fail(n, "zero point " + zero->type().text() + " and values " + x->type().text() +
                " differ in element type");
  return b.sub(wide, b.cast(zero, DType::i32));
}

// y = scale (x - zero point)
Values dequantize_linear(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  if (!is_int(x->dtype()) || size_of(x->dtype()) > 4)
    fail(n, "expected quantised values, got " + x->type().text());
  Value* zero = n.operand(2);
  if (zero != nullptr) zero = spread(b, n, zero, x, "zero point");
  const int64_t stated = n.attrs().integer("output_dtype");
  const DType to = stated != 0 ? dtype_of_onnx(n, stated) : n.operand(1)->dtype();
  Value* scale = spread(b, n, b.cast(n.operand(1), DType::f32), x, "scale");
  return {b.cast(b.mul(b.cast(shifted(b, n, x, zero), DType::f32), scale), to)};
}

bool is_one(const Value* v) {
  return std::all_of(v->shape().begin(), v->shape().end(), [](const Dim& d) { return d.is(1); });
}

/// Zero point or scale of a matrix: one, one per row (or column), or in the shape of the matrices
/// but for one axis.
Value* of_matrix(Builder& b, const Node& n, Value* v, bool per_row, const char* what) {
  if (v == nullptr) return nullptr;
  if (is_one(v) && v->rank() <= 1) return b.reshape(v, {});
  if (v->rank() == 1 && per_row) return b.reshape(v, {v->shape()[0], Dim(1)});
  if (v->rank() >= 2) {
    const Dim& along = v->shape()[v->shape().size() - (per_row ? 1 : 2)];
    if (!along.is(1))
      fail(n, std::string(what) + " " + v->type().text() + " varies along the summed axis");
  }
  return v;
}

/// Zero point or scale of convolution weights: one, or one per filter.
Value* of_filters(Builder& b, const Node& n, Value* v, const Value* w, const char* what) {
  if (v == nullptr) return nullptr;
  if (is_one(v)) return b.reshape(v, {});
  if (v->rank() != 1 || w->rank() < 3 || !(v->shape()[0] == w->shape()[0]))
    fail(n,
         std::string(what) + " " + v->type().text() + " does not fit weights " + w->type().text());
  return v;
}

Value* one_for_all(Builder& b, const Node& n, Value* v, const char* what) {
  if (v == nullptr) return nullptr;
  if (!is_one(v)) fail(n, std::string(what) + " must be a single number, got " + v->type().text());
  return b.reshape(v, {});
}

/// One per filter, so that it broadcasts against M,C,window or (`result`) N,M,spatial.
Value* along_filters(Builder& b, Value* v, int rank, bool result) {
  if (v == nullptr || v->rank() == 0) return v;
  Shape shape(static_cast<size_t>(rank) - (result ? 1 : 0), Dim(1));
  shape[0] = v->shape()[0];
  return b.reshape(v, std::move(shape));
}

Values matmul_integer(Builder& b, const Node& n) {
  Value* x = shifted(b, n, n.operand(0), of_matrix(b, n, n.operand(2), true, "zero point"));
  Value* y = shifted(b, n, n.operand(1), of_matrix(b, n, n.operand(3), false, "zero point"));
  return {b.make("MatMul", {x, y})};
}

Values conv_integer(Builder& b, const Node& n) {
  Value* w = n.operand(1);
  Value* w_zero =
      along_filters(b, of_filters(b, n, n.operand(3), w, "zero point"), w->rank(), false);
  Value* x = shifted(b, n, n.operand(0), one_for_all(b, n, n.operand(2), "zero point"));
  return {b.make("Conv", {x, shifted(b, n, w, w_zero)}, n.attrs())};
}

/// Operands of the ops that take quantised values to quantised values.
enum Quantized { kX, kXScale, kXZero, kW, kWScale, kWZero, kYScale, kYZero, kBias };

/// sums * (x scale * w scale / y scale), rounded and shifted
Value* requantized(Builder& b, const Node& n, Value* sums, Value* x_scale, Value* w_scale) {
  const DType to = n.operand(kYZero)->dtype();
  require_quantized(n, to);
  const auto f32 = [&](Value* v) { return b.cast(v, DType::f32); };
  Value* y_scale = one_for_all(b, n, n.operand(kYScale), "scale of the result");
  Value* factor = b.div(b.mul(f32(x_scale), f32(w_scale)), f32(y_scale));
  Value* zero = one_for_all(b, n, n.operand(kYZero), "zero point of the result");
  return saturated(b, b.mul(f32(sums), factor), zero, to);
}

Values qlinear_matmul(Builder& b, const Node& n) {
  const auto row = [&](Quantized i, const char* what) {
    return of_matrix(b, n, n.operand(i), true, what);
  };
  const auto column = [&](Quantized i, const char* what) {
    return of_matrix(b, n, n.operand(i), false, what);
  };
  Value* x = shifted(b, n, n.operand(kX), row(kXZero, "zero point"));
  Value* w = shifted(b, n, n.operand(kW), column(kWZero, "zero point"));
  return {
      requantized(b, n, b.make("MatMul", {x, w}), row(kXScale, "scale"), column(kWScale, "scale"))};
}

Values qlinear_conv(Builder& b, const Node& n) {
  Value* w = n.operand(kW);
  const int rank = w->rank();
  Value* w_zero =
      along_filters(b, of_filters(b, n, n.operand(kWZero), w, "zero point"), rank, false);
  Value* w_scale = along_filters(b, of_filters(b, n, n.operand(kWScale), w, "scale"), rank, true);
  Value* x = shifted(b, n, n.operand(kX), one_for_all(b, n, n.operand(kXZero), "zero point"));
  std::vector<Value*> operands = {x, shifted(b, n, w, w_zero)};
  if (n.operand(kBias) != nullptr) operands.push_back(n.operand(kBias));
  Value* sums = b.make("Conv", operands, n.attrs());
  return {requantized(b, n, sums, one_for_all(b, n, n.operand(kXScale), "scale"), w_scale)};
}

constexpr AttrDef kQuantize[] = {
    {"axis", AttrKind::integer},         {"block_size", AttrKind::integer},
    {"output_dtype", AttrKind::integer}, {"precision", AttrKind::integer},
    {"saturate", AttrKind::integer},
};
constexpr AttrDef kDequantize[] = {{"axis", AttrKind::integer},
                                   {"block_size", AttrKind::integer},
                                   {"output_dtype", AttrKind::integer}};
constexpr AttrDef kConv[] = {{"auto_pad", AttrKind::string}, {"dilations", AttrKind::integers},
                             {"group", AttrKind::integer},   {"kernel_shape", AttrKind::integers},
                             {"pads", AttrKind::integers},   {"strides", AttrKind::integers}};

constexpr OpDef kOps[] = {
    onnx_op("QuantizeLinear", 2, 3, quantize_linear, "round(x / scale) + zero point", kQuantize),
    onnx_op("DequantizeLinear", 2, 3, dequantize_linear, "scale (x - zero point)", kDequantize),
    onnx_op("MatMulInteger", 2, 4, matmul_integer, "product of integer matrices as i32"),
    onnx_op("ConvInteger", 2, 4, conv_integer, "convolution of integers as i32", kConv),
    onnx_op("QLinearMatMul", 8, 8, qlinear_matmul, "product of quantised matrices, quantised"),
    onnx_op("QLinearConv", 8, 9, qlinear_conv, "convolution of quantised values, quantised", kConv),
};

}  // namespace

std::span<const OpDef> onnx_quantization() { return kOps; }

}  // namespace tintype::ops
