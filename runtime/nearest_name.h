// "Did you mean": the known name closest to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace tintype {

/// The candidate with the fewest edits to `name`, or an empty string when none is close (at most a
/// third of the longer name, at least one edit). Letter case is ignored.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace tintype
