// Positions of a product as numbers whose digits are the dims of its result.
#pragma once

#include "codegen/composer.h"

namespace tintype {

inline bool is_one(const Halide::Expr& e) { return Halide::Internal::is_const_one(e); }

inline Halide::Expr product(const Index& extents) {
  Halide::Expr p = 1;
  for (const Halide::Expr& e : extents) p = p * e;
  return Halide::Internal::simplify(p);
}

/// The digits of a number that is below the product of the extents. Division of what is not
/// negative takes a fifth of the instructions of Halide's for both signs.
inline Index digits(Halide::Expr number, const Index& extents) {
  Index d(extents.size(), Halide::Expr(0));
  for (size_t i = extents.size(); i-- > 0;) {
    if (is_one(extents[i])) continue;
    if (i == 0) {
      d[i] = Halide::unsafe_promise_clamped(number, 0, extents[i] - 1);
    } else if (Halide::Internal::is_const(extents[i])) {
      d[i] = number % extents[i];
      number = number / extents[i];
    } else {
      const Halide::Expr whole = Halide::cast<int32_t>(Halide::cast<uint32_t>(number) /
                                                       Halide::cast<uint32_t>(extents[i]));
      d[i] = Halide::unsafe_promise_clamped(number - whole * extents[i], 0, extents[i] - 1);
      number = whole;
    }
  }
  return d;
}

}  // namespace tintype
