// Single elements of any dtype, from and to double.
#pragma once

#include "runtime/dtype.h"
#include "runtime/tensor.h"

#include <cstring>

namespace tintype {

/// Stores `value` at `to` as one element of `dtype`. Integers truncate; out-of-range values wrap
/// for integers up to 64 bits. bool is value != 0.
inline void store_scalar(DType dtype, double value, void* to) {
  const auto put = [to](auto v) { std::memcpy(to, &v, sizeof v); };
  const auto integer = [value] {
    if (!(value > -0x1p63)) return value == value ? INT64_MIN : int64_t{0};
    if (value >= 0x1p64) return int64_t{-1};
    if (value >= 0x1p63) return static_cast<int64_t>(static_cast<uint64_t>(value));
    return static_cast<int64_t>(value);
  };
  switch (dtype) {
    case DType::boolean: return put(static_cast<uint8_t>(value != 0.0));
    case DType::i8:
    case DType::u8: return put(static_cast<uint8_t>(integer()));
    case DType::i16:
    case DType::u16: return put(static_cast<uint16_t>(integer()));
    case DType::i32:
    case DType::u32: return put(static_cast<uint32_t>(integer()));
    case DType::i64:
    case DType::u64: return put(static_cast<uint64_t>(integer()));
    case DType::f16: return put(f32_to_f16(static_cast<float>(value)));
    case DType::bf16: return put(f32_to_bf16(static_cast<float>(value)));
    case DType::f32: return put(static_cast<float>(value));
    case DType::f64: return put(value);
    case DType::undefined: return;
  }
}

/// The element of `dtype` at `from`; integers beyond 2^53 are rounded.
inline double load_scalar(DType dtype, const void* from) {
  const auto get = [from](auto v) {
    std::memcpy(&v, from, sizeof v);
    return v;
  };
  switch (dtype) {
    case DType::boolean:
    case DType::u8: return get(uint8_t{});
    case DType::i8: return get(int8_t{});
    case DType::i16: return get(int16_t{});
    case DType::u16: return get(uint16_t{});
    case DType::i32: return get(int32_t{});
    case DType::u32: return get(uint32_t{});
    case DType::i64: return static_cast<double>(get(int64_t{}));
    case DType::u64: return static_cast<double>(get(uint64_t{}));
    case DType::f16: return static_cast<double>(f16_to_f32(get(uint16_t{})));
    case DType::bf16: return static_cast<double>(bf16_to_f32(get(uint16_t{})));
    case DType::f32: return static_cast<double>(get(float{}));
    case DType::f64: return get(double{});
    case DType::undefined: return 0;
  }
  return 0;
}

/// Element i of a tensor.
inline double element_as_double(const Tensor& t, int64_t i) {
  return load_scalar(t.dtype(), static_cast<const std::byte*>(t.data()) +
                                    static_cast<size_t>(i) * size_of(t.dtype()));
}

}  // namespace tintype
