// Which algorithms a node can take, which one the cost model picks, and which one is taken: that,
// unless a measurement says otherwise.
#pragma once

#include "codegen/select_algorithms.h"

#include <optional>
#include <string>
#include <vector>

namespace tintype {

/// A conv, dot, gate_products or conv_weight_gradient, and where it stands.
struct ChoiceSite {
  const Node* node;
  bool steady = false;  ///< its weights are the same on every trip of the loop around it
  int64_t trips = 1;    ///< of that loop
};

/// Everything about a node that decides how long its algorithms take, as a line of text: op, likely
/// extents, attributes, type, where its weights come from, zeros around its input, what follows.
std::string choice_key(const ChoiceSite& site, const SelectAlgorithmsOptions& options);

/// The algorithm that a tuning record has for the key, where it was measured against `reckoned` and
/// is still among the candidates; else `reckoned`. Tells SelectAlgorithmsOptions::decided.
Algorithm settle(Decision decision, const SelectAlgorithmsOptions& options);

/// The algorithm for a node; nothing where there is nothing to decide: other types, weights that
/// are packed already, stacks of matrices.
std::optional<Algorithm> choose_algorithm(const ChoiceSite& site,
                                          const SelectAlgorithmsOptions& options);

/// One matrix on the left, several on the right: the gates of a recurrent cell.
bool is_cell_product(const Node& n);

}  // namespace tintype
