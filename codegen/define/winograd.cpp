// Definitions of the Winograd tile transforms.
//
// Both transforms are separable; each axis is one stage. An axis whose window is 1 passes through,
// which gives the 1-D forms for 1 x n and n x 1 windows.
#include "codegen/define/winograd.h"

#include "ir/diagnostic.h"
#include "runtime/winograd.h"

namespace tintype::winograd {

using Halide::Expr;
using Halide::Func;
using Halide::Var;

namespace {

/// Matrices of an axis; an axis whose window is 1 passes through.
WinogradMatrices axis_matrices(int64_t m, int64_t window) {
  const WinogradMatrices t = find_winograd(m, window);
  TINTYPE_CHECK(t.points > 0, "no Winograd transform for this tile and window");
  return t;
}

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

}  // namespace

// vars: C, TW, TH, N, point.  point = row * n_w + column.
Func input_transform(const Node& node, const std::vector<Var>& vars, const Reader& read,
                     std::vector<Func>& stages) {
  const int64_t m = node.attrs().integer("m");
  const auto window = node.attrs().integers("window");
  const WinogradMatrices h = axis_matrices(m, window[0]);
  const WinogradMatrices w = axis_matrices(m, window[1]);
  const Var c = vars[0], tx = vars[1], ty = vars[2], n = vars[3], e = vars[4];
  Var column("column"), row("row");
  // Along the columns of the tile first: rows(c, column, row) = sum_k BT_h[row][k] d[k][column].
  Func rows("rows");
  std::vector<Expr> row_values;
  for (int i = 0; i < h.points; ++i)
    row_values.push_back(combine(&h.bt[static_cast<size_t>(i * h.points)], h.points, [&](int k) {
      return read({n, ty * h.m + k, tx * w.m + column, c});
    }));
  rows(c, column, row, tx, ty, n) =
      row_values.size() == 1 ? row_values[0] : Halide::mux(row, row_values);
  Func v("transformed");
  std::vector<Expr> values;
  for (int j = 0; j < w.points; ++j)
    values.push_back(combine(&w.bt[static_cast<size_t>(j * w.points)], w.points,
                             [&](int k) { return rows(c, k, e / w.points, tx, ty, n); }));
  v(c, tx, ty, n, e) = values.size() == 1 ? values[0] : Halide::mux(e % w.points, values);
  stages.push_back(rows);
  return v;
}

// vars: C, W, H, N.
Func output_transform(const Node& node, const std::vector<Var>& vars, const Reader& read,
                      std::vector<Func>& stages) {
  const int64_t m = node.attrs().integer("m");
  const auto window = node.attrs().integers("window");
  const WinogradMatrices h = axis_matrices(m, window[0]);
  const WinogradMatrices w = axis_matrices(m, window[1]);
  const Var c = vars[0], x = vars[1], y = vars[2], n = vars[3];
  Var column("column"), row("row"), tx("tx"), ty("ty");
  Func rows("rows");  // rows(c, column, row) = sum_k AT_h[row][k] M[k][column]
  std::vector<Expr> row_values;
  for (int i = 0; i < h.m; ++i)
    row_values.push_back(combine(&h.at[static_cast<size_t>(i * h.points)], h.points, [&](int k) {
      return read({k * w.points + column, n, ty, tx, c});
    }));
  rows(c, column, row, tx, ty, n) =
      row_values.size() == 1 ? row_values[0] : Halide::mux(row, row_values);
  Func tile("tile");
  std::vector<Expr> values;
  for (int j = 0; j < w.m; ++j)
    values.push_back(combine(&w.at[static_cast<size_t>(j * w.points)], w.points,
                             [&](int k) { return rows(c, k, row, tx, ty, n); }));
  tile(c, column, row, tx, ty, n) = values.size() == 1 ? values[0] : Halide::mux(column, values);
  stages.push_back(rows);
  stages.push_back(tile);
  Func out("untransformed");
  out(c, x, y, n) = tile(c, x % w.m, y % h.m, x / w.m, y / h.m, n);
  return out;
}

}  // namespace tintype::winograd
