// simplify-control: gives loops and branches as little as possible to do and to carry.
//
//   if(true, x) = then(x)                 scan of one trip = its body
//   body(w), w constant outside           = body with the constant inside
//   f(w), w the same on every trip        = computed before the loop
//   a state that is never changed         = its initial value
//   results, operands that nobody reads   = left out
//   transpose(y), y stacked by a loop     = stacked transposed
//   x[trip], trip counted by the loop     = x cut into slices by it
// Each rule takes something away from a control node, or makes it vanish.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/ops/control.h"
#include "passes/all_steps.h"
#include "passes/passes.h"
#include "passes/patterns.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tintype {

namespace {

bool is_unused(const Value& v) { return v.uses().empty() && v.output_uses() == 0; }

class Simplifier {
 public:
  Simplifier(Graph& graph, PassContext& context) : graph_(graph), context_(context) {}

  bool run() {
    std::vector<Node*> control;  // a visit may erase other nodes behind it
    for (const auto& n : graph_.nodes())
      if (n->op().has(kControl)) control.push_back(n.get());
    bool changed = false;
    for (Node* n : control) changed = visit(*n) || changed;
    return changed;
  }

 private:
  bool visit(Node& n) {
    bool changed = false;
    for (bool again = true; again;) {
      again = drop_results(n) || transpose_outputs(n) || drop_steady_states(n) ||
              merge_invariants(n) || scan_gathers(n) || sink_constants(n) || hoist(n) ||
              drop_operands(n);
      changed = changed || again;
    }
    return inline_body(n) || changed;
  }

  void report(const Node& n, const std::string& what) {
    if (context_.explaining()) context_.matched(n, what);
  }

  /// Body input that operand i becomes; -1 for operands that are not passed on.
  static int input_of(const Node& n, int operand) { return n.is("scan") ? operand : operand - 1; }

  static int first_invariant(const Node& n) {
    if (n.is("scan")) return ScanView(n).first_invariant();
    return n.is("loop") ? LoopView::kStates + LoopView(n).states : 1;
  }

  static Value* inner(const Node& n, int operand, int body = 0) {
    return n.body(body)->inputs()[static_cast<size_t>(input_of(n, operand))].get();
  }

  static void erase_operand(Node& n, int operand) {
    for (int b = 0; b < n.body_count(); ++b)
      n.body(b)->erase_input(static_cast<size_t>(input_of(n, operand)));
    n.erase_operand(operand);
  }

  // ---- rules --------------------------------------------------------------------------------

  bool drop_results(Node& n) {
    const int states = n.is("scan") ? ScanView(n).states : 0;
    if (n.is("loop")) return false;  // its results are its states
    for (int i = n.result_count(); i-- > states;) {
      if (!is_unused(*n.result(i)) || n.result_count() == 1) continue;
      for (int b = 0; b < n.body_count(); ++b) n.body(b)->erase_output(static_cast<size_t>(i));
      n.erase_result(i);
      report(n, "leaves out an output that nobody reads");
      for (int b = 0; b < n.body_count(); ++b) {
        const PassContext::Inside inside(context_, n, b);
        dead_code(*n.body(b), context_);
      }
      return true;
    }
    return false;
  }

  /// An output whose only readers transpose it, all in the same way and step by step, is transposed
  /// inside: a kernel that writes it need not care where elements go.
  bool transpose_outputs(Node& n) {
    if (!n.is("scan")) return false;
    bool changed = false;
    for (int i = ScanView(n).states; i < n.result_count(); ++i) {
      Value* all = n.result(i);
      const std::optional<std::vector<int64_t>> perm = common_order(*all);
      Graph& body = *n.body();
      // What is a state as well would be written twice.
      if (!perm || body.output(static_cast<size_t>(i))->output_uses() > 1) continue;
      std::vector<int64_t> inner;
      for (size_t a = 1; a < perm->size(); ++a) inner.push_back((*perm)[a] - 1);
      Builder b(body);
      b.set_origins(n.origins());
      body.set_output(i, b.transpose(body.output(static_cast<size_t>(i)), inner));
      const std::vector<Use> uses = all->uses();
      all->set_type(uses[0].node->result()->type());
      for (const Use& u : uses) {
        graph_.replace_all_uses(u.node->result(), all);
        graph_.erase(u.node);
      }
      report(n, "an output is transposed step by step");
      changed = true;
    }
    if (changed) common_subexpressions(*n.body(), context_);
    return changed;
  }

  /// The order of axes that all readers give the value, if it leaves the first where it is.
  static std::optional<std::vector<int64_t>> common_order(const Value& v) {
    std::optional<std::vector<int64_t>> order;
    if (v.output_uses() != 0 || v.uses().empty()) return order;
    for (const Use& u : v.uses()) {
      if (!u.node->is("transpose")) return std::nullopt;
      const auto perm = u.node->attrs().integers("perm");
      if (perm[0] != 0 || (order && *order != perm)) return std::nullopt;
      order = perm;
    }
    return order;
  }

  /// A state whose next value is itself, or that is not even read: an invariant.
  bool drop_steady_states(Node& n) {
    if (n.is("if")) return false;
    const bool scan = n.is("scan");
    const int states = static_cast<int>(n.attrs().integer("states"));
    const int first = scan ? 0 : LoopView::kStates;
    Graph& body = *n.body();
    for (int i = 0; i < states; ++i) {
      Value* state = inner(n, first + i);
      const size_t out = static_cast<size_t>(i) + (scan ? 0 : 1);
      if (body.output(out) != state || n.result_count() == 1) continue;
      graph_.replace_all_uses(n.result(i), n.operand(first + i));
      n.erase_result(i);
      body.erase_output(out);
      n.attrs().set("states", static_cast<int64_t>(states - 1));
      move_to_end(n, first + i);
      report(n, "a state never changes");
      return true;
    }
    return false;
  }

  /// Operand and body input become the last invariant.
  static void move_to_end(Node& n, int operand) {
    Value* v = n.operand(operand);
    n.erase_operand(operand);
    n.add_operand(v);
    const auto at = static_cast<size_t>(input_of(n, operand));
    n.body()->move_input(at, n.body()->inputs().size() - 1);
  }

  bool merge_invariants(Node& n) {
    for (int i = first_invariant(n); i < n.operand_count(); ++i)
      for (int k = i + 1; k < n.operand_count(); ++k) {
        if (n.operand(i) != n.operand(k)) continue;
        for (int b = 0; b < n.body_count(); ++b)
          n.body(b)->replace_all_uses(inner(n, k, b), inner(n, i, b));
        erase_operand(n, k);
        return true;
      }
    return false;
  }

  bool sink_constants(Node& n) {
    for (int i = first_invariant(n); i < n.operand_count(); ++i) {
      const Value* v = n.operand(i);
      if (v->constant() == nullptr) continue;
      for (int b = 0; b < n.body_count(); ++b) {
        Graph& body = *n.body(b);
        Builder builder(body, body.nodes().empty() ? nullptr : body.nodes().front().get());
        Value* copy = builder.constant(*v->constant());
        copy->set_name(v->name());
        body.replace_all_uses(inner(n, i, b), copy);
      }
      erase_operand(n, i);
      return true;
    }
    return false;
  }

  /// gather(x, trip) with a scanned iota for the trip: the loop may as well hand out slices of x,
  /// whose products with weights can leave it (fuse-gates).
  bool scan_gathers(Node& n) {
    if (!n.is("scan")) return false;
    const ScanView scan(n);
    for (int i = scan.states; i < scan.first_invariant(); ++i) {
      if (!counts(*n.operand(i), scan.trips)) continue;
      for (const Use& u : inner(n, i)->uses()) {
        const Value* x = u.node->is("gather") && u.operand == 1 ? u.node->operand(0) : nullptr;
        if (x == nullptr || x->def() != nullptr || x->index() < scan.first_invariant()) continue;
        const int axis = normalize_axis(u.node->attrs().integer("axis"), x->rank(), "");
        if (!has_slices(x->shape()[static_cast<size_t>(axis)], scan.trips)) continue;
        cut_into_slices(n, *u.node, axis);
        return true;
      }
    }
    return false;
  }

  /// 0, 1, 2 ... up to the last trip.
  static bool counts(const Value& v, const Dim& trips) {
    return v.def() != nullptr && v.def()->is("iota") && v.rank() == 1 && v.shape()[0] == trips;
  }

  static bool has_slices(const Dim& extent, const Dim& trips) {
    if (extent == trips) return true;
    return extent.is_static() && trips.is_static() && extent.value() > trips.value();
  }

  void cut_into_slices(Node& n, Node& gather, int axis) {
    const ScanView scan(n);
    Builder b(graph_, &n);
    b.set_origins(gather.origins());
    Value* x = n.operand(gather.operand(0)->index());
    std::vector<int64_t> perm = {axis};
    for (int64_t a = 0; a < x->rank(); ++a)
      if (a != axis) perm.push_back(a);
    Value* slices = b.transpose(b.slice_axis(x, axis, 0, scan.trips), perm);
    Value* slice = add_scanned(n, slices);
    report(gather, "the loop hands out slices of what it was indexed with");
    replace_node(*n.body(), gather, slice);
  }

  bool drop_operands(Node& n) {
    const int first = n.is("scan") ? ScanView(n).states : first_invariant(n);
    for (int i = first; i < n.operand_count(); ++i) {
      bool unused = true;
      for (int b = 0; b < n.body_count(); ++b) unused = unused && is_unused(*inner(n, i, b));
      if (!unused) continue;
      if (n.is("scan") && i < ScanView(n).first_invariant())
        n.attrs().set("scanned", n.attrs().integer("scanned") - 1);
      erase_operand(n, i);
      return true;
    }
    return false;
  }

  /// Moves what depends on invariants alone in front of a loop. Branches may not be taken at all,
  /// so nothing leaves them.
  bool hoist(Node& n) {
    if (n.is("if")) return false;
    Graph& body = *n.body();
    std::unordered_map<const Value*, Value*> outer;
    for (int i = first_invariant(n); i < n.operand_count(); ++i) outer[inner(n, i)] = n.operand(i);
    bool changed = false;
    for (Node* m : body.node_list()) {
      if (!is_invariant(*m, outer)) continue;
      Builder b(graph_, &n);
      b.set_origins(m->origins());
      std::vector<Value*> operands;
      for (Value* v : m->operands()) {
        if (v == nullptr) operands.push_back(nullptr);
        else if (const Tensor* t = v->constant()) operands.push_back(b.constant(*t));
        else operands.push_back(outer.at(v));
      }
      const Node* moved = b.create(m->name(), operands, m->attrs(), m->result_count());
      for (int i = 0; i < m->result_count(); ++i) {
        Value* input = body.add_input("", m->result(i)->type());
        n.add_operand(moved->result(i));
        body.replace_all_uses(m->result(i), input);
        outer[input] = moved->result(i);
      }
      if (context_.explaining())
        context_.matched(*m, std::string(m->name()) + " is the same on every trip");
      body.erase(m);
      changed = true;
    }
    return changed;
  }

  static bool is_invariant(const Node& m, const std::unordered_map<const Value*, Value*>& outer) {
    if (m.op().has(kImpure | kControl) || m.body_count() > 0) return false;
    bool depends = false;
    for (Value* v : m.operands()) {
      if (v == nullptr || v->constant() != nullptr) continue;
      if (outer.count(v) == 0) return false;
      depends = true;
    }
    return depends;
  }

  // ---- inlining -----------------------------------------------------------------------------

  static std::optional<int> body_taken(const Node& n) {
    if (n.is("scan") && ScanView(n).trips.is(1)) return 0;
    if (!n.is("if") || n.operand(0)->constant() == nullptr) return std::nullopt;
    return n.operand(0)->constant()->values<uint8_t>()[0] != 0 ? 0 : 1;
  }

  bool inline_body(Node& n) {
    const std::optional<int> taken = body_taken(n);
    if (!taken) {
      if (context_.explaining()) explain_rest(n);
      return false;
    }
    const Graph& body = *n.body(*taken);
    Builder b(graph_, &n);
    std::unordered_map<const Value*, Value*> map;
    const int states = n.is("scan") ? ScanView(n).states : 0;
    const int invariants = first_invariant(n);
    for (size_t i = 0; i < body.inputs().size(); ++i) {
      const int operand = static_cast<int>(i) + (n.is("scan") ? 0 : 1);
      Value* v = n.operand(operand);
      b.set_origins(n.origins());
      const bool sliced = n.is("scan") && operand >= states && operand < invariants;
      map[body.inputs()[i].get()] =
          sliced ? b.reshape(v, Shape(v->shape().begin() + 1, v->shape().end())) : v;
    }
    for (const auto& m : body.nodes()) copy_node(*m, n, map);
    for (const DimConstraint& c : body.constraints())
      graph_.require_equal(c.left, c.right, c.message);
    for (int i = 0; i < n.result_count(); ++i) {
      Value* v = map.at(body.output(static_cast<size_t>(i)));
      b.set_origins(n.origins());
      if (n.is("scan") && i >= states) v = b.reshape(v, n.result(i)->shape());
      graph_.replace_all_uses(n.result(i), v);
    }
    report(n, n.is("if") ? "the condition is constant" : "one trip needs no loop");
    graph_.erase(&n);
    return true;
  }

  /// For a node to which no rule applies any more: what each of them lacks.
  void explain_rest(const Node& n) const {
    if (n.is("if"))
      return context_.declined(n, "not its branch: the condition is " + described(*n.operand(0)));
    if (n.is("scan"))
      context_.declined(n, "not its body: it has " + ScanView(n).trips.text() + " trips");
    std::unordered_map<const Value*, Value*> outer;
    for (int i = first_invariant(n); i < n.operand_count(); ++i) outer[inner(n, i)] = n.operand(i);
    for (const auto& m : n.body()->nodes())
      for (const Value* v : m->operands()) {
        if (v == nullptr || v->constant() != nullptr || outer.count(v) != 0) continue;
        context_.declined(*m, std::string(m->name()) + " stays in " + n.where() + ": " +
                                  described(*v) + " changes from trip to trip");
        break;
      }
  }

  void copy_node(const Node& m, Node& before, std::unordered_map<const Value*, Value*>& map) {
    std::vector<Value*> operands;
    for (Value* v : m.operands()) operands.push_back(v == nullptr ? nullptr : map.at(v));
    Node* copy = graph_.create(m.op(), operands, m.attrs(), m.result_count(), &before);
    copy->set_origins(m.origins());
    for (int i = 0; i < m.body_count(); ++i) copy->add_body(m.body(i)->clone());
    for (int i = 0; i < m.result_count(); ++i) {
      copy->result(i)->set_type(m.result(i)->type());
      copy->result(i)->set_name(m.result(i)->name());
      copy->result(i)->set_content(m.result(i)->content());
      map[m.result(i)] = copy->result(i);
    }
  }

  Graph& graph_;
  PassContext& context_;
};

}  // namespace

bool simplify_control(Graph& graph, PassContext& context) {
  return Simplifier(graph, context).run();
}

}  // namespace tintype
