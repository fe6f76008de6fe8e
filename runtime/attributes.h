// Named constants attached to an operation, in the form the runtime understands.
#pragma once

#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tintype {

/// Attribute of a host-op step. Lists of extents arrive already evaluated as integers.
using AttributeValue =
    std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>, Tensor>;

/// Attribute names to values, ordered by name so that iteration is deterministic.
class Attributes {
 public:
  void set(std::string name, AttributeValue value) { map_[std::move(name)] = std::move(value); }
  const AttributeValue* find(std::string_view name) const {
    auto it = map_.find(name);
    return it == map_.end() ? nullptr : &it->second;
  }
  int64_t integer(std::string_view name, int64_t fallback) const { return get(name, fallback); }
  double number(std::string_view name, double fallback) const { return get(name, fallback); }
  std::string string(std::string_view name, const std::string& fallback) const {
    return get(name, fallback);
  }
  std::vector<int64_t> integers(std::string_view name) const {
    return get(name, std::vector<int64_t>{});
  }
  const std::map<std::string, AttributeValue, std::less<>>& entries() const { return map_; }

 private:
  template <typename T>
  T get(std::string_view name, const T& fallback) const {
    const AttributeValue* v = find(name);
    const T* typed = v == nullptr ? nullptr : std::get_if<T>(v);
    return typed == nullptr ? fallback : *typed;
  }
  std::map<std::string, AttributeValue, std::less<>> map_;
};

}  // namespace tintype
