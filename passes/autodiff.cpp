// Reverse accumulation: gradients flow from the loss back along the paths that lead to it.
#include "passes/autodiff.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

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

std::string reason_against(const Node& n) {
  if (!n.op().is_core()) return "it is an ONNX-level op; run the pass decompose first";
  return std::string(n.op().not_differentiable);
}

std::vector<NotDifferentiable> problems_on(const std::vector<const Node*>& path) {
  std::vector<NotDifferentiable> found;
  for (auto it = path.rbegin(); it != path.rend(); ++it)
    if ((*it)->op().gradient == nullptr) found.push_back({*it, reason_against(**it)});
  return found;
}

void require_suitable(const Value* loss, std::span<Value* const> wrt) {
  if (!is_float(loss->dtype()) || !product(loss->shape()).is(1))
    throw Error("gradients need a loss of one float element, got " + loss->type().text());
  for (const Value* v : wrt)
    if (!is_float(v->dtype()))
      throw Error("gradients with respect to '" + v->name() + "' need floats, got " +
                  v->type().text());
}

std::vector<std::string> backward_origins(const Node& n) {
  std::vector<std::string> origins;
  for (const std::string& o : n.origins()) origins.push_back("grad:" + o);
  return origins;
}

class Accumulation {
 public:
  Accumulation(Graph& graph, const ValueSet& reached)
      : builder_(graph), reached_(reached), forward_size_(graph.size()) {}

  void seed(const Value* loss) {
    gradients_[loss] = builder_.broadcast(builder_.scalar(1, loss->dtype()), loss->shape());
  }

  void propagate(const Node& n) {
    std::vector<Value*> of_results;
    for (int i = 0; i < n.result_count(); ++i) of_results.push_back(gradient(n.result(i)));
    if (std::all_of(of_results.begin(), of_results.end(), [](Value* v) { return v == nullptr; }))
      return;
    builder_.set_origins(backward_origins(n));
    const std::vector<Value*> of_operands = n.op().gradient(builder_, n, of_results);
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
        used = used || !(*it)->result(i)->uses().empty() || keep.count((*it)->result(i)) != 0;
      if (!used) graph.erase(*it);
    }
  }

 private:
  void add(const Node& n, const Value* v, Value* more) {
    TINTYPE_CHECK(more->dtype() == v->dtype() && more->rank() == v->rank(),
                  n.where() + " (" + std::string(n.name()) + "): gradient " + more->type().text() +
                      " of an operand " + v->type().text());
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

std::vector<NotDifferentiable> not_differentiable(const Graph& graph,
                                                  std::span<Value* const> results,
                                                  std::span<Value* const> wrt) {
  return problems_on(
      paths_between(graph, {results.begin(), results.end()}, reached_from(graph, wrt)));
}

std::vector<NotDifferentiable> not_differentiable(const Graph& graph) {
  std::vector<Value*> results, wrt;
  for (size_t i = 0; i < graph.output_count(); ++i)
    if (is_float(graph.output(i)->dtype())) results.push_back(graph.output(i));
  for (const auto& input : graph.inputs())
    if (is_float(input->dtype())) wrt.push_back(input.get());
  for (const auto& n : graph.nodes())
    if (n->is("constant") && is_float(n->result()->dtype()) && n->result()->rank() > 0)
      wrt.push_back(n->result());
  return not_differentiable(graph, results, wrt);
}

std::vector<Value*> gradients(Graph& graph, Value* loss, std::span<Value* const> wrt) {
  require_suitable(loss, wrt);
  const ValueSet reached = reached_from(graph, wrt);
  const std::vector<const Node*> path = paths_between(graph, {loss}, reached);
  if (const auto problems = problems_on(path); !problems.empty()) {
    std::string list;
    for (const NotDifferentiable& p : problems)
      list += "\n  " + p.node->where() + " (" + std::string(p.node->name()) + "): " + p.reason;
    throw Error("cannot train through " + std::to_string(problems.size()) +
                (problems.size() == 1 ? " node:" : " nodes:") + list);
  }
  Accumulation backward(graph, reached);
  if (reached.count(loss) != 0) backward.seed(loss);
  for (const Node* n : path) backward.propagate(*n);
  std::vector<Value*> result;
  for (const Value* v : wrt) result.push_back(backward.gradient(v));
  backward.drop_unused(result);
  return result;
}

}  // namespace tintype
