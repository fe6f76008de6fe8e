// Rules about pointwise ops.
#include "passes/simplify_rules.h"

#include <algorithm>

namespace tintype::rules {

namespace {

bool same_type(const Node& n, const Value* v) { return v->type() == n.result()->type(); }

/// The node that makes operand 0, when it is of the given op.
const Node* made_by(const Node& n, std::string_view op) {
  const Node* def = n.operand(0)->def();
  return def != nullptr && def->is(op) ? def : nullptr;
}

Value* not_made_by(Attempt& a, const Node& n, std::string_view op) {
  return a.no(
      [&] { return "its operand is " + described(*n.operand(0)) + ", no " + std::string(op); });
}

Value* identity(Attempt&, const Node& n) {
  return n.is("identity") || n.is("stop_gradient") ? n.operand(0) : nullptr;
}

/// The other operand, when one operand of a binary op is the given constant and drops out.
Value* neutral(Attempt& a, const Node& n, std::string_view op, int element) {
  if (!n.is(op)) return nullptr;
  bool found = false;
  for (int i : {1, 0}) {
    if (i == 0 && !n.op().has(kCommutative)) break;
    Value* other = n.operand(1 - i);
    if (constant_splat(n.operand(i)) != element) continue;
    if (same_type(n, other)) return other;
    found = true;
  }
  return a.no([&]() -> std::string {
    const std::string number = std::to_string(element);
    if (found) return "the other operand is broadcast to the shape of the " + number;
    return (n.op().has(kCommutative) ? "no operand is " : "operand 1 is not ") + number;
  });
}

Value* add_zero(Attempt& a, const Node& n) { return neutral(a, n, "add", 0); }
Value* sub_zero(Attempt& a, const Node& n) { return neutral(a, n, "sub", 0); }
Value* mul_one(Attempt& a, const Node& n) { return neutral(a, n, "mul", 1); }
Value* div_one(Attempt& a, const Node& n) { return neutral(a, n, "div", 1); }

/// x in f(f(x))
Value* involution(Attempt& a, const Node& n, std::string_view op) {
  if (!n.is(op)) return nullptr;
  const Node* inner = made_by(n, op);
  return inner != nullptr ? inner->operand(0) : not_made_by(a, n, op);
}

Value* double_neg(Attempt& a, const Node& n) { return involution(a, n, "neg"); }
Value* double_not(Attempt& a, const Node& n) { return involution(a, n, "not"); }

Value* relu_relu(Attempt& a, const Node& n) {
  if (!n.is("relu")) return nullptr;
  return made_by(n, "relu") != nullptr ? n.operand(0) : not_made_by(a, n, "relu");
}

Value* max_zero(Attempt& a, const Node& n) {
  if (!n.is("max")) return nullptr;
  if (!is_float(n.result()->dtype())) return a.no("its elements are no floats");
  Value* x = neutral(a, n, "max", 0);
  return x == nullptr ? nullptr : a.b.unary("relu", x);
}

Value* cast_same(Attempt& a, const Node& n) {
  if (!n.is("cast")) return nullptr;
  return same_type(n, n.operand(0)) ? n.operand(0) : a.no("the types differ");
}

/// True when every value of `from` survives a cast to `to` and back.
bool is_exact(DType from, DType to) {
  if (from == DType::boolean) return to != DType::undefined;
  if (is_float(from)) {
    if (to == DType::f64) return true;
    return to == DType::f32 && from != DType::f64;
  }
  const size_t bits = size_of(from) * 8 - (is_signed_int(from) ? 1 : 0);
  if (is_int(to)) {
    if (is_unsigned_int(to) && is_signed_int(from)) return false;
    return size_of(to) * 8 - (is_signed_int(to) ? 1 : 0) >= bits;
  }
  if (to == DType::f64) return bits <= 53;
  return to == DType::f32 && bits <= 24;
}

Value* cast_back(Attempt& a, const Node& n) {
  if (!n.is("cast")) return nullptr;
  const Node* inner = made_by(n, "cast");
  if (inner == nullptr) return not_made_by(a, n, "cast");
  Value* x = inner->operand(0);
  if (!same_type(n, x)) return a.no("it does not lead back to " + x->type().text());
  if (!is_exact(x->dtype(), inner->result()->dtype()))
    return a.no("the cast before it may lose digits");
  return x;
}

Value* constant_power(Attempt& a, const Node& n) {
  if (!n.is("pow")) return nullptr;
  if (!is_float(n.result()->dtype())) return a.no("its elements are no floats");
  Value* x = n.operand(0);
  const std::optional<double> exponent = constant_splat(n.operand(1));
  if (!exponent) return a.no("its exponent is no constant number");
  if (!same_type(n, x)) return a.no("its base is broadcast to the shape of the exponent");
  if (*exponent == 1.0) return x;
  if (*exponent == 2.0) return a.b.mul(x, x);
  if (*exponent == 3.0) return a.b.mul(x, a.b.mul(x, x));
  if (*exponent == 0.5) return a.b.unary("sqrt", x);
  if (*exponent == -0.5) return a.b.unary("rsqrt", x);
  if (*exponent == -1.0) return a.b.unary("reciprocal", x);
  return a.no("its exponent is none of 1, 2, 3, 1/2, -1/2, -1");
}

/// True when the operands but one have the result's shape by themselves.
bool others_span_result(const Node& n, int without) {
  const Shape& shape = n.result()->shape();
  Shape rest;
  for (int i = 0; i < n.operand_count(); ++i) {
    if (i == without) continue;
    const Shape& s = n.operand(i)->shape();
    if (s.size() > rest.size()) rest.insert(rest.begin(), s.size() - rest.size(), Dim(1));
    for (size_t k = 1; k <= s.size(); ++k) {
      Dim& d = rest[rest.size() - k];
      if (d.is(1)) d = s[s.size() - k];
    }
  }
  return rest == shape;
}

/// The node again with one operand exchanged.
Value* with_operand(Builder& b, const Node& n, int i, Value* v) {
  std::vector<Value*> operands = n.operands();
  operands[static_cast<size_t>(i)] = v;
  return b.make(n.name(), operands, n.attrs());
}

Value* equal_elements(Attempt& a, const Node& n) {
  if (n.operand_count() < 2) return nullptr;
  bool found = false;
  for (int i = 0; i < n.operand_count(); ++i) {
    const Tensor* t = n.operand(i)->constant();
    if (t == nullptr || t->rank() == 0 || !constant_splat(n.operand(i))) continue;
    found = true;
    if (!others_span_result(n, i)) continue;
    Tensor one = Tensor::empty(t->dtype(), {});
    std::copy_n(static_cast<const std::byte*>(t->data()), size_of(t->dtype()),
                static_cast<std::byte*>(one.mutable_data()));
    return with_operand(a.b, n, i, a.b.constant(std::move(one)));
  }
  return a.no(found ? "the other operands do not span the result"
                    : "no operand is a constant of equal elements with axes");
}

Value* implied_broadcast(Attempt& a, const Node& n) {
  if (n.operand_count() < 2) return nullptr;
  bool found = false;
  for (int i = 0; i < n.operand_count(); ++i) {
    const Node* def = n.operand(i)->def();
    if (def == nullptr || !def->is("broadcast")) continue;
    found = true;
    if (others_span_result(n, i)) return with_operand(a.b, n, i, def->operand(0));
  }
  return a.no(found ? "the other operands do not span the result" : "no operand is a broadcast");
}

/// Zeros around the value, added up by `add` nodes that nobody else reads.
bool collect_padded(const Value* v, const Shape& shape, std::vector<const Node*>& pads) {
  const Node* n = v->def();
  if (n == nullptr || !(v->shape() == shape)) return false;
  if (n->is("add")) {
    const bool inner = v->has_one_use();
    return inner && collect_padded(n->operand(0), shape, pads) &&
           collect_padded(n->operand(1), shape, pads);
  }
  if (!n->is("pad") || n->attrs().string("mode", "constant") != "constant") return false;
  if (n->operand(1) != nullptr && constant_splat(n->operand(1)) != 0.0) return false;
  pads.push_back(n);
  return true;
}

/// The only axis with margins; nothing when there are several, or they are not known.
std::optional<size_t> padded_axis(const Node& pad) {
  const Shape before = pad.attrs().dims("before"), after = pad.attrs().dims("after");
  std::optional<size_t> axis;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].is(0) && after[i].is(0)) continue;
    if (axis || !before[i].is_static() || !after[i].is_static()) return std::nullopt;
    axis = i;
  }
  return axis;
}

// The gradients of slices that are parts of one value come together.
Value* sum_of_parts(Attempt& a, const Node& n) {
  std::vector<const Node*> pads;
  const Shape& shape = n.result()->shape();
  if (!n.is("add")) return nullptr;
  if (!collect_padded(n.operand(0), shape, pads) || !collect_padded(n.operand(1), shape, pads))
    return a.no("an addend is no value with zeros around it");
  const std::optional<size_t> axis = padded_axis(*pads[0]);
  if (!axis) return a.no("there are zeros along several axes, or of unknown number");
  const auto start = [&](const Node* pad) { return pad->attrs().dims("before")[*axis]; };
  for (const Node* pad : pads)
    if (padded_axis(*pad) != axis) return a.no("addends have zeros along different axes");
  std::sort(pads.begin(), pads.end(),
            [&](const Node* p, const Node* q) { return start(p).value() < start(q).value(); });
  std::vector<Value*> parts;
  Dim end = 0;
  for (const Node* pad : pads) {
    if (!(start(pad) == end)) return a.no("the parts overlap or leave a gap");
    parts.push_back(pad->operand(0));
    end = end + pad->operand(0)->shape()[*axis];
  }
  if (!(end == shape[*axis])) return a.no("the parts leave a gap at the end");
  return a.b.concat(std::move(parts), static_cast<int>(*axis));
}

constexpr Rule kRules[] = {
    {"identity(x) = x", identity},
    {"x + 0 = x", add_zero},
    {"x - 0 = x", sub_zero},
    {"x * 1 = x", mul_one},
    {"x / 1 = x", div_one},
    {"-(-x) = x", double_neg},
    {"not(not(x)) = x", double_not},
    {"relu(relu(x)) = relu(x)", relu_relu},
    {"max(x, 0) = relu(x)", max_zero},
    {"cast(x) to its own type = x", cast_same},
    {"cast(cast(x)) back without loss = x", cast_back},
    {"pow(x, constant) = products and roots", constant_power},
    {"f(x, c ... c) = f(x, c)", equal_elements},
    {"f(x, broadcast(y)) = f(x, y)", implied_broadcast},
    {"pad(x) + pad(y) = concat(x, y)", sum_of_parts},
};

}  // namespace

std::span<const Rule> pointwise() { return kRules; }

}  // namespace tintype::rules
