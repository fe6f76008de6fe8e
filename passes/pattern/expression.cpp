// Evaluation of expressions.
#include "passes/pattern/expression.h"

#include "ir/diagnostic.h"
#include "passes/patterns.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace tintype::pattern {

namespace {

constexpr int64_t kMaxElements = 4096;  // of tensors whose elements conditions read

using Arguments = std::vector<Datum>;

[[noreturn]] void unknown(std::string why) { throw Unknown{std::move(why)}; }

double number(const Datum& d) {
  if (const auto v = d.number()) return *v;
  unknown(d.text() + " is not a number");
}

int64_t integer(const Datum& d) {
  if (const auto* v = d.as<int64_t>()) return *v;
  unknown(d.text() + " is not an integer");
}

bool truth(const Datum& d) {
  if (const auto* v = d.as<bool>()) return *v;
  unknown(d.text() + " is neither true nor false");
}

const List& list(const Datum& d) {
  if (const auto* v = d.as<List>()) return *v;
  unknown(d.text() + " is not a list");
}

// ---- functions of tensors
// ------------------------------------------------------------------------

size_t user_count(const Value& v) { return v.uses().size() + static_cast<size_t>(v.output_uses()); }

Datum scalar(const Value& v) {
  if (const auto splat = constant_splat(&v))
    return is_float(v.dtype()) ? Datum(*splat) : Datum(static_cast<int64_t>(*splat));
  if (v.constant() == nullptr) unknown("it is not constant");
  unknown("its elements differ");
}

Datum elements(const Value& v) {
  if (v.content()) return datum_of(*v.content());
  const Tensor* t = v.constant();
  if (t == nullptr) unknown("its elements are not known");
  if (t->size() > kMaxElements)
    unknown("it has more than " + std::to_string(kMaxElements) + " elements");
  return datum_of(*t);
}

Datum apply_to_value(const Expression& e, const Captures& captures) {
  const Value* v = captures[static_cast<size_t>(e.arguments[0].value)];
  if (e.name == "present") return v != nullptr;
  if (v == nullptr) unknown("an absent operand has no " + e.name);
  if (e.name == "users") return static_cast<int64_t>(user_count(*v));
  if (e.name == "rank") return static_cast<int64_t>(v->rank());
  if (e.name == "shape") return datum_of(v->shape());
  if (e.name == "dtype") return v->dtype();
  if (e.name == "is_constant") return v->constant() != nullptr;
  if (e.name == "is_input") return v->def() == nullptr;
  if (e.name == "is_output") return v->output_uses() != 0;
  if (e.name == "op") return std::string(v->def() == nullptr ? "" : v->def()->name());
  if (e.name == "scalar") return scalar(*v);
  TINTYPE_CHECK(e.name == "elements", "function '" + e.name + "' of patterns is not evaluated");
  return elements(*v);
}

// ---- functions of data
// ---------------------------------------------------------------------------

Datum extreme(const Arguments& a, bool largest) {
  const List& items = a.size() == 1 ? list(a[0]) : a;
  if (items.empty()) unknown("an empty list has no " + std::string(largest ? "max" : "min"));
  return *std::max_element(items.begin(), items.end(), [largest](const Datum& x, const Datum& y) {
    return largest ? number(x) < number(y) : number(y) < number(x);
  });
}

Datum total(const List& items, bool product) {
  Dim out = product ? 1 : 0;
  for (const Datum& d : items) {
    const auto e = d.extent();
    if (!e) unknown(d.text() + " is not an integer");
    out = product ? out * *e : out + *e;
  }
  return datum_of(out);
}

bool all_equal(const List& items) {
  return std::all_of(items.begin(), items.end(),
                     [&](const Datum& d) { return d == items.front(); });
}

bool is_static(const Datum& d) {
  if (const auto* items = d.as<List>()) return std::all_of(items->begin(), items->end(), is_static);
  return d.as<Dim>() == nullptr;
}

bool near(const Arguments& a) {
  const double tolerance = a.size() > 2 ? number(a[2]) : 1e-3;
  return std::abs(number(a[0]) - number(a[1])) <= tolerance * std::abs(number(a[1]));
}

Datum apply_to_data(const std::string& name, const Arguments& a) {
  if (name == "near") return near(a);
  if (name == "len") return static_cast<int64_t>(list(a[0]).size());
  if (name == "min" || name == "max") return extreme(a, name == "max");
  if (name == "sum" || name == "product") return total(list(a[0]), name == "product");
  if (name == "all_equal") return all_equal(list(a[0]));
  if (name == "is_static") return is_static(a[0]);
  if (name == "abs") {
    if (const auto* i = a[0].as<int64_t>()) return *i < 0 ? -*i : *i;
    return std::abs(number(a[0]));
  }
  if (name == "sqrt") return std::sqrt(number(a[0]));
  if (name == "exp") return std::exp(number(a[0]));
  if (name == "log2") return std::log2(number(a[0]));
  if (name == "log") return std::log(number(a[0]));
  if (name == "int") {
    const double v = number(a[0]);
    if (!(std::abs(v) < 0x1p53)) unknown(a[0].text() + " does not fit an integer");
    return static_cast<int64_t>(v);
  }
  if (name == "float") return number(a[0]);
  TINTYPE_CHECK(name == "repeat", "function '" + name + "' of patterns is not evaluated");
  const int64_t count = integer(a[1]);
  if (count < 0 || count > kMaxElements) unknown("a list cannot have " + a[1].text() + " elements");
  return List(static_cast<size_t>(count), a[0]);
}

// ---- operators
// -----------------------------------------------------------------------------------

Datum integer_arithmetic(const std::string& op, int64_t a, int64_t b) {
  if ((op == "/" || op == "%") && b == 0) unknown("division by zero");
  try {
    if (op == "/") return datum_of(floor_div(a, b));
    if (op == "%") return datum_of(mod(a, b));
    return datum_of(op == "+" ? Dim(a) + Dim(b) : op == "-" ? Dim(a) - Dim(b) : Dim(a) * Dim(b));
  } catch (const std::overflow_error&) {
    unknown("the arithmetic overflows");
  }
}

Datum extent_arithmetic(const std::string& op, const Dim& a, const Dim& b) {
  if ((op == "/" || op == "%") && b.is(0)) unknown("division by zero");
  try {
    if (op == "+") return datum_of(a + b);
    if (op == "-") return datum_of(a - b);
    if (op == "*") return datum_of(a * b);
    return datum_of(op == "/" ? floor_div(a, b) : mod(a, b));
  } catch (const std::overflow_error&) {
    unknown("the arithmetic overflows");
  }
}

Datum arithmetic(const std::string& op, const Datum& a, const Datum& b) {
  if (op == "+" && a.as<List>() != nullptr && b.as<List>() != nullptr) {
    List both = list(a);
    both.insert(both.end(), list(b).begin(), list(b).end());
    return both;
  }
  if (a.as<int64_t>() != nullptr && b.as<int64_t>() != nullptr)
    return integer_arithmetic(op, integer(a), integer(b));
  if (const auto x = a.extent(), y = b.extent(); x && y) return extent_arithmetic(op, *x, *y);
  const double x = number(a);
  const double y = number(b);
  if (op == "+") return x + y;
  if (op == "-") return x - y;
  if (op == "*") return x * y;
  if (op == "%") return std::fmod(x, y);
  return x / y;
}

bool less(const Datum& a, const Datum& b, bool or_equal) {
  if (a.is_number() && b.is_number())
    return or_equal ? number(a) <= number(b) : number(a) < number(b);
  const auto x = a.extent();
  const auto y = b.extent();
  if (!x || !y) unknown(a.text() + " and " + b.text() + " have no order");
  const Dim left = or_equal ? *x : *x + 1;
  if (provably_le(left, *y)) return true;
  if (provably_le(*y, or_equal ? *x - 1 : *x)) return false;
  unknown("whether " + a.text() + " is below " + b.text() + " depends on the input");
}

bool contains(const Datum& items, const Datum& wanted) {
  const List& all = list(items);
  return std::find(all.begin(), all.end(), wanted) != all.end();
}

Datum binary(const Expression& e, const Captures& captures) {
  const std::string& op = e.name;
  Datum a = evaluate(e.arguments[0], captures);
  if (op == "and" && !truth(a)) return false;
  if (op == "or" && truth(a)) return true;
  const Datum b = evaluate(e.arguments[1], captures);
  if (op == "and" || op == "or") return truth(b);
  if (op == "==") return a == b;
  if (op == "!=") return !(a == b);
  if (op == "<" || op == "<=") return less(a, b, op == "<=");
  if (op == ">" || op == ">=") return less(b, a, op == ">=");
  if (op == "in") return contains(b, a);
  return arithmetic(op, a, b);
}

Datum unary(const Expression& e, const Captures& captures) {
  const Datum a = evaluate(e.arguments[0], captures);
  if (e.name == "not") return !truth(a);
  return arithmetic("-", a.as<double>() != nullptr ? Datum(0.0) : Datum(int64_t{0}), a);
}

Datum element(const Expression& e, const Captures& captures) {
  const Datum whole = evaluate(e.arguments[0], captures);
  const int64_t wanted = integer(evaluate(e.arguments[1], captures));
  const auto size = static_cast<int64_t>(list(whole).size());
  const int64_t at = wanted < 0 ? wanted + size : wanted;
  if (at < 0 || at >= size)
    unknown("a list of " + std::to_string(size) + " has no element " + std::to_string(wanted));
  return list(whole)[static_cast<size_t>(at)];
}

const Attr* find_attribute(const Expression& e, const Captures& captures) {
  const Value* v = captures[static_cast<size_t>(e.value)];
  return v == nullptr || v->def() == nullptr ? nullptr : v->def()->attrs().find(e.name);
}

Datum call(const Expression& e, const Captures& captures) {
  if (e.name == "default")
    return find_attribute(e.arguments[0], captures) != nullptr ? evaluate(e.arguments[0], captures)
                                                               : evaluate(e.arguments[1], captures);
  if (find_function(e.name)->takes_value) return apply_to_value(e, captures);
  Arguments arguments;
  for (const Expression& a : e.arguments) arguments.push_back(evaluate(a, captures));
  return apply_to_data(e.name, arguments);
}

}  // namespace

Datum evaluate(const Expression& e, const Captures& captures) {
  switch (e.kind) {
    case Expression::Kind::literal: return e.datum;
    case Expression::Kind::attribute: {
      const Attr* a = find_attribute(e, captures);
      if (a == nullptr) unknown("attribute '" + e.name + "' is not given");
      return datum_of(*a);
    }
    case Expression::Kind::call: return call(e, captures);
    case Expression::Kind::unary: return unary(e, captures);
    case Expression::Kind::binary: return binary(e, captures);
    case Expression::Kind::index: return element(e, captures);
    case Expression::Kind::list: {
      List out;
      for (const Expression& a : e.arguments) out.push_back(evaluate(a, captures));
      return out;
    }
    case Expression::Kind::value: break;
  }
  throw InternalError("a tensor stands where patterns expect data");
}

const std::vector<FunctionInfo>& functions() {
  static const std::vector<FunctionInfo> table = {
      {"abs", 1, 1, false, "magnitude of a number"},
      {"all_equal", 1, 1, false, "true when all elements of a list are the same"},
      {"default", 2, 2, false,
       "default(y.axis, 1): the attribute, or a value when it is not given"},
      {"dtype", 1, 1, true, "element type: f32, i64 ..."},
      {"elements", 1, 1, true, "list of the elements of a constant, or of extents"},
      {"exp", 1, 1, false, "e to this power"},
      {"float", 1, 1, false, "an integer as a number with a point"},
      {"int", 1, 1, false, "a number rounded towards zero"},
      {"is_constant", 1, 1, true, "true for constants"},
      {"is_input", 1, 1, true, "true for inputs of the graph"},
      {"is_output", 1, 1, true, "true for outputs of the graph"},
      {"is_static", 1, 1, false, "true for extents, or lists of them, that are numbers"},
      {"len", 1, 1, false, "number of elements of a list"},
      {"log", 1, 1, false, "natural logarithm"},
      {"log2", 1, 1, false, "logarithm to base 2"},
      {"max", 1, -1, false, "largest of the arguments, or of one list"},
      {"min", 1, -1, false, "smallest of the arguments, or of one list"},
      {"near", 2, 3, false, "near(a, b, t): |a - b| <= t |b|; t is 1e-3 when left out"},
      {"op", 1, 1, true, "name of the op that computes a tensor; \"\" for inputs"},
      {"present", 1, 1, true, "true for an optional operand that is there"},
      {"product", 1, 1, false, "product of a list of extents"},
      {"rank", 1, 1, true, "number of axes"},
      {"repeat", 2, 2, false, "repeat(v, n): list of n times v"},
      {"scalar", 1, 1, true, "the number that all elements of a constant are"},
      {"shape", 1, 1, true, "list of extents"},
      {"sqrt", 1, 1, false, "square root"},
      {"sum", 1, 1, false, "sum of a list of extents"},
      {"users", 1, 1, true, "number of nodes and graph outputs that use a tensor"},
  };
  return table;
}

const FunctionInfo* find_function(std::string_view name) {
  for (const FunctionInfo& f : functions())
    if (f.name == name) return &f;
  return nullptr;
}

}  // namespace tintype::pattern
