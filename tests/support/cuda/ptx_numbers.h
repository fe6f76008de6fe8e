// Bit patterns as the numbers they stand for, and back, as PTX has it.
#pragma once

#include "runtime/dtype.h"
#include "tests/support/cuda/ptx.h"

#include <bit>
#include <cmath>

namespace tintype::ptx {

__extension__ using Wide = __int128;

inline bool is_float(Type t) {
  return t == Type::f16 || t == Type::bf16 || t == Type::f32 || t == Type::f64;
}
inline bool is_signed(Type t) {
  return t == Type::s8 || t == Type::s16 || t == Type::s32 || t == Type::s64;
}

inline uint64_t masked(uint64_t v, int bits) {
  return bits >= 64 ? v : v & ((uint64_t{1} << bits) - 1);
}

inline int64_t extended(uint64_t v, int bits) {
  return bits >= 64 ? static_cast<int64_t>(v)
                    : static_cast<int64_t>(v << (64 - bits)) >> (64 - bits);
}

/// A bit pattern as the number it stands for in a floating-point type.
inline double to_double(Type t, uint64_t v) {
  switch (t) {
    case Type::f16: return static_cast<double>(f16_to_f32(static_cast<uint16_t>(v)));
    case Type::bf16: return static_cast<double>(bf16_to_f32(static_cast<uint16_t>(v)));
    case Type::f32: return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(v)));
    default: return std::bit_cast<double>(v);
  }
}

inline float to_float(uint64_t v) { return std::bit_cast<float>(static_cast<uint32_t>(v)); }
inline uint64_t of_float(float f) { return std::bit_cast<uint32_t>(f); }

inline float flushed(float f) {
  return std::fpclassify(f) == FP_SUBNORMAL ? std::copysign(0.0f, f) : f;
}

template <typename F>
F rounded(Round round, F v) {
  switch (round) {
    case Round::nearest_int: return std::nearbyint(v);
    case Round::zero_int: return std::trunc(v);
    case Round::down_int: return std::floor(v);
    case Round::up_int: return std::ceil(v);
    case Round::none: break;
  }
  return v;
}

/// To an integer of `bits`, out-of-range values to the nearest end, NaN to zero.
inline uint64_t to_integer(double v, Type t) {
  const int bits = bits_of(t);
  if (std::isnan(v)) return 0;
  if (is_signed(t)) {
    const double high = std::ldexp(1.0, bits - 1);
    const int64_t most = bits == 64 ? INT64_MAX : (int64_t{1} << (bits - 1)) - 1;
    return masked(static_cast<uint64_t>(v >= high   ? most
                                        : v < -high ? -most - 1
                                                    : static_cast<int64_t>(v)),
                  bits);
  }
  if (v <= 0) return 0;
  return masked(v >= std::ldexp(1.0, bits) ? ~uint64_t{0} : static_cast<uint64_t>(v), bits);
}

inline uint64_t from_double(double v, Type t) {
  switch (t) {
    case Type::f16: return f32_to_f16(static_cast<float>(v));
    case Type::bf16: return f32_to_bf16(static_cast<float>(v));
    case Type::f32: return of_float(static_cast<float>(v));
    default: return std::bit_cast<uint64_t>(v);
  }
}

inline uint64_t mul_hi(uint64_t a, uint64_t b, int bits, bool sign) {
  if (sign)
    return static_cast<uint64_t>((static_cast<Wide>(extended(a, bits)) * extended(b, bits)) >>
                                 bits);
  if (bits < 64) return a * b >> bits;
  const uint64_t low = (a & UINT32_MAX) * (b & UINT32_MAX);
  const uint64_t one = (a >> 32) * (b & UINT32_MAX) + (low >> 32);
  const uint64_t two = (a & UINT32_MAX) * (b >> 32) + (one & UINT32_MAX);
  return (a >> 32) * (b >> 32) + (one >> 32) + (two >> 32);
}

inline uint64_t reversed(uint64_t a, int bits) {
  uint64_t v = 0;
  for (int i = 0; i < bits; ++i) v |= (a >> i & 1) << (bits - 1 - i);
  return v;
}

}  // namespace tintype::ptx
