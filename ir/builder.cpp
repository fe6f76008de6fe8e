// Node construction with inference, and shorthands that skip no-ops.
#include "ir/builder.h"

#include "ir/diagnostic.h"
#include "ir/nearest_op.h"
#include "ir/ops/tables.h"
#include "runtime/scalar.h"

#include <cmath>
#include <numeric>

namespace tintype {

Node* Builder::create(std::string_view op_name, std::vector<Value*> operands, AttrMap attrs,
                      int result_count, std::vector<std::unique_ptr<Graph>> bodies) {
  const OpDef* def = find_op(op_name);
  if (def == nullptr)
    throw Error((origins_.empty() ? "" : origins_.front() + ": ") + "there is no op '" +
                std::string(op_name) + "'" + nearest_op(op_name));
  Node* n = graph_->create(*def, std::move(operands), std::move(attrs), result_count, before_);
  n->set_origins(origins_);
  for (auto& body : bodies) n->add_body(std::move(body));
  try {
    infer_node(*n);
  } catch (...) {
    graph_->erase(n);
    throw;
  }
  return n;
}

Value* Builder::constant(Tensor value) {
  return make("constant", {}, {{"value", std::move(value)}});
}

Value* Builder::scalar(double value, DType dtype) {
  if (dtype == DType::undefined) internal_error(__FILE__, __LINE__, "scalar of undefined type");
  Tensor t = Tensor::empty(dtype, {});
  store_scalar(dtype, value, t.mutable_data());
  return constant(std::move(t));
}

Value* Builder::dims(const Shape& extents) {
  std::vector<int64_t> values;
  for (const Dim& d : extents) {
    if (!d.is_static()) return make("dims", {}, {{"extents", extents}});
    values.push_back(d.value());
  }
  return constant(Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values));
}

Value* Builder::cast(Value* x, DType to) {
  return x->dtype() == to ? x : make("cast", {x}, {{"to", to}});
}

Value* Builder::reshape(Value* x, Shape shape) {
  return x->shape() == shape ? x : make("reshape", {x}, {{"shape", std::move(shape)}});
}

Value* Builder::transpose(Value* x, std::vector<int64_t> perm) {
  std::vector<int64_t> identity(perm.size());
  std::iota(identity.begin(), identity.end(), int64_t{0});
  return perm == identity ? x : make("transpose", {x}, {{"perm", std::move(perm)}});
}

Value* Builder::broadcast(Value* x, Shape shape) {
  return x->shape() == shape ? x : make("broadcast", {x}, {{"shape", std::move(shape)}});
}

Value* Builder::slice(Value* x, Shape starts, Shape sizes, std::vector<int64_t> steps) {
  bool whole = sizes == x->shape();
  for (size_t i = 0; i < starts.size(); ++i) whole = whole && starts[i].is(0) && steps[i] == 1;
  if (whole) return x;
  return make(
      "slice", {x},
      {{"starts", std::move(starts)}, {"sizes", std::move(sizes)}, {"steps", std::move(steps)}});
}

Value* Builder::slice_axis(Value* x, int axis, const Dim& start, const Dim& size, int64_t step) {
  const auto a = static_cast<size_t>(axis);
  Shape starts(x->shape().size(), Dim(0));
  Shape sizes = x->shape();
  std::vector<int64_t> steps(x->shape().size(), 1);
  starts[a] = start;
  sizes[a] = size;
  steps[a] = step;
  return slice(x, std::move(starts), std::move(sizes), std::move(steps));
}

Value* Builder::pad(Value* x, Shape before, Shape after, Value* value, const std::string& mode) {
  bool none = true;
  for (size_t i = 0; i < before.size(); ++i) none = none && before[i].is(0) && after[i].is(0);
  if (none) return x;
  std::vector<Value*> operands = {x};
  if (value != nullptr) operands.push_back(value);
  return make("pad", std::move(operands),
              {{"before", std::move(before)}, {"after", std::move(after)}, {"mode", mode}});
}

Value* Builder::concat(std::vector<Value*> xs, int axis) {
  if (xs.size() == 1) return xs[0];
  return make("concat", std::move(xs), {{"axis", static_cast<int64_t>(axis)}});
}

Value* Builder::reduce(std::string_view op_name, Value* x, std::vector<int64_t> axes) {
  return axes.empty() ? x : make(op_name, {x}, {{"axes", std::move(axes)}});
}

}  // namespace tintype
