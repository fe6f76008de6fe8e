// Two operations for each element of the result and each place of the reduction domain.
#include "ir/work.h"

namespace tintype {

namespace {

/// One product of channels by filters for each point of each tile.
Dim winograd_flops(const Node& n) {
  const Shape& u = n.operand(1)->shape();
  const Shape& y = n.result()->shape();
  const auto window = n.attrs().integers("window");
  const Dim m = n.attrs().integer("m");
  Dim tiles = y[0];
  for (size_t i = 0; i < 2; ++i) tiles = tiles * (window[i] > 1 ? ceil_div(y[i + 1], m) : y[i + 1]);
  return Dim(2) * u[0] * tiles * u[2] * y[3];
}

}  // namespace

Dim contraction_flops(const Graph& graph) {
  Dim total = 0;
  for (const auto& n : graph.nodes()) {
    if (n->is("winograd_conv")) total = total + winograd_flops(*n);
    if (!n->op().has(kContraction)) continue;
    if (n->is("gate_products")) {
      const Shape& sums = n->result()->shape();
      const Dim gate = sums[1] * sums[2];
      for (const int i : {1, 3}) {
        const Shape& w = n->operand(i)->shape();  // [gates, K, N] or [panels, K, gates, block]
        total = total + Dim(2) * w[1] * w[w.size() == 4 ? 2 : 0] * gate;
      }
      continue;
    }
    const Shape& w = n->operand(1)->shape();
    Dim depth = w[w.size() - 2];
    // In weights packed as terms, rows are more than channels.
    if (n->attrs().integer("terms") > 0) depth = n->operand(0)->shape().back();
    for (int64_t k : n->attrs().integers("window")) depth = depth * Dim(k);
    total = total + Dim(2) * depth * product(n->result()->shape());
  }
  return total;
}

}  // namespace tintype
