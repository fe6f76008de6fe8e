// Roles of operands, and the search from constants to them.
#include "frontend/train/parameters.h"

#include "ir/constant_source.h"
#include "ir/diagnostic.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>

namespace tintype {

namespace {

/// A trainable operand and the axis of its units, which kNoUnits leaves open.
struct Role {
  std::string_view op;
  int operand;
  int unit_axis;
  /// What is read here is a weight, whatever the file says: no formula writes out a convolution's
  /// filters. Elsewhere a constant may as well be part of a formula.
  bool decides;
};

constexpr int kNoUnits = -1;
constexpr int kLastAxis = -2;
constexpr int kGemmAxis = -3;  // depends on transB
constexpr bool kWeight = true, kAny = false;

constexpr Role kRoles[] = {
    {"Add", 0, kNoUnits, kAny},
    {"Add", 1, kNoUnits, kAny},
    {"BatchNormalization", 1, kNoUnits, kWeight},
    {"BatchNormalization", 2, kNoUnits, kWeight},
    {"Conv", 1, 0, kWeight},
    {"Conv", 2, kNoUnits, kWeight},
    {"ConvTranspose", 1, 1, kWeight},
    {"ConvTranspose", 2, kNoUnits, kWeight},
    {"Div", 0, kNoUnits, kAny},
    {"Div", 1, kNoUnits, kAny},
    {"Einsum", 0, kNoUnits, kWeight},
    {"Einsum", 1, kNoUnits, kWeight},
    {"GRU", 1, 1, kWeight},
    {"GRU", 2, 1, kWeight},
    {"GRU", 3, kNoUnits, kWeight},
    {"Gather", 0, kNoUnits, kAny},
    {"Gemm", 0, kNoUnits, kWeight},
    {"Gemm", 1, kGemmAxis, kWeight},
    {"Gemm", 2, kNoUnits, kWeight},
    {"GroupNormalization", 1, kNoUnits, kAny},
    {"GroupNormalization", 2, kNoUnits, kAny},
    {"InstanceNormalization", 1, kNoUnits, kAny},
    {"InstanceNormalization", 2, kNoUnits, kAny},
    {"LSTM", 1, 1, kWeight},
    {"LSTM", 2, 1, kWeight},
    {"LSTM", 3, kNoUnits, kWeight},
    {"LSTM", 7, kNoUnits, kWeight},
    {"LayerNormalization", 1, kNoUnits, kAny},
    {"LayerNormalization", 2, kNoUnits, kAny},
    {"MatMul", 0, kNoUnits, kWeight},
    {"MatMul", 1, kLastAxis, kWeight},
    {"Mul", 0, kNoUnits, kAny},
    {"Mul", 1, kNoUnits, kAny},
    {"PRelu", 1, kNoUnits, kAny},
    {"RMSNormalization", 1, kNoUnits, kAny},
    {"RNN", 1, 1, kWeight},
    {"RNN", 2, 1, kWeight},
    {"RNN", 3, kNoUnits, kWeight},
    {"Sub", 0, kNoUnits, kAny},
    {"Sub", 1, kNoUnits, kAny},
};

/// Ops whose first result is their first operand's elements, moved.
constexpr std::string_view kMoving[] = {"Cast",  "Expand", "Flatten", "Identity",  "Reshape",
                                        "Slice", "Split",  "Squeeze", "Transpose", "Unsqueeze"};

bool moves(const Use& use) {
  if (use.node->is("Concat")) return true;
  return use.operand == 0 &&
         std::find(std::begin(kMoving), std::end(kMoving), use.node->name()) != std::end(kMoving);
}

int axis_of(const Role& role, const Node& node, int rank) {
  if (rank < 2) return kNoUnits;
  if (role.unit_axis == kLastAxis) return rank - 1;
  if (role.unit_axis == kGemmAxis) return node.attrs().integer("transB") != 0 ? 0 : 1;
  return role.unit_axis;
}

/// How the nodes of a graph use a constant.
struct Usage {
  std::vector<int> unit_axes;  ///< one for each trainable operand that reads it
  bool as_weight = false;      ///< some operand decides that it is one
  bool neutral = false;        ///< the scale of ones, or bias of zeros, of a normalisation
};

/// A mask is added to scores, and has infinity for what it hides.
bool is_finite(const Tensor& t) {
  for (int64_t i = 0; i < t.size(); ++i)
    if (!std::isfinite(element_as_double(t, i))) return false;
  return true;
}

/// Normalisations without a scale of their own are written with ones, without a bias with zeros.
bool is_neutral(const Node& node, int operand, const Tensor& value) {
  if (!node.name().ends_with("Normalization")) return false;
  const double neutral = operand == 1 ? 1 : 0;
  for (int64_t i = 0; i < value.size(); ++i)
    if (element_as_double(value, i) != neutral) return false;
  return true;
}

/// For each axis of a value that holds a constant's elements, the axis of the constant that it is;
/// empty where there is no telling.
using Axes = std::vector<int>;

/// Those of the result of a node that moves elements.
Axes axes_behind(const Node& node, const Axes& axes) {
  if (node.is("Identity") || node.is("Cast")) return axes;
  if (!node.is("Transpose")) return {};
  const std::vector<int64_t> perm = node.attrs().integers("perm");
  if (perm.empty()) return {axes.rbegin(), axes.rend()};
  Axes moved;
  if (perm.size() == axes.size())
    for (int64_t axis : perm) moved.push_back(axes[static_cast<size_t>(axis)]);
  return moved;
}

/// Adds what the users of a value, which holds the elements of `constant`, do with it.
void collect_usage(const Value& value, const Tensor& constant, const Axes& axes, bool joined,
                   Usage& usage) {
  for (const Use& use : value.uses()) {
    if (moves(use)) {
      // Behind a Concat it is, as likely as not, part of what the weights are applied to.
      const bool joins = joined || use.node->is("Concat");
      const Axes behind = axes_behind(*use.node, axes);
      for (int i = 0; i < use.node->result_count(); ++i)
        collect_usage(*use.node->result(i), constant, behind, joins, usage);
      continue;
    }
    for (const Role& role : kRoles) {
      if (!use.node->is(role.op) || use.operand != role.operand) continue;
      const int units = axes.empty() ? kNoUnits : axis_of(role, *use.node, value.rank());
      usage.unit_axes.push_back(units < 0 ? kNoUnits : axes[static_cast<size_t>(units)]);
      usage.as_weight |= role.decides && !joined;
      usage.neutral |= is_neutral(*use.node, use.operand, constant);
    }
  }
}

/// How a constant that could be a parameter is used; nothing for other values.
std::optional<Usage> usage_of(const Node& node) {
  if (!node.is("constant")) return std::nullopt;
  const Value& v = *node.result();
  if (v.name().empty() || !is_float(v.dtype()) || v.rank() == 0) return std::nullopt;
  Usage usage;
  Axes axes(static_cast<size_t>(v.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  collect_usage(v, *v.constant(), axes, false, usage);
  return usage.unit_axes.empty() ? std::nullopt : std::optional(usage);
}

bool is_parameter(const Node& constant, const Usage& usage) {
  const Tensor& value = *constant.result()->constant();
  switch (source_of(constant)) {
    case ConstantSource::initializer: return usage.as_weight || is_finite(value);
    case ConstantSource::buffer: return false;
    case ConstantSource::literal: return usage.as_weight && !usage.neutral;
  }
  return false;
}

}  // namespace

std::vector<Parameter> find_parameters(const Graph& graph) {
  std::vector<Parameter> parameters;
  for (const auto& node : graph.nodes()) {
    const std::optional<Usage> usage = usage_of(*node);
    if (!usage || !is_parameter(*node, *usage)) continue;
    const std::vector<int>& axes = usage->unit_axes;
    const bool agree = std::all_of(axes.begin(), axes.end(), [&](int a) { return a == axes[0]; });
    parameters.push_back(
        {node->result(), agree ? axes[0] : kNoUnits, static_cast<int>(axes.size())});
  }
  return parameters;
}

namespace {

bool is_quantized_weight(const Node& node) {
  if (!node.is("constant")) return false;
  const Value& v = *node.result();
  if (v.rank() < 2 || !is_int(v.dtype()) || size_of(v.dtype()) > 1) return false;
  return std::any_of(v.uses().begin(), v.uses().end(), [](const Use& u) {
    const std::string_view op = u.node->name();
    return op == "DequantizeLinear" || op == "Cast" || op.starts_with("QLinear") ||
           op.ends_with("Integer");
  });
}

}  // namespace

std::string text_of(UntrainedConstant::Why why) {
  return why == UntrainedConstant::Why::formula ? "part of a formula, not a parameter"
                                                : "quantised: integers have no gradient";
}

std::vector<UntrainedConstant> find_untrained(const Graph& graph) {
  std::vector<UntrainedConstant> found;
  const auto add = [&](const Value& v, UntrainedConstant::Why why) {
    found.push_back({v.name(), v.constant()->dims(), why});
  };
  for (const auto& node : graph.nodes()) {
    const std::optional<Usage> usage = usage_of(*node);
    if (usage && !is_parameter(*node, *usage))
      add(*node->result(), UntrainedConstant::Why::formula);
    if (is_quantized_weight(*node)) add(*node->result(), UntrainedConstant::Why::quantized);
  }
  return found;
}

namespace {

/// The constants that weights_of reads.
std::map<std::string, Value*> named_weights(const Graph& graph) {
  std::map<std::string, Value*> named;
  for (const Parameter& p : find_parameters(graph)) named.emplace(p.value->name(), p.value);
  for (Node* norm : find_running_norms(graph))
    for (const int statistic : {3, 4})
      if (Value* v = norm->operand(statistic); !v->name().empty()) named.emplace(v->name(), v);
  return named;
}

}  // namespace

std::map<std::string, Tensor> weights_of(const Graph& graph) {
  std::map<std::string, Tensor> weights;
  for (const auto& [name, value] : named_weights(graph)) weights.emplace(name, *value->constant());
  return weights;
}

std::vector<std::string> set_weights(Graph& graph, const std::map<std::string, Tensor>& weights) {
  std::vector<std::string> names, kept;
  const std::map<std::string, Value*> named = named_weights(graph);
  for (const auto& [name, value] : named) names.push_back(name);
  for (const auto& [name, tensor] : weights) {
    const auto found = named.find(name);
    if (found == named.end())
      throw Error("the model has no weight '" + name + "'" + did_you_mean(name, names));
    const Tensor& old = *found->second->constant();
    if (tensor.dtype() != old.dtype() || tensor.dims() != old.dims())
      throw Error("'" + name + "' is " + tensor.type_string() + ", in the model it is " +
                  old.type_string());
    found->second->def()->attrs().set("value", tensor);
  }
  for (const std::string& name : names)
    if (weights.count(name) == 0) kept.push_back(name);
  return kept;
}

std::vector<Node*> find_running_norms(const Graph& graph) {
  std::vector<Node*> found;
  for (const auto& node : graph.nodes())
    if (node->is("BatchNormalization") && node->operand(3)->constant() != nullptr &&
        node->operand(4)->constant() != nullptr)
      found.push_back(node.get());
  return found;
}

}  // namespace tintype
