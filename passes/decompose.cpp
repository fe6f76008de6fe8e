// decompose: rewrites ONNX-level nodes to core ops, each by its own record.
#include "ir/added_call.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "passes/passes.h"

namespace tintype {

namespace {

/// Moves names, contents and uses from the node's results to their replacements.
void replace_results(Graph& graph, Node& node, const std::vector<Value*>& replacements) {
  for (int i = 0; i < node.result_count(); ++i) {
    Value* old = node.result(i);
    Value* now = static_cast<size_t>(i) < replacements.size() ? replacements[static_cast<size_t>(i)]
                                                              : nullptr;
    if (now == nullptr) {
      if (!old->uses().empty() || old->output_uses() != 0)
        throw Error(node.where() + " (" + std::string(node.name()) + "): result " +
                    std::to_string(i) + " is used, but is not available in inference");
      continue;
    }
    if (now->name().empty()) now->set_name(old->name());
    if (!now->content() && old->content()) now->set_content(old->content());
    graph.replace_all_uses(old, now);
  }
}

}  // namespace

bool decompose(Graph& graph, PassContext& context) {
  bool changed = false;
  // A decomposition may itself use ONNX-level ops; their own decompositions are strictly simpler.
  for (bool again = true; again;) {
    again = false;
    for (Node* node : graph.node_list()) {
      for (int i = 0; i < node->body_count(); ++i) {
        const PassContext::Inside inside(context, *node, i);
        again = decompose(*node->body(i), context) || again;
      }
      if (node->op().decompose == nullptr) continue;
      Builder builder(graph, node);
      builder.set_origins(node->origins());
      if (context.explaining())
        context.matched(*node, std::string(node->name()) + " becomes simpler ops");
      replace_results(graph, *node, call_of_record(*node, "decomposition", [&] {
                        return node->op().decompose(builder, *node);
                      }));
      graph.erase(node);
      again = true;
    }
    changed = changed || again;
  }
  return changed;
}

}  // namespace tintype
