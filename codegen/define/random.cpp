// The rounds of Philox on vectors of counters.
#include "codegen/define/random.h"

#include "runtime/philox.h"

#include <array>

namespace tintype {

using Halide::Expr;

namespace {

constexpr int kHalf = 32;

Expr low(const Expr& e) { return Halide::cast<uint32_t>(e); }
Expr high(const Expr& e) { return Halide::cast<uint32_t>(e >> kHalf); }

Expr wide_product(uint32_t multiplier, const Expr& e) {
  return Halide::cast<uint64_t>(e) * Halide::cast<uint64_t>(Expr(multiplier));
}

}  // namespace

Expr random_word(const Expr& index, uint32_t stream, const Expr& seed, const Expr& step) {
  const Expr key = Halide::cast<uint64_t>(seed), at = Halide::cast<uint64_t>(step);
  std::array<Expr, 4> c = {Halide::cast<uint32_t>(index / 4), Expr(stream), low(at), high(at)};
  Expr key0 = low(key), key1 = high(key);
  for (int round = 0; round < philox::kRounds; ++round) {
    const Expr a = wide_product(philox::kMultiplier0, c[0]);
    const Expr b = wide_product(philox::kMultiplier1, c[2]);
    c = {high(b) ^ c[1] ^ key0, low(b), high(a) ^ c[3] ^ key1, low(a)};
    key0 = key0 + Expr(philox::kWeyl0);
    key1 = key1 + Expr(philox::kWeyl1);
  }
  const Expr word = index % 4;
  return Halide::select(word == 0, c[0], word == 1, c[1], word == 2, c[2], c[3]);
}

}  // namespace tintype
