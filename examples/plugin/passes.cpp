// Two passes: one that rewrites, one that only looks.
#include "ops.h"

#include <tintype/passes/patterns.h>
#include <tintype/passes/plugin.h>

#include <algorithm>
#include <iomanip>
#include <iostream>

using namespace tintype;

namespace {

// Pow(x, 2) = x * x
bool square(Graph& graph, PassContext& context) {
  bool changed = false;
  for (Node* node : graph.node_list()) {
    if (!node->is("Pow")) continue;
    if (constant_splat(node->operand(1)) != 2.0) {
      context.declined(*node, "its exponent is not 2");
      continue;
    }
    Value* x = node->operand(0);
    if (!(x->type() == node->result()->type())) {
      context.declined(*node, "its exponent has more axes than x");
      continue;
    }
    context.matched(*node, "is a product now");
    Builder b(graph, node);
    b.set_origins(node->origins());
    replace_node(graph, *node, b.make("Mul", {x, x}));
    changed = true;
  }
  return changed;
}

/// One line per f32 constant: where it came from, its extremes, and how much of it is zero.
bool weight_statistics(Graph& graph, PassContext& context) {
  const auto least = context.integer("min-elements", 16);
  for (const auto& node : graph.nodes()) {
    const Tensor* t = node->is("constant") ? node->result()->constant() : nullptr;
    if (t == nullptr || t->dtype() != DType::f32 || t->size() < least) continue;
    const auto values = t->values<float>();
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const auto zeros = std::count(values.begin(), values.end(), 0.0f);
    std::cerr << std::left << std::setw(24) << node->result()->name() << " " << std::setw(16)
              << t->type_string() << " " << *low << " to " << *high << ", "
              << 100 * zeros / t->size() << " % zeros\n";
  }
  return false;
}

constexpr PassOption kStatistics[] = {
    {"min-elements", "16", "constants with fewer elements are left out"},
};

constexpr Pass kPasses[] = {
    {"acme-square", "Pow(x, 2) becomes a product", {}, square},
    {"acme-weight-statistics", "prints what constants hold", kStatistics, weight_statistics},
};

void add() {
  register_passes(kPasses);
  acme::add_ops();
  acme::add_kernels();
}

}  // namespace

TINTYPE_PLUGIN("acme", add)
