// Evaluation and printing of extent expressions.
#include "runtime/extents.h"

#include <algorithm>

namespace tintype {

namespace {

using Kind = ExtentExpr::Kind;

int64_t floor_div(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

// False on overflow or division by zero.
bool apply(Kind kind, int64_t a, int64_t b, int64_t& result) {
  const bool divides = kind == Kind::floor_div || kind == Kind::ceil_div || kind == Kind::mod;
  if (divides && (b == 0 || (a == INT64_MIN && b == -1))) return false;
  switch (kind) {
    case Kind::add: return !__builtin_add_overflow(a, b, &result);
    case Kind::sub: return !__builtin_sub_overflow(a, b, &result);
    case Kind::mul: return !__builtin_mul_overflow(a, b, &result);
    case Kind::floor_div: result = floor_div(a, b); return true;
    case Kind::ceil_div: result = floor_div(a, b) + (a % b != 0 ? 1 : 0); return true;
    case Kind::mod: result = a - floor_div(a, b) * b; return true;
    case Kind::min: result = std::min(a, b); return true;
    case Kind::max: result = std::max(a, b); return true;
    case Kind::equal: result = a == b ? 1 : 0; return true;
    case Kind::less: result = a < b ? 1 : 0; return true;
    case Kind::constant:
    case Kind::symbol: break;
  }
  return false;
}

const char* infix(Kind kind) {
  switch (kind) {
    case Kind::add: return "+";
    case Kind::sub: return "-";
    case Kind::mul: return "*";
    case Kind::floor_div: return "/";
    case Kind::mod: return "%";
    case Kind::equal: return "==";
    case Kind::less: return "<";
    default: return nullptr;
  }
}

int binding_strength(Kind kind) {
  switch (kind) {
    case Kind::equal:
    case Kind::less: return 0;
    case Kind::add:
    case Kind::sub: return 1;
    case Kind::mul:
    case Kind::floor_div:
    case Kind::mod: return 2;
    default: return 3;
  }
}

// Shared operands make an expression a graph that can be exponentially large as text, hence the
// limit.
void format(const Program& program, ExprId id, int strength, std::string& out) {
  constexpr size_t kLongest = 200;
  const ExtentExpr& e = program.expressions[static_cast<size_t>(id)];
  if (out.size() > kLongest) {
    out += "...";
  } else if (e.kind == Kind::constant) {
    out += std::to_string(e.value);
  } else if (e.kind == Kind::symbol) {
    out += program.symbols[static_cast<size_t>(e.value)].name;
  } else if (const char* op = infix(e.kind); op != nullptr) {
    const int own = binding_strength(e.kind);
    if (own < strength) out += '(';
    format(program, e.a, own, out);
    out += op;
    format(program, e.b, own + 1, out);
    if (own < strength) out += ')';
  } else {
    out += e.kind == Kind::min ? "min(" : e.kind == Kind::max ? "max(" : "ceil_div(";
    format(program, e.a, 0, out);
    out += ',';
    format(program, e.b, 0, out);
    out += ')';
  }
}

}  // namespace

Result<std::vector<int64_t>> evaluate_expressions(const Program& program,
                                                  std::span<const int64_t> symbols) {
  std::vector<int64_t> values;
  values.reserve(program.expressions.size());
  for (const ExtentExpr& e : program.expressions) {
    int64_t value = e.value;
    if (e.kind == Kind::symbol) {
      value = symbols[static_cast<size_t>(e.value)];
    } else if (e.kind != Kind::constant) {
      const int64_t a = values[static_cast<size_t>(e.a)], b = values[static_cast<size_t>(e.b)];
      if (!apply(e.kind, a, b, value))
        return invalid_argument(
            "extent " + format_expression(program, static_cast<ExprId>(values.size())) +
            " overflows or divides by zero for " + format_symbols(program, symbols));
    }
    values.push_back(value);
  }
  return values;
}

std::string format_expression(const Program& program, ExprId id) {
  std::string s;
  format(program, id, 0, s);
  return s;
}

std::string format_type(const Program& program, const Port& port) {
  std::string s(name_of(port.dtype));
  s += '[';
  for (size_t i = 0; i < port.dims.size(); ++i) {
    if (i != 0) s += ',';
    s += format_expression(program, port.dims[i]);
  }
  return s + ']';
}

std::string format_symbols(const Program& program, std::span<const int64_t> values) {
  std::string s;
  for (size_t i = 0; i < values.size(); ++i)
    s += (i == 0 ? "" : ", ") + program.symbols[i].name + "=" + std::to_string(values[i]);
  return s.empty() ? "no symbols" : s;
}

}  // namespace tintype
