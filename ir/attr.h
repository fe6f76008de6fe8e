// Attribute values of IR nodes.
#pragma once

#include "ir/dim.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tintype {

/// Extents use the last alternative, so that attributes may depend on symbols.
using Attr = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                          std::vector<std::string>, Tensor, DType, Shape>;

/// Attributes by name. Ordered, so that printing and hashing are deterministic.
class AttrMap {
 public:
  AttrMap() = default;
  AttrMap(std::initializer_list<std::pair<const std::string, Attr>> list) : map_(list) {}

  void set(std::string name, Attr value) {
    map_.insert_or_assign(std::move(name), std::move(value));
  }
  void erase(std::string_view name) {
    if (auto it = map_.find(name); it != map_.end()) map_.erase(it);
  }
  bool has(std::string_view name) const { return map_.find(name) != map_.end(); }
  const Attr* find(std::string_view name) const {
    auto it = map_.find(name);
    return it == map_.end() ? nullptr : &it->second;
  }
  /// The value as T, or `fallback` when absent. A value of another kind is an InternalError: kinds
  /// are checked at import and by the verifier.
  template <typename T>
  T get(std::string_view name, T fallback) const {
    const Attr* a = find(name);
    if (a == nullptr) return fallback;
    const T* typed = std::get_if<T>(a);
    if (typed == nullptr) wrong_kind(name);
    return *typed;
  }
  int64_t integer(std::string_view name, int64_t fallback = 0) const { return get(name, fallback); }
  double number(std::string_view name, double fallback = 0) const { return get(name, fallback); }
  std::string string(std::string_view name, std::string fallback = "") const {
    return get(name, std::move(fallback));
  }
  std::vector<int64_t> integers(std::string_view name, std::vector<int64_t> fallback = {}) const {
    return get(name, std::move(fallback));
  }
  Shape dims(std::string_view name) const { return get(name, Shape{}); }
  const std::map<std::string, Attr, std::less<>>& entries() const { return map_; }
  size_t size() const { return map_.size(); }

 private:
  [[noreturn]] static void wrong_kind(std::string_view name);
  std::map<std::string, Attr, std::less<>> map_;
};

}  // namespace tintype
