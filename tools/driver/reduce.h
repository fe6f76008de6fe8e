// Making a graph that shows a problem small.
#pragma once

#include "ir/graph.h"
#include "runtime/tensor.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

/// True when a graph still shows the problem. What throws does not show it.
using Interesting = std::function<bool(const Graph& graph)>;

/// Delta debugging over the graph's nodes: the fewest nodes found for which `interesting` holds,
/// such that no single one can be left out. Results of nodes that go become inputs of the same
/// name (constants where their elements are known); states become plain inputs. Throws Error when
/// the whole graph is not interesting.
std::unique_ptr<Graph> reduce_graph(const Graph& graph, const Interesting& interesting,
                                    const std::function<void(size_t nodes)>& progress = {});

}  // namespace tintype
