// Pieces of a pattern file, each with its place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tintype::pattern {

/// Both count from 1.
struct Place {
  int line = 1, column = 1;
};

struct Token {
  enum class Kind : uint8_t { name, integer, number, text, symbol, end };
  Kind kind = Kind::end;
  std::string text;  ///< of a text: without quotation marks, escapes resolved
  Place at;
  size_t begin = 0, end = 0;  ///< offsets in the source
};

/// Throws Error, "FILE:LINE:COLUMN: message".
[[noreturn]] void fail_at(const std::string& file, Place at, const std::string& message);

/// The whole text as tokens, closed by one of kind end. Comments run from '#' to the end of the
/// line. Names may hold "::", and that of a pattern '-'. Throws Error for characters and numbers
/// that mean nothing.
std::vector<Token> scan(std::string_view source, const std::string& file);

}  // namespace tintype::pattern
