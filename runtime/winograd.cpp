// Look-up of Winograd matrices by size.
#include "runtime/winograd.h"

namespace tintype {

namespace {

template <int kM, int kR>
WinogradMatrices matrices() {
  constexpr const Winograd<kM, kR>& w = kWinograd<kM, kR>;
  return {kM, kR, w.points, w.bt[0].data(), w.g[0].data(), w.at[0].data()};
}

}  // namespace

WinogradMatrices find_winograd(int64_t m, int64_t r) {
  if (r == 1) return matrices<1, 1>();
  if (m == 2 && r == 3) return matrices<2, 3>();
  if (m == 4 && r == 3) return matrices<4, 3>();
  if (m == 6 && r == 3) return matrices<6, 3>();
  if (m == 2 && r == 5) return matrices<2, 5>();
  return {};
}

}  // namespace tintype
