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
