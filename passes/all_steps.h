// What every step computes by itself, computed for all of them at once.
#pragma once

#include "ir/builder.h"

#include <vector>

namespace tintype {

/// True when repeat_for_all knows the node; `by_step[i]` says that operand i differs from step to
/// step. At least one must.
bool can_repeat_for_all(const Node& n, const std::vector<bool>& by_step);

/// The node once more for `steps` steps: operands that differ from step to step, and the result,
/// have an axis of steps in front. The other operands are as they were.
Value* repeat_for_all(Builder& b, const Node& n, const std::vector<Value*>& operands,
                      const std::vector<bool>& by_step, const Dim& steps);

/// Hands out slices of a value along its first axis to the trips of a scan, as the last of those
/// that it hands out; returns the slice in its body.
Value* add_scanned(Node& scan, Value* all);

}  // namespace tintype
