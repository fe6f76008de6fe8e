// fold-batch-norm: takes batch normalisation into the weights of the op before it.
//
// With k = scale / sqrt(variance + epsilon), per output channel,
//   BatchNormalization(Conv(x, w, b)) = Conv(x, w * k, (b - mean) * k + bias)
// and the same for ConvTranspose and Gemm. The formula is emitted as nodes; constant folding
// computes it. Runs before decompose, while the ops are whole.
#include "passes/passes.h"
#include "passes/patterns.h"

#include <string>
#include <vector>

namespace tintype {

namespace {

bool is_foldable_into(const Node& n) {
  return n.is("Conv") || n.is("ConvTranspose") || n.is("Gemm");
}

/// Why the normalisation stays, or "".
std::string obstacle(const Node& bn) {
  if (bn.attrs().integer("training_mode") != 0) return "it is in training mode";
  for (int i = 1; i < bn.result_count(); ++i)
    if (!bn.result(i)->uses().empty() || bn.result(i)->output_uses() != 0)
      return "its running statistics are used";
  const Value* y = bn.operand(0);
  if (y->def() == nullptr) return "its input is a graph input";
  const Node& producer = *y->def();
  if (!is_foldable_into(producer)) return "its input is made by " + described(*y);
  if (!y->has_one_use()) return "its input " + producer.where() + " has " + users_text(*y);
  for (int i = 1; i < bn.operand_count(); ++i)
    if (!depends_on_constants_only(bn.operand(i)))
      return "its parameter " + std::to_string(i) + " is not constant";
  for (int i = 1; i < producer.operand_count(); ++i)
    if (producer.operand(i) != nullptr && !depends_on_constants_only(producer.operand(i)))
      return "the weights of " + producer.where() + " are not constant";
  if (producer.is("Gemm") && y->rank() != 2) return "its input is not a matrix";
  return "";
}

class Folder {
 public:
  Folder(Graph& graph, Node& bn)
      : graph_(graph), bn_(bn), producer_(*bn.operand(0)->def()), b_(graph, &bn) {
    b_.set_origins(producer_.origins());
  }

  void run() {
    const DType t = bn_.result()->dtype();
    Value* variance = b_.cast(bn_.operand(4), t);
    Value* deviation =
        b_.unary("sqrt", b_.with_scalar("add", variance, bn_.attrs().number("epsilon", 1e-5)));
    Value* k = b_.div(b_.cast(bn_.operand(1), t), deviation);
    Value* mean = b_.cast(bn_.operand(3), t);
    Value* shift = b_.sub(b_.cast(bn_.operand(2), t), b_.mul(mean, k));

    AttrMap attrs = producer_.attrs();
    Value* weights = scaled_weights(k);
    Value* bias = shift;
    if (Value* old = producer_.operand(2); old != nullptr) {
      // Gemm: beta goes into the new bias, so that it does not scale the shift.
      const double beta = producer_.is("Gemm") ? attrs.number("beta", 1.0) : 1.0;
      if (beta != 1.0) old = b_.with_scalar("mul", old, beta);
      bias = b_.add(b_.mul(old, k), shift);
    }
    if (producer_.is("Gemm")) attrs.erase("beta");
    Node* now = b_.create(producer_.name(), {producer_.operand(0), weights, bias}, attrs);
    now->add_origins(bn_.origins());
    replace(now->result());
  }

 private:
  /// k with ones so that it multiplies the given axis of a tensor of this rank.
  Value* along(Value* k, int axis, int rank) {
    Shape shape(static_cast<size_t>(rank), Dim(1));
    shape[static_cast<size_t>(axis)] = k->shape()[0];
    return b_.reshape(k, shape);
  }

  Value* scaled_weights(Value* k) {
    Value* w = producer_.operand(1);
    const int rank = w->rank();
    if (producer_.is("Conv")) return b_.mul(w, along(k, 0, rank));
    if (producer_.is("Gemm"))
      return b_.mul(w, along(k, producer_.attrs().integer("transB") != 0 ? 0 : 1, rank));
    // ConvTranspose: w[group * C, M, window], output channel g * M + m.
    const Dim group = producer_.attrs().integer("group", 1);
    Shape split = {group, floor_div(w->shape()[0], group)};
    split.insert(split.end(), w->shape().begin() + 1, w->shape().end());
    Shape scale(split.size(), Dim(1));
    scale[0] = group;
    scale[2] = w->shape()[1];
    return b_.reshape(b_.mul(b_.reshape(w, split), b_.reshape(k, scale)), w->shape());
  }

  void replace(Value* now) {
    now->set_name(bn_.result()->name());
    graph_.replace_all_uses(bn_.result(), now);
    Node* producer = &producer_;
    graph_.erase(&bn_);
    graph_.erase(producer);
  }

  Graph& graph_;
  Node& bn_;
  Node& producer_;
  Builder b_;
};

}  // namespace

bool fold_batch_norm(Graph& graph, PassContext& context) {
  bool changed = false;
  for (Node* node : graph.node_list()) {
    if (!node->is("BatchNormalization")) continue;
    const std::string why = obstacle(*node);
    if (!why.empty()) {
      context.declined(*node, "not folded: " + why);
      continue;
    }
    context.matched(*node, "folded into " + node->operand(0)->def()->where());
    Folder(graph, *node).run();
    changed = true;
  }
  return changed;
}

}  // namespace tintype
