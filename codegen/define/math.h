// Transcendental functions as vector expressions, where Halide would call libm per element.
#pragma once

#include <Halide.h>

namespace tintype::math {

/// Of f32 and f64, by their bits. Halide's own makes its operand strict: all that computes it would
/// be compiled twice, once without fused multiply-adds.
Halide::Expr is_nan(const Halide::Expr& x);
/// f32: Cephes expf, error below 2 ulp, 0 where the result would be denormal. f64: libm.
Halide::Expr exp(const Halide::Expr& x);
/// f32: odd rational approximation on [-8, 8] (as in Eigen and XLA), error below 6 ulp.
/// f64: libm.
Halide::Expr tanh(const Halide::Expr& x);
/// f32: odd rational approximation on [-4, 4] (as in Eigen and XLA), absolute error below 2e-7.
/// f64: libm.
Halide::Expr erf(const Halide::Expr& x);
/// 1 / (1 + exp(-x)), saturating cleanly at both ends.
Halide::Expr sigmoid(const Halide::Expr& x);
/// x^y with IEEE's special cases: negative bases with integral exponents, zeros, infinities.
Halide::Expr power(const Halide::Expr& x, const Halide::Expr& y);

/// bf16 as the upper half of an f32, for targets without it: rounded to nearest, ties to even.
Halide::Expr bf16_bits(const Halide::Expr& f32);
Halide::Expr from_bf16_bits(const Halide::Expr& u16);

}  // namespace tintype::math
