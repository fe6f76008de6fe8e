// The record of random bits, and the distributions made of them.
#include "ir/random.h"

#include "ir/ops/gradients.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tintype {

namespace {

/// A stream no node of the graph uses, so that nodes draw independent numbers.
int64_t next_stream(const Graph& graph) {
  int64_t next = 0;
  for (const auto& n : graph.nodes())
    if (n->is("random_bits")) next = std::max(next, n->attrs().integer("stream") + 1);
  return next;
}

Value* random_bits(Builder& b, const Shape& shape, Value* seed) {
  return b.make("random_bits", {seed, nullptr},
                {{"stream", next_stream(b.graph())}, {"shape", shape}});
}

/// Bits that a uniform number may have for all its values to be exact and below 1.
int64_t fraction_bits(DType dtype) {
  if (dtype == DType::f16) return 11;
  return dtype == DType::bf16 ? 8 : 24;
}

/// (bits + offset) / 2^count of `count` random bits
Value* random_fraction(Builder& b, const Shape& shape, DType dtype, Value* seed, double offset) {
  const int64_t count = fraction_bits(dtype);
  Value* bits = random_bits(b, shape, seed);
  bits = b.with_scalar("shift_right", bits, static_cast<double>(32 - count));
  const DType wide = dtype == DType::f64 ? DType::f64 : DType::f32;
  Value* whole = b.cast(bits, wide);
  if (offset != 0) whole = b.with_scalar("add", whole, offset);
  return b.cast(b.with_scalar("mul", whole, std::ldexp(1.0, -static_cast<int>(count))), dtype);
}

}  // namespace

Value* random_uniform(Builder& b, const Shape& shape, DType dtype, Value* seed) {
  return random_fraction(b, shape, dtype, seed, 0);
}

// Box and Muller 1958: sqrt(-2 log u) cos(2 pi v) for independent uniform u, v. u is in (0, 1].
Value* random_normal(Builder& b, const Shape& shape, DType dtype, Value* seed) {
  const DType wide = dtype == DType::f64 ? DType::f64 : DType::f32;
  Value* u = random_fraction(b, shape, wide, seed, 1);
  Value* v = random_fraction(b, shape, wide, seed, 0);
  Value* radius = b.unary("sqrt", b.with_scalar("mul", b.log(u), -2));
  Value* angle = b.unary("cos", b.with_scalar("mul", v, 2 * std::numbers::pi));
  return b.cast(b.mul(radius, angle), dtype);
}

void set_random_state(Graph& graph, Value* seed, Value* step) {
  for (const auto& n : graph.nodes()) {
    if (!n->is("random_bits")) continue;
    if (n->operand(0) == nullptr) n->set_operand(0, seed);
    n->set_operand(1, step);
  }
}

namespace ops {

namespace {

void infer_random_bits(InferContext& c) {
  for (int i = 0; i < c.node.operand_count(); ++i)
    if (c.has(i) && (c.type(i).dtype != DType::i64 || !product(c.type(i).shape).is(1)))
      c.fail("seed and step must be single i64 elements, got " + c.type(i).text());
  const int64_t stream = c.attrs().integer("stream");
  if (stream < 0 || stream > int64_t{UINT32_MAX}) c.fail("stream must fit 32 bits");
  c.results[0] = {DType::u32, c.attrs().dims("shape")};
}

constexpr AttrDef kRandomBits[] = {{"stream", AttrKind::integer, true},
                                   {"shape", AttrKind::dims, true}};

constexpr OpDef kOps[] = {
    {.name = "random_bits",
     .min_operands = 0,
     .max_operands = 2,
     .attrs = kRandomBits,
     .traits = kImpure,
     .infer = infer_random_bits,
     .gradient = zero_gradient,
     .doc = "u32 words of Philox4x32-10 under the key seed (operand 0, i64, default 0): element i "
            "in row-major order is word i % 4 at the counter (i / 4, stream, low and high word of "
            "step (operand 1, i64, default 0))"},
};

}  // namespace

std::span<const OpDef> core_random() { return kOps; }

}  // namespace ops

}  // namespace tintype
