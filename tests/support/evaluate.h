// The oracle of pass and codegen tests: a graph evaluated op by op with the runtime's host ops.
#pragma once

#include "ir/graph.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tintype::test {

/// Values of symbols by name.
using Symbols = std::map<std::string, int64_t, std::less<>>;

/// Small distinct values for all symbols in the types of the graph's inputs.
Symbols small_symbols(const Graph& graph);
/// Floats uniform in [-1, 1], integers in [0, 3), of the inputs' types under these symbols.
std::vector<Tensor> random_inputs(const Graph& graph, const Symbols& symbols, uint64_t seed = 1);
/// The graph's outputs. ONNX-level ops are decomposed on a copy first. Throws Error when an op has
/// no host evaluation or a constraint does not hold.
std::vector<Tensor> evaluate(const Graph& graph, const std::vector<Tensor>& inputs,
                             const Symbols& symbols);
/// The same, with the symbols read off the inputs' extents.
std::vector<Tensor> evaluate(const Graph& graph, const std::vector<Tensor>& inputs);

/// "" when shapes and dtypes agree and no element differs by more than tolerance * scale, where
/// scale is the largest magnitude in `want` or 1; else what differs. NaNs are equal.
std::string difference(const Tensor& got, const Tensor& want, double tolerance);

/// True when some op, at whatever depth, draws random numbers.
bool is_random(const Graph& graph);

}  // namespace tintype::test
