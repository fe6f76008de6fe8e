// Elements of a sample as floats.
#pragma once

#include "runtime/dtype.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace tintype {

/// Whether inputs of this type become f32: bytes and floats do, wider integers are token numbers.
constexpr bool becomes_float(DType dtype) {
  return is_float(dtype) || dtype == DType::u8 || dtype == DType::i8 || dtype == DType::boolean;
}

/// Converts `to.size()` elements. The type is a number or bool.
void convert_to_float(DType dtype, const std::byte* from, std::span<float> to);

}  // namespace tintype
