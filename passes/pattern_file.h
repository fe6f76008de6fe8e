// Passes written as text: docs/patterns.md describes the language.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// Reads the patterns of a file; each becomes a pass of its name, which pipelines may mention from
/// then on, for as long as the program runs. Returns the names in the order of the file. Throws
/// Error, "FILE:LINE:COLUMN: what was expected and found", and when a name belongs to another pass
/// already; a file may be loaded repeatedly. Thread-safe.
std::vector<std::string> load_patterns(const std::string& path);
/// The same from a text; `name` stands for the file in messages.
std::vector<std::string> load_patterns(std::string_view text, const std::string& name);

}  // namespace tintype
