// Turns the body of a region into Halide definitions: pointwise and movement ops become
// expressions, reductions become Funcs.
#include "codegen/compose.h"

#include "codegen/define/added.h"
#include "codegen/define/gradient.h"
#include "codegen/define/math.h"
#include "codegen/define/movement.h"
#include "codegen/define/random.h"
#include "codegen/define/winograd.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::RDom;
using Halide::Var;

namespace {

/// An index per dim, outermost first, as the IR counts.
using Index = std::vector<Expr>;

class Composer {
 public:
  Composer(const KernelSpec& spec, const Machine& machine) : spec_(spec), machine_(machine) {}

  Composition run() {
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

 private:
  static bool is_unit(const Value* v, size_t dim) { return v->shape()[dim].is(1); }

  /// Halide has no bf16 on CUDA devices.
  bool by_bits(DType dtype) const { return spec_.cuda && dtype == DType::bf16; }
  Halide::Type storage_type(DType dtype) const {
    return by_bits(dtype) ? Halide::UInt(16) : halide_type(dtype);
  }

  void make_inputs() {
    for (size_t i = 0; i < spec_.inputs.size(); ++i) {
      const BufferSpec& b = spec_.inputs[i];
      // Halide makes up names like "a0" while generating code; an input must not be called so.
      Halide::ImageParam p(storage_type(b.dtype), static_cast<int>(b.unit.size()),
                           "input_buffer_" + std::to_string(i));
      for (int d = 0; d < p.dimensions(); ++d) p.dim(d).set_min(0);
      if (p.dimensions() > 0 && !b.dense) p.dim(0).set_stride(Expr());
      if (b.aligned) {
        p.set_host_alignment(16);
        const auto elements = static_cast<int32_t>(16 / size_of(b.dtype));
        for (int d = 1; d < p.dimensions(); ++d)
          p.dim(d).set_stride(p.dim(d).stride() / elements * elements);
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

  /// An extent used in arithmetic: a literal when static, else one of the kernel's scalars.
  Expr extent_of(const Dim& d) {
    if (d.is_static()) return static_cast<int32_t>(d.value());
    for (size_t i = 0; i < spec_.scalars.size(); ++i)
      if (spec_.scalars[i] == d) return scalars_.dim(static_cast<int>(i)).extent();
    throw InternalError("extent " + d.text() + " is not among the scalars of kernel " + spec_.name);
  }

  /// The same for an amount that may be negative.
  Expr amount_of(const Dim& d) {
    const SignedAmount a = signed_amount(d);
    return a.less.is(0) ? extent_of(a.more) : extent_of(a.more) - extent_of(a.less);
  }

  /// Run-time extent of a dim of a value, from the buffers it is computed from.
  Expr extent(const Value* v, size_t dim) {
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
    if (n->is("transpose"))
      return extent(n->operand(0), static_cast<size_t>(n->attrs().integers("perm")[dim]));
    if (n->op().has(kReduction)) return extent(n->operand(0), dim);
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

  static std::vector<Expr> reversed(const Index& index) { return {index.rbegin(), index.rend()}; }

  Expr load(const Value* v, const Index& index) {
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

  Expr value(const Value* v, const Index& index) {
    if (inputs_.count(v) != 0) return load(v, index);
    if (auto it = stored_.find(v); it != stored_.end()) return it->second(reversed(index));
    const std::string key = memo_key(v, index);
    if (auto it = memo_.find(key); it != memo_.end()) return it->second;
    const Expr e = compute(v, index);
    memo_[key] = e;
    return e;
  }

  /// Indices are built once and passed on, so identity of the nodes is enough to find repeats.
  static std::string memo_key(const Value* v, const Index& index) {
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

  Expr compute(const Value* v, const Index& index) {
    const Node& n = *v->def();
    if (n.is("constant")) {
      const Tensor& t = *v->constant();
      TINTYPE_CHECK(t.size() == 1, "only single elements are literals of kernels");
      return literal(t);
    }
    if (n.op().has(kPointwise)) {
      std::vector<Expr> operands;
      for (Value* o : n.operands())
        operands.push_back(value(o, movement::broadcast_index(o, index)));
      const Expr e = define_pointwise(n, operands);
      return rounded(v->dtype(), spec_.cuda ? device_functions(n, e) : e);
    }
    if (n.is("iota"))
      return Halide::cast(arithmetic_type(v->dtype()),
                          index[static_cast<size_t>(n.attrs().integer("axis"))]);
    if (n.is("random_bits")) return random_bits(n, index);
    return moved(n, index);
  }

  Expr random_bits(const Node& n, const Index& index) {
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

  /// 16-bit floats compute in f32 and round after every op, as one op at a time would.
  Expr rounded(DType dtype, const Expr& e) const {
    if (by_bits(dtype)) return math::from_bf16_bits(math::bf16_bits(e));
    if (dtype != DType::f16 && dtype != DType::bf16) return e;
    return Halide::cast(Halide::Float(32), Halide::cast(halide_type(dtype), e));
  }

  Expr moved(const Node& n, const Index& index) {
    const movement::Operands of = {
        [this](const Value* v, const Index& at) { return value(v, at); },
        [this](const Value* v, size_t dim) { return extent(v, dim); },
        [this](const Dim& d) { return amount_of(d); },
    };
    return movement::define(n, index, of, packed_columns(n));
  }

  /// Extent of the axis that a prepacking op cuts into panels, undefined where they are whole.
  Expr packed_columns(const Node& n) {
    if (!n.op().has(kPrepack) || spec_.tail == PanelTail::whole) return Expr();
    return extent(n.operand(0), static_cast<size_t>(n.attrs().integers("perm").back()));
  }

  // ---- reductions ---------------------------------------------------------------------------

  static std::vector<Var> make_vars(int rank) {
    static const char* const names[] = {"i0", "i1", "i2",  "i3",  "i4",  "i5",  "i6",  "i7",
                                        "i8", "i9", "i10", "i11", "i12", "i13", "i14", "i15"};
    TINTYPE_CHECK(rank <= 16, "rank above 16");
    std::vector<Var> vars;
    for (int i = 0; i < rank; ++i) vars.emplace_back(names[i]);
    return vars;
  }

  static Index index_of(const std::vector<Var>& vars) {
    Index index;
    for (auto it = vars.rbegin(); it != vars.rend(); ++it) index.emplace_back(*it);
    return index;
  }

  void define_anchor(const Node& n) {
    if (n.is("conv")) define_conv(n);
    else if (n.is("dot") && spec_.schedule == ScheduleKind::attention) define_attention(n);
    else if (n.is("dot")) define_dot(n);
    else if (n.is("window_reduce")) define_window(n);
    else if (n.op().has(kTileTransform)) define_winograd(n);
    else if (n.op().has(kKernel)) define_gradient(n);
    else if (n.op().has(kReduction)) c_.channel_sums ? define_channel_sum(n) : define_reduce(n);
    else if (spec_.schedule == ScheduleKind::rows) maybe_store(n);
    else if (spec_.schedule == ScheduleKind::attention && n.is("exp")) store(n.result());
  }

  Func new_func(const Node& n) {
    return Func(std::string(n.name()) + std::to_string(c_.anchors.size()));
  }

  /// Rows kernels store what is costly and read more than once.
  static bool stored_in_rows(const Node& n) {
    return n.op().has(kPointwise) && n.result()->uses().size() >= 2 && is_expensive(n);
  }

  void maybe_store(const Node& n) {
    // On a device, a row of unknown length has no place in shared memory.
    if (stored_in_rows(n) && !spec_.cuda) store(n.result());
  }

  void store(const Value* v) {
    const std::vector<Var> vars = make_vars(v->rank());
    Func f("stage" + std::to_string(c_.stages.size()));
    Index index = index_of(vars);
    for (size_t d = 0; d < index.size(); ++d)
      if (is_unit(v, d)) index[d] = 0;
    f(vars) = masked(value(v, index));
    stored_[v] = f;
    c_.stages.push_back(f);
  }

  /// Masks of attention are minus infinity, between products that need no such care.
  Expr masked(const Expr& e) const {
    return spec_.schedule == ScheduleKind::attention ? Halide::strict_float(e) : e;
  }

  void add_anchor(const Node& n, const Func& f, const std::vector<Var>& vars, const RDom& r) {
    stored_[n.result()] = f;
    c_.anchors.push_back({&n, f, vars, r});
  }

  /// Promises that an extent is a multiple of m, so that unrolling needs no tail.
  static Expr multiple_of(const Expr& e, int m) { return m > 1 ? (e / m) * m : e; }

  void define_conv(const Node& n) {
    Value* x = n.operand(0);
    Value* w = n.operand(1);
    const auto window = n.attrs().integers("window");
    const size_t spatial = window.size();
    const auto strides = n.attrs().integers("strides", std::vector<int64_t>(spatial, 1));
    const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(spatial, 1));
    const auto group = static_cast<int32_t>(n.attrs().integer("group", 1));
    const auto block = static_cast<int32_t>(n.attrs().integer("block"));
    const std::vector<Var> vars = make_vars(n.result()->rank());
    Index index = index_of(vars);
    // A tile of a device may reach past the image or the filters: what it computes there is not
    // stored, and reads what the last position reads.
    if (spec_.cuda) {
      for (size_t i = 0; i < spatial; ++i) {
        const auto span = static_cast<int32_t>((window[i] - 1) * dilations[i] + 1);
        index[i + 1] =
            Halide::min(index[i + 1], (extent(x, i + 1) - span) / static_cast<int32_t>(strides[i]));
      }
      if (block == 0)
        index.back() = Halide::min(index.back(), extent(w, static_cast<size_t>(w->rank() - 1)) - 1);
    }
    const Expr filter = index.back();
    // Reduction order: channel innermost, then the window from its last axis outwards.
    const size_t w_axis = block > 0 ? 1 : 0;  // where the window starts in the weights
    Halide::Region region;
    const Expr depth = multiple_of(extent(w, w_axis + spatial), spec_.depth_multiple);
    region.push_back({0, depth});
    for (size_t i = spatial; i-- > 0;) region.push_back({0, static_cast<int32_t>(window[i])});
    const RDom r(region, "r");
    const auto at = [&](const std::vector<Expr>& place) {
      Index in = {index[0]};
      for (size_t i = 0; i < spatial; ++i)
        in.push_back(index[i + 1] * static_cast<int32_t>(strides[i]) +
                     place[spatial - i] * static_cast<int32_t>(dilations[i]));
      Expr channel = place[0];
      if (spec_.schedule == ScheduleKind::depthwise) {
        channel = filter;  // one channel per filter, known to be the same one
      } else if (group > 1) {
        // Filters of group g read channels [g * depth, (g + 1) * depth).
        const Expr g = block > 0 ? (filter / block) / (extent(w, 0) / group)
                                 : filter / (extent(w, w_axis + spatial + 1) / group);
        channel = channel + g * extent(w, w_axis + spatial);
      }
      in.push_back(channel);
      return in;
    };
    Index weight;
    if (block > 0) weight.push_back(filter / block);
    for (size_t i = 0; i < spatial; ++i) weight.push_back(r[static_cast<int>(spatial - i)]);
    weight.push_back(r[0]);
    weight.push_back(block > 0 ? filter % block : filter);
    pin_panel(w, block);
    Func f = new_func(n);
    f(vars) = Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
    f(vars) += left_side(x, r, vars, at) * value(w, weight);
    add_anchor(n, f, vars, r);
  }

  /// What a contraction multiplies weights with, `at` telling the index in x by the place in the
  /// sum, innermost first. Where vectors of x may be loaded on a device it is a stage, of which a
  /// thread keeps some steps of the sum: by the place in it, and by all variables of the result but
  /// the innermost.
  Expr left_side(const Value* x, const RDom& r, const std::vector<Var>& vars,
                 const std::function<Index(const std::vector<Expr>&)>& at) {
    std::vector<Expr> call, place;
    std::vector<Var> stage_vars;
    for (int i = 0; i < r.dimensions(); ++i) {
      call.emplace_back(r[i]);
      stage_vars.emplace_back("place" + std::to_string(i));
      place.emplace_back(stage_vars.back());
    }
    if (!loads_vectors(x)) return value(x, at(call));
    for (size_t i = 1; i < vars.size(); ++i) {
      stage_vars.push_back(vars[i]);
      call.emplace_back(vars[i]);
    }
    Func stage("left");
    stage(stage_vars) = value(x, at(place));
    c_.stages.push_back(stage);
    return stage(call);
  }

  bool loads_vectors(const Value* x) const {
    for (size_t i = 0; i < spec_.inputs.size(); ++i)
      if (spec_.body->inputs()[i].get() == x) return spec_.cuda && spec_.inputs[i].aligned;
    return false;
  }

  /// The innermost extent of packed weights is the panel width; rows of a panel are adjacent.
  void pin_panel(const Value* w, int32_t block) {
    auto it = inputs_.find(w);
    if (block == 0 || it == inputs_.end()) return;
    Halide::ImageParam& p = it->second;
    p.dim(0).set_bounds(0, block);
    p.dim(1).set_stride(block);
    if (!spec_.cuda) return;
    // Packed weights are dense, and start where vectors of four may be loaded.
    p.set_host_alignment(16);
    for (int d = 2; d < p.dimensions(); ++d) p.dim(d).set_stride(p.dim(d).stride() / block * block);
  }

  void define_dot(const Node& n) {
    Value* a = n.operand(0);
    Value* b = n.operand(1);
    const auto block = static_cast<int32_t>(n.attrs().integer("block"));
    const std::vector<Var> vars = make_vars(n.result()->rank());
    const Index index = index_of(vars);
    const size_t batch = index.size() - 2;
    const Expr depth = multiple_of(extent(a, a->shape().size() - 1), spec_.depth_multiple);
    const RDom r(0, depth, "r");
    const Index left = batch_index(a, 2, index);
    Expr row = index[batch], column = index[batch + 1];
    if (spec_.cuda) {  // as in convolutions
      row = Halide::min(row, extent(a, a->shape().size() - 2) - 1);
      if (block == 0) column = Halide::min(column, extent(b, b->shape().size() - 1) - 1);
    }
    const auto at = [&](const std::vector<Expr>& place) {
      Index in = left;
      in.push_back(row);
      in.push_back(place[0]);
      return in;
    };
    Index right = batch_index(b, block > 0 ? 3 : 2, index);
    if (block > 0) right.push_back(column / block);
    right.push_back(r.x);
    right.push_back(block > 0 ? column % block : column);
    pin_panel(b, block);
    Func f = new_func(n);
    f(vars) = Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
    f(vars) += left_side(a, r, vars, at) * value(b, right);
    add_anchor(n, f, vars, r);
  }

  /// Where the operand of a product, a matrix or a panel of one, lies for an index of the result.
  Index batch_index(const Value* v, size_t matrix, const Index& index) const {
    const size_t own = v->shape().size() - matrix, batch = index.size() - 2;
    Index at;
    for (size_t d = 0; d < own; ++d) at.push_back(is_unit(v, d) ? Expr(0) : index[batch - own + d]);
    return at;
  }

  // Tiles may reach past the last query and the last key: what they compute there, from the last
  // one again, nobody reads.
  void define_attention(const Node& n) {
    const bool second = n.result() == spec_.body->output(0);
    Value* a = n.operand(0);
    Value* b = n.operand(1);
    const std::vector<Var> vars = make_vars(n.result()->rank());
    const Index index = index_of(vars);
    const Expr row = index[index.size() - 2], column = index.back();
    const RDom r(
        0, multiple_of(extent(a, a->shape().size() - 1), second ? 1 : spec_.depth_multiple), "r");
    Index right = batch_index(b, 2, index);
    right.emplace_back(r.x);
    right.push_back(second ? column : Halide::min(column, extent(b, b->shape().size() - 1) - 1));
    Func f = new_func(n);
    f(vars) = 0.0f;
    if (second) {
      // (sum of e v) / (sum of e): fewer divisions than there are exponentials.
      const Node& quotient = *a->def();
      Index left = index;
      left.back() = r.x;
      f(vars) += value(quotient.operand(0), left) * value(b, right);
      add_anchor(n, f, vars, r);
      const Value* sum = quotient.operand(1);
      Func y("context");
      y(vars) = f(vars) / value(sum, movement::broadcast_index(sum, index));
      stored_[n.result()] = y;
      return;
    }
    for (const auto& v : spec_.body->inputs())
      if (v.get() != a && v.get() != b && v.get() != spec_.body->output(0)->def()->operand(1))
        masks_.insert(v.get());
    Index left = batch_index(a, 2, index);
    left.push_back(Halide::min(row, extent(a, a->shape().size() - 2) - 1));
    left.emplace_back(vars[0]);
    Func queries("queries");  // with the features in place of the keys
    queries(vars) = value(a, left);
    c_.stages.push_back(queries);
    std::vector<Expr> query(vars.begin(), vars.end());
    query[0] = r.x;
    f(vars) += queries(query) * value(b, right);
    add_anchor(n, f, vars, r);
  }

  static Expr lowest(const Halide::Type& t) {
    return t.is_float() ? Halide::cast(t, -std::numeric_limits<float>::infinity()) : t.min();
  }
  static Expr highest(const Halide::Type& t) {
    return t.is_float() ? Halide::cast(t, std::numeric_limits<float>::infinity()) : t.max();
  }

  void define_window(const Node& n) {
    Value* x = n.operand(0);
    const auto window = n.attrs().integers("window");
    const size_t spatial = window.size();
    const auto strides = n.attrs().integers("strides", std::vector<int64_t>(spatial, 1));
    const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(spatial, 1));
    const std::vector<Var> vars = make_vars(n.result()->rank());
    const Index index = index_of(vars);
    Halide::Region region;
    for (size_t i = spatial; i-- > 0;) region.push_back({0, static_cast<int32_t>(window[i])});
    const RDom r(region, "r");
    Index at = {index[0]};
    for (size_t i = 0; i < spatial; ++i)
      at.push_back(index[i + 1] * static_cast<int32_t>(strides[i]) +
                   r[static_cast<int>(spatial - 1 - i)] * static_cast<int32_t>(dilations[i]));
    at.push_back(index.back());
    const bool is_max = n.attrs().string("kind") == "max";
    const Halide::Type t = arithmetic_type(n.result()->dtype());
    Func f = new_func(n);
    f(vars) = is_max ? lowest(t) : Halide::Internal::make_zero(t);
    if (is_max) f(vars) = Halide::max(f(vars), value(x, at));
    else f(vars) += value(x, at);
    add_anchor(n, f, vars, r);
  }

  struct Monoid {
    Expr identity;
    std::function<Expr(const Expr&, const Expr&)> combine;
  };

  Monoid monoid_of(const Node& n) {
    const Halide::Type t = arithmetic_type(n.result()->dtype());
    if (n.is("reduce_sum"))
      return {Halide::Internal::make_zero(t), [](const Expr& a, const Expr& b) { return a + b; }};
    if (n.is("reduce_prod"))
      return {Halide::Internal::make_one(t), [](const Expr& a, const Expr& b) { return a * b; }};
    // NaN wins, as in numpy.
    if (n.is("reduce_max"))
      return {lowest(t), [](const Expr& a, const Expr& b) {
                return a.type().is_float() ? Halide::select(b > a || math::is_nan(b), b, a)
                                           : Halide::max(a, b);
              }};
    TINTYPE_CHECK(n.is("reduce_min"), "unknown reduction " + std::string(n.name()));
    return {highest(t), [](const Expr& a, const Expr& b) {
              return a.type().is_float() ? Halide::select(b < a || math::is_nan(b), b, a)
                                         : Halide::min(a, b);
            }};
  }

  /// True for sums over all axes but the channels, two of them at least: bias gradients, batch
  /// statistics. Channels alone give too few tasks.
  bool sums_per_channel() const {
    if (spec_.schedule != ScheduleKind::rows || spec_.outputs[0].unit.size() < 3) return false;
    return std::all_of(spec_.body->nodes().begin(), spec_.body->nodes().end(), [](const auto& n) {
      if (!n->op().has(kReduction)) return !stored_in_rows(*n);
      const auto axes = n->attrs().integers("axes");
      const int rank = n->result()->rank();
      return n->is("reduce_sum") && static_cast<int>(axes.size()) == rank - 1 &&
             std::find(axes.begin(), axes.end(), static_cast<int64_t>(rank - 1)) == axes.end();
    });
  }

  // Each index of the outermost axis has a sum of its own, all at once; those are added in order,
  // so the result depends on the shape alone.
  void define_channel_sum(const Node& n) {
    Value* x = n.operand(0);
    const int rank = x->rank();
    const std::vector<Var> vars = make_vars(rank);
    const Halide::Type t = arithmetic_type(n.result()->dtype());
    Halide::Region region;
    for (size_t d = static_cast<size_t>(rank - 1); d-- > 1;) region.push_back({0, extent(x, d)});
    const RDom r(region, "r");
    const Var task("task");
    Index at(static_cast<size_t>(rank));
    at.front() = task;
    at.back() = vars[0];
    for (int i = 0; i < r.dimensions(); ++i) at[static_cast<size_t>(rank - 2 - i)] = r[i];
    Func partial("partial" + std::to_string(c_.partials.size()));
    partial(vars[0], task) = Halide::Internal::make_zero(t);
    partial(vars[0], task) += value(x, at);
    const RDom all(0, extent(x, 0), "tasks");
    Func total = new_func(n);
    total(vars) = Halide::Internal::make_zero(t);
    total(vars) += partial(vars[0], all.x);
    c_.partials.push_back(partial);
    add_anchor(n, total, vars, all);
  }

  // A reduction over the innermost axis of `rows` keeps one partial result per lane, so that it
  // runs on vectors; the order of additions depends on the extent alone.
  void define_reduce(const Node& n) {
    Value* x = n.operand(0);
    if (spec_.schedule == ScheduleKind::attention && stored_.count(x) == 0) store(x);
    const auto axes = n.attrs().integers("axes");
    const int rank = x->rank();
    const std::vector<Var> vars = make_vars(rank);
    const Monoid m = monoid_of(n);
    const bool inner =
        spec_.schedule == ScheduleKind::rows &&
        std::find(axes.begin(), axes.end(), static_cast<int64_t>(rank - 1)) != axes.end() &&
        !is_unit(x, static_cast<size_t>(rank - 1));
    constexpr int32_t kWarp = 32;
    const int32_t lanes = !inner ? 1 : spec_.cuda ? kWarp : machine_.lanes;
    Halide::Region region;
    std::vector<size_t> reduced;  // innermost first
    for (size_t d = static_cast<size_t>(rank); d-- > 0;)
      if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end())
        reduced.push_back(d);
    for (size_t d : reduced) {
      const Expr e = extent(x, d);
      const bool split = inner && d + 1 == static_cast<size_t>(rank);
      region.push_back({0, split ? (e + lanes - 1) / lanes : e});
    }
    const RDom r(region, "r");
    auto operand = [&](const Index& base, const Expr& lane) {
      Index at = base;
      for (size_t i = 0; i < reduced.size(); ++i) at[reduced[i]] = r[static_cast<int>(i)];
      if (!inner) return value(x, at);
      const size_t last = static_cast<size_t>(rank - 1);
      const Expr e = extent(x, last);
      const Expr i = r[0] * lanes + lane;
      at[last] = Halide::min(i, e - 1);
      return Halide::select(i < e, value(x, at), m.identity);
    };
    Index index = index_of(vars);
    Func total = new_func(n);
    if (!inner) {
      total(vars) = m.identity;
      total(vars) = masked(m.combine(total(vars), operand(index, Expr())));
      add_anchor(n, total, vars, r);
      return;
    }
    Var lane("lane");
    std::vector<Var> partial_vars = {lane};
    partial_vars.insert(partial_vars.end(), vars.begin() + 1, vars.end());
    Func partial("partial" + std::to_string(c_.partials.size()));
    partial(partial_vars) = m.identity;
    partial(partial_vars) = m.combine(partial(partial_vars), operand(index, Expr(lane)));
    const RDom lanes_domain(0, lanes, "l");
    std::vector<Expr> from = {lanes_domain.x};
    for (size_t d = 1; d < vars.size(); ++d) from.emplace_back(vars[d]);
    total(vars) = m.identity;
    total(vars) = m.combine(total(vars), partial(from));
    c_.partials.push_back(partial);
    add_anchor(n, total, vars, lanes_domain);
  }

  void define_gradient(const Node& n) {
    const std::vector<Var> vars = make_vars(n.result()->rank());
    const gradient::Operands of = {
        [this](const Value* v, const Index& index) { return value(v, index); },
        [this](const Value* v, size_t dim) { return extent(v, dim); }};
    gradient::Sum sum;
    if (n.is("conv_weight_gradient")) sum = gradient::conv_weight_gradient(n, vars, of);
    else if (n.is("window_max_gradient"))
      sum = gradient::window_max_gradient(n, vars, of, c_.stages);
    else sum = gradient::scatter_add(n, vars, of, extent_of(n.attrs().dims("rows")[0]));
    add_anchor(n, sum.func, vars, sum.domain);
  }

  void define_winograd(const Node& n) {
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
                 : winograd::to_points(n, vars, read, packed_columns(n), c_.stages);
    add_anchor(n, f, vars, RDom());
  }

  /// The op of a plugin, alone in its kernel: its Funcs are the outputs.
  void define_added(const Node& n) {
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

  // ---- outputs ------------------------------------------------------------------------------

  void make_outputs() {
    const int rank = static_cast<int>(spec_.outputs[0].unit.size());
    c_.vars = make_vars(rank);
    std::vector<Expr> values;
    for (size_t i = 0; i < spec_.outputs.size(); ++i) {
      const Value* v = spec_.body->output(i);
      Index index = index_of(c_.vars);
      for (size_t d = 0; d < index.size(); ++d)
        if (is_unit(v, d)) index[d] = 0;
      const Expr e = value(v, index);
      values.push_back(by_bits(v->dtype()) ? math::bf16_bits(e)
                                           : Halide::cast(halide_type(v->dtype()), e));
    }
    // All results in one loop: what they share is computed once, from elements that are loaded
    // once. A state may be replaced meanwhile: buffers do not alias as far as LLVM knows, so that
    // it keeps what was loaded rather than load again behind a store (UpdateOfProduct tests that).
    Func out("out");
    if (values.size() == 1) out(c_.vars) = values[0];
    else out(c_.vars) = Halide::Tuple(values);
    for (size_t i = 0; i < values.size(); ++i)
      describe_output(out.output_buffers()[i], spec_.outputs[i], i == 0);
    c_.outputs.push_back(out);
  }

  /// The results of one Func share the bounds of its first.
  static void describe_output(Halide::OutputImageParam buffer, const BufferSpec& spec,
                              bool bounds) {
    const auto rank = static_cast<int>(spec.unit.size());
    for (int d = 0; bounds && d < rank; ++d) {
      buffer.dim(d).set_min(0);
      if (spec.unit[static_cast<size_t>(rank - 1 - d)]) buffer.dim(d).set_extent(1);
    }
    if (rank > 0 && !spec.dense) buffer.dim(0).set_stride(Expr());
  }

  const KernelSpec& spec_;
  const Machine& machine_;
  Composition c_;
  std::unordered_map<const Value*, Halide::ImageParam> inputs_;
  Halide::ImageParam scalars_;
  std::unordered_map<const Value*, Func> stored_;
  std::unordered_set<const Value*> masks_;  ///< what attention reads between its products
  std::unordered_map<std::string, Expr> memo_;
};

}  // namespace

Composition compose(const KernelSpec& spec, const Machine& machine) {
  return Composer(spec, machine).run();
}

}  // namespace tintype
