// What the algorithms for a convolution cost on a machine, estimated from its sizes.
#pragma once

#include "codegen/machine.h"
#include "runtime/winograd.h"

#include <cstdint>
#include <vector>

namespace tintype {

/// A 2-D convolution with stride 1, or the gradient of its weights: images, rows and columns of the
/// result, channels, filters.
struct ConvProblem {
  double images, rows, columns, channels, filters;
  std::vector<int64_t> window;
  bool weight_gradient = false;
};

/// Estimated milliseconds of the direct algorithm: arithmetic or reading the weights once.
double direct_conv_ms(const ConvProblem& p, const Machine& machine);

/// The same for tiles of a form: transforms, products, reading the larger weights. Weights that are
/// not constant are transformed in the same run, `weight_transforms` times, which writes them and
/// leaves none in the caches.
double winograd_conv_ms(const ConvProblem& p, const WinogradForm& form, int weight_transforms,
                        const Machine& machine);

}  // namespace tintype
