// Values of the expressions in pattern files.
#pragma once

#include "ir/attr.h"
#include "ir/op_def.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tintype::pattern {

struct Datum;
using List = std::vector<Datum>;

/// A number, text, element type, extent or list of these. Extents that are numbers are integers.
struct Datum {
  std::variant<bool, int64_t, double, std::string, DType, Dim, List> value;

  Datum() : value(false) {}
  template <typename T>
  Datum(T v) : value(std::move(v)) {}  // NOLINT(google-explicit-constructor)

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&value);
  }
  bool is_number() const { return as<int64_t>() != nullptr || as<double>() != nullptr; }
  /// The number, or nothing for what is none.
  std::optional<double> number() const;
  /// The extent, or nothing for what is none.
  std::optional<Dim> extent() const;
  std::string text() const;
};

/// Equal in value: 1 and 1.0 are; lists are when their elements are.
bool operator==(const Datum& a, const Datum& b);

/// An extent as a Datum.
Datum datum_of(const Dim& d);
/// Extents as a list.
Datum datum_of(const Shape& shape);
/// The elements of a tensor as a list of numbers.
Datum datum_of(const Tensor& t);
/// An attribute; a tensor is the list of its elements.
Datum datum_of(const Attr& a);
/// The attribute of this kind, or nothing when the value does not fit it.
std::optional<Attr> attr_of(const Datum& d, AttrKind kind);
/// A tensor of this element type: rank 0 of a number, rank 1 of a list of numbers.
std::optional<Tensor> tensor_of(const Datum& d, DType dtype);

}  // namespace tintype::pattern
