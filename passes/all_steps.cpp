#include "passes/all_steps.h"

#include "ir/ops/control.h"
#include "passes/recurrent_chains.h"

#include <algorithm>

namespace tintype {

namespace {

Shape with_axis(Shape shape, const Dim& extent) {
  shape.insert(shape.begin(), extent);
  return shape;
}

std::vector<int64_t> behind(std::vector<int64_t> axes) {
  for (int64_t& a : axes) ++a;
  return axes;
}

}  // namespace

bool can_repeat_for_all(const Node& n, const std::vector<bool>& by_step) {
  if (n.result_count() != 1 || n.body_count() != 0 || n.op().has(kImpure)) return false;
  if (n.op().has(kPointwise) || n.is("concat")) return true;
  if (is_plain_product(n))
    return !by_step[1] && n.operand(1)->rank() == 2 && n.operand(0)->rank() >= 2;
  if (n.op().has(kReduction)) return n.operand_count() == 1;
  return n.is("reshape") || n.is("transpose") || n.is("broadcast") || n.is("slice");
}

Value* repeat_for_all(Builder& b, const Node& n, const std::vector<Value*>& operands,
                      const std::vector<bool>& by_step, const Dim& steps) {
  const Value& result = *n.result();
  const int rank = n.operand(0)->rank();
  b.set_origins(n.origins());
  if (n.is("reshape")) return b.reshape(operands[0], with_axis(result.shape(), steps));
  if (n.is("slice")) {
    std::vector<int64_t> strides = n.attrs().integers("steps");
    strides.insert(strides.begin(), 1);
    return b.slice(operands[0], with_axis(n.attrs().dims("starts"), 0),
                   with_axis(result.shape(), steps), strides);
  }
  AttrMap attrs = n.attrs();
  std::vector<Value*> values = operands;
  if (n.is("transpose")) {
    std::vector<int64_t> perm = behind(attrs.integers("perm"));
    perm.insert(perm.begin(), 0);
    return b.transpose(operands[0], perm);
  }
  if (n.is("concat")) {
    const int axis = normalize_axis(attrs.integer("axis"), rank, "");
    for (size_t i = 0; i < values.size(); ++i)
      if (!by_step[i])
        values[i] =
            b.broadcast(values[i], with_axis(n.operand(static_cast<int>(i))->shape(), steps));
    return b.concat(values, axis + 1);
  }
  if (n.op().has(kReduction)) {
    std::vector<int64_t> axes = attrs.integers("axes");
    for (int64_t& a : axes) a = normalize_axis(a, rank, "");
    attrs.set("axes", behind(axes));
    return b.make(n.name(), values, attrs);
  }
  // Axes that broadcasting would put in front belong behind that of the steps.
  if (n.op().has(kPointwise) || n.is("broadcast"))
    for (size_t i = 0; i < values.size(); ++i) {
      if (!by_step[i]) continue;
      Shape shape = n.operand(static_cast<int>(i))->shape();
      while (static_cast<int>(shape.size()) < result.rank()) shape.insert(shape.begin(), Dim(1));
      values[i] = b.reshape(values[i], with_axis(shape, steps));
    }
  if (n.is("broadcast")) return b.broadcast(values[0], with_axis(result.shape(), steps));
  return b.make(n.name(), values, attrs);
}

Value* add_scanned(Node& scan, Value* all) {
  const int at = ScanView(scan).first_invariant();
  std::vector<Value*> behind;
  while (scan.operand_count() > at) {
    behind.push_back(scan.operand(at));
    scan.erase_operand(at);
  }
  scan.add_operand(all);
  for (Value* v : behind) scan.add_operand(v);
  Graph& body = *scan.body();
  Value* slice =
      body.add_input("", {all->dtype(), Shape(all->shape().begin() + 1, all->shape().end())});
  body.move_input(body.inputs().size() - 1, static_cast<size_t>(at));
  scan.attrs().set("scanned", scan.attrs().integer("scanned") + 1);
  return slice;
}

}  // namespace tintype
