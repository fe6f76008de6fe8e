// Evaluation of single core nodes on tensors, with the runtime's host ops.
#pragma once

#include "ir/graph.h"
#include "runtime/attributes.h"
#include "runtime/tensor.h"

#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace tintype {

/// Value of a symbol, or nothing when it is not known.
using SymbolLookup = std::function<std::optional<int64_t>(std::string_view)>;

/// The attributes as the runtime understands them; nothing when an extent is not known.
std::optional<Attributes> runtime_attributes(const AttrMap& attrs, const SymbolLookup& symbols);
/// The extents as integers; nothing when one is not known.
std::optional<std::vector<int64_t>> known_dims(const Shape& shape, const SymbolLookup& symbols);

/// Results of a core node for given operands (undefined tensors for absent ones). Nothing when the
/// node has no host op or an extent is not known; throws Error, naming the node, when the host op
/// fails on these operands.
std::optional<std::vector<Tensor>> evaluate_node(const Node& node, std::span<const Tensor> operands,
                                                 const SymbolLookup& symbols);

/// The outputs of a graph of core ops, bodies included. Throws Error, naming the node, for
/// ops without a host evaluation and for operands that do not fit.
std::vector<Tensor> evaluate_graph(const Graph& graph, std::span<const Tensor> inputs,
                                   const SymbolLookup& symbols);

}  // namespace tintype
