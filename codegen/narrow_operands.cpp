// Which products take operands of 16 bits, and where these are rounded.
#include "codegen/narrow_operands.h"

#include "codegen/block_tiles.h"
#include "codegen/region_arguments.h"
#include "codegen/select_amx.h"
#include "codegen/weights.h"
#include "ir/builder.h"

#include <algorithm>

namespace tintype {

namespace {

class Narrower {
 public:
  Narrower(Graph& graph, const NarrowOptions& options) : graph_(graph), o_(options) {
    amx_.machine = o_.machine;
    amx_.hints = o_.hints;
    amx_.terms = 1;
  }

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
    Builder b(graph_, n);
    b.set_origins(n->origins());
    std::vector<Value*> operands;
    for (Value* v : n->operands()) operands.push_back(narrow(v, n));
    // Packing for AMX rounds: it takes the cast off again (wide_weights).
    if (o_.machine.amx && o_.machine.cuda == 0) operands[1] = b.cast(n->operand(1), o_.type);
    Value* y = b.make(n->name(), operands, attrs);
    y->set_name(n->result()->name());
    graph_.replace_all_uses(n->result(), y);
    graph_.erase(n);
  }

  /// The operand in 16 bits. Rounding commutes with movement: in front of it, the kernel that
  /// computes what moves can round, and less is moved.
  Value* narrow(Value* v, Node* before) {
    Node* def = v->def();
    if (def == nullptr || !v->has_one_use() || v->output_uses() != 0 || !moves(*def)) {
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

  /// Movement in front of which rounding may be done.
  static bool moves(const Node& n) {
    if (n.is("pad")) return n.operand_count() == 1 || n.operand(1) == nullptr;
    return n.is("reshape") || n.is("transpose") || n.is("slice") || n.is("reverse") ||
           n.is("dilate");
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
    if (o_.always && !o_.machine.amx) return "";
    if (bound_by_weights(n, p)) return "";
    if (o_.type != DType::bf16 || !o_.machine.amx)
      return "without arithmetic in " + std::string(name_of(o_.type)) +
             " only few rows with large constant weights gain";
    return wide_on_amx(n);
  }

  /// Every weight is read from memory for a few multiply-adds.
  bool bound_by_weights(const Node& n, const ProductExtents& p) const {
    constexpr int64_t kFewRows = 4;
    const Value* w = n.operand(1);
    return n.is("dot") && is_constant_tree(w) && w->rank() == 2 && p.positions <= kFewRows &&
           4 * p.depth * p.columns > o_.machine.l2_bytes && p.columns >= o_.machine.lanes &&
           (o_.type == DType::bf16 || o_.machine.reads_f16);
  }

  std::string wide_on_amx(const Node& n) const {
    if (std::string s = not_for_amx(n); !s.empty()) return s;
    if (o_.always || read_by_products_alone(n.operand(0))) return "";
    return "what else reads its left side wants f32; the product rounds it";
  }

  /// Why AMX is nothing for a product, else "".
  std::string not_for_amx(const Node& n) const {
    const Value* w = n.operand(1);
    const bool stack = w->rank() > 2 && !(w->rank() == 3 && w->shape()[0].is(1));
    if (n.is("conv_weight_gradient")) return "sums over positions have no tiles";
    if (n.is("dot") && stack) return "its right side is a stack of matrices";
    if (!suits_amx(n)) return "AMX has no form of it";
    if (o_.always) return "";
    const bool packed = is_constant_tree(w) || extents(n).positions > kFewPositions;
    return amx_wins(n, packed, amx_) ? "" : "vectors of f32 are reckoned to be faster";
  }

  /// True when a value is computed by a kernel that can store it in 16 bits, for products on AMX
  /// and nothing else, movement between them aside.
  bool read_by_products_alone(const Value* v) const {
    const Node* def = v->def();
    if (def == nullptr || v->output_uses() != 0) return false;
    if (moves(*def)) return v->has_one_use() ? read_by_products_alone(def->operand(0)) : false;
    return def->op().has(kPointwise | kContraction | kReduction | kWindow) && feeds_products(v);
  }
  bool feeds_products(const Value* v) const {
    if (v->output_uses() != 0) return false;
    return std::all_of(v->uses().begin(), v->uses().end(), [this](const Use& u) {
      if (moves(*u.node))
        return u.operand == 0 && u.node->result()->has_one_use() &&
               feeds_products(u.node->result());
      return u.operand == 0 && (u.node->is("dot") || u.node->is("conv")) &&
             not_f32(*u.node).empty() && not_for_amx(*u.node).empty();
    });
  }

  ProductExtents extents(const Node& n) const {
    return product_extents(n, [this](const Dim& d) { return o_.hint(d); });
  }

  static constexpr int64_t kFewPositions = 128;  ///< for which weights of a run are not packed

  Graph& graph_;
  const NarrowOptions& o_;
  SelectAlgorithmsOptions amx_;
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
  if (type == DType::bf16 && machine.amx) return "";
  return "this processor has no arithmetic in " + name +
         (type == DType::f16 && machine.amx ? ", but in bf16" : "");
}

bool narrow_operands(Graph& graph, const NarrowOptions& options) {
  return Narrower(graph, options).run();
}

}  // namespace tintype
