// Weights of elements by their distance from a place between them.
#pragma once

#include "ir/builder.h"

namespace tintype::ops {

/// max(0, 1 - |t|)
Value* linear_weight(Builder& b, Value* t);
/// Keys' kernel (Cubic convolution interpolation for digital image processing, 1981), which reaches
/// two elements far. Usual coefficients are -0.75 and -0.5.
Value* cubic_weight(Builder& b, Value* t, double coefficient);

}  // namespace tintype::ops
