// roll-loops: the steps of a recurrent network that were written out become a scan again.
//
//   h1 = f(h0, x[0], w), h2 = f(h1, x[1], w), ...   =   scan(h0, x, w) with f as body
//
// Products with the same weights, each depending on the one before, are the backbone: what lies
// between two of them is a step. Steps are compared pair by pair, from the next state backwards:
// both ends are the same value (an invariant), values of the step before (a state), slices of one
// tensor at neighbouring places (scanned), or the same op on operands of which the same holds.
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "ir/print.h"
#include "passes/passes.h"
#include "passes/patterns.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

constexpr size_t kLeastSteps = 3;

/// A value cut out of a tensor at one place of one axis.
struct Cut {
  Value* source;
  int axis;
  int64_t place;
};

/// Element k of each list stands for the same thing in every step.
struct Step {
  std::vector<Value*> computed;    ///< results of the step's nodes, in order of their discovery
  std::vector<Value*> states;      ///< values of the step before
  std::vector<Value*> slices;      ///< differ from step to step by their place
  std::vector<Value*> invariants;  ///< the same in all steps
};

class Roller {
 public:
  Roller(Graph& graph, std::vector<Node*> chain, PassContext& context)
      : graph_(graph), chain_(std::move(chain)), context_(context) {}

  bool run() {
    if (chain_.size() < kLeastSteps) return false;
    find_levels();
    if (!find_steps() || !find_scanned()) {
      context_.declined(*chain_[0], "steps with the same weights do not roll up: " + reason_);
      return false;
    }
    replace();
    return true;
  }

 private:
  int trips() const { return static_cast<int>(chain_.size()); }
  Step& step(int t) { return steps_[static_cast<size_t>(t)]; }
  bool fail(const std::string& reason) {
    reason_ = reason;
    return false;
  }

  /// The last product of the chain whose state a value depends on; -1 when there is none.
  int level(const Value* v) const {
    if (v->def() == nullptr) return -1;
    const auto it = levels_.find(v->def());
    return it == levels_.end() ? -1 : it->second;
  }

  void find_levels() {
    std::unordered_map<const Node*, int> place;
    for (int t = 0; t < trips(); ++t) place[chain_[static_cast<size_t>(t)]] = t;
    for (const auto& n : graph_.nodes()) {
      int most = -1;
      for (const Value* v : n->operands())
        if (v != nullptr) most = std::max(most, level(v));
      if (const auto it = place.find(n.get()); it != place.end()) most = it->second;
      if (most >= 0) levels_[n.get()] = most;
    }
  }

  // ---- comparing ----------------------------------------------------------------------------

  /// What a step reads of the one before is a state if that one computes it, too. Otherwise it is
  /// computed here, from states: another product with the last output, a peephole on the cell.
  bool find_steps() {
    for (;;) {
      steps_.clear();
      next_.clear();
      if (!compare_steps()) return false;
      bool complete = true;
      for (size_t k = 0; k < step(0).states.size(); ++k)
        if (!computed_before(k)) {
          complete = false;
          for (int t = 0; t < trips(); ++t)
            if (!own_.insert(step(t).states[k]).second)
              return fail("a state is not computed by the step before");
        }
      if (complete) return find_next_states();
    }
  }

  bool computed_before(size_t state) {
    for (int t = 0; t + 1 < trips(); ++t) {
      const auto& computed = step(t).computed;
      if (std::find(computed.begin(), computed.end(), step(t + 1).states[state]) == computed.end())
        return false;
    }
    return true;
  }

  /// The state that product t reads.
  Value* state_of(int t) const { return chain_[static_cast<size_t>(t)]->operand(0); }

  bool compare_steps() {
    steps_.resize(chain_.size());
    for (int t = 0; t + 1 < trips(); ++t) {
      Step before, after;
      if (t + 2 < trips()) {
        if (!match_pair(t, state_of(t + 1), state_of(t + 2), before, after))
          return fail("step " + std::to_string(t + 1) + " differs from step " + std::to_string(t));
      } else if (!match_last(before, after)) {
        return fail("the last step differs from those before");
      }
      if (t > 0 && !same(step(t), before)) return fail("a step reads values of several others");
      if (t == 0) step(0) = std::move(before);
      step(t + 1) = std::move(after);
    }
    return true;
  }

  static bool same(const Step& a, const Step& b) {
    return a.computed == b.computed && a.states == b.states && a.slices == b.slices &&
           a.invariants == b.invariants;
  }

  /// The value that the last step would hand on is the one that is made as those before are.
  bool match_last(Step& before, Step& after) {
    const int t = trips() - 2;
    const Value* model = state_of(t + 1);
    if (model->def() == nullptr) return false;
    for (const auto& n : graph_.nodes()) {
      if (n->op().name != model->def()->name() || level(n->result()) != t + 1) continue;
      if (match_pair(t, state_of(t + 1), n->result(model->index()), before, after)) return true;
      before = after = {};
    }
    return false;
  }

  bool match_pair(int t, Value* a, Value* b, Step& before, Step& after) {
    paired_.clear();
    return match(t, a, b, before, after);
  }

  bool match(int t, Value* a, Value* b, Step& before, Step& after) {
    if (a == nullptr || b == nullptr) return a == b;
    if (const auto it = paired_.find(b); it != paired_.end()) return it->second == a;
    const int la = level(a), lb = level(b);
    if (!(a->type() == b->type()) && !(t == 0 && lb == 0 && broadcasts_to(*a, *b))) return false;
    paired_[b] = a;
    if (a == b) {
      if (la >= 0) return false;
      before.invariants.push_back(a);
      after.invariants.push_back(b);
      return true;
    }
    const bool own = own_.count(b) != 0;
    if (!own && lb == t && (la == t - 1 || (t == 0 && la == -1))) {
      before.states.push_back(a);
      after.states.push_back(b);
      return true;
    }
    if (la == -1 && lb == -1) {
      if (same_constant(a, b)) {
        before.invariants.push_back(a);
        after.invariants.push_back(b);
        return true;
      }
      const std::optional<Cut> ca = cut_of(a), cb = cut_of(b);
      if (ca && cb && ca->source == cb->source && ca->axis == cb->axis &&
          std::abs(ca->place - cb->place) == 1) {
        before.slices.push_back(a);
        after.slices.push_back(b);
        return true;
      }
    } else if (!own && (la != t || lb != t + 1)) {
      return false;
    }
    return match_nodes(t, a, b, before, after);
  }

  bool match_nodes(int t, Value* a, Value* b, Step& before, Step& after) {
    const Node *x = a->def(), *y = b->def();
    if (x == nullptr || y == nullptr || x->name() != y->name() || a->index() != b->index() ||
        x->operand_count() != y->operand_count() || x->result_count() != 1 ||
        x->body_count() != 0 || y->body_count() != 0 || x->op().has(kImpure) || x->is("constant") ||
        print(x->attrs()) != print(y->attrs()))
      return false;
    for (int i = 0; i < x->operand_count(); ++i)
      if (!match(t, x->operand(i), y->operand(i), before, after)) return false;
    before.computed.push_back(a);
    after.computed.push_back(b);
    return true;
  }

  /// What the first step reads may be smaller than what the others do: a state of equal elements
  /// was left with one of them.
  static bool broadcasts_to(const Value& a, const Value& b) {
    if (a.dtype() != b.dtype() || a.rank() > b.rank()) return false;
    const auto skip = static_cast<size_t>(b.rank() - a.rank());
    for (size_t d = 0; d < a.shape().size(); ++d)
      if (!a.shape()[d].is(1) && !(a.shape()[d] == b.shape()[d + skip])) return false;
    return true;
  }

  static bool same_constant(const Value* a, const Value* b) {
    const Tensor *x = a->constant(), *y = b->constant();
    return x != nullptr && y != nullptr && x->dtype() == y->dtype() && x->dims() == y->dims() &&
           (x->data() == y->data() || std::memcmp(x->data(), y->data(), x->bytes()) == 0);
  }

  /// v = source[.., place, ..], with or without the axis.
  static std::optional<Cut> cut_of(Value* v) {
    Node* n = v->def();
    if (n != nullptr && n->is("reshape")) n = n->operand(0)->def();
    if (n == nullptr) return std::nullopt;
    Value* x = n->operand(0);
    if (n->is("gather")) {
      const Tensor* at = n->operand(1)->constant();
      if (at == nullptr || at->size() != 1 || v->def() != n) return std::nullopt;
      const auto place = constant_splat(n->operand(1));
      if (!place || *place < 0 || at->rank() > 1) return std::nullopt;
      return Cut{x, normalize_axis(n->attrs().integer("axis"), x->rank(), ""),
                 static_cast<int64_t>(*place)};
    }
    if (!n->is("slice")) return std::nullopt;
    const Shape starts = n->attrs().dims("starts");
    std::optional<int> axis;
    for (size_t i = 0; i < starts.size(); ++i) {
      if (n->result()->shape()[i] == x->shape()[i] && starts[i].is(0)) continue;
      if (axis || !n->result()->shape()[i].is(1) || !starts[i].is_static()) return std::nullopt;
      axis = static_cast<int>(i);
    }
    if (!axis) return std::nullopt;
    if (v->def() != n) {  // a reshape behind it may only touch axes of extent 1
      Shape squeezed = x->shape();
      squeezed.erase(squeezed.begin() + *axis);
      if (without_ones(v->shape()) != without_ones(squeezed)) return std::nullopt;
    }
    return Cut{x, *axis, starts[static_cast<size_t>(*axis)].value()};
  }

  static Shape without_ones(Shape s) {
    s.erase(std::remove_if(s.begin(), s.end(), [](const Dim& d) { return d.is(1); }), s.end());
    return s;
  }

  // ---- states and slices ----------------------------------------------------------------------

  /// Where in `computed` the value lies that a step hands on as its k-th state.
  bool find_next_states() {
    for (size_t k = 0; k < step(0).states.size(); ++k) {
      std::optional<size_t> at;
      for (int t = 0; t + 1 < trips(); ++t) {
        const auto& computed = step(t).computed;
        const auto it = std::find(computed.begin(), computed.end(), step(t + 1).states[k]);
        if (it == computed.end()) return fail("a state is not computed by the step before");
        const auto place = static_cast<size_t>(it - computed.begin());
        if (at && *at != place) return fail("a state is not computed the same way in every step");
        at = place;
      }
      next_.push_back(*at);
    }
    return true;
  }

  bool find_scanned() {
    for (size_t k = 0; k < step(0).slices.size(); ++k) {
      const Cut first = *cut_of(step(0).slices[k]);
      const int64_t stride = cut_of(step(1).slices[k])->place - first.place;
      for (int t = 0; t < trips(); ++t)
        if (cut_of(step(t).slices[k])->place != first.place + t * stride)
          return fail("the steps do not read neighbouring slices");
      scanned_.push_back({first, stride < 0});
    }
    return true;
  }

  // ---- replacing ------------------------------------------------------------------------------

  struct Scanned {
    Cut first;
    bool backwards;
  };

  /// The slices that the steps read, stacked in their order.
  Value* stacked_slices(Builder& b, const Scanned& s) const {
    const int64_t start = s.backwards ? s.first.place - (trips() - 1) : s.first.place;
    Value* v = b.slice_axis(s.first.source, s.first.axis, start, trips());
    std::vector<int64_t> perm = {s.first.axis};
    for (int64_t i = 0; i < v->rank(); ++i)
      if (i != s.first.axis) perm.push_back(i);
    v = b.transpose(v, perm);
    return s.backwards ? b.make("reverse", {v}, {{"axes", std::vector<int64_t>{0}}}) : v;
  }

  /// True when something outside the steps reads the place in a step. The last value of a state is
  /// there without being stacked.
  bool leaves(size_t place) {
    const bool state = std::find(next_.begin(), next_.end(), place) != next_.end();
    for (int t = 0; t < trips() - (state ? 1 : 0); ++t)
      if (used_outside(*step(t).computed[place])) return true;
    return false;
  }

  bool used_outside(const Value& v) const {
    return v.output_uses() != 0 ||
           std::any_of(v.uses().begin(), v.uses().end(),
                       [this](const Use& u) { return inside_.count(u.node) == 0; });
  }

  void replace() {
    for (const Step& s : steps_)
      for (const Value* v : s.computed) inside_.insert(v->def());
    Builder b(graph_, steps_.back().computed.back()->def());
    for (const Step& s : steps_)
      for (const Value* v : s.computed) chain_[0]->add_origins(v->def()->origins());
    b.set_origins(chain_[0]->origins());
    // The scan stands where the last step does: everything that the steps read is there by then.
    auto body = std::make_unique<Graph>("step");
    std::unordered_map<const Value*, Value*> map;
    std::vector<Value*> operands;
    Builder in(*body);
    in.set_origins(b.origins());
    // What the first step reads may be one value for several states; that of the second is not.
    const Step &first = step(0), &model = step(1);
    for (size_t k = 0; k < first.states.size(); ++k) {
      const TensorType& type = model.states[k]->type();
      const bool whole = first.states[k]->type() == type;
      operands.push_back(whole ? first.states[k] : b.broadcast(first.states[k], type.shape));
      map[model.states[k]] = body->add_input("", type);
    }
    for (size_t k = 0; k < scanned_.size(); ++k) {
      operands.push_back(stacked_slices(b, scanned_[k]));
      const Shape& all = operands.back()->shape();
      Value* input =
          body->add_input("", {operands.back()->dtype(), Shape(all.begin() + 1, all.end())});
      map[model.slices[k]] = in.reshape(input, model.slices[k]->shape());
    }
    for (size_t k = 0; k < model.invariants.size(); ++k) {
      operands.push_back(first.invariants[k]);
      map[model.invariants[k]] = body->add_input("", operands.back()->type());
    }
    for (Value* v : model.computed) {
      std::vector<Value*> inner;
      for (Value* o : v->def()->operands()) inner.push_back(o == nullptr ? nullptr : map.at(o));
      map[v] = in.make(v->def()->name(), std::move(inner), v->def()->attrs());
    }
    for (size_t place : next_) body->add_output("state", map.at(model.computed[place]));
    std::vector<size_t> stacked;
    for (size_t place = 0; place < model.computed.size(); ++place) {
      if (!leaves(place)) continue;
      stacked.push_back(place);
      body->add_output("y", map.at(model.computed[place]));
    }
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

  /// Readers of the place get their slice of the stack. Where all of them, in order, are
  /// concatenated, the stack itself takes the place of the result.
  void hand_out(Builder& b, Value* stack, size_t place) {
    if (Value* whole = concatenated(place); whole != nullptr) {
      const auto axis = static_cast<int>(whole->def()->attrs().integer("axis"));
      std::vector<int64_t> perm;
      for (int64_t i = 1; i < stack->rank(); ++i) perm.push_back(i);
      perm.insert(perm.begin() + (axis < 0 ? axis + whole->rank() : axis), 0);
      graph_.replace_all_uses(whole, b.transpose(stack, perm));
    }
    for (int t = 0; t < trips(); ++t) {
      Value* v = step(t).computed[place];
      if (!used_outside(*v)) continue;
      replace_outside(v, b.reshape(b.slice_axis(stack, 0, t, 1), v->shape()));
    }
  }

  /// The concatenation of all values of a place along an axis that each was given for it.
  Value* concatenated(size_t place) {
    Node* concat = nullptr;
    for (int t = 0; t < trips(); ++t) {
      const Value* v = step(t).computed[place];
      Node* found = nullptr;
      for (const Use& u : v->uses()) {
        if (!u.node->is("reshape") || !u.node->result()->has_one_use()) continue;
        if (u.node->result()->uses().empty()) continue;
        const Use next = u.node->result()->uses()[0];
        if (!next.node->is("concat") || next.operand != t || next.node->operand_count() != trips())
          continue;
        Shape with_axis = v->shape();
        const int rank = next.node->result()->rank();
        const int64_t axis = next.node->attrs().integer("axis");
        with_axis.insert(with_axis.begin() + (axis < 0 ? axis + rank : axis), Dim(1));
        if (u.node->result()->shape() == with_axis) found = next.node;
      }
      if (found == nullptr || (t > 0 && found != concat)) return nullptr;
      concat = found;
    }
    return concat->result();
  }

  void replace_outside(Value* v, Value* now) {
    const std::vector<Use> uses = v->uses();
    for (const Use& u : uses)
      if (inside_.count(u.node) == 0 && u.node != now->def()) u.node->set_operand(u.operand, now);
    for (size_t i = 0; i < graph_.output_count(); ++i)
      if (graph_.output(i) == v) graph_.set_output(static_cast<int>(i), now);
  }

  Graph& graph_;
  std::vector<Node*> chain_;
  PassContext& context_;
  std::string reason_;
  std::unordered_map<const Node*, int> levels_;
  std::unordered_map<const Value*, const Value*> paired_;  ///< by the value of the later step
  std::unordered_set<const Value*> own_;  ///< not states, although the step before has all of it
  std::vector<Step> steps_;
  std::vector<size_t> next_;
  std::vector<Scanned> scanned_;
  std::unordered_set<const Node*> inside_;
};

/// Products with the same weights, in order, as far as each depends on the one before.
std::vector<std::vector<Node*>> chains(const Graph& graph) {
  std::vector<const Value*> order;
  std::unordered_map<const Value*, std::vector<Node*>> by_weights;
  for (const auto& n : graph.nodes()) {
    if (!n->is("dot") || n->attrs().integer("block") != 0) continue;
    auto& list = by_weights[n->operand(1)];
    if (list.empty()) order.push_back(n->operand(1));
    list.push_back(n.get());
  }
  std::vector<std::vector<Node*>> found;
  for (const Value* w : order) {
    std::vector<Node*>& list = by_weights[w];
    if (list.size() < kLeastSteps) continue;
    std::unordered_set<const Node*> behind = {list[0]};  // what depends on the first product
    for (const auto& n : graph.nodes())
      for (const Value* v : n->operands())
        if (v != nullptr && v->def() != nullptr && behind.count(v->def()) != 0)
          behind.insert(n.get());
    if (std::all_of(list.begin() + 1, list.end(),
                    [&](const Node* n) { return behind.count(n) != 0; }))
      found.push_back(list);
  }
  return found;
}

}  // namespace

bool roll_loops(Graph& graph, PassContext& context) {
  bool changed = false;
  for (bool again = true; again;) {
    again = false;
    for (std::vector<Node*>& chain : chains(graph))
      if (Roller(graph, std::move(chain), context).run()) {
        again = changed = true;
        dead_code(graph, context);
        break;  // other chains may be part of the steps that rolled up
      }
  }
  return changed;
}

}  // namespace tintype
