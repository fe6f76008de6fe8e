// Vector forms of tanh, erf, sigmoid and pow.
#include "codegen/define/math.h"

#include <initializer_list>
#include <limits>

namespace tintype::math {

using Halide::Expr;
using Halide::select;

namespace {

/// c0 + c1 z + c2 z^2 ..., coefficients from the highest power down.
Expr polynomial(const Expr& z, std::initializer_list<float> coefficients) {
  Expr p;
  for (const float c : coefficients) p = p.defined() ? p * z + c : Expr(c);
  return p;
}

Expr external(const char* name, const Expr& x) {
  return Halide::Internal::Call::make(x.type(), name, {x}, Halide::Internal::Call::PureExtern);
}

}  // namespace

Expr tanh(const Expr& x) {
  if (x.type() != Halide::Float(32)) return Halide::tanh(x);
  const Expr a = Halide::abs(x);
  const Expr z = x * x;
  const Expr small = polynomial(z, {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f,
                                    1.33314422036e-1f, -3.33332819422e-1f}) *
                         z * x +
                     x;
  // Beyond 9 the result is 1 in f32, and exp stays finite.
  const Expr e = Halide::exp(2.0f * Halide::min(a, 9.0f));
  const Expr big = 1.0f - 2.0f / (e + 1.0f);
  return select(a < 0.625f, small, x < 0.0f, -big, Halide::is_nan(x), x, big);
}

Expr erf(const Expr& x) {
  if (x.type() != Halide::Float(32)) return external("erf", x);
  const Expr c = Halide::clamp(x, -4.0f, 4.0f);
  const Expr z = c * c;
  const Expr p =
      polynomial(z, {-2.72614225801306e-10f, 2.77068142495902e-08f, -2.10102402082508e-06f,
                     -5.69250639462346e-05f, -7.34990630326855e-04f, -2.95459980854025e-03f,
                     -1.60960333262415e-02f});
  const Expr q =
      polynomial(z, {-1.45660718464996e-05f, -2.13374055278905e-04f, -1.68282697438203e-03f,
                     -7.37332916720468e-03f, -1.42647390514189e-02f});
  return select(Halide::is_nan(x), x, c * p / q);
}

Expr sigmoid(const Expr& x) {
  // exp of a non-positive argument cannot overflow; the other half follows by symmetry.
  const Expr e = Halide::exp(-Halide::abs(x));
  const Expr one = Halide::cast(x.type(), 1.0f);
  return select(x < Halide::cast(x.type(), 0.0f), e / (one + e), one / (one + e));
}

Expr power(const Expr& x, const Expr& y) {
  const Expr one = Halide::cast(x.type(), 1.0f);
  const Expr zero = Halide::cast(x.type(), 0.0f);
  const Expr magnitude = Halide::pow(Halide::abs(x), y);
  const Expr integral = Halide::floor(y) == y;
  const Expr odd =
      integral &&
      Halide::floor(y * Halide::cast(x.type(), 0.5f)) * Halide::cast(x.type(), 2.0f) != y;
  const Expr nan = Halide::cast(x.type(), std::numeric_limits<float>::quiet_NaN());
  const Expr signed_power =
      select(x >= zero, magnitude, !integral, nan, odd, -magnitude, magnitude);
  const Expr infinity = Halide::cast(x.type(), std::numeric_limits<float>::infinity());
  return select(y == zero || x == one, one, Halide::is_nan(x) || Halide::is_nan(y), x + y,
                x == zero, select(y > zero, zero, infinity), signed_power);
}

}  // namespace tintype::math
