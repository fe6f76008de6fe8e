// Splitting of pattern files.
#include "passes/pattern/scanner.h"

#include "ir/diagnostic.h"

#include <charconv>

namespace tintype::pattern {

void fail_at(const std::string& file, Place at, const std::string& message) {
  throw Error(file + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " +
              message);
}

namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Scanner {
 public:
  Scanner(std::string_view source, const std::string& file) : source_(source), file_(file) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    do {
      after_pattern_ = !tokens.empty() && tokens.back().kind == Token::Kind::name &&
                       tokens.back().text == "pattern";
      tokens.push_back(next());
    } while (tokens.back().kind != Token::Kind::end);
    return tokens;
  }

 private:
  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }

  void advance() {
    if (source_[at_] == '\n') {
      ++place_.line;
      place_.column = 1;
    } else if ((static_cast<unsigned char>(source_[at_]) & 0xc0u) != 0x80u) {
      ++place_.column;  // bytes that continue a UTF-8 character are no columns
    }
    ++at_;
  }

  void skip_space() {
    for (;;) {
      const char c = peek();
      if (c == '#')
        while (at_ < source_.size() && peek() != '\n') advance();
      else if (at_ < source_.size() && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) advance();
      else return;
    }
  }

  Token next() {
    skip_space();
    Token t;
    t.at = place_;
    t.begin = at_;
    if (at_ >= source_.size()) {
      t.end = at_;
      return t;
    }
    if (is_letter(peek())) t.kind = name();
    else if (is_digit(peek())) t.kind = number(t.at);
    else if (peek() == '"') return text(t);
    else t.kind = symbol(t.at);
    t.end = at_;
    t.text = std::string(source_.substr(t.begin, t.end - t.begin));
    return t;
  }

  /// "Conv", "acme::Fancy"; behind `pattern`, where no arithmetic can stand, also "conv-5x5"
  Token::Kind name() {
    while (is_letter(peek()) || is_digit(peek()) || (peek() == '-' && after_pattern_) ||
           (peek() == ':' && peek(1) == ':' && is_letter(peek(2)))) {
      if (peek() == ':') advance();
      advance();
    }
    return Token::Kind::name;
  }

  Token::Kind number(Place at) {
    const char* begin = source_.data() + at_;
    const char* end = source_.data() + source_.size();
    double value = 0;
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (error != std::errc()) fail_at(file_, at, "this number cannot be represented");
    const std::string_view text(begin, static_cast<size_t>(stop - begin));
    for (size_t i = 0; i < text.size(); ++i) advance();
    if (is_letter(peek()))
      fail_at(file_, place_,
              "expected the end of a number, found '" + std::string(1, peek()) + "'");
    const bool whole = text.find_first_not_of("0123456789") == std::string_view::npos;
    if (whole && text.size() > 18) fail_at(file_, at, "this integer is too large");
    return whole ? Token::Kind::integer : Token::Kind::number;
  }

  Token text(Token t) {
    t.kind = Token::Kind::text;
    advance();
    while (at_ < source_.size() && peek() != '"' && peek() != '\n') {
      if (peek() == '\\' && at_ + 1 < source_.size()) advance();
      t.text += peek();
      advance();
    }
    if (peek() != '"') fail_at(file_, t.at, "this text does not end on its line");
    advance();
    t.end = at_;
    return t;
  }

  Token::Kind symbol(Place at) {
    constexpr std::string_view kLong[] = {"...", "=>", "==", "!=", "<=", ">="};
    constexpr std::string_view kSingle = "=<>(){}[],;.+-*/%?|";
    for (std::string_view s : kLong)
      if (source_.substr(at_, s.size()) == s) {
        for (size_t i = 0; i < s.size(); ++i) advance();
        return Token::Kind::symbol;
      }
    if (kSingle.find(peek()) == std::string_view::npos)
      fail_at(file_, at, "unexpected character '" + std::string(1, peek()) + "'");
    advance();
    return Token::Kind::symbol;
  }

  std::string_view source_;
  const std::string& file_;
  size_t at_ = 0;
  Place place_;
  bool after_pattern_ = false;
};

}  // namespace

std::vector<Token> scan(std::string_view source, const std::string& file) {
  return Scanner(source, file).run();
}

}  // namespace tintype::pattern
