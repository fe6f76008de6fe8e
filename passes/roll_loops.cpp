// roll-loops: the steps of a recurrent network that were written out become a scan again.
//
//   h1 = f(h0, x[0], w), h2 = f(h1, x[1], w), ...   =   scan(h0, x, w) with f as body
//
// What steps are, and when they are alike, is in compare_steps.h.
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "passes/compare_steps.h"
#include "passes/passes.h"
#include "passes/recurrent_chains.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

class Roller {
 public:
  /// Steps that were found to be alike.
  Roller(Graph& graph, const StepComparison& found, Node& first, PassContext& context)
      : graph_(graph), steps_(found.steps()), next_(found.next()), scanned_(found.scanned()),
        first_(first), context_(context) {}

  void run() {
    for (const RepeatedStep& s : steps_)
      for (const Value* v : s.computed) {
        if (v == nullptr) continue;
        inside_.insert(v->def());
        first_.add_origins(v->def()->origins());
      }
    // The scan stands where the last step does: everything that the steps read is there by then.
    Builder b(graph_, steps_.back().computed.back()->def());
    b.set_origins(first_.origins());
    auto body = std::make_unique<Graph>("step");
    std::vector<size_t> stacked;
    const std::vector<Value*> operands = fill(b, *body, stacked);
    const auto results = static_cast<int>(body->output_count());
    std::vector<std::unique_ptr<Graph>> bodies;
    bodies.push_back(std::move(body));
    const Node* scan = b.create("scan", operands,
                                {{"states", static_cast<int64_t>(next_.size())},
                                 {"scanned", static_cast<int64_t>(scanned_.size())},
                                 {"trips", Shape{Dim(trips())}}},
                                results, std::move(bodies));
    for (size_t i = 0; i < stacked.size(); ++i)
      hand_out(b, scan->result(static_cast<int>(next_.size() + i)), stacked[i]);
    for (size_t k = 0; k < next_.size(); ++k)
      replace_outside(step(trips() - 1).computed[next_[k]], scan->result(static_cast<int>(k)));
    if (context_.explaining())
      context_.matched(*scan, std::to_string(trips()) + " steps with the same weights roll up");
    graph_.sort();
  }

 private:
  int trips() const { return static_cast<int>(steps_.size()); }
  const RepeatedStep& step(int t) const { return steps_[static_cast<size_t>(t)]; }

  static Value* initial_state(Builder& b, Value* v, const TensorType& type) {
    if (v != nullptr && v->type() == type) return v;
    if (v == nullptr) v = b.scalar(0, type.dtype);
    else if (const auto element = common_element(*v)) v = b.scalar(*element, type.dtype);
    return b.broadcast(v, type.shape);
  }

  /// Makes the body of what the second step computes: what the first reads may be one value for
  /// several states. Returns the operands of the scan; `stacked` receives the places that readers
  /// outside need of every step.
  std::vector<Value*> fill(Builder& b, Graph& body, std::vector<size_t>& stacked) {
    std::unordered_map<const Value*, Value*> map;
    std::vector<Value*> operands;
    Builder in(body);
    in.set_origins(b.origins());
    const RepeatedStep &first = step(0), &model = step(1);
    for (size_t k = 0; k < first.states.size(); ++k) {
      const TensorType& type = model.states[k]->type();
      operands.push_back(initial_state(b, first.states[k], type));
      map[model.states[k]] = body.add_input("", type);
    }
    for (size_t k = 0; k < scanned_.size(); ++k) {
      operands.push_back(stack_of(b, scanned_[k], trips()));
      const Shape& all = operands.back()->shape();
      Value* input =
          body.add_input("", {operands.back()->dtype(), Shape(all.begin() + 1, all.end())});
      map[model.slices[k]] = in.reshape(input, model.slices[k]->shape());
    }
    for (size_t k = 0; k < model.invariants.size(); ++k) {
      operands.push_back(first.invariants[k]);
      map[model.invariants[k]] = body.add_input("", operands.back()->type());
    }
    for (Value* v : model.computed) {
      std::vector<Value*> inner;
      for (Value* o : v->def()->operands()) inner.push_back(o == nullptr ? nullptr : map.at(o));
      map[v] = in.make(v->def()->name(), std::move(inner), v->def()->attrs());
    }
    for (size_t place : next_) body.add_output("state", map.at(model.computed[place]));
    for (size_t place = 0; place < model.computed.size(); ++place) {
      if (!leaves(place)) continue;
      stacked.push_back(place);
      body.add_output("y", map.at(model.computed[place]));
    }
    return operands;
  }

  /// True when something outside the steps reads the place in a step. The last value of a state is
  /// there without being stacked.
  bool leaves(size_t place) {
    const bool state = std::find(next_.begin(), next_.end(), place) != next_.end();
    for (int t = 0; t < trips() - (state ? 1 : 0); ++t)
      if (stands_for(t, place) && used_outside(*step(t).computed[place])) return true;
    return false;
  }

  /// What stands for several places stands for the last: that of the result.
  bool stands_for(int t, size_t place) const {
    const auto& computed = step(t).computed;
    return computed[place] != nullptr &&
           std::find(computed.begin() + static_cast<std::ptrdiff_t>(place) + 1, computed.end(),
                     computed[place]) == computed.end();
  }

  bool used_outside(const Value& v) const {
    return v.output_uses() != 0 ||
           std::any_of(v.uses().begin(), v.uses().end(),
                       [this](const Use& u) { return inside_.count(u.node) == 0; });
  }

  /// Readers of the place get their slice of the stack. Where all of them, in order or from the
  /// last to the first, are concatenated, the stack itself takes the place of the result.
  void hand_out(Builder& b, Value* stack, size_t place) {
    for (const bool backwards : {false, true}) {
      Node* whole = common_concatenation(place, backwards);
      if (whole == nullptr) continue;
      Value* all = stack;
      if (backwards) all = b.make("reverse", {all}, {{"axes", std::vector<int64_t>{0}}});
      graph_.replace_all_uses(whole->result(), concatenated(b, all, *whole));
    }
    for (int t = 0; t < trips(); ++t) {
      Value* v = step(t).computed[place];
      if (!stands_for(t, place) || !used_outside(*v)) continue;
      replace_outside(v, b.reshape(b.slice_axis(stack, 0, t, 1), v->shape()));
    }
  }

  /// The concatenation of all values of a place; null when there is none.
  Node* common_concatenation(size_t place, bool backwards) const {
    Node* concat = nullptr;
    for (int t = 0; t < trips(); ++t) {
      if (!stands_for(t, place)) return nullptr;
      Node* found =
          concatenation_of(*step(t).computed[place], backwards ? trips() - 1 - t : t, trips());
      if (found == nullptr || (t > 0 && found != concat)) return nullptr;
      concat = found;
    }
    return concat;
  }

  void replace_outside(Value* v, Value* now) {
    const std::vector<Use> uses = v->uses();
    for (const Use& u : uses)
      if (inside_.count(u.node) == 0 && u.node != now->def()) u.node->set_operand(u.operand, now);
    for (size_t i = 0; i < graph_.output_count(); ++i)
      if (graph_.output(i) == v) graph_.set_output(static_cast<int>(i), now);
  }

  Graph& graph_;
  const std::vector<RepeatedStep>& steps_;
  const std::vector<size_t>& next_;
  const std::vector<ScannedSlices>& scanned_;
  Node& first_;
  PassContext& context_;
  std::unordered_set<const Node*> inside_;
};

/// True when the steps behind the products have become a loop. A first step that differs from all
/// others may stay in front of it.
bool roll(Graph& graph, std::vector<Node*> chain, bool whole, PassContext& context) {
  StepComparison all(graph, chain);
  if (all.run()) {
    Roller(graph, all, *chain[0], context).run();
    return true;
  }
  if (whole) {
    context.declined(*chain[0], "steps with the same weights do not roll up: " + all.reason());
    return false;
  }
  if (!all.first_differs() || chain.size() == kLeastSteps) return false;
  chain.erase(chain.begin());
  StepComparison rest(graph, chain);
  if (!rest.run()) return false;
  Roller(graph, rest, *chain[0], context).run();
  return true;
}

/// One chain of all; others may be part of the steps that rolled up.
bool roll_one(Graph& graph, PassContext& context) {
  for (const bool whole : {true, false})
    for (std::vector<Node*>& chain : recurrent_chains(graph))
      if (roll(graph, std::move(chain), whole, context)) return true;
  return false;
}

}  // namespace

bool roll_loops(Graph& graph, PassContext& context) {
  bool changed = false;
  while (roll_one(graph, context)) {
    changed = true;
    PassContext silent;
    dead_code(graph, silent);
  }
  return changed;
}

}  // namespace tintype
