// What select-algorithms asks about the right sides of products.
#pragma once

#include "codegen/machine.h"
#include "ir/graph.h"

#include <cstdint>
#include <unordered_set>
#include <vector>

namespace tintype {

/// The axes of a tensor in their order: weights that a pack or transform reads as they lie.
std::vector<int64_t> identity(int rank);

/// A weight tensor that is the same in every run.
bool is_constant_tree(const Value* v);

/// What is the same on every trip of a `scan` or `loop`, and is no constant: its invariants, and
/// what is computed from them alone.
std::unordered_set<const Value*> steady_values(const Node& loop);

/// True for training steps: a state is the weights of a product.
bool changes_weights(const Graph& graph);

/// True where panels of a matrix that lies row by row are better packed first. The rows of a panel
/// are as far apart as those of the matrix: where that is a multiple of a high power of two they
/// share few sets of the second-level cache, and every tile brings those that find no place from
/// the third.
bool crowds_cache(int64_t rows, int64_t columns, const Machine& machine);

}  // namespace tintype
