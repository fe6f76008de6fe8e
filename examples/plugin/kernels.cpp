// Two ops with kernels of their own: a window under the generic schedule, and a reduction with two
// results under a schedule that knows it.
#include "ops.h"

#include <tintype/codegen/definitions.h>
#include <tintype/passes/plugin.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

using namespace tintype;
using Values = std::vector<Value*>;

namespace {

std::vector<Halide::Var> arguments(int rank) {
  std::vector<Halide::Var> vars;
  for (int i = 0; i < rank; ++i) vars.emplace_back("i" + std::to_string(i));
  return vars;
}

// ---- acme::Blur: y[i] = sum of x[i + k] / (2 radius + 1) for |k| <= radius, zeros outside
// --------

int64_t radius_of(const Node& n) { return n.attrs().integer("radius", 1); }

void infer_blur(InferContext& c) {
  if (c.type(0).shape.empty()) c.fail("needs at least one axis");
  if (radius_of(c.node) < 0) c.fail("radius must not be negative");
  c.results[0] = c.type(0);
}

KernelFuncs define_blur(const KernelOperands& of) {
  const auto radius = static_cast<int>(radius_of(of.node));
  const std::vector<Halide::Var> at = arguments(of.elements[0].dimensions());
  const Halide::Type type = of.elements[0].type();
  Halide::Region borders(at.size());  // undefined: the other axes need none
  borders[0] = {0, of.extents[0].back()};
  const Halide::Func x = Halide::BoundaryConditions::constant_exterior(
      of.elements[0], Halide::Internal::make_zero(type), borders);
  const Halide::RDom k(-radius, 2 * radius + 1);
  std::vector<Halide::Expr> neighbour(at.begin(), at.end());
  neighbour[0] += k;
  Halide::Func sum("sum"), y("y");
  sum(at) += x(neighbour);
  y(at) = sum(at) / Halide::cast(type, 2 * radius + 1);
  return {{y}};
}

// Each element reaches as many neighbours as reach it: the gradient is a blur, too.
Values blur_gradient(Builder& b, const Node& n, const Values& dy) {
  return {b.make("acme::Blur", {dy[0]}, n.attrs())};
}

// ---- acme::Normalize: norm = sqrt(sum of x x + epsilon) over the last axis, y = x / norm
// ---------

double epsilon_of(const Node& n) { return n.attrs().number("epsilon", 1e-12); }

void infer_normalize(InferContext& c) {
  Shape norm = c.type(0).shape;
  if (norm.empty()) c.fail("needs at least one axis");
  norm.back() = 1;
  c.results[0] = c.type(0);
  if (c.results.size() > 1) c.results[1] = {c.type(0).dtype, norm};
}

KernelFuncs define_normalize(const KernelOperands& of) {
  const Halide::Func& x = of.elements[0];
  const std::vector<Halide::Var> at = arguments(x.dimensions());
  const Halide::RDom k(0, of.extents[0].back());
  std::vector<Halide::Expr> row(at.begin(), at.end());
  row[0] = k;
  std::vector<Halide::Expr> first(at.begin(), at.end());
  first[0] = 0;
  Halide::Func squares("squares"), norm("norm"), y("y");
  squares(at) += x(row) * x(row);
  norm(at) =
      Halide::sqrt(squares(at) + Halide::Internal::make_const(x.type(), epsilon_of(of.node)));
  y(at) = x(at) / norm(first);
  KernelFuncs funcs{{y}, {squares}};
  if (of.node.result_count() > 1) funcs.results.push_back(norm);
  return funcs;
}

// Partial sums in the lanes of a vector; rows on all threads.
void schedule_normalize(const Node&, const KernelFuncs& funcs, int lanes) {
  Halide::Func y = funcs.results[0], squares = funcs.stages[0];
  const Halide::RVar k = squares.rvars()[0];
  const Halide::Var lane("lane");
  Halide::RVar block("block"), inside("inside");
  squares.compute_root().update().split(k, block, inside, lanes);
  Halide::Func partial = squares.update().rfactor(inside, lane);
  partial.compute_root().vectorize(lane, lanes).update().vectorize(lane, lanes);
  y.vectorize(y.args()[0], lanes, Halide::TailStrategy::GuardWithIf);
  if (y.dimensions() < 2) return;
  const Halide::Var outermost = y.args().back();
  y.parallel(outermost);
  partial.update().parallel(outermost);
}

// dx = (dy - y sum(dy y)) / norm + dnorm y, where y or norm may be what the loss does not depend on
Values normalize_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  const std::vector<int64_t> last = {x->rank() - 1};
  Value* squares = b.reduce("reduce_sum", b.mul(x, x), last);
  Value* norm = b.unary("sqrt", b.with_scalar("add", squares, epsilon_of(n)));
  Value* y = b.div(x, norm);
  Value* dx = nullptr;
  if (dy[0] != nullptr)
    dx = b.div(b.sub(dy[0], b.mul(y, b.reduce("reduce_sum", b.mul(dy[0], y), last))), norm);
  if (dy.size() > 1 && dy[1] != nullptr) {
    Value* of_norm = b.mul(dy[1], y);
    dx = dx == nullptr ? of_norm : b.add(dx, of_norm);
  }
  return {dx};
}

// ---- the same in plain C++, for constant folding and gradient checks ----------------------------

template <typename T>
void blur_row(const T* x, T* y, int64_t width, int64_t radius) {
  for (int64_t i = 0; i < width; ++i) {
    T sum = 0;
    for (int64_t k = std::max<int64_t>(i - radius, 0); k <= std::min(i + radius, width - 1); ++k)
      sum += x[k];
    y[i] = sum / static_cast<T>(2 * radius + 1);
  }
}

template <typename T>
Status blur_of(const HostCall& call) {
  const int64_t width = call.inputs[0].dims().back();
  const int64_t radius = call.attributes.integer("radius", 1);
  for (int64_t at = 0; at < call.inputs[0].size(); at += width)
    blur_row(call.inputs[0].values<T>().data() + at,
             call.outputs[0].mutable_values<T>().data() + at, width, radius);
  return {};
}

Status blur(const HostCall& call) {
  if (call.inputs[0].dtype() == DType::f32) return blur_of<float>(call);
  if (call.inputs[0].dtype() == DType::f64) return blur_of<double>(call);
  return {StatusCode::unsupported, "acme::Blur computes f32 and f64"};
}

template <typename T>
Status normalize_of(const HostCall& call) {
  const int64_t width = call.inputs[0].dims().back();
  const auto epsilon = static_cast<T>(call.attributes.number("epsilon", 1e-12));
  const T* x = call.inputs[0].values<T>().data();
  T* y = call.outputs[0].mutable_values<T>().data();
  for (int64_t at = 0; at < call.inputs[0].size(); at += width) {
    T squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += x[at + i] * x[at + i];
    const T norm = std::sqrt(squares + epsilon);
    for (int64_t i = 0; i < width; ++i) y[at + i] = x[at + i] / norm;
    if (call.outputs.size() > 1)
      call.outputs[1].mutable_values<T>()[static_cast<size_t>(at / width)] = norm;
  }
  return {};
}

Status normalize(const HostCall& call) {
  if (call.inputs[0].dtype() == DType::f32) return normalize_of<float>(call);
  if (call.inputs[0].dtype() == DType::f64) return normalize_of<double>(call);
  return {StatusCode::unsupported, "acme::Normalize computes f32 and f64"};
}

// ---- records ------------------------------------------------------------------------------------

constexpr AttrDef kRadius[] = {{"radius", AttrKind::integer}};
constexpr AttrDef kEpsilon[] = {{"epsilon", AttrKind::number}};

constexpr OpDef kOps[] = {
    {.name = "acme::Blur",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kRadius,
     .traits = kKernel,
     .infer = infer_blur,
     .gradient = blur_gradient,
     .doc = "mean of each element of the last axis and its neighbours, zeros outside"},
    {.name = "acme::Normalize",
     .min_operands = 1,
     .max_operands = 1,
     .max_results = 2,
     .attrs = kEpsilon,
     .traits = kKernel,
     .infer = infer_normalize,
     .gradient = normalize_gradient,
     .doc = "x / norm and, if wanted, norm = sqrt(sum of x x + epsilon) over the last axis"},
};

constexpr HostOp kHostOps[] = {
    {"acme::Blur", blur},
    {.name = "acme::Normalize",
     .function = normalize,
     .max_outputs = 2,
     .result = HostResult::free},
};

}  // namespace

void acme::add_kernels() {
  register_ops(kOps);
  register_kernel("acme::Blur", {.define = define_blur});
  register_kernel("acme::Normalize",
                  {.define = define_normalize, .schedule = schedule_normalize, .fast_math = true});
  if (const Status s = register_host_ops(kHostOps); !s.ok()) throw Error(s.message());
}
