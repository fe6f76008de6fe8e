// Interpolation kernels as core ops.
#include "ir/ops/interpolation.h"

namespace tintype::ops {

namespace {

/// (((c3 u + c2) u + c1) u + c0
Value* polynomial(Builder& b, Value* u, double c3, double c2, double c1, double c0) {
  Value* y = b.with_scalar("mul", u, c3);
  y = b.mul(b.with_scalar("add", y, c2), u);
  y = b.mul(b.with_scalar("add", y, c1), u);
  return b.with_scalar("add", y, c0);
}

}  // namespace

Value* linear_weight(Builder& b, Value* t) {
  return b.unary("relu", b.sub(b.scalar(1, t->dtype()), b.unary("abs", t)));
}

// |t| <= 1: (a + 2) |t|^3 - (a + 3) |t|^2 + 1
// |t| <  2: a |t|^3 - 5 a |t|^2 + 8 a |t| - 4 a
Value* cubic_weight(Builder& b, Value* t, double a) {
  Value* u = b.unary("abs", t);
  Value* near = polynomial(b, u, a + 2, -(a + 3), 0, 1);
  Value* far = polynomial(b, u, a, -5 * a, 8 * a, -4 * a);
  Value* outside = b.compare("ge", u, b.scalar(2, t->dtype()));
  return b.select(b.compare("le", u, b.scalar(1, t->dtype())), near,
                  b.select(outside, b.scalar(0, t->dtype()), far));
}

}  // namespace tintype::ops
