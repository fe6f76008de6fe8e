// Counter-based random numbers and the initialisation schemes made of them.
#include "frontend/graph/initializer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tintype {

namespace {

/// The output function of SplitMix64 (Steele, Lea & Flood 2014): a bijection that mixes all bits.
uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Numbers addressed by a counter instead of drawn in sequence.
class CounterGenerator {
 public:
  CounterGenerator(uint64_t seed, std::string_view name) {
    uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
    for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    key_ = mix(hash ^ mix(seed + 0x9e3779b97f4a7c15u));
  }
  /// In (0, 1).
  double uniform(uint64_t i) const {
    const uint64_t bits = mix(key_ + (i + 1) * 0x9e3779b97f4a7c15u);
    return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
  }

 private:
  uint64_t key_;
};

/// Two standard normal numbers from two uniform ones: Box & Muller 1958.
void fill_normal(std::span<float> out, const CounterGenerator& random, double mean,
                 double deviation) {
  for (size_t i = 0; i < out.size(); i += 2) {
    const double radius = deviation * std::sqrt(-2 * std::log(random.uniform(i)));
    const double angle = 2 * std::numbers::pi * random.uniform(i + 1);
    out[i] = static_cast<float>(mean + radius * std::cos(angle));
    if (i + 1 < out.size()) out[i + 1] = static_cast<float>(mean + radius * std::sin(angle));
  }
}

void fill_uniform(std::span<float> out, const CounterGenerator& random, double low, double high) {
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(low + (high - low) * random.uniform(i));
}

/// Gram-Schmidt over the shorter side, twice, which keeps orthogonality to rounding error.
void fill_orthogonal(std::span<float> out, const CounterGenerator& random, size_t rows,
                     double gain) {
  const size_t columns = rows == 0 ? 0 : out.size() / rows;
  const bool tall = rows > columns;
  const size_t count = tall ? columns : rows;
  const size_t length = tall ? rows : columns;
  std::vector<float> start(count * length);
  fill_normal(start, random, 0, 1);
  std::vector<double> v(start.begin(), start.end());
  for (size_t i = 0; i < count; ++i) {
    double* row = v.data() + i * length;
    for (int round = 0; round < 2; ++round)
      for (size_t j = 0; j < i; ++j) {
        const double* other = v.data() + j * length;
        double dot = 0;
        for (size_t k = 0; k < length; ++k) dot += row[k] * other[k];
        for (size_t k = 0; k < length; ++k) row[k] -= dot * other[k];
      }
    double norm = 0;
    for (size_t k = 0; k < length; ++k) norm += row[k] * row[k];
    norm = std::sqrt(norm);
    for (size_t k = 0; k < length; ++k) row[k] /= norm;
  }
  for (size_t i = 0; i < count; ++i)
    for (size_t k = 0; k < length; ++k)
      out[tall ? k * columns + i : i * columns + k] = static_cast<float>(gain * v[i * length + k]);
}

}  // namespace

Tensor initialize(const Initializer& how, const std::vector<int64_t>& dims, int64_t fan_in,
                  int64_t fan_out, uint64_t seed, std::string_view name) {
  using Scheme = Initializer::Scheme;
  Tensor t = Tensor::empty(DType::f32, dims);
  const std::span<float> out = t.mutable_values<float>();
  const CounterGenerator random(seed, name);
  double fan = static_cast<double>(fan_in);
  if (how.fan == Initializer::Fan::out) fan = static_cast<double>(fan_out);
  if (how.fan == Initializer::Fan::average) fan = 0.5 * static_cast<double>(fan_in + fan_out);
  const double deviation = how.b * std::sqrt(how.a / std::max(fan, 1.0));
  switch (how.scheme) {
    case Scheme::uniform:
      if (how.a == how.b) std::fill(out.begin(), out.end(), static_cast<float>(how.a));
      else fill_uniform(out, random, how.a, how.b);
      break;
    case Scheme::normal: fill_normal(out, random, how.a, how.b); break;
    case Scheme::scaled_normal: fill_normal(out, random, 0, deviation); break;
    case Scheme::scaled_uniform: {
      const double bound = std::sqrt(3.0) * deviation;  // variance of U(-r, r) is r^2 / 3
      fill_uniform(out, random, -bound, bound);
      break;
    }
    case Scheme::orthogonal:
      fill_orthogonal(out, random, dims.empty() ? 1 : static_cast<size_t>(dims[0]), how.b);
      break;
  }
  return t;
}

}  // namespace tintype
