// The reckoning, and the rewrites.
#include "codegen/select_library.h"

#include "codegen/conv_cost.h"
#include "codegen/library_steps.h"
#include "codegen/weights.h"
#include "codegen/winograd_forms.h"
#include "ir/builder.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace tintype {

namespace {

Shape as_matrix(const Shape& s) { return {product(Shape(s.begin(), s.end() - 1)), s.back()}; }

std::string text(double microseconds) {
  std::ostringstream s;
  s << std::fixed << std::setprecision(1) << microseconds << " us";
  return s.str();
}

LibraryMath math_of(const Node& n, const SelectAlgorithmsOptions& options) {
  if (n.operand(0)->dtype() != DType::f32) return LibraryMath::half;
  return options.tf32 ? LibraryMath::tf32 : LibraryMath::f32;
}

/// As the attribute `library` has it.
std::string kind_of(const Node& n, const SelectAlgorithmsOptions& options) {
  switch (math_of(n, options)) {
    case LibraryMath::f32: return "f32";
    case LibraryMath::tf32: return "tf32";
    case LibraryMath::half: break;
  }
  return std::string(name_of(n.operand(0)->dtype()));
}

/// Microseconds that a library takes, with what has to be done beside its call.
double library_microseconds(const Node& n, const ProductExtents& p,
                            const SelectAlgorithmsOptions& options) {
  double sum = library_cost(p, math_of(n, options), options.machine.cuda).microseconds;
  const auto moved = [&](const Value* v) {
    return transfer_cost(8 * static_cast<double>(options.hint(product(v->shape()))),
                         options.machine.cuda);
  };
  const bool reorders = !is_pointwise_conv(n) && !n.is("dot");
  // cuDNN's result of 16-bit operands has to be widened.
  const bool widens = reorders && math_of(n, options) == LibraryMath::half;
  if (n.is("conv_weight_gradient")) return sum + (reorders ? moved(n.result()) : 0);
  if (reorders && !is_constant_tree(n.operand(1))) sum += moved(n.operand(1));
  // What the call cannot take in is a kernel of its own, where ours take it in.
  const LibraryEpilogue e = library_epilogue(n.result());
  const bool alone = !widens && (e.result->uses().empty() || !e.result->has_one_use() ||
                                 !e.result->uses().front().node->op().has(kPointwise));
  return sum + (alone ? 0 : moved(n.result()));
}

}  // namespace

bool library_wins(const Node& n, const SelectAlgorithmsOptions& options) {
  const bool ours = n.is("conv") || n.is("dot");
  if (!ours && !n.is("conv_weight_gradient")) return false;
  if (n.result()->dtype() != DType::f32 || n.attrs().integer("block") > 0) return false;
  const bool offered = options.libraries != Libraries::never && suits_library(n);
  const ProductExtents p = product_extents(n, [&options](const Dim& d) { return options.hint(d); });
  const BlockTile t = pick_block_tile(p, 0, options.machine.cuda);
  const CudaCost cost = tile_cost(p, t, options.machine.cuda);
  double least = cost.microseconds;
  std::string s = tile_name(n, t) + ": " + text(least) + " (" + cost.limit + ")";
  const bool constant = is_constant_tree(n.operand(1));
  if (n.is("conv") && n.operand(0)->dtype() == DType::f32)
    for (const WinogradForm& form : winograd_forms(n, n.result()->shape(), options)) {
      const double micros = 1e3 * winograd_conv_ms(conv_problem(n, n.result()->shape(), options),
                                                   form, constant ? 0 : 1, options.machine);
      s += ", winograd f" + std::to_string(form.m) + ": " + text(micros);
      least = std::min(least, micros);
    }
  bool wins = false;
  if (offered) {
    const double micros = library_microseconds(n, p, options);
    const std::string math = kind_of(n, options);
    s += std::string(is_pointwise_conv(n) || n.is("dot") ? ", cuBLASLt" : ", cuDNN") +
         (math == "f32" ? ": " : " in " + (math == "tf32" ? "TF32" : math) + ": ") + text(micros);
    wins = options.libraries == Libraries::always || micros < least;
  }
  if (options.explain && (offered || (ours && n.operand(1)->shape().back().is_static())))
    options.explain(n, s);
  return wins;
}

void rewrite_for_library(Graph& graph, Node* n, const SelectAlgorithmsOptions& options) {
  AttrMap product_attrs = {{"library", kind_of(*n, options)}};
  const std::string kind = product_attrs.string("library");
  if (n->attrs().has("result")) product_attrs.set("result", n->result()->dtype());
  Value *x = n->operand(0), *w = n->operand(1);
  Builder b(graph, n);
  b.set_origins(n->origins());
  const auto replace = [&](Value* v) {
    v->set_name(n->result()->name());
    graph.replace_all_uses(n->result(), v);
    graph.erase(n);
  };
  if (n->is("dot") || (n->is("conv_weight_gradient") && !is_pointwise_conv(*n))) {
    n->attrs().set("library", kind);
  } else if (n->is("conv_weight_gradient")) {
    Value* left = b.transpose(b.reshape(x, as_matrix(x->shape())), {1, 0});
    Value* dw = b.make("dot", {left, b.reshape(w, as_matrix(w->shape()))}, product_attrs);
    replace(b.reshape(dw, n->result()->shape()));
  } else if (is_pointwise_conv(*n)) {
    Value* matrix = b.reshape(w, as_matrix(w->shape()));
    replace(b.make("dot", {x, matrix}, product_attrs));
  } else {
    AttrMap attrs = n->attrs();
    attrs.set("block", int64_t{1});
    attrs.set("library", kind);
    Value* packed = b.make("pack", {w}, {{"perm", identity(w->rank())}, {"block", int64_t{1}}});
    replace(b.make("conv", {x, packed}, attrs));
  }
}

}  // namespace tintype
