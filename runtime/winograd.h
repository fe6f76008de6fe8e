// The transforms of Winograd convolution F(m, r): m results of an r-tap correlation from m + r - 1
// inputs d and taps g as  y = A^T [(G g) * (B^T d)], applied per axis in two dimensions.
//
// Built from the Cook-Toom construction (Lavin & Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2016, section 4) over the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity:
//   A^T[i][j] = p_j^i,  G[j][k] = p_j^k / prod_{l != j} (p_j - p_l),
//   B^T[j]    = coefficients of prod_{l != j} (x - p_l), lowest power first,
// where the last of the m + r - 1 points is infinity: it picks the highest power, and its row of
// B^T holds the coefficients of the product over all finite points.
//
// Where a tile is the whole image and the r - 1 inputs around it are zero, fewer products do. Two
// results of three taps are a Toeplitz matrix times two inputs, for which three are enough:
//   y0 = g1 x0 + g2 x1 = g1 (x0 + x1) + (g2 - g1) x1
//   y1 = g0 x0 + g1 x1 = g1 (x0 + x1) + (g0 - g1) x0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tintype {

/// Matrices of F(kM, kR), row-major. A row of B^T and the same row of G may both change sign.
template <int kM, int kR>
struct Winograd {
  static constexpr int m = kM, r = kR, points = kM + kR - 1;
  std::array<std::array<double, points>, points> bt{};
  std::array<std::array<double, kR>, points> g{};
  std::array<std::array<double, points>, kM> at{};
};

inline constexpr int kMaxWinogradPoints = 8;
inline constexpr std::array<double, kMaxWinogradPoints - 1> kWinogradPoints = {0,  1,   -1,  2,
                                                                               -2, 0.5, -0.5};

template <int kM, int kR>
constexpr Winograd<kM, kR> make_winograd() {
  constexpr int n = kM + kR - 1, finite = n - 1;
  static_assert(n <= kMaxWinogradPoints, "too few points are defined");
  Winograd<kM, kR> w;
  // Multiplies the polynomial in `row`, of the given degree, by (x - root).
  const auto times = [](std::array<double, n>& row, int degree, double root) {
    for (int i = degree; i >= 0; --i) {
      row[static_cast<size_t>(i) + 1] += row[static_cast<size_t>(i)];
      row[static_cast<size_t>(i)] *= -root;
    }
  };
  for (size_t j = 0; j < static_cast<size_t>(n); ++j) {
    const bool infinity = j == static_cast<size_t>(finite);
    double scale = 1.0;
    int degree = 0;
    w.bt[j][0] = 1.0;
    for (size_t l = 0; l < static_cast<size_t>(finite); ++l) {
      if (l == j) continue;
      times(w.bt[j], degree++, kWinogradPoints[l]);
      if (!infinity) scale *= kWinogradPoints[j] - kWinogradPoints[l];
    }
    double power = 1.0;
    for (size_t i = 0; i < static_cast<size_t>(kM > kR ? kM : kR); ++i) {
      const bool last_m = i + 1 == static_cast<size_t>(kM),
                 last_r = i + 1 == static_cast<size_t>(kR);
      if (i < static_cast<size_t>(kM)) w.at[i][j] = infinity ? (last_m ? 1.0 : 0.0) : power;
      if (i < static_cast<size_t>(kR)) w.g[j][i] = infinity ? (last_r ? 1.0 : 0.0) : power / scale;
      if (!infinity) power *= kWinogradPoints[j];
    }
  }
  return w;
}

template <int kM, int kR>
inline constexpr Winograd<kM, kR> kWinograd = make_winograd<kM, kR>();

/// How a convolution is cut into tiles.
struct WinogradForm {
  int64_t m = 0;              ///< results of a tile along an axis
  bool zero_margins = false;  ///< a tile is the whole image, and only zeros are around it
};

/// The same matrices for sizes known at run time.
struct WinogradMatrices {
  int m = 0, r = 0, points = 0;
  int inputs = 0;              ///< of a tile: m + r - 1, or m where the margins are zero
  const double* bt = nullptr;  ///< [points][inputs]
  const double* g = nullptr;   ///< [points][r]
  const double* at = nullptr;  ///< [m][points]
};

/// The matrices of F(m, r) for (2,3), (4,3), (6,3) and (2,5), with zero margins for (2,3); r = 1 is
/// the identity with m = 1. A zero `points` means that there are none.
WinogradMatrices find_winograd(const WinogradForm& form, int64_t r);

/// The linear maps around the products. The adjoints are the transposed maps: with
/// y = A^T [(G g) * (B^T d)], a gradient dy gives dg = G^T [(A dy) * (B^T d)].
enum class WinogradMap : uint8_t {
  input,           ///< B^T: an input tile to points
  weight,          ///< G: a window of weights to points
  output,          ///< A^T: points to an output tile
  output_adjoint,  ///< A: the gradient of an output tile to points
  weight_adjoint,  ///< G^T: the gradient at the points to that of a window of weights
};

/// The matrix of a map along one axis: result i is the sum over k of matrix[i * taps + k] input k.
struct WinogradAxis {
  int rows = 0, taps = 0;
  std::vector<double> matrix;
};

/// The map of F(m, r) along an axis; zero `rows` when there is none. r = 1 is the identity of one.
WinogradAxis winograd_axis(WinogradMap map, const WinogradForm& form, int64_t r);

}  // namespace tintype
