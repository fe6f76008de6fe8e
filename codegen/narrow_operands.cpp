// Which products take operands of 16 bits, and where these are rounded.
#include "codegen/narrow_operands.h"

#include "codegen/block_tiles.h"
#include "codegen/matrix_unit.h"
#include "codegen/region_arguments.h"
#include "codegen/weights.h"
#include "ir/builder.h"

#include <algorithm>

namespace tintype {

namespace {

class Narrower {
 public:
  Narrower(Graph& graph, const NarrowOptions& options) : graph_(graph), o_(options) {}

  bool run() {
    bool changed = false;
    for (Node* n : graph_.node_list()) {
      if (!n->is("dot") && !n->is("conv") && !n->is("conv_weight_gradient")) continue;
      const std::string why_not = o_.machine.cuda != 0 ? wide_on_device(*n) : wide_on_cpu(*n);
      if (o_.explain)
        o_.explain(*n, why_not.empty(),
                   why_not.empty() ? "operands in " + std::string(name_of(o_.type))
                                   : "stays f32: " + why_not);
      if (!why_not.empty()) continue;
      rewrite(n);
      changed = true;
    }
    return changed;
  }

 private:
  // dot(x, w) = dot(cast(x), cast(w)) {result = f32}
  void rewrite(Node* n) {
    AttrMap attrs = n->attrs();
    attrs.set("result", DType::f32);
    std::vector<Value*> operands;
    for (Value* v : n->operands()) operands.push_back(narrow(v, n));
    Builder b(graph_, n);
    b.set_origins(n->origins());
    Value* y = b.make(n->name(), operands, attrs);
    y->set_name(n->result()->name());
    graph_.replace_all_uses(n->result(), y);
    graph_.erase(n);
  }

  /// The operand in 16 bits. Rounding commutes with movement: in front of it, the kernel that
  /// computes what moves can round, and less is moved.
  Value* narrow(Value* v, Node* before) {
    Node* def = v->def();
    const bool moves = def != nullptr && v->has_one_use() && v->output_uses() == 0 &&
                       (def->is("reshape") || def->is("transpose") || def->is("slice") ||
                        def->is("pad") || def->is("reverse") || def->is("dilate"));
    if (!moves || (def->is("pad") && def->operand_count() > 1 && def->operand(1) != nullptr)) {
      if (auto it = narrowed_.find(v); it != narrowed_.end()) return it->second;
      Builder b(graph_, before);  // later products read it, too
      if (v->def() != nullptr) b.set_origins(v->def()->origins());
      return narrowed_[v] = b.cast(v, o_.type);
    }
    std::vector<Value*> operands;
    for (Value* o : def->operands()) operands.push_back(o == nullptr ? nullptr : narrow(o, def));
    Builder b(graph_, before);
    b.set_origins(def->origins());
    return b.make(def->name(), operands, def->attrs());
  }

  std::string not_f32(const Node& n) const {
    for (const Value* v : n.operands())
      if (v->dtype() != DType::f32) return "its operands are " + std::string(name_of(v->dtype()));
    return n.attrs().integer("block") > 0 || n.attrs().has("library") ? "it has been chosen for"
                                                                      : "";
  }

  static double multiply_adds(const ProductExtents& p) {
    return double(p.batch) * double(p.positions) * double(p.columns) * double(p.depth);
  }

  std::string wide_on_device(const Node& n) const {
    constexpr double kLeast = 1 << 20;
    if (std::string s = not_f32(n); !s.empty()) return s;
    if (std::string s = narrow_problem(o_.machine, o_.type); !s.empty()) return s;
    const ProductExtents p = extents(n);
    const int64_t group = n.attrs().integer("group", 1);
    const Dim& channels = n.operand(0)->shape().back();
    if (group > 1 && (!channels.is_static() || channels.value() / group < 8))
      return "its groups have fewer than 8 channels";
    if (o_.always) return "";
    if (p.columns < 16 || p.depth < 16) return "fewer than 16 columns or steps of the sum";
    if (multiply_adds(p) < kLeast) return "fewer than 2^20 multiply-adds";
    return "";
  }

  std::string wide_on_cpu(const Node& n) const {
    if (std::string s = not_f32(n); !s.empty()) return s;
    const ProductExtents p = extents(n);
    if (o_.always && !o_.machine.matrix_unit) return "";
    if (bound_by_weights(n, p)) return "";
    if (o_.type != DType::bf16 || !o_.machine.matrix_unit)
      return "without arithmetic in " + std::string(name_of(o_.type)) +
             " only few rows with large constant weights gain";
    return wide_on_matrix_unit(n, p);
  }

  /// Every weight is read from memory for a few multiply-adds.
  bool bound_by_weights(const Node& n, const ProductExtents& p) const {
    constexpr int64_t kFewRows = 4;
    const Value* w = n.operand(1);
    return n.is("dot") && is_constant_tree(w) && w->rank() == 2 && p.positions <= kFewRows &&
           4 * p.depth * p.columns > o_.machine.l2_bytes && p.columns >= o_.machine.lanes &&
           (o_.type == DType::bf16 || o_.machine.reads_f16);
  }

  std::string wide_on_matrix_unit(const Node& n, const ProductExtents& p) const {
    constexpr double kLeast = 1 << 18;
    constexpr int64_t kFewPositions = 64;  // for which weights of this run are not packed
    const Value *x = n.operand(0), *w = n.operand(1);
    const bool stack = w->rank() > 2 && !(w->rank() == 3 && w->shape()[0].is(1));
    if (n.is("conv_weight_gradient")) return "sums over positions have no tiles";
    if (n.attrs().integer("group", 1) > 1) return "it has groups";
    if (n.is("dot") && stack) return "its right side is a stack of matrices";
    if (!n.result()->shape().back().is_static()) return "the number of columns is not known";
    if (o_.always) return "";
    const Dim& channels = x->shape().back();
    if (!channels.is_static() || channels.value() < kMatrixDepth / 2 || p.columns < kMatrixColumns)
      return "fewer than 16 channels or columns";
    if (const Node* t = x->def();
        t != nullptr && t->is("transpose") && t->attrs().integers("perm").back() + 1 != x->rank())
      return "its left side lies across the sum";
    if (!is_constant_tree(w) && p.positions < kFewPositions)
      return "weights of this run, for fewer than 64 positions";
    if (multiply_adds(p) < kLeast) return "fewer than 2^18 multiply-adds";
    return "";
  }

  ProductExtents extents(const Node& n) const {
    return product_extents(n, [this](const Dim& d) { return o_.hint(d); });
  }

  Graph& graph_;
  const NarrowOptions& o_;
  std::map<const Value*, Value*> narrowed_;
};

}  // namespace

std::string narrow_problem(const Machine& machine, DType type) {
  const std::string name(name_of(type));
  if (machine.cuda != 0) {
    const int least = type == DType::bf16 ? 80 : 70;
    return machine.cuda >= least ? ""
                                 : "sm_" + std::to_string(machine.cuda) + " has no arithmetic in " +
                                       name + ", sm_" + std::to_string(least) + " has";
  }
  if (type == DType::bf16 && machine.matrix_unit) return "";
  return "this processor has no arithmetic in " + name +
         (type == DType::f16 && machine.matrix_unit ? ", but in bf16" : "");
}

bool narrow_operands(Graph& graph, const NarrowOptions& options) {
  return Narrower(graph, options).run();
}

}  // namespace tintype
