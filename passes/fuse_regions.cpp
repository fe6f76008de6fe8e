// fuse-regions: groups core ops into regions, each of which becomes one kernel.
//
// A region is an anchor (contraction, window, reductions over the same axes) with the pointwise ops
// around it, or pointwise ops alone; views, concats, margins and host ops stay outside. Regions
// grow from anchors along pointwise users until a single value leaves the group, or the new values
// of several states. With `single-ops` every op is its own region: the unfused reference program.
#include "passes/passes.h"

#include "ir/builder.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "passes/attention_region.h"
#include "passes/dependency_search.h"
#include "passes/node_set.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

bool is_scalar_constant(const Value* v) {
  const Tensor* t = v->constant();
  return t != nullptr && t->size() == 1;
}

/// Leaves that cost nothing to compute inside a kernel.
bool is_leaf(const Node& n) {
  return n.is("iota") || (n.is("constant") && is_scalar_constant(n.result()));
}

bool is_view_node(const Node& n) { return n.op().has(kView) || n.is("reverse"); }

class Fuser {
 public:
  Fuser(Graph& graph, int max_ops, bool single_ops, bool attention, const PassContext& context)
      : graph_(graph), max_ops_(max_ops), single_ops_(single_ops),
        attention_(attention && !single_ops), context_(context), numbers_(graph), taken_(numbers_),
        inside_(numbers_), search_(numbers_, inside_), seen_(numbers_),
        group_of_(graph.size(), kNoGroup) {
    for (const State& state : graph.states()) {
      const Value* next = graph.output(static_cast<size_t>(state.next));
      while (next->def() != nullptr && next->def()->is("reshape")) next = next->def()->operand(0);
      next_states_.insert(next);
    }
  }

  int run() {
    const std::vector<Node*> nodes = graph_.node_list();
    // Both products of attention in one kernel: what lies between them need not be written out.
    for (Node* n : nodes)
      if (attention_ && n->is("dot"))
        if (auto g = attention_group(*n); g && g->size() <= static_cast<size_t>(max_ops_))
          add_group(std::move(*g));
    for (Node* n : nodes)
      if (is_anchor(*n) && !taken(n)) add_group(grow_from_anchor(n));
    // Once every anchor has what follows it, so that none loses its bias to the users of its
    // result.
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (is_attention(groups_[i])) continue;
      absorb_producers_of_tail(groups_[i]);
      for (const Node* n : groups_[i]) group_of_[number(n)] = i;
    }
    for (Node* n : nodes)
      if (!taken(n) && (n->op().has(kPointwise) || needs_kernel(*n))) add_group(grow_pointwise(n));
    for (const auto& g : groups_) wrap(g);
    graph_.sort();
    drop_unused_leaves();
    return static_cast<int>(groups_.size());
  }

 private:
  using Group = std::vector<Node*>;
  static constexpr size_t kMostResults = 12;  ///< of the kernel of a step
  static constexpr size_t kNoGroup = static_cast<size_t>(-1);
  using Allowed = std::function<bool(const Node&)>;
  using Closed = std::function<bool(const std::vector<Value*>& open)>;

  static bool is_anchor(const Node& n) {
    return n.op().has(kContraction | kWindow | kReduction | kKernel | kTileTransform);
  }

  uint32_t number(const Node* n) const { return numbers_.of(n); }
  bool taken(const Node* n) const { return taken_.has(n); }

  static bool may_crop(const Node& pad) {
    for (const char* side : {"before", "after"})
      for (const Dim& d : pad.attrs().dims(side))
        if (d.lower_bound().value_or(-1) < 0) return true;
    return false;
  }

  /// Movement that is neither a view nor a margin of its producer's buffer.
  static bool needs_kernel(const Node& n) {
    if (n.is("gather") || n.is("dilate") || n.is("random_bits") || n.is("pack")) return true;
    if (n.is("iota"))
      return std::any_of(n.result()->uses().begin(), n.result()->uses().end(),
                         [](const Use& u) { return !u.node->op().has(kPointwise); }) ||
             n.result()->output_uses() != 0;
    if (!n.is("pad")) return false;
    const Node* source = n.operand(0)->def();
    return n.attrs().string("mode", "constant") != "constant" || source == nullptr ||
           source->is("constant") || is_view_node(*source) || source->op().has(kHostOnly) ||
           may_crop(n) || (n.operand(1) != nullptr && n.operand(1)->constant() == nullptr);
  }

  // ---- growing ------------------------------------------------------------------------------

  Group grow_from_anchor(Node* anchor) {
    if (single_ops_ || anchor->op().has(kKernel)) return {anchor};
    if (anchor->op().has(kReduction)) return grow_rows(anchor);
    if (is_cell(*anchor)) return grow_cell(anchor);
    const Shape shape = anchor->result()->shape();
    return grow(anchor, [shape](const Node& n) {
      return n.op().has(kPointwise) && n.result()->shape() == shape;
    });
  }

  /// Pulls in pointwise ops that only the ops behind the anchor of a group read.
  void absorb_producers_of_tail(Group& g) {
    Node* anchor = *std::find_if(g.begin(), g.end(), [](Node* n) { return is_anchor(*n); });
    if (single_ops_ || anchor->op().has(kKernel | kReduction) || is_cell(*anchor)) return;
    // What the anchor reads is read once per tap: computing it there would repeat it.
    absorb_producers(g, anchor->result()->shape(), anchor);
    arrange(g);
  }

  void arrange(Group& g) {
    std::sort(g.begin(), g.end(), [this](Node* a, Node* b) { return number(a) < number(b); });
    for (Node* n : g) taken_.insert(n);
  }

  /// A product with several matrices, one per gate: gates are slices of its first axis.
  static bool is_cell(const Node& n) {
    const Shape& sums = n.result()->shape();
    if (!(n.is("dot") || n.is("gate_products")) || sums.size() != 3 || sums[0].is(1) ||
        !sums[0].is_static())
      return false;
    std::vector<const Value*> open = {n.result()};
    while (!open.empty()) {
      const Value* v = open.back();
      open.pop_back();
      for (const Use& u : v->uses()) {
        if (is_gate(*u.node, sums)) return true;
        if (u.node->op().has(kPointwise) && u.node->result()->shape() == sums)
          open.push_back(u.node->result());
      }
    }
    return false;
  }

  static bool is_gate(const Node& n, const Shape& sums) {
    if (!n.is("slice") || n.operand(0)->shape() != sums) return false;
    Shape gate = sums;
    gate[0] = 1;
    return n.result()->shape() == gate;
  }

  /// All gates and what they are combined to, with as many results as there are: each has the shape
  /// of one gate.
  Group grow_cell(Node* anchor) {
    const Shape sums = anchor->result()->shape();
    Shape gate = sums;
    gate[0] = 1;
    const Shape matrix(sums.begin() + 1, sums.end());  // a gate without its axis of one
    const auto fits = [&](const Node& n) {
      if (is_gate(n, sums)) return true;
      const Shape& shape = n.result()->shape();
      if (n.is("reshape")) return n.operand(0)->shape() == gate && shape == matrix;
      return n.op().has(kPointwise) && (shape == sums || shape == gate || shape == matrix);
    };
    Group g = grow(anchor, fits, [&](const std::vector<Value*>& open) {
      return open.size() <= kMostResults &&
             std::all_of(open.begin(), open.end(), [&](const Value* v) {
               return (v->shape() == gate || v->shape() == matrix) &&
                      v->shape() == open[0]->shape() && v->def()->op().has(kPointwise);
             });
    });
    absorb_small_producers(g, matrix);
    return g;
  }

  /// Pulls in pointwise ops of a smaller shape that only the group reads: masks, say.
  void absorb_small_producers(Group& g, const Shape& shape) {
    gather_inside(g);
    for (size_t i = 0; i < g.size() && static_cast<int>(g.size()) < max_ops_; ++i)
      for (Value* v : g[i]->operands()) {
        Node* p = v == nullptr ? nullptr : v->def();
        if (p == nullptr || taken(p) || !p->op().has(kPointwise) || v->output_uses() != 0 ||
            inside_.has(p))
          continue;
        bool fits = true, smaller = false;
        for (size_t d = 0; d < v->shape().size(); ++d) {  // from the innermost axis
          const Dim& own = v->shape()[v->shape().size() - 1 - d];
          const bool inside = d < shape.size() && own == shape[shape.size() - 1 - d];
          fits = fits && (own.is(1) || inside);
          smaller = smaller || !inside;
        }
        if (!smaller && v->shape().size() >= shape.size()) continue;
        if (fits && only_used_inside(*v)) add(g, p);
      }
  }

  Group grow_rows(Node* seed) {
    const Shape full = seed->operand(0)->shape();
    const Shape reduced = seed->result()->shape();
    const auto axes = seed->attrs().integers("axes");
    auto fits = [full, reduced, axes](const Node& n) {
      if (n.op().has(kReduction))
        return n.operand(0)->shape() == full && n.attrs().integers("axes") == axes;
      return n.op().has(kPointwise) &&
             (n.result()->shape() == full || n.result()->shape() == reduced);
    };
    Group g = grow(seed, fits, [&](const std::vector<Value*>& open) { return open.size() == 1; });
    absorb_producers(g, full);
    return g;
  }

  Group grow_pointwise(Node* seed) {
    if (single_ops_) return {seed};
    const Shape shape = seed->result()->shape();
    if (context_.in_body()) return grow_step(seed, shape);
    Group g = grow(seed, [shape](const Node& n) {
      if (n.op().has(kPointwise)) return n.result()->shape() == shape;
      // A padded value that is only cut into shifted windows, as in local response normalisation.
      const auto& uses = n.result()->uses();
      if (n.is("pad"))
        return n.attrs().string("mode", "constant") == "constant" &&
               std::all_of(uses.begin(), uses.end(),
                           [](const Use& u) { return u.node->is("slice"); });
      return n.is("slice") && n.operand(0)->def() != nullptr && n.operand(0)->def()->is("pad");
    });
    // What is picked at other indices comes along: interpolation is a weighted sum of such.
    if (seed->is("gather")) absorb_producers(g, shape);
    absorb_decayed_states(g, shape);
    return g;
  }

  /// All pointwise ops of a step that depend on each other, with as many results as there are: what
  /// a step computes is small, and every kernel costs its start.
  Group grow_step(Node* seed, const Shape& shape) {
    const auto fits = [&](const Node& n) {
      return n.op().has(kPointwise) && n.result()->shape() == shape;
    };
    Group g = grow(seed, fits,
                   [&](const std::vector<Value*>& open) { return open.size() <= kMostResults; });
    absorb_producers(g, shape);
    return closes_a_circle(g) ? Group{seed} : g;
  }

  /// The group depends on itself through others: with several results, two groups may each wait for
  /// the other.
  bool closes_a_circle(const Group& g) {
    gather_inside(g);
    seen_.clear();
    std::vector<const Node*> open(g.begin(), g.end());
    while (!open.empty()) {
      const Node* n = open.back();
      open.pop_back();
      for (const Value* v : n->operands()) {
        const Node* def = v == nullptr ? nullptr : v->def();
        if (def == nullptr || (inside_.has(def) && inside_.has(n))) continue;
        if (inside_.has(def)) return true;
        const size_t other = group_of_[number(def)];
        if (other == kNoGroup) {
          if (seen_.insert(def)) open.push_back(def);
        } else {
          for (const Node* m : groups_[other])
            if (seen_.insert(m)) open.push_back(m);
        }
      }
    }
    return false;
  }

  /// Pulls in what is made of a state alone and read by the group alone: moments that fade. Apart,
  /// it would be written out, and the update could not run before it.
  void absorb_decayed_states(Group& g, const Shape& full) {
    gather_inside(g);
    for (size_t i = 0; i < g.size() && static_cast<int>(g.size()) < max_ops_; ++i)
      for (Value* v : g[i]->operands()) {
        Node* p = v == nullptr ? nullptr : v->def();
        if (p == nullptr || taken(p) || !p->op().has(kPointwise) || !(v->shape() == full) ||
            v->output_uses() != 0 || inside_.has(p))
          continue;
        const auto operands = p->operands();
        const bool of_states = std::all_of(operands.begin(), operands.end(), [this](Value* o) {
          return graph_.state_of(o) != nullptr || is_scalar_constant(o);
        });
        if (of_states && only_used_inside(*v)) add(g, p);
      }
  }

  // inside_ is the group at hand: gather_inside makes it so, add keeps it so.

  void gather_inside(const Group& g) {
    inside_.clear();
    for (const Node* n : g) inside_.insert(n);
  }

  void add(Group& g, Node* n) {
    g.push_back(n);
    inside_.insert(n);
  }

  bool only_used_inside(const Value& v) const {
    return std::all_of(v.uses().begin(), v.uses().end(),
                       [this](const Use& u) { return inside_.has(u.node); });
  }

  /// Values of the group at hand that are used outside it.
  std::vector<Value*> leaving(const Group& g) const {
    std::vector<Value*> open;
    for (Node* n : g)
      for (int i = 0; i < n->result_count(); ++i)
        if (Value* v = n->result(i); v->output_uses() != 0 || !only_used_inside(*v))
          open.push_back(v);
    return open;
  }

  /// The largest group found from which one value leaves, or next values of states alone: what an
  /// optimizer makes of a gradient.
  Group grow(Node* seed, const Allowed& allowed) {
    return grow(seed, allowed, [&](const std::vector<Value*>& open) {
      if (open.size() != 1) return is_anchor(*seed) && are_updates(open);
      return open[0]->def()->op().has(kPointwise) || open[0]->def() == seed ||
             is_anchor(*open[0]->def());
    });
  }

  /// Only behind what makes the gradient: it then takes no memory at all. An update of momentum
  /// that waited for the last reader of the weights would keep its gradient as long.
  bool are_updates(const std::vector<Value*>& open) const {
    constexpr size_t kMostStates = 4;
    return open.size() <= kMostStates && std::all_of(open.begin(), open.end(), [&](const Value* v) {
             return next_states_.count(v) != 0 && v->def()->op().has(kPointwise) &&
                    v->shape() == open[0]->shape();
           });
  }

  Group grow(Node* seed, const Allowed& allowed, const Closed& closed) {
    Group group = {seed};
    gather_inside(group);
    search_.begin(*seed);
    size_t best = 1;
    while (static_cast<int>(group.size()) < max_ops_) {
      const std::vector<Value*> open = leaving(group);
      if (closed(open)) best = group.size();
      Node* next = first_user(open, allowed);
      if (next == nullptr) break;
      add(group, next);
    }
    group.resize(best);
    return group;
  }

  /// The first node, in the graph's order, that may join the group at hand.
  Node* first_user(const std::vector<Value*>& open, const Allowed& allowed) {
    const auto later = [this](const Node* a, const Node* b) { return number(a) > number(b); };
    std::vector<Node*> users;
    for (const Value* v : open)
      for (const Use& u : v->uses())
        if (!inside_.has(u.node) && !taken(u.node) && allowed(*u.node)) users.push_back(u.node);
    std::make_heap(users.begin(), users.end(), later);
    while (!users.empty()) {
      Node* n = users.front();
      if (search_.obstacle(*n) == nullptr) return n;
      std::pop_heap(users.begin(), users.end(), later);
      users.pop_back();
    }
    return nullptr;
  }

  /// Pulls in pointwise producers and gathers that nobody outside the group reads, nor `except`: an
  /// anchor whose kernel addresses the other operands by its own positions, so that gathers, which
  /// go elsewhere, stay outside, too.
  void absorb_producers(Group& g, const Shape& full, const Node* except = nullptr) {
    gather_inside(g);
    bool changed = true;
    while (changed && static_cast<int>(g.size()) < max_ops_) {
      changed = false;
      for (size_t i = 0; i < g.size() && !changed; ++i)
        for (int k = 0; k < g[i]->operand_count() && !changed; ++k) {
          const Value* v = g[i]->operand(k);
          Node* p = v == nullptr ? nullptr : v->def();
          const bool fits =
              p != nullptr && (p->op().has(kPointwise) || (p->is("gather") && except == nullptr));
          if (!fits || taken(p) || inside_.has(p) || p->result()->output_uses() != 0 ||
              p->result()->shape() != full)
            continue;
          const auto& uses = p->result()->uses();
          changed = std::all_of(uses.begin(), uses.end(), [&](const Use& u) {
            return u.node != except && inside_.has(u.node);
          });
          if (changed) add(g, p);
        }
    }
  }

  void add_group(Group g) {
    arrange(g);
    if (context_.explaining() && !single_ops_) explain(g);
    for (const Node* n : g) group_of_[number(n)] = groups_.size();
    groups_.push_back(std::move(g));
  }

  /// What the region is, and for each user of its results why it is not inside.
  void explain(const Group& g) {
    const std::string name = region_name(g);
    context_.matched(*g.front(), "region " + name + " of " + std::to_string(g.size()) + " ops");
    gather_inside(g);
    search_.begin(*g.front());
    std::unordered_set<const Node*> told(g.begin(), g.end());
    for (const Value* v : leaving(g))
      for (const Use& u : v->uses())
        if (told.insert(u.node).second && (u.node->op().has(kPointwise) || is_anchor(*u.node)))
          context_.declined(*u.node, std::string(u.node->name()) + " is not in region " + name +
                                         ": " + why_outside(*u.node, *v, g));
  }

  std::string why_outside(const Node& n, const Value& v, const Group& g) {
    if (is_anchor(n)) return "it starts a region of its own";
    if (taken(&n)) return "another region has it";
    if (static_cast<int>(g.size()) >= max_ops_)
      return "the region has max-ops=" + std::to_string(max_ops_) + " ops";
    if (n.result()->shape() != v.shape())
      return "its result is " + n.result()->type().text() + ", the region's " + v.type().text();
    if (search_.obstacle(n) != nullptr) return "another operand depends on the region";
    return "more than one value would leave the region";
  }

  // ---- wrapping -----------------------------------------------------------------------------

  /// The only regions with two products.
  static bool is_attention(const Group& g) {
    return std::count_if(g.begin(), g.end(), [](const Node* n) { return n->is("dot"); }) == 2;
  }

  static std::string region_name(const Group& g) {
    if (is_attention(g)) return "attention";
    std::string name;
    std::string last;
    for (const Node* n : g) {
      if (n->name() == last || n->is("slice")) continue;
      last = n->name();
      if (name.size() + last.size() > 48) return name + "_etc";
      name += (name.empty() ? "" : "_") + last;
    }
    return name;
  }

  void wrap(const Group& g) {
    gather_inside(g);
    std::vector<Value*> results = leaving(g);
    if (results.empty()) return;  // dead code
    // A kernel of its own computes all that it is made for.
    if (g.size() == 1 && g[0]->op().has(kKernel)) results = all_results(*g[0]);
    const size_t distinct = results.size();
    if (is_cell(*g.front())) add_repeated_outputs(results);
    auto body = std::make_unique<Graph>(region_name(g));
    std::unordered_map<const Value*, Value*> map;
    std::vector<Value*> operands;
    // The kernel of a plugin's op reads its operands from memory, whatever they are.
    const bool leaves_inside = !(g[0]->op().has(kKernel) && is_added(g[0]->op()));
    auto import = [&](Value* v) -> Value* {
      if (v == nullptr) return nullptr;
      if (auto it = map.find(v); it != map.end()) return it->second;
      Value* inner = nullptr;
      if (v->def() != nullptr && is_leaf(*v->def()) && leaves_inside) {
        Node* leaf = body->create(v->def()->op(), {}, v->def()->attrs(), 1);
        inner = leaf->result();
        inner->set_type(v->type());
      } else {
        inner = body->add_input("a" + std::to_string(operands.size()), v->type());
        operands.push_back(v);
      }
      return map[v] = inner;
    };
    for (Node* n : g) {
      std::vector<Value*> inner;
      for (Value* v : n->operands()) inner.push_back(import(v));
      Node* copy = body->create(n->op(), inner, n->attrs(), n->result_count());
      copy->set_origins(n->origins());
      for (int i = 0; i < n->result_count(); ++i) {
        copy->result(i)->set_type(n->result(i)->type());
        map[n->result(i)] = copy->result(i);
      }
    }
    for (size_t i = 0; i < results.size(); ++i)
      body->add_output("r" + std::to_string(i), map.at(results[i]));
    Node* region = graph_.create(op("region"), operands, {{"name", region_name(g)}},
                                 static_cast<int>(results.size()));
    for (Node* n : g) region->add_origins(n->origins());
    region->add_body(std::move(body));
    for (size_t i = 0; i < results.size(); ++i) {
      Value* r = region->result(static_cast<int>(i));
      r->set_type(results[i]->type());
      r->set_name(results[i]->name());
      r->set_content(results[i]->content());
      if (i < distinct) graph_.replace_all_uses(results[i], r);
      else move_last_output(region->result(index_of(results, results[i])), r);
    }
    for (auto it = g.rbegin(); it != g.rend(); ++it) graph_.erase(*it);
  }

  static std::vector<Value*> all_results(const Node& n) {
    std::vector<Value*> all;
    for (int i = 0; i < n.result_count(); ++i) all.push_back(n.result(i));
    return all;
  }

  /// What a step hands on as its state and stacks as well becomes two results: the kernel stores it
  /// twice, which costs less than a copy on every trip.
  static void add_repeated_outputs(std::vector<Value*>& results) {
    const std::vector<Value*> distinct = results;
    for (Value* v : distinct)
      for (int more = v->output_uses() - 1; more > 0; --more) results.push_back(v);
  }

  static int index_of(const std::vector<Value*>& list, const Value* v) {
    return static_cast<int>(std::find(list.begin(), list.end(), v) - list.begin());
  }

  void move_last_output(const Value* from, Value* to) {
    for (size_t i = graph_.output_count(); i-- > 0;)
      if (graph_.output(i) == from) return graph_.set_output(static_cast<int>(i), to);
  }

  void drop_unused_leaves() {
    for (Node* n : graph_.node_list())
      if (is_leaf(*n) && n->result()->uses().empty() && n->result()->output_uses() == 0)
        graph_.erase(n);
  }

  Graph& graph_;
  int max_ops_;
  bool single_ops_, attention_;
  const PassContext& context_;
  std::unordered_set<const Value*> next_states_;
  const NodeNumbers numbers_;
  NodeSet taken_, inside_;
  DependencySearch search_;  ///< for the group at hand
  NodeSet seen_;
  std::vector<Group> groups_;
  std::vector<size_t> group_of_;  ///< by number of the node
};

}  // namespace

bool fuse_regions(Graph& graph, PassContext& context) {
  return Fuser(graph, static_cast<int>(context.integer("max-ops", 64)),
               context.flag("single-ops", false), context.flag("attention", true), context)
             .run() > 0;
}

}  // namespace tintype
