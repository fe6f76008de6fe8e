// Comparison of gradients with central differences.
#pragma once

#include "ir/graph.h"
#include "passes/evaluate.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tintype {

struct GradientCheckOptions {
  double epsilon = 1e-6;   ///< step to each side
  double relative = 1e-4;  ///< |analytic - numeric| <= absolute + relative * the larger of the two
                           ///< + what rounding of the loss may do to the difference quotient
  double absolute = 1e-7;
  int64_t samples = 0;  ///< elements tried per input, spread evenly; 0: all
  uint64_t seed = 1;    ///< of the weights that make one loss of all outputs
};

/// What was found for one input.
struct GradientComparison {
  std::string input;
  TensorType type;
  int64_t checked = 0;  ///< elements
  int64_t failed = 0;   ///< elements beyond the tolerance, or not finite
  int64_t worst = -1;   ///< the element with the largest error; -1 when none was checked
  double error = 0;     ///< |analytic - numeric| there
  double analytic = 0, numeric = 0;
};

/// Compares d loss / d input with (loss(x + epsilon) - loss(x - epsilon)) / (2 epsilon) for every
/// f64 input of a graph of core ops, where loss is the sum of all float outputs times fixed weights
/// in [-1, 1]. One entry per f64 input. Throws what gradients() and evaluate_graph() throw.
std::vector<GradientComparison> check_gradients(const Graph& graph, std::span<const Tensor> inputs,
                                                const SymbolLookup& symbols,
                                                const GradientCheckOptions& options = {});

/// A copy of a graph of core ops in which all floats are f64 and every float constant of rank 1 or
/// more, a parameter say, is an input behind the others, named like the constant or its user.
/// `values` gets the tensors of these new inputs.
std::unique_ptr<Graph> in_double_precision(const Graph& graph, std::vector<Tensor>& values);

}  // namespace tintype
