// Gradients of functions of one argument, written with the result y where that is cheaper.
#include "ir/ops/gradients.h"

#include <numbers>

namespace tintype::ops {

namespace {

Value* square(Builder& b, Value* x) { return b.mul(x, x); }
Value* plus(Builder& b, Value* x, double c) { return b.with_scalar("add", x, c); }

}  // namespace

// y' = y
Values exp_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* y = n.result();
  return {b.mul(g, y)};
}

// y' = 1 / x
Values log_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.div(g, x)};
}

// y' = 1 / (2 y)
Values sqrt_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* y = n.result();
  return {b.div(b.with_scalar("mul", g, 0.5), y)};
}

// y' = -y^3 / 2
Values rsqrt_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* y = n.result();
  return {b.mul(b.with_scalar("mul", g, -0.5), b.mul(y, square(b, y)))};
}

// y' = -y^2
Values reciprocal_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* y = n.result();
  return {b.neg(b.mul(g, square(b, y)))};
}

// y' = cos(x)
Values sin_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.mul(g, b.unary("cos", x))};
}

// y' = -sin(x)
Values cos_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.neg(b.mul(g, b.unary("sin", x)))};
}

// y' = 1 + y^2
Values tan_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* y = n.result();
  return {b.mul(g, plus(b, square(b, y), 1))};
}

// y' = 1 / sqrt(1 - x^2)
Values asin_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.mul(g, b.unary("rsqrt", plus(b, b.neg(square(b, x)), 1)))};
}

// y' = -1 / sqrt(1 - x^2)
Values acos_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.neg(b.mul(g, b.unary("rsqrt", plus(b, b.neg(square(b, x)), 1))))};
}

// y' = 1 / (1 + x^2)
Values atan_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.div(g, plus(b, square(b, x), 1))};
}

// y' = cosh(x)
Values sinh_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.mul(g, b.unary("cosh", x))};
}

// y' = sinh(x)
Values cosh_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.mul(g, b.unary("sinh", x))};
}

// y' = 1 - y^2
Values tanh_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* y = n.result();
  return {b.mul(g, plus(b, b.neg(square(b, y)), 1))};
}

// y' = 1 / sqrt(x^2 + 1)
Values asinh_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.mul(g, b.unary("rsqrt", plus(b, square(b, x), 1)))};
}

// y' = 1 / sqrt(x^2 - 1)
Values acosh_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.mul(g, b.unary("rsqrt", plus(b, square(b, x), -1)))};
}

// y' = 1 / (1 - x^2)
Values atanh_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {b.div(g, plus(b, b.neg(square(b, x)), 1))};
}

// y' = 2 / sqrt(pi) exp(-x^2)
Values erf_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* x = n.operand(0);
  return {
      b.mul(b.with_scalar("mul", g, 2.0 * std::numbers::inv_sqrtpi), b.exp(b.neg(square(b, x))))};
}

// y' = y (1 - y)
Values sigmoid_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* g = dy[0];
  Value* y = n.result();
  return {b.mul(g, b.mul(y, plus(b, b.neg(y), 1)))};
}

}  // namespace tintype::ops
