// Two operations for each element of the result and each place of the reduction domain.
#include "ir/work.h"

namespace tintype {

Dim contraction_flops(const Graph& graph) {
  Dim total = 0;
  for (const auto& n : graph.nodes()) {
    if (!n->op().has(kContraction)) continue;
    const Shape& w = n->operand(1)->shape();
    Dim depth = w[w.size() - 2];
    for (int64_t k : n->attrs().integers("window")) depth = depth * Dim(k);
    total = total + Dim(2) * depth * product(n->result()->shape());
  }
  return total;
}

}  // namespace tintype
