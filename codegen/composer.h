// The walk over a region's body that composes definitions, shared by the files that define its
// kinds of ops.
#pragma once

#include "codegen/compose.h"

#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

/// An index per dim, outermost first, as the IR counts.
using Index = std::vector<Halide::Expr>;

/// How values of a reduction are put together.
struct Monoid {
  Halide::Expr identity;
  std::function<Halide::Expr(const Halide::Expr&, const Halide::Expr&)> combine;
};

class Composer {
 public:
  Composer(const KernelSpec& spec, const Machine& machine) : spec_(spec), machine_(machine) {}

  Composition run();

 private:
  using Expr = Halide::Expr;
  using Func = Halide::Func;
  using RDom = Halide::RDom;
  using Var = Halide::Var;

  // compose.cpp
  static bool is_unit(const Value* v, size_t dim) { return v->shape()[dim].is(1); }
  /// Halide has no bf16 on CUDA devices.
  bool by_bits(DType dtype) const { return spec_.cuda && dtype == DType::bf16; }
  Halide::Type storage_type(DType dtype) const {
    return by_bits(dtype) ? Halide::UInt(16) : halide_type(dtype);
  }
  void make_inputs();
  /// An extent used in arithmetic: a literal when static, else one of the kernel's scalars.
  Expr extent_of(const Dim& d);
  /// The same for an amount that may be negative.
  Expr amount_of(const Dim& d);
  /// Run-time extent of a dim of a value, from the buffers it is computed from.
  Expr extent(const Value* v, size_t dim);
  static std::vector<Expr> reversed(const Index& index) { return {index.rbegin(), index.rend()}; }
  Expr load(const Value* v, const Index& index);
  Expr value(const Value* v, const Index& index);
  /// Indices are built once and passed on, so identity of the nodes is enough to find repeats.
  static std::string memo_key(const Value* v, const Index& index);
  Expr compute(const Value* v, const Index& index);
  Expr random_bits(const Node& n, const Index& index);
  /// 16-bit floats compute in f32 and round after every op, as one op at a time would.
  Expr rounded(DType dtype, const Expr& e) const;
  /// A cast that does not repeat one: f32 made of bf16 becomes that bf16 again.
  static Expr converted(Halide::Type type, const Expr& e);
  Expr moved(const Node& n, const Index& index);
  /// Extent of the axis that a prepacking op cuts into panels, undefined where they are whole.
  Expr packed_columns(const Node& n);
  static std::vector<Var> make_vars(int rank);
  static Index index_of(const std::vector<Var>& vars) {
    Index index;
    for (auto it = vars.rbegin(); it != vars.rend(); ++it) index.emplace_back(*it);
    return index;
  }
  void define_anchor(const Node& n);
  Func new_func(const Node& n);
  /// Rows kernels store what is costly and read more than once.
  static bool stored_in_rows(const Node& n) {
    return n.op().has(kPointwise) && n.result()->uses().size() >= 2 && is_expensive(n);
  }
  void maybe_store(const Node& n);
  void store(const Value* v);
  /// Masks of attention are minus infinity, between products that need no such care.
  Expr masked(const Expr& e) const {
    return spec_.schedule == ScheduleKind::attention ? Halide::strict_float(e) : e;
  }
  void add_anchor(const Node& n, const Func& f, const std::vector<Var>& vars, const RDom& r);
  /// Promises that an extent is a multiple of m, so that unrolling needs no tail.
  static Expr multiple_of(const Expr& e, int m) { return m > 1 ? (e / m) * m : e; }
  void define_gradient(const Node& n);
  void define_winograd(const Node& n);
  /// The op of a plugin, alone in its kernel: its Funcs are the outputs.
  void define_added(const Node& n);
  void make_outputs();
  /// The results of one Func share the bounds of its first.
  static void describe_output(Halide::OutputImageParam buffer, const BufferSpec& spec, bool bounds);

  // compose_contraction.cpp
  void define_conv(const Node& n);
  /// What a contraction multiplies weights with, `at` telling the index in x by the place in the
  /// sum, innermost first. Where vectors of x may be loaded on a device it is a stage, of which a
  /// thread keeps some steps of the sum: by the place in it, and by all variables of the result but
  /// the innermost.
  Expr left_side(const Value* x, const RDom& r, const std::vector<Var>& vars,
                 const std::function<Index(const std::vector<Expr>&)>& at);
  bool loads_vectors(const Value* x) const;
  /// The innermost extent of packed weights is the panel width; rows of a panel are adjacent.
  void pin_panel(const Value* w, int32_t block);
  void define_dot(const Node& n);
  /// A product by tiles of bf16, or the packing of its weights: a call of the runtime.
  void define_tile_product(const Node& n);
  Halide::ExternFuncArgument whole_operand(const Value* v);
  void define_gate_products(const Node& n);
  /// Where the operand of a product, a matrix or a panel of one, lies for an index of the result.
  Index batch_index(const Value* v, size_t matrix, const Index& index) const;
  void define_attention(const Node& n);

  // compose_tiled.cpp
  struct Product;
  Product conv_product(const Node& n);
  Product dot_product(const Node& n);
  void define_tiled(const Node& n);
  void define_panels(const Product& p, const Expr& begin, const Expr& zero);
  Index define_place(const Product& p);
  void define_places(const Node& n, const Product& p);
  void define_parts(const Node& n, const Product& p);

  // compose_reduction.cpp
  void define_window(const Node& n);
  Monoid monoid_of(const Node& n);
  /// True for sums over all axes but the channels, two of them at least: bias gradients, batch
  /// statistics. Channels alone give too few tasks.
  bool sums_per_channel() const;
  void define_channel_sum(const Node& n);
  void define_channel_sum_on_device(const Node& n);
  void define_reduce(const Node& n);

  const KernelSpec& spec_;
  const Machine& machine_;
  Composition c_;
  std::unordered_map<const Value*, Halide::ImageParam> inputs_;
  Halide::ImageParam scalars_;
  std::unordered_map<const Value*, Func> stored_;
  /// The result of a tiled product at the one index that the kernel writes, and that index.
  const Value* tiled_result_ = nullptr;
  Expr tiled_sum_;
  Index tiled_index_;
  std::unordered_set<const Value*> masks_;  ///< what attention reads between its products
  std::unordered_map<std::string, Expr> memo_;
};

}  // namespace tintype
