// Three ops, one of each kind: made of other ops, defined in Halide, evaluated by plain C++.
#include "ops.h"

#include <tintype/codegen/definitions.h>
#include <tintype/passes/plugin.h>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace tintype;
using Values = std::vector<Value*>;

namespace {

// Made of core ops: acme::Bump(x) = exp(-width * x * x). Its type and its gradient follow from
// that.
Values bump(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const double width = n.attrs().number("width", 1.0);
  return {b.exp(b.with_scalar("mul", b.mul(x, x), -width))};
}

// Defined in Halide: acme::SoftClip(x) = x / (1 + |x|). Kernels fuse it with its neighbours.
Halide::Expr soft_clip(const Node&, const std::vector<Halide::Expr>& x) {
  return x[0] / (1 + Halide::abs(x[0]));
}

// d soft_clip = dy / (1 + |x|)^2
Values soft_clip_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* d = b.with_scalar("add", b.unary("abs", n.operand(0)), 1.0);
  return {b.div(dy[0], b.mul(d, d))};
}

// The same in plain C++, for constant folding and gradient checks.
template <typename T>
Status soft_clip_of(const HostCall& call) {
  std::span<T> y = call.outputs[0].mutable_values<T>();
  std::transform(call.inputs[0].values<T>().begin(), call.inputs[0].values<T>().end(), y.begin(),
                 [](T x) { return x / (1 + std::abs(x)); });
  return {};
}

Status soft_clip_on_host(const HostCall& call) {
  if (call.inputs[0].dtype() == DType::f32) return soft_clip_of<float>(call);
  if (call.inputs[0].dtype() == DType::f64) return soft_clip_of<double>(call);
  return {StatusCode::unsupported, "acme::SoftClip computes f32 and f64"};
}

// Plain C++: acme::Median over the last axis, for which there is no loop nest worth a kernel.
void infer_median(InferContext& c) {
  Shape shape = c.type(0).shape;
  if (shape.empty()) c.fail("needs at least one axis");
  shape.pop_back();
  c.results[0] = {c.type(0).dtype, shape};
}

Status median(const HostCall& call) {
  if (call.inputs[0].dtype() != DType::f32)
    return {StatusCode::unsupported, "acme::Median computes f32"};
  const auto width = static_cast<std::ptrdiff_t>(call.inputs[0].dims().back());
  if (width == 0) return {StatusCode::invalid_argument, "no elements have no median"};
  auto row = call.inputs[0].values<float>().begin();
  for (float& y : call.outputs[0].mutable_values<float>()) {
    std::vector<float> sorted(row, row + width);
    std::sort(sorted.begin(), sorted.end());
    y = sorted[static_cast<size_t>(width - 1) / 2];
    row += width;
  }
  return {};
}

constexpr AttrDef kWidth[] = {{"width", AttrKind::number}};

constexpr OpDef kOps[] = {
    {.name = "acme::Bump",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kWidth,
     .traits = kOnnx,
     .decompose = bump,
     .doc = "exp(-width x^2)"},
    {.name = "acme::SoftClip",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kPointwise,
     .infer = infer_like_first,
     .gradient = soft_clip_gradient,
     .doc = "x / (1 + |x|)"},
    {.name = "acme::Median",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kHostOnly,
     .infer = infer_median,
     .not_differentiable = "it selects an element",
     .doc = "median over the last axis"},
};

constexpr HostOp kHostOps[] = {
    {"acme::SoftClip", soft_clip_on_host},
    {"acme::Median", median},
};

}  // namespace

void acme::add_ops() {
  register_ops(kOps);
  register_definition("acme::SoftClip", soft_clip);
  if (const Status s = register_host_ops(kHostOps); !s.ok()) throw Error(s.message());
}
