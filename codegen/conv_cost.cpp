// Rooflines of the direct algorithm and of Winograd's, on the CPU and on CUDA devices.
#include "codegen/conv_cost.h"

#include "codegen/block_tiles.h"

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

/// A product on a CUDA device.
double cuda_product_ms(double batch, double positions, double columns, double depth, double left,
                       const Machine& machine, bool left_vectors = true) {
  const auto whole = [](double d) { return static_cast<int64_t>(d); };
  const ProductExtents p = {whole(batch), whole(positions), whole(columns),
                            whole(depth), whole(left),      left_vectors};
  return tile_cost(p, pick_block_tile(p, 0, machine.cuda), machine.cuda).microseconds / 1e3;
}

double cuda_winograd_ms(const ConvProblem& p, double points, double tiles, int weight_transforms,
                        const Machine& machine) {
  const auto moved_ms = [&](double elements) {
    return transfer_cost(4 * elements, machine.cuda) / 1e3;
  };
  const double elements = p.images * p.rows * p.columns + points * tiles;
  const double weights = weight_transforms == 0 ? 0 : moved_ms(2 * points * p.channels * p.filters);
  const double left = points * tiles * p.channels;
  const double products =
      p.weight_gradient ? cuda_product_ms(points, p.channels, p.filters, tiles, left, machine)
                        : cuda_product_ms(points, tiles, p.filters, p.channels, left, machine);
  return moved_ms(p.channels * elements) + moved_ms(p.filters * elements) + weights + products;
}

}  // namespace

double direct_conv_ms(const ConvProblem& p, const Machine& machine) {
  const auto taps = static_cast<double>(p.window[0] * p.window[1]);
  const double positions = p.images * p.rows * p.columns;
  if (machine.cuda != 0 && p.weight_gradient)
    return cuda_product_ms(1, p.channels * taps, p.filters, positions, positions * p.channels,
                           machine, false);
  if (machine.cuda != 0)
    return cuda_product_ms(1, positions, p.filters, p.channels * taps, positions * p.channels,
                           machine);
  const double weights = taps * p.channels * p.filters;
  return std::max(arithmetic_ms(2 * positions * weights, machine), memory_ms(4 * weights, machine));
}

double winograd_conv_ms(const ConvProblem& p, const WinogradForm& form, int weight_transforms,
                        const Machine& machine) {
  double points = 1, tiles = p.images;
  const double extents[2] = {p.rows, p.columns};
  for (size_t i = 0; i < 2; ++i) {
    points *= static_cast<double>(find_winograd(form, p.window[i]).points);
    tiles *= p.window[i] > 1 ? std::ceil(extents[i] / static_cast<double>(form.m)) : extents[i];
  }
  if (machine.cuda != 0) return cuda_winograd_ms(p, points, tiles, weight_transforms, machine);
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
