// The rules of the simplify pass, by family.
#pragma once

#include "passes/patterns.h"

#include <span>
#include <string_view>

namespace tintype::rules {

/// An equation read from left to right. `apply` returns what replaces the node's first result (made
/// at the builder's insertion point, of the same type), or null when the rule does not fit.
struct Rule {
  std::string_view equation;
  Value* (*apply)(Builder&, const Node&);
};

/// Ops with the trait kPointwise.
std::span<const Rule> pointwise();
/// Movement, reductions and weight packing.
std::span<const Rule> movement();

}  // namespace tintype::rules
