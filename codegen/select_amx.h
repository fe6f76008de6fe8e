// The part of select-algorithms that decides for products by tiles of bf16 terms.
#pragma once

#include "codegen/select_algorithms.h"
#include "ir/builder.h"

namespace tintype {

/// Bf16 terms of the operands of a product; 0 where AMX is not to be used.
int64_t amx_terms(const Node& n, const SelectAlgorithmsOptions& options);

/// The right side of a product in f32: that which narrow-operands rounds, where it does, as packing
/// rounds it as well. Null where there is none.
Value* wide_weights(const Node& n);

/// A dot or conv with results in f32 that there is a call of the runtime for.
bool suits_amx(const Node& n);

/// Whether a dot with one matrix on the right, or a conv, is to run on AMX: where the reckoned
/// cycles are fewer than those of vectors of f32. `packed`: weights are packed beforehand. The
/// reckoning is told to those who ask.
bool amx_wins(const Node& n, bool packed, const SelectAlgorithmsOptions& options);

/// The node on AMX, with packed weights or with those that it has.
Value* amx_product(Builder& b, const Node& n, bool packed, const SelectAlgorithmsOptions& options);

}  // namespace tintype
