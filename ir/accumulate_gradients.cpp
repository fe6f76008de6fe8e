// Gradients flow from the results back along the paths that lead to them.
#include "ir/accumulate_gradients.h"

#include "ir/added_call.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace tintype {

namespace {

using ValueSet = std::unordered_set<const Value*>;

/// True when results of the node vary with the operand, as far as a gradient is concerned. Indices
/// and conditions choose between results, they are no part of them; integers count where they are
/// computed with.
bool carries(const Node& n, const Value* operand) {
  if (n.op().gradient == zero_gradient) return false;
  if (is_float(operand->dtype())) return true;
  return n.op().has(kPointwise) && operand->dtype() != DType::boolean;
}

/// Values that depend on one of `wrt`. Conversion to integers ends a path, being constant almost
/// everywhere, unless the op says that it is not differentiable at all.
ValueSet reached_from(const Graph& graph, std::span<Value* const> wrt) {
  ValueSet reached(wrt.begin(), wrt.end());
  for (const auto& n : graph.nodes()) {
    bool real = false, whole = false;
    for (const Value* v : n->operands()) {
      if (v == nullptr || reached.count(v) == 0 || !carries(*n, v)) continue;
      (is_float(v->dtype()) ? real : whole) = true;
    }
    if (!real && !whole) continue;
    for (int i = 0; i < n->result_count(); ++i)
      if (whole || is_float(n->result(i)->dtype()) || !n->op().not_differentiable.empty())
        reached.insert(n->result(i));
  }
  return reached;
}

/// Nodes that lead from `reached` values to `relevant` ones, last first.
std::vector<const Node*> paths_between(const Graph& graph, ValueSet relevant,
                                       const ValueSet& reached) {
  std::vector<const Node*> path;
  for (auto it = graph.nodes().rbegin(); it != graph.nodes().rend(); ++it) {
    const Node& n = **it;
    bool leads = false;
    for (int i = 0; i < n.result_count(); ++i) leads = leads || relevant.count(n.result(i)) != 0;
    if (!leads) continue;
    bool on_path = false;
    for (const Value* v : n.operands()) {
      if (v == nullptr || reached.count(v) == 0 || !carries(n, v)) continue;
      relevant.insert(v);
      on_path = true;
    }
    if (on_path) path.push_back(&n);
  }
  return path;
}

constexpr std::string_view kGradientOf = "grad:";

std::vector<std::string> backward_origins(const Node& n) {
  std::vector<std::string> origins;
  for (const std::string& o : n.origins()) origins.push_back(std::string(kGradientOf) + o);
  return origins;
}

class Accumulation {
 public:
  Accumulation(Graph& graph, const ValueSet& reached)
      : builder_(graph), reached_(reached), forward_size_(graph.size()) {}

  void seed(const GradientSeed& s) {
    Value*& sum = gradients_[s.value];
    sum = sum == nullptr ? s.gradient : builder_.add(sum, s.gradient);
  }

  void propagate(const Node& n) {
    std::vector<Value*> of_results;
    for (int i = 0; i < n.result_count(); ++i) of_results.push_back(gradient(n.result(i)));
    if (std::all_of(of_results.begin(), of_results.end(), [](Value* v) { return v == nullptr; }))
      return;
    builder_.set_origins(backward_origins(n));
    const std::vector<Value*> of_operands =
        call_of_record(n, "gradient", [&] { return n.op().gradient(builder_, n, of_results); });
    if (is_added(n.op()) && of_operands.size() != static_cast<size_t>(n.operand_count()))
      throw Error(function_of_op(n, "gradient") + " returns " + std::to_string(of_operands.size()) +
                  " gradients of " + std::to_string(n.operand_count()) +
                  " operands (null stands for zero)");
    for (size_t i = 0; i < of_operands.size(); ++i) {
      const Value* v = n.operand(static_cast<int>(i));
      if (v == nullptr || of_operands[i] == nullptr || !is_float(v->dtype())) continue;
      if (reached_.count(v) != 0) add(n, v, of_operands[i]);
    }
  }

  Value* gradient(const Value* v) const {
    const auto it = gradients_.find(v);
    return it == gradients_.end() ? nullptr : it->second;
  }

  /// Removes what was computed for operands that need no gradient.
  void drop_unused(const std::vector<Value*>& kept) {
    const ValueSet keep(kept.begin(), kept.end());
    Graph& graph = builder_.graph();
    std::vector<Node*> added = graph.node_list();
    added.erase(added.begin(), added.begin() + static_cast<std::ptrdiff_t>(forward_size_));
    for (auto it = added.rbegin(); it != added.rend(); ++it) {
      bool used = false;
      for (int i = 0; i < (*it)->result_count(); ++i)
        used = used || !(*it)->result(i)->uses().empty() || (*it)->result(i)->output_uses() != 0 ||
               keep.count((*it)->result(i)) != 0;
      if (!used) graph.erase(*it);
    }
  }

 private:
  void add(const Node& n, const Value* v, Value* more) {
    if (more->dtype() != v->dtype() || more->rank() != v->rank()) {
      const std::string message = function_of_op(n, "gradient") + " is " + more->type().text() +
                                  " for an operand " + v->type().text();
      TINTYPE_CHECK(is_added(n.op()), message);
      throw Error(message);
    }
    // Extents that are equal only by a constraint of the graph may be written differently.
    more = builder_.reshape(more, v->shape());
    Value*& sum = gradients_[v];
    sum = sum == nullptr ? more : builder_.add(sum, more);
  }

  Builder builder_;
  const ValueSet& reached_;
  size_t forward_size_;
  std::unordered_map<const Value*, Value*> gradients_;
};

}  // namespace

bool is_of_backward_pass(const Node& n) {
  return !n.origins().empty() &&
         std::all_of(n.origins().begin(), n.origins().end(),
                     [](const std::string& o) { return o.starts_with(kGradientOf); });
}

std::string reason_against_gradient(const Node& n) {
  if (!n.op().is_core()) return "it is an ONNX-level op; run the pass decompose first";
  return std::string(n.op().not_differentiable);
}

GradientPath gradient_path(const Graph& graph, std::span<Value* const> results,
                           std::span<Value* const> wrt) {
  GradientPath path;
  path.reached = reached_from(graph, wrt);
  path.nodes = paths_between(graph, {results.begin(), results.end()}, path.reached);
  return path;
}

std::vector<Value*> accumulate_gradients(Graph& graph, const GradientPath& path,
                                         std::span<const GradientSeed> seeds,
                                         std::span<Value* const> wrt) {
  Accumulation backward(graph, path.reached);
  for (const GradientSeed& s : seeds)
    if (path.reached.count(s.value) != 0) backward.seed(s);
  for (const Node* n : path.nodes) backward.propagate(*n);
  std::vector<Value*> result;
  for (const Value* v : wrt) result.push_back(backward.gradient(v));
  backward.drop_unused(result);
  return result;
}

}  // namespace tintype
