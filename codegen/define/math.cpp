// Vector forms of exp, tanh, erf, sigmoid and pow.
#include "codegen/define/math.h"

#include <cstdint>
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

/// exp of what is neither NaN nor beyond the normal numbers: 2^k exp(r) with |r| <= ln(2) / 2, k
/// rounded by adding 1.5 * 2^23, where the last place of a float is one. The polynomial is that of
/// expf in the Cephes library.
Expr bounded_exp(const Expr& x) {
  constexpr float kRounder = 12582912.0f;
  const Expr shifted = Halide::reinterpret<int32_t>(x * 1.44269504088896341f + kRounder) -
                       Halide::reinterpret<int32_t>(Expr(kRounder));
  const Expr k = Halide::cast<float>(shifted);
  const Expr r = x - k * 0.693359375f - k * -2.12194440e-4f;
  const Expr p = polynomial(r, {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) *
                     (r * r) +
                 (r + 1.0f);
  return Halide::reinterpret<float>(Halide::reinterpret<int32_t>(p) + (shifted << 23));
}

}  // namespace

Expr is_nan(const Expr& x) {
  const Halide::Type bits = Halide::Int(x.type().bits());
  const bool single = x.type() == Halide::Float(32);
  const int64_t magnitude = single ? INT64_C(0x7fffffff) : INT64_C(0x7fffffffffffffff);
  const int64_t infinity = single ? INT64_C(0x7f800000) : INT64_C(0x7ff0000000000000);
  return (Halide::reinterpret(bits, x) & Halide::Internal::make_const(bits, magnitude)) >
         Halide::Internal::make_const(bits, infinity);
}

Expr exp(const Expr& x) {
  if (x.type() != Halide::Float(32)) return Halide::exp(x);
  constexpr float kLeast = -87.3365448f, kMost = 88.7228394f;  // of 2^-126 and 2^128
  const Expr infinity = std::numeric_limits<float>::infinity();
  return select(math::is_nan(x), x, x < kLeast, 0.0f, x >= kMost, infinity, bounded_exp(x));
}

Expr tanh(const Expr& x) {
  if (x.type() != Halide::Float(32)) return Halide::tanh(x);
  // Beyond 7.9988 the result is 1 in f32.
  const Expr c = Halide::clamp(x, -7.99881172180175781f, 7.99881172180175781f);
  const Expr z = c * c;
  const Expr p =
      polynomial(z, {-2.76076847742355e-16f, 2.00018790482477e-13f, -8.60467152213735e-11f,
                     5.12229709037114e-08f, 1.48572235717979e-05f, 6.37261928875436e-04f,
                     4.89352455891786e-03f});
  const Expr q = polynomial(z, {1.19825839466702e-06f, 1.18534705686654e-04f, 2.26843463243900e-03f,
                                4.89352518554385e-03f});
  return select(math::is_nan(x), x, c * p / q);
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
  return select(math::is_nan(x), x, c * p / q);
}

Expr sigmoid(const Expr& x) {
  const Expr one = Halide::cast(x.type(), 1.0f);
  if (x.type() == Halide::Float(32)) {
    // Within these bounds the exponential is a normal number.
    const Expr e = bounded_exp(-Halide::clamp(x, -87.0f, 87.0f));
    return select(math::is_nan(x), x, one / (one + e));
  }
  // exp of a non-positive argument cannot overflow; the other half follows by symmetry.
  const Expr e = Halide::exp(-Halide::abs(x));
  return select(x < Halide::cast(x.type(), 0.0f), e, one) / (one + e);
}

Expr power(const Expr& x, const Expr& y) {
  const Expr one = Halide::cast(x.type(), 1.0f);
  const Expr zero = Halide::cast(x.type(), 0.0f);
  const Expr infinity = Halide::cast(x.type(), std::numeric_limits<float>::infinity());
  // Halide's f32 power is made of a logarithm and an exponential that do not know infinities.
  const Expr a = Halide::abs(x);
  const Expr endless = select(a == one, one, y > zero, select(a > one, infinity, zero),
                              select(a > one, zero, infinity));
  const Expr magnitude =
      select(a == infinity || Halide::abs(y) == infinity, endless, Halide::pow(a, y));
  const Expr integral = Halide::floor(y) == y;
  const Expr odd =
      integral &&
      Halide::floor(y * Halide::cast(x.type(), 0.5f)) * Halide::cast(x.type(), 2.0f) != y;
  const Expr nan = Halide::cast(x.type(), std::numeric_limits<float>::quiet_NaN());
  const Expr signed_power =
      select(x >= zero, magnitude, odd, -magnitude, integral || a == infinity, magnitude, nan);
  // The sign of a zero stays with odd powers.
  const Halide::Type bits = Halide::Int(x.type().bits());
  const Expr negative = odd && Halide::reinterpret(bits, x) < Halide::Internal::make_zero(bits);
  const Expr of_zero =
      select(y > zero, select(negative, x, zero), select(negative, -infinity, infinity));
  return select(y == zero || x == one, one, math::is_nan(x) || math::is_nan(y), x + y, x == zero,
                of_zero, signed_power);
}

Expr bf16_bits(const Expr& x) {
  const Expr bits = Halide::reinterpret(Halide::UInt(32), x);
  const Expr half = Halide::cast<uint32_t>(0x7FFF) + ((bits >> 16) & 1);
  const Expr quiet = (bits >> 16) | 0x40;  // rounding could make an infinity of a NaN
  return Halide::cast<uint16_t>(select(Halide::is_nan(x), quiet, (bits + half) >> 16));
}

Expr from_bf16_bits(const Expr& u16) {
  return Halide::reinterpret(Halide::Float(32), Halide::cast<uint32_t>(u16) << 16);
}

}  // namespace tintype::math
