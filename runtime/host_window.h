// Sliding windows over x[N, spatial..., C], as host ops walk them.
#pragma once

#include "runtime/attributes.h"
#include "runtime/host_elements.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <vector>

namespace tintype {

struct SlidingWindow {
  std::vector<int64_t> positions, steps;  ///< N and positions per spatial axis; x strides for each
  std::vector<int64_t> taps;              ///< x offset of each tap
  std::vector<int64_t> tap_index;         ///< spatial position of each tap relative to the first
  std::vector<int64_t> index_steps;       ///< spatial position of the first tap, per result axis
  int64_t channels = 0;                   ///< of x
};

/// The windows (attributes window, strides, dilations) whose positions `positions` has, after N and
/// before its last axis. Fails when they leave x.
Result<SlidingWindow> plan_windows(const Attributes& attributes, const Tensor& x,
                                   const Tensor& positions);

/// The tap with the first largest element of the window that starts at x[offset]; NaN is largest.
template <typename T>
size_t first_largest(const SlidingWindow& p, const T* x, int64_t offset) {
  size_t best = 0;
  for (size_t t = 1; t < p.taps.size(); ++t) {
    const auto value = load(x[offset + p.taps[t]]), largest = load(x[offset + p.taps[best]]);
    if (value > largest || (value != value && largest == largest)) best = t;
  }
  return best;
}

}  // namespace tintype
