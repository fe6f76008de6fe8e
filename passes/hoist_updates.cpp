// hoist-updates: states get their next values as early as nothing needs the current ones any more.
//
// Fusion leaves updates, being pointwise, behind all other kernels: every gradient would wait for
// the end of the step in memory of its own. An update that is part of the kernel of its gradient
// waits, the other way round, for the last reader of what it replaces. Single numbers are computed
// as early as they can be, for updates wait for them. The order of all other nodes stays.
#include "passes/passes.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

class Hoisting {
 public:
  explicit Hoisting(Graph& graph) : graph_(graph), nodes_(graph.node_list()) {
    for (const State& s : graph.states()) {
      const Value* next = graph.output(static_cast<size_t>(s.next));
      std::vector<const Node*> views;
      while (next->def() != nullptr && next->def()->is("reshape") && next->has_one_use()) {
        views.push_back(next->def());
        next = next->def()->operand(0);
      }
      if (next->def() == nullptr) continue;
      replaced_[next->def()].push_back(s.current);
      for (const Node* view : views) update_of_[view] = next->def();
    }
    for (size_t i = 0; i < nodes_.size(); ++i) place_[nodes_[i]] = i;
  }

  bool run(const PassContext& context) {
    for (Node* n : nodes_)
      if (is_number(*n) && !is_update(*n)) {
        place_[n] = behind_operands(*n);
        moved_.insert(n);
      }
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (is_update(*nodes_[i])) {
        const size_t place = earliest(*nodes_[i]);
        place_[nodes_[i]] = has_users(*nodes_[i]) ? std::min(i, place) : place;
        moved_.insert(nodes_[i]);
      }
    for (const auto& [view, update] : update_of_) {
      place_[view] = place_.at(update);
      moved_.insert(view);
    }
    // Those that share a place keep their order, behind the node that was there.
    std::vector<Node*> order = nodes_;
    std::stable_sort(order.begin(), order.end(), [&](const Node* a, const Node* b) {
      if (place_.at(a) != place_.at(b)) return place_.at(a) < place_.at(b);
      return moved_.count(a) < moved_.count(b);
    });
    if (context.explaining()) explain(order, context);
    if (order == nodes_) return false;
    for (Node* n : order) graph_.move_before(n, nullptr);
    return true;
  }

 private:
  /// What counts is which of the nodes that stay an update is behind of.
  void explain(const std::vector<Node*>& order, const PassContext& context) const {
    std::unordered_map<const Node*, size_t> before;
    size_t stay = 0;
    for (const Node* n : nodes_)
      if (moved_.count(n) != 0) before[n] = stay;
      else ++stay;
    stay = 0;
    for (const Node* n : order) {
      if (moved_.count(n) == 0) ++stay;
      else if (is_update(*n)) {
        const std::string behind = "behind " + nodes_[place_.at(n)]->where();
        if (stay < before.at(n)) context.matched(*n, "moves up, " + behind);
        else if (stay > before.at(n)) context.matched(*n, "waits, " + behind);
        else context.declined(*n, "has to stay " + behind);
      }
    }
  }

  /// All that the node makes are next values of states.
  bool is_update(const Node& n) const {
    const auto found = replaced_.find(&n);
    return found != replaced_.end() && static_cast<int>(found->second.size()) == n.result_count();
  }

  /// Anybody else than who hands the next value on in the shape of its state.
  bool has_users(const Node& n) const {
    for (int i = 0; i < n.result_count(); ++i)
      for (const Use& u : n.result(i)->uses())
        if (update_of_.count(u.node) == 0) return true;
    return false;
  }

  /// A bias correction, say, for which an update would have to wait.
  static bool is_number(const Node& n) {
    if (n.op().has(kControl | kImpure) || n.result_count() != 1) return false;
    const Shape& shape = n.result()->shape();
    return std::all_of(shape.begin(), shape.end(), [](const Dim& d) { return d.is(1); });
  }

  size_t behind_operands(const Node& n) const {
    size_t place = 0;
    for (const Value* v : n.operands())
      if (v != nullptr && v->def() != nullptr) place = std::max(place, place_.at(v->def()));
    return place;
  }

  /// The place of the last node that has to be before: makers of operands, readers of what is
  /// replaced.
  size_t earliest(const Node& n) const {
    size_t place = behind_operands(n);
    for (const Value* state : replaced_.at(&n)) place = std::max(place, last_reader(state, n));
    return place;
  }

  size_t last_reader(const Value* v, const Node& writer) const {
    size_t place = 0;
    for (const Use& u : v->uses()) {
      if (u.node == &writer) continue;
      place = std::max(place, place_.at(u.node));
      if (u.node->op().has(kView) || u.node->op().has(kMovement))
        for (int i = 0; i < u.node->result_count(); ++i)
          place = std::max(place, last_reader(u.node->result(i), writer));
    }
    return place;
  }

  Graph& graph_;
  std::vector<Node*> nodes_;
  std::unordered_map<const Node*, size_t> place_;
  std::unordered_set<const Node*> moved_;
  /// Nodes that make next values, and the current ones.
  std::unordered_map<const Node*, std::vector<const Value*>> replaced_;
  std::unordered_map<const Node*, const Node*> update_of_;  ///< of a reshape of a next value
};

}  // namespace

bool hoist_updates(Graph& graph, PassContext& context) { return Hoisting(graph).run(context); }

}  // namespace tintype
