// Structural checks of a Program, part by part.
#include "runtime/validate.h"

#include "runtime/host_ops.h"
#include "runtime/strided.h"

#include <algorithm>
#include <map>
#include <set>

namespace tintype {

namespace {

class Validator {
 public:
  explicit Validator(const Program& program) : p_(program) {}

  Status run() {
    expressions();
    symbols();
    ports(p_.inputs, "input", Storage::Kind::input);
    ports(p_.outputs, "output", Storage::Kind::output);
    for (size_t i = 0; i < p_.constraints.size(); ++i) {
      part("constraint", i);
      require(is_expr(p_.constraints[i].left) && is_expr(p_.constraints[i].right),
              "expression out of range");
    }
    states();
    storages();
    loops();
    views();
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      part("step", i);
      step(p_.steps[i], static_cast<int32_t>(i));
    }
    return status_;
  }

 private:
  void part(const char* kind, size_t index) {
    kind_ = kind;
    index_ = index;
  }

  // Records the first failure; later checks may rely on earlier ones only through `ok()`.
  bool require(bool holds, const char* what) {
    if (!holds && status_.ok())
      status_ = {StatusCode::internal, "invalid program '" + p_.model_name + "': " + kind_ + " " +
                                           std::to_string(index_) + ": " + what};
    return holds;
  }
  bool ok() const { return status_.ok(); }

  template <typename T>
  static bool below(int64_t index, const std::vector<T>& list) {
    return index >= 0 && index < static_cast<int64_t>(list.size());
  }
  bool is_expr(ExprId id) const { return below(id, p_.expressions); }
  bool is_view(ViewId id) const { return below(id, p_.views); }
  bool are_exprs(const std::vector<ExprId>& ids) const {
    for (ExprId id : ids)
      if (!is_expr(id)) return false;
    return true;
  }
  static bool is_dtype(DType t) { return t > DType::undefined && t <= DType::f64; }

  DType dtype_of_view(ViewId id) const { return p_.views[static_cast<size_t>(id)].dtype; }

  const Storage& storage_of(ViewId id) const {
    return p_.storages[static_cast<size_t>(p_.views[static_cast<size_t>(id)].storage)];
  }

  void expressions() {
    for (size_t i = 0; i < p_.expressions.size(); ++i) {
      part("expression", i);
      const ExtentExpr& e = p_.expressions[i];
      if (!require(e.kind <= ExtentExpr::Kind::less, "unknown kind")) return;
      if (e.kind == ExtentExpr::Kind::symbol) {
        require(below(e.value, p_.symbols), "symbol out of range");
      } else if (e.kind != ExtentExpr::Kind::constant) {
        const auto limit = static_cast<int64_t>(i);
        require(e.a >= 0 && e.a < limit && e.b >= 0 && e.b < limit,
                "operand is not an earlier expression");
      }
    }
  }

  void symbols() {
    for (size_t i = 0; i < p_.symbols.size(); ++i) {
      part("symbol", i);
      const Symbol& s = p_.symbols[i];
      if (require(below(s.input, p_.inputs), "input out of range"))
        require(below(s.axis, p_.inputs[static_cast<size_t>(s.input)].dims), "axis out of range");
    }
  }

  void ports(const std::vector<Port>& list, const char* kind, Storage::Kind storage) {
    std::set<std::string_view> names;
    for (size_t i = 0; i < list.size(); ++i) {
      part(kind, i);
      const Port& port = list[i];
      require(names.insert(port.name).second, "name is not unique");
      require(is_dtype(port.dtype), "undefined dtype");
      require(are_exprs(port.dims), "expression out of range");
      for (const IndexUse& use : port.indices)
        require(is_expr(use.extent) && (port.dtype == DType::i32 || port.dtype == DType::i64),
                "indices of another type, or expression out of range");
      if (port.view == kNoView && storage == Storage::Kind::input) continue;
      if (require(is_view(port.view), "view out of range"))
        require(p_.views[static_cast<size_t>(port.view)].dtype == port.dtype &&
                    p_.views[static_cast<size_t>(port.view)].extents.size() == port.dims.size() &&
                    p_.views[static_cast<size_t>(port.view)].motions.empty(),
                "dtype or rank differs from that of its view, or the view moves");
    }
  }

  void states() {
    std::set<std::string_view> names;
    for (size_t i = 0; i < p_.states.size(); ++i) {
      part("state", i);
      require(names.insert(p_.states[i].name).second, "name is not unique");
      if (!require(p_.states[i].initial.defined(), "no initial value")) continue;
      std::vector<int64_t> order = p_.states[i].layout;
      if (order.empty()) continue;
      std::sort(order.begin(), order.end());
      bool permutation = static_cast<int>(order.size()) == p_.states[i].initial.rank();
      for (size_t k = 0; k < order.size(); ++k)
        permutation = permutation && order[k] == static_cast<int64_t>(k);
      require(permutation, "its layout is no order of its axes");
    }
  }

  void storages() {
    std::map<int32_t, bool> state_sides;
    for (size_t i = 0; i < p_.storages.size(); ++i) {
      part("storage", i);
      const Storage& s = p_.storages[i];
      require(is_expr(s.bytes), "expression out of range");
      switch (s.kind) {
        case Storage::Kind::arena:
          require(s.first_step >= 0 && s.first_step <= s.last_step && below(s.last_step, p_.steps),
                  "lifetime out of range");
          break;
        case Storage::Kind::constant:
          if (require(below(s.value, p_.constants), "constant out of range"))
            require(p_.constants[static_cast<size_t>(s.value)].defined(), "undefined constant");
          break;
        case Storage::Kind::input: require(below(s.value, p_.inputs), "input out of range"); break;
        case Storage::Kind::output:
          require(below(s.value, p_.outputs), "output out of range");
          break;
        case Storage::Kind::state:
          require(below(s.value, p_.states), "state out of range");
          require(state_sides.emplace(s.value, s.device).first->second == s.device,
                  "a state lies on the device and on the host");
          break;
        default: require(false, "unknown kind");
      }
      require(!s.device || (s.kind != Storage::Kind::input && s.kind != Storage::Kind::output),
              "memory of callers cannot lie on the device");
    }
  }

  /// Spans nest, and each motion belongs to a loop.
  void loops() {
    std::vector<size_t> ends;  // of the spans that are open
    const auto close = [&](size_t at) {
      while (!ends.empty() && ends.back() <= at) ends.pop_back();
    };
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      part("step", i);
      close(i);
      const Step& s = p_.steps[i];
      if (!spans_steps(s.kind)) continue;
      const Step::Control& c = s.control;
      if (!require(c.span >= 0 && c.otherwise >= 0 &&
                       (s.kind != Step::Kind::loop || c.otherwise == 0),
                   "spans a negative number of steps"))
        return;
      const size_t then = i + 1 + static_cast<size_t>(c.span);
      const size_t end = then + static_cast<size_t>(c.otherwise);
      if (!require(end <= (ends.empty() ? p_.steps.size() : ends.back()),
                   "spans steps of another one"))
        return;
      ends.push_back(end);
      if (s.kind != Step::Kind::loop) ends.push_back(then);
      if (!require(ends.size() <= 256, "loops and branches nest more than 128 deep")) return;
    }
    for (size_t i = 0; i < p_.motions.size(); ++i) {
      part("motion", i);
      const Motion& m = p_.motions[i];
      require(is_expr(m.stride), "expression out of range");
      require(m.ring >= 0 && m.phase >= 0, "negative ring or phase");
      if (!require(below(m.loop, p_.steps), "loop out of range")) continue;
      const Step& loop = p_.steps[static_cast<size_t>(m.loop)];
      require(loop.kind == Step::Kind::loop, "its step is no loop");
      require(m.ring > 0 || loop.control.trips >= 0,
              "its loop does not know how many trips it does");
    }
  }

  void control(const Step& s, int32_t index) {
    const Step::Control& c = s.control;
    const auto scalar = [&](ViewId id, DType dtype, const char* what) {
      if (id == kNoView) return;
      use(id, index, false);
      if (ok())
        require(p_.views[static_cast<size_t>(id)].extents.empty() && dtype_of_view(id) == dtype,
                what);
    };
    require(c.trips == -1 || is_expr(c.trips), "expression out of range");
    on_host({c.trip_count, c.condition, c.trip});
    scalar(c.trip_count, DType::i64, "the trip count is no i64 scalar");
    scalar(c.condition, DType::boolean, "the condition is no bool scalar");
    scalar(c.trip, DType::i64, "the trip number is no i64 scalar");
    if (c.trip != kNoView) use(c.trip, index, true);
    require(s.kind == Step::Kind::loop || c.condition != kNoView, "a branch needs a condition");
    require(s.kind != Step::Kind::loop || c.trips >= 0 || c.trip_count != kNoView ||
                c.condition != kNoView,
            "nothing ends the loop");
    for (const auto& [first, second] : c.rings) {
      use(first, index, true);
      use(second, index, false);
      if (ok()) require(same_shape(first, second), "the places of a ring differ");
    }
  }

  /// A view may move with the loops around the steps that use it, outermost first.
  bool moves_with(const View& v, int32_t step) const {
    int32_t outer = -1;
    for (int32_t id : v.motions) {
      const int32_t loop = p_.motions[static_cast<size_t>(id)].loop;
      const int32_t span = p_.steps[static_cast<size_t>(loop)].control.span;
      if (loop <= outer || step <= loop || step > loop + span) return false;
      outer = loop;
    }
    return true;
  }

  void views() {
    for (size_t i = 0; i < p_.views.size(); ++i) {
      part("view", i);
      const View& v = p_.views[i];
      require(below(v.storage, p_.storages), "storage out of range");
      require(is_dtype(v.dtype), "undefined dtype");
      require(v.extents.size() == v.strides.size(), "as many strides as extents are needed");
      require(v.extents.size() <= kMaxStridedRank, "rank is above 32");
      require(is_expr(v.offset) && are_exprs(v.extents) && are_exprs(v.strides),
              "expression out of range");
      for (int32_t m : v.motions) require(below(m, p_.motions), "motion out of range");
    }
  }

  void step(const Step& s, int32_t index) {
    require(s.flops == -1 || is_expr(s.flops), "flops expression out of range");
    if (s.kind == Step::Kind::kernel) {
      require(!s.alternatives.empty() && s.alternatives.back().condition == -1,
              "the last alternative must be unconditional");
      for (const Step::Alternative& a : s.alternatives) alternative(a, index);
      return;
    }
    if (s.kind == Step::Kind::library) return library(s, index);
    if (spans_steps(s.kind)) return control(s, index);
    for (ViewId v : s.inputs)
      if (v != kNoView || s.kind != Step::Kind::host) use(v, index, false);
    for (ViewId v : s.outputs) use(v, index, true);
    if (s.kind != Step::Kind::copy) on_host(s.inputs), on_host(s.outputs);
    switch (s.kind) {
      case Step::Kind::host:
        host_op(s);
        for (const auto& [name, ids] : s.extent_attributes)
          require(are_exprs(ids), "attribute expression out of range");
        break;
      case Step::Kind::fill: require(s.inputs.empty(), "fill takes no inputs"); break;
      case Step::Kind::copy:
        if (require(s.inputs.size() == 1 && s.outputs.size() == 1, "copy is from one to one") &&
            ok())
          require(same_shape(s.inputs[0], s.outputs[0]), "copy changes dtype or rank");
        break;
      default: require(false, "unknown kind");
    }
  }

  void library(const Step& s, int32_t index) {
    if (!require(s.inputs.size() == 4 && s.outputs.size() == 2,
                 "a library step has four inputs and two outputs"))
      return;
    const LibraryCall& c = s.library;
    require(c.kind <= LibraryCall::Kind::weight_gradient, "unknown kind of library step");
    const bool product = c.kind == LibraryCall::Kind::product;
    const auto operand = [&](ViewId id, size_t rank, bool write, DType type) {
      use(id, index, write);
      if (ok())
        require(p_.views[static_cast<size_t>(id)].extents.size() == rank &&
                    dtype_of_view(id) == type && storage_of(id).device,
                "an operand of a library step has another rank or type, or is not on the device");
    };
    const size_t rank = product ? 3 : 4;
    use(s.inputs[0], index, false);
    const DType found = ok() ? dtype_of_view(s.inputs[0]) : DType::f32;
    const bool narrow = found == DType::bf16 || found == DType::f16;
    const DType type = narrow ? found : DType::f32;
    operand(s.inputs[0], rank, false, type);
    operand(s.inputs[1], rank, false, type);
    if (s.inputs[2] != kNoView) operand(s.inputs[2], 1, false, DType::f32);
    if (s.inputs[3] != kNoView) operand(s.inputs[3], rank, false, DType::f32);
    operand(s.outputs[0], rank, true, product ? DType::f32 : type);
    require(!narrow || product || (!c.relu && s.inputs[2] == kNoView && s.inputs[3] == kNoView),
            "a convolution of 16-bit operands has an epilogue");
    use(s.outputs[1], index, true);
    if (ok())
      require(dtype_of_view(s.outputs[1]) == DType::u8 && storage_of(s.outputs[1]).device &&
                  p_.views[static_cast<size_t>(s.outputs[1])].extents.size() == 1,
              "the workspace of a library step is no row of bytes on the device");
    require(s.inputs[2] != kNoView || s.inputs[3] == kNoView || product,
            "a convolution adds a residual without a bias");
    require(c.kind != LibraryCall::Kind::weight_gradient ||
                (!c.relu && s.inputs[2] == kNoView && s.inputs[3] == kNoView),
            "a weight gradient has an epilogue");
    if (product) return;
    for (const std::vector<int64_t>* list : {&c.padding, &c.strides, &c.dilations}) {
      const int64_t least = list == &c.padding ? 0 : 1;
      require(list->size() == 2 &&
                  std::all_of(list->begin(), list->end(),
                              [least](int64_t v) { return v >= least && v <= INT32_MAX; }),
              "padding, strides or dilations of a library step are out of range");
    }
    require(c.group >= 1 && c.group <= INT32_MAX, "groups of a library step are out of range");
  }

  void host_op(const Step& s) {
    const HostOp* op = find_host_op(s.host_op);
    if (!require(op != nullptr, ("no host op '" + s.host_op + "'" +
                                 (s.host_op.find("::") == std::string::npos
                                      ? ""
                                      : "; load the plugin that has it first"))
                                    .c_str()))
      return;
    const auto inputs = static_cast<int>(s.inputs.size()),
               outputs = static_cast<int>(s.outputs.size());
    require(inputs >= op->min_inputs && (op->max_inputs == -1 || inputs <= op->max_inputs) &&
                outputs >= 1 && outputs <= op->max_outputs,
            ("wrong number of operands for '" + s.host_op + "'").c_str());
    for (int i = 0; i < std::min(inputs, op->min_inputs); ++i)
      require(s.inputs[static_cast<size_t>(i)] != kNoView, "a required operand is absent");
    if (!ok()) return;
    const DType result = dtype_of_view(s.outputs[0]);
    switch (op->result) {
      case HostResult::like_first:
        require(result == dtype_of_view(s.inputs[0]), "the result has another element type");
        break;
      case HostResult::boolean: require(result == DType::boolean, "the result is not bool"); break;
      case HostResult::index: require(result == DType::i64, "the result is not i64"); break;
      case HostResult::free: break;
    }
    if (outputs > 1 && op->result != HostResult::free)
      require(dtype_of_view(s.outputs[1]) == DType::i64, "the result is not i64");
  }

  void alternative(const Step::Alternative& a, int32_t index) {
    require(a.condition == -1 || is_expr(a.condition), "condition out of range");
    require(below(a.kernel, p_.kernels), "kernel out of range");
    const auto count = static_cast<int64_t>(a.arguments.size());
    if (!require(a.inputs >= 0 && a.outputs >= 0 && int64_t{a.inputs} + a.outputs <= count,
                 "a kernel has fewer arguments than inputs and outputs"))
      return;
    for (int64_t i = 0; i < count; ++i)
      use(a.arguments[static_cast<size_t>(i)], index, i >= count - a.outputs);
    if (!ok() || a.arguments.empty()) return;
    const bool device = storage_of(a.arguments.front()).device;
    for (ViewId v : a.arguments)
      require(storage_of(v).device == device, "a kernel has arguments on both sides");
  }

  void on_host(const std::vector<ViewId>& views) {
    for (ViewId v : views)
      if (is_view(v) && ok()) require(!storage_of(v).device, "the host uses memory of the device");
  }

  void use(ViewId id, int32_t step, bool write) {
    if (!require(is_view(id), "view out of range") || !ok()) return;
    const Storage& s = storage_of(id);
    require(moves_with(p_.views[static_cast<size_t>(id)], step),
            "uses a view that moves with another loop");
    if (s.kind == Storage::Kind::arena)
      require(s.first_step <= step && step <= s.last_step, "uses a storage outside its lifetime");
    if (write)
      require(s.kind != Storage::Kind::constant && s.kind != Storage::Kind::input,
              "writes to a constant or an input");
  }

  bool same_shape(ViewId a, ViewId b) const {
    const View &x = p_.views[static_cast<size_t>(a)], &y = p_.views[static_cast<size_t>(b)];
    return x.dtype == y.dtype && x.extents.size() == y.extents.size();
  }

  const Program& p_;
  Status status_;
  const char* kind_ = "";
  size_t index_ = 0;
};

}  // namespace

Status validate(const Program& program) { return Validator(program).run(); }

}  // namespace tintype
