// Lowering of what NVIDIA's libraries do: the call, what follows it, and the kernels that stand in
// for both where there is no library.
//
// A library step spans, first, the steps behind a call: what it could not take in. The others are
// the region as one of our kernels, with what that needs in another form than the library: weights
// with the filters innermost, and padding written out.
#include "codegen/library_steps.h"
#include "codegen/lowering.h"
#include "codegen/region_arguments.h"
#include "codegen/winograd_forms.h"
#include "ir/builder.h"
#include "ir/op_def.h"
#include "ir/work.h"

#include <algorithm>
#include <utility>

namespace tintype {

namespace {

/// Bytes that a library may use: what cuBLAS is advised to have on large devices, less for small
/// operands.
constexpr int64_t kMostWorkspace = int64_t{32} << 20, kLeastWorkspace = int64_t{1} << 20;

Shape without_last(const Shape& s, size_t n) {
  return {s.begin(), s.end() - static_cast<std::ptrdiff_t>(n)};
}

/// A tensor as [1, rows, columns], all but its last axis as rows.
std::optional<KernelArgument> as_rows(DType type, const Placement& p, const Shape& shape) {
  const Shape matrix = {product(without_last(shape, 1)), shape.back()};
  const std::optional<Shape> strides = reshape_strides(shape, p.strides, matrix);
  if (!strides) return std::nullopt;
  return KernelArgument{type,
                        {p.storage, p.offset, {Dim(0), (*strides)[0], (*strides)[1]}, p.motions},
                        {Dim(1), matrix[0], matrix[1]}};
}

/// A stack of matrices as [batch, rows, columns], or [1, rows, columns] for one that all share.
std::optional<KernelArgument> as_stack(DType type, const Placement& p, const Shape& shape,
                                       const Dim& batch) {
  const size_t rank = shape.size();
  const Dim count = product(without_last(shape, 2));
  KernelArgument a{type, {p.storage, p.offset, {}, p.motions}, {count}};
  if (!count.is(1) && !(count == batch)) return std::nullopt;
  a.extents.insert(a.extents.end(), shape.end() - 2, shape.end());
  if (count.is(1)) {
    a.placement.strides = {Dim(0), p.strides[rank - 2], p.strides[rank - 1]};
    return a;
  }
  const std::optional<Shape> strides = reshape_strides(shape, p.strides, a.extents);
  if (!strides) return std::nullopt;
  a.placement.strides = *strides;
  return a;
}

bool adjacent(const KernelArgument& a, size_t axis) {
  return a.extents[axis].is(1) || a.placement.strides[axis].is(1);
}

/// [N, W, C] as [N, 1, W, C]; a shape of rank four as it is.
KernelArgument as_image(DType type, const Placement& p, const Shape& shape) {
  KernelArgument a{type, p, shape};
  if (shape.size() == 4) return a;
  a.extents.insert(a.extents.begin() + 1, Dim(1));
  a.placement.strides.insert(a.placement.strides.begin() + 1, shape[1] * shape[2]);
  return a;
}

/// Attributes of windows along two axes, the first of which may not be there.
std::vector<int64_t> two(std::vector<int64_t> list, int64_t missing) {
  if (list.size() == 1) list.insert(list.begin(), missing);
  return list;
}

/// Filters first, as the library has them, to filters last.
Placement filters_last(const Placement& p, size_t axes) {
  Placement q = p;
  q.strides.assign(p.strides.begin() + 1, p.strides.begin() + 2 + static_cast<ptrdiff_t>(axes));
  q.strides.push_back(p.strides[0]);
  return q;
}

}  // namespace

const Node* library_anchor(const Node& n) {
  if (!n.is("region")) return nullptr;
  const Node* anchor = find_anchor(*n.body());
  return anchor != nullptr && anchor->attrs().has("library") ? anchor : nullptr;
}

/// The anchor of a library's region that reads the value as its first or second operand, or null.
const Node* Lowering::library_reader(const Use& use) const {
  const Node* anchor = library_anchor(*use.node);
  if (anchor == nullptr || !runs_on_device(*use.node)) return nullptr;
  const Value* inner = use.node->body()->inputs()[static_cast<size_t>(use.operand)].get();
  return inner == anchor->operand(0) || inner == anchor->operand(1) ? anchor : nullptr;
}

bool Lowering::library_pads(const Node& n) const {
  if (zero_pad(n.result()) == nullptr || n.result()->output_uses() != 0) return false;
  const Shape before = n.attrs().dims("before"), after = n.attrs().dims("after");
  if (before.size() < 3 || before.size() > 4) return false;
  for (size_t i = 0; i < before.size(); ++i) {
    const bool spatial = i > 0 && i + 1 < before.size();
    if (!before[i].is_static() || !(before[i] == after[i]) || before[i].value() < 0 ||
        (!spatial && !before[i].is(0)))
      return false;
  }
  const auto& uses = n.result()->uses();
  return !uses.empty() && std::all_of(uses.begin(), uses.end(), [this](const Use& u) {
    const Node* anchor = library_reader(u);
    return anchor != nullptr && !anchor->is("dot") &&
           u.node->body()->inputs()[static_cast<size_t>(u.operand)].get() == anchor->operand(0);
  });
}

bool Lowering::lies_apart(const Value* v) const {
  if (options_.machine.cuda == 0) return false;
  if (v->def() != nullptr && library_anchor(*v->def()) != nullptr && runs_on_device(*v->def()))
    return true;
  return std::any_of(v->uses().begin(), v->uses().end(), [this](const Use& u) {
    if (is_view(*u.node)) return lies_apart(u.node->result());
    if (u.node->is("pad")) return library_pads(*u.node);
    return library_reader(u) != nullptr;
  });
}

const Node& Lowering::variant(const Node& region, const std::vector<Stand>& inputs,
                              const Node* left_out) {
  const std::string name = region.attrs().string("name", "region");
  auto graph = std::make_unique<Graph>(name);
  auto body = std::make_unique<Graph>(name);
  std::map<const Value*, Value*> map;
  std::vector<Value*> outer;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string input = "a" + std::to_string(i);
    outer.push_back(graph->add_input(input, inputs[i].type));
    map[inputs[i].value] =
        Builder(*body).cast(body->add_input(input, inputs[i].type), inputs[i].value->dtype());
  }
  for (const auto& n : region.body()->nodes()) {
    if (n.get() == left_out) continue;
    std::vector<Value*> operands;
    for (Value* v : n->operands()) operands.push_back(v == nullptr ? nullptr : map.at(v));
    AttrMap attrs = n->attrs();
    if (attrs.has("library")) {
      attrs.erase("library");
      if (n->is("conv")) attrs.erase("block");
    }
    Node* copy = body->create(n->op(), operands, std::move(attrs), n->result_count());
    for (int i = 0; i < n->result_count(); ++i) {
      copy->result(i)->set_type(n->result(i)->type());
      map[n->result(i)] = copy->result(i);
    }
  }
  for (size_t i = 0; i < region.body()->output_count(); ++i)
    body->add_output("r" + std::to_string(i), map.at(region.body()->output(i)));
  Node* copy =
      graph->create(op("region"), outer, {{"name", name}}, static_cast<int>(body->output_count()));
  for (size_t i = 0; i < body->output_count(); ++i)
    copy->result(static_cast<int>(i))->set_type(body->output(i)->type());
  copy->add_body(std::move(body));
  scratch_.push_back(std::move(graph));
  return *copy;
}

/// The region as a kernel of ours.
void Lowering::lower_without_library(const Node& n, const Node& anchor) {
  const bool device = runs_on_device(n);
  std::vector<Stand> stands;
  std::vector<Placement> inputs, outputs;
  for (int i = 0; i < n.operand_count(); ++i) {
    const Value* inner = n.body()->inputs()[static_cast<size_t>(i)].get();
    const Value* v = n.operand(i);
    Stand stand{inner, inner->type()};
    Placement at;
    if (anchor.is("conv") && inner == anchor.operand(1)) {
      const size_t axes = anchor.attrs().integers("window").size();
      Shape plain(v->shape().begin() + 1, v->shape().end() - 1);
      plain.push_back(Dim(anchor.attrs().integer("filters")));
      at = buffer(v->dtype(), plain, device);
      add_copy(v->dtype(), plain, filters_last(placed(v, device), axes), at, "weights", n.where());
      stand.type = {v->dtype(), plain};
    } else if (device && v->def() != nullptr && v->def()->is("pad") && library_pads(*v->def())) {
      at = buffer(v->dtype(), v->shape(), true);
      add_device_pad(*v->def(), at);
    } else {
      at = region_input(n, i);
    }
    stands.push_back(std::move(stand));
    inputs.push_back(std::move(at));
  }
  for (int i = 0; i < n.result_count(); ++i) outputs.push_back(places_->of(n.result(i)));
  add_kernel_step(variant(n, stands, nullptr), inputs, outputs, n.where());
}

Placement Lowering::dense_on_device(const Value* v, const Node& reader) {
  const Placement at = placed(v, true);
  if (is_dense(at, v->shape())) return at;
  const Placement copy = buffer(v->dtype(), v->shape(), true);
  add_copy(v->dtype(), v->shape(), at, copy, "to dense", reader.where());
  return copy;
}

std::optional<Lowering::LibraryOperands> Lowering::product_operands(
    const Node& n, const Node& anchor, const std::map<const Value*, const Value*>& outer) {
  const Value *left = outer.at(anchor.operand(0)), *right = outer.at(anchor.operand(1));
  const Shape& out = anchor.result()->shape();
  const bool one_matrix = product(without_last(right->shape(), 2)).is(1);
  const Dim batch = product(without_last(out, 2));
  LibraryOperands o;
  const DType type = left->dtype();
  const auto arranged = [&](DType t, const Placement& p, const Shape& shape) {
    return o.rows ? as_rows(t, p, shape) : as_stack(t, p, shape, batch);
  };
  o.rows = one_matrix;
  if (one_matrix && left->rank() == 3)
    o.rows = as_rows(type, placed(left, true), left->shape()).has_value();
  // As it lies, or as a copy without gaps: the positions of an image whose channels are apart.
  const auto operand = [&](const Value* v, bool is_left) {
    const auto fits = [&](const Placement& p) -> std::optional<KernelArgument> {
      const auto a = is_left ? arranged(type, p, v->shape()) : as_stack(type, p, v->shape(), batch);
      return a && (adjacent(*a, 1) || adjacent(*a, 2)) ? a : std::nullopt;
    };
    const auto there = fits(placed(v, true));
    return there ? there : fits(dense_on_device(v, n));
  };
  const auto l = operand(left, true), r = operand(right, false);
  if (!l || !r) return std::nullopt;
  o.left = *l;
  o.right = *r;
  const auto fits = [&](const Placement& p) {
    const auto a = arranged(DType::f32, p, out);
    return a && adjacent(*a, 2) ? a : std::nullopt;
  };
  const Placement at = places_->of(n.result());
  o.epilogue = library_epilogue(anchor.result());
  o.whole = n.result_count() == 1 && o.epilogue.nodes + 1 == n.body()->nodes().size();
  if (o.whole && o.epilogue.residual != nullptr) {
    const Value* residual = outer.at(o.epilogue.residual);
    const auto a = fits(placed(residual, true));
    if (a) o.residual = *a;
    else o.whole = false;
  }
  place_bias(o, outer);
  const auto direct = o.whole ? fits(at) : std::nullopt;
  o.made = direct ? at : buffer(DType::f32, out, true);
  o.direct = direct.has_value();
  o.result = direct ? *direct : *arranged(DType::f32, o.made, out);
  return o;
}

std::optional<Lowering::LibraryOperands> Lowering::convolution_operands(
    const Node& n, const Node& anchor, const std::map<const Value*, const Value*>& outer) {
  const Value *x = outer.at(anchor.operand(0)), *other = outer.at(anchor.operand(1));
  const size_t axes = anchor.attrs().integers("window").size();
  const DType type = x->dtype();  // and of what the library makes
  const bool widens = type != anchor.result()->dtype();
  LibraryOperands o;
  o.padding.assign(axes, 0);
  if (x->def() != nullptr && x->def()->is("pad") && library_pads(*x->def())) {
    const Shape before = x->def()->attrs().dims("before");
    for (size_t i = 0; i < axes; ++i) o.padding[i] = before[i + 1].value();
    x = x->def()->operand(0);
  }
  o.left = as_image(type, dense_on_device(x, n), x->shape());
  const Placement second = dense_on_device(other, n);
  const Shape& out = anchor.result()->shape();
  if (anchor.is("conv_weight_gradient")) {
    o.right = as_image(type, second, other->shape());
    Shape reordered = {out.back()};
    reordered.insert(reordered.end(), out.begin(), out.end() - 1);
    const Placement made = buffer(type, reordered, true);
    o.result = as_image(type, made, reordered);
    o.made = filters_last(made, axes);
    o.whole = !widens && n.body()->nodes().size() == 1;
    return o;
  }
  const Shape filters = without_last(other->shape(), 1);
  o.right = as_image(type, {second.storage, second.offset, dense_strides(filters), second.motions},
                     filters);
  o.epilogue = library_epilogue(anchor.result());
  o.whole = !widens && n.result_count() == 1 && o.epilogue.nodes + 1 == n.body()->nodes().size() &&
            (o.epilogue.bias != nullptr || o.epilogue.nodes == 0);
  if (o.whole && o.epilogue.residual != nullptr)
    o.residual = as_image(type, dense_on_device(outer.at(o.epilogue.residual), n), out);
  place_bias(o, outer);
  const Placement at = places_->of(n.result());
  o.direct = o.whole && is_dense(at, out);
  o.made = o.direct ? at : buffer(type, out, true);
  o.result = as_image(type, o.made, out);
  return o;
}

void Lowering::place_bias(LibraryOperands& o, const std::map<const Value*, const Value*>& outer) {
  if (!o.whole || o.epilogue.bias == nullptr) return;
  const Value* bias = outer.at(o.epilogue.bias);
  const Placement at = placed(bias, true);
  o.whole = at.strides.back().is(1);
  o.bias = {DType::f32, {at.storage, at.offset, {Dim(1)}, at.motions}, {bias->shape().back()}};
}

void Lowering::lower_library(const Node& n, const Node& anchor) {
  std::map<const Value*, const Value*> outer;
  for (int i = 0; i < n.operand_count(); ++i)
    outer[n.body()->inputs()[static_cast<size_t>(i)].get()] = n.operand(i);
  // What is placed now is there for both ways, and for whoever reads it later.
  for (const Value* v : n.operands()) {
    const bool pads = v->def() != nullptr && v->def()->is("pad") && library_pads(*v->def());
    placed(pads ? v->def()->operand(0) : v, true);
  }
  for (int i = 0; i < n.result_count(); ++i) places_->of(n.result(i));
  // Where the places of operands fit no call, the region is a kernel of ours from the start.
  std::optional<LibraryOperands> o = anchor.is("dot") ? product_operands(n, anchor, outer)
                                                      : convolution_operands(n, anchor, outer);
  if (!o) return lower_without_library(n, anchor);
  const auto at = static_cast<size_t>(open_step(Step::Kind::library, n));
  add_library_call(result_.program.steps[at], n, anchor, *o);
  if (!o->whole) lower_library_tail(n, anchor, o->made);
  else if (!o->direct)
    add_copy(DType::f32, anchor.result()->shape(), o->made, places_->of(n.result()), "result",
             n.where());
  const int32_t span = close_span(static_cast<int32_t>(at));
  lower_without_library(n, anchor);
  Step::Control& control = result_.program.steps[at].control;
  control.span = span;
  control.otherwise = close_span(static_cast<int32_t>(at)) - span;
}

void Lowering::add_library_call(Step& s, const Node& n, const Node& anchor,
                                const LibraryOperands& o) {
  s.name = n.attrs().string("name", "region");
  s.flops = builder_.expression(contraction_flops(*n.body()) * repeats_);
  LibraryCall& call = s.library;
  call.kind = anchor.is("dot")    ? LibraryCall::Kind::product
              : anchor.is("conv") ? LibraryCall::Kind::convolution
                                  : LibraryCall::Kind::weight_gradient;
  call.tf32 = anchor.attrs().string("library") == "tf32";
  const auto view = [&](const KernelArgument& a) {
    return builder_.view(a.dtype, a.placement, a.extents);
  };
  s.inputs = {view(o.left), view(o.right), kNoView, kNoView};
  if (o.whole) {
    call.relu = o.epilogue.relu;
    if (o.epilogue.bias != nullptr) s.inputs[2] = view(o.bias);
    if (o.epilogue.residual != nullptr) s.inputs[3] = view(o.residual);
  }
  if (!anchor.is("dot")) {
    const size_t axes = anchor.attrs().integers("window").size();
    const std::vector<int64_t> ones(axes, 1);
    call.padding = two(o.padding, 0);
    call.strides = two(anchor.attrs().integers("strides", ones), 1);
    call.dilations = two(anchor.attrs().integers("dilations", ones), 1);
    call.group = anchor.attrs().integer("group", 1);
  }
  const Dim elements =
      product(o.left.extents) + product(o.right.extents) + product(o.result.extents);
  const Dim bytes = min(Dim(kMostWorkspace), Dim(kLeastWorkspace) + elements * Dim(4));
  const Placement workspace = buffer(DType::u8, {bytes}, true);
  s.outputs = {view(o.result), builder_.view(DType::u8, workspace, {bytes})};
}

/// What follows the product, read from where the library has left it.
void Lowering::lower_library_tail(const Node& n, const Node& anchor, const Placement& made) {
  // Of 16-bit operands, cuDNN's result has their type.
  TensorType type = anchor.result()->type();
  if (!anchor.is("dot")) type.dtype = anchor.operand(0)->dtype();
  std::vector<Stand> stands = {{anchor.result(), type}};
  std::vector<Placement> inputs = {made}, outputs;
  for (int i = 0; i < n.operand_count(); ++i) {
    const Value* inner = n.body()->inputs()[static_cast<size_t>(i)].get();
    const bool used = std::any_of(inner->uses().begin(), inner->uses().end(),
                                  [&](const Use& u) { return u.node != &anchor; });
    if (!used && inner->output_uses() == 0) continue;
    stands.push_back({inner, inner->type()});
    inputs.push_back(placed(n.operand(i), true));
  }
  for (int i = 0; i < n.result_count(); ++i) outputs.push_back(places_->of(n.result(i)));
  add_kernel_step(variant(n, stands, &anchor), inputs, outputs, n.where());
}

}  // namespace tintype
