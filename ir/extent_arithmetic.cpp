// Quotients of extents, and floats: the nodes that make the operand of a cast are followed back to
// extents, with fractions for numbers.
#include "ir/extent_arithmetic.h"

#include "ir/builder.h"
#include "ir/ops/tables.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <string_view>

namespace tintype {

namespace {

/// over / under, with under positive.
struct Fraction {
  Dim over, under = 1;
};
using Fractions = std::optional<std::vector<Fraction>>;

/// Beyond these nobody computes extents.
constexpr int kMostSteps = 64;
constexpr size_t kMostNumbers = 16;

bool is_one_of(const Node& n, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), n.name()) != names.end();
}

/// A float that is not rounded: few binary places, and extents are small.
bool is_exact(const Fraction& f) {
  const Dim& d = f.under;
  return d.is_static() && d.value() > 0 && (d.value() & (d.value() - 1)) == 0;
}

/// A number of so few binary digits that its product with an extent has a place in an f32.
std::optional<Fraction> fraction_of(double value) {
  constexpr int kDigits = 10, kPlaces = 8;
  int exponent = 0;
  const double digits = std::ldexp(std::frexp(value, &exponent), kDigits);
  if (digits != std::floor(digits) || std::abs(value) >= 0x1p24) return std::nullopt;
  const double scaled = std::ldexp(value, kPlaces);
  if (scaled != std::floor(scaled)) return std::nullopt;
  auto over = static_cast<int64_t>(scaled);
  int64_t under = int64_t{1} << kPlaces;
  for (; under > 1 && over % 2 == 0; under /= 2) over /= 2;
  return Fraction{over, under};
}

std::optional<Fraction> quotient(const Fraction& a, const Fraction& b) {
  const auto least = b.over.lower_bound();
  if (!least || *least < 0 || b.over.is(0)) return std::nullopt;
  return Fraction{a.over * b.under, a.under * b.over};
}

std::optional<Fraction> power(const Fraction& a, const Fraction& b) {
  if (!a.over.is_static() || !b.over.is_static()) return std::nullopt;
  const auto number = [](const Fraction& f) {
    return static_cast<double>(f.over.value()) / static_cast<double>(f.under.value());
  };
  return fraction_of(std::pow(number(a), number(b)));
}

std::optional<Fraction> combined(const Node& n, const Fraction& a, const Fraction& b) {
  if (!is_exact(a) || !is_exact(b)) return std::nullopt;
  const Dim left = a.over * b.under, right = b.over * a.under, under = a.under * b.under;
  if (is_one_of(n, {"Add", "add"})) return Fraction{left + right, under};
  if (is_one_of(n, {"Sub", "sub"})) return Fraction{left - right, under};
  if (is_one_of(n, {"Mul", "mul"})) return Fraction{a.over * b.over, under};
  if (is_one_of(n, {"Div", "div"})) return quotient(a, b);
  return power(a, b);
}

/// Rounding a quotient of extents gives what it gives without the error of floats: other integers
/// than its own are further away.
std::optional<Fraction> rounded(const Node& n, const Fraction& a) {
  if (is_one_of(n, {"Ceil", "ceil"})) return Fraction{ceil_div(a.over, a.under)};
  if (is_one_of(n, {"Floor", "floor"})) return Fraction{floor_div(a.over, a.under)};
  if (is_one_of(n, {"Sqrt", "sqrt"})) return power(a, Fraction{1, 2});
  return is_float(n.result()->dtype()) ? a : Fraction{trunc_div(a.over, a.under)};
}

class Follower {
 public:
  Fractions follow(const Value* v) {
    if (v == nullptr || v->rank() > 1 || ++steps_ > kMostSteps) return std::nullopt;
    if (v->content()) return of_extents(*v->content());
    if (const Tensor* t = v->constant()) return of_constant(*t);
    const Node* n = v->def();
    if (n == nullptr || n->result_count() != 1) return std::nullopt;
    if (is_one_of(*n, {"Ceil", "Floor", "Sqrt", "Cast", "ceil", "floor", "sqrt", "cast"}))
      return of_one(*n);
    if (!is_float(v->dtype())) return std::nullopt;
    if (is_one_of(*n, {"Add", "Sub", "Mul", "Div", "Pow", "add", "sub", "mul", "div", "pow"}))
      return of_two(*n);
    if (is_one_of(*n, {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Concat", "Slice", "Gather",
                       "identity", "reshape", "concat", "slice", "gather"}))
      return moved(*n);
    return std::nullopt;
  }

 private:
  static Fractions of_extents(const std::vector<Dim>& extents) {
    if (extents.size() > kMostNumbers) return std::nullopt;
    std::vector<Fraction> out;
    for (const Dim& d : extents) out.push_back({d});
    return out;
  }

  static Fractions of_constant(const Tensor& t) {
    if (!is_float(t.dtype()) || t.size() > static_cast<int64_t>(kMostNumbers)) return std::nullopt;
    std::vector<Fraction> out;
    for (int64_t i = 0; i < t.size(); ++i) {
      const auto f = fraction_of(element_as_double(t, i));
      if (!f) return std::nullopt;
      out.push_back(*f);
    }
    return out;
  }

  Fractions of_one(const Node& n) {
    Fractions x = follow(n.operand(0));
    if (!x) return std::nullopt;
    for (Fraction& f : *x) {
      const auto y = rounded(n, f);
      if (!y) return std::nullopt;
      f = *y;
    }
    return x;
  }

  Fractions of_two(const Node& n) {
    const Fractions a = follow(n.operand(0)), b = follow(n.operand(1));
    if (!a || !b) return std::nullopt;
    const size_t count = std::max(a->size(), b->size());
    if ((a->size() != count && a->size() != 1) || (b->size() != count && b->size() != 1))
      return std::nullopt;
    std::vector<Fraction> out;
    for (size_t i = 0; i < count; ++i) {
      const auto y = combined(n, (*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
      if (!y) return std::nullopt;
      out.push_back(*y);
    }
    return out;
  }

  /// What moves floats moves integers the same way: inference says how.
  Fractions moved(const Node& n) {
    std::vector<std::vector<Fraction>> of(static_cast<size_t>(n.operand_count()));
    for (int i = 0; i < n.operand_count(); ++i) {
      if (n.operand(i) == nullptr || !is_float(n.operand(i)->dtype())) continue;
      const Fractions f = follow(n.operand(i));
      if (!f) return std::nullopt;
      of[static_cast<size_t>(i)] = *f;
    }
    const auto over = moved_integers(n, of, &Fraction::over);
    const auto under = moved_integers(n, of, &Fraction::under);
    if (!over || !under) return std::nullopt;
    std::vector<Fraction> out;
    for (size_t i = 0; i < over->size(); ++i) out.push_back({(*over)[i], (*under)[i]});
    return out;
  }

  static std::optional<std::vector<Dim>> moved_integers(
      const Node& n, const std::vector<std::vector<Fraction>>& of, Dim Fraction::*part) {
    Graph scratch("extents");
    std::vector<Value*> operands;
    for (int i = 0; i < n.operand_count(); ++i) {
      const Value* v = n.operand(i);
      if (v == nullptr) {
        operands.push_back(nullptr);
        continue;
      }
      const bool floats = is_float(v->dtype());
      operands.push_back(
          scratch.add_input(std::to_string(i), {floats ? DType::i64 : v->dtype(), v->shape()}));
      std::vector<Dim> content;
      for (const Fraction& f : of[static_cast<size_t>(i)]) content.push_back(f.*part);
      operands.back()->set_content(floats ? std::optional(std::move(content)) : v->content());
    }
    return Builder(scratch).create(n.name(), operands, n.attrs(), 1)->result()->content();
  }

  int steps_ = 0;
};

}  // namespace

std::optional<std::vector<int64_t>> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (!shape[i].is_static()) return std::nullopt;
    strides[i] = stride;
    if (__builtin_mul_overflow(stride, shape[i].value(), &stride)) return std::nullopt;
  }
  return strides;
}

std::optional<std::vector<Dim>> strided_content(const std::vector<Dim>& x, const Shape& shape,
                                                int64_t first,
                                                const std::vector<int64_t>& strides) {
  const Dim count = product(shape);
  if (!count.is_static() || count.value() > static_cast<int64_t>(ops::kMaxContent))
    return std::nullopt;
  std::vector<Dim> out;
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t i = 0; i < count.value(); ++i) {
    out.push_back(x[static_cast<size_t>(first)]);
    for (size_t axis = shape.size(); axis-- > 0;) {
      first += strides[axis];
      if (++index[axis] < shape[axis].value()) break;
      first -= index[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return out;
}

std::optional<std::vector<Dim>> broadcast_content(const Value& v, const Shape& shape) {
  const auto& x = v.content();
  const Shape& from = v.shape();
  auto strides = strides_of(from);
  if (!x || !strides || from.size() > shape.size()) return std::nullopt;
  for (size_t i = 0; i < from.size(); ++i)
    if (from[i].is(1)) (*strides)[i] = 0;
  strides->insert(strides->begin(), shape.size() - from.size(), 0);
  return strided_content(*x, shape, 0, *strides);
}

Dim trunc_div(const Dim& a, const Dim& b) {
  const Dim quotient = floor_div(max(a, Dim(0)), b);
  // What a has below zero counts only where it reaches b: exporters write (H - 1) / 2 + 1, and
  // H = 0 makes no -1 of the quotient.
  const auto low = a.lower_bound();
  if (low && provably_le(Dim(1) - Dim(*low), b)) return quotient;
  return quotient - floor_div(max(Dim(0) - a, Dim(0)), b);
}

std::optional<std::vector<Dim>> extents_through_floats(const Node& cast) {
  if (!is_one_of(cast, {"Cast", "cast"}) || !is_float(cast.operand(0)->dtype()) ||
      (cast.result()->dtype() != DType::i64 && cast.result()->dtype() != DType::i32))
    return std::nullopt;
  const Fractions known = Follower().follow(cast.result());
  if (!known) return std::nullopt;
  std::vector<Dim> extents;
  for (const Fraction& f : *known) extents.push_back(f.over);
  return extents;
}

}  // namespace tintype
