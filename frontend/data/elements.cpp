// One loop per type.
#include "frontend/data/elements.h"

#include <cstring>

namespace tintype {

namespace {

template <typename T>
void convert(const std::byte* from, std::span<float> to) {
  for (size_t i = 0; i < to.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    to[i] = static_cast<float>(value);
  }
}

}  // namespace

void convert_to_float(DType dtype, const std::byte* from, std::span<float> to) {
  const auto halves = [&](float (*widened)(uint16_t)) {
    for (size_t i = 0; i < to.size(); ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, from + i * sizeof bits, sizeof bits);
      to[i] = widened(bits);
    }
  };
  switch (dtype) {
    case DType::boolean:
    case DType::u8: return convert<uint8_t>(from, to);
    case DType::i8: return convert<int8_t>(from, to);
    case DType::i16: return convert<int16_t>(from, to);
    case DType::u16: return convert<uint16_t>(from, to);
    case DType::i32: return convert<int32_t>(from, to);
    case DType::u32: return convert<uint32_t>(from, to);
    case DType::i64: return convert<int64_t>(from, to);
    case DType::u64: return convert<uint64_t>(from, to);
    case DType::f16: return halves(f16_to_f32);
    case DType::bf16: return halves(bf16_to_f32);
    case DType::f32: return convert<float>(from, to);
    case DType::f64: return convert<double>(from, to);
    case DType::undefined: return;
  }
}

}  // namespace tintype
