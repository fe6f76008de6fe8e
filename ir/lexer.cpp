// Scanning of graph text.
#include "ir/lexer.h"

#include "ir/diagnostic.h"

#include <algorithm>
#include <charconv>

namespace tintype {

namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

int Lexer::line() const {
  // Counting goes on from the last place asked for: long texts ask at every node.
  const auto at = [this](size_t i) { return text_.begin() + static_cast<std::ptrdiff_t>(i); };
  if (counted_ > at_) counted_ = counted_lines_ = 0;
  counted_lines_ += static_cast<size_t>(std::count(at(counted_), at(at_), '\n'));
  counted_ = at_;
  return 1 + static_cast<int>(counted_lines_);
}

void Lexer::fail(const std::string& message) const {
  throw Error("line " + std::to_string(line()) + ": " + message);
}

std::string Lexer::found() const {
  if (at_ >= text_.size()) return "the end of the text";
  const std::string_view rest = text_.substr(at_, 20);
  return "'" + std::string(rest.substr(0, rest.find('\n'))) + "'";
}

void Lexer::skip_space() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
    ++at_;
}

bool Lexer::accept(std::string_view token) {
  skip_space();
  if (text_.substr(at_, token.size()) != token) return false;
  at_ += token.size();
  return true;
}

void Lexer::expect(std::string_view token) {
  if (!accept(token)) fail("expected '" + std::string(token) + "', found " + found());
}

bool Lexer::at_end() {
  skip_space();
  return at_ >= text_.size();
}

std::string Lexer::word() {
  skip_space();
  const size_t start = at_;
  while (at_ < text_.size() && is_word(text_[at_])) ++at_;
  if (at_ == start) fail("expected a name, found " + found());
  return std::string(text_.substr(start, at_ - start));
}

std::string Lexer::op_name() {
  std::string name = word();
  if (text_.substr(at_, 2) != "::") return name;
  at_ += 2;
  return name + "::" + word();
}

bool Lexer::at_quote() {
  skip_space();
  return at_ < text_.size() && text_[at_] == '"';
}

std::string Lexer::quoted() {
  expect("\"");
  std::string out;
  while (at_ < text_.size() && text_[at_] != '"') {
    char c = text_[at_++];
    if (c == '\\' && at_ < text_.size()) {
      c = text_[at_++];
      if (c == 'x') {
        const int high = at_ + 1 < text_.size() ? hex_digit(text_[at_]) : -1;
        const int low = at_ + 1 < text_.size() ? hex_digit(text_[at_ + 1]) : -1;
        if (high < 0 || low < 0) fail("expected two hexadecimal digits after \\x");
        c = static_cast<char>(high * 16 + low);
        at_ += 2;
      }
    }
    out += c;
  }
  if (at_ >= text_.size()) fail("a string does not end");
  ++at_;
  return out;
}

std::string_view Lexer::numeral() {
  skip_space();
  const size_t start = at_;
  while (at_ < text_.size() && (is_word(text_[at_]) || text_[at_] == '+')) ++at_;
  return text_.substr(start, at_ - start);
}

namespace {

template <typename T>
bool read_whole(std::string_view s, T& value) {
  const char* begin = s.data();
  const char* end = begin + s.size();
  const auto [at, error] = std::from_chars(begin, end, value);
  return error == std::errc() && at == end && !s.empty();
}

}  // namespace

int64_t Lexer::integer() {
  const std::string_view s = numeral();
  int64_t value = 0;
  if (!read_whole(s, value)) fail("expected an integer, found '" + std::string(s) + "'");
  return value;
}

uint64_t Lexer::unsigned_integer() {
  const std::string_view s = numeral();
  uint64_t value = 0;
  if (!read_whole(s, value))
    fail("expected an integer that is not negative, found '" + std::string(s) + "'");
  return value;
}

double Lexer::number() {
  const std::string_view s = numeral();
  double value = 0;
  if (!read_whole(s, value)) fail("expected a number, found '" + std::string(s) + "'");
  return value;
}

float Lexer::single_number() {
  const std::string_view s = numeral();
  float value = 0;
  if (!read_whole(s, value)) fail("expected a number, found '" + std::string(s) + "'");
  return value;
}

DType Lexer::dtype() {
  const std::string name = word();
  const auto t = dtype_from_name(name);
  if (!t) fail("'" + name + "' is not an element type");
  return *t;
}

std::string_view Lexer::until(std::string_view stop) {
  skip_space();
  const size_t start = at_;
  int depth = 0;
  while (at_ < text_.size() && (depth > 0 || stop.find(text_[at_]) == std::string_view::npos)) {
    if (text_[at_] == '(') ++depth;
    if (text_[at_] == ')') --depth;
    ++at_;
  }
  return text_.substr(start, at_ - start);
}

Shape Lexer::extents(char open, char close) {
  expect(std::string_view(&open, 1));
  Shape shape;
  if (accept(std::string_view(&close, 1))) return shape;
  const std::string stop = std::string(",\n") + close;
  do {
    const std::string_view text = until(stop);
    const std::optional<Dim> d = parse_dim(text);
    if (!d) fail("'" + std::string(text) + "' is not an extent");
    shape.push_back(*d);
  } while (accept(","));
  expect(std::string_view(&close, 1));
  return shape;
}

std::vector<int64_t> Lexer::numbers(char open, char close) {
  std::vector<int64_t> out;
  for (const Dim& d : extents(open, close)) {
    if (!d.is_static() || d.value() < 0) fail("the extents of a tensor must be numbers");
    out.push_back(d.value());
  }
  return out;
}

std::string Lexer::comment() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  if (text_.substr(at_, 2) != "//") return "";
  at_ += 2;
  if (at_ < text_.size() && text_[at_] == ' ') ++at_;
  const size_t end = std::min(text_.find('\n', at_), text_.size());
  std::string out(text_.substr(at_, end - at_));
  at_ = end;
  return out;
}

}  // namespace tintype
