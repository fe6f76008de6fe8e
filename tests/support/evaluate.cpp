// Host evaluation of whole graphs, region bodies included.
#include "tests/support/evaluate.h"

#include "ir/diagnostic.h"
#include "passes/evaluate.h"
#include "passes/passes.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

namespace tintype::test {

namespace {

SymbolLookup lookup_in(const Symbols& symbols) {
  return [&symbols](std::string_view name) -> std::optional<int64_t> {
    const auto it = symbols.find(name);
    if (it == symbols.end()) return std::nullopt;
    return it->second;
  };
}

void check_constraints(const Graph& graph, const Symbols& symbols) {
  for (const DimConstraint& c : graph.constraints()) {
    const auto left = c.left.evaluate(lookup_in(symbols));
    const auto right = c.right.evaluate(lookup_in(symbols));
    if (left && right && *left != *right)
      throw Error(c.message + ": " + std::to_string(*left) + " is not " + std::to_string(*right));
  }
}

double number_at(const Tensor& t, int64_t i) {
  const auto at = static_cast<size_t>(i);
  switch (t.dtype()) {
    case DType::f32: return static_cast<double>(t.values<float>()[at]);
    case DType::f64: return t.values<double>()[at];
    case DType::f16: return static_cast<double>(f16_to_f32(t.values<uint16_t>()[at]));
    case DType::bf16: return static_cast<double>(bf16_to_f32(t.values<uint16_t>()[at]));
    case DType::i64: return static_cast<double>(t.values<int64_t>()[at]);
    case DType::i32: return t.values<int32_t>()[at];
    case DType::i16: return t.values<int16_t>()[at];
    case DType::i8: return t.values<int8_t>()[at];
    case DType::u64: return static_cast<double>(t.values<uint64_t>()[at]);
    case DType::u32: return t.values<uint32_t>()[at];
    case DType::u16: return t.values<uint16_t>()[at];
    case DType::u8:
    case DType::boolean: return t.values<uint8_t>()[at];
    case DType::undefined: break;
  }
  return 0;
}

}  // namespace

Symbols small_symbols(const Graph& graph) {
  constexpr int64_t values[] = {2, 5, 7, 3, 4, 6};
  Symbols symbols;
  for (const auto& input : graph.inputs())
    for (const Dim& d : input->shape())
      d.symbols([&](const std::string& name) {
        symbols.emplace(name, values[symbols.size() % std::size(values)]);
      });
  return symbols;
}

std::vector<Tensor> random_inputs(const Graph& graph, const Symbols& symbols, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> real(-1.0, 1.0);
  std::vector<Tensor> inputs;
  for (const auto& input : graph.inputs()) {
    const auto dims = known_dims(input->shape(), lookup_in(symbols));
    if (!dims) throw Error("input '" + input->name() + "' has a symbol without a value");
    Tensor t = Tensor::empty(input->dtype(), *dims);
    auto* to = static_cast<std::byte*>(t.mutable_data());
    for (int64_t i = 0; i < t.size(); ++i, to += size_of(t.dtype()))
      store_scalar(t.dtype(),
                   is_float(t.dtype()) ? real(random) : static_cast<double>(random() % 3), to);
    inputs.push_back(std::move(t));
  }
  return inputs;
}

std::vector<Tensor> evaluate(const Graph& graph, const std::vector<Tensor>& inputs,
                             const Symbols& symbols) {
  const std::unique_ptr<Graph> copy = graph.clone();
  PassContext context;
  decompose(*copy, context);
  check_constraints(*copy, symbols);
  return evaluate_graph(*copy, inputs, lookup_in(symbols));
}

std::vector<Tensor> evaluate(const Graph& graph, const std::vector<Tensor>& inputs) {
  Symbols symbols;
  for (size_t i = 0; i < inputs.size(); ++i)
    for (size_t k = 0; k < inputs[i].dims().size(); ++k)
      if (const auto name = graph.inputs()[i]->shape()[k].symbol_name())
        symbols.emplace(*name, inputs[i].dims()[k]);
  return evaluate(graph, inputs, symbols);
}

std::string difference(const Tensor& got, const Tensor& want, double tolerance) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims())
    return "got " + got.type_string() + ", want " + want.type_string();
  double scale = 1.0;
  for (int64_t i = 0; i < want.size(); ++i)
    if (std::isfinite(number_at(want, i))) scale = std::max(scale, std::abs(number_at(want, i)));
  for (int64_t i = 0; i < want.size(); ++i) {
    const double a = number_at(got, i);
    const double b = number_at(want, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!(std::abs(a - b) <= tolerance * scale))
      return "element " + std::to_string(i) + ": got " + std::to_string(a) + ", want " +
             std::to_string(b);
  }
  return "";
}

namespace {

bool has_impure(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const auto& n) {
    return n->op().has(kImpure) || (n->body() != nullptr && has_impure(*n->body()));
  });
}

}  // namespace

bool is_random(const Graph& graph) {
  const std::unique_ptr<Graph> copy = graph.clone();
  PassContext context;
  decompose(*copy, context);
  return has_impure(*copy);
}

}  // namespace tintype::test
