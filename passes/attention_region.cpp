// Follows attention upwards from its second product.
#include "passes/attention_region.h"

#include "passes/patterns.h"

#include <algorithm>

namespace tintype {

namespace {

class Walk {
 public:
  explicit Walk(Node& context) : context_(context) {}

  std::optional<std::vector<Node*>> run() {
    const int rank = context_.result()->rank();
    if (!is_product(context_) || rank < 3) return std::nullopt;
    keys_ = rank - 1;
    Node* quotient = take(context_.operand(0), "div", 1);
    Node* exponentials = quotient == nullptr ? nullptr : take(quotient->operand(0), "exp", 2);
    Node* shifted = exponentials == nullptr ? nullptr : take(exponentials->operand(0), "sub", 1);
    if (shifted == nullptr ||
        !take_reduction(quotient->operand(1), "reduce_sum", exponentials->result()) ||
        !take_reduction(shifted->operand(1), "reduce_max", shifted->operand(0)) ||
        !take_scores(shifted->operand(0)))
      return std::nullopt;
    group_.push_back(&context_);
    return group_;
  }

 private:
  static bool is_product(const Node& n) {
    return n.is("dot") && n.attrs().integer("block") == 0 && n.result()->dtype() == DType::f32;
  }

  static bool used(const Value* v, size_t times) {
    return v->uses().size() == times && v->output_uses() == 0;
  }

  /// The node that makes v, when it has this op and so many users.
  Node* take(const Value* v, std::string_view op, size_t users) {
    Node* n = v->def();
    if (n == nullptr || !n->is(op) || !used(v, users)) return nullptr;
    group_.push_back(n);
    return n;
  }

  /// reduce(of) over the keys, or that bounded by a number.
  bool take_reduction(const Value* v, std::string_view op, const Value* of) {
    if (Node* bounded = v->def(); bounded != nullptr && bounded->is("max")) {
      const int number = constant_splat(bounded->operand(1)) ? 1 : 0;
      if (!constant_splat(bounded->operand(number)) || !is_one_element(bounded->operand(number)) ||
          !used(v, 1))
        return false;
      group_.push_back(bounded);
      v = bounded->operand(1 - number);
    }
    const Node* n = take(v, op, 1);
    return n != nullptr && n->operand(0) == of &&
           n->attrs().integers("axes") == std::vector<int64_t>{keys_};
  }

  /// From what the softmax reads to the first product, by pointwise ops of its shape.
  bool take_scores(const Value* v) {
    const Shape full = v->shape();
    for (size_t users = 2;; users = 1) {
      Node* n = v->def();
      if (n == nullptr || !used(v, users) || v->shape() != full || v->dtype() != DType::f32)
        return false;
      group_.push_back(n);
      if (is_product(*n)) return n->operand(0)->rank() >= 2;
      if (!n->op().has(kPointwise)) return false;
      v = next(*n, full);
      if (v == nullptr) return false;
    }
  }

  /// The operand that leads to a product; others may be of the same shape.
  static const Value* next(const Node& n, const Shape& full) {
    const auto leads = [&](const Value* v) {
      const Value* at = v;
      while (at->def() != nullptr && at->def()->op().has(kPointwise) && used(at, 1) &&
             at->shape() == full) {
        const auto operands = at->def()->operands();
        const auto found = std::find_if(operands.begin(), operands.end(),
                                        [&](const Value* o) { return o->shape() == full; });
        if (found == operands.end()) return false;
        at = *found;
      }
      return at->def() != nullptr && is_product(*at->def()) && used(at, 1) && at->shape() == full;
    };
    for (const Value* v : n.operands())
      if (leads(v)) return v;
    return nullptr;
  }

  Node& context_;
  int64_t keys_ = 0;
  std::vector<Node*> group_;
};

}  // namespace

std::optional<std::vector<Node*>> attention_group(Node& context) { return Walk(context).run(); }

}  // namespace tintype
