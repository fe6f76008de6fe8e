// Checks the invariants that the rest of the compiler relies on.
#include "ir/verify.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tintype {

namespace {

AttrKind kind_of(const Attr& a) {
  constexpr AttrKind kinds[] = {AttrKind::integer,  AttrKind::number,  AttrKind::string,
                                AttrKind::integers, AttrKind::numbers, AttrKind::strings,
                                AttrKind::tensor,   AttrKind::dtype,   AttrKind::dims};
  return kinds[a.index()];
}

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : graph_(graph) {}

  std::string run() {
    for (const auto& v : graph_.inputs()) known_.insert(v.get());
    for (const auto& n : graph_.nodes()) {
      std::string problem = check(*n);
      if (!problem.empty()) return n->where() + " (" + std::string(n->name()) + "): " + problem;
      for (int i = 0; i < n->result_count(); ++i) known_.insert(n->result(i));
    }
    std::string problem = check_outputs();
    return problem.empty() ? check_uses() : problem;
  }

 private:
  std::string check(const Node& n) {
    if (&n.graph() != &graph_) return "belongs to another graph";
    std::string problem = check_counts(n);
    if (problem.empty()) problem = check_operands(n);
    if (problem.empty()) problem = attribute_problem(n);
    if (problem.empty()) problem = check_bodies(n);
    if (problem.empty()) problem = check_types(n);
    return problem;
  }

  static std::string check_counts(const Node& n) {
    const OpDef& def = n.op();
    const int operands = n.operand_count();
    const int results = n.result_count();
    if (operands < def.min_operands || (def.max_operands >= 0 && operands > def.max_operands))
      return "has " + std::to_string(operands) + " operands";
    if (results < def.min_results || (def.max_results >= 0 && results > def.max_results))
      return "has " + std::to_string(results) + " results";
    return "";
  }

  std::string check_operands(const Node& n) {
    for (int i = 0; i < n.operand_count(); ++i) {
      const Value* v = n.operand(i);
      if (v == nullptr) {
        if (i < n.op().min_operands) return "operand " + std::to_string(i) + " is missing";
        continue;
      }
      if (known_.count(v) == 0)
        return "operand " + std::to_string(i) + " is not defined before it is used";
      const auto& uses = v->uses();
      if (uses.size() > kFewUses) many_[v].emplace_back(&n, i);
      else if (std::none_of(uses.begin(), uses.end(),
                            [&](const Use& u) { return u.node == &n && u.operand == i; }))
        return "operand " + std::to_string(i) + " does not know of this use";
      ++uses_[v];
    }
    return "";
  }

  static std::string check_bodies(const Node& n) {
    for (int i = 0; i < n.body_count(); ++i) {
      const std::string problem = find_problem(*n.body(i));
      if (!problem.empty()) return "in the body: " + problem;
    }
    // Inference checks that the bodies fit; a region has none while it is made.
    return n.is("region") && n.body_count() != 1
               ? "has " + std::to_string(n.body_count()) + " bodies"
               : "";
  }

  /// Infers a copy of the node beside the graph, whose operands are inputs of the same types.
  static std::string check_types(const Node& n) {
    if (n.op().infer == nullptr && n.op().decompose == nullptr) return "";
    Graph scratch;
    Builder b(scratch);
    std::unordered_map<const Value*, Value*> twins;
    std::vector<Value*> operands;
    for (Value* v : n.operands()) {
      if (v == nullptr) {
        operands.push_back(nullptr);
        continue;
      }
      Value*& twin = twins[v];
      if (twin == nullptr) {
        twin = v->constant() != nullptr ? b.constant(*v->constant())
                                        : scratch.add_input(v->name(), v->type());
        if (v->content()) twin->set_content(v->content());
      }
      operands.push_back(twin);
    }
    Node* copy = scratch.create(n.op(), operands, n.attrs(), n.result_count());
    for (int i = 0; i < n.body_count(); ++i) copy->add_body(n.body(i)->clone());
    try {
      infer_node(*copy);
    } catch (const Error& e) {
      return std::string("inference fails: ") + e.what();
    }
    for (int i = 0; i < n.result_count(); ++i)
      if (const TensorType& inferred = copy->result(i)->type();
          inferred.dtype != DType::undefined &&
          !agree(inferred, n.result(i)->type(), scratch.constraints()))
        return "result " + std::to_string(i) + " is " + n.result(i)->type().text() +
               ", inference gives " + copy->result(i)->type().text();
    return "";
  }

  std::string check_outputs() {
    std::unordered_map<const Value*, int> counts;
    for (size_t i = 0; i < graph_.output_count(); ++i) {
      const Value* v = graph_.output(i);
      if (known_.count(v) == 0)
        return "output '" + graph_.output_name(i) + "' is not a value of the graph";
      ++counts[v];
    }
    for (const State& s : graph_.states())
      if (!(graph_.output(static_cast<size_t>(s.next))->type() == s.current->type()))
        return "state '" + s.current->name() + "' is " + s.current->type().text() +
               ", its next value " + graph_.output(static_cast<size_t>(s.next))->type().text();
    for (const Value* v : known_)
      if (v->output_uses() != counts[v])
        return "a value named '" + v->name() + "' miscounts its uses as output";
    return "";
  }

  std::string check_uses() {
    for (const Value* v : known_)
      if (static_cast<int>(v->uses().size()) != uses_[v])
        return "a value named '" + v->name() + "' lists " + std::to_string(v->uses().size()) +
               " uses and has " + std::to_string(uses_[v]);
    for (auto& [v, found] : many_) {
      std::vector<std::pair<const Node*, int>> listed;
      for (const Use& u : v->uses()) listed.emplace_back(u.node, u.operand);
      std::sort(listed.begin(), listed.end());
      std::sort(found.begin(), found.end());
      if (listed != found) return "a value named '" + v->name() + "' lists uses that it has not";
    }
    return "";
  }

  /// Looking through more for every use would take the square of their number.
  static constexpr size_t kFewUses = 16;

  const Graph& graph_;
  std::unordered_set<const Value*> known_;
  std::unordered_map<const Value*, std::vector<std::pair<const Node*, int>>> many_;
  std::unordered_map<const Value*, int> uses_;
};

}  // namespace

bool agree(const TensorType& a, const TensorType& b, const std::vector<DimConstraint>& known) {
  if (a.dtype != b.dtype || a.rank() != b.rank()) return false;
  for (size_t i = 0; i < a.shape.size(); ++i) {
    const Dim& m = a.shape[i];
    const Dim& n = b.shape[i];
    if (m == n) continue;
    if (std::none_of(known.begin(), known.end(), [&](const DimConstraint& c) {
          return (c.left == m && c.right == n) || (c.left == n && c.right == m);
        }))
      return false;
  }
  return true;
}

std::string attribute_problem(const Node& n) {
  for (const AttrDef& def : n.op().attrs) {
    const Attr* a = n.attrs().find(def.name);
    const std::string name = "attribute '" + std::string(def.name) + "'";
    if (a == nullptr) {
      if (def.required) return name + " is missing";
    } else if (kind_of(*a) != def.kind) {
      return name + " must be " + std::string(name_of(def.kind)) + ", is " +
             std::string(name_of(kind_of(*a)));
    }
  }
  for (const auto& [name, value] : n.attrs().entries()) {
    std::vector<std::string> known;
    for (const AttrDef& def : n.op().attrs) known.emplace_back(def.name);
    if (std::find(known.begin(), known.end(), name) == known.end())
      return "attribute '" + name + "' is not in the record of the op" + did_you_mean(name, known);
  }
  return "";
}

std::string find_problem(const Graph& graph) { return Verifier(graph).run(); }

void verify(const Graph& graph) {
  const std::string problem = find_problem(graph);
  TINTYPE_CHECK(problem.empty(), "graph '" + graph.name() + "': " + problem);
}

}  // namespace tintype
