// recognize-attention: scaled dot product attention that was written out becomes the op.
//
//   MatMul(Softmax(MatMul(q, k^T) scale + mask), v) = Attention(q, k, v, mask)
//
// The scale may stand on q, on k, on both or behind the product, as factor or divisor; masks are
// added, or minus infinity takes the place of what they hide; k may be transposed by whatever means
// exporters find. Rows in which everything is hidden become zeros, which is what ONNX means by the
// op and PyTorch's exporters write out with IsNaN; a plain softmax makes NaNs of them.
#include "ir/builder.h"
#include "passes/known_value.h"
#include "passes/passes.h"
#include "passes/patterns.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

namespace tintype {

namespace {

/// The only element of a value that is known when compiling.
std::optional<double> known_number(const Value* v) {
  if (v == nullptr || !is_one_element(v)) return std::nullopt;
  const std::optional<Tensor> t = known_tensor(v);
  if (!t || t->size() != 1) return std::nullopt;
  return load_scalar(t->dtype(), static_cast<const std::byte*>(t->data()));
}

bool is_minus_infinity(const Value* v) {
  return known_number(v) == -std::numeric_limits<double>::infinity();
}

const Node* made_by(const Value* v, std::string_view op) {
  return v != nullptr && v->def() != nullptr && v->def()->is(op) ? v->def() : nullptr;
}

/// x s or x / s with a number s: x, with s or 1 / s multiplied to the scale.
Value* without_scale(Value* v, double& scale) {
  const Node* n = v->def();
  if (n == nullptr || !(n->is("Mul") || n->is("Div"))) return v;
  for (int i : {1, 0}) {
    if (i == 0 && n->is("Div")) break;
    const std::optional<double> s = known_number(n->operand(i));
    Value* x = n->operand(1 - i);
    if (!s || !(x->type() == v->type())) continue;
    scale = n->is("Mul") ? scale * *s : scale / *s;
    return x;
  }
  return v;
}

Perm swap_last(int rank) {
  Perm perm(static_cast<size_t>(rank));
  std::iota(perm.begin(), perm.end(), int64_t{0});
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return perm;
}

/// The perm of a Transpose, all of it.
Perm perm_of(const Node& transpose) {
  Perm reversed(static_cast<size_t>(transpose.result()->rank()));
  std::iota(reversed.rbegin(), reversed.rend(), int64_t{0});
  return transpose.attrs().integers("perm", reversed);
}

/// One candidate: the product with the values, and what is found on the way up from it.
class Candidate {
 public:
  Candidate(Graph& graph, Node& context) : graph_(graph), context_(context) {}

  /// The softmax whose result, guarded or not, is the left side of a product; or null.
  static const Node* softmax_before(const Node& product) {
    const Value* weights = product.operand(0);
    if (const Value* inner = guarded(weights)) weights = inner;
    return made_by(weights, "Softmax");
  }

  /// "" or the first thing that is in the way.
  std::string find() {
    const Node* softmax = softmax_before(context_);
    if (std::string why = check_weights(*softmax); !why.empty()) return why;
    Value* scores = softmax->operand(0);
    matched_.push_back(softmax);
    for (;;) {
      if (!scores->has_one_use()) return "its scores are used elsewhere: " + used(*scores);
      if (made_by(scores, "MatMul") != nullptr) break;
      Value* inside = without_mask(*scores);
      if (inside != nullptr && scale_ != 1) return "its mask is scaled, too";
      if (inside == nullptr) inside = without_scale(scores, scale_);
      if (inside == scores)
        return described(*scores) + " is neither a product, nor a scale, nor a mask";
      matched_.push_back(scores->def());
      scores = inside;
    }
    matched_.push_back(scores->def());
    q_ = without_scale(scores->def()->operand(0), scale_);
    kt_ = without_scale(scores->def()->operand(1), scale_);
    v_ = context_.operand(1);
    note_scale(scores->def()->operand(0), q_);
    note_scale(scores->def()->operand(1), kt_);
    return check_shapes(*scores);
  }

  /// Puts the op in place; "" or why that does not work.
  std::string replace(const PassContext& context) {
    Builder b(graph_, &context_);
    b.set_origins(context_.origins());
    std::vector<Value*> operands = {q_, keys(b), v_};
    if (Value* mask = joined_mask(b); mask != nullptr) operands.push_back(mask);
    AttrMap attrs = {{"scale", scale_}};
    if (q_->rank() == 3) {
      attrs.set("q_num_heads", int64_t{1});
      attrs.set("kv_num_heads", int64_t{1});
    }
    Node* now = b.create("Attention", operands, attrs);
    if (!(now->result()->type() == context_.result()->type())) {
      const std::string type = now->result()->type().text();
      drop(now);
      return "attention would be " + type + ", not " + context_.result()->type().text();
    }
    context.matched(context_, "is attention");
    for (const Node* n : matched_) now->add_origins(n->origins());
    Value* old = context_.result();
    now->result()->set_name(old->name());
    graph_.replace_all_uses(old, now->result());
    drop(&context_);
    return "";
  }

 private:
  /// s in Where(IsNaN(s), 0, s), or null.
  static const Value* guarded(const Value* v) {
    const Node* where = made_by(v, "Where");
    if (where == nullptr || known_number(where->operand(1)) != 0.0) return nullptr;
    const Node* test = made_by(where->operand(0), "IsNaN");
    const Value* s = where->operand(2);
    return test != nullptr && test->operand(0) == s ? s : nullptr;
  }

  static std::string used(const Value& v) { return v.def()->where() + " has " + users_text(v); }

  std::string check_weights(const Node& softmax) {
    const Value* weights = context_.operand(0);
    const Value* plain = softmax.result();
    const int64_t axis = softmax.attrs().integer("axis", -1);
    if (axis != -1 && axis != plain->rank() - 1)
      return "softmax " + softmax.where() + " is over axis " + std::to_string(axis) +
             ", not the last";
    if (!weights->has_one_use()) return "its weights are used elsewhere: " + used(*weights);
    if (weights == plain) return "";
    if (plain->uses().size() != 2 || plain->output_uses() != 0)
      return "its weights are used elsewhere: " + used(*plain);
    matched_.push_back(weights->def());
    matched_.push_back(weights->def()->operand(0)->def());
    return "";
  }

  /// What a mask was put on, or null. Only one side of an addition can lead to scores.
  Value* without_mask(const Value& v) {
    const Node* n = v.def();
    if (n == nullptr) return nullptr;
    if (n->is("Add")) {
      for (int i : {0, 1})
        if (leads_to_product(n->operand(i)) && n->operand(i)->type() == v.type()) {
          added_.push_back(n->operand(1 - i));
          return n->operand(i);
        }
    } else if (n->is("Where")) {
      for (int i : {1, 2})
        if (is_minus_infinity(n->operand(3 - i)) && leads_to_product(n->operand(i)) &&
            n->operand(i)->type() == v.type()) {
          hidden_.push_back({n->operand(0), i == 1});
          return n->operand(i);
        }
    }
    return nullptr;
  }

  static bool leads_to_product(const Value* v) {
    double scale = 1;
    while (v->def() != nullptr) {
      const Node& n = *v->def();
      if (n.is("MatMul")) return true;
      if (n.is("Add") || n.is("Where")) {
        const int first = n.is("Where") ? 1 : 0;
        return leads_to_product(n.operand(first)) || leads_to_product(n.operand(first + 1));
      }
      const Value* inside = without_scale(n.result(), scale);
      if (inside == v) return false;
      v = inside;
    }
    return false;
  }

  void note_scale(const Value* before, const Value* after) {
    if (before != after) matched_.push_back(before->def());
  }

  std::string check_shapes(const Value& scores) const {
    const int rank = scores.rank();
    if (rank != 3 && rank != 4)
      return "its operands have " + std::to_string(rank) + " axes, not 3 or 4";
    for (const Value* v : {static_cast<const Value*>(q_), static_cast<const Value*>(kt_),
                           static_cast<const Value*>(v_)}) {
      if (v->rank() != rank)
        return described(*v) + " has " + std::to_string(v->rank()) + " axes, the scores " +
               std::to_string(rank);
      if (v->dtype() != q_->dtype()) return "its operands have different element types";
      for (int i = 0; i + 2 < rank; ++i)
        if (!(v->shape()[static_cast<size_t>(i)] == scores.shape()[static_cast<size_t>(i)]))
          return described(*v) + " is " + v->type().text() + ", the scores are " +
                 scores.type().text();
    }
    std::vector<const Value*> masks(added_.begin(), added_.end());
    for (const auto& [mask, shown] : hidden_) masks.push_back(mask);
    for (const Value* mask : masks)
      if (mask->rank() < 2 || mask->rank() > rank ||
          !(mask->shape().back() == scores.shape().back()))
        return "mask " + described(*mask) + " of " + mask->type().text() +
               " is no matrix over the keys";
    return "";
  }

  // ---- construction -------------------------------------------------------------------------

  /// k from k^T, past whatever transposed it.
  Value* keys(Builder& b) {
    Value* k = transposed(b);
    const double before = scale_;
    Value* plain = without_scale(k, scale_);
    if (scale_ != before) note_scale(k, plain);
    return plain;
  }

  Value* transposed(Builder& b) {
    const Perm swap = swap_last(kt_->rank());
    if (const Node* t = made_by(kt_, "Transpose"))
      return permuted(b, t->operand(0), composed(perm_of(*t), swap));
    const Node* reshape = made_by(kt_, "Reshape");
    const Node* t = reshape == nullptr ? nullptr : made_by(reshape->operand(0), "Transpose");
    if (t == nullptr || perm_of(*t) != swap_last(t->result()->rank()) ||
        !splits_leading_axes(*reshape))
      return permuted(b, kt_, swap);
    Shape shape = kt_->shape();
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    Value* x = t->operand(0);
    // Exporters that join all but the last two axes to transpose those did so by another reshape.
    if (const Node* join = made_by(x, "Reshape");
        join != nullptr && join->operand(0)->shape() == shape)
      return join->operand(0);
    return b.make("Reshape", {x, b.dims(shape)});
  }

  /// True when the last two axes stay what they are.
  static bool splits_leading_axes(const Node& reshape) {
    const Shape &from = reshape.operand(0)->shape(), &to = reshape.result()->shape();
    return from.size() >= 2 && to.size() >= 2 && from.back() == to.back() &&
           from[from.size() - 2] == to[to.size() - 2];
  }

  static Value* permuted(Builder& b, Value* x, const Perm& perm) {
    return is_identity(perm) ? x : b.make("Transpose", {x}, {{"perm", perm}});
  }

  /// All that is added, in one; what is hidden where nothing is added stays boolean.
  Value* joined_mask(Builder& b) {
    Value *added = nullptr, *shown = nullptr;
    for (Value* mask : added_) added = added == nullptr ? mask : b.make("Add", {added, mask});
    for (const auto& [mask, where] : hidden_) {
      Value* keep = where ? mask : b.make("Not", {mask});
      shown = shown == nullptr ? keep : b.make("And", {shown, keep});
    }
    if (shown != nullptr && added != nullptr) {
      const DType t = added->dtype();
      Value* hide = b.scalar(-std::numeric_limits<double>::infinity(), t);
      added = b.make("Where", {shown, added, hide});
    }
    Value* mask = added != nullptr ? added : shown;
    // Three axes of operands are batch, queries, features of one head; a mask gets the head's axis.
    if (mask == nullptr || q_->rank() == 4 || mask->rank() < 3) return mask;
    return b.make("Unsqueeze", {mask, b.constant(Tensor::from<int64_t>({1}, {1}))});
  }

  static bool is_unused(const Node& n) {
    for (int i = 0; i < n.result_count(); ++i)
      if (!n.result(i)->uses().empty() || n.result(i)->output_uses() != 0) return false;
    return true;
  }

  /// Erases a node without users, and what only it used.
  void drop(Node* first) {
    std::vector<Node*> open = {first};
    while (!open.empty()) {
      Node* n = open.back();
      std::erase(open, n);
      if (!is_unused(*n)) continue;
      for (const Value* v : n->operands())
        if (v != nullptr && v->def() != nullptr) open.push_back(v->def());
      graph_.erase(n);
    }
  }

  Graph& graph_;
  Node& context_;
  Value *q_ = nullptr, *kt_ = nullptr, *v_ = nullptr;
  double scale_ = 1;
  std::vector<Value*> added_;
  std::vector<std::pair<Value*, bool>> hidden_;  ///< and whether it is true where scores stay
  std::vector<const Node*> matched_;
};

}  // namespace

bool recognize_attention(Graph& graph, PassContext& context) {
  std::vector<Node*> products;
  for (const auto& n : graph.nodes())
    if (n->is("MatMul") && Candidate::softmax_before(*n) != nullptr) products.push_back(n.get());
  bool changed = false;
  for (Node* n : products) {
    Candidate candidate(graph, *n);
    std::string why = candidate.find();
    if (why.empty()) why = candidate.replace(context);
    if (why.empty()) changed = true;
    else context.declined(*n, "no attention: " + why);
  }
  return changed;
}

}  // namespace tintype
