// simplify: local rewrites that leave fewer or cheaper ops.
//
// Each rule lowers the weighted number of ops (pow and gather weigh 4, large constant operands of
// pointwise ops 2, the rest 1) or moves a reshape up, so sweeping until nothing changes ends.
#include "ir/diagnostic.h"
#include "passes/passes.h"
#include "passes/simplify_rules.h"

namespace tintype {

namespace {

constexpr int kMaxSweeps = 1000;

std::span<const rules::Rule> rules_for(const Node& node) {
  return node.op().has(kPointwise) ? rules::pointwise() : rules::movement();
}

bool apply_first(Graph& graph, Node& node, PassContext& context) {
  Builder b(graph, &node);
  b.set_origins(node.origins());
  for (const rules::Rule& rule : rules_for(node)) {
    rules::Attempt attempt(b, false);
    Value* now = rule.apply(attempt, node);
    if (now == nullptr) continue;
    TINTYPE_CHECK(now->type() == node.result()->type(),
                  node.where() + ": rule '" + std::string(rule.equation) + "' turns " +
                      node.result()->type().text() + " into " + now->type().text());
    if (context.explaining()) context.matched(node, std::string(rule.equation));
    replace_node(graph, node, now);
    return true;
  }
  return false;
}

bool is_unused(const Node& node) {
  return node.result()->uses().empty() && node.result()->output_uses() == 0;
}

bool is_candidate(const Node& node, bool layout) {
  if (node.result_count() != 1 || node.operand_count() == 0 || !node.op().is_core()) return false;
  return node.body() == nullptr && !is_unused(node) && (layout || !node.is("transpose"));
}

bool sweep(Graph& graph, bool layout, PassContext& context) {
  bool changed = false;
  for (Node* node : graph.node_list())
    if (is_candidate(*node, layout)) changed = apply_first(graph, *node, context) || changed;
  return changed;
}

/// What is left when no rule fits any more: for each rule about a node's op, what it lacks.
void explain_rest(Graph& graph, bool layout, PassContext& context) {
  for (Node* node : graph.node_list()) {
    if (!is_candidate(*node, layout)) continue;
    Builder b(graph, node);
    for (const rules::Rule& rule : rules_for(*node)) {
      rules::Attempt attempt(b, true);
      if (rule.apply(attempt, *node) == nullptr && !attempt.why().empty())
        context.declined(*node, "not " + std::string(rule.equation) + ": " + attempt.why());
    }
  }
}

}  // namespace

bool simplify(Graph& graph, PassContext& context) {
  const bool layout = context.flag("layout", true);
  bool changed = false;
  int sweeps = 0;
  while (sweep(graph, layout, context)) {
    changed = true;
    dead_code(graph, context);
    TINTYPE_CHECK(++sweeps < kMaxSweeps, "simplify does not come to an end");
  }
  if (context.explaining()) explain_rest(graph, layout, context);
  return changed;
}

}  // namespace tintype
