// How parameters of the graph API get their first values, the same for the same seed and name.
#pragma once

#include "runtime/tensor.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace tintype {

/// A distribution for the elements of a parameter; made by the functions in namespace `init`.
struct Initializer {
  enum class Scheme : uint8_t { uniform, normal, scaled_uniform, scaled_normal, orthogonal };
  enum class Fan : uint8_t { in, out, average };
  Scheme scheme = Scheme::uniform;
  Fan fan = Fan::in;
  /// uniform: bounds; normal: mean and deviation; scaled: `a` is the numerator of the variance
  /// a / fan and `b` a gain on top; orthogonal: `b` is the gain.
  double a = 0, b = 0;
};

namespace init {

inline Initializer uniform(double low, double high) {
  return {Initializer::Scheme::uniform, Initializer::Fan::in, low, high};
}
inline Initializer constant(double value) { return uniform(value, value); }
inline Initializer zeros() { return constant(0); }
inline Initializer ones() { return constant(1); }
inline Initializer normal(double deviation, double mean = 0) {
  return {Initializer::Scheme::normal, Initializer::Fan::in, mean, deviation};
}
/// Variance 2 / (fan_in + fan_out): Glorot & Bengio 2010, equation 16.
inline Initializer xavier_uniform(double gain = 1) {
  return {Initializer::Scheme::scaled_uniform, Initializer::Fan::average, 1, gain};
}
inline Initializer xavier_normal(double gain = 1) {
  return {Initializer::Scheme::scaled_normal, Initializer::Fan::average, 1, gain};
}
/// Variance 2 / fan_in: He et al. 2015 (Delving Deep into Rectifiers), equation 10.
inline Initializer he_uniform(double gain = 1) {
  return {Initializer::Scheme::scaled_uniform, Initializer::Fan::in, 2, gain};
}
inline Initializer he_normal(double gain = 1) {
  return {Initializer::Scheme::scaled_normal, Initializer::Fan::in, 2, gain};
}
/// Variance 1 / fan_in: LeCun et al. 1998 (Efficient BackProp), equation 16.
inline Initializer lecun_uniform(double gain = 1) {
  return {Initializer::Scheme::scaled_uniform, Initializer::Fan::in, 1, gain};
}
inline Initializer lecun_normal(double gain = 1) {
  return {Initializer::Scheme::scaled_normal, Initializer::Fan::in, 1, gain};
}
/// Rows (or columns, if there are fewer) are orthonormal: Saxe et al. 2014.
inline Initializer orthogonal(double gain = 1) {
  return {Initializer::Scheme::orthogonal, Initializer::Fan::in, 0, gain};
}

}  // namespace init

/// A parameter f32[dims]. Element i depends on (seed, name, i) alone, so that adding a layer leaves
/// the others as they are. `fan_in` and `fan_out` count the terms of a forward and a backward sum.
Tensor initialize(const Initializer& how, const std::vector<int64_t>& dims, int64_t fan_in,
                  int64_t fan_out, uint64_t seed, std::string_view name);

}  // namespace tintype
