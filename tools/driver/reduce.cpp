// Zeller's ddmin on the set of nodes that stay.
#include "tools/driver/reduce.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"
#include "runtime/scalar.h"
#include "tools/driver/check_passes.h"

#include <algorithm>
#include <unordered_map>

namespace tintype {

namespace {

/// The part of a graph that a set of its nodes makes up.
class Part {
 public:
  Part(const Graph& from, const std::vector<const Node*>& nodes)
      : from_(from), graph_(std::make_unique<Graph>(from.name())) {
    for (const Node* n : nodes) copy(*n);
    for (const Node* n : nodes) add_outputs(*n);
    graph_->constraints() = from.constraints();
  }

  std::unique_ptr<Graph> take() { return std::move(graph_); }

 private:
  void copy(const Node& n) {
    std::vector<Value*> operands;
    for (Value* v : n.operands()) operands.push_back(v == nullptr ? nullptr : value(*v));
    Node* m = graph_->create(n.op(), std::move(operands), n.attrs(), n.result_count());
    m->set_origins(n.origins());
    for (int i = 0; i < n.body_count(); ++i) m->add_body(n.body(i)->clone());
    for (int i = 0; i < n.result_count(); ++i) describe(*n.result(i), m->result(i));
  }

  void describe(const Value& from, Value* to) {
    to->set_type(from.type());
    to->set_name(from.name());
    to->set_content(from.content());
    for (const Dim& d : from.shape())
      d.symbols([this](const std::string& s) { graph_->reserve_symbol(s); });
    map_[&from] = to;
  }

  /// An operand: inside the part, a constant, or a new input.
  Value* value(const Value& v) {
    if (const auto it = map_.find(&v); it != map_.end()) return it->second;
    if (v.constant() != nullptr) {
      copy(*v.def());
      return map_.at(&v);
    }
    if (Value* known = known_content(v)) return map_[&v] = known;
    describe(v, graph_->add_input(v.name(), v.type()));
    return map_.at(&v);
  }

  Value* known_content(const Value& v) {
    if (!v.content() || !v.type().is_static()) return nullptr;
    std::vector<int64_t> dims;
    for (const Dim& d : v.shape()) dims.push_back(d.value());
    Tensor t = Tensor::empty(v.dtype(), dims);
    auto* to = static_cast<std::byte*>(t.mutable_data());
    for (const Dim& d : *v.content()) {
      if (!d.is_static()) return nullptr;
      store_scalar(v.dtype(), static_cast<double>(d.value()), to);
      to += size_of(v.dtype());
    }
    return Builder(*graph_).constant(std::move(t));
  }

  /// What nothing inside uses, and what was an output.
  void add_outputs(const Node& n) {
    for (int i = 0; i < n.result_count(); ++i) {
      Value* v = map_.at(n.result(i));
      if (v->dtype() == DType::undefined || n.is("constant")) continue;
      if (v->uses().empty() || n.result(i)->output_uses() != 0) graph_->add_output(v->name(), v);
    }
  }

  const Graph& from_;
  std::unique_ptr<Graph> graph_;
  std::unordered_map<const Value*, Value*> map_;
};

using Nodes = std::vector<const Node*>;

class Reducer {
 public:
  Reducer(const Graph& graph, const Interesting& interesting,
          const std::function<void(size_t)>& progress)
      : graph_(graph), interesting_(interesting), progress_(progress) {}

  std::unique_ptr<Graph> run() {
    Nodes kept;
    for (const auto& n : graph_.nodes())
      if (!n->is("constant")) kept.push_back(n.get());
    if (!holds(kept))
      throw Error("graph '" + graph_.name() +
                  "' does not show the problem, so there is nothing to reduce");
    size_t parts = 2;
    while (kept.size() >= 2) {
      parts = std::min(parts, kept.size());
      if (drop_a_part(kept, parts)) {
        parts = std::max<size_t>(parts - 1, 2);
        continue;
      }
      if (parts >= kept.size()) break;
      parts *= 2;
    }
    return Part(graph_, kept).take();
  }

 private:
  bool holds(const Nodes& nodes) const {
    try {
      const std::unique_ptr<Graph> part = Part(graph_, nodes).take();
      return part->output_count() > 0 && find_problem(*part).empty() && interesting_(*part);
    } catch (const std::exception&) {
      return false;
    }
  }

  /// Halves first: one part alone, then all but one. Parts of the front go first, since what comes
  /// behind a fault rarely matters and what is before it becomes input.
  bool drop_a_part(Nodes& kept, size_t parts) {
    const auto bound = [&](size_t i) {
      return kept.begin() + static_cast<std::ptrdiff_t>(i * kept.size() / parts);
    };
    for (size_t i = 0; i < parts; ++i) {
      Nodes without(kept.begin(), bound(i));
      without.insert(without.end(), bound(i + 1), kept.end());
      if (without.empty() || !holds(without)) continue;
      kept = std::move(without);
      if (progress_) progress_(kept.size());
      return true;
    }
    return false;
  }

  const Graph& graph_;
  const Interesting& interesting_;
  const std::function<void(size_t)>& progress_;
};

}  // namespace

std::unique_ptr<Graph> reduce_graph(const Graph& graph, const Interesting& interesting,
                                    const std::function<void(size_t)>& progress) {
  const std::unique_ptr<Graph> named = graph.clone();
  name_values(*named);
  std::unique_ptr<Graph> small = Reducer(*named, interesting, progress).run();
  forget_names(*small);
  return small;
}

}  // namespace tintype
