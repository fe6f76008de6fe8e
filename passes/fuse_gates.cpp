// fuse-gates: the products of a recurrent cell written by hand become one, and those with the
// inputs leave the loop.
//
// In the body of a scan:
//   (h W)[:, i:j]                    = h W[:, i:j]            all users cut columns out
//   h W1, h W2 ...                   = slices of h [W1, W2 ...], gates in front
//   f(x_t) W1, f(x_t) W2             = slices of f(x) [W1 W2]   one long product before the loop
// x_t are slices of x, and f whatever treats trips alike. The last of these takes products out of
// the loop, the second makes several one, the first makes narrower what the second then joins.
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "passes/all_steps.h"
#include "passes/passes.h"
#include "passes/patterns.h"
#include "passes/recurrent_chains.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tintype {

namespace {

class GateFuser {
 public:
  GateFuser(Graph& graph, Node& scan, PassContext& context)
      : graph_(graph), scan_(scan), body_(*scan.body()), context_(context) {}

  bool run() {
    bool changed = false;
    while (split_columns()) changed = true;
    while (may_hoist() && hoist_products()) changed = true;
    while (stack_products()) changed = true;
    return changed;
  }

 private:
  void report(const Node& n, const std::string& what) {
    if (context_.explaining()) context_.matched(n, what);
  }

  /// The same on every trip: an input behind the scanned ones, or made of such.
  bool is_invariant(const Value* v) const {
    if (v->def() == nullptr) return v->index() >= ScanView(scan_).first_invariant();
    if (v->def()->op().has(kImpure) || v->def()->body_count() > 0) return false;
    const auto operands = v->def()->operands();
    return std::all_of(operands.begin(), operands.end(),
                       [this](const Value* o) { return o == nullptr || is_invariant(o); });
  }

  /// dot(a, w) with one matrix w that is the same on every trip.
  bool is_product(const Node& n) const {
    return is_plain_product(n) && n.operand(1)->rank() == 2 && n.operand(0)->rank() >= 2 &&
           is_invariant(n.operand(1));
  }

  // ---- columns ------------------------------------------------------------------------------

  /// The columns that a slice cuts out, when it cuts nothing else.
  static std::optional<std::pair<Dim, Dim>> columns_of(const Node& n) {
    if (!n.is("slice") || n.operand(0)->rank() < 2) return std::nullopt;
    const Shape starts = n.attrs().dims("starts");
    if (n.attrs().integers("steps") != std::vector<int64_t>(starts.size(), 1)) return std::nullopt;
    for (size_t i = 0; i + 1 < starts.size(); ++i)
      if (!starts[i].is(0) || !(n.result()->shape()[i] == n.operand(0)->shape()[i]))
        return std::nullopt;
    return std::pair(starts.back(), n.result()->shape().back());
  }

  static bool only_columns_are_used(const Value& v) {
    return v.output_uses() == 0 && v.uses().size() > 1 &&
           std::all_of(v.uses().begin(), v.uses().end(),
                       [](const Use& u) { return columns_of(*u.node).has_value(); });
  }

  /// Moves the slices of a product, or of pointwise ops on top of one, towards the weights.
  bool split_columns() {
    for (Node* n : body_.node_list()) {
      if (n->result_count() != 1 || !only_columns_are_used(*n->result())) continue;
      const bool pointwise = n->op().has(kPointwise) && leads_to_product(*n);
      if (!pointwise && !is_product(*n)) continue;
      std::vector<Node*> users;
      for (const Use& u : n->result()->uses()) users.push_back(u.node);
      for (Node* slice : users) {
        const auto [start, size] = *columns_of(*slice);
        Builder b(body_, slice);
        b.set_origins(n->origins());
        std::vector<Value*> operands = n->operands();
        for (size_t i = 0; i < operands.size(); ++i)
          if (pointwise || i == 1)
            operands[i] = columns(b, operands[i], n->result()->shape(), start, size);
        replace_node(body_, *slice, b.make(n->name(), operands, n->attrs()));
      }
      report(*n, std::string(n->name()) + " is taken apart into the columns that are used");
      body_.erase(n);
      return true;
    }
    return false;
  }

  bool leads_to_product(const Node& n) const {
    const auto operands = n.operands();
    return std::any_of(operands.begin(), operands.end(), [this](const Value* v) {
      return v->def() != nullptr && v->has_one_use() &&
             (is_product(*v->def()) ||
              (v->def()->op().has(kPointwise) && v->rank() >= 2 && leads_to_product(*v->def())));
    });
  }

  /// The columns of an operand that broadcasts to `full`.
  static Value* columns(Builder& b, Value* v, const Shape& full, const Dim& start,
                        const Dim& size) {
    if (v->rank() == 0 || (v->shape().back().is(1) && !full.back().is(1))) return v;
    return b.slice_axis(v, v->rank() - 1, start, size);
  }

  // ---- stacking -----------------------------------------------------------------------------

  // dot(a, w1), dot(a, w2) ... = slices of dot(a[1, M, K], [w1, w2 ...][G, K, N])
  bool stack_products() {
    std::map<std::pair<const Value*, std::string>, std::vector<Node*>> siblings;
    std::vector<std::pair<const Value*, std::string>> order;
    for (Node* n : body_.node_list()) {
      if (!is_product(*n)) continue;
      const auto key =
          std::pair(static_cast<const Value*>(n->operand(0)), n->operand(1)->type().text());
      if (siblings[key].empty()) order.push_back(key);
      siblings[key].push_back(n);
    }
    for (const auto& key : order) {
      std::vector<Node*>& products = siblings[key];
      if (products.size() < 2) continue;
      if (products.size() > 8) {
        context_.declined(*products[0], "more than 8 products share their left side");
        continue;
      }
      stack(products);
      return true;
    }
    return false;
  }

  void stack(const std::vector<Node*>& products) {
    Node& last = *products.back();
    // All weights are there before the first product: they do not depend on the trip.
    Builder b(body_, products[0]);
    for (Node* n : products) last.add_origins(n->origins());
    b.set_origins(last.origins());
    std::vector<Value*> weights;
    for (Node* n : products) {
      hoist_before(n->operand(1), *products[0]);
      Shape one = n->operand(1)->shape();
      one.insert(one.begin(), Dim(1));
      weights.push_back(b.reshape(n->operand(1), one));
    }
    Value* left = products[0]->operand(0);
    const Dim rows = product(Shape(left->shape().begin(), left->shape().end() - 1));
    Value* all =
        b.make("dot", {b.reshape(left, {1, rows, left->shape().back()}), b.concat(weights, 0)});
    std::vector<Value*> gates;
    for (size_t i = 0; i < products.size(); ++i) {
      Value* gate = b.slice_axis(all, 0, static_cast<int64_t>(i), 1);
      gates.push_back(b.reshape(gate, products[i]->result()->shape()));
    }
    for (size_t i = 0; i < products.size(); ++i) replace_node(body_, *products[i], gates[i]);
    report(*all->def(),
           std::to_string(products.size()) + " products with the same left side are one");
  }

  /// Moves what an invariant is made of in front of a node.
  void hoist_before(Value* v, Node& before) {
    if (v->def() == nullptr) return;
    for (Value* o : v->def()->operands())
      if (o != nullptr) hoist_before(o, before);
    if (comes_after(*v->def(), before)) body_.move_before(v->def(), &before);
  }

  bool comes_after(const Node& n, Node& other) const {
    for (Node* m = body_.next(&other); m != nullptr; m = body_.next(m))
      if (m == &n) return true;
    return false;
  }

  // ---- projections --------------------------------------------------------------------------

  /// Known for all trips before the loop begins: slices, and what is made of them and of what is
  /// the same on every trip, one trip like the other.
  bool is_ahead(const Value* v) {
    if (const auto it = ahead_.find(v); it != ahead_.end()) return it->second;
    return ahead_[v] = find_ahead(v);
  }

  bool find_ahead(const Value* v) {
    const ScanView scan(scan_);
    if (v->def() == nullptr)
      return v->index() >= scan.states && v->index() < scan.first_invariant();
    const Node& n = *v->def();
    std::vector<bool> by_trip;
    for (const Value* o : n.operands()) {
      by_trip.push_back(is_ahead(o));
      if (!by_trip.back() && !(is_invariant(o) && can_leave(o))) return false;
    }
    return std::find(by_trip.begin(), by_trip.end(), true) != by_trip.end() &&
           can_repeat_for_all(n, by_trip);
  }

  /// The value of all trips, with an axis for them in front, made before the loop.
  Value* all_trips(Builder& b, const Value* v) {
    Value*& made = all_trips_[v];
    if (made != nullptr) return made;
    if (v->def() == nullptr) return made = scan_.operand(v->index());
    std::vector<Value*> operands;
    std::vector<bool> by_trip;
    for (const Value* o : v->def()->operands()) {
      by_trip.push_back(is_ahead(o));
      operands.push_back(by_trip.back() ? all_trips(b, o) : outside(b, o));
    }
    return made = repeat_for_all(b, *v->def(), operands, by_trip, ScanView(scan_).trips);
  }

  /// Segments of a loop compute again what would take memory for all steps (segment-scans).
  bool may_hoist() const {
    const auto nodes = body_.node_list();
    return std::none_of(nodes.begin(), nodes.end(), [](const Node* n) { return n->is("scan"); });
  }

  // dot(f(x_t), w1), dot(f(x_t), w2) ... = columns of (f(x) [w1 w2 ...])_t
  bool hoist_products() {
    ahead_.clear();
    all_trips_.clear();
    // Those that others are made of move along with these.
    std::vector<Node*> nodes = body_.node_list();
    for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
      Node* n = *it;
      if (!is_product(*n) || !is_ahead(n->operand(0))) continue;
      std::vector<Node*> products;
      for (const Use& u : n->operand(0)->uses()) {
        if (!is_product(*u.node) || u.operand != 0) continue;
        if (can_leave(u.node->operand(1))) products.push_back(u.node);
        else context_.declined(*u.node, "its weights are computed inside the loop");
      }
      if (products.empty()) continue;
      Builder b(graph_, &scan_);
      for (Node* p : products) n->add_origins(p->origins());
      report(*n, "the product for all trips is made before the loop");
      std::vector<Value*> weights;
      for (Node* p : products) weights.push_back(outside(b, p->operand(1)));
      Value* left = all_trips(b, n->operand(0));
      b.set_origins(n->origins());
      take_columns(products, add_scanned(scan_, b.make("dot", {left, b.concat(weights, 1)})));
      return true;
    }
    return false;
  }

  void take_columns(const std::vector<Node*>& products, Value* all) {
    Dim start = 0;
    for (Node* p : products) {
      Builder b(body_, p);
      b.set_origins(p->origins());
      const Dim size = p->result()->shape().back();
      replace_node(body_, *p, b.slice_axis(all, all->rank() - 1, start, size));
      start = start + size;
    }
  }

  /// An invariant that the loop is given, a constant, or either of them moved.
  bool can_leave(const Value* v) const {
    if (v->def() == nullptr || v->constant() != nullptr) return true;
    return v->def()->op().has(kMovement | kView) && v->def()->operand_count() == 1 &&
           can_leave(v->def()->operand(0));
  }

  /// The value in front of the loop that an invariant stands for.
  Value* outside(Builder& b, const Value* v) {
    if (v->def() == nullptr) return scan_.operand(v->index());
    b.set_origins(v->def()->origins());
    if (const Tensor* t = v->constant()) return b.constant(*t);
    Value* x = outside(b, v->def()->operand(0));
    b.set_origins(v->def()->origins());
    return b.make(v->def()->name(), {x}, v->def()->attrs());
  }

  Graph& graph_;
  Node& scan_;
  Graph& body_;
  PassContext& context_;
  std::unordered_map<const Value*, bool> ahead_;
  std::unordered_map<const Value*, Value*> all_trips_;
};

}  // namespace

bool fuse_gates(Graph& graph, PassContext& context) {
  bool changed = false;
  for (Node* n : graph.node_list())
    if (n->is("scan")) changed = GateFuser(graph, *n, context).run() || changed;
  return changed;
}

}  // namespace tintype
