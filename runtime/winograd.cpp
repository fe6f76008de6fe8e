// Look-up of Winograd matrices by size.
#include "runtime/winograd.h"

namespace tintype {

namespace {

template <int kM, int kR>
WinogradMatrices matrices() {
  constexpr const Winograd<kM, kR>& w = kWinograd<kM, kR>;
  return {kM, kR, w.points, w.points, w.bt[0].data(), w.g[0].data(), w.at[0].data()};
}

// F(2, 3) between zeros.
constexpr double kMarginsBt[] = {1, 1, 0, 1, 1, 0};
constexpr double kMarginsG[] = {0, 1, 0, 0, -1, 1, 1, -1, 0};
constexpr double kMarginsAt[] = {1, 1, 0, 1, 0, 1};

}  // namespace

WinogradMatrices find_winograd(const WinogradForm& form, int64_t r) {
  const int64_t m = form.m;
  if (r == 1) return matrices<1, 1>();
  if (form.zero_margins) {
    if (m == 2 && r == 3) return {2, 3, 3, 2, kMarginsBt, kMarginsG, kMarginsAt};
    return {};
  }
  if (m == 2 && r == 3) return matrices<2, 3>();
  if (m == 4 && r == 3) return matrices<4, 3>();
  if (m == 6 && r == 3) return matrices<6, 3>();
  if (m == 2 && r == 5) return matrices<2, 5>();
  return {};
}

WinogradAxis winograd_axis(WinogradMap map, const WinogradForm& form, int64_t r) {
  const WinogradMatrices f = find_winograd(form, r);
  if (f.points == 0) return {};
  const auto plain = [](const double* matrix, int rows, int taps) {
    return WinogradAxis{rows, taps, {matrix, matrix + rows * taps}};
  };
  const auto transposed = [](const double* matrix, int rows, int taps) {
    WinogradAxis axis{taps, rows, std::vector<double>(static_cast<size_t>(rows * taps))};
    for (int i = 0; i < rows; ++i)
      for (int k = 0; k < taps; ++k)
        axis.matrix[static_cast<size_t>(k * rows + i)] = matrix[i * taps + k];
    return axis;
  };
  switch (map) {
    case WinogradMap::input: return plain(f.bt, f.points, f.inputs);
    case WinogradMap::weight: return plain(f.g, f.points, f.r);
    case WinogradMap::output: return plain(f.at, f.m, f.points);
    case WinogradMap::output_adjoint: return transposed(f.at, f.m, f.points);
    case WinogradMap::weight_adjoint: return transposed(f.g, f.points, f.r);
  }
  return {};
}

}  // namespace tintype
