// Turns the body of a region into Halide definitions: pointwise and movement ops become
// expressions, reductions become Funcs.
#include "codegen/composer.h"

#include "codegen/define/added.h"
#include "codegen/define/gradient.h"
#include "codegen/define/math.h"
#include "codegen/define/movement.h"
#include "codegen/define/random.h"
#include "codegen/define/winograd.h"
#include "codegen/region_arguments.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::RDom;
using Halide::Var;

Composition Composer::run() {
  c_.channel_sums = sums_per_channel();
  make_inputs();
  const Node& first = *spec_.body->nodes().front();
  if (first.op().has(kKernel) && is_added(first.op())) {
    define_added(first);
    return std::move(c_);
  }
  for (const auto& n : spec_.body->nodes()) define_anchor(*n);
  make_outputs();
  return std::move(c_);
}

void Composer::make_inputs() {
  for (size_t i = 0; i < spec_.inputs.size(); ++i) {
    const BufferSpec& b = spec_.inputs[i];
    // Halide makes up names like "a0" while generating code; an input must not be called so.
    Halide::ImageParam p(storage_type(b.dtype), static_cast<int>(b.unit.size()),
                         "input_buffer_" + std::to_string(i));
    for (int d = 0; d < p.dimensions(); ++d) p.dim(d).set_min(0);
    const int adjacent = b.across ? 1 : 0;  // the dim whose stride is 1, if there is one
    if (p.dimensions() > 0 && !b.dense) p.dim(0).set_stride(Expr());
    if (b.across) p.dim(adjacent).set_stride(1);
    if (b.aligned) {
      p.set_host_alignment(16);
      const auto elements = static_cast<int32_t>(16 / size_of(b.dtype));
      for (int d = 0; d < p.dimensions(); ++d)
        if (d != adjacent) p.dim(d).set_stride(p.dim(d).stride() / elements * elements);
    }
    inputs_[spec_.body->inputs()[i].get()] = p;
    c_.inputs.push_back(p);
    c_.arguments.emplace_back(p);
  }
  if (!spec_.scalars.empty()) {
    scalars_ =
        Halide::ImageParam(Halide::UInt(8), static_cast<int>(spec_.scalars.size()), "scalars");
    c_.arguments.emplace_back(scalars_);
  }
}

Expr Composer::extent_of(const Dim& d) {
  if (d.is_static()) return static_cast<int32_t>(d.value());
  // Halide counts dimensions from the innermost.
  const size_t count = spec_.scalars.size();
  for (size_t i = 0; i < count; ++i)
    if (spec_.scalars[i] == d) return scalars_.dim(static_cast<int>(count - 1 - i)).extent();
  throw InternalError("extent " + d.text() + " is not among the scalars of kernel " + spec_.name);
}

Expr Composer::amount_of(const Dim& d) {
  const SignedAmount a = signed_amount(d);
  return a.less.is(0) ? extent_of(a.more) : extent_of(a.more) - extent_of(a.less);
}

Expr Composer::extent(const Value* v, size_t dim) {
  if (is_unit(v, dim)) return 1;
  if (auto it = inputs_.find(v); it != inputs_.end())
    return it->second.dim(v->rank() - 1 - static_cast<int>(dim)).extent();
  const Node* n = v->def();
  if (n->op().has(kPointwise)) {
    for (Value* o : n->operands()) {
      const size_t skip = static_cast<size_t>(v->rank() - o->rank());
      if (dim >= skip && !is_unit(o, dim - skip)) return extent(o, dim - skip);
    }
  }
  if (n->is("dot")) {
    const bool column = dim + 1 == v->shape().size(), row = dim + 2 == v->shape().size();
    for (int i : {column ? 1 : 0, row ? 0 : 1}) {
      const Value* o = n->operand(i);
      const size_t skip = v->shape().size() - o->shape().size();
      if (dim >= skip && !is_unit(o, dim - skip)) return extent(o, dim - skip);
    }
  }
  if (n->is("gate_products") && dim > 0)
    return dim == 1 ? extent(n->operand(0), 1)
                    : extent(n->operand(1), n->operand(1)->shape().size() - 1);
  if (n->is("transpose"))
    return extent(n->operand(0), static_cast<size_t>(n->attrs().integers("perm")[dim]));
  if (n->op().has(kReduction)) return extent(n->operand(0), dim);
  if (n->is("iota")) return extent_of(n->attrs().dims("shape")[dim]);
  if (n->is("gather")) {
    const auto axis = static_cast<size_t>(n->attrs().integer("axis"));
    const size_t indices = n->operand(1)->shape().size();
    if (dim < axis) return extent(n->operand(0), dim);
    if (dim < axis + indices) return extent(n->operand(1), dim - axis);
    return extent(n->operand(0), dim - indices + 1);
  }
  if (n->is("dilate")) {
    const Expr inner = extent(n->operand(0), dim);
    const auto factor = static_cast<int32_t>(n->attrs().integers("factors")[dim]);
    return Halide::max((inner - 1) * factor + 1, 0);
  }
  if (n->is("pad")) {
    return extent(n->operand(0), dim) + amount_of(n->attrs().dims("before")[dim]) +
           amount_of(n->attrs().dims("after")[dim]);
  }
  throw InternalError("no run-time extent for a result of " + std::string(n->name()) +
                      " in kernel " + spec_.name);
}

Expr Composer::load(const Value* v, const Index& index) {
  const Halide::ImageParam& p = inputs_.at(v);
  Index at = index;
  for (size_t d = 0; d < at.size(); ++d) {
    if (is_unit(v, d)) at[d] = 0;
    else if (masks_.count(v) != 0) at[d] = Halide::min(at[d], extent(v, d) - 1);
  }
  const Expr e = p(reversed(at));
  if (by_bits(v->dtype())) return math::from_bf16_bits(e);
  return Halide::cast(arithmetic_type(v->dtype()), e);
}

Expr Composer::value(const Value* v, const Index& index) {
  if (inputs_.count(v) != 0) return load(v, index);
  if (v == tiled_result_) return tiled_sum_;
  if (auto it = stored_.find(v); it != stored_.end()) return it->second(reversed(index));
  const std::string key = memo_key(v, index);
  if (auto it = memo_.find(key); it != memo_.end()) return it->second;
  const Expr e = compute(v, index);
  memo_[key] = e;
  return e;
}

std::string Composer::memo_key(const Value* v, const Index& index) {
  std::string key(reinterpret_cast<const char*>(&v), sizeof v);
  for (const Expr& e : index) {
    if (const auto c = Halide::Internal::as_const_int(e)) {
      key += "c" + std::to_string(*c) + ";";
    } else {
      const void* p = e.get();
      key.append(reinterpret_cast<const char*>(&p), sizeof p);
    }
  }
  return key;
}

Expr Composer::compute(const Value* v, const Index& index) {
  const Node& n = *v->def();
  if (n.is("constant")) {
    const Tensor& t = *v->constant();
    TINTYPE_CHECK(t.size() == 1, "only single elements are literals of kernels");
    return literal(t);
  }
  if (n.op().has(kPointwise)) {
    std::vector<Expr> operands;
    for (Value* o : n.operands()) operands.push_back(value(o, movement::broadcast_index(o, index)));
    const Expr e = define_pointwise(n, operands);
    return rounded(v->dtype(), spec_.cuda ? device_functions(n, e) : e);
  }
  if (n.is("iota"))
    return Halide::cast(arithmetic_type(v->dtype()),
                        index[static_cast<size_t>(n.attrs().integer("axis"))]);
  if (n.is("random_bits")) return random_bits(n, index);
  return moved(n, index);
}

Expr Composer::random_bits(const Node& n, const Index& index) {
  const Shape shape = n.attrs().dims("shape");
  Expr linear = 0;
  for (size_t d = 0; d < index.size(); ++d) linear = linear * extent_of(shape[d]) + index[d];
  auto word = [this, &n](int i) {
    const Value* v = n.operand(i);
    return v == nullptr ? Halide::cast<int64_t>(0) : value(v, Index(v->shape().size(), Expr(0)));
  };
  const auto stream = static_cast<uint32_t>(n.attrs().integer("stream"));
  return random_word(linear, stream, word(0), word(1));
}

Expr Composer::rounded(DType dtype, const Expr& e) const {
  if (by_bits(dtype)) return math::from_bf16_bits(math::bf16_bits(e));
  if (dtype != DType::f16 && dtype != DType::bf16) return e;
  return Halide::cast(Halide::Float(32), Halide::cast(halide_type(dtype), e));
}

Expr Composer::converted(Halide::Type type, const Expr& e) {
  const auto* widened = e.as<Halide::Internal::Cast>();
  if (widened != nullptr && widened->value.type() == type && type.is_float() && type.bits() < 32)
    return widened->value;
  return Halide::cast(type, e);
}

Expr Composer::moved(const Node& n, const Index& index) {
  const movement::Operands of = {
      [this](const Value* v, const Index& at) { return value(v, at); },
      [this](const Value* v, size_t dim) { return extent(v, dim); },
      [this](const Dim& d) { return amount_of(d); },
  };
  return movement::define(n, index, of, packed_columns(n));
}

Expr Composer::packed_columns(const Node& n) {
  if (!n.op().has(kPrepack) || spec_.tail == PanelTail::whole) return Expr();
  return extent(n.operand(0), static_cast<size_t>(n.attrs().integers("perm").back()));
}

std::vector<Var> Composer::make_vars(int rank) {
  static const char* const names[] = {"i0", "i1", "i2",  "i3",  "i4",  "i5",  "i6",  "i7",
                                      "i8", "i9", "i10", "i11", "i12", "i13", "i14", "i15"};
  TINTYPE_CHECK(rank <= 16, "rank above 16");
  std::vector<Var> vars;
  for (int i = 0; i < rank; ++i) vars.emplace_back(names[i]);
  return vars;
}

void Composer::define_anchor(const Node& n) {
  if (n.attrs().integer("terms") > 0) define_tile_product(n);
  else if (spec_.schedule == ScheduleKind::tiled && &n == find_anchor(*spec_.body)) define_tiled(n);
  else if (n.is("conv")) define_conv(n);
  else if (n.is("dot") && spec_.schedule == ScheduleKind::attention) define_attention(n);
  else if (n.is("dot")) define_dot(n);
  else if (n.is("gate_products")) define_gate_products(n);
  else if (n.is("window_reduce")) define_window(n);
  else if (n.op().has(kTileTransform)) define_winograd(n);
  else if (n.op().has(kKernel)) define_gradient(n);
  else if (n.op().has(kReduction)) c_.channel_sums ? define_channel_sum(n) : define_reduce(n);
  else if (spec_.schedule == ScheduleKind::rows) maybe_store(n);
  else if (spec_.schedule == ScheduleKind::attention && n.is("exp")) store(n.result());
}

Func Composer::new_func(const Node& n) {
  return Func(std::string(n.name()) + std::to_string(c_.anchors.size()));
}

void Composer::maybe_store(const Node& n) {
  // On a device, a row of unknown length has no place in shared memory.
  if (stored_in_rows(n) && !spec_.cuda) store(n.result());
}

void Composer::store(const Value* v) {
  const std::vector<Var> vars = make_vars(v->rank());
  Func f("stage" + std::to_string(c_.stages.size()));
  Index index = index_of(vars);
  for (size_t d = 0; d < index.size(); ++d)
    if (is_unit(v, d)) index[d] = 0;
  f(vars) = masked(value(v, index));
  stored_[v] = f;
  c_.stages.push_back(f);
}

void Composer::add_anchor(const Node& n, const Func& f, const std::vector<Var>& vars,
                          const RDom& r) {
  stored_[n.result()] = f;
  c_.anchors.push_back({&n, f, vars, r});
}

void Composer::define_gradient(const Node& n) {
  const std::vector<Var> vars = make_vars(n.result()->rank());
  const gradient::Operands of = {
      [this](const Value* v, const Index& index) { return value(v, index); },
      [this](const Value* v, size_t dim) { return extent(v, dim); }};
  gradient::Sum sum;
  if (n.is("conv_weight_gradient")) sum = gradient::conv_weight_gradient(n, vars, of);
  else if (n.is("window_max_gradient")) sum = gradient::window_max_gradient(n, vars, of, c_.stages);
  else sum = gradient::scatter_add(n, vars, of, extent_of(n.attrs().dims("rows")[0]));
  add_anchor(n, sum.func, vars, sum.domain);
}

void Composer::define_winograd(const Node& n) {
  const std::vector<Var> vars = make_vars(n.result()->rank());
  winograd::Reader read = [this, &n](const std::vector<Expr>& index) {
    return value(n.operand(0), index);
  };
  if (n.is("winograd_conv")) {
    const Value* u = n.operand(1);
    pin_panel(u, static_cast<int32_t>(u->shape().back().value()));
    Func f = winograd::convolution(
        n, vars, read, [this, u](const std::vector<Expr>& index) { return value(u, index); },
        spec_.channels > 0 ? Expr(spec_.channels) : extent(u, 2), c_.stages);
    return add_anchor(n, f, vars, RDom());
  }
  Func f = n.is("winograd_output") ? winograd::output_transform(n, vars, read, c_.stages)
           : n.is("winograd_weight_adjoint")
               ? winograd::weight_adjoint(n, vars, read, c_.stages)
               : winograd::to_points(n, vars, read, packed_columns(n), c_.stages,
                                     spec_.rows > 1 && !spec_.cuda);
  add_anchor(n, f, vars, RDom());
}

void Composer::define_added(const Node& n) {
  KernelOperands of{n, {}, {}};
  for (const Value* v : n.operands()) {
    of.elements.emplace_back();
    of.extents.emplace_back();
    if (v == nullptr) continue;
    const std::vector<Var> vars = make_vars(v->rank());
    Index at = index_of(vars);
    for (size_t d = 0; d < at.size(); ++d) {
      if (is_unit(v, d)) at[d] = 0;
      of.extents.back().push_back(extent(v, d));
    }
    Func f("operand" + std::to_string(of.elements.size() - 1));
    f(vars) = inputs_.at(v)(reversed(at));
    of.elements.back() = f;
  }
  KernelFuncs funcs = define_kernel(of);
  for (size_t i = 0; i < spec_.outputs.size(); ++i) {
    const int result = spec_.body->output(i)->index();
    c_.outputs.push_back(funcs.results[static_cast<size_t>(result)]);
    describe_output(c_.outputs.back().output_buffer(), spec_.outputs[i], true);
  }
  c_.stages = std::move(funcs.stages);
  c_.added = &n;
}

void Composer::make_outputs() {
  const int rank = static_cast<int>(spec_.outputs[0].unit.size());
  c_.vars = make_vars(rank);
  std::vector<Expr> values;
  for (size_t i = 0; i < spec_.outputs.size(); ++i) {
    const Value* v = spec_.body->output(i);
    Index index = tiled_result_ == nullptr ? index_of(c_.vars) : tiled_index_;
    for (size_t d = 0; d < index.size(); ++d)
      if (is_unit(v, d)) index[d] = 0;
    const Expr e = value(v, index);
    values.push_back(by_bits(v->dtype()) ? math::bf16_bits(e)
                                         : converted(halide_type(v->dtype()), e));
  }
  // All results in one loop: what they share is computed once, from elements that are loaded
  // once. A state may be replaced meanwhile: buffers do not alias as far as LLVM knows, so that
  // it keeps what was loaded rather than load again behind a store (UpdateOfProduct tests that).
  Func out("out");
  if (tiled_result_ != nullptr) {
    std::vector<Expr> nothing;
    for (const Expr& e : values) nothing.push_back(Halide::undef(e.type()));
    if (nothing.size() == 1) out(c_.vars) = nothing[0];
    else out(c_.vars) = Halide::Tuple(nothing);
  }
  const std::vector<Expr> at = tiled_result_ == nullptr
                                   ? std::vector<Expr>(c_.vars.begin(), c_.vars.end())
                                   : reversed(tiled_index_);
  if (values.size() == 1) out(at) = values[0];
  else out(at) = Halide::Tuple(values);
  for (size_t i = 0; i < values.size(); ++i)
    describe_output(out.output_buffers()[i], spec_.outputs[i], i == 0);
  c_.outputs.push_back(out);
}

void Composer::describe_output(Halide::OutputImageParam buffer, const BufferSpec& spec,
                               bool bounds) {
  const auto rank = static_cast<int>(spec.unit.size());
  for (int d = 0; bounds && d < rank; ++d) {
    buffer.dim(d).set_min(0);
    if (spec.unit[static_cast<size_t>(rank - 1 - d)]) buffer.dim(d).set_extent(1);
  }
  if (rank > 0 && !spec.dense) buffer.dim(0).set_stride(Expr());
  if (!spec.aligned) return;
  buffer.set_host_alignment(16);
  const auto elements = static_cast<int32_t>(16 / size_of(spec.dtype));
  for (int d = 1; d < rank; ++d)
    buffer.dim(d).set_stride(buffer.dim(d).stride() / elements * elements);
}

Composition compose(const KernelSpec& spec, const Machine& machine) {
  return Composer(spec, machine).run();
}

}  // namespace tintype
