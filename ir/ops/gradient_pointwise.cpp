// Gradients of arithmetic, selection and conversion.
#include "ir/ops/gradients.h"

#include <numeric>

namespace tintype {

std::vector<Value*> zero_gradient(Builder&, const Node& n, const std::vector<Value*>&) {
  return std::vector<Value*>(static_cast<size_t>(n.operand_count()), nullptr);
}

namespace ops {

Value* zeros(Builder& b, DType dtype, const Shape& shape) {
  return b.broadcast(b.scalar(0, dtype), shape);
}

Value* masked(Builder& b, Value* condition, Value* gradient) {
  return b.select(condition, gradient, b.scalar(0, gradient->dtype()));
}

Value* indicator(Builder& b, Value* condition, DType dtype) { return b.cast(condition, dtype); }

Value* sum_to_shape(Builder& b, Value* gradient, const Shape& shape) {
  const size_t missing = gradient->shape().size() - shape.size();
  std::vector<int64_t> axes(missing);
  std::iota(axes.begin(), axes.end(), int64_t{0});
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i].is(1) && !gradient->shape()[missing + i].is(1))
      axes.push_back(static_cast<int64_t>(missing + i));
  return b.reshape(b.reduce("reduce_sum", gradient, axes), shape);
}

namespace {

/// One gradient per operand, each summed to the operand's shape.
Values to_operands(Builder& b, const Node& n, Values gradients) {
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i] != nullptr)
      gradients[i] = sum_to_shape(b, gradients[i], n.operand(static_cast<int>(i))->shape());
  return gradients;
}

/// x rounded to a whole number, for quotients that are whole up to rounding errors.
Value* whole(Builder& b, Value* x) { return b.unary("round", x); }

/// The side that wins takes the gradient, each takes half at a tie.
Values extreme(Builder& b, const Node& n, const Values& dy, std::string_view wins) {
  Value* x = n.operand(0);
  Value* y = n.operand(1);
  Value* half = masked(b, b.compare("eq", x, y), b.with_scalar("mul", dy[0], 0.5));
  return to_operands(
      b, n,
      {b.select(b.compare(wins, x, y), dy[0], half), b.select(b.compare(wins, y, x), dy[0], half)});
}

}  // namespace

Values add_gradient(Builder& b, const Node& n, const Values& dy) {
  return to_operands(b, n, {dy[0], dy[0]});
}

Values sub_gradient(Builder& b, const Node& n, const Values& dy) {
  return to_operands(b, n, {dy[0], b.neg(dy[0])});
}

Values mul_gradient(Builder& b, const Node& n, const Values& dy) {
  return to_operands(b, n, {b.mul(dy[0], n.operand(1)), b.mul(dy[0], n.operand(0))});
}

// d(x / y) = dx / y - (x / y) dy / y
Values div_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* dx = b.div(dy[0], n.operand(1));
  return to_operands(b, n, {dx, b.neg(b.mul(dx, n.result()))});
}

// mod(x, y) = x - q y with a whole quotient q
Values mod_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* quotient = whole(b, b.div(b.sub(n.operand(0), n.result()), n.operand(1)));
  return to_operands(b, n, {dy[0], b.neg(b.mul(dy[0], quotient))});
}

// d(x^p) = p x^(p-1) dx + x^p log(x) dp, and both terms vanish where their factor 0 does
Values pow_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* x = n.operand(0);
  const DType t = x->dtype();
  Value* p = b.cast(n.operand(1), t);
  Value* zero = b.scalar(0, t);
  Value* slope = b.mul(p, b.pow(x, b.with_scalar("sub", p, 1)));
  Value* dx = b.select(b.compare("eq", p, zero), zero, b.mul(dy[0], slope));
  if (!is_float(n.operand(1)->dtype())) return to_operands(b, n, {dx, nullptr});
  Value* flat = b.make("and", {b.compare("eq", x, zero), b.compare("ge", p, zero)});
  Value* logarithm = b.log(b.select(flat, b.scalar(1, t), x));
  Value* dp = b.mul(dy[0], b.mul(n.result(), logarithm));
  return to_operands(b, n, {dx, b.cast(dp, n.operand(1)->dtype())});
}

Values max_gradient(Builder& b, const Node& n, const Values& dy) { return extreme(b, n, dy, "gt"); }

Values min_gradient(Builder& b, const Node& n, const Values& dy) { return extreme(b, n, dy, "lt"); }

Values identity_gradient(Builder&, const Node&, const Values& dy) { return {dy[0]}; }

Values neg_gradient(Builder& b, const Node&, const Values& dy) { return {b.neg(dy[0])}; }

Values abs_gradient(Builder& b, const Node& n, const Values& dy) {
  return {b.mul(dy[0], b.unary("sign", n.operand(0)))};
}

Values relu_gradient(Builder& b, const Node& n, const Values& dy) {
  // The result decides as well as the operand, and is alive anyway.
  return {masked(b, b.compare("gt", n.result(), b.scalar(0, n.result()->dtype())), dy[0])};
}

Values select_gradient(Builder& b, const Node& n, const Values& dy) {
  Value* zero = b.scalar(0, dy[0]->dtype());
  return to_operands(
      b, n, {nullptr, b.select(n.operand(0), dy[0], zero), b.select(n.operand(0), zero, dy[0])});
}

Values cast_gradient(Builder& b, const Node& n, const Values& dy) {
  const DType from = n.operand(0)->dtype();
  return {is_float(from) ? b.cast(dy[0], from) : nullptr};
}

}  // namespace ops

}  // namespace tintype
