// fold-constants: evaluates what depends on constants alone.
#include "ir/builder.h"
#include "passes/evaluate.h"
#include "passes/passes.h"
#include "passes/patterns.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tintype {

namespace {

constexpr int64_t kDefaultGrowth = int64_t{16} << 20;
constexpr int64_t kWeightBytes = int64_t{64} << 10;

std::optional<int64_t> no_symbols(std::string_view) { return std::nullopt; }

bool is_constant(const Node& node) { return node.is("constant"); }

/// Bytes of all results, saturating; nothing when an extent is symbolic.
std::optional<int64_t> result_bytes(const Node& node) {
  int64_t total = 0;
  for (int i = 0; i < node.result_count(); ++i) {
    const TensorType& t = node.result(i)->type();
    auto bytes = static_cast<int64_t>(size_of(t.dtype));
    for (const Dim& d : t.shape) {
      if (!d.is_static() || d.value() < 0) return std::nullopt;
      if (__builtin_mul_overflow(bytes, d.value(), &bytes)) return INT64_MAX;
    }
    if (__builtin_add_overflow(total, bytes, &total)) return INT64_MAX;
  }
  return total;
}

class Folder {
 public:
  Folder(Graph& graph, PassContext& context)
      : graph_(graph), context_(context), growth_(context.integer("max-bytes", kDefaultGrowth)),
        small_only_(context.flag("small-only", false)),
        max_elements_(context.integer("max-elements", 1024)),
        weights_(context.flag("weights", true)) {}

  bool run() {
    bool changed = false;
    for (Node* node : graph_.node_list())
      if (node->body() == nullptr && !is_constant(*node))
        changed = (fold_content(*node) || fold_value(*node)) || changed;
    return changed;
  }

 private:
  // A small integer tensor whose elements are known extents = those extents.
  bool fold_content(Node& node) {
    if (node.result_count() != 1 || node.op().has(kImpure)) return false;
    Value* old = node.result();
    if (!old->content() || old->rank() > 1 || !old->type().is_static()) return false;
    const std::vector<Dim> content = *old->content();
    const bool known =
        std::all_of(content.begin(), content.end(), [](const Dim& d) { return d.is_static(); });
    if (!known && (old->dtype() == DType::boolean || is_made_of_dims(node))) return false;
    Builder b(graph_, &node);
    b.set_origins(node.origins());
    if (context_.explaining())
      context_.matched(node, std::string(node.name()) + " is " + text_of(content));
    Value* now = known ? b.constant(tensor_of(content, *old))
                       : b.cast(b.reshape(b.dims(content), old->shape()), old->dtype());
    now->set_content(content);
    replace(node, {now});
    return true;
  }

  static Tensor tensor_of(const std::vector<Dim>& content, const Value& like) {
    Tensor t = Tensor::empty(like.dtype(), *known_dims(like.shape(), no_symbols));
    auto* to = static_cast<std::byte*>(t.mutable_data());
    for (const Dim& d : content) {
      store_scalar(t.dtype(), static_cast<double>(d.value()), to);
      to += size_of(t.dtype());
    }
    return t;
  }

  /// True for what fold_content itself makes of unknown extents.
  static bool is_made_of_dims(const Node& node) {
    const Node* at = &node;
    while ((at->is("cast") || at->is("reshape")) && at->operand(0)->def() != nullptr)
      at = at->operand(0)->def();
    return at->is("dims");
  }

  // op(constants) = the tensor it evaluates to
  bool fold_value(Node& node) {
    if (node.op().has(kImpure) || !node.op().is_core()) return false;
    int64_t operand_bytes = 0;
    std::vector<Tensor> operands;
    for (Value* v : node.operands()) {
      const Tensor* t = v == nullptr ? nullptr : v->constant();
      if (v != nullptr && t == nullptr) return explain_operand(node, *v);
      operands.push_back(t == nullptr ? Tensor() : *t);
      operand_bytes += static_cast<int64_t>(operands.back().bytes());
    }
    const std::optional<int64_t> bytes = result_bytes(node);
    if (!bytes || !allowed(node, *bytes, operand_bytes)) return false;
    std::optional<std::vector<Tensor>> results = evaluate_node(node, operands, no_symbols);
    if (!results) {
      context_.declined(node, std::string(node.name()) + " stays: the host does not evaluate it");
      return false;
    }
    operands.clear();
    Builder b(graph_, &node);
    b.set_origins(node.origins());
    std::vector<Value*> now;
    for (Tensor& t : *results) now.push_back(b.constant(std::move(t)));
    if (context_.explaining())
      context_.matched(node, std::string(node.name()) + " folded to " + now[0]->type().text());
    replace(node, now);
    return true;
  }

  /// Candidates are nodes that read constants.
  bool explain_operand(const Node& node, const Value& v) const {
    const auto operands = node.operands();
    if (context_.explaining() && std::any_of(operands.begin(), operands.end(), [](const Value* o) {
          return o != nullptr && o->constant() != nullptr;
        }))
      context_.declined(node, std::string(node.name()) + " stays: its operand " + described(v) +
                                  " is not constant");
    return false;
  }

  /// True when all users, behind more movement, are contractions that take the value as weights.
  static bool leads_to_weights(const Value& v) {
    if (v.uses().empty() || v.output_uses() != 0) return false;
    return std::all_of(v.uses().begin(), v.uses().end(), [](const Use& u) {
      if (u.node->op().has(kContraction)) return u.operand % 2 == 1;
      return u.node->op().has(kMovement) && u.node->result_count() == 1 &&
             leads_to_weights(*u.node->result());
    });
  }

  bool allowed(const Node& node, int64_t bytes, int64_t operand_bytes) const {
    if (node.op().has(kPrepack)) return true;
    if (!weights_ && node.op().has(kContraction)) {
      // The first step of a network written out step by step, from a state of zeros: without its
      // products it would no longer look like the others.
      context_.declined(node, std::string(node.name()) + " stays: it may be the step of a loop");
      return false;
    }
    if (!weights_ && bytes > kWeightBytes && node.op().has(kMovement) &&
        leads_to_weights(*node.result())) {
      context_.declined(node, std::string(node.name()) + " stays: packing will take it over");
      return false;
    }
    if (small_only_) {
      int64_t elements = 0;
      for (int i = 0; i < node.result_count(); ++i)
        elements += product(node.result(i)->shape()).value();
      if (elements > max_elements_) {
        context_.declined(node,
                          std::string(node.name()) + " stays: it has " + std::to_string(elements) +
                              " elements, more than max-elements=" + std::to_string(max_elements_));
        return false;
      }
    }
    if (bytes <= operand_bytes || bytes - operand_bytes <= growth_) return true;
    context_.declined(node, std::string(node.name()) + " stays: folding it grows " +
                                std::to_string(operand_bytes) + " bytes to " +
                                std::to_string(bytes) +
                                ", more than max-bytes=" + std::to_string(growth_));
    return false;
  }

  /// Replaces the node's results and drops constants that only it used, so that weights that were
  /// rearranged do not stay in memory twice.
  void replace(Node& node, const std::vector<Value*>& now) {
    for (int i = 0; i < node.result_count(); ++i) {
      Value* old = node.result(i);
      Value* to = now[static_cast<size_t>(i)];
      if (to->name().empty()) to->set_name(old->name());
      graph_.replace_all_uses(old, to);
    }
    const std::vector<Value*> operands = node.operands();
    graph_.erase(&node);
    std::vector<Node*> unused;
    for (Value* v : operands)
      if (v != nullptr && v->constant() != nullptr && v->uses().empty() && v->output_uses() == 0 &&
          std::find(unused.begin(), unused.end(), v->def()) == unused.end())
        unused.push_back(v->def());
    for (Node* n : unused) graph_.erase(n);
  }

  Graph& graph_;
  PassContext& context_;
  int64_t growth_;
  bool small_only_;
  int64_t max_elements_;
  bool weights_;
};

}  // namespace

bool fold_constants(Graph& graph, PassContext& context) { return Folder(graph, context).run(); }

}  // namespace tintype
