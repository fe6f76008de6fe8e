// The text form that losses, optimizers and schedules share: "name,key=value,key=value".
//
// Each options struct lists its fields once, in a member
//   template <typename V> void fields(V& visit) { visit("lr", lr); ... }
// and is read from text and written as text by the classes below.
#pragma once

#include "ir/diagnostic.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tintype {

/// A spec taken apart. Throws Error for an empty name or a repeated key.
class SpecReader {
 public:
  /// `what` names the kind in messages, as in "optimizer 'adam'".
  SpecReader(std::string_view text, std::string what);
  /// Of "key=value,key=value".
  static SpecReader without_name(std::string_view text, std::string what);

  const std::string& name() const { return name_; }

  // One visit per field: takes the value if the spec has one. Throws Error for malformed values.
  void operator()(std::string_view key, double& field);
  void operator()(std::string_view key, int64_t& field);
  void operator()(std::string_view key, bool& field);
  void operator()(std::string_view key, std::string& field);
  void operator()(std::string_view key, std::optional<int64_t>& field);
  /// Numbers separated by ':', as in milestones=30:60.
  void operator()(std::string_view key, std::vector<int64_t>& field);

  /// Throws Error, which lists the known keys, when a key of the spec belongs to no field, or a
  /// part has no '='.
  void finish() const;

 private:
  SpecReader() = default;
  void read_values(std::string_view text);
  const std::string* take(std::string_view key);
  [[noreturn]] void wrong(std::string_view key, std::string_view expected) const;

  std::string name_, what_;
  std::optional<std::string> no_value_;  ///< the first part without '='
  std::map<std::string, std::string, std::less<>> values_;
  std::vector<std::string> known_;
};

/// Writes all fields in the form that SpecReader reads.
class SpecWriter {
 public:
  explicit SpecWriter(std::string_view name) : text_(name) {}
  void operator()(std::string_view key, const double& field);
  void operator()(std::string_view key, const int64_t& field);
  void operator()(std::string_view key, const bool& field);
  void operator()(std::string_view key, const std::string& field);
  void operator()(std::string_view key, const std::optional<int64_t>& field);
  void operator()(std::string_view key, const std::vector<int64_t>& field);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Reads one alternative of a variant of option structs, each of which has `static kName` and
/// `fields`. Throws Error with the nearest name.
template <typename Variant, size_t kIndex = 0>
Variant read_alternative(SpecReader& reader, std::vector<std::string>& names,
                         const std::string& what) {
  if constexpr (kIndex == std::variant_size_v<Variant>) {
    throw Error("there is no " + what + " '" + reader.name() + "'" +
                did_you_mean(reader.name(), names) + "; known are " + [&names] {
                  std::string list;
                  for (const std::string& n : names) list += (list.empty() ? "" : ", ") + n;
                  return list;
                }());
  } else {
    using Options = std::variant_alternative_t<kIndex, Variant>;
    names.emplace_back(Options::kName);
    if (reader.name() != Options::kName)
      return read_alternative<Variant, kIndex + 1>(reader, names, what);
    Options options;
    options.fields(reader);
    reader.finish();
    return options;
  }
}

template <typename Variant>
Variant read_spec(std::string_view text, const std::string& what) {
  SpecReader reader(text, what);
  std::vector<std::string> names;
  return read_alternative<Variant>(reader, names, what);
}

template <typename Variant>
std::string write_spec(const Variant& value) {
  return std::visit(
      [](auto options) {
        SpecWriter writer(options.kName);
        options.fields(writer);
        return writer.text();
      },
      value);
}

}  // namespace tintype
