// The rules of the simplify pass, by family.
#pragma once

#include "passes/patterns.h"

#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace tintype::rules {

/// One rule tried on one node.
class Attempt {
 public:
  Attempt(Builder& builder, bool explaining) : b(builder), explaining_(explaining) {}

  Builder& b;

  /// Null, for a node with the op of the rule that does not fit it; `reason` is the first
  /// constraint that fails, a text or a function that makes one.
  template <typename Reason>
  Value* no(const Reason& reason) {
    if (!explaining_) return nullptr;
    if constexpr (std::is_invocable_v<Reason>) why_ = reason();
    else why_ = reason;
    return nullptr;
  }
  /// Why the rule does not fit; "" when the node has another op.
  const std::string& why() const { return why_; }

 private:
  bool explaining_;
  std::string why_;
};

/// An equation read from left to right. `apply` returns what replaces the node's first result (made
/// at the builder's insertion point, of the same type), or null when the rule does not fit.
struct Rule {
  std::string_view equation;
  Value* (*apply)(Attempt&, const Node&);
};

/// Ops with the trait kPointwise.
std::span<const Rule> pointwise();
/// Movement, reductions and weight packing.
std::span<const Rule> movement();

}  // namespace tintype::rules
