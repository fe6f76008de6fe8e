// reshape-updates: states take their next values in the shape of the product that makes the
// gradient.
//
//   update(reshape(dot(a, b)), s)  =  reshape(update(dot(a, b), reshape(s)))
//
// The gradient of a convolution's weights may be a product of two matrices. A reshape between it
// and the update keeps them from becoming one kernel: gradients would be written out and read
// again. Reshaped states are views of the states.
#include "ir/builder.h"
#include "passes/passes.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

bool is_single(const Value& v) {
  return std::all_of(v.shape().begin(), v.shape().end(), [](const Dim& d) { return d.is(1); });
}

class Reshaping {
 public:
  Reshaping(Graph& graph, PassContext& context) : graph_(graph), context_(context) {
    for (const State& s : graph.states()) next_.insert(graph.output(static_cast<size_t>(s.next)));
  }

  bool run() {
    std::vector<Node*> reshapes;  // a move erases the nodes behind its reshape
    for (const auto& n : graph_.nodes())
      if (n->is("reshape") && is_product(n->operand(0))) reshapes.push_back(n.get());
    bool changed = false;
    for (Node* n : reshapes) changed = move(*n) || changed;
    return changed;
  }

 private:
  static bool is_product(const Value* v) {
    return v->def() != nullptr && v->def()->op().has(kContraction) && v->has_one_use();
  }

  bool move(Node& reshape) {
    chain_.clear();
    inside_.clear();
    if (const std::string reason = collect(reshape); !reason.empty()) {
      if (!chain_.empty()) context_.declined(reshape, reason);
      return false;
    }
    rebuild(reshape);
    return true;
  }

  /// All that is computed from the reshaped gradient, in order; why it is no update otherwise.
  std::string collect(const Node& reshape) {
    const Value* gradient = reshape.result();
    if (gradient->output_uses() != 0) return "the gradient is an output";
    inside_.insert(gradient);
    for (const auto& n : graph_.nodes()) {
      const auto operands = n->operands();
      if (std::none_of(operands.begin(), operands.end(),
                       [this](const Value* v) { return inside_.count(v) != 0; }))
        continue;
      if (!n->op().has(kPointwise) || !(n->result()->shape() == gradient->shape()))
        return std::string(n->name()) + " of it is not pointwise";
      for (const Value* v : operands)
        if (!(v->shape() == gradient->shape()) && !is_single(*v))
          return "operand " + v->type().text() + " would have to be reshaped, too";
      chain_.push_back(n.get());
      inside_.insert(n->result());
      if (n->result()->output_uses() != 0 && next_.count(n->result()) == 0)
        return "what is computed from it is an output";
    }
    return chain_.empty() ? "nothing is computed from it" : "";
  }

  void rebuild(Node& reshape) {
    Value* product = reshape.operand(0);
    const Shape shape = product->shape();
    Builder b(graph_, &reshape);
    std::unordered_map<const Value*, Value*> in_shape = {{reshape.result(), product}};
    // What is made of states alone, a momentum that fades, is made in the new shape.
    const std::function<Value*(Value*)> reshaped = [&](Value* v) {
      Value*& found = in_shape[v];
      if (found != nullptr) return found;
      const Node* f = v->def();
      if (f == nullptr || !f->op().has(kPointwise) || !v->has_one_use() || is_single(*v))
        return found = b.reshape(v, is_single(*v) ? Shape() : shape);
      std::vector<Value*> operands;
      for (Value* o : f->operands()) {
        if (!is_single(*o) && !(o->shape() == v->shape())) return found = b.reshape(v, shape);
        operands.push_back(o);
      }
      for (Value*& o : operands) o = reshaped(o);
      return in_shape[v] = b.make(f->name(), std::move(operands), f->attrs());
    };
    for (Node* n : chain_) {
      b.set_insertion_point(n);
      b.set_origins(n->origins());
      std::vector<Value*> operands;
      for (Value* v : n->operands()) operands.push_back(reshaped(v));
      Value* y = b.make(n->name(), std::move(operands), n->attrs());
      in_shape[n->result()] = y;
    }
    context_.matched(*chain_.front(), "updates as " + product->type().text());
    for (Node* n : chain_) {
      if (n->result()->output_uses() == 0) continue;
      b.set_insertion_point(graph_.next(n));
      b.set_origins(n->origins());
      Value* back = b.reshape(in_shape.at(n->result()), n->result()->shape());
      next_.insert(back);
      for (const State& s : graph_.states())
        if (graph_.output(static_cast<size_t>(s.next)) == n->result())
          graph_.set_output(s.next, back);
    }
    for (auto it = chain_.rbegin(); it != chain_.rend(); ++it) graph_.erase(*it);
    graph_.erase(&reshape);
  }

  Graph& graph_;
  PassContext& context_;
  std::unordered_set<const Value*> next_;
  std::vector<Node*> chain_;
  std::unordered_set<const Value*> inside_;
};

}  // namespace

bool reshape_updates(Graph& graph, PassContext& context) {
  if (!Reshaping(graph, context).run()) return false;
  dead_code(graph, context);
  return true;
}

}  // namespace tintype
