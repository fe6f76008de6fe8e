// The rule is conservative: a state that fails it is computed beside and copied at the end.
#include "codegen/state_updates.h"

#include <algorithm>

namespace tintype {

namespace {

bool is_view(const Node& n) { return n.op().has(kView) || n.is("reverse"); }

/// The kernels of these compute every element once: their vectors end where channels do. (A tile
/// that reaches back at the end of a row would read what it has written.)
bool writes_once(const Node& n) {
  const Dim& channels = n.result()->shape().back();
  return n.is("winograd_weight_adjoint") && channels.is_static() && channels.value() % 16 == 0;
}

/// Operand i has the shape of the result and only pointwise ops read it: element k of the result
/// depends on no other element of it.
bool elementwise_in(const Node& region, int operand) {
  if (!region.is("region")) return false;
  const Graph& body = *region.body();
  const Value* input = body.inputs()[static_cast<size_t>(operand)].get();
  return input->shape() == body.output(0)->shape() &&
         std::all_of(input->uses().begin(), input->uses().end(),
                     [](const Use& u) { return u.node->op().has(kPointwise); }) &&
         std::all_of(body.nodes().begin(), body.nodes().end(), [](const auto& n) {
           return n->op().has(kPointwise) || n->is("constant") || writes_once(*n);
         });
}

}  // namespace

StateUpdates::StateUpdates(const Graph& graph) : graph_(graph) {
  int at = 0;
  for (const auto& n : graph.nodes()) position_[n.get()] = at++;
}

bool StateUpdates::in_place(const State& state) const {
  const Value* next = graph_.output(static_cast<size_t>(state.next));
  if (next->def() == nullptr || next->output_uses() != 1) return false;
  return reads_are_over(state.current, *next->def());
}

bool StateUpdates::reads_are_over(const Value* v, const Node& writer) const {
  if (v->output_uses() != 0) return false;
  const int last = position_.at(&writer);
  return std::all_of(v->uses().begin(), v->uses().end(), [&](const Use& u) {
    if (is_view(*u.node)) return reads_are_over(u.node->result(), writer) && u.node != &writer;
    // Concatenation copies when its result is placed, which may be later than its own position.
    if (u.node->is("concat") || u.node->is("pad")) return false;
    if (position_.at(u.node) != last) return position_.at(u.node) < last;
    return u.node == &writer && v->def() == nullptr && elementwise_in(writer, u.operand);
  });
}

}  // namespace tintype
