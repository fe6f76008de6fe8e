// Sums over windows and indices as Halide Funcs.
#include "codegen/define/gradient.h"
#include "codegen/define/math.h"

#include "codegen/compose.h"

namespace tintype::gradient {

using Halide::Expr;
using Halide::Func;
using Halide::RDom;
using Halide::Var;

namespace {

using Index = std::vector<Expr>;

struct Geometry {
  std::vector<int64_t> window, strides, dilations;
  size_t axes() const { return window.size(); }
  /// Place in x that tap k of window o reads, along an axis.
  Expr place(size_t axis, const Expr& o, const Expr& k) const {
    return o * static_cast<int32_t>(strides[axis]) + k * static_cast<int32_t>(dilations[axis]);
  }
};

Geometry geometry_of(const Node& n) {
  const auto window = n.attrs().integers("window");
  const std::vector<int64_t> ones(window.size(), 1);
  return {window, n.attrs().integers("strides", ones), n.attrs().integers("dilations", ones)};
}

Index index_of(const std::vector<Var>& vars) { return {vars.rbegin(), vars.rend()}; }

Expr zero(const Node& n) {
  return Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
}

/// Keeps an index that is known to be valid visibly inside its axis.
Expr inside(const Expr& index, const Expr& extent) {
  const Expr last = Halide::max(extent - 1, 0);
  return Halide::unsafe_promise_clamped(Halide::clamp(index, 0, last), 0, last);
}

/// Domain over spatial axes 1 ... of dy, innermost first, and what follows.
Halide::Region positions(const Value* dy, size_t axes, const Operands& of) {
  Halide::Region region;
  for (size_t i = axes; i-- > 0;) region.push_back({0, of.extent(dy, i + 1)});
  return region;
}

}  // namespace

// dw[k, c, f] = sum over n and o of x[n, o * stride + k * dilation, c of the group] * dy[n, o, f]
Sum conv_weight_gradient(const Node& n, const std::vector<Var>& vars, const Operands& of) {
  const Value* x = n.operand(0);
  const Value* dy = n.operand(1);
  const Geometry g = geometry_of(n);
  const auto group = static_cast<int32_t>(n.attrs().integer("group", 1));
  const Index index = index_of(vars);  // window, channel, filter
  const Expr channel = index[g.axes()], filter = index[g.axes() + 1];
  Halide::Region region = positions(dy, g.axes(), of);
  region.push_back({0, of.extent(dy, 0)});
  const RDom r(region, "r");
  const auto batch = r[static_cast<int>(g.axes())];
  Index in = {batch}, out = {batch};
  for (size_t i = 0; i < g.axes(); ++i) {
    const Expr o = r[static_cast<int>(g.axes() - 1 - i)];
    in.push_back(g.place(i, o, index[i]));
    out.push_back(o);
  }
  Expr from = channel;
  if (group > 1) {
    const Expr depth = of.extent(x, g.axes() + 1) / group;
    const Expr filters = of.extent(dy, g.axes() + 1) / group;
    const bool depthwise = x->shape().back().is(group) && dy->shape().back().is(group);
    from = depthwise ? filter : channel + filter / filters * depth;
  }
  in.push_back(from);
  out.push_back(filter);
  Func f("weight_gradient");
  f(vars) = zero(n);
  f(vars) += of.element(x, in) * of.element(dy, out);
  return {f, r};
}

// dx[n, i, c] = sum of dy[n, o, c] over the windows o whose first largest element is i
Sum window_max_gradient(const Node& n, const std::vector<Var>& vars, const Operands& of,
                        std::vector<Func>& stages) {
  const Value* x = n.operand(0);
  const Value* dy = n.operand(1);
  const Geometry g = geometry_of(n);
  const Index index = index_of(vars);  // n, spatial, channel
  const auto at = [&](const Index& o, const std::function<Expr(size_t)>& tap) {
    Index place = {index.front()};
    for (size_t i = 0; i < g.axes(); ++i)
      place.push_back(inside(g.place(i, o[i], tap(i)), of.extent(x, i + 1)));
    place.push_back(index.back());
    return place;
  };
  // The number of the tap that is largest, counted in row-major order.
  Halide::Region taps;
  for (size_t i = g.axes(); i-- > 0;) taps.push_back({0, static_cast<int32_t>(g.window[i])});
  const RDom t(taps, "t");
  Expr number = 0;
  for (size_t i = 0; i < g.axes(); ++i)
    number = number * static_cast<int32_t>(g.window[i]) + t[static_cast<int>(g.axes() - 1 - i)];
  std::vector<Var> o_vars(g.axes());
  std::vector<Var> best_vars = {vars.front()};
  best_vars.insert(best_vars.end(), o_vars.rbegin(), o_vars.rend());
  best_vars.push_back(vars.back());
  Func best("largest" + std::to_string(stages.size()));
  const Index start(o_vars.begin(), o_vars.end());
  const Index first = at(start, [](size_t) { return Expr(0); });
  best(best_vars) = Halide::Tuple(of.element(x, first), Expr(0));
  const Expr value = of.element(
      x, at(start, [&](size_t i) { return Expr(t[static_cast<int>(g.axes() - 1 - i)]); }));
  const Expr largest = best(best_vars)[0];
  Expr better = value > largest;
  if (value.type().is_float()) better = better || (math::is_nan(value) && !math::is_nan(largest));
  best(best_vars) = Halide::Tuple(Halide::select(better, value, largest),
                                  Halide::select(better, number, best(best_vars)[1]));
  stages.push_back(best);

  // Place i lies in the windows o = i / stride - u, as their tap (i - o stride) / dilation.
  Halide::Region reach;
  for (size_t i = g.axes(); i-- > 0;) {
    const int64_t span = (g.window[i] - 1) * g.dilations[i] + 1;
    reach.push_back({0, static_cast<int32_t>((span + g.strides[i] - 1) / g.strides[i])});
  }
  const RDom r(reach, "r");
  Expr valid = Halide::Internal::const_true(), tap = 0;
  Index from = {index.front()};
  for (size_t i = 0; i < g.axes(); ++i) {
    const auto stride = static_cast<int32_t>(g.strides[i]),
               dilation = static_cast<int32_t>(g.dilations[i]),
               window = static_cast<int32_t>(g.window[i]);
    const Expr o = index[i + 1] / stride - r[static_cast<int>(g.axes() - 1 - i)];
    const Expr offset = index[i + 1] - o * stride;
    const Expr count = of.extent(dy, i + 1);
    valid = valid && o >= 0 && o < count && offset < window * dilation;
    if (dilation > 1) valid = valid && offset % dilation == 0;
    tap = tap * window + offset / dilation;
    from.push_back(inside(o, count));
  }
  from.push_back(index.back());
  const std::vector<Expr> at_from(from.rbegin(), from.rend());
  Func f("gathered");
  f(vars) = zero(n);
  f(vars) += Halide::select(valid && best(at_from)[1] == tap, of.element(dy, from), zero(n));
  return {f, r};
}

// y[outer, indices[i], inner] += updates[outer, i, inner]
Sum scatter_add(const Node& n, const std::vector<Var>& vars, const Operands& of, const Expr& rows) {
  const Value* indices = n.operand(0);
  const Value* updates = n.operand(1);
  const RDom r(0, of.extent(updates, 1), "r");
  // Out-of-range indices are caught where the gather that this undoes reads; the clamp keeps
  // stores in bounds.
  Expr row = Halide::cast<int32_t>(of.element(indices, {r.x}));
  row = inside(Halide::select(row < 0, row + rows, row), rows);
  Func f("scattered");
  f(vars) = zero(n);
  f(vars[0], row, vars[2]) += of.element(updates, {vars[2], r.x, vars[0]});
  return {f, r};
}

}  // namespace tintype::gradient
