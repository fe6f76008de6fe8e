// dead-code: removes nodes whose results nobody uses.
#include "passes/passes.h"

#include <algorithm>

namespace tintype {

namespace {

bool is_dead(const Node& node) {
  for (int i = 0; i < node.result_count(); ++i)
    if (!node.result(i)->uses().empty() || node.result(i)->output_uses() != 0) return false;
  return true;
}

}  // namespace

bool dead_code(Graph& graph, PassContext& context) {
  bool changed = false;
  // Users come after what they use, so one walk from the end finds everything.
  std::vector<Node*> nodes = graph.node_list();
  std::reverse(nodes.begin(), nodes.end());
  for (Node* node : nodes) {
    if (is_dead(*node)) {
      if (context.explaining() && !node->is("constant"))
        context.matched(*node, std::string(node->name()) + " left out: nobody uses its results");
      graph.erase(node);
      changed = true;
    } else {
      for (int i = 0; i < node->body_count(); ++i) {
        const PassContext::Inside inside(context, *node, i);
        changed = dead_code(*node->body(i), context) || changed;
      }
    }
  }
  return changed;
}

}  // namespace tintype
