// Reductions to scalars and other fragments.
#include "frontend/train/graph_math.h"

#include "ir/diagnostic.h"
#include "ir/ops/decompose.h"
#include "runtime/scalar.h"

#include <numeric>

namespace tintype {

namespace {

Value* reduce_all(Builder& b, std::string_view op, Value* x) {
  std::vector<int64_t> axes(x->shape().size());
  std::iota(axes.begin(), axes.end(), int64_t{0});
  return b.reshape(b.reduce(op, x, std::move(axes)), {});
}

}  // namespace

Value* extent(Builder& b, const Dim& extent, DType dtype) {
  return ops::extent_scalar(b, extent, dtype);
}

Value* element_count(Builder& b, Value* x) { return element_count(b, x, x->dtype()); }

Value* element_count(Builder& b, Value* x, DType dtype) {
  return extent(b, product(x->shape()), dtype);
}

Value* sum_all(Builder& b, Value* x) { return reduce_all(b, "reduce_sum", x); }

Value* max_all(Builder& b, Value* x) { return reduce_all(b, "reduce_max", x); }

Value* sum_squares(Builder& b, Value* x) { return sum_all(b, b.mul(x, x)); }

Value* share_of(Builder& b, Value* condition, DType dtype) {
  Value* ones = b.cast(condition, dtype);
  return b.div(sum_all(b, ones), element_count(b, ones));
}

Value* lerp(Builder& b, Value* from, Value* to, Value* weight) {
  return b.add(from, b.mul(b.sub(to, from), weight));
}

Value* add_filled_state(Graph& graph, const std::string& name, const TensorType& type,
                        double fill) {
  std::vector<int64_t> dims;
  for (const Dim& d : type.shape) {
    TINTYPE_CHECK(d.is_static(), "state " + name + " has a symbolic extent: " + type.text());
    dims.push_back(d.value());
  }
  Tensor t = Tensor::zeros(type.dtype, std::move(dims));
  auto* to = static_cast<std::byte*>(t.mutable_data());
  if (fill != 0)
    for (int64_t i = 0; i < t.size(); ++i, to += size_of(type.dtype))
      store_scalar(type.dtype, fill, to);
  return graph.add_state(name, std::move(t));
}

Value* stop_gradient(Builder& b, Value* x) { return b.unary("stop_gradient", x); }

}  // namespace tintype
