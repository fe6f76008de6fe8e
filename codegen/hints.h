// Likely values of extents that are known at run time only, for choosing between algorithms.
#pragma once

#include "ir/dim.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace tintype {

/// The extent with the likely values of its symbols; others count as 1.
inline int64_t likely_value(const Dim& d, const std::map<std::string, int64_t>& hints) {
  return d
      .evaluate([&hints](std::string_view name) -> std::optional<int64_t> {
        const auto it = hints.find(std::string(name));
        return it == hints.end() ? 1 : it->second;
      })
      .value_or(1);
}

}  // namespace tintype
