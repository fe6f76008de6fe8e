// sink-transposes: moves transposes below the ops that use them, where they cancel.
//
// Convolutions compute channels-last, models are written channels-first, so every convolution
// comes with a transpose on either side. One walk in topological order applies
//   f(transpose(x, p), ...) = transpose(f'(x, ...), p)
// to each op that has such an f'. A node is rewritten at most once and its transpose moves to a
// later place, so the walk ends; the transposes it leaves sit before ops with a fixed layout. A
// transpose that only a part of gets past a reshape, and that finds nothing to cancel there, goes
// back: one is less than two.
#include "passes/passes.h"
#include "passes/patterns.h"
#include "passes/sink_reshape.h"

#include <algorithm>
#include <numeric>

namespace tintype {

namespace {

bool is_transpose(const Value* v) { return v->def() != nullptr && v->def()->is("transpose"); }

Perm perm_of(const Value* v) { return v->def()->attrs().integers("perm"); }

bool is_transposed_by(const Value* v, const Perm& perm) {
  return is_transpose(v) && perm_of(v) == perm;
}

/// Keeps the leading axes and permutes the rest.
Perm extended(const Perm& perm, size_t rank) {
  Perm out(rank);
  std::iota(out.begin(), out.end(), int64_t{0});
  const size_t lead = rank - perm.size();
  for (size_t i = 0; i < perm.size(); ++i) out[lead + i] = perm[i] + static_cast<int64_t>(lead);
  return out;
}

class Sinker {
 public:
  Sinker(Graph& graph, PassContext& context) : graph_(graph), context_(context) {}

  bool run() {
    bool changed = false;
    for (Node* node : graph_.node_list()) {
      if (node->result_count() != 1 || node->operand_count() == 0 || node->op().has(kControl))
        continue;
      if (!any_transposed(*node)) continue;
      changed = visit(*node) || changed;
    }
    for (const Split& s : splits_) changed = keep_or_take_back(s) || changed;
    return changed;
  }

 private:
  /// A reshape whose transpose was taken apart, and what stands for its result meanwhile.
  struct Split {
    Node* reshape;
    Value* now;
  };

  static bool any_transposed(const Node& node) {
    for (Value* v : node.operands())
      if (v != nullptr && is_transpose(v)) return true;
    return false;
  }

  bool visit(Node& n) {
    if (n.is("transpose")) return merge(n);
    if (n.op().has(kPointwise)) return sink_many(n, n.result()->rank());
    if (n.is("concat")) return sink_many(n, n.result()->rank());
    if (!is_transpose(n.operand(0))) return false;
    if (n.is("dot")) return sink_dot(n);
    if (n.op().has(kReduction) || n.is("reverse")) return sink_axes(n);
    if (n.is("pad")) return sink_dims(n, {"before", "after"}, {});
    if (n.is("slice")) return sink_dims(n, {"starts", "sizes"}, {"steps"});
    if (n.is("dilate")) return sink_dims(n, {}, {"factors"});
    if (n.is("arg_max") || n.is("arg_min") || n.is("cumsum") || n.is("cumprod"))
      return sink_axis(n);
    if (n.is("gather") && n.operand(1)->rank() == 1) return sink_axis(n);
    if (n.is("broadcast")) return sink_broadcast(n);
    if (n.is("reshape")) return sink_reshape(n);
    context_.declined(n, std::string(n.name()) + " needs its operand in this layout");
    return false;
  }

  Builder builder_at(Node& n) {
    Builder b(graph_, &n);
    b.set_origins(n.origins());
    return b;
  }

  /// `now`, permuted, takes the place of the node.
  bool finish(Node& n, Builder& b, Value* now, const Perm& perm) {
    if (context_.explaining()) context_.matched(n, "transpose sunk below " + std::string(n.name()));
    replace_node(graph_, n, b.transpose(now, perm));
    return true;
  }

  // transpose(transpose(x, p), q) = transpose(x, p[q])
  bool merge(Node& n) {
    Node* first = n.operand(0)->def();
    Builder b = builder_at(n);
    const Perm perm = composed(perm_of(n.operand(0)), n.attrs().integers("perm"));
    if (context_.explaining())
      context_.matched(n, is_identity(perm) ? "cancels the transpose before it"
                                            : "merged with the transpose before it");
    Value* now = b.transpose(first->operand(0), perm);
    if (now->def() != nullptr && now->def()->is("transpose"))
      now->def()->add_origins(first->origins());
    replace_node(graph_, n, now);
    return true;
  }

  /// Cheap to bring into another layout, compared with the node's result.
  static bool is_cheap(const Node& n, const Value* v) {
    if (is_one_element(v) || depends_on_constants_only(v)) return true;
    if (n.is("concat")) return false;
    const Shape& full = n.result()->shape();
    if (v->rank() < static_cast<int>(full.size())) return true;
    for (size_t i = 0; i < full.size(); ++i)
      if (v->shape()[i].is(1) && !full[i].is(1)) return true;
    return false;
  }

  /// The permutation that most of the large operands carry; empty when none does.
  static Perm dominant_perm(const Node& n, int rank) {
    Perm best;
    int best_count = 0;
    for (Value* v : n.operands()) {
      if (v == nullptr || !is_transpose(v) || v->rank() != rank || is_cheap(n, v)) continue;
      const Perm perm = perm_of(v);
      int count = 0;
      for (Value* other : n.operands())
        if (other != nullptr && is_transposed_by(other, perm)) ++count;
      if (count > best_count) {
        best = perm;
        best_count = count;
      }
    }
    return best;
  }

  /// Transposes saved minus transposes made, of whole tensors.
  static int gain(const Node& n, const Perm& perm) {
    std::vector<Value*> seen;
    int removed = 0;
    int added = 0;
    for (Value* v : n.operands()) {
      if (v == nullptr || std::find(seen.begin(), seen.end(), v) != seen.end()) continue;
      seen.push_back(v);
      if (is_transposed_by(v, perm)) ++removed;
      else if (!is_cheap(n, v)) ++added;
    }
    if (added == 0) return 1;
    bool cancels = n.result()->output_uses() == 0;
    const Perm back = inverse(perm);
    for (const Use& u : n.result()->uses())
      cancels = cancels && u.node->is("transpose") && u.node->attrs().integers("perm") == back;
    return removed - added + (cancels ? 1 : -1);
  }

  /// u such that transpose(u, perm) stands for v among operands that broadcast to perm's rank.
  static Value* unpermuted(Builder& b, Value* v, const Perm& perm) {
    if (is_transposed_by(v, perm)) return v->def()->operand(0);
    if (is_one_element(v) && v->rank() <= 1) return v;
    const bool lower = v->rank() < static_cast<int>(perm.size());
    Shape shape(perm.size() - v->shape().size(), Dim(1));
    shape.insert(shape.end(), v->shape().begin(), v->shape().end());
    Value* u = b.transpose(b.reshape(v, shape), inverse(perm));
    if (!lower) return u;
    const auto first =
        std::find_if(u->shape().begin(), u->shape().end(), [](const Dim& d) { return !d.is(1); });
    return b.reshape(u, Shape(first, u->shape().end()));
  }

  // f(transpose(x, p), transpose(y, p), z) = transpose(f(x, y, transpose(z, inverse(p))), p)
  bool sink_many(Node& n, int rank) {
    const Perm perm = dominant_perm(n, rank);
    if (perm.empty()) {
      context_.declined(n, "no operand of the size of its result is transposed");
      return false;
    }
    if (gain(n, perm) <= 0) {
      context_.declined(n, "as many operands are in another layout");
      return false;
    }
    Builder b = builder_at(n);
    std::vector<Value*> operands;
    for (Value* v : n.operands()) operands.push_back(unpermuted(b, v, perm));
    AttrMap attrs = n.attrs();
    if (n.is("concat")) attrs.set("axis", perm[static_cast<size_t>(axis_of(n))]);
    Value* now = b.make(n.name(), operands, attrs);
    return finish(n, b, now, perm);
  }

  static int64_t axis_of(const Node& n) {
    const int64_t axis = n.attrs().integer("axis");
    return axis < 0 ? axis + n.operand(0)->rank() : axis;
  }

  // reduce(transpose(x, p), axes) = transpose(reduce(x, p[axes]), p)
  bool sink_axes(Node& n) {
    const Perm perm = perm_of(n.operand(0));
    std::vector<int64_t> axes = n.attrs().integers("axes");
    for (int64_t& a : axes)
      a = perm[static_cast<size_t>(a < 0 ? a + static_cast<int64_t>(perm.size()) : a)];
    std::sort(axes.begin(), axes.end());
    AttrMap attrs = n.attrs();
    attrs.set("axes", axes);
    return rebuild(n, attrs, perm, perm);
  }

  bool sink_axis(Node& n) {
    const Perm perm = perm_of(n.operand(0));
    AttrMap attrs = n.attrs();
    attrs.set("axis", perm[static_cast<size_t>(axis_of(n))]);
    return rebuild(n, attrs, perm, perm);
  }

  /// Attributes with one entry per axis follow their axes.
  bool sink_dims(Node& n, std::initializer_list<std::string_view> extents,
                 std::initializer_list<std::string_view> integers) {
    const Perm perm = perm_of(n.operand(0));
    AttrMap attrs = n.attrs();
    for (std::string_view name : extents)
      attrs.set(std::string(name), permuted(attrs.dims(name), inverse(perm)));
    for (std::string_view name : integers)
      attrs.set(std::string(name), composed(attrs.integers(name), inverse(perm)));
    return rebuild(n, attrs, perm, perm);
  }

  // dot(transpose(x, p), w) = transpose(dot(x, w), p) for a matrix w, when p keeps the last axis
  bool sink_dot(Node& n) {
    const Perm perm = perm_of(n.operand(0));
    const int64_t last = n.operand(0)->rank() - 1;
    if (n.operand(1)->rank() != 2 || n.attrs().integer("block") > 0 || perm.back() != last) {
      context_.declined(n, "dot needs its operand in this layout");
      return false;
    }
    return rebuild(n, n.attrs(), perm, perm);
  }

  // broadcast(transpose(x, p), shape) = transpose(broadcast(x, shape'), p'), p' over all axes
  bool sink_broadcast(Node& n) {
    const Shape shape = n.attrs().dims("shape");
    const Perm perm = extended(perm_of(n.operand(0)), shape.size());
    AttrMap attrs = n.attrs();
    attrs.set("shape", permuted(shape, inverse(perm)));
    return rebuild(n, attrs, perm_of(n.operand(0)), perm);
  }

  bool rebuild(Node& n, const AttrMap& attrs, const Perm& operand_perm, const Perm& result_perm) {
    Builder b = builder_at(n);
    std::vector<Value*> operands = n.operands();
    operands[0] = unpermuted(b, operands[0], operand_perm);
    Value* now = b.make(n.name(), operands, attrs);
    return finish(n, b, now, result_perm);
  }

  // reshape(transpose(x, p), shape) = transpose(reshape(transpose(x, inner), shape'), outer)
  bool sink_reshape(Node& n) {
    Value* x = n.operand(0)->def()->operand(0);
    const auto plan = plan_reshape(x->shape(), perm_of(n.operand(0)), n.attrs().dims("shape"));
    if (!plan) {
      context_.declined(n, "the transpose moves no axis as a whole through the reshape");
      return false;
    }
    Builder b = builder_at(n);
    Value* now = b.reshape(b.transpose(x, plan->inner), plan->shape);
    if (is_identity(plan->inner)) return finish(n, b, now, plan->outer);
    splits_.push_back({&n, b.transpose(now, plan->outer)});
    graph_.replace_all_uses(n.result(), splits_.back().now);
    return false;  // decided at the end of the walk
  }

  bool keep_or_take_back(const Split& s) {
    Value* now = s.now->def()->operand(0);
    const bool used = !s.now->uses().empty() || s.now->output_uses() != 0;
    const bool useless = used && now->has_one_use();
    if (!useless) {
      if (context_.explaining()) context_.matched(*s.reshape, "transpose sunk below reshape");
      if (s.now->name().empty()) s.now->set_name(s.reshape->result()->name());
      graph_.erase(s.reshape);
      return true;
    }
    context_.declined(*s.reshape, "only a part of the transpose moves through the reshape, and "
                                  "there is nothing behind it to cancel it");
    graph_.replace_all_uses(s.now, s.reshape->result());
    graph_.erase(s.now->def());
    while (now->uses().empty()) {
      Node* made = now->def();
      now = made->operand(0);
      graph_.erase(made);
    }
    return false;
  }

  Graph& graph_;
  PassContext& context_;
  std::vector<Split> splits_;
};

}  // namespace

bool sink_transposes(Graph& graph, PassContext& context) { return Sinker(graph, context).run(); }

}  // namespace tintype
