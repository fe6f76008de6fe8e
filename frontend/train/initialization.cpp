// Names of the schemes, and how many terms meet in a weight.
#include "frontend/train/initialization.h"

#include "frontend/train/parameters.h"
#include "frontend/train/spec.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <numeric>

namespace tintype {

namespace {

/// The schemes whose only setting is a gain.
struct Scaled {
  std::string_view name;
  Initializer (*make)(double gain);
};
constexpr Scaled kScaled[] = {
    {"xavier_uniform", init::xavier_uniform}, {"xavier_normal", init::xavier_normal},
    {"he_uniform", init::he_uniform},         {"he_normal", init::he_normal},
    {"lecun_uniform", init::lecun_uniform},   {"lecun_normal", init::lecun_normal},
    {"orthogonal", init::orthogonal},
};

Initializer unscaled(SpecReader& reader) {
  double value = 0, low = 0, high = 1, mean = 0, deviation = 1;
  if (reader.name() == "zeros") return init::zeros();
  if (reader.name() == "ones") return init::ones();
  if (reader.name() == "constant") {
    reader("value", value);
    return init::constant(value);
  }
  if (reader.name() == "uniform") {
    reader("low", low);
    reader("high", high);
    return init::uniform(low, high);
  }
  if (reader.name() == "normal") {
    reader("mean", mean);
    reader("std", deviation);
    return init::normal(deviation, mean);
  }
  std::vector<std::string> names = {"zeros", "ones", "constant", "uniform", "normal"};
  for (const Scaled& s : kScaled) names.emplace_back(s.name);
  std::string list;
  for (const std::string& n : names) list += (list.empty() ? "" : ", ") + n;
  throw Error("there is no initialisation '" + reader.name() + "'" +
              did_you_mean(reader.name(), names) + "; known are " + list);
}

struct Fans {
  int64_t in, out;
};

/// `axis` counts the units. Behind it, or between it and the axis of inputs, lie the taps of
/// convolutions; in front of it the directions of recurrent weights and the matrices of a batch.
Fans fans_of(const std::vector<int64_t>& dims, int axis) {
  const auto product = [&](size_t from, size_t to) {
    return std::accumulate(dims.begin() + static_cast<std::ptrdiff_t>(from),
                           dims.begin() + static_cast<std::ptrdiff_t>(to), int64_t{1},
                           std::multiplies<>());
  };
  const size_t rank = dims.size();
  if (axis < 0) return {dims.front(), dims.back()};  // a table: rows are looked up
  const auto unit = static_cast<size_t>(axis);
  if (unit == 0) return {product(1, rank), dims[0] * product(2, rank)};
  if (unit + 1 == rank) return {dims[rank - 2], dims[rank - 1]};
  if (rank == 3) return {dims[2], dims[1]};
  return {dims[0] * product(2, rank), dims[1] * product(2, rank)};  // transposed convolution
}

/// Weights have units, and tables rows that are looked up; biases, scales and slopes have neither.
bool is_weight(const Parameter& p) {
  const auto& uses = p.value->uses();
  return p.value->rank() >= 2 &&
         (p.unit_axis >= 0 || std::any_of(uses.begin(), uses.end(), [](const Use& u) {
            return u.node->is("Gather") && u.operand == 0;
          }));
}

Tensor of_type(DType dtype, const Tensor& values) {
  if (dtype == DType::f32) return values;
  Tensor t = Tensor::empty(dtype, values.dims());
  auto* to = static_cast<std::byte*>(t.mutable_data());
  for (const float v : values.values<float>()) {
    store_scalar(dtype, static_cast<double>(v), to);
    to += size_of(dtype);
  }
  return t;
}

}  // namespace

Initializer parse_initializer(std::string_view text) {
  SpecReader reader(text, "initialisation");
  for (const Scaled& s : kScaled) {
    if (reader.name() != s.name) continue;
    double gain = 1;
    reader("gain", gain);
    reader.finish();
    return s.make(gain);
  }
  const Initializer how = unscaled(reader);
  reader.finish();
  return how;
}

void initialize_weights(Graph& graph, const Initializer& how, uint64_t seed) {
  for (const Parameter& p : find_parameters(graph)) {
    if (!is_weight(p)) continue;
    const Tensor& old = *p.value->constant();
    const Fans fans = fans_of(old.dims(), p.unit_axis);
    Tensor drawn = initialize(how, old.dims(), fans.in, fans.out, seed, p.value->name());
    p.value->def()->attrs().set("value", of_type(old.dtype(), drawn));
  }
}

}  // namespace tintype
