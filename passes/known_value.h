// What the value of a computed tensor is, where constants alone decide it.
#pragma once

#include "ir/graph.h"

#include <optional>

namespace tintype {

/// The tensor that `v` is on every run: a constant, extents that are known, or what a few nodes
/// make of such values. Nothing when an input or random numbers take part, and when the value or
/// what it is made of is large.
std::optional<Tensor> known_tensor(const Value* v);

}  // namespace tintype
