// select-algorithms: decides how each convolution and matrix product runs, and packs its weights.
#pragma once

#include "codegen/hints.h"
#include "codegen/libraries.h"
#include "codegen/machine.h"
#include "ir/graph.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace tintype {

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

  /// The likely value of an extent.
  int64_t hint(const Dim& d) const { return likely_value(d, hints); }
};

/// Rewrites conv and dot with constant weights to packed panels, and to Winograd's form where the
/// cost model expects it to be faster. Weights become `pack` or `winograd_weight` nodes that fold.
/// True when something was rewritten.
bool select_algorithms(Graph& graph, const SelectAlgorithmsOptions& options);

}  // namespace tintype
