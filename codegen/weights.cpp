// Weights that change from run to run may still be the same on every trip of a loop.
#include "codegen/weights.h"

#include "ir/ops/control.h"

#include <algorithm>
#include <numeric>

namespace tintype {

std::vector<int64_t> identity(int rank) {
  std::vector<int64_t> perm(static_cast<size_t>(rank));
  std::iota(perm.begin(), perm.end(), int64_t{0});
  return perm;
}

bool is_constant_tree(const Value* v) {
  while (v->def() != nullptr && v->constant() == nullptr) {
    if (v->def()->operand_count() == 0) return false;
    for (Value* o : v->def()->operands())
      if (o != nullptr && !is_constant_tree(o)) return false;
    return true;
  }
  return v->def() != nullptr;
}

namespace {

/// Whether a value, in whatever order and shape, is the right side of a product.
bool is_weights(const Value* v) {
  return std::any_of(v->uses().begin(), v->uses().end(), [](const Use& u) {
    const Node& n = *u.node;
    if (n.op().has(kContraction)) return u.operand % 2 == 1;
    if (n.is("scan") || n.is("loop")) {
      const Value* inner = n.body()->inputs()[static_cast<size_t>(u.operand)].get();
      return steady_values(n).count(inner) != 0 && is_weights(inner);
    }
    const bool moves = n.is("transpose") || n.is("reshape") || n.is("reverse") || n.is("pack");
    return moves && is_weights(n.result());
  });
}

}  // namespace

bool changes_weights(const Graph& graph) {
  return std::any_of(graph.states().begin(), graph.states().end(),
                     [](const State& s) { return is_weights(s.current); });
}

std::unordered_set<const Value*> steady_values(const Node& loop) {
  std::unordered_set<const Value*> steady;
  const Graph& body = *loop.body();
  const size_t first = static_cast<size_t>(loop.is("scan") ? ScanView(loop).first_invariant()
                                                           : 1 + LoopView(loop).states);
  for (size_t i = first; i < body.inputs().size(); ++i) steady.insert(body.inputs()[i].get());
  for (const auto& n : body.nodes()) {
    if (n->op().has(kImpure | kControl) || n->operand_count() == 0) continue;
    const std::vector<Value*> operands = n->operands();
    const bool all = std::all_of(operands.begin(), operands.end(), [&](const Value* v) {
      return v == nullptr || steady.count(v) != 0 || v->constant() != nullptr;
    });
    for (int i = 0; all && i < n->result_count(); ++i) steady.insert(n->result(i));
  }
  return steady;
}

bool crowds_cache(int64_t rows, int64_t columns, const Machine& machine) {
  constexpr int64_t kWays = 8, kLine = 64;
  const int64_t way = std::max(kLine, machine.l2_bytes / kWays);
  const int64_t places = kWays * (way / std::max(kLine, std::gcd(4 * columns, way)));
  return 2 * rows > places;
}

}  // namespace tintype
