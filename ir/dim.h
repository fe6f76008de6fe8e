// Extents as expressions: integers, named symbols, and arithmetic on them in canonical form.
//
// A Dim is a polynomial with integer coefficients over atoms; an atom is a symbol or a floor
// division, minimum or maximum of Dims. Canonical form makes equality a structural question, so
// "is this the same extent?" needs no solver. Symbols stand for extents and are never negative.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

struct DimPoly;
struct DimAtom;

/// Immutable value; copying is cheap. Thread-safe.
class Dim {
 public:
  Dim() : Dim(0) {}
  Dim(int64_t value) : value_(value) {}  // NOLINT(google-explicit-constructor)
  Dim(int value) : value_(value) {}      // NOLINT(google-explicit-constructor)
  static Dim symbol(std::string name);

  bool is_static() const { return poly_ == nullptr; }
  /// The integer; only for a static Dim.
  int64_t value() const { return value_; }
  bool is(int64_t v) const { return is_static() && value_ == v; }
  /// The name, when this is exactly one symbol.
  std::optional<std::string> symbol_name() const;
  /// Terms of a non-static Dim (null when static).
  const DimPoly* poly() const { return poly_.get(); }

  /// Value with symbols replaced; `lookup` returns nothing for a symbol it does not know.
  std::optional<int64_t> evaluate(
      const std::function<std::optional<int64_t>(std::string_view)>& lookup) const;
  /// Calls `visit` with the name of each symbol mentioned (repeats possible).
  void symbols(const std::function<void(const std::string&)>& visit) const;
  /// A value this Dim can not fall below, if one is evident, where no symbol is below
  /// `least_symbol`.
  std::optional<int64_t> lower_bound(int64_t least_symbol = 0) const;
  /// "N", "2*N+1", "floordiv(H+5,2)"
  std::string text() const;

  friend bool operator==(const Dim& a, const Dim& b);
  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);

 private:
  friend Dim make_dim(DimPoly poly);
  int64_t value_ = 0;
  std::shared_ptr<const DimPoly> poly_;
};

/// coefficient * product of atoms; atoms sorted by text.
struct DimTerm {
  int64_t coefficient = 0;
  std::vector<std::shared_ptr<const DimAtom>> atoms;
};

/// Sum of terms, sorted by the text of their atoms; the constant term has no atoms.
struct DimPoly {
  std::vector<DimTerm> terms;
  std::string text;
};

struct DimAtom {
  enum class Kind : uint8_t { symbol, floor_div, min, max };
  Kind kind = Kind::symbol;
  std::string name;  ///< symbol only
  Dim a, b;          ///< operands of the others
  std::string text;
};

/// floor(a / b); b must not be zero. Throws std::domain_error for a static zero divisor.
Dim floor_div(const Dim& a, const Dim& b);
/// ceil(a / b) as floor((a + b - 1) / b); b positive.
Dim ceil_div(const Dim& a, const Dim& b);
/// a - b * floor(a / b)
Dim mod(const Dim& a, const Dim& b);
Dim min(const Dim& a, const Dim& b);
Dim max(const Dim& a, const Dim& b);
/// `a` rounded up to a multiple of b.
Dim round_up(const Dim& a, const Dim& b);
/// True when a <= b for all values of the symbols, as far as canonical form shows.
bool provably_le(const Dim& a, const Dim& b);

/// Reads the form that text() writes, plus ordinary arithmetic: + - * / (floor) parentheses,
/// floordiv(a,b), ceildiv(a,b), min(a,b), max(a,b). Nothing when malformed.
std::optional<Dim> parse_dim(std::string_view text);

using Shape = std::vector<Dim>;
/// Product of extents; 1 for an empty list.
Dim product(const Shape& shape);
/// "[N,3,224,224]"
std::string text_of(const Shape& shape);

}  // namespace tintype
