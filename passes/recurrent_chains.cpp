#include "passes/recurrent_chains.h"

#include <algorithm>
#include <unordered_map>

namespace tintype {

std::unordered_set<const Node*> nodes_behind(const Graph& graph, const Node& first) {
  std::unordered_set<const Node*> behind = {&first};
  for (const auto& n : graph.nodes())
    for (const Value* v : n->operands())
      if (v != nullptr && v->def() != nullptr && behind.count(v->def()) != 0)
        behind.insert(n.get());
  return behind;
}

std::vector<std::vector<Node*>> recurrent_chains(const Graph& graph) {
  std::vector<const Value*> order;
  std::unordered_map<const Value*, std::vector<Node*>> by_weights;
  for (const auto& n : graph.nodes()) {
    if (!is_plain_product(*n)) continue;
    auto& list = by_weights[n->operand(1)];
    if (list.empty()) order.push_back(n->operand(1));
    list.push_back(n.get());
  }
  std::vector<std::vector<Node*>> found;
  for (const Value* w : order) {
    std::vector<Node*>& list = by_weights[w];
    if (list.size() < kLeastSteps) continue;
    const auto behind = nodes_behind(graph, *list[0]);
    if (std::all_of(list.begin() + 1, list.end(),
                    [&](const Node* n) { return behind.count(n) != 0; }))
      found.push_back(std::move(list));
  }
  return found;
}

}  // namespace tintype
