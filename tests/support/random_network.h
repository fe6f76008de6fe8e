// Networks to differentiate and compile, as random as a seed makes them.
#pragma once

#include "ir/graph.h"

#include <cstdint>
#include <memory>

namespace tintype::test {

/// Some image layers, then some dense ones, of ONNX ops; all parameters are inputs. The batch is a
/// number or the symbol N. Divisors stay away from 0 when parameters are drawn from above -0.25.
std::unique_ptr<Graph> random_network(uint64_t seed, DType dtype);

}  // namespace tintype::test
