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

constexpr OpDef onnx(std::string_view name, int min, int max, DecomposeFunction f,
                     std::span<const AttrDef> attrs = {}, int results = 1) {
  return {.name = name,
          .min_operands = min,
          .max_operands = max,
          .max_results = results,
          .attrs = attrs,
          .traits = kOnnx,
          .decompose = f,
          .doc = ""};
}

constexpr OpDef commutative(OpDef def) {
  def.traits |= kCommutative;
  return def;
}

constexpr OpDef kOps[] = {
    commutative(onnx("Add", 2, 2, as_binary<kAdd>)),
    onnx("Sub", 2, 2, as_binary<kSub>),
    commutative(onnx("Mul", 2, 2, as_binary<kMul>)),
    onnx("Div", 2, 2, as_binary<kDiv>),
    onnx("Mod", 2, 2, mod_op, kFmod),
    onnx("Pow", 2, 2, as_binary<kPow>),
    commutative(onnx("Max", 1, -1, as_variadic<kMax>)),
    commutative(onnx("Min", 1, -1, as_variadic<kMin>)),
    commutative(onnx("Sum", 1, -1, as_variadic<kAdd>)),
    commutative(onnx("Mean", 1, -1, mean)),
    commutative(onnx("And", 2, 2, as_binary<kAnd>)),
    commutative(onnx("Or", 2, 2, as_binary<kOr>)),
    commutative(onnx("Xor", 2, 2, as_binary<kXor>)),
    commutative(onnx("Equal", 2, 2, as_binary<kEq>)),
    onnx("Less", 2, 2, as_binary<kLt>),
    onnx("LessOrEqual", 2, 2, as_binary<kLe>),
    onnx("Greater", 2, 2, as_binary<kGt>),
    onnx("GreaterOrEqual", 2, 2, as_binary<kGe>),
    commutative(onnx("BitwiseAnd", 2, 2, as_binary<kBitAnd>)),
    commutative(onnx("BitwiseOr", 2, 2, as_binary<kBitOr>)),
    commutative(onnx("BitwiseXor", 2, 2, as_binary<kBitXor>)),
    onnx("BitShift", 2, 2, bit_shift, kDirection),
    onnx("Neg", 1, 1, as_unary<kNeg>),
    onnx("Abs", 1, 1, as_unary<kAbs>),
    onnx("Sign", 1, 1, as_unary<kSign>),
    onnx("Exp", 1, 1, as_unary<kExp>),
    onnx("Log", 1, 1, as_unary<kLog>),
    onnx("Sqrt", 1, 1, as_unary<kSqrt>),
    onnx("Reciprocal", 1, 1, as_unary<kReciprocal>),
    onnx("Sin", 1, 1, as_unary<kSin>),
    onnx("Cos", 1, 1, as_unary<kCos>),
    onnx("Tan", 1, 1, as_unary<kTan>),
    onnx("Asin", 1, 1, as_unary<kAsin>),
    onnx("Acos", 1, 1, as_unary<kAcos>),
    onnx("Atan", 1, 1, as_unary<kAtan>),
    onnx("Sinh", 1, 1, as_unary<kSinh>),
    onnx("Cosh", 1, 1, as_unary<kCosh>),
    onnx("Tanh", 1, 1, as_unary<kTanh>),
    onnx("Asinh", 1, 1, as_unary<kAsinh>),
    onnx("Acosh", 1, 1, as_unary<kAcosh>),
    onnx("Atanh", 1, 1, as_unary<kAtanh>),
    onnx("Erf", 1, 1, as_unary<kErf>),
    onnx("Sigmoid", 1, 1, as_unary<kSigmoid>),
    onnx("Relu", 1, 1, as_unary<kRelu>),
    onnx("Floor", 1, 1, as_unary<kFloor>),
    onnx("Ceil", 1, 1, as_unary<kCeil>),
    onnx("Round", 1, 1, as_unary<kRound>),
    onnx("Not", 1, 1, as_unary<kNot>),
    onnx("BitwiseNot", 1, 1, as_unary<kBitNot>),
    onnx("IsNaN", 1, 1, as_unary<kIsNan>),
    onnx("IsInf", 1, 1, is_inf, kIsInf),
    onnx("Identity", 1, 1, as_unary<kIdentity>),
    onnx("Where", 3, 3, where),
    onnx("Clip", 1, 3, clip),
    onnx("LeakyRelu", 1, 1, leaky_relu, kAlpha),
    onnx("PRelu", 2, 2, prelu),
    onnx("Elu", 1, 1, elu, kAlpha),
    onnx("Selu", 1, 1, selu, kAlphaGamma),
    onnx("Celu", 1, 1, celu, kAlpha),
    onnx("Gelu", 1, 1, gelu, kApproximate),
    onnx("HardSigmoid", 1, 1, hard_sigmoid, kAlphaBeta),
    onnx("HardSwish", 1, 1, hard_swish),
    onnx("Softplus", 1, 1, softplus),
    onnx("Mish", 1, 1, mish),
    onnx("Softsign", 1, 1, softsign),
    onnx("Swish", 1, 1, swish, kAlpha),
    onnx("ThresholdedRelu", 1, 1, thresholded_relu, kAlpha),
    onnx("Shrink", 1, 1, shrink, kShrink),
};

}  // namespace

std::span<const OpDef> onnx_pointwise() { return kOps; }

}  // namespace tintype::ops
