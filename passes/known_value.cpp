// Copies the nodes that make a value, and evaluates the copy.
#include "passes/known_value.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "passes/evaluate.h"
#include "passes/passes.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>

namespace tintype {

namespace {

constexpr size_t kMostNodes = 1000;
constexpr int64_t kMostElements = 1024;

bool is_small(const Value* v) {
  int64_t elements = 1;
  for (const Dim& d : v->shape()) {
    if (!d.is_static() || d.value() < 0 || d.value() > kMostElements) return false;
    elements *= d.value();
    if (elements > kMostElements) return false;
  }
  return true;
}

/// Elements that are known as extents.
std::optional<Tensor> from_content(const Value* v) {
  if (!v->content() || !v->type().is_static()) return std::nullopt;
  const std::vector<Dim>& content = *v->content();
  if (!std::all_of(content.begin(), content.end(), [](const Dim& d) { return d.is_static(); }))
    return std::nullopt;
  std::vector<int64_t> dims;
  for (const Dim& d : v->shape()) dims.push_back(d.value());
  Tensor t = Tensor::empty(v->dtype(), dims);
  if (t.size() != static_cast<int64_t>(content.size())) return std::nullopt;
  auto* to = static_cast<std::byte*>(t.mutable_data());
  for (const Dim& d : content) {
    store_scalar(t.dtype(), static_cast<double>(d.value()), to);
    to += size_of(t.dtype());
  }
  return t;
}

/// Copies values and what makes them into a graph without inputs.
class Copier {
 public:
  explicit Copier(Graph& graph) : b_(graph) {}

  /// Null when the value depends on more than constants.
  Value* copy(const Value* v) {
    if (const auto it = copies_.find(v); it != copies_.end()) return it->second;
    if (!is_small(v)) return nullptr;
    if (const Tensor* t = v->constant()) return copies_[v] = b_.constant(*t);
    if (std::optional<Tensor> t = from_content(v)) return copies_[v] = b_.constant(*std::move(t));
    const Node* n = v->def();
    // The walk is as deep as it has nodes: their number bounds the recursion, too.
    if (n == nullptr || n->body_count() != 0 || n->op().has(kImpure) || ++nodes_ > kMostNodes)
      return nullptr;
    std::vector<Value*> operands;
    for (const Value* o : n->operands()) {
      operands.push_back(o == nullptr ? nullptr : copy(o));
      if (o != nullptr && operands.back() == nullptr) return nullptr;
    }
    const Node* twin = b_.create(n->name(), operands, n->attrs(), n->result_count());
    for (int i = 0; i < n->result_count(); ++i) copies_[n->result(i)] = twin->result(i);
    return copies_.at(v);
  }

 private:
  Builder b_;
  std::unordered_map<const Value*, Value*> copies_;
  size_t nodes_ = 0;
};

}  // namespace

std::optional<Tensor> known_tensor(const Value* v) {
  if (!is_small(v)) return std::nullopt;
  if (const Tensor* t = v->constant()) return *t;
  if (std::optional<Tensor> t = from_content(v)) return t;
  try {
    Graph graph("known");
    Value* copy = Copier(graph).copy(v);
    if (copy == nullptr) return std::nullopt;
    graph.add_output("value", copy);
    PassContext context;
    decompose(graph, context);
    return evaluate_graph(graph, {}, [](std::string_view) { return std::nullopt; })[0];
  } catch (const Error&) {
    return std::nullopt;  // without a host evaluation it is not known, only at run time
  }
}

}  // namespace tintype
