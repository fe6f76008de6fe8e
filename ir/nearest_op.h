// What messages suggest for the name of an op that does not exist.
#pragma once

#include <string>
#include <string_view>

namespace tintype {

/// " (did you mean 'Sigmoid'?)", or "" when no op has a similar name.
std::string nearest_op(std::string_view name);

}  // namespace tintype
