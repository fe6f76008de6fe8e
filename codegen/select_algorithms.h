// select-algorithms: decides how each convolution and matrix product runs, and packs its weights.
#pragma once

#include "codegen/algorithm.h"
#include "codegen/hints.h"
#include "codegen/libraries.h"
#include "codegen/machine.h"
#include "ir/graph.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace tintype {

/// What was decided for a node.
struct Decision {
  const Node* node = nullptr;
  std::string key;  ///< what tuning records know the node by (codegen/algorithm_choice.h)
  Algorithm reckoned, choice;
  const TunedAlgorithm* tuned = nullptr;  ///< the record that decided; null: the cost model did
  std::vector<Algorithm> candidates;      ///< all that would do; a family's best guess comes first
};

struct SelectAlgorithmsOptions {
  Machine machine;
  Libraries libraries = Libraries::never;
  bool tf32 = false;  ///< libraries may round operands to TF32
  /// Bf16 terms that AMX takes f32 operands apart into, see runtime/tile_product.h; 0: none.
  int terms = 2;
  bool strict = false;                   ///< no algorithm that reassociates across taps
  std::map<std::string, int64_t> hints;  ///< likely values of symbols; others count as 1
  /// Told what the candidates for a node on a device are reckoned to cost.
  std::function<void(const Node&, const std::string&)> explain;
  /// Measured choices, which go before those of the cost model; null: none. Has to live as long.
  const Tuning* tuning = nullptr;
  /// Told of every decision, in the order of the nodes.
  std::function<void(const Decision&)> decided;

  /// The likely value of an extent.
  int64_t hint(const Dim& d) const { return likely_value(d, hints); }
};

/// Rewrites conv and dot with constant weights to packed panels, and to Winograd's form where that
/// is measured, or reckoned, to be faster. Weights become `pack` or `winograd_weight` nodes that
/// fold. True when something was rewritten.
bool select_algorithms(Graph& graph, const SelectAlgorithmsOptions& options);

}  // namespace tintype
