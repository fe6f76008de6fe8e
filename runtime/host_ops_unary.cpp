// Pointwise host ops of one operand.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"

namespace tintype {

namespace {

template <typename T, typename R, typename F>
void map(const HostCall& call, const F& f) {
  const auto* x = static_cast<const T*>(call.inputs[0].data());
  auto* out = static_cast<R*>(call.outputs[0].mutable_data());
  parallel_for(call.outputs[0].size(), kHostGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = store<R>(f(load(x[i])));
  });
}

/// Calls body(Tag<T>) for the operand's element type once the shapes are known to agree.
template <unsigned kKinds, typename Body>
Status for_operand(const HostCall& call, const Body& body) {
  if (Status s = expect_dims(call.outputs[0], call.inputs[0].dims()); !s.ok()) return s;
  return for_elements<kKinds>(call.inputs[0].dtype(), body);
}

/// A function of one real variable, evaluated in double and rounded once.
template <double (*kFunction)(double)>
Status real(const HostCall& call) {
  return for_operand<kFloats>(call, [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, T>(call, [](Compute<T> x) {
      return static_cast<Compute<T>>(kFunction(static_cast<double>(x)));
    });
  });
}

double rsqrt(double x) { return 1.0 / std::sqrt(x); }
double reciprocal(double x) { return 1.0 / x; }
double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// Op::apply, a template over the compute type.
template <typename Op, unsigned kKinds>
Status unary(const HostCall& call) {
  return for_operand<kKinds>(call, [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, T>(call, [](Compute<T> x) { return Op::apply(x); });
  });
}

struct Neg {
  template <typename C>
  static C apply(C x) {
    if constexpr (std::is_integral_v<C>)
      return static_cast<C>(uint64_t{0} - static_cast<uint64_t>(x));
    else return -x;
  }
};
struct Abs {
  template <typename C>
  static C apply(C x) {
    if constexpr (std::is_floating_point_v<C>) return std::abs(x);
    return x < 0 ? Neg::apply(x) : x;
  }
};
struct Sign {
  template <typename C>
  static C apply(C x) {
    if (x > 0) return 1;
    if (x < 0) return static_cast<C>(-1);
    return x;  // zero keeps its sign, NaN stays
  }
};
struct Relu {
  template <typename C>
  static C apply(C x) {
    return x < 0 ? C{0} : x;
  }
};
struct Not {
  static bool apply(bool x) { return !x; }
};
struct BitNot {
  template <typename C>
  static C apply(C x) {
    return static_cast<C>(~x);
  }
};

Status is_nan(const HostCall& call) {
  return for_operand<kFloats>(call, [&](auto tag) {
    map<typename decltype(tag)::type, Bool>(call, [](auto x) { return x != x; });
  });
}

Status is_inf(const HostCall& call) {
  const bool negative = call.attributes.integer("detect_negative", 1) != 0;
  const bool positive = call.attributes.integer("detect_positive", 1) != 0;
  return for_operand<kFloats>(call, [&](auto tag) {
    map<typename decltype(tag)::type, Bool>(
        call, [=](auto x) { return std::isinf(x) && (x < 0 ? negative : positive); });
  });
}

double as_floor(double x) { return std::floor(x); }
double as_ceil(double x) { return std::ceil(x); }
/// Nearest integer, ties to even, whatever the rounding mode of the caller.
double as_round(double x) {
  const double floor = std::floor(x), rest = x - floor;
  if (rest < 0.5 || x == floor) return x == floor ? x : std::copysign(floor, x);
  const double up = rest > 0.5 || std::fmod(floor, 2.0) != 0.0 ? floor + 1.0 : floor;
  return std::copysign(up, x);
}

constexpr HostOp kOps[] = {
    {"neg", unary<Neg, kSignedInts | kFloats>},
    {"abs", unary<Abs, kNumbers>},
    {"sign", unary<Sign, kNumbers>},
    {"relu", unary<Relu, kNumbers>},
    {"not", unary<Not, kBools>},
    {"bit_not", unary<BitNot, kInts>},
    {"is_nan", is_nan, 1, 1, 1, HostResult::boolean},
    {"is_inf", is_inf, 1, 1, 1, HostResult::boolean},
    {"exp", real<std::exp>},
    {"log", real<std::log>},
    {"sqrt", real<std::sqrt>},
    {"rsqrt", real<rsqrt>},
    {"reciprocal", real<reciprocal>},
    {"sin", real<std::sin>},
    {"cos", real<std::cos>},
    {"tan", real<std::tan>},
    {"asin", real<std::asin>},
    {"acos", real<std::acos>},
    {"atan", real<std::atan>},
    {"sinh", real<std::sinh>},
    {"cosh", real<std::cosh>},
    {"tanh", real<std::tanh>},
    {"asinh", real<std::asinh>},
    {"acosh", real<std::acosh>},
    {"atanh", real<std::atanh>},
    {"erf", real<std::erf>},
    {"sigmoid", real<sigmoid>},
    {"floor", real<as_floor>},
    {"ceil", real<as_ceil>},
    {"round", real<as_round>},
};

}  // namespace

std::span<const HostOp> unary_host_ops() { return kOps; }

}  // namespace tintype
