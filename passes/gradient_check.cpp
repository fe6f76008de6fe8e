// Builds a scalar loss, its gradients, and probes the loss around the given inputs.
#include "passes/gradient_check.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "passes/autodiff.h"
#include "runtime/host_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <unordered_map>

namespace tintype {

namespace {

/// sum of output * weights over all float outputs, weights being inputs added to the graph.
struct WeightedSum {
  Value* loss = nullptr;
  std::vector<Tensor> weights;
};

WeightedSum add_loss(Graph& graph, const SymbolLookup& symbols, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  WeightedSum sum;
  Builder b(graph);
  for (size_t i = 0; i < graph.output_count(); ++i) {
    Value* y = graph.output(i);
    if (y->dtype() != DType::f64) continue;
    const auto dims = known_dims(y->shape(), symbols);
    if (!dims) throw Error("output '" + graph.output_name(i) + "' has a symbol without a value");
    Tensor weights = Tensor::empty(DType::f64, *dims);
    for (double& w : weights.mutable_values<double>()) w = uniform(random);
    Value* w = graph.add_input("weights of " + graph.output_name(i), y->type());
    sum.weights.push_back(std::move(weights));
    std::vector<int64_t> axes;
    for (int64_t a = 0; a < y->rank(); ++a) axes.push_back(a);
    Value* part = b.reshape(b.reduce("reduce_sum", b.mul(y, w), axes), {});
    sum.loss = sum.loss == nullptr ? part : b.add(sum.loss, part);
  }
  if (sum.loss == nullptr) throw Error("the model has no float output to differentiate");
  return sum;
}

/// Evaluates the loss at inputs of which one element at a time moves.
class Probe {
 public:
  Probe(const Graph& graph, std::vector<Tensor> inputs, const SymbolLookup& symbols)
      : graph_(graph), inputs_(std::move(inputs)), symbols_(symbols) {}

  struct Slope {
    double value, noise;  ///< the noise is what rounding the two losses may contribute
  };

  Slope slope(size_t input, int64_t element, double epsilon) {
    constexpr double kRoundings = 16;  // steps of the last places that a long evaluation may lose
    const double above = loss(input, element, epsilon), below = loss(input, element, -epsilon);
    const double magnitude = std::max(std::abs(above), std::abs(below));
    return {(above - below) / (2 * epsilon),
            kRoundings * std::numeric_limits<double>::epsilon() * magnitude / epsilon};
  }

 private:
  double loss(size_t input, int64_t element, double by) {
    const Tensor original = inputs_[input];
    const auto values = original.values<double>();
    Tensor moved = Tensor::from<double>(original.dims(), values);
    moved.mutable_values<double>()[static_cast<size_t>(element)] += by;
    inputs_[input] = moved;
    const double result = evaluate_graph(graph_, inputs_, symbols_)[0].values<double>()[0];
    inputs_[input] = original;
    return result;
  }

  const Graph& graph_;
  std::vector<Tensor> inputs_;
  const SymbolLookup& symbols_;
};

void compare(GradientComparison& c, int64_t element, double analytic, Probe::Slope numeric,
             const GradientCheckOptions& options) {
  const double error = std::abs(analytic - numeric.value);
  const double largest = std::max(std::abs(analytic), std::abs(numeric.value));
  const double allowed = options.absolute + options.relative * largest + numeric.noise;
  const bool passed = error <= allowed;  // false for NaN
  ++c.checked;
  c.failed += passed ? 0 : 1;
  if (c.worst >= 0 && !(error > c.error) && !std::isnan(error)) return;
  c.worst = element;
  c.error = error;
  c.analytic = analytic;
  c.numeric = numeric.value;
}

/// Every output becomes the loss: nothing else keeps nodes alive.
void make_only_output(Graph& graph, Value* loss) {
  for (size_t i = 0; i < graph.output_count(); ++i) graph.set_output(static_cast<int>(i), loss);
}

}  // namespace

std::vector<GradientComparison> check_gradients(const Graph& graph, std::span<const Tensor> inputs,
                                                const SymbolLookup& symbols,
                                                const GradientCheckOptions& options) {
  const std::unique_ptr<Graph> forward = graph.clone();
  const size_t input_count = graph.inputs().size();
  const WeightedSum sum = add_loss(*forward, symbols, options.seed);
  make_only_output(*forward, sum.loss);
  std::vector<Tensor> all(inputs.begin(), inputs.end());
  all.insert(all.end(), sum.weights.begin(), sum.weights.end());

  const std::unique_ptr<Graph> backward = forward->clone();
  std::vector<Value*> wrt;
  for (size_t i = 0; i < input_count; ++i)
    if (graph.inputs()[i]->dtype() == DType::f64) wrt.push_back(backward->inputs()[i].get());
  const std::vector<Value*> found = gradients(*backward, backward->output(0), wrt);
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i] != nullptr) backward->add_output("gradient " + std::to_string(i), found[i]);
  const std::vector<Tensor> outputs = evaluate_graph(*backward, all, symbols);

  Probe probe(*forward, all, symbols);
  std::vector<GradientComparison> comparisons;
  size_t next = forward->output_count();
  for (size_t i = 0; i < wrt.size(); ++i) {
    const auto input = static_cast<size_t>(wrt[i]->index());
    GradientComparison c;
    c.input = wrt[i]->name();
    c.type = wrt[i]->type();
    const Tensor analytic = found[i] == nullptr ? Tensor() : outputs[next++];
    const int64_t size = all[input].size();
    const int64_t samples = options.samples > 0 ? std::min(options.samples, size) : size;
    for (int64_t s = 0; s < samples; ++s) {
      const int64_t element = samples == size ? s : (2 * s + 1) * size / (2 * samples);
      const double value =
          found[i] == nullptr ? 0 : analytic.values<double>()[static_cast<size_t>(element)];
      compare(c, element, value, probe.slope(input, element, options.epsilon), options);
    }
    comparisons.push_back(std::move(c));
  }
  return comparisons;
}

namespace {

DType widened(DType t) { return is_float(t) ? DType::f64 : t; }

Tensor widened(const Tensor& t) {
  if (!is_float(t.dtype())) return t;
  Tensor wide = Tensor::empty(DType::f64, t.dims());
  const Status status = find_host_op("cast")->function({{&t, 1}, {&wide, 1}, Attributes()});
  TINTYPE_CHECK(status.ok(), status.message());
  return wide;
}

AttrMap widened(const AttrMap& attrs) {
  AttrMap wide = attrs;
  for (const auto& [name, value] : attrs.entries()) {
    if (const auto* dtype = std::get_if<DType>(&value)) wide.set(name, widened(*dtype));
    if (const auto* tensor = std::get_if<Tensor>(&value)) wide.set(name, widened(*tensor));
  }
  return wide;
}

std::string parameter_name(const Value* v) {
  if (!v->name().empty()) return v->name();
  const Use& use = v->uses().front();
  return use.node->where() + " operand " + std::to_string(use.operand);
}

bool is_parameter(const Node& n) {
  return n.is("constant") && is_float(n.result()->dtype()) && n.result()->rank() > 0 &&
         !n.result()->uses().empty();
}

}  // namespace

std::unique_ptr<Graph> in_double_precision(const Graph& graph, std::vector<Tensor>& values) {
  auto wide = std::make_unique<Graph>(graph.name());
  std::unordered_map<const Value*, Value*> map;
  for (const auto& input : graph.inputs())
    map[input.get()] = wide->add_input(input->name(), {widened(input->dtype()), input->shape()});
  Builder b(*wide);
  for (const auto& n : graph.nodes()) {
    if (is_parameter(*n)) {
      values.push_back(widened(*n->result()->constant()));
      const TensorType type = {DType::f64, n->result()->shape()};
      map[n->result()] = wide->add_input(parameter_name(n->result()), type);
      continue;
    }
    std::vector<Value*> operands;
    for (Value* v : n->operands()) operands.push_back(v == nullptr ? nullptr : map.at(v));
    b.set_origins(n->origins());
    Node* copy = b.create(n->name(), std::move(operands), widened(n->attrs()), n->result_count());
    for (int i = 0; i < n->result_count(); ++i) map[n->result(i)] = copy->result(i);
  }
  for (size_t i = 0; i < graph.output_count(); ++i)
    wide->add_output(graph.output_name(i), map.at(graph.output(i)));
  for (const DimConstraint& c : graph.constraints())
    wide->require_equal(c.left, c.right, c.message);
  return wide;
}

}  // namespace tintype
