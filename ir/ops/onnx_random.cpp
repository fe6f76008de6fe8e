// Random numbers of ONNX, dropout among them.
#include "ir/ops/decompose.h"
#include "ir/random.h"

#include <bit>

namespace tintype::ops {

namespace {

/// The node's own seed, or null. ONNX keeps seeds of most ops as floats: their bits are the seed.
Value* seed_of(Builder& b, const Node& n) {
  const Attr* a = n.attrs().find("seed");
  if (a == nullptr) return nullptr;
  const int64_t* whole = std::get_if<int64_t>(a);
  const int64_t seed = whole != nullptr ? *whole : std::bit_cast<int64_t>(n.attrs().number("seed"));
  return b.constant(Tensor::from<int64_t>({}, {seed}));
}

// y = x / (1 - ratio) where a uniform number is at least `ratio`, else 0. In inference y = x.
Values dropout(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const bool training = n.operand(2) != nullptr && static_number(n, 2, "training_mode") != 0;
  if (!training) {
    Values results = {b.unary("identity", x)};
    if (n.result_count() > 1)
      results.push_back(b.broadcast(b.scalar(1, DType::boolean), x->shape()));
    return results;
  }
  Value* ratio =
      n.operand(1) != nullptr ? b.cast(n.operand(1), DType::f32) : b.scalar(0.5, DType::f32);
  Value* kept = b.compare("ge", random_uniform(b, x->shape(), DType::f32, seed_of(b, n)), ratio);
  Value* scale = b.cast(b.unary("reciprocal", b.sub(b.scalar(1, DType::f32), ratio)), x->dtype());
  Values results = {b.select(kept, b.mul(x, scale), b.scalar(0, x->dtype()))};
  if (n.result_count() > 1) results.push_back(kept);
  return results;
}

DType dtype_attribute(const Node& n, DType fallback) {
  return n.attrs().has("dtype") ? dtype_of_onnx(n, n.attrs().integer("dtype")) : fallback;
}

/// Element type of the attribute, else of the operand that gives the shape, else f32.
DType result_dtype(const Node& n) {
  const DType like = n.operand(0) != nullptr ? n.operand(0)->dtype() : DType::f32;
  const DType t = dtype_attribute(n, like);
  if (!is_float(t)) fail(n, "random numbers must be floats, got " + std::string(name_of(t)));
  return t;
}

Shape result_shape(const Node& n) {
  if (n.operand(0) != nullptr) return n.operand(0)->shape();
  Shape shape;
  for (int64_t d : n.attrs().integers("shape")) shape.emplace_back(d);
  return shape;
}

// low + (high - low) u
Values uniform(Builder& b, const Node& n) {
  const double low = n.attrs().number("low", 0), high = n.attrs().number("high", 1);
  Value* u = random_uniform(b, result_shape(n), result_dtype(n), seed_of(b, n));
  return {b.with_scalar("add", b.with_scalar("mul", u, high - low), low)};
}

// mean + scale z
Values normal(Builder& b, const Node& n) {
  Value* z = random_normal(b, result_shape(n), result_dtype(n), seed_of(b, n));
  return {b.with_scalar("add", b.with_scalar("mul", z, n.attrs().number("scale", 1)),
                        n.attrs().number("mean", 0))};
}

// 1 with the probability that the operand holds
Values bernoulli(Builder& b, const Node& n) {
  Value* p = n.operand(0);
  const DType t = p->dtype() == DType::f64 ? DType::f64 : DType::f32;
  Value* one = b.compare("lt", random_uniform(b, p->shape(), t, seed_of(b, n)), b.cast(p, t));
  return {b.cast(one, dtype_attribute(n, p->dtype()))};
}

constexpr AttrDef kDropout[] = {{"seed", AttrKind::integer}};
constexpr AttrDef kUniform[] = {{"dtype", AttrKind::integer},
                                {"high", AttrKind::number},
                                {"low", AttrKind::number},
                                {"seed", AttrKind::number},
                                {"shape", AttrKind::integers, true}};
constexpr AttrDef kUniformLike[] = {{"dtype", AttrKind::integer},
                                    {"high", AttrKind::number},
                                    {"low", AttrKind::number},
                                    {"seed", AttrKind::number}};
constexpr AttrDef kNormal[] = {{"dtype", AttrKind::integer},
                               {"mean", AttrKind::number},
                               {"scale", AttrKind::number},
                               {"seed", AttrKind::number},
                               {"shape", AttrKind::integers, true}};
constexpr AttrDef kNormalLike[] = {{"dtype", AttrKind::integer},
                                   {"mean", AttrKind::number},
                                   {"scale", AttrKind::number},
                                   {"seed", AttrKind::number}};
constexpr AttrDef kBernoulli[] = {{"dtype", AttrKind::integer}, {"seed", AttrKind::number}};

constexpr OpDef kOps[] = {
    onnx_op("Dropout", 1, 3, dropout, kDropout, 2),
    onnx_op("RandomUniform", 0, 0, uniform, kUniform),
    onnx_op("RandomUniformLike", 1, 1, uniform, kUniformLike),
    onnx_op("RandomNormal", 0, 0, normal, kNormal),
    onnx_op("RandomNormalLike", 1, 1, normal, kNormalLike),
    onnx_op("Bernoulli", 1, 1, bernoulli, kBernoulli),
};

}  // namespace

std::span<const OpDef> onnx_random() { return kOps; }

}  // namespace tintype::ops
