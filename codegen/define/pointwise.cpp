// Definitions of the pointwise core ops as Halide expressions.
#include "codegen/compose.h"
#include "codegen/define/added.h"
#include "codegen/define/math.h"
#include "ir/diagnostic.h"

#include <Halide.h>
#include <functional>
#include <limits>
#include <map>
#include <unordered_map>

namespace tintype {

using Halide::Expr;
using Halide::Type;

Type halide_type(DType dtype) {
  switch (dtype) {
    case DType::boolean: return Halide::Bool();
    case DType::i8: return Halide::Int(8);
    case DType::i16: return Halide::Int(16);
    case DType::i32: return Halide::Int(32);
    case DType::i64: return Halide::Int(64);
    case DType::u8: return Halide::UInt(8);
    case DType::u16: return Halide::UInt(16);
    case DType::u32: return Halide::UInt(32);
    case DType::u64: return Halide::UInt(64);
    case DType::f16: return Halide::Float(16);
    case DType::bf16: return Halide::BFloat(16);
    case DType::f32: return Halide::Float(32);
    case DType::f64: return Halide::Float(64);
    case DType::undefined: break;
  }
  throw InternalError("a tensor without element type reaches code generation");
}

Type arithmetic_type(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16 ? Halide::Float(32) : halide_type(dtype);
}

Halide::Expr literal(const Tensor& t) {
  const Halide::Type type = arithmetic_type(t.dtype());
  auto wrap = [&type](auto x) { return Halide::Internal::make_const(type, x); };
  switch (t.dtype()) {
    case DType::f32: return Expr(t.values<float>()[0]);
    case DType::f64: return Expr(t.values<double>()[0]);
    case DType::f16: return Expr(f16_to_f32(t.values<uint16_t>()[0]));
    case DType::bf16: return Expr(bf16_to_f32(t.values<uint16_t>()[0]));
    case DType::boolean:
      return t.values<uint8_t>()[0] != 0 ? Halide::Internal::const_true()
                                         : Halide::Internal::const_false();
    case DType::i8: return wrap(static_cast<int64_t>(t.values<int8_t>()[0]));
    case DType::i16: return wrap(static_cast<int64_t>(t.values<int16_t>()[0]));
    case DType::i32: return wrap(static_cast<int64_t>(t.values<int32_t>()[0]));
    case DType::i64: return wrap(t.values<int64_t>()[0]);
    case DType::u8: return wrap(static_cast<uint64_t>(t.values<uint8_t>()[0]));
    case DType::u16: return wrap(static_cast<uint64_t>(t.values<uint16_t>()[0]));
    case DType::u32: return wrap(static_cast<uint64_t>(t.values<uint32_t>()[0]));
    case DType::u64: return wrap(t.values<uint64_t>()[0]);
    case DType::undefined: break;
  }
  throw InternalError("literal without element type");
}

namespace {

using Args = const std::vector<Expr>&;
using Definition = Expr (*)(const Node&, Args);

Expr zero_like(const Expr& e) { return Halide::Internal::make_zero(e.type()); }
Expr one_like(const Expr& e) { return Halide::Internal::make_one(e.type()); }
bool is_real(const Expr& e) { return e.type().is_float(); }

/// A divisor that the processor accepts: lanes beyond the end of a tensor hold zeros, and integer
/// division by zero traps. Dividing by zero itself is undefined in ONNX.
Expr safe_divisor(const Expr& b) {
  const Expr one = one_like(b);
  if (b.type().is_uint()) return Halide::select(b == zero_like(b), one, b);
  return Halide::select(b == zero_like(b) || b == -one, one, b);
}

Expr divide(const Node&, Args a) {
  if (is_real(a[0])) return a[0] / a[1];
  const Expr b = safe_divisor(a[1]);
  if (a[0].type().is_uint()) return a[0] / b;
  // -1 has its own case: the quotient of the smallest integer overflows, which traps, too.
  return Halide::select(a[1] == -one_like(a[1]), -a[0], Halide::div_round_to_zero(a[0], b));
}

/// libm's remainder: exact, and defined for infinities.
Expr float_remainder(const Expr& a, const Expr& b) {
  const char* name = a.type().bits() == 64 ? "fmod" : "fmodf";
  return Halide::Internal::Call::make(a.type(), name, {a, b}, Halide::Internal::Call::PureExtern);
}

Expr modulo(const Node& n, Args a) {
  const bool c_style = n.attrs().integer("fmod") != 0;
  if (a[0].type().is_uint()) return a[0] % safe_divisor(a[1]);
  const Expr r = is_real(a[0]) ? float_remainder(a[0], a[1])
                               : Halide::mod_round_to_zero(a[0], safe_divisor(a[1]));
  if (c_style) return r;
  const Expr zero = zero_like(r);
  return Halide::select(r != zero && ((r < zero) != (a[1] < zero)), r + a[1], r);
}

/// Integer powers by squaring are exact; five or six steps cover every exponent that does not
/// overflow.
Expr integer_power(const Expr& base, const Expr& exponent) {
  const Type t = base.type();
  Expr result = one_like(base);
  Expr square = base;
  Expr rest = Halide::cast(Halide::Int(64), exponent);
  for (int i = 0; i < 6; ++i) {
    result = Halide::select((rest & 1) != 0, result * square, result);
    square = square * square;
    rest = rest >> 1;
  }
  return Halide::cast(t, result);
}

Expr power(const Node&, Args a) {
  if (!is_real(a[0]) && !is_real(a[1])) return integer_power(a[0], a[1]);
  const Type wide =
      a[0].type().bits() == 64 || a[1].type().bits() == 64 ? Halide::Float(64) : Halide::Float(32);
  const Expr base = Halide::cast(wide, a[0]);
  const Expr exponent = Halide::cast(wide, a[1]);
  return Halide::cast(a[0].type(), math::power(base, exponent));
}

/// False where either is NaN; Halide takes a <= b for "not b < a".
Expr at_most(const Expr& a, const Expr& b) { return is_real(a) ? a < b || a == b : a <= b; }

/// NaN in either operand gives NaN, as ONNX and numpy have it.
Expr maximum(const Node&, Args a) {
  if (!is_real(a[0])) return Halide::max(a[0], a[1]);
  return Halide::select(a[0] > a[1] || math::is_nan(a[0]), a[0], a[1]);
}

Expr minimum(const Node&, Args a) {
  if (!is_real(a[0])) return Halide::min(a[0], a[1]);
  return Halide::select(a[0] < a[1] || math::is_nan(a[0]), a[0], a[1]);
}

/// The count as an unsigned number, at most the width: negative counts act like huge ones.
Expr shift_count(const Expr& x, const Expr& count) {
  const Halide::Type u = Halide::UInt(x.type().bits());
  return Halide::min(Halide::reinterpret(u, Halide::cast(x.type(), count)),
                     Halide::Internal::make_const(u, x.type().bits()));
}

Expr shift_left(const Node&, Args a) {
  const Expr count = shift_count(a[0], a[1]);
  const Expr bits = Halide::Internal::make_const(count.type(), a[0].type().bits());
  return Halide::select(count >= bits, zero_like(a[0]),
                        a[0] << Halide::min(count, bits - one_like(count)));
}

/// Arithmetic for signed types: shifting everything out leaves the sign.
Expr shift_right(const Node&, Args a) {
  const Expr count = shift_count(a[0], a[1]);
  const Expr bits = Halide::Internal::make_const(count.type(), a[0].type().bits());
  const Expr shifted = a[0] >> Halide::min(count, bits - one_like(count));
  return a[0].type().is_uint() ? Halide::select(count >= bits, zero_like(a[0]), shifted) : shifted;
}

Expr sign(const Node&, Args a) {
  const Expr zero = zero_like(a[0]);
  if (a[0].type().is_uint()) return Halide::select(a[0] > zero, one_like(a[0]), zero);
  return Halide::select(a[0] > zero, one_like(a[0]), a[0] < zero, -one_like(a[0]), a[0]);
}

Expr is_inf(const Node& n, Args a) {
  const bool negative = n.attrs().integer("detect_negative", 1) != 0;
  const bool positive = n.attrs().integer("detect_positive", 1) != 0;
  const Expr zero = zero_like(a[0]);
  Expr wanted = Halide::Internal::const_false();
  if (positive) wanted = wanted || a[0] > zero;
  if (negative) wanted = wanted || a[0] < zero;
  return Halide::is_inf(a[0]) && wanted;
}

Expr convert(const Node& n, Args a) {
  const DType to = n.attrs().get("to", DType::undefined);
  const Type type = arithmetic_type(to);
  if (to == DType::boolean) return a[0] != zero_like(a[0]);
  Expr e = a[0];
  if (to == DType::f16) e = Halide::cast(Halide::Float(16), e);  // rounds where ONNX rounds
  if (to == DType::bf16) e = Halide::cast(Halide::BFloat(16), e);
  return Halide::cast(type, e);
}

/// Half floats are computed with as f32, whatever the tensor holds.
Expr bits_of(const Expr& e, DType from) {
  if (from == DType::boolean) return Halide::cast(Halide::UInt(8), e);
  if (from == DType::bf16) return math::bf16_bits(e);
  return from == DType::f16 ? Halide::cast(Halide::Float(16), e) : e;
}

Expr reinterpreted(const Node& n, Args a) {
  const DType to = n.attrs().get("to", DType::undefined);
  const Expr bits = bits_of(a[0], n.operand(0)->dtype());
  if (to == DType::boolean) return bits != zero_like(bits);
  if (to == DType::bf16) return math::from_bf16_bits(Halide::reinterpret(Halide::UInt(16), bits));
  return Halide::cast(arithmetic_type(to), Halide::reinterpret(halide_type(to), bits));
}

/// NaN stays NaN. As it stands this is one instruction of x86, whose maximum gives its second
/// operand where one is NaN; simplified to Halide's maximum it would be the other way round.
Expr relu(const Node&, Args a) {
  const Expr zero = zero_like(a[0]);
  if (!is_real(a[0])) return Halide::max(a[0], zero);
  return Halide::select(Halide::strict_float(a[0] < zero), zero, a[0]);
}

Expr logical_not(const Node&, Args a) { return !a[0]; }

const std::unordered_map<std::string_view, Definition>& table() {
  static const std::unordered_map<std::string_view, Definition> map = {
      {"add", [](const Node&, Args a) -> Expr { return a[0] + a[1]; }},
      {"sub", [](const Node&, Args a) -> Expr { return a[0] - a[1]; }},
      {"mul", [](const Node&, Args a) -> Expr { return a[0] * a[1]; }},
      {"div", divide},
      {"mod", modulo},
      {"pow", power},
      {"max", maximum},
      {"min", minimum},
      {"bit_and", [](const Node&, Args a) -> Expr { return a[0] & a[1]; }},
      {"bit_or", [](const Node&, Args a) -> Expr { return a[0] | a[1]; }},
      {"bit_xor", [](const Node&, Args a) -> Expr { return a[0] ^ a[1]; }},
      {"shift_left", shift_left},
      {"shift_right", shift_right},
      {"and", [](const Node&, Args a) -> Expr { return a[0] && a[1]; }},
      {"or", [](const Node&, Args a) -> Expr { return a[0] || a[1]; }},
      {"xor", [](const Node&, Args a) -> Expr { return a[0] != a[1]; }},
      {"eq", [](const Node&, Args a) -> Expr { return a[0] == a[1]; }},
      {"ne", [](const Node&, Args a) -> Expr { return a[0] != a[1]; }},
      {"lt", [](const Node&, Args a) -> Expr { return a[0] < a[1]; }},
      {"le", [](const Node&, Args a) -> Expr { return at_most(a[0], a[1]); }},
      {"gt", [](const Node&, Args a) -> Expr { return a[0] > a[1]; }},
      {"ge", [](const Node&, Args a) -> Expr { return at_most(a[1], a[0]); }},
      {"identity", [](const Node&, Args a) -> Expr { return a[0]; }},
      {"stop_gradient", [](const Node&, Args a) -> Expr { return a[0]; }},
      {"neg", [](const Node&, Args a) -> Expr { return -a[0]; }},
      {"abs",
       [](const Node&, Args a) -> Expr {
         return a[0].type().is_uint() ? a[0] : Halide::cast(a[0].type(), Halide::abs(a[0]));
       }},
      {"sign", sign},
      {"exp", [](const Node&, Args a) -> Expr { return math::exp(a[0]); }},
      {"log", [](const Node&, Args a) -> Expr { return Halide::log(a[0]); }},
      {"sqrt", [](const Node&, Args a) -> Expr { return Halide::sqrt(a[0]); }},
      {"rsqrt", [](const Node&, Args a) -> Expr { return one_like(a[0]) / Halide::sqrt(a[0]); }},
      {"reciprocal", [](const Node&, Args a) -> Expr { return one_like(a[0]) / a[0]; }},
      {"sin", [](const Node&, Args a) -> Expr { return Halide::sin(a[0]); }},
      {"cos", [](const Node&, Args a) -> Expr { return Halide::cos(a[0]); }},
      {"tan", [](const Node&, Args a) -> Expr { return Halide::tan(a[0]); }},
      {"asin", [](const Node&, Args a) -> Expr { return Halide::asin(a[0]); }},
      {"acos", [](const Node&, Args a) -> Expr { return Halide::acos(a[0]); }},
      {"atan", [](const Node&, Args a) -> Expr { return Halide::atan(a[0]); }},
      {"sinh", [](const Node&, Args a) -> Expr { return Halide::sinh(a[0]); }},
      {"cosh", [](const Node&, Args a) -> Expr { return Halide::cosh(a[0]); }},
      {"tanh", [](const Node&, Args a) -> Expr { return math::tanh(a[0]); }},
      {"asinh", [](const Node&, Args a) -> Expr { return Halide::asinh(a[0]); }},
      {"acosh", [](const Node&, Args a) -> Expr { return Halide::acosh(a[0]); }},
      {"atanh", [](const Node&, Args a) -> Expr { return Halide::atanh(a[0]); }},
      {"erf", [](const Node&, Args a) -> Expr { return math::erf(a[0]); }},
      {"sigmoid", [](const Node&, Args a) -> Expr { return math::sigmoid(a[0]); }},
      {"relu", relu},
      {"floor", [](const Node&, Args a) -> Expr { return Halide::floor(a[0]); }},
      {"ceil", [](const Node&, Args a) -> Expr { return Halide::ceil(a[0]); }},
      {"round", [](const Node&, Args a) -> Expr { return Halide::round(a[0]); }},
      {"not", logical_not},
      {"bit_not", [](const Node&, Args a) -> Expr { return ~a[0]; }},
      {"is_nan", [](const Node&, Args a) -> Expr { return math::is_nan(a[0]); }},
      {"is_inf", is_inf},
      {"select", [](const Node&, Args a) -> Expr { return Halide::select(a[0], a[1], a[2]); }},
      {"cast", convert},
      {"bitcast", reinterpreted},
  };
  return map;
}

}  // namespace

bool has_pointwise_definition(std::string_view op_name) {
  return table().count(op_name) != 0 || find_pointwise_definition(op_name) != nullptr;
}

Expr define_pointwise(const Node& node, const std::vector<Expr>& operands) {
  if (const auto it = table().find(node.name()); it != table().end())
    return it->second(node, operands);
  const PointwiseDefinition added = find_pointwise_definition(node.name());
  if (added == nullptr)
    throw Error(node.where() + " (" + std::string(node.name()) +
                "): the op has no definition; its plugin must call register_definition for it");
  return added(node, operands);
}

namespace {

/// libdevice's names for the functions of libm that definitions call, and bf16 by its bits.
class DeviceFunctions final : public Halide::Internal::IRGraphMutator {
  using Halide::Internal::IRGraphMutator::visit;
  Expr visit(const Halide::Internal::Call* call) override {
    static const std::map<std::string, const char*> names = {
        {"fmod", "__nv_fmod"}, {"fmodf", "__nv_fmodf"}, {"erf", "__nv_erf"}};
    const auto known = names.find(call->name);
    if (call->call_type != Halide::Internal::Call::PureExtern || known == names.end())
      return Halide::Internal::IRGraphMutator::visit(call);
    std::vector<Expr> arguments;
    for (const Expr& e : call->args) arguments.push_back(mutate(e));
    return Halide::Internal::Call::make(call->type, known->second, arguments,
                                        Halide::Internal::Call::PureExtern);
  }
  Expr visit(const Halide::Internal::Cast* cast) override {
    const auto* to_bf16 = cast->value.as<Halide::Internal::Cast>();
    if (to_bf16 == nullptr || !to_bf16->type.is_bfloat())
      return Halide::Internal::IRGraphMutator::visit(cast);
    const Expr x = Halide::cast<float>(mutate(to_bf16->value));
    return Halide::cast(cast->type, math::from_bf16_bits(math::bf16_bits(x)));
  }
};

}  // namespace

Expr device_functions(const Node& node, const Expr& e) {
  // The only ops with such calls; others need no walk through all that their operands are made of.
  if (!node.is("mod") && !node.is("erf") && !node.is("cast")) return e;
  return DeviceFunctions().mutate(e);
}

bool is_expensive(const Node& node) {
  static constexpr std::string_view kCheap[] = {
      "add",     "sub", "mul", "max", "min", "relu", "neg", "abs", "select", "cast", "identity",
      "bitcast", "eq",  "ne",  "lt",  "le",  "gt",   "ge",  "and", "or",     "not"};
  for (std::string_view name : kCheap)
    if (node.is(name)) return false;
  return true;
}

}  // namespace tintype
