// Conversions between expressions' values, attributes and tensors.
#include "passes/pattern/datum.h"

#include "runtime/scalar.h"

#include <charconv>
#include <cstddef>

namespace tintype::pattern {

std::optional<double> Datum::number() const {
  if (const auto* i = as<int64_t>()) return static_cast<double>(*i);
  if (const auto* d = as<double>()) return *d;
  return std::nullopt;
}

std::optional<Dim> Datum::extent() const {
  if (const auto* i = as<int64_t>()) return Dim(*i);
  if (const auto* d = as<Dim>()) return *d;
  return std::nullopt;
}

std::string Datum::text() const {
  if (const auto* b = as<bool>()) return *b ? "true" : "false";
  if (const auto* i = as<int64_t>()) return std::to_string(*i);
  if (const auto* s = as<std::string>()) return '"' + *s + '"';
  if (const auto* t = as<DType>()) return std::string(name_of(*t));
  if (const auto* d = as<Dim>()) return d->text();
  if (const auto* d = as<double>()) {
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, *d).ptr;
    return {buffer, end};
  }
  std::string out = "[";
  for (const Datum& d : std::get<List>(value)) out += (out.size() == 1 ? "" : ", ") + d.text();
  return out + "]";
}

bool operator==(const Datum& a, const Datum& b) {
  if (a.is_number() && b.is_number()) {
    const auto* i = a.as<int64_t>();
    const auto* j = b.as<int64_t>();
    return i != nullptr && j != nullptr ? *i == *j : *a.number() == *b.number();
  }
  if (a.value.index() != b.value.index()) return false;
  return a.value == b.value;
}

Datum datum_of(const Dim& d) { return d.is_static() ? Datum(d.value()) : Datum(d); }

Datum datum_of(const Shape& shape) {
  List list;
  for (const Dim& d : shape) list.push_back(datum_of(d));
  return list;
}

namespace {

template <typename T>
Datum list_of(const std::vector<T>& values) {
  return List(values.begin(), values.end());
}

/// All elements as T, or nothing.
template <typename T, typename F>
std::optional<std::vector<T>> elements(const Datum& d, F convert) {
  const auto* list = d.as<List>();
  if (list == nullptr) return std::nullopt;
  std::vector<T> out;
  for (const Datum& e : *list) {
    const std::optional<T> v = convert(e);
    if (!v) return std::nullopt;
    out.push_back(*v);
  }
  return out;
}

template <typename T>
std::optional<T> exactly(const Datum& d) {
  const T* v = d.as<T>();
  return v == nullptr ? std::nullopt : std::optional<T>(*v);
}

std::optional<double> as_number(const Datum& d) { return d.number(); }
std::optional<Dim> as_extent(const Datum& d) { return d.extent(); }

template <typename T>
std::optional<Attr> wrapped(std::optional<T> v) {
  return v ? std::optional<Attr>(std::move(*v)) : std::nullopt;
}

}  // namespace

Datum datum_of(const Tensor& t) {
  List list;
  const auto* at = static_cast<const std::byte*>(t.data());
  for (int64_t i = 0; i < t.size(); ++i, at += size_of(t.dtype())) {
    const double v = load_scalar(t.dtype(), at);
    if (is_float(t.dtype())) list.emplace_back(v);
    else list.emplace_back(static_cast<int64_t>(v));
  }
  return list;
}

Datum datum_of(const Attr& a) {
  if (const auto* v = std::get_if<int64_t>(&a)) return *v;
  if (const auto* v = std::get_if<double>(&a)) return *v;
  if (const auto* v = std::get_if<std::string>(&a)) return *v;
  if (const auto* v = std::get_if<std::vector<int64_t>>(&a)) return list_of(*v);
  if (const auto* v = std::get_if<std::vector<double>>(&a)) return list_of(*v);
  if (const auto* v = std::get_if<std::vector<std::string>>(&a)) return list_of(*v);
  if (const auto* v = std::get_if<DType>(&a)) return *v;
  if (const auto* v = std::get_if<Shape>(&a)) return datum_of(*v);
  return datum_of(std::get<Tensor>(a));
}

std::optional<Attr> attr_of(const Datum& d, AttrKind kind) {
  switch (kind) {
    case AttrKind::integer: return wrapped(exactly<int64_t>(d));
    case AttrKind::number: return wrapped(d.number());
    case AttrKind::string: return wrapped(exactly<std::string>(d));
    case AttrKind::integers: return wrapped(elements<int64_t>(d, exactly<int64_t>));
    case AttrKind::numbers: return wrapped(elements<double>(d, as_number));
    case AttrKind::strings: return wrapped(elements<std::string>(d, exactly<std::string>));
    case AttrKind::dtype: return wrapped(exactly<DType>(d));
    case AttrKind::dims: return wrapped(elements<Dim>(d, as_extent));
    case AttrKind::tensor: break;
  }
  return std::nullopt;
}

std::optional<Tensor> tensor_of(const Datum& d, DType dtype) {
  const auto whole = d.is_number() ? std::optional(std::vector<double>{*d.number()})
                                   : elements<double>(d, as_number);
  if (!whole) return std::nullopt;
  std::vector<int64_t> dims;
  if (!d.is_number()) dims.push_back(static_cast<int64_t>(whole->size()));
  Tensor t = Tensor::empty(dtype, dims);
  auto* to = static_cast<std::byte*>(t.mutable_data());
  for (const double v : *whole) {
    store_scalar(dtype, v, to);
    to += size_of(dtype);
  }
  return t;
}

}  // namespace tintype::pattern
