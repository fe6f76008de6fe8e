// Activation functions of ONNX's recurrent operators, by name, with their alpha and beta.
#pragma once

#include "ir/ops/decompose.h"

#include <string>
#include <vector>

namespace tintype::ops {

struct RecurrentActivation {
  std::string name;  ///< lower case
  double alpha = 0, beta = 0;
};

/// The activations of all directions, in order. `defaults` names those of one direction. Values of
/// activation_alpha and activation_beta go to the functions that take one, in order. Throws Error
/// for a function that does not exist and for lists that do not fit.
std::vector<RecurrentActivation> recurrent_activations(const Node& n, int directions,
                                                       const std::vector<std::string>& defaults);
Value* apply(Builder& b, const RecurrentActivation& f, Value* x);

}  // namespace tintype::ops
