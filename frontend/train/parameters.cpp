// Roles of operands, and the search from constants to them.
#include "frontend/train/parameters.h"

#include "ir/diagnostic.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace tintype {

namespace {

/// A trainable operand and the axis of its units, which kNoUnits leaves open.
struct Role {
  std::string_view op;
  int operand;
  int unit_axis;
};

constexpr int kNoUnits = -1;
constexpr int kLastAxis = -2;
constexpr int kGemmAxis = -3;  // depends on transB

constexpr Role kRoles[] = {
    {"Add", 0, kNoUnits},
    {"Add", 1, kNoUnits},
    {"BatchNormalization", 1, kNoUnits},
    {"BatchNormalization", 2, kNoUnits},
    {"Conv", 1, 0},
    {"Conv", 2, kNoUnits},
    {"ConvTranspose", 1, 1},
    {"ConvTranspose", 2, kNoUnits},
    {"Div", 0, kNoUnits},
    {"Div", 1, kNoUnits},
    {"Einsum", 0, kNoUnits},
    {"Einsum", 1, kNoUnits},
    {"GRU", 1, 1},
    {"GRU", 2, 1},
    {"GRU", 3, kNoUnits},
    {"Gather", 0, kNoUnits},
    {"Gemm", 0, kNoUnits},
    {"Gemm", 1, kGemmAxis},
    {"Gemm", 2, kNoUnits},
    {"GroupNormalization", 1, kNoUnits},
    {"GroupNormalization", 2, kNoUnits},
    {"InstanceNormalization", 1, kNoUnits},
    {"InstanceNormalization", 2, kNoUnits},
    {"LSTM", 1, 1},
    {"LSTM", 2, 1},
    {"LSTM", 3, kNoUnits},
    {"LSTM", 7, kNoUnits},
    {"LayerNormalization", 1, kNoUnits},
    {"LayerNormalization", 2, kNoUnits},
    {"MatMul", 0, kNoUnits},
    {"MatMul", 1, kLastAxis},
    {"Mul", 0, kNoUnits},
    {"Mul", 1, kNoUnits},
    {"PRelu", 1, kNoUnits},
    {"RMSNormalization", 1, kNoUnits},
    {"RNN", 1, 1},
    {"RNN", 2, 1},
    {"RNN", 3, kNoUnits},
    {"Sub", 0, kNoUnits},
    {"Sub", 1, kNoUnits},
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

/// The unit axes that the users of a value give it; nothing when no user trains it.
void collect_axes(const Value& value, bool moved, std::vector<int>& axes) {
  for (const Use& use : value.uses()) {
    if (moves(use)) {
      for (int i = 0; i < use.node->result_count(); ++i)
        collect_axes(*use.node->result(i), true, axes);
      continue;
    }
    for (const Role& role : kRoles)
      if (use.node->is(role.op) && use.operand == role.operand)
        axes.push_back(moved ? kNoUnits : axis_of(role, *use.node, value.rank()));
  }
}

}  // namespace

std::vector<Parameter> find_parameters(const Graph& graph) {
  std::vector<Parameter> parameters;
  for (const auto& node : graph.nodes()) {
    if (!node->is("constant")) continue;
    Value* v = node->result();
    if (v->name().empty() || !is_float(v->dtype()) || v->rank() == 0) continue;
    std::vector<int> axes;
    collect_axes(*v, false, axes);
    if (axes.empty()) continue;
    const bool agree = std::all_of(axes.begin(), axes.end(), [&](int a) { return a == axes[0]; });
    parameters.push_back({v, agree ? axes[0] : kNoUnits, static_cast<int>(axes.size())});
  }
  return parameters;
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
