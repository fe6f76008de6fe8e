// merge-projections: with many sequences, a step of a recurrent cell multiplies its input itself.
//
//   before the loop: p = x w + b;   in it: p_t + h r   =   gate_products(x_t, w, h, r) + b
//
// One long product before the loop writes the projections of all steps, which then come back from
// memory while a step has to wait for them. With many sequences a step is bound by arithmetic
// either way; with few it is bound by reading r, and should not read w, too.
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "passes/passes.h"
#include "passes/patterns.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace tintype {

namespace {

/// transpose(reshape(x w + b)) of all steps: a scanned operand [steps, gates, rows, units].
struct Projection {
  Value* x = nullptr;  ///< [steps, rows, features]
  Value* w = nullptr;  ///< [features, gates * units], made of constants
  Value* b = nullptr;  ///< [gates * units], or null
};

/// Follows v up through a node of this op that nobody else reads; null when there is none.
Node* only(const Value* v, std::string_view op) {
  return v->def() != nullptr && v->def()->is(op) && v->has_one_use() ? v->def() : nullptr;
}

std::optional<Projection> projection_of(const Value* scanned) {
  Node* order = only(scanned, "transpose");
  if (order == nullptr || order->attrs().integers("perm") != std::vector<int64_t>{0, 2, 1, 3})
    return std::nullopt;
  Node* split = only(order->operand(0), "reshape");
  if (split == nullptr || split->operand(0)->rank() != 3) return std::nullopt;
  Projection p;
  Value* sum = split->operand(0);
  if (Node* add = only(sum, "add")) {
    const int bias = add->operand(1)->rank() == 1 ? 1 : 0;
    p.b = add->operand(bias);
    sum = add->operand(1 - bias);
    if (p.b->rank() != 1 || !(p.b->shape()[0] == sum->shape().back()) ||
        !depends_on_constants_only(p.b))
      return std::nullopt;
  }
  const Node* product = only(sum, "dot");
  if (product == nullptr || product->operand(0)->rank() != 3 || product->operand(1)->rank() != 2 ||
      !depends_on_constants_only(product->operand(1)))
    return std::nullopt;
  p.x = product->operand(0);
  p.w = product->operand(1);
  return p;
}

/// Where the gates of a cell meet: gate g of x, the projection, and of h r, which may have fewer.
struct Gates {
  Node* product = nullptr;        ///< h r
  std::vector<Node*> of_x, of_h;  ///< per gate its slice, or empty where both are added whole
  std::vector<Node*> sums;        ///< per gate of h r the sum of both slices, or null
  Node* whole = nullptr;          ///< the sum of all gates at once
};

/// The gate that a slice cuts out of [gates, rows, units]; -1 when it is no such slice.
int64_t gate_of(const Node& n) {
  if (!n.is("slice")) return -1;
  Shape one = n.operand(0)->shape();
  one[0] = 1;
  const Shape starts = n.attrs().dims("starts");
  return n.result()->shape() == one && starts[0].is_static() ? starts[0].value() : -1;
}

bool is_cell_product(const Value* v) {
  const Node* n = v->def();
  return n != nullptr && n->is("dot") && n->attrs().integer("block") == 0 &&
         n->operand(0)->rank() == 3 && n->operand(0)->shape()[0].is(1) &&
         n->operand(1)->rank() == 3 && depends_on_constants_only(n->operand(1));
}

/// One slice per gate of v, or nothing when it is used otherwise.
std::optional<std::vector<Node*>> slices_of(const Value* v) {
  std::vector<Node*> slices(static_cast<size_t>(v->shape()[0].value()));
  for (const Use& u : v->uses()) {
    const int64_t gate = gate_of(*u.node);
    if (gate < 0 || slices[static_cast<size_t>(gate)] != nullptr) return std::nullopt;
    slices[static_cast<size_t>(gate)] = u.node;
  }
  const bool all =
      v->output_uses() == 0 && std::find(slices.begin(), slices.end(), nullptr) == slices.end();
  return all ? std::optional(slices) : std::nullopt;
}

/// The only user of a slice, when it adds the other slice.
Node* sum_of(const Node& a, const Node& b) {
  const Value *x = a.result(), *y = b.result();
  if (!x->has_one_use() || !y->has_one_use() || x->uses().empty() || y->uses().empty())
    return nullptr;
  Node* sum = x->uses()[0].node;
  return sum->is("add") && sum == y->uses()[0].node ? sum : nullptr;
}

bool depends_on(const Value* v, const Value* x) {
  if (v == x) return true;
  if (v->def() == nullptr) return false;
  const auto operands = v->def()->operands();
  return std::any_of(operands.begin(), operands.end(),
                     [x](const Value* o) { return o != nullptr && depends_on(o, x); });
}

std::optional<Gates> gates_of(const Value* x) {
  Gates g;
  if (x->uses().size() == 1 && x->output_uses() == 0 && x->uses()[0].node->is("add")) {
    const Use use = x->uses()[0];
    Value* other = use.node->operand(1 - use.operand);
    if (!is_cell_product(other) || !other->has_one_use() || !(other->shape() == x->shape()) ||
        depends_on(other->def()->operand(0), x))
      return std::nullopt;
    g.product = other->def();
    g.whole = use.node;
    return g;
  }
  const auto of_x = slices_of(x);
  if (!of_x) return std::nullopt;
  // Some gate is added to the same gate of the product.
  for (const Node* slice : *of_x) {
    if (!slice->result()->has_one_use() || slice->result()->uses().empty()) continue;
    const Use use = slice->result()->uses()[0];
    if (!use.node->is("add")) continue;
    const Node* other = use.node->operand(1 - use.operand)->def();
    if (other != nullptr && gate_of(*other) >= 0 && is_cell_product(other->operand(0)))
      g.product = other->operand(0)->def();
  }
  if (g.product == nullptr) return std::nullopt;
  Shape sums = g.product->result()->shape();
  if (sums[0].value() > x->shape()[0].value()) return std::nullopt;
  sums[0] = x->shape()[0];
  const auto of_h = slices_of(g.product->result());
  if (!of_h || !(sums == x->shape()) || depends_on(g.product->operand(0), x)) return std::nullopt;
  g.of_x = *of_x;
  g.of_h = *of_h;
  for (size_t i = 0; i < g.of_h.size(); ++i) g.sums.push_back(sum_of(*g.of_x[i], *g.of_h[i]));
  return g;
}

/// The same nodes again in another graph, made of constants alone.
Value* repeated(Builder& b, const Value* v) {
  if (const Tensor* t = v->constant()) return b.constant(*t);
  std::vector<Value*> operands;
  for (const Value* o : v->def()->operands())
    operands.push_back(o == nullptr ? nullptr : repeated(b, o));
  return b.create(v->def()->name(), operands, v->def()->attrs(), v->def()->result_count())
      ->result(v->index());
}

class Merger {
 public:
  Merger(Node& scan, PassContext& context) : scan_(scan), body_(*scan.body()), context_(context) {}

  bool run(int64_t least_rows, const std::map<std::string, int64_t>& extents) {
    const ScanView scan(scan_);
    bool changed = false;
    for (int i = scan.states; i < scan.first_invariant(); ++i) {
      const Value* x = body_.inputs()[static_cast<size_t>(i)].get();
      if (x->rank() != 3 || !x->shape()[0].is_static() || x->shape()[0].is(1)) continue;
      const std::optional<Projection> p = projection_of(scan_.operand(i));
      const std::optional<Gates> gates = p ? gates_of(x) : std::nullopt;
      if (!gates) continue;
      if (rows_of(*x, extents) < least_rows) {
        context_.declined(scan_,
                          "with few sequences, reading weights takes longer than using them");
        continue;
      }
      merge(i, *p, *gates);
      changed = true;
    }
    return changed;
  }

 private:
  static int64_t rows_of(const Value& x, const std::map<std::string, int64_t>& extents) {
    return x.shape()[1]
        .evaluate([&](std::string_view name) -> std::optional<int64_t> {
          const auto it = extents.find(std::string(name));
          return it == extents.end() ? 1 : it->second;
        })
        .value_or(1);
  }

  /// Where the gates of h r go: to those of x, or behind them where the two do not meet.
  static std::vector<int64_t> places_of(const Gates& gates, int64_t count) {
    std::vector<int64_t> places;
    const int64_t own = gates.product->result()->shape()[0].value();
    for (int64_t g = 0; g < own; ++g) {
      const bool meet = gates.whole != nullptr || gates.sums[static_cast<size_t>(g)] != nullptr;
      places.push_back(meet ? g : count++);
    }
    return places;
  }

  void merge(int operand, const Projection& p, const Gates& gates) {
    const Value* old = body_.inputs()[static_cast<size_t>(operand)].get();
    const Dim count = old->shape()[0], units = old->shape()[2];
    Value* x = body_.add_input(old->name(),
                               {p.x->dtype(), Shape(p.x->shape().begin() + 1, p.x->shape().end())});
    Builder b(body_, gates.product);
    gates.product->add_origins(p.w->uses()[0].node->origins());
    b.set_origins(gates.product->origins());
    Value* w = b.reshape(repeated(b, p.w), {p.w->shape()[0], count, units});
    Value* bias = p.b == nullptr ? nullptr : b.reshape(repeated(b, p.b), {count, 1, units});
    const std::vector<int64_t> places = places_of(gates, count.value());
    Value* sums =
        b.make("gate_products",
               {b.reshape(x, {1, x->shape()[0], x->shape()[1]}), b.transpose(w, {1, 0, 2}),
                gates.product->operand(0), gates.product->operand(1)},
               {{"places", places}});
    if (gates.whole != nullptr) {
      replace_node(body_, *gates.whole, bias == nullptr ? sums : b.add(sums, bias));
    } else {
      for (size_t g = 0; g < gates.of_x.size(); ++g) {
        Value* of_x = b.slice_axis(sums, 0, static_cast<int64_t>(g), 1);
        if (bias != nullptr) of_x = b.add(of_x, b.slice_axis(bias, 0, static_cast<int64_t>(g), 1));
        if (g < places.size() && gates.sums[g] != nullptr) {
          replace_node(body_, *gates.sums[g], of_x);
          body_.erase(gates.of_x[g]);
          body_.erase(gates.of_h[g]);
          continue;
        }
        replace_node(body_, *gates.of_x[g], of_x);
        if (g < places.size())
          replace_node(body_, *gates.of_h[g], b.slice_axis(sums, 0, places[g], 1));
      }
    }
    body_.erase(gates.product);
    body_.erase_input(static_cast<size_t>(operand));
    body_.move_input(body_.inputs().size() - 1, static_cast<size_t>(operand));
    scan_.set_operand(operand, p.x);
    body_.sort();  // what reads gates of x alone may have come before the product
    context_.matched(scan_, "each step multiplies its input itself, which no product before the "
                            "loop then does");
  }

  Node& scan_;
  Graph& body_;
  PassContext& context_;
};

}  // namespace

bool merge_projections(Graph& graph, PassContext& context) {
  constexpr int64_t kLeastRows = 8;
  const int64_t least = context.integer("rows", kLeastRows);
  if (least == 0) return false;
  const auto extents = context.extents("extents");
  bool changed = false;
  for (Node* n : graph.node_list())
    if (n->is("scan")) changed = Merger(*n, context).run(least, extents) || changed;
  return changed;
}

}  // namespace tintype
