// First values of the weights of a whole model, instead of those that it has.
#pragma once

#include "frontend/graph/initializer.h"
#include "ir/graph.h"

#include <cstdint>
#include <string_view>

namespace tintype {

/// Reads "he_normal", "xavier_uniform,gain=2", "uniform,low=-0.1,high=0.1", "normal,std=0.02",
/// "constant,value=0.5" and so on; defaults are those of torch.nn.init. Throws Error with the
/// nearest name.
Initializer parse_initializer(std::string_view text);

/// Draws every weight and every table anew, as a function of seed and name; biases, scales, slopes
/// and running statistics stay as they are. The terms of a sum that a unit computes are counted as
/// in torch.nn.init: weight elements of one unit, of one direction and gate of recurrent ops.
void initialize_weights(Graph& graph, const Initializer& how, uint64_t seed);

}  // namespace tintype
