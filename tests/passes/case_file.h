// Files of pass cases: graphs before and after a pipeline, as text.
//
//   case name: pipeline
//   graph "g"(...) { ... }
//   ----
//   graph "g"(...) { ... }        (may be left out in a case whose name starts with not_:
//   unchanged)
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace tintype::test {

struct PassCase {
  std::string file;
  std::string name;
  std::string comment;  ///< lines before `case` that start with #
  std::string pipeline;
  std::string before, after;
  bool has_after = false;  ///< there is a line ----
  bool unchanged() const { return name.starts_with("not_") && !has_after; }
};

/// How GoogleTest shows a case.
void PrintTo(const PassCase& c, std::ostream* out);

std::vector<PassCase> read_cases(const std::string& path);
void write_cases(const std::string& path, const std::vector<PassCase>& cases);

}  // namespace tintype::test
