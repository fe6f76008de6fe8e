// Rules about movement, reductions and weight packing.
#include "passes/simplify_rules.h"
#include "passes/sink_reshape.h"

#include <algorithm>

namespace tintype::rules {

namespace {

/// The node that makes operand 0, when it is of the given op.
const Node* before(const Node& n, std::string_view op) {
  const Node* def = n.operand(0)->def();
  return def != nullptr && def->is(op) ? def : nullptr;
}

Value* not_behind(Attempt& a, const Node& n, std::string_view op) {
  return a.no(
      [&] { return "its operand is " + described(*n.operand(0)) + ", no " + std::string(op); });
}

Value* shared(Attempt& a, const Value& v) {
  return a.no([&] { return v.def()->where() + " has " + users_text(v); });
}

Value* if_same_shape(Attempt& a, const Node& n) {
  return n.operand(0)->shape() == n.result()->shape() ? n.operand(0) : a.no("the shapes differ");
}

/// `now` when it has the type of the node; else it is taken back, with what was made for it.
Value* if_same_type(Attempt& a, const Node& n, Value* now) {
  if (now->type() == n.result()->type()) return now;
  const std::string type = now->type().text();
  while (now->def() != nullptr && now->uses().empty() && now->output_uses() == 0) {
    Node* made = now->def();
    now = made->operand(0);
    n.graph().erase(made);
  }
  return a.no("the result would be " + type);
}

Value* transpose_identity(Attempt& a, const Node& n) {
  if (!n.is("transpose")) return nullptr;
  return is_identity(n.attrs().integers("perm")) ? n.operand(0) : a.no("it moves axes");
}

Value* transpose_transpose(Attempt& a, const Node& n) {
  if (!n.is("transpose")) return nullptr;
  const Node* first = before(n, "transpose");
  if (first == nullptr) return not_behind(a, n, "transpose");
  return a.b.transpose(first->operand(0),
                       composed(first->attrs().integers("perm"), n.attrs().integers("perm")));
}

Value* transpose_of_ones(Attempt& a, const Node& n) {
  if (!n.is("transpose")) return nullptr;
  Value* x = n.operand(0);
  if (!moves_only_ones(x->shape(), n.attrs().integers("perm")))
    return a.no("it moves axes whose extents are not 1");
  return a.b.reshape(x, n.result()->shape());
}

// Fewer transposes: the one below the reshape merges with the one above it.
Value* transpose_reshape_transpose(Attempt& a, const Node& n) {
  if (!n.is("transpose")) return nullptr;
  const Node* reshape = before(n, "reshape");
  if (reshape == nullptr) return not_behind(a, n, "reshape");
  if (!n.operand(0)->has_one_use()) return shared(a, *n.operand(0));
  const Node* first = before(*reshape, "transpose");
  if (first == nullptr) return not_behind(a, *reshape, "transpose");
  if (!reshape->operand(0)->has_one_use()) return shared(a, *reshape->operand(0));
  const auto raised = raise_above_reshape(reshape->operand(0)->shape(), reshape->result()->shape(),
                                          n.attrs().integers("perm"));
  if (!raised) return a.no("it moves no axes of what the reshape reads");
  Value* x = a.b.transpose(first->operand(0), composed(first->attrs().integers("perm"), *raised));
  return a.b.reshape(x, n.result()->shape());
}

Value* reshape_same(Attempt& a, const Node& n) {
  return n.is("reshape") ? if_same_shape(a, n) : nullptr;
}

Value* reshape_reshape(Attempt& a, const Node& n) {
  if (!n.is("reshape")) return nullptr;
  const Node* first = before(n, "reshape");
  return first == nullptr ? not_behind(a, n, "reshape")
                          : a.b.reshape(first->operand(0), n.result()->shape());
}

/// The matrix product of a reshaped operand with a matrix, alone in using that reshape; or null.
const Node* flattened_dot(const Value* v) {
  const Node* dot = v->def();
  if (dot == nullptr || !dot->is("dot") || !v->has_one_use()) return nullptr;
  if (dot->operand(1)->rank() != 2 || dot->attrs().integer("block") > 0) return nullptr;
  const Node* flat = dot->operand(0)->def();
  return flat != nullptr && flat->is("reshape") ? dot : nullptr;
}

Value* no_flattened_dot(Attempt& a, const Value& v) {
  return a.no([&] {
    return described(v) + " is no product of a reshaped operand with a matrix that only it uses";
  });
}

/// True when a reshape of v to this shape keeps the last axis.
bool keeps_last_axis(const Value* v, const Shape& shape) {
  return v->rank() > 0 && !shape.empty() && v->shape().back() == shape.back();
}

// Exporters flatten linear layers to matrices; the reshapes before and after meet and cancel.
Value* reshape_dot(Attempt& a, const Node& n) {
  if (!n.is("reshape")) return nullptr;
  const Node* dot = flattened_dot(n.operand(0));
  if (dot == nullptr) return no_flattened_dot(a, *n.operand(0));
  Shape shape = n.result()->shape();
  if (shape.size() < 2 || !keeps_last_axis(n.operand(0), shape))
    return a.no("it does not keep the last axis");
  shape.back() = dot->operand(0)->shape().back();
  Value* x = a.b.reshape(dot->operand(0), shape);
  return if_same_type(a, n, a.b.make("dot", {x, dot->operand(1)}, dot->attrs()));
}

Value* reshape_pointwise_dot(Attempt& a, const Node& n) {
  if (!n.is("reshape")) return nullptr;
  const Node* f = n.operand(0)->def();
  const Shape& shape = n.result()->shape();
  if (f == nullptr || !f->op().has(kPointwise)) return not_behind(a, n, "pointwise op");
  if (!n.operand(0)->has_one_use()) return shared(a, *n.operand(0));
  if (shape.size() < 2 || !keeps_last_axis(n.operand(0), shape))
    return a.no("it does not keep the last axis");
  const Node* dot = nullptr;
  std::vector<Value*> operands = f->operands();
  for (Value*& v : operands) {
    if (v->rank() <= 1) continue;
    if (dot != nullptr) return a.no(f->where() + " has several operands with axes");
    dot = flattened_dot(v);
    if (dot == nullptr) return no_flattened_dot(a, *v);
    v = a.b.reshape(v, shape);
  }
  return dot == nullptr ? a.no(f->where() + " reads no product")
                        : a.b.make(f->name(), operands, f->attrs());
}

Value* broadcast_same(Attempt& a, const Node& n) {
  return n.is("broadcast") ? if_same_shape(a, n) : nullptr;
}

Value* broadcast_broadcast(Attempt& a, const Node& n) {
  if (!n.is("broadcast")) return nullptr;
  const Node* first = before(n, "broadcast");
  return first == nullptr ? not_behind(a, n, "broadcast")
                          : a.b.broadcast(first->operand(0), n.result()->shape());
}

bool all_are(const Shape& shape, int64_t value) {
  return std::all_of(shape.begin(), shape.end(), [value](const Dim& d) { return d.is(value); });
}

Value* pad_nothing(Attempt& a, const Node& n) {
  if (!n.is("pad")) return nullptr;
  return all_are(n.attrs().dims("before"), 0) && all_are(n.attrs().dims("after"), 0)
             ? n.operand(0)
             : a.no("it adds margins");
}

bool is_constant_mode(const Node& n) { return n.attrs().string("mode", "constant") == "constant"; }

/// The margin's value as a number; nothing when it is not a constant.
std::optional<double> margin(const Node& n) {
  return n.operand(1) == nullptr ? std::optional<double>(0.0) : constant_splat(n.operand(1));
}

/// Margins b around margins a add up, unless b adds what a has cropped or crops more than a added.
bool add_up(const Shape& a, const Shape& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].is(0) || b[i].is(0)) continue;
    const auto low_a = a[i].lower_bound();
    const auto low_sum = (a[i] + b[i]).lower_bound();
    if (!low_a || !low_sum || *low_a < 0 || *low_sum < 0) return false;
  }
  return true;
}

Shape sum(const Shape& a, const Shape& b) {
  Shape out;
  for (size_t i = 0; i < a.size(); ++i) out.push_back(a[i] + b[i]);
  return out;
}

Value* pad_pad(Attempt& a, const Node& n) {
  if (!n.is("pad")) return nullptr;
  const Node* first = before(n, "pad");
  if (first == nullptr) return not_behind(a, n, "pad");
  if (!is_constant_mode(n) || !is_constant_mode(*first))
    return a.no("one of the two does not fill with a constant");
  const auto value = margin(n);
  if (!value || margin(*first) != value) return a.no("the two fill with different values");
  const Shape before_a = first->attrs().dims("before"), before_b = n.attrs().dims("before");
  const Shape after_a = first->attrs().dims("after"), after_b = n.attrs().dims("after");
  if (!add_up(before_a, before_b) || !add_up(after_a, after_b))
    return a.no("one of the two crops what the other adds");
  return a.b.pad(first->operand(0), sum(before_a, before_b), sum(after_a, after_b), n.operand(1));
}

/// Amounts that a pad by a constant adds before and after each axis, or, below zero, a slice takes.
std::optional<std::pair<Shape, Shape>> margins_of(const Node& n) {
  if (n.is("pad") && is_constant_mode(n))
    return std::pair(n.attrs().dims("before"), n.attrs().dims("after"));
  if (!n.is("slice")) return std::nullopt;
  const auto steps = n.attrs().integers("steps");
  if (!std::all_of(steps.begin(), steps.end(), [](int64_t s) { return s == 1; }))
    return std::nullopt;
  Shape front = n.attrs().dims("starts"), back = n.attrs().dims("sizes");
  for (size_t i = 0; i < front.size(); ++i) {
    back[i] = front[i] + back[i] - n.operand(0)->shape()[i];
    front[i] = Dim(0) - front[i];
  }
  return std::pair(std::move(front), std::move(back));
}

// What a convolution computes only to be cropped, as the gradient of padding does, it need not see.
Value* crop_conv(Attempt& a, const Node& n) {
  if (!n.is("pad") && !n.is("slice")) return nullptr;
  const Node* conv = before(n, "conv");
  if (conv == nullptr) return not_behind(a, n, "conv");
  const auto margins = margins_of(n);
  if (!margins) return a.no("it does not crop");
  if (!n.operand(0)->has_one_use()) return shared(a, *n.operand(0));
  auto [front, back] = *margins;
  const size_t channels = front.size() - 1;
  const auto strides = conv->attrs().integers("strides", std::vector<int64_t>(channels - 1, 1));
  if (!front[0].is(0) || !back[0].is(0) || !front[channels].is(0) || !back[channels].is(0))
    return a.no("it changes more than the image");
  for (size_t i = 1; i < channels; ++i) {
    if (!front[i].is_static() || !back[i].is_static() || front[i].value() > 0 ||
        back[i].value() > 0)
      return a.no("it adds to the image");
    // Windows may leave a remainder at the end of the input when they are strided.
    if (strides[i - 1] != 1 && !back[i].is(0)) return a.no("it crops the end of strided windows");
    front[i] = front[i] * Dim(strides[i - 1]);
  }
  Value* x = a.b.pad(conv->operand(0), front, back);
  return if_same_type(a, n, a.b.make("conv", {x, conv->operand(1)}, conv->attrs()));
}

Value* slice_whole(Attempt& a, const Node& n) {
  if (!n.is("slice")) return nullptr;
  const auto steps = n.attrs().integers("steps");
  if (!all_are(n.attrs().dims("starts"), 0) ||
      !std::all_of(steps.begin(), steps.end(), [](int64_t s) { return s == 1; }))
    return a.no("it leaves elements out");
  return if_same_shape(a, n);
}

Value* slice_slice(Attempt& a, const Node& n) {
  if (!n.is("slice")) return nullptr;
  const Node* first = before(n, "slice");
  if (first == nullptr) return not_behind(a, n, "slice");
  Shape starts = first->attrs().dims("starts");
  std::vector<int64_t> steps = first->attrs().integers("steps");
  const Shape inner = n.attrs().dims("starts");
  const auto inner_steps = n.attrs().integers("steps");
  for (size_t i = 0; i < starts.size(); ++i) {
    starts[i] = starts[i] + inner[i] * Dim(steps[i]);
    steps[i] *= inner_steps[i];
  }
  return a.b.slice(first->operand(0), starts, n.attrs().dims("sizes"), steps);
}

Value* concat_one(Attempt& a, const Node& n) {
  if (!n.is("concat")) return nullptr;
  return n.operand_count() == 1 ? n.operand(0) : a.no("it has several operands");
}

int64_t axis_of(const Node& n) {
  const int64_t axis = n.attrs().integer("axis");
  return axis < 0 ? axis + n.operand(0)->rank() : axis;
}

Value* concat_concat(Attempt& a, const Node& n) {
  if (!n.is("concat")) return nullptr;
  std::vector<Value*> parts;
  bool nested = false;
  for (Value* v : n.operands()) {
    const Node* def = v->def();
    if (def != nullptr && def->is("concat") && axis_of(*def) == axis_of(n) && v->has_one_use()) {
      const auto inner = def->operands();
      parts.insert(parts.end(), inner.begin(), inner.end());
      nested = true;
    } else {
      parts.push_back(v);
    }
  }
  return nested ? a.b.concat(parts, static_cast<int>(axis_of(n)))
                : a.no("no operand is a concat along the same axis that only it uses");
}

Value* concat_empty(Attempt& a, const Node& n) {
  if (!n.is("concat")) return nullptr;
  const auto axis = static_cast<size_t>(axis_of(n));
  std::vector<Value*> parts;
  for (Value* v : n.operands())
    if (!v->shape()[axis].is(0)) parts.push_back(v);
  if (parts.size() == n.operands().size()) return a.no("no operand is empty");
  if (parts.empty()) return a.no("all operands are empty");
  return if_same_type(a, n, a.b.concat(parts, static_cast<int>(axis)));
}

Value* reverse_ones(Attempt& a, const Node& n) {
  if (!n.is("reverse")) return nullptr;
  for (int64_t axis : n.attrs().integers("axes"))
    if (!n.operand(0)
             ->shape()[static_cast<size_t>(axis < 0 ? axis + n.operand(0)->rank() : axis)]
             .is(1))
      return a.no("it reverses an axis whose extent is not 1");
  return n.operand(0);
}

Value* dilate_one(Attempt& a, const Node& n) {
  if (!n.is("dilate")) return nullptr;
  const auto factors = n.attrs().integers("factors");
  return std::all_of(factors.begin(), factors.end(), [](int64_t f) { return f == 1; })
             ? n.operand(0)
             : a.no("it spreads elements");
}

/// Constant indices i, i + 1, ... as the first one and their number.
std::optional<std::pair<int64_t, int64_t>> consecutive(const Value* indices) {
  const auto& content = indices->content();
  if (!content || content->empty()) return std::nullopt;
  for (size_t i = 0; i < content->size(); ++i)
    if (!(*content)[i].is_static() ||
        (*content)[i].value() != (*content)[0].value() + static_cast<int64_t>(i))
      return std::nullopt;
  return std::pair((*content)[0].value(), static_cast<int64_t>(content->size()));
}

Value* gather_consecutive(Attempt& a, const Node& n) {
  if (!n.is("gather")) return nullptr;
  if (n.operand(1)->rank() > 1) return a.no("its indices have several axes");
  const auto range = consecutive(n.operand(1));
  if (!range) return a.no("its indices are not known to be consecutive");
  Value* x = n.operand(0);
  const int64_t axis = axis_of(n);
  const Dim& extent = x->shape()[static_cast<size_t>(axis)];
  auto [first, count] = *range;
  if (first < 0 && first + count > 0) return a.no("its indices wrap around");
  const Dim start = first < 0 ? extent + Dim(first) : Dim(first);
  if (!provably_le(Dim(0), start) || !provably_le(start + Dim(count), extent))
    return a.no("its indices may lie outside");
  Value* part = a.b.slice_axis(x, static_cast<int>(axis), start, Dim(count));
  return a.b.reshape(part, n.result()->shape());
}

Value* reduce_ones(Attempt& a, const Node& n) {
  if (!n.op().has(kReduction)) return nullptr;
  Value* x = n.operand(0);
  const auto axes = n.attrs().integers("axes");
  std::vector<int64_t> kept;
  for (int64_t axis : axes)
    if (!x->shape()[static_cast<size_t>(axis < 0 ? axis + x->rank() : axis)].is(1))
      kept.push_back(axis);
  return kept.size() == axes.size() ? a.no("no axis has extent 1") : a.b.reduce(n.name(), x, kept);
}

Value* reduce_nothing(Attempt& a, const Node& n) {
  if (!n.op().has(kReduction)) return nullptr;
  return n.attrs().integers("axes").empty() ? n.operand(0) : a.no("it has axes");
}

Value* pack_transpose(Attempt& a, const Node& n) {
  if (!n.op().has(kPrepack)) return nullptr;
  const Node* first = before(n, "transpose");
  if (first == nullptr) return not_behind(a, n, "transpose");
  AttrMap attrs = n.attrs();
  attrs.set("perm", composed(first->attrs().integers("perm"), n.attrs().integers("perm")));
  return a.b.make(n.name(), {first->operand(0)}, attrs);
}

constexpr Rule kRules[] = {
    {"transpose(x) by the identity = x", transpose_identity},
    {"transpose(transpose(x, p), q) = transpose(x, p[q])", transpose_transpose},
    {"transpose(x) that moves axes of extent 1 only = reshape(x)", transpose_of_ones},
    {"transpose(reshape(transpose(x))) = reshape(transpose(x))", transpose_reshape_transpose},
    {"reshape(x) to its own shape = x", reshape_same},
    {"reshape(reshape(x)) = reshape(x)", reshape_reshape},
    {"reshape(dot(reshape(x), w)) = dot(reshape(x), w)", reshape_dot},
    {"reshape(f(dot(reshape(x), w), c)) = f(reshape(dot(reshape(x), w)), c)",
     reshape_pointwise_dot},
    {"broadcast(x) to its own shape = x", broadcast_same},
    {"broadcast(broadcast(x)) = broadcast(x)", broadcast_broadcast},
    {"pad(x) by nothing = x", pad_nothing},
    {"pad(pad(x, a), b) = pad(x, a + b)", pad_pad},
    {"pad(conv(x, w), -c) = conv(pad(x, -c), w), where a pad below 0 or a slice crops", crop_conv},
    {"slice(x) of everything = x", slice_whole},
    {"slice(slice(x)) = slice(x)", slice_slice},
    {"concat(x) = x", concat_one},
    {"concat(concat(x, y), z) = concat(x, y, z)", concat_concat},
    {"concat(x, empty) = x", concat_empty},
    {"reverse(x) of axes of extent 1 = x", reverse_ones},
    {"dilate(x) by 1 = x", dilate_one},
    {"gather(x, consecutive indices) = slice(x)", gather_consecutive},
    {"reduce(x) over axes of extent 1 = x", reduce_ones},
    {"reduce(x) over no axes = x", reduce_nothing},
    {"pack(transpose(x)) = pack(x)", pack_transpose},
};

}  // namespace

std::span<const Rule> movement() { return kRules; }

}  // namespace tintype::rules
