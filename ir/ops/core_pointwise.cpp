// Records of the pointwise core ops.
#include "ir/extent_arithmetic.h"
#include "ir/ops/gradients.h"

#include <algorithm>
#include <array>

namespace tintype::ops {

namespace {

Shape broadcast_all(InferContext& c, int first, int last) {
  Shape shape = c.type(first).shape;
  for (int i = first + 1; i <= last; ++i)
    shape = broadcast_shapes(c.node.graph(), shape, c.type(i).shape, c.node.where());
  return shape;
}

void require_same_dtype(InferContext& c, int a, int b) {
  if (c.type(a).dtype != c.type(b).dtype)
    c.fail("operands must have the same element type, got " + c.type(a).text() + " and " +
           c.type(b).text());
}

void infer_unary(InferContext& c) { c.results[0] = c.type(0); }

void infer_unary_bool(InferContext& c) { c.results[0] = {DType::boolean, c.type(0).shape}; }

void infer_binary(InferContext& c) {
  require_same_dtype(c, 0, 1);
  c.results[0] = {c.type(0).dtype, broadcast_all(c, 0, 1)};
}

void infer_compare(InferContext& c) {
  require_same_dtype(c, 0, 1);
  c.results[0] = {DType::boolean, broadcast_all(c, 0, 1)};
}

void infer_select(InferContext& c) {
  if (c.type(0).dtype != DType::boolean) c.fail("condition must be bool, got " + c.type(0).text());
  require_same_dtype(c, 1, 2);
  c.results[0] = {c.type(1).dtype, broadcast_all(c, 0, 2)};
}

void infer_cast(InferContext& c) {
  c.results[0] = {c.attrs().get("to", DType::undefined), c.type(0).shape};
}

void infer_bitcast(InferContext& c) {
  const DType to = c.attrs().get("to", DType::undefined);
  if (size_of(to) != size_of(c.type(0).dtype))
    c.fail("the bits of " + c.type(0).text() + " are no " + std::string(name_of(to)) +
           ", which is of another size");
  c.results[0] = {to, c.type(0).shape};
}

/// Applies f elementwise to the contents of two operands.
template <typename F>
std::optional<std::vector<Dim>> zip_content(const Node& n, F f) {
  const auto a = broadcast_content(*n.operand(0), n.result()->shape());
  const auto b = broadcast_content(*n.operand(1), n.result()->shape());
  if (!a || !b) return std::nullopt;
  std::vector<Dim> out;
  for (size_t i = 0; i < a->size(); ++i) {
    const std::optional<Dim> d = f((*a)[i], (*b)[i]);
    if (!d) return std::nullopt;
    out.push_back(*d);
  }
  return out;
}

using MaybeDim = std::optional<Dim>;

std::optional<std::vector<Dim>> content_add(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) { return MaybeDim(a + b); });
}
std::optional<std::vector<Dim>> content_sub(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) { return MaybeDim(a - b); });
}
std::optional<std::vector<Dim>> content_mul(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) { return MaybeDim(a * b); });
}
/// Where b is zero, evaluating the extent fails.
bool may_divide(const Dim& b) {
  const auto low = b.lower_bound();
  return low && *low >= 0 && !b.is(0);
}
std::optional<std::vector<Dim>> content_div(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) {
    return may_divide(b) ? MaybeDim(trunc_div(a, b)) : std::nullopt;
  });
}
std::optional<std::vector<Dim>> content_mod(const Node& n) {
  const bool fmod = n.attrs().integer("fmod") != 0;
  return zip_content(n, [fmod](const Dim& a, const Dim& b) -> MaybeDim {
    if (!may_divide(b)) return std::nullopt;
    return fmod ? a - b * trunc_div(a, b) : mod(a, b);
  });
}
std::optional<std::vector<Dim>> content_min(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) { return MaybeDim(min(a, b)); });
}
std::optional<std::vector<Dim>> content_max(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) { return MaybeDim(max(a, b)); });
}
std::optional<std::vector<Dim>> content_eq(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) -> MaybeDim {
    if (a == b) return Dim(1);
    const Dim difference = a - b;
    if (difference.is_static()) return Dim(0);
    const auto low = difference.lower_bound();
    const auto high = (b - a).lower_bound();
    if ((low && *low > 0) || (high && *high > 0)) return Dim(0);
    return std::nullopt;
  });
}

constexpr bool not_zero(int64_t sign) { return sign != 0; }
constexpr bool negative(int64_t sign) { return sign < 0; }
constexpr bool not_positive(int64_t sign) { return sign <= 0; }
constexpr bool positive(int64_t sign) { return sign > 0; }
constexpr bool not_negative(int64_t sign) { return sign >= 0; }
constexpr bool both(bool a, bool b) { return a && b; }
constexpr bool either(bool a, bool b) { return a || b; }
constexpr bool one(bool a, bool b) { return a != b; }

/// Comparison where the difference of the two sides has a known sign.
template <bool (*Holds)(int64_t sign)>
std::optional<std::vector<Dim>> content_order(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) -> MaybeDim {
    const Dim difference = a - b;
    if (difference.is_static()) return Dim(Holds(difference.value()) ? 1 : 0);
    const auto low = difference.lower_bound();
    if (low && *low > 0) return Dim(Holds(1) ? 1 : 0);
    const auto high = (b - a).lower_bound();
    if (high && *high > 0) return Dim(Holds(-1) ? 1 : 0);
    return std::nullopt;
  });
}

/// Logic on truth values that are known.
template <bool (*Combine)(bool, bool)>
std::optional<std::vector<Dim>> content_logic(const Node& n) {
  return zip_content(n, [](const Dim& a, const Dim& b) -> MaybeDim {
    if (!a.is_static() || !b.is_static()) return std::nullopt;
    return Dim(Combine(!a.is(0), !b.is(0)) ? 1 : 0);
  });
}

template <typename F>
std::optional<std::vector<Dim>> map_content(const Node& n, F f) {
  if (!n.operand(0)->content()) return std::nullopt;
  std::vector<Dim> out;
  for (const Dim& d : *n.operand(0)->content()) {
    const MaybeDim mapped = f(d);
    if (!mapped) return std::nullopt;
    out.push_back(*mapped);
  }
  return out;
}
std::optional<std::vector<Dim>> content_not(const Node& n) {
  return map_content(
      n, [](const Dim& d) { return d.is_static() ? MaybeDim(d.is(0) ? 1 : 0) : std::nullopt; });
}
std::optional<std::vector<Dim>> content_neg(const Node& n) {
  return map_content(n, [](const Dim& d) { return MaybeDim(Dim(0) - d); });
}

std::optional<std::vector<Dim>> content_select(const Node& n) {
  const Shape& shape = n.result()->shape();
  const auto c = broadcast_content(*n.operand(0), shape);
  const auto a = broadcast_content(*n.operand(1), shape);
  const auto b = broadcast_content(*n.operand(2), shape);
  if (!c || !a || !b) return std::nullopt;
  std::vector<Dim> out;
  for (size_t i = 0; i < c->size(); ++i) {
    if (!(*c)[i].is_static()) return std::nullopt;
    out.push_back((*c)[i].is(0) ? (*b)[i] : (*a)[i]);
  }
  return out;
}

/// Casts between integer types keep the elements; extents stay far below 2^31.
std::optional<std::vector<Dim>> content_cast(const Node& n) {
  const DType to = n.attrs().get("to", DType::undefined);
  if (!is_int(to) && to != DType::boolean) return std::nullopt;
  if (!is_int(n.operand(0)->dtype()) && n.operand(0)->dtype() != DType::boolean)
    return std::nullopt;
  if (size_of(to) < 4 && to != DType::boolean) return std::nullopt;
  return n.operand(0)->content();
}

std::optional<std::vector<Dim>> content_same(const Node& n) { return n.operand(0)->content(); }

constexpr AttrDef kCastAttrs[] = {{"to", AttrKind::dtype, true}};
constexpr AttrDef kModAttrs[] = {{"fmod", AttrKind::integer}};
constexpr AttrDef kInfAttrs[] = {{"detect_negative", AttrKind::integer},
                                 {"detect_positive", AttrKind::integer}};

constexpr std::string_view kIntegersOnly = "it is defined on integers alone";

constexpr OpDef unary(std::string_view name, std::string_view doc, GradientFunction gradient,
                      InferFunction f = infer_unary) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 1,
          .traits = kPointwise,
          .infer = f,
          .gradient = gradient,
          .doc = doc};
}

constexpr OpDef binary(std::string_view name, uint32_t extra, std::string_view doc,
                       GradientFunction gradient, ContentFunction content = nullptr,
                       InferFunction f = infer_binary, std::span<const AttrDef> attrs = {}) {
  return {.name = name,
          .min_operands = 2,
          .max_operands = 2,
          .attrs = attrs,
          .traits = kPointwise | extra,
          .infer = f,
          .content = content,
          .gradient = gradient,
          .doc = doc};
}

constexpr OpDef bitwise(std::string_view name, int operands, uint32_t extra, std::string_view doc) {
  return {.name = name,
          .min_operands = operands,
          .max_operands = operands,
          .traits = kPointwise | extra,
          .infer = operands == 1 ? infer_unary : infer_binary,
          .not_differentiable = kIntegersOnly,
          .doc = doc};
}

constexpr OpDef compare(std::string_view name, uint32_t extra, std::string_view doc,
                        ContentFunction content = nullptr) {
  return binary(name, extra, doc, zero_gradient, content, infer_compare);
}

constexpr OpDef kOps[] = {
    binary("add", kCommutative, "a + b", add_gradient, content_add),
    binary("sub", 0, "a - b", sub_gradient, content_sub),
    binary("mul", kCommutative, "a * b", mul_gradient, content_mul),
    binary("div", 0, "a / b; integers truncate", div_gradient, content_div),
    binary("mod", 0, "remainder; sign of b, or of a with fmod=1", mod_gradient, content_mod,
           infer_binary, kModAttrs),
    {.name = "pow",
     .min_operands = 2,
     .max_operands = 2,
     .traits = kPointwise,
     .infer = [](InferContext& c) { c.results[0] = {c.type(0).dtype, broadcast_all(c, 0, 1)}; },
     .gradient = pow_gradient,
     .doc = "a to the power b, in a's element type"},
    binary("max", kCommutative, "larger of a and b", max_gradient, content_max),
    binary("min", kCommutative, "smaller of a and b", min_gradient, content_min),
    bitwise("bit_and", 2, kCommutative, "bitwise and"),
    bitwise("bit_or", 2, kCommutative, "bitwise or"),
    bitwise("bit_xor", 2, kCommutative, "bitwise exclusive or"),
    bitwise("shift_left", 2, 0, "a << b"),
    bitwise("shift_right", 2, 0, "a >> b"),
    compare("and", kCommutative, "logical and", content_logic<both>),
    compare("or", kCommutative, "logical or", content_logic<either>),
    compare("xor", kCommutative, "logical exclusive or", content_logic<one>),
    compare("eq", kCommutative, "a == b", content_eq),
    compare("ne", kCommutative, "a != b", content_order<not_zero>),
    compare("lt", 0, "a < b", content_order<negative>),
    compare("le", 0, "a <= b", content_order<not_positive>),
    compare("gt", 0, "a > b", content_order<positive>),
    compare("ge", 0, "a >= b", content_order<not_negative>),
    {.name = "identity",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kPointwise,
     .infer = infer_unary,
     .content = content_same,
     .gradient = identity_gradient,
     .doc = "x"},
    {.name = "stop_gradient",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kPointwise,
     .infer = infer_unary,
     .gradient = zero_gradient,
     .doc = "x, a constant to differentiation"},
    {.name = "neg",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kPointwise,
     .infer = infer_unary,
     .content = content_neg,
     .gradient = neg_gradient,
     .doc = "-x"},
    unary("abs", "magnitude", abs_gradient),
    unary("sign", "-1, 0 or 1", zero_gradient),
    unary("exp", "e to the power x", exp_gradient),
    unary("log", "natural logarithm", log_gradient),
    unary("sqrt", "square root", sqrt_gradient),
    unary("rsqrt", "1 / square root", rsqrt_gradient),
    unary("reciprocal", "1 / x", reciprocal_gradient),
    unary("sin", "sine", sin_gradient),
    unary("cos", "cosine", cos_gradient),
    unary("tan", "tangent", tan_gradient),
    unary("asin", "arc sine", asin_gradient),
    unary("acos", "arc cosine", acos_gradient),
    unary("atan", "arc tangent", atan_gradient),
    unary("sinh", "hyperbolic sine", sinh_gradient),
    unary("cosh", "hyperbolic cosine", cosh_gradient),
    unary("tanh", "hyperbolic tangent", tanh_gradient),
    unary("asinh", "inverse hyperbolic sine", asinh_gradient),
    unary("acosh", "inverse hyperbolic cosine", acosh_gradient),
    unary("atanh", "inverse hyperbolic tangent", atanh_gradient),
    unary("erf", "error function", erf_gradient),
    unary("sigmoid", "1 / (1 + exp(-x))", sigmoid_gradient),
    unary("relu", "max(x, 0)", relu_gradient),
    unary("floor", "round towards minus infinity", zero_gradient),
    unary("ceil", "round towards plus infinity", zero_gradient),
    unary("round", "round to nearest, ties to even", zero_gradient),
    {.name = "not",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kPointwise,
     .infer = infer_unary,
     .content = content_not,
     .gradient = zero_gradient,
     .doc = "logical not"},
    bitwise("bit_not", 1, 0, "bitwise complement"),
    unary("is_nan", "x is not a number", zero_gradient, infer_unary_bool),
    {.name = "is_inf",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kInfAttrs,
     .traits = kPointwise,
     .infer = infer_unary_bool,
     .gradient = zero_gradient,
     .doc = "x is an infinity of a wanted sign"},
    {.name = "select",
     .min_operands = 3,
     .max_operands = 3,
     .traits = kPointwise,
     .infer = infer_select,
     .content = content_select,
     .gradient = select_gradient,
     .doc = "condition ? a : b"},
    {.name = "cast",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kCastAttrs,
     .traits = kPointwise,
     .infer = infer_cast,
     .content = content_cast,
     .gradient = cast_gradient,
     .doc = "conversion to element type `to`; float to integer truncates"},
    {.name = "bitcast",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kCastAttrs,
     .traits = kPointwise,
     .infer = infer_bitcast,
     .not_differentiable = "it looks at bits",
     .doc = "the same bits as element type `to` of the same size"},
};

}  // namespace

std::span<const OpDef> core_pointwise() { return kOps; }

}  // namespace tintype::ops
