// Canonical arithmetic on extents.
#include "ir/dim.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <stdexcept>

namespace tintype {

namespace {

int64_t checked_add(int64_t a, int64_t b) {
  int64_t r = 0;
  if (__builtin_add_overflow(a, b, &r)) throw std::overflow_error("extent arithmetic overflows");
  return r;
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r)) throw std::overflow_error("extent arithmetic overflows");
  return r;
}

int64_t floor_div_int(int64_t a, int64_t b) {
  if (b == 0) throw std::domain_error("extent divided by zero");
  if (b == -1) return checked_mul(a, -1);
  const int64_t q = a / b;
  return (a % b != 0 && ((a < 0) != (b < 0))) ? q - 1 : q;
}

std::string atoms_text(const DimTerm& t) {
  std::string s;
  for (const auto& a : t.atoms) {
    if (!s.empty()) s += '*';
    s += a->text;
  }
  return s;
}

std::string poly_text(const std::vector<DimTerm>& terms) {
  // The constant term sorts first but reads better last: "2*N+1".
  std::string s;
  auto append = [&s](const DimTerm& t) {
    const std::string atoms = atoms_text(t);
    int64_t c = t.coefficient;
    if (!s.empty() && c > 0) s += '+';
    if (atoms.empty()) {
      s += std::to_string(c);
    } else {
      if (c == -1) s += '-';
      else if (c != 1) s += std::to_string(c) + "*";
      s += atoms;
    }
  };
  for (const auto& t : terms)
    if (!t.atoms.empty()) append(t);
  for (const auto& t : terms)
    if (t.atoms.empty()) append(t);
  return s.empty() ? "0" : s;
}

std::vector<DimTerm> terms_of(const Dim& d) {
  if (d.poly() != nullptr) return d.poly()->terms;
  if (d.value() == 0) return {};
  return {DimTerm{d.value(), {}}};
}

Dim from_terms(std::vector<DimTerm> terms);

Dim atom_dim(DimAtom atom) {
  switch (atom.kind) {
    case DimAtom::Kind::symbol: atom.text = atom.name; break;
    case DimAtom::Kind::floor_div:
      atom.text = "floordiv(" + atom.a.text() + "," + atom.b.text() + ")";
      break;
    case DimAtom::Kind::min: atom.text = "min(" + atom.a.text() + "," + atom.b.text() + ")"; break;
    case DimAtom::Kind::max: atom.text = "max(" + atom.a.text() + "," + atom.b.text() + ")"; break;
  }
  return from_terms({DimTerm{1, {std::make_shared<const DimAtom>(std::move(atom))}}});
}

}  // namespace

Dim make_dim(DimPoly poly) {
  Dim d;
  if (poly.terms.empty()) return d;
  if (poly.terms.size() == 1 && poly.terms[0].atoms.empty()) return {poly.terms[0].coefficient};
  poly.text = poly_text(poly.terms);
  d.poly_ = std::make_shared<const DimPoly>(std::move(poly));
  return d;
}

namespace {

/// Products of sums grow like powers, and texts of extents of extents like them: what is longer
/// than this was not meant by anyone.
constexpr size_t kMostTerms = 4096, kLongestText = 1 << 16;

[[noreturn]] void too_long() { throw std::overflow_error("an extent is too long an expression"); }

Dim from_terms(std::vector<DimTerm> terms) {
  if (terms.size() > kMostTerms) too_long();
  std::map<std::string, DimTerm> merged;
  for (auto& t : terms) {
    std::sort(t.atoms.begin(), t.atoms.end(),
              [](const auto& x, const auto& y) { return x->text < y->text; });
    auto [it, inserted] = merged.emplace(atoms_text(t), t);
    if (!inserted) it->second.coefficient = checked_add(it->second.coefficient, t.coefficient);
  }
  DimPoly p;
  size_t length = 0;
  for (auto& [text, t] : merged) {
    if (t.coefficient == 0) continue;
    if ((length += text.size()) > kLongestText) too_long();
    p.terms.push_back(std::move(t));
  }
  return make_dim(std::move(p));
}

/// term / divisor when exact: every atom of the divisor occurs and the coefficient divides.
std::optional<DimTerm> divide_exactly(const DimTerm& term, const DimTerm& divisor) {
  // The smallest integer has no quotient by -1.
  if (divisor.coefficient != -1 && term.coefficient % divisor.coefficient != 0) return std::nullopt;
  DimTerm q{floor_div_int(term.coefficient, divisor.coefficient), term.atoms};
  for (const auto& atom : divisor.atoms) {
    auto it = std::find_if(q.atoms.begin(), q.atoms.end(),
                           [&](const auto& a) { return a->text == atom->text; });
    if (it == q.atoms.end()) return std::nullopt;
    q.atoms.erase(it);
  }
  return q;
}

}  // namespace

Dim Dim::symbol(std::string name) {
  DimAtom atom;
  atom.kind = DimAtom::Kind::symbol;
  atom.name = std::move(name);
  return atom_dim(std::move(atom));
}

std::optional<std::string> Dim::symbol_name() const {
  if (poly_ == nullptr || poly_->terms.size() != 1) return std::nullopt;
  const DimTerm& t = poly_->terms[0];
  if (t.coefficient != 1 || t.atoms.size() != 1 || t.atoms[0]->kind != DimAtom::Kind::symbol)
    return std::nullopt;
  return t.atoms[0]->name;
}

std::optional<int64_t> Dim::evaluate(
    const std::function<std::optional<int64_t>(std::string_view)>& lookup) const {
  if (is_static()) return value_;
  int64_t sum = 0;
  for (const DimTerm& t : poly_->terms) {
    int64_t p = t.coefficient;
    for (const auto& atom : t.atoms) {
      std::optional<int64_t> v;
      if (atom->kind == DimAtom::Kind::symbol) {
        v = lookup(atom->name);
      } else {
        const auto a = atom->a.evaluate(lookup);
        const auto b = atom->b.evaluate(lookup);
        if (!a || !b) return std::nullopt;
        if (atom->kind == DimAtom::Kind::floor_div) v = floor_div_int(*a, *b);
        if (atom->kind == DimAtom::Kind::min) v = std::min(*a, *b);
        if (atom->kind == DimAtom::Kind::max) v = std::max(*a, *b);
      }
      if (!v) return std::nullopt;
      p = checked_mul(p, *v);
    }
    sum = checked_add(sum, p);
  }
  return sum;
}

void Dim::symbols(const std::function<void(const std::string&)>& visit) const {
  if (poly_ == nullptr) return;
  for (const DimTerm& t : poly_->terms)
    for (const auto& atom : t.atoms) {
      if (atom->kind == DimAtom::Kind::symbol) {
        visit(atom->name);
      } else {
        atom->a.symbols(visit);
        atom->b.symbols(visit);
      }
    }
}

std::optional<int64_t> Dim::lower_bound(int64_t least_symbol) const {
  if (is_static()) return value_;
  int64_t bound = 0;
  for (const DimTerm& t : poly_->terms) {
    if (t.atoms.empty()) {
      bound = checked_add(bound, t.coefficient);
      continue;
    }
    if (t.coefficient < 0) return std::nullopt;
    int64_t factor = t.coefficient;
    for (const auto& atom : t.atoms) {
      std::optional<int64_t> low;
      const auto a = atom->a.lower_bound(least_symbol);
      const auto b = atom->b.lower_bound(least_symbol);
      switch (atom->kind) {
        case DimAtom::Kind::symbol: low = least_symbol; break;
        case DimAtom::Kind::floor_div:
          if (a && atom->b.is_static() && atom->b.value() > 0)
            low = floor_div_int(*a, atom->b.value());
          else if (a && *a >= 0 && b && *b >= 0) low = 0;
          break;
        case DimAtom::Kind::min:
          if (a && b) low = std::min(*a, *b);
          break;
        case DimAtom::Kind::max:
          if (a && b) low = std::max(*a, *b);
          else low = a ? a : b;
          break;
      }
      if (!low || *low < 0) return std::nullopt;
      factor = checked_mul(factor, *low);
    }
    bound = checked_add(bound, factor);
  }
  return bound;
}

std::string Dim::text() const { return is_static() ? std::to_string(value_) : poly_->text; }

bool operator==(const Dim& a, const Dim& b) {
  if (a.is_static() != b.is_static()) return false;
  if (a.is_static()) return a.value_ == b.value_;
  return a.poly_ == b.poly_ || a.poly_->text == b.poly_->text;
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.is_static() && b.is_static()) return {checked_add(a.value_, b.value_)};
  if (a.is(0)) return b;
  if (b.is(0)) return a;
  std::vector<DimTerm> terms = terms_of(a);
  for (auto& t : terms_of(b)) terms.push_back(std::move(t));
  return from_terms(std::move(terms));
}

Dim operator-(const Dim& a, const Dim& b) { return a + Dim(int64_t{-1}) * b; }

Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_static() && b.is_static()) return {checked_mul(a.value_, b.value_)};
  if (a.is(1)) return b;
  if (b.is(1)) return a;
  std::vector<DimTerm> terms;
  const std::vector<DimTerm> left = terms_of(a), right = terms_of(b);
  if (left.size() * right.size() > kMostTerms) too_long();
  for (const DimTerm& x : left)
    for (const DimTerm& y : right) {
      DimTerm t{checked_mul(x.coefficient, y.coefficient), x.atoms};
      t.atoms.insert(t.atoms.end(), y.atoms.begin(), y.atoms.end());
      terms.push_back(std::move(t));
    }
  return from_terms(std::move(terms));
}

Dim floor_div(const Dim& a, const Dim& b) {
  if (a.is_static() && b.is_static()) return {floor_div_int(a.value(), b.value())};
  if (b.is(0)) throw std::domain_error("extent divided by zero");
  if (b.is(1)) return a;
  if (a == b) return {1};
  const std::vector<DimTerm> divisor = terms_of(b);
  if (divisor.size() == 1) {
    // Terms that the divisor divides leave the floor: floor((4N + r) / 4) = N + floor(r / 4).
    std::vector<DimTerm> quotient, rest;
    for (const DimTerm& t : terms_of(a)) {
      if (auto q = divide_exactly(t, divisor[0])) quotient.push_back(std::move(*q));
      else rest.push_back(t);
    }
    const Dim remainder = from_terms(std::move(rest));
    const Dim exact = from_terms(std::move(quotient));
    if (remainder.is(0)) return exact;
    if (remainder.is_static() && b.is_static())
      return exact + Dim(floor_div_int(remainder.value(), b.value()));
    if (!exact.is(0) && b.is_static() && b.value() > 0) return exact + floor_div(remainder, b);
  }
  DimAtom atom;
  atom.kind = DimAtom::Kind::floor_div;
  atom.a = a;
  atom.b = b;
  return atom_dim(std::move(atom));
}

Dim ceil_div(const Dim& a, const Dim& b) { return floor_div(a + b - Dim(1), b); }
Dim mod(const Dim& a, const Dim& b) { return a - b * floor_div(a, b); }
Dim round_up(const Dim& a, const Dim& b) { return ceil_div(a, b) * b; }

bool provably_le(const Dim& a, const Dim& b) {
  const auto low = (b - a).lower_bound();
  return low && *low >= 0;
}

Dim min(const Dim& a, const Dim& b) {
  if (provably_le(a, b)) return a;
  if (provably_le(b, a)) return b;
  DimAtom atom;
  atom.kind = DimAtom::Kind::min;
  atom.a = a.text() <= b.text() ? a : b;
  atom.b = a.text() <= b.text() ? b : a;
  return atom_dim(std::move(atom));
}

Dim max(const Dim& a, const Dim& b) {
  if (provably_le(a, b)) return b;
  if (provably_le(b, a)) return a;
  DimAtom atom;
  atom.kind = DimAtom::Kind::max;
  atom.a = a.text() <= b.text() ? a : b;
  atom.b = a.text() <= b.text() ? b : a;
  return atom_dim(std::move(atom));
}

Dim product(const Shape& shape) {
  Dim p = 1;
  for (const Dim& d : shape) p = p * d;
  return p;
}

std::string text_of(const Shape& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) s += ',';
    s += shape[i].text();
  }
  return s + "]";
}

namespace {

/// Recursive descent over  sum := product (('+'|'-') product)*,  product := factor (('*'|'/')
/// factor)*.
class DimParser {
 public:
  explicit DimParser(std::string_view text) : text_(text) {}

  std::optional<Dim> parse_all() {
    auto d = sum(0);
    skip_space();
    if (!d || pos_ != text_.size()) return std::nullopt;
    return d;
  }

 private:
  static constexpr int kMaxDepth = 64;

  void skip_space() {
    while (pos_ < text_.size() && text_[pos_] == ' ') ++pos_;
  }
  bool accept(char c) {
    skip_space();
    if (pos_ >= text_.size() || text_[pos_] != c) return false;
    ++pos_;
    return true;
  }

  std::optional<Dim> sum(int depth) {
    if (depth > kMaxDepth) return std::nullopt;
    auto d = term(depth);
    while (d) {
      const bool plus = accept('+');
      if (!plus && !accept('-')) break;
      auto e = term(depth);
      if (!e) return std::nullopt;
      d = plus ? *d + *e : *d - *e;
    }
    return d;
  }

  std::optional<Dim> term(int depth) {
    auto d = factor(depth);
    while (d) {
      const bool times = accept('*');
      if (!times && !accept('/')) break;
      auto e = factor(depth);
      if (!e || (!times && e->is(0))) return std::nullopt;
      d = times ? *d * *e : floor_div(*d, *e);
    }
    return d;
  }

  std::optional<Dim> factor(int depth) {
    if (depth > kMaxDepth) return std::nullopt;
    if (accept('-')) {
      auto d = factor(depth + 1);
      return d ? std::optional<Dim>(Dim(0) - *d) : std::nullopt;
    }
    if (accept('(')) {
      auto d = sum(depth + 1);
      return d && accept(')') ? d : std::nullopt;
    }
    skip_space();
    const size_t start = pos_;
    while (pos_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[pos_])) != 0 ||
                                   text_[pos_] == '_' || text_[pos_] == '.'))
      ++pos_;
    const std::string word(text_.substr(start, pos_ - start));
    if (word.empty()) return std::nullopt;
    if (std::isdigit(static_cast<unsigned char>(word[0])) != 0) {
      if (word.size() > 18 || word.find_first_not_of("0123456789") != std::string::npos)
        return std::nullopt;
      return Dim(static_cast<int64_t>(std::stoll(word)));
    }
    if (word == "floordiv" || word == "ceildiv" || word == "min" || word == "max")
      return call(word, depth);
    return Dim::symbol(word);
  }

  std::optional<Dim> call(const std::string& name, int depth) {
    if (!accept('(')) return Dim::symbol(name);
    auto a = sum(depth + 1);
    if (!a || !accept(',')) return std::nullopt;
    auto b = sum(depth + 1);
    if (!b || !accept(')')) return std::nullopt;
    if (name == "min") return min(*a, *b);
    if (name == "max") return max(*a, *b);
    if (b->is(0)) return std::nullopt;
    return name == "floordiv" ? floor_div(*a, *b) : ceil_div(*a, *b);
  }

  std::string_view text_;
  size_t pos_ = 0;
};

}  // namespace

std::optional<Dim> parse_dim(std::string_view text) {
  try {
    return DimParser(text).parse_all();
  } catch (const std::exception&) {
    return std::nullopt;  // overflow or division by zero inside the text
  }
}

}  // namespace tintype
