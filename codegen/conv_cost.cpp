// Rooflines of the direct algorithm and of Winograd's.
#include "codegen/conv_cost.h"

#include <algorithm>
#include <cmath>

namespace tintype {

namespace {

constexpr double kCores = 2.0;  // proportion between arithmetic and shared memory bandwidth

double arithmetic_ms(double flops, const Machine& machine) {
  return flops / (machine.gflops * kCores * 1e6);
}

double memory_ms(double bytes, const Machine& machine) {
  return bytes / (machine.dram_gbs * kCores * 1e6);
}

}  // namespace

double direct_conv_ms(const ConvProblem& p, const Machine& machine) {
  const auto taps = static_cast<double>(p.window[0] * p.window[1]);
  const double weights = taps * p.channels * p.filters;
  return std::max(arithmetic_ms(2 * p.images * p.rows * p.columns * weights, machine),
                  memory_ms(4 * weights, machine));
}

double winograd_conv_ms(const ConvProblem& p, const WinogradForm& form, int weight_transforms,
                        const Machine& machine) {
  double points = 1, tiles = p.images;
  const double extents[2] = {p.rows, p.columns};
  for (size_t i = 0; i < 2; ++i) {
    points *= static_cast<double>(find_winograd(form, p.window[i]).points);
    tiles *= p.window[i] > 1 ? std::ceil(extents[i] / static_cast<double>(form.m)) : extents[i];
  }
  // Both transformed tensors are written once and read once, mostly through the last-level cache.
  constexpr double kCacheToMemory = 2.5;
  const double traffic_ms =
      memory_ms(2 * 4 * points * tiles * (p.channels + p.filters), machine) / kCacheToMemory;
  const double products_ms = arithmetic_ms(2 * points * tiles * p.channels * p.filters, machine);
  const double weights_ms = memory_ms(4 * points * p.channels * p.filters, machine);
  if (weight_transforms == 0) return std::max(products_ms, weights_ms) + traffic_ms;
  return products_ms + (1 + 2 * weight_transforms) * weights_ms + traffic_ms;
}

}  // namespace tintype
