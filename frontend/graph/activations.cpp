// Layers of the graph API without weights: activations, arithmetic, changes of shape.
#include "frontend/graph/graph_builder.h"
#include "ir/diagnostic.h"

namespace tintype {

Variable Variable::unary(std::string_view op, std::string_view stem, const std::string& name,
                         AttrMap attrs) const {
  const std::string layer = builder_->begin(stem, name);
  return builder_->finish(layer, stem, builder_->node(layer, op, {*this}, std::move(attrs)));
}

Variable Variable::binary(std::string_view op, std::string_view stem, Variable other,
                          const std::string& name) const {
  const std::string layer = builder_->begin(stem, name);
  return builder_->finish(layer, stem, builder_->node(layer, op, {*this, other}));
}

Variable Variable::relu(const std::string& name) const { return unary("Relu", "relu", name); }
Variable Variable::leaky_relu(double slope, const std::string& name) const {
  return unary("LeakyRelu", "leaky_relu", name, {{"alpha", slope}});
}
Variable Variable::elu(double alpha, const std::string& name) const {
  return unary("Elu", "elu", name, {{"alpha", alpha}});
}
Variable Variable::selu(const std::string& name) const { return unary("Selu", "selu", name); }
Variable Variable::gelu(const std::string& name) const { return unary("Gelu", "gelu", name); }
Variable Variable::sigmoid(const std::string& name) const {
  return unary("Sigmoid", "sigmoid", name);
}
Variable Variable::hard_sigmoid(const std::string& name) const {
  return unary("HardSigmoid", "hard_sigmoid", name);
}
Variable Variable::hard_swish(const std::string& name) const {
  return unary("HardSwish", "hard_swish", name);
}
Variable Variable::tanh(const std::string& name) const { return unary("Tanh", "tanh", name); }
Variable Variable::softplus(const std::string& name) const {
  return unary("Softplus", "softplus", name);
}
Variable Variable::softsign(const std::string& name) const {
  return unary("Softsign", "softsign", name);
}
Variable Variable::silu(const std::string& name) const {
  const std::string layer = builder_->begin("silu", name);
  const Variable gate = builder_->node(layer, "Sigmoid", {*this});
  return builder_->finish(layer, "silu", builder_->node(layer, "Mul", {*this, gate}));
}
Variable Variable::prelu(bool per_channel, const std::string& name) const {
  const std::string layer = builder_->begin("prelu", name);
  std::vector<int64_t> dims = {1};
  if (per_channel) {
    if (value_->rank() < 2 || !shape()[1].is_static())
      throw Error(layer + ": a slope per channel needs a fixed number of channels, got " +
                  value_->type().text());
    dims[0] = shape()[1].value();
    dims.resize(static_cast<size_t>(value_->rank()) - 1, 1);
  }
  const Variable slope =
      builder_->parameter(layer, "weight", std::move(dims), init::constant(0.25), 1, 1);
  return builder_->finish(layer, "prelu", builder_->node(layer, "PRelu", {*this, slope}));
}
Variable Variable::softmax(int64_t axis, const std::string& name) const {
  return unary("Softmax", "softmax", name, {{"axis", axis}});
}
Variable Variable::lrn(const Lrn& o) const {
  return unary("LRN", "lrn", o.name,
               {{"alpha", o.alpha}, {"beta", o.beta}, {"bias", o.bias}, {"size", o.size}});
}
Variable Variable::global_avg_pool(const std::string& name) const {
  return unary("GlobalAveragePool", "global_pool", name);
}
Variable Variable::add(Variable other, const std::string& name) const {
  return binary("Add", "add", other, name);
}
Variable Variable::sub(Variable other, const std::string& name) const {
  return binary("Sub", "sub", other, name);
}
Variable Variable::div(Variable other, const std::string& name) const {
  return binary("Div", "div", other, name);
}
Variable Variable::mul(Variable other, const std::string& name) const {
  return binary("Mul", "mul", other, name);
}
Variable Variable::matmul(Variable other, const std::string& name) const {
  const std::string layer = builder_->begin("matmul", name);
  const Variable y = builder_->node(layer, "MatMul", {*this, other});
  const Dim terms = shape().empty() ? Dim(0) : shape().back();
  return builder_->finish(layer, "matmul", y, terms.is_static() ? terms.value() : 0);
}
Variable Variable::flatten(int64_t axis, const std::string& name) const {
  return unary("Flatten", "flatten", name, {{"axis", axis}});
}
Variable Variable::transpose(const std::vector<int64_t>& perm, const std::string& name) const {
  return unary("Transpose", "transpose", name, {{"perm", perm}});
}

Variable Variable::slice(int64_t axis, int64_t begin, int64_t end, const std::string& name) const {
  const std::string layer = builder_->begin("slice", name);
  if (axis < -value_->rank() || axis >= value_->rank())
    throw Error(layer + ": there is no axis " + std::to_string(axis) + " in " +
                value_->type().text());
  const auto one = [&](int64_t v) { return builder_->constant(Tensor::from<int64_t>({1}, {v})); };
  return builder_->finish(layer, "slice",
                          builder_->node(layer, "Slice", {*this, one(begin), one(end), one(axis)}));
}

Variable Variable::reshape(const std::vector<int64_t>& extents, const std::string& name) const {
  const std::string layer = builder_->begin("reshape", name);
  const Variable to =
      builder_->constant(Tensor::from<int64_t>({static_cast<int64_t>(extents.size())}, extents));
  return builder_->finish(layer, "reshape", builder_->node(layer, "Reshape", {*this, to}));
}

Variable Variable::dropout(double ratio, const std::string& name) const {
  const std::string layer = builder_->begin("dropout", name);
  if (!(ratio >= 0 && ratio < 1))
    throw Error(layer + ": the ratio must be in [0, 1), got " + std::to_string(ratio));
  const Variable r = builder_->constant(Tensor::scalar<float>(static_cast<float>(ratio)));
  return builder_->finish(layer, "dropout", builder_->node(layer, "Dropout", {*this, r}));
}

Variable Variable::exp(const std::string& name) const { return unary("Exp", "exp", name); }
Variable Variable::log(const std::string& name) const { return unary("Log", "log", name); }
Variable Variable::sqrt(const std::string& name) const { return unary("Sqrt", "sqrt", name); }
Variable Variable::reduce(std::string_view op, std::string_view stem,
                          const std::vector<int64_t>& axes, bool keep,
                          const std::string& name) const {
  const std::string layer = builder_->begin(stem, name);
  std::vector<Variable> operands = {*this};
  if (!axes.empty())
    operands.push_back(
        builder_->constant(Tensor::from<int64_t>({static_cast<int64_t>(axes.size())}, axes)));
  return builder_->finish(layer, stem,
                          builder_->node(layer, op, operands, {{"keepdims", int64_t{keep}}}));
}
Variable Variable::sum(const std::vector<int64_t>& axes, bool keep, const std::string& name) const {
  return reduce("ReduceSum", "sum", axes, keep, name);
}
Variable Variable::mean(const std::vector<int64_t>& axes, bool keep,
                        const std::string& name) const {
  return reduce("ReduceMean", "mean", axes, keep, name);
}
Variable Variable::cast(DType to, const std::string& name) const {
  const std::string layer = builder_->begin("cast", name);
  if (to == DType::undefined) throw Error(layer + ": there is no element type to convert to");
  return builder_->finish(layer, "cast",
                          builder_->node(layer, "CastLike", {*this, builder_->scalar(0, to)}));
}

Variable Variable::maxout(int64_t pieces, const std::string& name) const {
  const std::string layer = builder_->begin("maxout", name);
  if (value_->rank() < 2 || !shape()[1].is_static() || pieces < 1 ||
      shape()[1].value() % pieces != 0)
    throw Error(layer + ": expected channels that split into pieces of " + std::to_string(pieces) +
                ", got " + value_->type().text());
  // Piece p of every unit is the slice p, p + pieces, p + 2 pieces, ...
  const auto one = [&](int64_t v) { return builder_->constant(Tensor::from<int64_t>({1}, {v})); };
  std::vector<Variable> slices;
  for (int64_t p = 0; p < pieces; ++p)
    slices.push_back(builder_->node(layer, "Slice",
                                    {*this, one(p), one(shape()[1].value()), one(1), one(pieces)}));
  return builder_->finish(layer, "maxout", builder_->node(layer, "Max", slices));
}

namespace {

Variable number_beside(const Variable& x, double value) {
  return x.builder().scalar(value, x.value()->dtype());
}

}  // namespace

Variable operator+(const Variable& a, const Variable& b) { return a.add(b); }
Variable operator-(const Variable& a, const Variable& b) { return a.sub(b); }
Variable operator*(const Variable& a, const Variable& b) { return a.mul(b); }
Variable operator/(const Variable& a, const Variable& b) { return a.div(b); }
Variable operator+(const Variable& a, double b) { return a + number_beside(a, b); }
Variable operator-(const Variable& a, double b) { return a - number_beside(a, b); }
Variable operator*(const Variable& a, double b) { return a * number_beside(a, b); }
Variable operator/(const Variable& a, double b) { return a / number_beside(a, b); }
Variable operator+(double a, const Variable& b) { return number_beside(b, a) + b; }
Variable operator-(double a, const Variable& b) { return number_beside(b, a) - b; }
Variable operator*(double a, const Variable& b) { return number_beside(b, a) * b; }
Variable operator/(double a, const Variable& b) { return number_beside(b, a) / b; }

}  // namespace tintype
