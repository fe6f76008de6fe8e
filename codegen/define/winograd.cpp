// Definitions of the Winograd tile transforms.
//
// All are separable; each axis is one stage. An axis whose window is 1 passes through, which gives
// the 1-D forms for 1 x n and n x 1 windows.
#include "codegen/define/winograd.h"

#include "ir/diagnostic.h"
#include "runtime/winograd.h"

namespace tintype::winograd {

using Halide::Expr;
using Halide::Func;
using Halide::Var;

namespace {

WinogradAxis axis_map(WinogradMap map, const WinogradForm& form, int64_t window) {
  WinogradAxis axis = winograd_axis(map, form, window);
  TINTYPE_CHECK(axis.rows > 0, "no Winograd transform for this tile and window");
  return axis;
}

WinogradForm form_of(const Node& node) {
  return {node.attrs().integer("m"), node.attrs().integer("zero_margins", 0) != 0};
}

struct Maps {
  Maps(WinogradMap map, const Node& node)
      : Maps(map, form_of(node), node.attrs().integers("window")) {}
  Maps(WinogradMap map, const WinogradForm& form, const std::vector<int64_t>& window)
      : h(axis_map(map, form, window[0])), w(axis_map(map, form, window[1])) {}
  WinogradAxis h, w;
};

/// sum_k row[k] * term(k), leaving out zeros and multiplications by one.
template <typename F>
Expr combine(const double* row, int n, F term) {
  Expr sum;
  for (int k = 0; k < n; ++k) {
    const double c = row[k];
    if (c == 0.0) continue;
    const Expr t = term(k);
    const double magnitude = c < 0 ? -c : c;
    const Expr scaled = magnitude == 1.0 ? t : t * static_cast<float>(magnitude);
    if (!sum.defined()) sum = c < 0 ? -scaled : scaled;
    else sum = c < 0 ? sum - scaled : sum + scaled;
  }
  TINTYPE_CHECK(sum.defined(), "a Winograd matrix has an empty row");
  return sum;
}

/// All rows of the map, chosen by `row`.
template <typename F>
Expr apply(const WinogradAxis& axis, const Expr& row, F term) {
  std::vector<Expr> values;
  for (int i = 0; i < axis.rows; ++i)
    values.push_back(combine(&axis.matrix[static_cast<size_t>(i * axis.taps)], axis.taps, term));
  return values.size() == 1 ? values[0] : Halide::mux(row, values);
}

/// The stage along H: result(lane, column, row, rest...) from element(k, column).
template <typename F>
Func rows_stage(const Maps& maps, const Var& lane, const std::vector<Var>& rest, F element) {
  Var column("column"), row("row");
  std::vector<Var> vars = {lane, column, row};
  vars.insert(vars.end(), rest.begin(), rest.end());
  Func rows("rows");
  rows(vars) = apply(maps.h, row, [&](int k) { return element(k, Expr(column)); });
  return rows;
}

std::vector<Expr> at(const Expr& lane, const Expr& column, const Expr& row,
                     const std::vector<Var>& rest) {
  std::vector<Expr> index = {lane, column, row};
  index.insert(index.end(), rest.begin(), rest.end());
  return index;
}

int step(int64_t m, int64_t window) { return window > 1 ? static_cast<int>(m) : 1; }

}  // namespace

// vars: lane, others..., point.  point = row * columns + column.
Func to_points(const Node& node, const std::vector<Var>& vars, const Reader& read,
               const Expr& filters, std::vector<Func>& stages, bool apart) {
  const int64_t m = node.attrs().integer("m");
  const auto window = node.attrs().integers("window");
  const WinogradMap map = node.is("winograd_weight")           ? WinogradMap::weight
                          : node.is("winograd_output_adjoint") ? WinogradMap::output_adjoint
                                                               : WinogradMap::input;
  const Maps maps(map, node);
  const std::vector<Var> rest(vars.begin() + 1, vars.end() - 1);
  const Var lane = vars.front(), e = vars.back();
  Func rows, taps("taps");
  if (map == WinogradMap::weight) {  // lane, C, panel: weights at the axes that perm names
    const auto perm = node.attrs().integers("perm");
    const Expr filter = rest[1] * static_cast<int32_t>(node.attrs().integer("block")) + lane;
    const auto weight = [&](const Expr& k, const Expr& column) {
      const Expr index[] = {k, column, rest[0],
                            filters.defined() ? Halide::min(filter, filters - 1) : filter};
      std::vector<Expr> place(4);
      for (size_t i = 0; i < 4; ++i) place[static_cast<size_t>(perm[i])] = index[i];
      const Expr w = read(place);
      if (!filters.defined()) return w;
      return Halide::select(filter < filters, w, Halide::Internal::make_zero(w.type()));
    };
    if (apart) {
      const Var k("k"), j("j");
      taps(lane, rest[0], rest[1], j, k) = weight(k, j);
      rows = rows_stage(maps, lane, rest, [&](int i, const Expr& column) {
        return taps(lane, rest[0], rest[1], column, i);
      });
    } else {
      rows = rows_stage(maps, lane, rest, weight);
    }
  } else {  // lane, TW, TH, N: tiles of an image
    rows = rows_stage(maps, lane, rest, [&](int k, const Expr& column) {
      return read(
          {rest[2], rest[1] * step(m, window[0]) + k, rest[0] * step(m, window[1]) + column, lane});
    });
  }
  Func points("transformed");
  points(vars) = apply(maps.w, e % maps.w.rows,
                       [&](int k) { return rows(at(lane, k, e / maps.w.rows, rest)); });
  stages.push_back(rows);
  if (apart) stages.push_back(taps);
  return points;
}

// vars: C, W, H, N.
Func output_transform(const Node& node, const std::vector<Var>& vars, const Reader& read,
                      std::vector<Func>& stages) {
  const Maps maps(WinogradMap::output, node);
  const Var c = vars[0], x = vars[1], y = vars[2], n = vars[3];
  Var column("column"), row("row"), tx("tx"), ty("ty");
  const std::vector<Var> rest = {tx, ty, n};
  Func rows = rows_stage(maps, c, rest, [&](int k, const Expr& j) {
    return read({k * maps.w.taps + j, n, ty, tx, c});
  });
  Func tile("tile");
  tile(c, column, row, tx, ty, n) =
      apply(maps.w, column, [&](int k) { return rows(at(c, k, row, rest)); });
  stages.push_back(rows);
  stages.push_back(tile);
  Func out("untransformed");
  const int mh = maps.h.rows, mw = maps.w.rows;
  out(c, x, y, n) = tile(c, x % mw, y % mh, x / mw, y / mh, n);
  return out;
}

// vars: F, W, H, N.
Func convolution(const Node& node, const std::vector<Var>& vars, const Reader& x, const Reader& u,
                 const Expr& depth, std::vector<Func>& stages) {
  const Var c("c"), f("f"), tx("tx"), ty("ty"), n("n"), e("e");
  Func points = to_points(node, {c, tx, ty, n, e}, x, Expr(), stages);
  const auto block = static_cast<int32_t>(node.operand(1)->shape().back().value());
  const Halide::RDom r(0, depth, "r");
  Func sums("sums"), products("products");
  sums(f, tx, ty, n, e) = 0.0f;
  sums(f, tx, ty, n, e) += points(r.x, tx, ty, n, e) * u({e, f / block, r.x, f % block});
  products(f, tx, ty, n, e) = sums(f, tx, ty, n, e);
  stages.insert(stages.end(), {points, sums, products});
  return output_transform(
      node, vars,
      [&](const std::vector<Expr>& at) { return products(at[4], at[3], at[2], at[1], at[0]); },
      stages);
}

// vars: F, C, W, H.
Func weight_adjoint(const Node& node, const std::vector<Var>& vars, const Reader& read,
                    std::vector<Func>& stages) {
  const Maps maps(WinogradMap::weight_adjoint, node);
  const Var f = vars[0], c = vars[1], column = vars[2], row = vars[3];
  Func rows = rows_stage(maps, f, {c},
                         [&](int k, const Expr& j) { return read({k * maps.w.taps + j, c, f}); });
  Func out("gradient");
  out(vars) = apply(maps.w, column, [&](int k) { return rows(at(f, k, row, {c})); });
  stages.push_back(rows);
  return out;
}

}  // namespace tintype::winograd
