// Einsum: sums of products over named axes, as matrix products of two operands at a time.
#include "ir/ops/decompose.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <string>
#include <vector>

namespace tintype::ops {

namespace {

/// Letters are their characters; axes of an ellipsis count from the innermost, -1, -2, ...
using Label = int;
using Labels = std::vector<Label>;

bool has(const Labels& labels, Label l) {
  return std::find(labels.begin(), labels.end(), l) != labels.end();
}

/// An operand, or the product of several, and what its axes are called.
struct Term {
  Value* value;
  Labels labels;
};

class Einsum {
 public:
  Einsum(Builder& b, const Node& n) : b_(b), n_(n) {
    for (const char c : n.attrs().string("equation"))
      if (c != ' ') equation_ += c;
  }

  Value* run() {
    parse();
    for (Term& t : terms_) {
      take_diagonals(t);
      sum_unneeded(t, others(&t));
    }
    Term product = terms_[0];
    for (size_t i = 1; i < terms_.size(); ++i) {
      Labels later = output_;
      for (size_t k = i + 1; k < terms_.size(); ++k)
        later.insert(later.end(), terms_[k].labels.begin(), terms_[k].labels.end());
      product = multiplied(product, terms_[i], later);
    }
    std::vector<int64_t> perm;
    for (const Label l : output_) perm.push_back(axis_of(product, l));
    Value* y = b_.transpose(product.value, perm);
    return y == n_.operand(0) ? b_.unary("identity", y) : y;
  }

 private:
  // ---- the equation -------------------------------------------------------------------------

  void parse() {
    const size_t arrow = equation_.find("->");
    const std::string inputs = equation_.substr(0, arrow);
    size_t start = 0;
    for (int i = 0; i < n_.operand_count(); ++i) {
      if (start > inputs.size()) wrong("it names fewer operands than there are");
      const size_t end = std::min(inputs.find(',', start), inputs.size());
      Value* v = n_.operand(i);
      terms_.push_back({v, labels_of(inputs.substr(start, end - start), v)});
      start = end + 1;
    }
    if (start <= inputs.size()) wrong("it names more operands than there are");
    for (const Term& t : terms_) note_extents(t);
    if (arrow == std::string::npos) imply_output();
    else output_ = labels_of(equation_.substr(arrow + 2), nullptr);
    for (const Label l : output_) {
      if (std::count(output_.begin(), output_.end(), l) > 1) wrong("its result repeats an axis");
      if (extents_.count(l) == 0) wrong("its result has an axis that no operand has");
    }
  }

  [[noreturn]] void wrong(const std::string& why) const {
    fail(n_, "equation '" + n_.attrs().string("equation") + "' does not fit: " + why);
  }

  /// Axes of a term; null stands for the result, whose ellipsis is as long as the longest.
  Labels labels_of(const std::string& text, const Value* v) {
    Labels labels;
    bool ellipsis = false;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text.compare(i, 3, "...") == 0) {
        if (ellipsis) wrong("a term has two ellipses");
        ellipsis = true;
        i += 2;
        const auto letters = static_cast<int>(text.size()) - 3;
        const int axes = v == nullptr ? longest_ellipsis_ : v->rank() - letters;
        if (axes < 0) wrong("operand " + v->type().text() + " has fewer axes than '" + text + "'");
        if (v != nullptr) longest_ellipsis_ = std::max(longest_ellipsis_, axes);
        for (int k = axes; k > 0; --k) labels.push_back(-k);
      } else if (std::isalpha(static_cast<unsigned char>(text[i])) != 0) {
        labels.push_back(text[i]);
      } else {
        wrong("'" + std::string(1, text[i]) + "' is no letter");
      }
    }
    if (v != nullptr && static_cast<int>(labels.size()) != v->rank())
      wrong("'" + text + "' has " + std::to_string(labels.size()) + " axes, operand " +
            v->type().text());
    return labels;
  }

  /// Without a result in the equation: the ellipsis, then what is named once, by the alphabet.
  void imply_output() {
    for (int k = longest_ellipsis_; k > 0; --k) output_.push_back(-k);
    std::map<Label, int> count;
    for (const Term& t : terms_)
      for (const Label l : t.labels) ++count[l];
    for (const auto& [label, times] : count)
      if (label > 0 && times == 1) output_.push_back(label);
  }

  /// Axes of the same name have one extent, except that 1 repeats.
  void note_extents(const Term& t) {
    for (size_t i = 0; i < t.labels.size(); ++i) {
      const Dim& d = t.value->shape()[i];
      const auto [it, fresh] = extents_.emplace(t.labels[i], d);
      if (fresh || d.is(1)) continue;
      if (it->second.is(1)) it->second = d;
      else if ((it->second - d).is_static() && !(it->second == d))
        wrong("an axis is " + it->second.text() + " in one operand and " + d.text() +
              " in another");
      else b_.graph().require_equal(it->second, d, n_.where() + ": axes of one name must agree");
    }
  }

  // ---- single terms -------------------------------------------------------------------------

  static int64_t axis_of(const Term& t, Label l) {
    return std::find(t.labels.begin(), t.labels.end(), l) - t.labels.begin();
  }

  /// Axes that other terms, or the result, still need.
  Labels others(const Term* but) const {
    Labels needed = output_;
    for (const Term& t : terms_)
      if (&t != but) needed.insert(needed.end(), t.labels.begin(), t.labels.end());
    return needed;
  }

  // x[i, i] = sum over j of (i = j ? x[i, j] : 0)
  void take_diagonals(Term& t) {
    for (size_t i = 0; i < t.labels.size(); ++i)
      for (size_t j = t.labels.size(); j-- > i + 1;) {
        if (t.labels[j] != t.labels[i]) continue;
        const auto place = [&](size_t axis) {
          Shape shape(t.labels.size(), Dim(1));
          shape[axis] = extents_.at(t.labels[axis]);
          return b_.make(
              "iota", {},
              {{"shape", shape}, {"axis", static_cast<int64_t>(axis)}, {"dtype", DType::i64}});
        };
        Value* on = b_.compare("eq", place(i), place(j));
        Value* kept = b_.select(on, t.value, b_.scalar(0, t.value->dtype()));
        drop(t, b_.reduce("reduce_sum", kept, {static_cast<int64_t>(j)}), j);
      }
  }

  /// The term without an axis that has been reduced.
  void drop(Term& t, Value* reduced, size_t axis) {
    t.value = b_.reshape(reduced, without_axes(reduced->shape(), {static_cast<int64_t>(axis)}));
    t.labels.erase(t.labels.begin() + static_cast<std::ptrdiff_t>(axis));
  }

  void sum_unneeded(Term& t, const Labels& needed) {
    for (size_t i = t.labels.size(); i-- > 0;)
      if (!has(needed, t.labels[i]))
        drop(t, b_.reduce("reduce_sum", t.value, {static_cast<int64_t>(i)}), i);
  }

  // ---- products -----------------------------------------------------------------------------

  /// Axes in this order; those that the term has not are left out.
  Value* arranged(const Term& t, const std::vector<const Labels*>& order) {
    std::vector<int64_t> perm;
    for (const Labels* part : order)
      for (const Label l : *part)
        if (has(t.labels, l)) perm.push_back(axis_of(t, l));
    return b_.transpose(t.value, perm);
  }

  Shape extents(const Labels& labels) const {
    Shape shape;
    for (const Label l : labels) shape.push_back(extents_.at(l));
    return shape;
  }

  /// Repeats axes that are 1 here and longer elsewhere.
  void widen(Term& t, const Labels& labels) {
    Shape shape = t.value->shape();
    for (const Label l : labels)
      if (Dim& d = shape[static_cast<size_t>(axis_of(t, l))]; d.is(1)) d = extents_.at(l);
    t.value = b_.broadcast(t.value, shape);
  }

  Term multiplied(Term x, Term y, const Labels& needed) {
    Labels batch, summed, left, right;
    for (const Label l : x.labels) {
      if (!has(y.labels, l)) left.push_back(l);
      else (has(needed, l) ? batch : summed).push_back(l);
    }
    for (const Label l : y.labels)
      if (!has(x.labels, l)) right.push_back(l);
    Term product = {nullptr, batch};
    product.labels.insert(product.labels.end(), left.begin(), left.end());
    product.labels.insert(product.labels.end(), right.begin(), right.end());
    widen(x, summed);
    widen(y, summed);
    if (summed.empty() || (left.empty() && right.empty())) {
      product.value = sum_of_products(x, y, product.labels, summed);
      return product;
    }
    Value* a = arranged(x, {&batch, &left, &summed});
    Value* c = arranged(y, {&batch, &summed, &right});
    const auto matrices = [&](Value* v, const Dim& rows, const Dim& columns) {
      Shape shape(v->shape().begin(),
                  v->shape().begin() + static_cast<std::ptrdiff_t>(batch.size()));
      shape.push_back(rows);
      shape.push_back(columns);
      return b_.reshape(v, std::move(shape));
    };
    const Dim rows = tintype::product(extents(left)), columns = tintype::product(extents(right)),
              inner = tintype::product(extents(summed));
    Value* dot = b_.make("dot", {matrices(a, rows, inner), matrices(c, inner, columns)});
    Shape shape(dot->shape().begin(), dot->shape().end() - 2);
    for (const Labels* part : {&left, &right})
      for (const Dim& d : extents(*part)) shape.push_back(d);
    product.value = b_.reshape(dot, std::move(shape));
    return product;
  }

  /// Where no matrix has more than one row or column.
  Value* sum_of_products(const Term& x, const Term& y, const Labels& kept, const Labels& summed) {
    Labels order = kept;
    order.insert(order.end(), summed.begin(), summed.end());
    const auto aligned = [&](const Term& t) {
      Value* v = arranged(t, {&order});
      Shape shape;
      for (const Label l : order)
        shape.push_back(has(t.labels, l) ? t.value->shape()[static_cast<size_t>(axis_of(t, l))]
                                         : Dim(1));
      return b_.reshape(v, std::move(shape));
    };
    Value* product = b_.mul(aligned(x), aligned(y));
    std::vector<int64_t> axes;
    for (size_t i = kept.size(); i < order.size(); ++i) axes.push_back(static_cast<int64_t>(i));
    Value* sum = b_.reduce("reduce_sum", product, axes);
    return b_.reshape(sum, without_axes(sum->shape(), axes));
  }

  Builder& b_;
  const Node& n_;
  std::string equation_;
  std::vector<Term> terms_;
  Labels output_;
  std::map<Label, Dim> extents_;
  int longest_ellipsis_ = 0;
};

Values einsum(Builder& b, const Node& n) { return {Einsum(b, n).run()}; }

constexpr AttrDef kEquation[] = {{"equation", AttrKind::string, true}};

constexpr OpDef kOps[] = {
    {.name = "Einsum",
     .min_operands = 1,
     .max_operands = -1,
     .attrs = kEquation,
     .traits = kOnnx,
     .decompose = einsum,
     .doc = "sum of products over axes that an equation names"},
};

}  // namespace

std::span<const OpDef> onnx_einsum() { return kOps; }

}  // namespace tintype::ops
