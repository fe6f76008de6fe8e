// layout-states: keeps weights that a program updates in the order of axes in which it reads them.
//
// Convolutions read weights with the filters innermost, models store them with the filters first.
// A constant weight is rearranged once; a state would be at every step, and its update would read a
// gradient across. So when all transposes of a state agree, the state itself is kept transposed,
// and with it the states of the same shape that meet it in pointwise ops: those of its optimizer.
// A state is moved once: the gradient reads it as it was before, and would have it back.
//   s, transpose(s, p)  =  transpose(s', p^-1), s'     where s' = transpose(s, p)
#include "ir/builder.h"
#include "passes/evaluate.h"
#include "passes/passes.h"
#include "passes/patterns.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

using Order = std::vector<int64_t>;

Order inverse(const Order& p) {
  Order q(p.size());
  for (size_t i = 0; i < p.size(); ++i) q[static_cast<size_t>(p[i])] = static_cast<int64_t>(i);
  return q;
}

/// The order that all transposes of the value agree on.
std::optional<Order> wanted_order(const Value& v) {
  std::optional<Order> order;
  for (const Use& u : v.uses()) {
    if (!u.node->is("transpose")) continue;
    const Order p = u.node->attrs().integers("perm");
    if (order && *order != p) return std::nullopt;
    order = p;
  }
  return order && !is_identity(*order) ? order : std::nullopt;
}

/// The first node that transposes the value, or null.
const Node* first_transpose(const Value& v) {
  for (const Use& u : v.uses())
    if (u.node->is("transpose")) return u.node;
  return nullptr;
}

/// Why a state that is read transposed stays as it is.
void explain_kept(const Value& state, PassContext& context) {
  const Node* transpose = first_transpose(state);
  if (transpose == nullptr || !context.explaining()) return;
  const bool same = is_identity(transpose->attrs().integers("perm"));
  context.declined(*transpose, "state '" + state.name() + "' stays: " +
                                   (same ? "this order is its own"
                                         : "its transposes do not agree on one order"));
}

/// Zeros stay what they are in every order, and large ones need no memory (Tensor::zeros).
bool all_zero(const Tensor& t) {
  const auto* bytes = static_cast<const unsigned char*>(t.data());
  return t.bytes() > 0 && bytes[0] == 0 && std::memcmp(bytes, bytes + 1, t.bytes() - 1) == 0;
}

Tensor transposed(const Tensor& t, const Order& p) {
  if (all_zero(t)) {
    std::vector<int64_t> dims;
    for (const int64_t axis : p) dims.push_back(t.dims()[static_cast<size_t>(axis)]);
    return Tensor::zeros(t.dtype(), std::move(dims));
  }
  Graph scratch;
  Builder b(scratch);
  const SymbolLookup none = [](std::string_view) -> std::optional<int64_t> { return std::nullopt; };
  return evaluate_node(*b.transpose(b.constant(t), p)->def(), std::span(&t, 1), none)->front();
}

class Relayout {
 public:
  explicit Relayout(Graph& graph) : graph_(graph) {
    for (const State& s : graph.states()) {
      by_value_[s.current] = s.current;
      by_value_.emplace(graph.output(static_cast<size_t>(s.next)), s.current);
    }
  }

  /// States of the same shape that pointwise ops connect with this one.
  std::vector<const Value*> family(const Value* start) {
    std::vector<const Value*> members, open = {start};
    std::unordered_set<const Value*> seen = {start};
    const auto visit = [&](const Value* v) {
      if (v != nullptr && v->shape() == start->shape() && seen.insert(v).second) open.push_back(v);
    };
    while (!open.empty()) {
      const Value* v = open.back();
      open.pop_back();
      if (const auto it = by_value_.find(v); it != by_value_.end()) {
        if (it->second == v) members.push_back(v);
        visit(it->second);
        visit(graph_.output(static_cast<size_t>(graph_.state_of(it->second)->next)));
      }
      if (v->def() != nullptr && v->def()->op().has(kPointwise))
        for (const Value* o : v->def()->operands()) visit(o);
      for (const Use& u : v->uses())
        if (u.node->op().has(kPointwise)) visit(u.node->result());
    }
    return members;
  }

  void apply(const Value* state, const Order& p) {
    const State s = *graph_.state_of(state);
    Order layout = s.layout.empty() ? p : Order();
    for (size_t i = 0; i < s.layout.size(); ++i)
      layout.push_back(s.layout[static_cast<size_t>(p[i])]);
    Value* next = graph_.output(static_cast<size_t>(s.next));
    // Made while the state still has its old type, then moved in front of everything.
    Node* as_before =
        graph_.create(op("transpose"), {s.current}, {{"perm", inverse(p)}}, 1,
                      graph_.nodes().empty() ? nullptr : graph_.nodes().front().get());
    as_before->result()->set_type(s.current->type());
    graph_.replace_all_uses(s.current, as_before->result());
    as_before->set_operand(0, s.current);
    if (next == s.current) next = as_before->result();
    graph_.set_layout(s.current, transposed(s.initial, p), std::move(layout));
    Builder b(graph_);
    graph_.set_output(s.next, b.transpose(next, p));
  }

 private:
  Graph& graph_;
  std::map<const Value*, const Value*> by_value_;  ///< current and next values -> current value
};

}  // namespace

bool layout_states(Graph& graph, PassContext& context) {
  std::unordered_set<const Value*> done;
  bool changed = false;
  std::vector<const Value*> states, moved;
  for (const State& s : graph.states()) (s.layout.empty() ? states : moved).push_back(s.current);
  done.insert(moved.begin(), moved.end());
  for (const Value* v : states) {
    const std::optional<Order> order = done.count(v) == 0 ? wanted_order(*v) : std::nullopt;
    if (!order) {
      if (done.count(v) == 0) explain_kept(*v, context);
      continue;
    }
    context.matched(*first_transpose(*v), "state '" + v->name() + "' kept as it is read");
    Relayout relayout(graph);
    for (const Value* member : relayout.family(v)) {
      if (!done.insert(member).second) continue;
      if (const auto own = wanted_order(*member); own && *own != *order) {
        context.declined(*first_transpose(*member), "state '" + member->name() + "' stays: '" +
                                                        v->name() +
                                                        "', which it meets, wants another order");
        continue;
      }
      relayout.apply(member, *order);
      changed = true;
    }
  }
  return changed;
}

}  // namespace tintype
