// Recursive descent over expressions.
#include "passes/pattern/expression_parser.h"

#include "ir/diagnostic.h"

#include <algorithm>
#include <charconv>

namespace tintype::pattern {

bool TokenReader::accept(std::string_view text) {
  const Token& t = peek();
  const bool word = t.kind == Token::Kind::symbol || t.kind == Token::Kind::name;
  if (!word || t.text != text) return false;
  next();
  return true;
}

void TokenReader::expected(std::string_view what) const {
  const Token& t = peek();
  fail("expected " + std::string(what) + ", found " +
       (at_end() ? std::string("the end of the file") : "'" + t.text + "'"));
}

void TokenReader::expect(std::string_view text) {
  if (!accept(text)) expected("'" + std::string(text) + "'");
}

const Token& TokenReader::expect_name(std::string_view what) {
  if (peek().kind != Token::Kind::name) expected(what);
  return next();
}

namespace {

bool is_numeral(const Token& t) {
  return t.kind == Token::Kind::integer || t.kind == Token::Kind::number;
}

double value_of_numeral(const Token& t) {
  double v = 0;
  std::from_chars(t.text.data(), t.text.data() + t.text.size(), v);
  return v;
}

}  // namespace

bool TokenReader::at_number() const {
  return is_numeral(peek()) || (peek().text == "-" && is_numeral(peek(1)));
}

double TokenReader::number() {
  const double sign = accept("-") ? -1.0 : 1.0;
  return sign * value_of_numeral(next());
}

namespace {

class ExpressionParser {
 public:
  ExpressionParser(TokenReader& in, const std::function<int(const Token&)>& value_of,
                   const std::function<std::vector<const OpDef*>(int)>& ops_of)
      : in_(in), value_of_(value_of), ops_of_(ops_of) {}

  Expression any() { return level(0); }

 private:
  static constexpr int kNot = 2, kCompare = 3, kSum = 4, kTerm = 5, kSign = 6;
  static constexpr int kMaxDepth = 100;

  static bool is_operator(int level, std::string_view text) {
    switch (level) {
      case 0: return text == "or";
      case 1: return text == "and";
      case kCompare:
        return text == "==" || text == "!=" || text == "<" || text == "<=" || text == ">" ||
               text == ">=" || text == "in";
      case kSum: return text == "+" || text == "-";
      case kTerm: return text == "*" || text == "/" || text == "%";
      default: return false;
    }
  }

  Expression level(int l) {
    if (l == kSign) return sign();
    if (l == kNot) return negation();
    Expression left = level(l + 1);
    while (in_.peek().kind != Token::Kind::text && is_operator(l, in_.peek().text)) {
      Expression e = start(Expression::Kind::binary);
      e.begin = left.begin;
      e.name = in_.next().text;
      e.arguments.push_back(std::move(left));
      e.arguments.push_back(level(l + 1));
      left = finish(std::move(e));
      if (l == kCompare) break;
    }
    return left;
  }

  Expression start(Expression::Kind kind) const {
    Expression e;
    e.kind = kind;
    e.at = in_.peek().at;
    e.begin = in_.peek().begin;
    return e;
  }

  Expression finish(Expression e) const {
    e.end = in_.previous().end;
    return e;
  }

  Expression prefix(std::string_view op, int operand) {
    Expression e = start(Expression::Kind::unary);
    in_.next();
    e.name = op;
    e.arguments.push_back(nested([&] { return level(operand); }));
    return finish(std::move(e));
  }

  /// Files may come from anywhere: the depth of the recursion has a limit.
  template <typename F>
  Expression nested(const F& parse) {
    if (++depth_ > kMaxDepth) in_.fail("this expression is nested too deeply");
    Expression e = parse();
    --depth_;
    return e;
  }

  Expression negation() { return next_is("not") ? prefix("not", kNot) : level(kCompare); }

  Expression sign() { return next_is("-") ? prefix("-", kSign) : indexed(); }

  /// A word or symbol, not a text of these characters.
  bool next_is(std::string_view text) const {
    return in_.peek().kind != Token::Kind::text && in_.peek().text == text;
  }

  Expression indexed() {
    Expression e = place();
    // An element of a list may be a list.
    while (in_.accept("[")) {
      Expression whole = start(Expression::Kind::index);
      whole.at = e.at;
      whole.begin = e.begin;
      whole.arguments.push_back(std::move(e));
      whole.arguments.push_back(any());
      in_.expect("]");
      e = finish(std::move(whole));
    }
    return e;
  }

  Expression place() {
    const Token t = in_.peek();
    if (in_.accept("(")) {
      Expression e = nested([this] { return any(); });
      in_.expect(")");
      return e;
    }
    if (in_.accept("[")) {
      Expression e = start(Expression::Kind::list);
      e.begin = t.begin;
      list(e, "]");
      return finish(std::move(e));
    }
    if (t.kind == Token::Kind::name) return named();
    Expression e = start(Expression::Kind::literal);
    if (t.kind == Token::Kind::text) {
      e.datum = t.text;
    } else if (t.kind == Token::Kind::number) {
      e.datum = value_of_numeral(t);
    } else if (t.kind == Token::Kind::integer) {
      e.datum = static_cast<int64_t>(std::stoll(t.text));
    } else {
      in_.expected("a value");
    }
    in_.next();
    return finish(std::move(e));
  }

  void list(Expression& e, std::string_view close) {
    if (in_.accept(close)) return;
    do e.arguments.push_back(nested([this] { return any(); }));
    while (in_.accept(","));
    in_.expect(close);
  }

  Expression named() {
    const Token& follows = in_.peek(1);
    if (follows.text == "(") return call();
    if (follows.text == ".") return attribute();
    Expression e = start(Expression::Kind::literal);
    const Token t = in_.next();
    if (t.text == "true" || t.text == "false") {
      e.datum = t.text == "true";
    } else if (const auto dtype = dtype_from_name(t.text)) {
      e.datum = *dtype;
    } else {
      value_of_(t);
      fail_at(in_.file(), t.at,
              "'" + t.text + "' is a tensor; write " + t.text +
                  ".attribute for an attribute of its node, or ask a function such as rank(" +
                  t.text + ")");
    }
    return finish(std::move(e));
  }

  Expression attribute() {
    Expression e = start(Expression::Kind::attribute);
    const Token of = in_.next();
    e.value = value_of_(of);
    in_.expect(".");
    const Token name = in_.expect_name("an attribute");
    e.name = name.text;
    const std::vector<const OpDef*> ops = ops_of_(e.value);
    if (ops.empty())
      fail_at(in_.file(), of.at,
              "'" + of.text + "' is an operand of the pattern; only matched nodes have attributes");
    std::vector<std::string> known;
    for (const OpDef* def : ops)
      for (const AttrDef& a : def->attrs) known.emplace_back(a.name);
    if (std::find(known.begin(), known.end(), e.name) == known.end())
      fail_at(in_.file(), name.at,
              std::string(ops[0]->name) + " has no attribute '" + e.name + "'" +
                  did_you_mean(e.name, known));
    return finish(std::move(e));
  }

  Expression call() {
    Expression e = start(Expression::Kind::call);
    const Token name = in_.next();
    e.name = name.text;
    const FunctionInfo* f = find_function(e.name);
    if (f == nullptr) {
      std::vector<std::string> known;
      for (const FunctionInfo& k : functions()) known.emplace_back(k.name);
      fail_at(in_.file(), name.at,
              "there is no function '" + e.name + "'" + did_you_mean(e.name, known));
    }
    in_.expect("(");
    if (f->takes_value) {
      Expression v = start(Expression::Kind::value);
      v.value = value_of_(in_.expect_name("the name of a tensor"));
      e.arguments.push_back(finish(std::move(v)));
      if (in_.accept(",")) list(e, ")");
      else in_.expect(")");
    } else {
      list(e, ")");
    }
    const auto count = static_cast<int>(e.arguments.size());
    if (count < f->min_arguments || (f->max_arguments >= 0 && count > f->max_arguments))
      fail_at(in_.file(), name.at,
              e.name + " takes " + std::to_string(f->min_arguments) +
                  (f->max_arguments == f->min_arguments ? "" : " or more") +
                  (f->min_arguments == 1 ? " argument" : " arguments") + ", got " +
                  std::to_string(count));
    if (e.name == "default" && e.arguments[0].kind != Expression::Kind::attribute)
      fail_at(in_.file(), name.at, "the first argument of default is an attribute, as in y.axis");
    return finish(std::move(e));
  }

  TokenReader& in_;
  const std::function<int(const Token&)>& value_of_;
  const std::function<std::vector<const OpDef*>(int)>& ops_of_;
  int depth_ = 0;
};

}  // namespace

Expression parse_expression(TokenReader& in, const std::function<int(const Token&)>& value_of,
                            const std::function<std::vector<const OpDef*>(int)>& ops_of) {
  return ExpressionParser(in, value_of, ops_of).any();
}

}  // namespace tintype::pattern
