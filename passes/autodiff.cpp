// Gradients of a loss, and the nodes that keep one from being trained.
#include "passes/autodiff.h"

#include "ir/accumulate_gradients.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>

namespace tintype {

namespace {

std::vector<NotDifferentiable> problems_on(const std::vector<const Node*>& path) {
  std::vector<NotDifferentiable> found;
  for (auto it = path.rbegin(); it != path.rend(); ++it)
    if ((*it)->op().gradient == nullptr) found.push_back({*it, reason_against_gradient(**it)});
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

}  // namespace

std::vector<NotDifferentiable> not_differentiable(const Graph& graph,
                                                  std::span<Value* const> results,
                                                  std::span<Value* const> wrt) {
  return problems_on(gradient_path(graph, results, wrt).nodes);
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
  const GradientPath path = gradient_path(graph, std::span(&loss, 1), wrt);
  if (const auto problems = problems_on(path.nodes); !problems.empty()) {
    std::string list;
    for (const NotDifferentiable& p : problems)
      list += "\n  " + p.node->where() + " (" + std::string(p.node->name()) + "): " + p.reason;
    throw Error("cannot train through " + std::to_string(problems.size()) +
                (problems.size() == 1 ? " node:" : " nodes:") + list);
  }
  if (path.reached.count(loss) == 0) return std::vector<Value*>(wrt.size(), nullptr);
  Builder b(graph);
  const GradientSeed seed{loss, b.broadcast(b.scalar(1, loss->dtype()), loss->shape())};
  return accumulate_gradients(graph, path, std::span(&seed, 1), wrt);
}

}  // namespace tintype
