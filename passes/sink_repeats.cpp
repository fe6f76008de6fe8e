// sink-repeats: pointwise kernels read repeated operands as they lie.
//
//   region(reshape(broadcast(x)), y)  ->  reshape(region(broadcast(x), reshape(y)))
//
// The gradient of an average over windows repeats every element along new axes that a reshape then
// merges with their neighbours. Merged axes are no view: every element would be written out. The
// kernel runs over the split axes instead, in which both operands and the result are views.
#include "ir/builder.h"
#include "passes/passes.h"

#include <algorithm>
#include <unordered_map>

namespace tintype {

namespace {

/// True when some axis of v holds each element several times.
bool is_repeated(const Value* v) {
  const Node* n = v->def();
  while (n != nullptr && n->is("transpose")) n = n->operand(0)->def();
  return n != nullptr && n->is("broadcast");
}

/// What reshapes made v of: a reshape of a reshape is one.
Value* behind_reshapes(Value* v) {
  while (v->def() != nullptr && v->def()->is("reshape")) v = v->def()->operand(0);
  return v;
}

/// The reshape that writes out operand v, or null.
Node* merging_reshape(const Value* v, const Shape& shape) {
  Node* n = v->def();
  const bool merges = n != nullptr && n->is("reshape") && v->shape() == shape &&
                      n->operand(0)->rank() > v->rank() && is_repeated(n->operand(0));
  return merges ? n : nullptr;
}

class Sinking {
 public:
  Sinking(Graph& graph, PassContext& context) : graph_(graph), context_(context) {}

  bool run() {
    bool changed = false;
    for (Node* n : graph_.node_list())
      if (n->is("region") && n->result_count() == 1) changed = sink(*n) || changed;
    return changed;
  }

 private:
  bool sink(Node& region) {
    const Graph& body = *region.body();
    const Shape& shape = region.result()->shape();
    const Node* reshape = nullptr;
    for (const Value* v : region.operands())
      if (reshape == nullptr) reshape = merging_reshape(v, shape);
    if (reshape == nullptr) return false;
    if (const std::string reason = why_not(region, body, shape); !reason.empty()) {
      context_.declined(region, reason);
      return false;
    }
    replace(region, body, reshape->operand(0)->shape());
    return true;
  }

  std::string why_not(const Node& region, const Graph& body, const Shape& shape) const {
    for (const auto& n : body.nodes())
      if (!n->op().has(kPointwise) && !n->is("constant")) return "the kernel is not pointwise";
    for (const Value* v : region.operands())
      if (!(v->shape() == shape) && !single(*v))
        return "operand " + v->type().text() + " would have to be split, too";
    for (const Use& u : region.result()->uses())
      if (u.node->is("pad")) return "the result is written into the margins of a pad";
    return "";
  }

  static bool single(const Value& v) {
    return std::all_of(v.shape().begin(), v.shape().end(), [](const Dim& d) { return d.is(1); });
  }

  void replace(Node& region, const Graph& body, const Shape& split) {
    Builder b(graph_, &region);
    b.set_origins(region.origins());
    auto inner = std::make_unique<Graph>(body.name());
    Builder in(*inner);
    std::unordered_map<const Value*, Value*> map;
    std::vector<Value*> operands;
    for (int i = 0; i < region.operand_count(); ++i) {
      Value* v = region.operand(i);
      if (!single(*v)) {
        const Node* merging = merging_reshape(v, region.result()->shape());
        v = merging != nullptr && merging->operand(0)->shape() == split
                ? merging->operand(0)
                : b.reshape(behind_reshapes(v), split);
      }
      operands.push_back(v);
      map[body.inputs()[static_cast<size_t>(i)].get()] =
          inner->add_input("a" + std::to_string(i), v->type());
    }
    for (const auto& n : body.nodes()) {
      std::vector<Value*> values;
      for (Value* v : n->operands()) values.push_back(v == nullptr ? nullptr : map.at(v));
      in.set_origins(n->origins());
      map[n->result()] = in.make(n->name(), std::move(values), n->attrs());
    }
    inner->add_output(body.output_name(0), map.at(body.output(0)));
    std::vector<std::unique_ptr<Graph>> bodies;
    bodies.push_back(std::move(inner));
    Node* now = b.create("region", operands, region.attrs(), 1, std::move(bodies));
    context_.matched(*now, "runs over " + now->result()->type().text());
    Value* merged = b.reshape(now->result(), region.result()->shape());
    merged->set_name(region.result()->name());
    graph_.replace_all_uses(region.result(), merged);
    const std::vector<Use> uses = merged->uses();
    for (const Use& u : uses)  // a reshape of a reshape is one
      if (u.node->is("reshape")) u.node->set_operand(u.operand, now->result());
    graph_.erase(&region);
  }

  Graph& graph_;
  PassContext& context_;
};

}  // namespace

bool sink_repeats(Graph& graph, PassContext& context) {
  if (!Sinking(graph, context).run()) return false;
  dead_code(graph, context);
  return true;
}

}  // namespace tintype
