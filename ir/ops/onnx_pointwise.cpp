// Elementwise operators and activations of ONNX.
#include "ir/ops/decompose.h"

#include <cmath>
#include <numbers>

namespace tintype::ops {

namespace {

template <const char* Core>
Values as_unary(Builder& b, const Node& n) {
  return {b.unary(Core, n.operand(0))};
}

template <const char* Core>
Values as_binary(Builder& b, const Node& n) {
  return {b.make(Core, {n.operand(0), n.operand(1)})};
}

/// Folds any number of operands with a binary op.
template <const char* Core>
Values as_variadic(Builder& b, const Node& n) {
  Value* y = n.operand(0);
  for (int i = 1; i < n.operand_count(); ++i) y = b.make(Core, {y, n.operand(i)});
  return {n.operand_count() == 1 ? b.unary("identity", y) : y};
}

#define TINTYPE_NAME(id, text) constexpr char id[] = text
TINTYPE_NAME(kAdd, "add");
TINTYPE_NAME(kSub, "sub");
TINTYPE_NAME(kMul, "mul");
TINTYPE_NAME(kDiv, "div");
TINTYPE_NAME(kMax, "max");
TINTYPE_NAME(kMin, "min");
TINTYPE_NAME(kPow, "pow");
TINTYPE_NAME(kAnd, "and");
TINTYPE_NAME(kOr, "or");
TINTYPE_NAME(kXor, "xor");
TINTYPE_NAME(kEq, "eq");
TINTYPE_NAME(kLt, "lt");
TINTYPE_NAME(kLe, "le");
TINTYPE_NAME(kGt, "gt");
TINTYPE_NAME(kGe, "ge");
TINTYPE_NAME(kBitAnd, "bit_and");
TINTYPE_NAME(kBitOr, "bit_or");
TINTYPE_NAME(kBitXor, "bit_xor");
TINTYPE_NAME(kNeg, "neg");
TINTYPE_NAME(kAbs, "abs");
TINTYPE_NAME(kSign, "sign");
TINTYPE_NAME(kExp, "exp");
TINTYPE_NAME(kLog, "log");
TINTYPE_NAME(kSqrt, "sqrt");
TINTYPE_NAME(kReciprocal, "reciprocal");
TINTYPE_NAME(kSin, "sin");
TINTYPE_NAME(kCos, "cos");
TINTYPE_NAME(kTan, "tan");
TINTYPE_NAME(kAsin, "asin");
TINTYPE_NAME(kAcos, "acos");
TINTYPE_NAME(kAtan, "atan");
TINTYPE_NAME(kSinh, "sinh");
TINTYPE_NAME(kCosh, "cosh");
TINTYPE_NAME(kTanh, "tanh");
TINTYPE_NAME(kAsinh, "asinh");
TINTYPE_NAME(kAcosh, "acosh");
TINTYPE_NAME(kAtanh, "atanh");
TINTYPE_NAME(kErf, "erf");
TINTYPE_NAME(kSigmoid, "sigmoid");
TINTYPE_NAME(kRelu, "relu");
TINTYPE_NAME(kFloor, "floor");
TINTYPE_NAME(kCeil, "ceil");
TINTYPE_NAME(kRound, "round");
TINTYPE_NAME(kNot, "not");
TINTYPE_NAME(kBitNot, "bit_not");
TINTYPE_NAME(kIsNan, "is_nan");
TINTYPE_NAME(kIdentity, "identity");
#undef TINTYPE_NAME

Values mean(Builder& b, const Node& n) {
  Value* sum = as_variadic<kAdd>(b, n)[0];
  return {b.with_scalar("div", sum, n.operand_count())};
}

Values mod_op(Builder& b, const Node& n) {
  return {b.make("mod", {n.operand(0), n.operand(1)}, {{"fmod", n.attrs().integer("fmod")}})};
}

Values bit_shift(Builder& b, const Node& n) {
  const std::string direction = n.attrs().string("direction");
  if (direction != "LEFT" && direction != "RIGHT")
    fail(n, "direction must be LEFT or RIGHT, got '" + direction + "'");
  return {b.make(direction == "LEFT" ? "shift_left" : "shift_right", {n.operand(0), n.operand(1)})};
}

Values is_inf(Builder& b, const Node& n) { return {b.make("is_inf", {n.operand(0)}, n.attrs())}; }

Values where(Builder& b, const Node& n) {
  return {b.select(n.operand(0), n.operand(1), n.operand(2))};
}

Values clip(Builder& b, const Node& n) {
  Value* y = n.operand(0);
  if (n.operand(1) != nullptr) y = b.max(y, n.operand(1));
  if (n.operand(2) != nullptr) y = b.min(y, n.operand(2));
  return {y == n.operand(0) ? b.unary("identity", y) : y};
}

/// select(x > 0, x, other): at 0, where the two agree, the slope is that of `other`.
Value* positive_or(Builder& b, Value* x, Value* other) {
  return b.select(b.compare("gt", x, b.scalar(0, x->dtype())), x, other);
}

/// min(x, 0), with slope 1 at 0.
Value* not_positive(Builder& b, Value* x) {
  Value* zero = b.scalar(0, x->dtype());
  return b.select(b.compare("gt", x, zero), zero, x);
}

Values leaky_relu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  return {positive_or(b, x, b.with_scalar("mul", x, n.attrs().number("alpha", 0.01)))};
}

Values prelu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  return {positive_or(b, x, b.mul(x, n.operand(1)))};
}

/// alpha * (exp(x) - 1)
Value* expm1_scaled(Builder& b, Value* x, double alpha) {
  return b.with_scalar("mul", b.with_scalar("sub", b.exp(x), 1.0), alpha);
}

Values elu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  return {positive_or(b, x, expm1_scaled(b, not_positive(b, x), n.attrs().number("alpha", 1.0)))};
}

Values selu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const double alpha = n.attrs().number("alpha", 1.67326319217681884765625);
  const double gamma = n.attrs().number("gamma", 1.05070102214813232421875);
  return {
      b.with_scalar("mul", positive_or(b, x, expm1_scaled(b, not_positive(b, x), alpha)), gamma)};
}

// max(0, x) + min(0, alpha * (exp(x / alpha) - 1))
Values celu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const double alpha = n.attrs().number("alpha", 1.0);
  Value* low = expm1_scaled(b, not_positive(b, b.with_scalar("div", x, alpha)), alpha);
  return {positive_or(b, x, low)};
}

// 0.5 x (1 + erf(x / sqrt 2)), or its tanh form (Hendrycks & Gimpel 2016)
Values gelu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* inner = nullptr;
  if (n.attrs().string("approximate", "none") == "tanh") {
    Value* cubic = b.add(x, b.with_scalar("mul", b.mul(x, b.mul(x, x)), 0.044715));
    inner = b.unary("tanh", b.with_scalar("mul", cubic, std::sqrt(2.0 / std::numbers::pi)));
  } else {
    inner = b.unary("erf", b.with_scalar("mul", x, 1.0 / std::numbers::sqrt2));
  }
  return {b.mul(b.with_scalar("mul", x, 0.5), b.with_scalar("add", inner, 1.0))};
}

Value* hard_sigmoid_of(Builder& b, Value* x, double alpha, double beta) {
  Value* line = b.with_scalar("add", b.with_scalar("mul", x, alpha), beta);
  return b.with_scalar("min", b.with_scalar("max", line, 0.0), 1.0);
}

Values hard_sigmoid(Builder& b, const Node& n) {
  return {hard_sigmoid_of(b, n.operand(0), n.attrs().number("alpha", 0.2),
                          n.attrs().number("beta", 0.5))};
}

Values hard_swish(Builder& b, const Node& n) {
  return {b.mul(n.operand(0), hard_sigmoid_of(b, n.operand(0), 1.0 / 6.0, 0.5))};
}

// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which does not overflow
Value* softplus_of(Builder& b, Value* x) {
  Value* tail = b.log(b.with_scalar("add", b.exp(b.neg(b.unary("abs", x))), 1.0));
  return b.add(b.with_scalar("max", x, 0.0), tail);
}

Values softplus(Builder& b, const Node& n) { return {softplus_of(b, n.operand(0))}; }

Values mish(Builder& b, const Node& n) {
  return {b.mul(n.operand(0), b.unary("tanh", softplus_of(b, n.operand(0))))};
}

Values softsign(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  return {b.div(x, b.with_scalar("add", b.unary("abs", x), 1.0))};
}

Values swish(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const double alpha = n.attrs().number("alpha", 1.0);
  return {b.mul(x, b.unary("sigmoid", alpha == 1.0 ? x : b.with_scalar("mul", x, alpha)))};
}

Values thresholded_relu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* on = b.compare("gt", x, b.scalar(n.attrs().number("alpha", 1.0), x->dtype()));
  return {b.select(on, x, b.scalar(0, x->dtype()))};
}

Values shrink(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const double lambda = n.attrs().number("lambd", 0.5);
  const double bias = n.attrs().number("bias", 0.0);
  Value* zero = b.scalar(0, x->dtype());
  Value* low = b.select(b.compare("lt", x, b.scalar(-lambda, x->dtype())),
                        b.with_scalar("add", x, bias), zero);
  return {b.select(b.compare("gt", x, b.scalar(lambda, x->dtype())), b.with_scalar("sub", x, bias),
                   low)};
}

constexpr AttrDef kAlpha[] = {{"alpha", AttrKind::number}};
constexpr AttrDef kAlphaBeta[] = {{"alpha", AttrKind::number}, {"beta", AttrKind::number}};
constexpr AttrDef kAlphaGamma[] = {{"alpha", AttrKind::number}, {"gamma", AttrKind::number}};
constexpr AttrDef kApproximate[] = {{"approximate", AttrKind::string}};
constexpr AttrDef kFmod[] = {{"fmod", AttrKind::integer}};
constexpr AttrDef kDirection[] = {{"direction", AttrKind::string, true}};
constexpr AttrDef kIsInf[] = {{"detect_negative", AttrKind::integer},
                              {"detect_positive", AttrKind::integer}};
constexpr AttrDef kShrink[] = {{"bias", AttrKind::number}, {"lambd", AttrKind::number}};

constexpr OpDef commutative(OpDef def) {
  def.traits |= kCommutative;
  return def;
}

constexpr OpDef kOps[] = {
    commutative(onnx_op("Add", 2, 2, as_binary<kAdd>)),
    onnx_op("Sub", 2, 2, as_binary<kSub>),
    commutative(onnx_op("Mul", 2, 2, as_binary<kMul>)),
    onnx_op("Div", 2, 2, as_binary<kDiv>),
    onnx_op("Mod", 2, 2, mod_op, kFmod),
    onnx_op("Pow", 2, 2, as_binary<kPow>),
    commutative(onnx_op("Max", 1, -1, as_variadic<kMax>)),
    commutative(onnx_op("Min", 1, -1, as_variadic<kMin>)),
    commutative(onnx_op("Sum", 1, -1, as_variadic<kAdd>)),
    commutative(onnx_op("Mean", 1, -1, mean)),
    commutative(onnx_op("And", 2, 2, as_binary<kAnd>)),
    commutative(onnx_op("Or", 2, 2, as_binary<kOr>)),
    commutative(onnx_op("Xor", 2, 2, as_binary<kXor>)),
    commutative(onnx_op("Equal", 2, 2, as_binary<kEq>)),
    onnx_op("Less", 2, 2, as_binary<kLt>),
    onnx_op("LessOrEqual", 2, 2, as_binary<kLe>),
    onnx_op("Greater", 2, 2, as_binary<kGt>),
    onnx_op("GreaterOrEqual", 2, 2, as_binary<kGe>),
    commutative(onnx_op("BitwiseAnd", 2, 2, as_binary<kBitAnd>)),
    commutative(onnx_op("BitwiseOr", 2, 2, as_binary<kBitOr>)),
    commutative(onnx_op("BitwiseXor", 2, 2, as_binary<kBitXor>)),
    onnx_op("BitShift", 2, 2, bit_shift, kDirection),
    onnx_op("Neg", 1, 1, as_unary<kNeg>),
    onnx_op("Abs", 1, 1, as_unary<kAbs>),
    onnx_op("Sign", 1, 1, as_unary<kSign>),
    onnx_op("Exp", 1, 1, as_unary<kExp>),
    onnx_op("Log", 1, 1, as_unary<kLog>),
    onnx_op("Sqrt", 1, 1, as_unary<kSqrt>),
    onnx_op("Reciprocal", 1, 1, as_unary<kReciprocal>),
    onnx_op("Sin", 1, 1, as_unary<kSin>),
    onnx_op("Cos", 1, 1, as_unary<kCos>),
    onnx_op("Tan", 1, 1, as_unary<kTan>),
    onnx_op("Asin", 1, 1, as_unary<kAsin>),
    onnx_op("Acos", 1, 1, as_unary<kAcos>),
    onnx_op("Atan", 1, 1, as_unary<kAtan>),
    onnx_op("Sinh", 1, 1, as_unary<kSinh>),
    onnx_op("Cosh", 1, 1, as_unary<kCosh>),
    onnx_op("Tanh", 1, 1, as_unary<kTanh>),
    onnx_op("Asinh", 1, 1, as_unary<kAsinh>),
    onnx_op("Acosh", 1, 1, as_unary<kAcosh>),
    onnx_op("Atanh", 1, 1, as_unary<kAtanh>),
    onnx_op("Erf", 1, 1, as_unary<kErf>),
    onnx_op("Sigmoid", 1, 1, as_unary<kSigmoid>),
    onnx_op("Relu", 1, 1, as_unary<kRelu>),
    onnx_op("Floor", 1, 1, as_unary<kFloor>),
    onnx_op("Ceil", 1, 1, as_unary<kCeil>),
    onnx_op("Round", 1, 1, as_unary<kRound>),
    onnx_op("Not", 1, 1, as_unary<kNot>),
    onnx_op("BitwiseNot", 1, 1, as_unary<kBitNot>),
    onnx_op("IsNaN", 1, 1, as_unary<kIsNan>),
    onnx_op("IsInf", 1, 1, is_inf, kIsInf),
    onnx_op("Identity", 1, 1, as_unary<kIdentity>),
    onnx_op("Where", 3, 3, where),
    onnx_op("Clip", 1, 3, clip),
    onnx_op("LeakyRelu", 1, 1, leaky_relu, kAlpha),
    onnx_op("PRelu", 2, 2, prelu),
    onnx_op("Elu", 1, 1, elu, kAlpha),
    onnx_op("Selu", 1, 1, selu, kAlphaGamma),
    onnx_op("Celu", 1, 1, celu, kAlpha),
    onnx_op("Gelu", 1, 1, gelu, kApproximate),
    onnx_op("HardSigmoid", 1, 1, hard_sigmoid, kAlphaBeta),
    onnx_op("HardSwish", 1, 1, hard_swish),
    onnx_op("Softplus", 1, 1, softplus),
    onnx_op("Mish", 1, 1, mish),
    onnx_op("Softsign", 1, 1, softsign),
    onnx_op("Swish", 1, 1, swish, kAlpha),
    onnx_op("ThresholdedRelu", 1, 1, thresholded_relu, kAlpha),
    onnx_op("Shrink", 1, 1, shrink, kShrink),
};

}  // namespace

std::span<const OpDef> onnx_pointwise() { return kOps; }

}  // namespace tintype::ops
