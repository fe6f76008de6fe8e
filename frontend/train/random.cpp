// Philox2x32-10 out of integer ops.
#include "frontend/train/random.h"

#include <algorithm>
#include <cmath>

namespace tintype {

namespace {

Value* word(Builder& b, uint32_t v) { return b.constant(Tensor::scalar<uint32_t>(v)); }

/// FNV-1a
uint32_t hash_of(std::string_view text) {
  uint32_t hash = 0x811c9dc5u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193u;
  return hash;
}

}  // namespace

Value* add_philox(Builder& b, Value* c0, Value* c1, Value* key) {
  constexpr uint32_t kWeyl = 0x9e3779b9u;
  Value* multiplier = b.constant(Tensor::scalar<uint64_t>(0xd256d193u));
  Value* half = b.constant(Tensor::scalar<uint64_t>(32));
  for (uint32_t round = 0; round < 10; ++round) {
    Value* wide = b.mul(b.cast(c0, DType::u64), multiplier);
    Value* high = b.cast(b.make("shift_right", {wide, half}), DType::u32);
    Value* round_key = round == 0 ? key : b.add(key, word(b, round * kWeyl));
    c0 = b.make("bit_xor", {b.make("bit_xor", {high, round_key}), c1});
    c1 = b.cast(wide, DType::u32);
  }
  return c0;
}

Value* add_bernoulli(Builder& b, const RandomSource& source, std::string_view stream,
                     const Shape& shape, double probability) {
  Value* index = b.make(
      "iota", {}, {{"shape", Shape{product(shape)}}, {"axis", int64_t{0}}, {"dtype", DType::u32}});
  Value* key = b.make("bit_xor", {source.seed, word(b, hash_of(stream))});
  Value* bits = add_philox(b, index, b.cast(source.step, DType::u32), key);
  if (probability >= 1) return b.broadcast(b.scalar(1, DType::boolean), shape);
  const double threshold = std::clamp(std::round(probability * 0x1p32), 0.0, 0x1p32 - 1);
  return b.reshape(b.compare("lt", bits, word(b, static_cast<uint32_t>(threshold))), shape);
}

}  // namespace tintype
