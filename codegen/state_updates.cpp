// The rule is conservative: a state that fails it is computed beside and copied at the end.
#include "codegen/state_updates.h"

#include "codegen/placement.h"
#include "codegen/region_kernel.h"

#include <algorithm>

namespace tintype {

StateUpdates::StateUpdates(const Graph& graph, const Machine& machine)
    : graph_(graph), machine_(machine) {
  int at = 0;
  for (const auto& n : graph.nodes()) position_[n.get()] = at++;
}

bool StateUpdates::in_place(const State& state) const {
  const Value* next = graph_.output(static_cast<size_t>(state.next));
  if (next->output_uses() != 1) return false;
  while (next->def() != nullptr && next->def()->is("reshape")) {
    next = next->def()->operand(0);
    if (next->output_uses() != 0) return false;
  }
  if (next->def() == nullptr || is_view(*next->def())) return false;
  return reads_are_over(state.current, *next->def(), true);
}

bool StateUpdates::reads_are_over(const Value* v, const Node& writer, bool in_order) const {
  if (v->output_uses() != 0) return false;
  const int last = position_.at(&writer);
  return std::all_of(v->uses().begin(), v->uses().end(), [&](const Use& u) {
    if (is_view(*u.node))
      return u.node != &writer &&
             reads_are_over(u.node->result(), writer, in_order && u.node->is("reshape"));
    // Concatenation copies when its result is placed, which may be later than its own position.
    if (u.node->is("concat") || u.node->is("pad")) return false;
    if (position_.at(u.node) != last) return position_.at(u.node) < last;
    return u.node == &writer && in_order && may_replace_operand(writer, u.operand, machine_);
  });
}

}  // namespace tintype
