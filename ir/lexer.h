// Characters of a text as the pieces that the parser of graphs asks for.
#pragma once

#include "ir/dim.h"
#include "runtime/dtype.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// Reads forward; every method throws Error with the line number when the text does not fit.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  /// Consumes the token when it comes next, after white space.
  bool accept(std::string_view token);
  void expect(std::string_view token);
  bool at_end();
  /// Letters, digits, '_', '.', '-': op names, attribute names, element types.
  std::string word();
  /// A word, or two joined by "::".
  std::string op_name();
  /// A string in quotation marks, with escapes resolved.
  std::string quoted();
  /// True when a quotation mark comes next.
  bool at_quote();
  int64_t integer();
  uint64_t unsigned_integer();
  double number();
  float single_number();  ///< rounded once, to single precision
  DType dtype();
  /// Extents between the two brackets, which are consumed too.
  Shape extents(char open, char close);
  /// The same for extents that must be numbers.
  std::vector<int64_t> numbers(char open, char close);
  /// Characters that are left.
  size_t remaining() const { return text_.size() - at_; }
  /// The rest of the line, when it is a comment (without the slashes); else "".
  std::string comment();
  /// Text up to one of the characters outside parentheses; it is not consumed.
  std::string_view until(std::string_view stop);

  [[noreturn]] void fail(const std::string& message) const;
  int line() const;

 private:
  void skip_space();
  std::string_view numeral();
  /// What comes next, for messages.
  std::string found() const;

  std::string_view text_;
  size_t at_ = 0;
  mutable size_t counted_ = 0, counted_lines_ = 0;  ///< lines before an offset
};

}  // namespace tintype
