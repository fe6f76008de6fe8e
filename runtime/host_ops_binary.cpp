// Pointwise host ops of two operands.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"

namespace tintype {

namespace {

// Integers wrap: computed in the unsigned type of at least int's width, where overflow is defined.
template <typename C>
using Wrapping = std::conditional_t<std::is_integral_v<C>,
                                    std::conditional_t<(sizeof(C) > 4), uint64_t, uint32_t>, C>;

struct Add {
  template <typename C>
  static C apply(C a, C b) {
    return static_cast<C>(static_cast<Wrapping<C>>(a) + static_cast<Wrapping<C>>(b));
  }
};
struct Sub {
  template <typename C>
  static C apply(C a, C b) {
    return static_cast<C>(static_cast<Wrapping<C>>(a) - static_cast<Wrapping<C>>(b));
  }
};
struct Mul {
  template <typename C>
  static C apply(C a, C b) {
    return static_cast<C>(static_cast<Wrapping<C>>(a) * static_cast<Wrapping<C>>(b));
  }
};

// Integer division by zero gives 0, as in compiled kernels; the smallest value over -1 wraps.
struct Div {
  template <typename C>
  static C apply(C a, C b) {
    if constexpr (std::is_integral_v<C>) {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<C>)
        if (b == C{-1}) return Sub::apply(C{0}, a);
      return static_cast<C>(a / b);
    } else {
      return a / b;
    }
  }
};

// Remainder with the sign of the divisor.
struct FloorMod {
  template <typename C>
  static C apply(C a, C b) {
    if constexpr (std::is_integral_v<C>) {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<C>) {
        if (b == C{-1}) return 0;
        const C r = static_cast<C>(a % b);
        return r != 0 && (r < 0) != (b < 0) ? static_cast<C>(r + b) : r;
      } else {
        return static_cast<C>(a % b);
      }
    } else {
      const C r = std::fmod(a, b);
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
  }
};

// Remainder with the sign of the dividend.
struct TruncMod {
  template <typename C>
  static C apply(C a, C b) {
    if constexpr (std::is_integral_v<C>) {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<C>)
        if (b == C{-1}) return 0;
      return static_cast<C>(a % b);
    } else {
      return std::fmod(a, b);
    }
  }
};

// A NaN in either operand is the result.
struct Max {
  template <typename C>
  static C apply(C a, C b) {
    return a > b || a != a ? a : b;
  }
};
struct Min {
  template <typename C>
  static C apply(C a, C b) {
    return a < b || a != a ? a : b;
  }
};

struct BitAnd {
  template <typename C>
  static C apply(C a, C b) {
    return static_cast<C>(a & b);
  }
};
struct BitOr {
  template <typename C>
  static C apply(C a, C b) {
    return static_cast<C>(a | b);
  }
};
struct BitXor {
  template <typename C>
  static C apply(C a, C b) {
    return static_cast<C>(a ^ b);
  }
};

// Shifting by the width or more leaves no bits (or only sign bits).
struct ShiftLeft {
  template <typename C>
  static C apply(C a, C b) {
    if (b < 0 || b >= C{sizeof(C) * 8}) return 0;
    return static_cast<C>(static_cast<uint64_t>(a) << b);
  }
};
struct ShiftRight {
  template <typename C>
  static C apply(C a, C b) {
    constexpr C kLast = sizeof(C) * 8 - 1;
    if (b < 0 || b > kLast) return static_cast<C>(std::is_signed_v<C> && a < 0 ? -1 : 0);
    return static_cast<C>(a >> b);
  }
};

struct And {
  static bool apply(bool a, bool b) { return a && b; }
};
struct Or {
  static bool apply(bool a, bool b) { return a || b; }
};
struct Xor {
  static bool apply(bool a, bool b) { return a != b; }
};
struct Equal {
  template <typename C>
  static bool apply(C a, C b) {
    return a == b;
  }
};
struct NotEqual {
  template <typename C>
  static bool apply(C a, C b) {
    return a != b;
  }
};
struct Less {
  template <typename C>
  static bool apply(C a, C b) {
    return a < b;
  }
};
struct LessEqual {
  template <typename C>
  static bool apply(C a, C b) {
    return a <= b;
  }
};
struct Greater {
  template <typename C>
  static bool apply(C a, C b) {
    return a > b;
  }
};
struct GreaterEqual {
  template <typename C>
  static bool apply(C a, C b) {
    return a >= b;
  }
};

template <typename Op, typename A, typename B, typename R>
void run_rows(const HostCall& call) {
  const auto* a = static_cast<const A*>(call.inputs[0].data());
  const auto* b = static_cast<const B*>(call.inputs[1].data());
  auto* out = static_cast<R*>(call.outputs[0].mutable_data());
  const auto f = [](A x, B y) { return store<R>(Op::apply(load(x), load(y))); };
  Broadcast<2>(call.outputs[0].dims(), call.inputs.first(2))
      .for_rows([&](int64_t n, int64_t at, const auto& from, const auto& step) {
        const A* x = a + from[0];
        const B* y = b + from[1];
        R* r = out + at;
        if (step[0] == 1 && step[1] == 1) {
          for (int64_t i = 0; i < n; ++i) r[i] = f(x[i], y[i]);
        } else if (step[0] == 1 && step[1] == 0) {
          const B same = *y;
          for (int64_t i = 0; i < n; ++i) r[i] = f(x[i], same);
        } else if (step[0] == 0 && step[1] == 1) {
          const A same = *x;
          for (int64_t i = 0; i < n; ++i) r[i] = f(same, y[i]);
        } else {
          for (int64_t i = 0; i < n; ++i) r[i] = f(x[i * step[0]], y[i * step[1]]);
        }
      });
}

Status check_operands(const HostCall& call) {
  const DType a = call.inputs[0].dtype(), b = call.inputs[1].dtype();
  if (a != b)
    return {StatusCode::internal,
            "operands are " + std::string(name_of(a)) + " and " + std::string(name_of(b))};
  return Broadcast<2>::check(call.outputs[0], call.inputs.first(2));
}

/// Both operands and the result have the same element type.
template <typename Op, unsigned kKinds>
Status binary(const HostCall& call) {
  if (Status s = check_operands(call); !s.ok()) return s;
  return for_elements<kKinds>(call.inputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_rows<Op, T, T, T>(call);
  });
}

/// Both operands have the same element type, the result is bool.
template <typename Op, unsigned kKinds>
Status compare(const HostCall& call) {
  if (Status s = check_operands(call); !s.ok()) return s;
  return for_elements<kKinds>(call.inputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_rows<Op, T, T, Bool>(call);
  });
}

Status mod(const HostCall& call) {
  return call.attributes.integer("fmod", 0) != 0 ? binary<TruncMod, kNumbers>(call)
                                                 : binary<FloorMod, kNumbers>(call);
}

template <typename C>
C integer_power(C base, int64_t exponent) {
  if (exponent < 0) {  // the reciprocal, truncated
    if (base == 1) return 1;
    if constexpr (std::is_signed_v<C>)
      if (base == C{-1}) return exponent % 2 == 0 ? C{1} : C{-1};
    return 0;
  }
  C result = 1;
  for (; exponent != 0; exponent /= 2) {
    if (exponent % 2 != 0) result = Mul::apply(result, base);
    base = Mul::apply(base, base);
  }
  return result;
}

struct Power {
  template <typename A, typename B>
  static A apply(A a, B b) {
    if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
      return integer_power(a, static_cast<int64_t>(b));
    } else {
      const double r = std::pow(static_cast<double>(a), static_cast<double>(b));
      if constexpr (std::is_integral_v<A>)
        return std::abs(r) < 0x1p63 ? static_cast<A>(static_cast<int64_t>(r)) : A{0};
      else return static_cast<A>(r);
    }
  }
};

/// The exponent may have another element type; the result has that of the base.
Status pow(const HostCall& call) {
  if (Status s = Broadcast<2>::check(call.outputs[0], call.inputs.first(2)); !s.ok()) return s;
  Status status = unsupported_elements(call.inputs[0].dtype());
  with_elements<kNumbers>(call.inputs[0].dtype(), [&](auto base) {
    using A = typename decltype(base)::type;
    status = for_elements<kNumbers>(call.inputs[1].dtype(), [&](auto exponent) {
      run_rows<Power, A, typename decltype(exponent)::type, A>(call);
    });
  });
  return status;
}

constexpr HostOp kOps[] = {
    {"add", binary<Add, kNumbers>, 2, 2},
    {"sub", binary<Sub, kNumbers>, 2, 2},
    {"mul", binary<Mul, kNumbers>, 2, 2},
    {"div", binary<Div, kNumbers>, 2, 2},
    {"mod", mod, 2, 2},
    {"pow", pow, 2, 2},
    {"max", binary<Max, kNumbers>, 2, 2},
    {"min", binary<Min, kNumbers>, 2, 2},
    {"bit_and", binary<BitAnd, kInts>, 2, 2},
    {"bit_or", binary<BitOr, kInts>, 2, 2},
    {"bit_xor", binary<BitXor, kInts>, 2, 2},
    {"shift_left", binary<ShiftLeft, kInts>, 2, 2},
    {"shift_right", binary<ShiftRight, kInts>, 2, 2},
    {"and", binary<And, kBools>, 2, 2},
    {"or", binary<Or, kBools>, 2, 2},
    {"xor", binary<Xor, kBools>, 2, 2},
    {"eq", compare<Equal, kAnything>, 2, 2, 1, HostResult::boolean},
    {"ne", compare<NotEqual, kAnything>, 2, 2, 1, HostResult::boolean},
    {"lt", compare<Less, kNumbers>, 2, 2, 1, HostResult::boolean},
    {"le", compare<LessEqual, kNumbers>, 2, 2, 1, HostResult::boolean},
    {"gt", compare<Greater, kNumbers>, 2, 2, 1, HostResult::boolean},
    {"ge", compare<GreaterEqual, kNumbers>, 2, 2, 1, HostResult::boolean},
};

}  // namespace

std::span<const HostOp> binary_host_ops() { return kOps; }

}  // namespace tintype
