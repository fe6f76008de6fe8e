// Reading of expressions, and of tokens in general.
#pragma once

#include "passes/pattern/expression.h"
#include "passes/pattern/scanner.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tintype::pattern {

/// Reads forward through tokens; throws Error with the place of what does not fit.
class TokenReader {
 public:
  TokenReader(std::vector<Token> tokens, std::string file)
      : tokens_(std::move(tokens)), file_(std::move(file)) {}

  const std::string& file() const { return file_; }
  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& previous() const { return tokens_[at_ - 1]; }
  bool at_end() const { return peek().kind == Token::Kind::end; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  /// Consumes a symbol or a word.
  bool accept(std::string_view text);
  void expect(std::string_view text);
  const Token& expect_name(std::string_view what);
  /// True when a number comes next, with or without a sign.
  bool at_number() const;
  double number();
  [[noreturn]] void fail(const std::string& message) const { fail_at(file_, peek().at, message); }
  /// "expected WHAT, found ..."
  [[noreturn]] void expected(std::string_view what) const;

 private:
  std::vector<Token> tokens_;
  std::string file_;
  size_t at_ = 0;
};

/// `value_of` gives the number of a captured tensor or throws; `ops_of` the ops that may compute
/// it, none when it is only captured.
///
///   or      = and { "or" and }
///   and     = not { "and" not }
///   not     = [ "not" ] compare
///   compare = sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") sum ]
///   sum     = term { ("+" | "-") term }
///   term    = sign { ("*" | "/" | "%") sign }
///   sign    = [ "-" ] place
///   place   = ( literal | "[" list "]" | "(" or ")" | function "(" list ")" | name "." NAME )
///             { "[" or "]" }
Expression parse_expression(TokenReader& in, const std::function<int(const Token&)>& value_of,
                            const std::function<std::vector<const OpDef*>(int)>& ops_of);

}  // namespace tintype::pattern
