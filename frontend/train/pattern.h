// Regular expressions over parameter names.
#pragma once

#include "ir/diagnostic.h"

#include <optional>
#include <regex>
#include <string>

namespace tintype {

/// Matches names that contain the (ECMAScript) expression; an empty one matches none. Throws Error,
/// naming the option it came from, when it is malformed.
class NamePattern {
 public:
  NamePattern(const std::string& text, const std::string& option) {
    if (text.empty()) return;
    try {
      regex_.emplace(text);
    } catch (const std::regex_error& e) {
      throw Error(option + " '" + text + "' is not a regular expression: " + e.what());
    }
  }
  bool empty() const { return !regex_; }
  bool matches(const std::string& name) const { return regex_ && std::regex_search(name, *regex_); }

 private:
  std::optional<std::regex> regex_;
};

}  // namespace tintype
