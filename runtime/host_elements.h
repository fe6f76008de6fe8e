// Element types of host ops: how each is read, computed with and written.
#pragma once

#include "runtime/dtype.h"
#include "runtime/status.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

namespace tintype {

/// A binary16 in memory.
struct Half {
  uint16_t bits;
};
/// A bfloat16 in memory.
struct BFloat {
  uint16_t bits;
};
/// A boolean in memory: one byte, 0 or 1.
struct Bool {
  uint8_t byte;
};

/// Values of T are read into, and computed in, Compute<T>: float for the 16-bit formats.
template <typename T>
struct ElementOf {
  using Compute = T;
  static T load(T v) { return v; }
  static T store(T v) { return v; }
};
template <>
struct ElementOf<Half> {
  using Compute = float;
  static float load(Half v) { return f16_to_f32(v.bits); }
  static Half store(float v) { return {f32_to_f16(v)}; }
};
template <>
struct ElementOf<BFloat> {
  using Compute = float;
  static float load(BFloat v) { return bf16_to_f32(v.bits); }
  static BFloat store(float v) { return {f32_to_bf16(v)}; }
};
template <>
struct ElementOf<Bool> {
  using Compute = bool;
  static bool load(Bool v) { return v.byte != 0; }
  static Bool store(bool v) { return {static_cast<uint8_t>(v)}; }
};
template <typename T>
using Compute = typename ElementOf<T>::Compute;

template <typename T>
Compute<T> load(T v) {
  return ElementOf<T>::load(v);
}
template <typename T>
T store(Compute<T> v) {
  return ElementOf<T>::store(v);
}

/// Sums and products of floats accumulate in double, those of integers in their own (wrapping)
/// width.
template <typename T>
using Accumulator = std::conditional_t<std::is_floating_point_v<Compute<T>>, double, Compute<T>>;

/// What a host op accepts; combine with |.
enum ElementKinds : unsigned {
  kBools = 1,
  kSignedInts = 2,
  kUnsignedInts = 4,
  kFloats = 8,
  kInts = kSignedInts | kUnsignedInts,
  kNumbers = kInts | kFloats,
  kAnything = kNumbers | kBools,
};

template <typename T>
struct Tag {
  using type = T;
};

template <unsigned kKinds, unsigned kNeeded, typename T, typename F>
bool call_if(const F& f) {
  if constexpr ((kKinds & kNeeded) != 0) f(Tag<T>{});
  return (kKinds & kNeeded) != 0;
}

/// Calls f(Tag<T>) for the element type behind `dtype`; false when it is not among kKinds.
template <unsigned kKinds, typename F>
bool with_elements(DType dtype, const F& f) {
  switch (dtype) {
    case DType::boolean: return call_if<kKinds, kBools, Bool>(f);
    case DType::i8: return call_if<kKinds, kSignedInts, int8_t>(f);
    case DType::i16: return call_if<kKinds, kSignedInts, int16_t>(f);
    case DType::i32: return call_if<kKinds, kSignedInts, int32_t>(f);
    case DType::i64: return call_if<kKinds, kSignedInts, int64_t>(f);
    case DType::u8: return call_if<kKinds, kUnsignedInts, uint8_t>(f);
    case DType::u16: return call_if<kKinds, kUnsignedInts, uint16_t>(f);
    case DType::u32: return call_if<kKinds, kUnsignedInts, uint32_t>(f);
    case DType::u64: return call_if<kKinds, kUnsignedInts, uint64_t>(f);
    case DType::f16: return call_if<kKinds, kFloats, Half>(f);
    case DType::bf16: return call_if<kKinds, kFloats, BFloat>(f);
    case DType::f32: return call_if<kKinds, kFloats, float>(f);
    case DType::f64: return call_if<kKinds, kFloats, double>(f);
    case DType::undefined: return false;
  }
  return false;
}

/// Calls f(Tag<T>) for an unsigned integer as wide as an element of `dtype`: for ops that only
/// move.
template <typename F>
void with_width(DType dtype, const F& f) {
  switch (size_of(dtype)) {
    case 1: return f(Tag<uint8_t>{});
    case 2: return f(Tag<uint16_t>{});
    case 4: return f(Tag<uint32_t>{});
    default: return f(Tag<uint64_t>{});
  }
}

inline Status unsupported_elements(DType dtype) {
  return {StatusCode::unsupported, "not defined for element type " + std::string(name_of(dtype))};
}

/// with_elements as a Status.
template <unsigned kKinds, typename F>
Status for_elements(DType dtype, const F& f) {
  return with_elements<kKinds>(dtype, f) ? Status() : unsupported_elements(dtype);
}

}  // namespace tintype
