// The decision and the rewrite.
#include "codegen/select_amx.h"

#include "codegen/amx_cost.h"
#include "codegen/weights.h"
#include "runtime/tile_product.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace tintype {

namespace {

std::string thousands(double cycles) {
  std::ostringstream s;
  s << std::fixed << std::setprecision(0) << cycles / 1e3 << "k cycles";
  return s.str();
}

}  // namespace

int64_t amx_terms(const Node& n, const SelectAlgorithmsOptions& options) {
  if (!options.machine.amx || options.machine.cuda != 0 || options.strict || options.terms == 0)
    return 0;
  if (n.operand(0)->dtype() == DType::bf16) return 1;
  // Rounding is handed on from step to step of a training, and convolutions of batches gain little:
  // with two terms, ResNet-18's loss is 1.3e-4 from PyTorch's after 100 steps.
  return options.terms > 1 && !n.is("dot") && changes_weights(n.graph()) ? 0 : options.terms;
}

Value* wide_weights(const Node& n) {
  Value* w = n.operand(1);
  if (w->dtype() == DType::f32) return w;
  const Node* cast = w->def();
  const bool rounds = w->dtype() == DType::bf16 && cast != nullptr && cast->is("cast") &&
                      cast->operand(0)->dtype() == DType::f32;
  return rounds ? cast->operand(0) : nullptr;
}

bool suits_amx(const Node& n) {
  const DType left = n.operand(0)->dtype();
  if (n.result()->dtype() != DType::f32 || (left != DType::f32 && left != DType::bf16) ||
      wide_weights(n) == nullptr || n.attrs().integer("block") > 0 ||
      !n.result()->shape().back().is_static())
    return false;
  if (n.is("dot")) return n.operand(0)->rank() == n.result()->rank();
  const size_t axes = n.attrs().integers("window").size();
  if (axes < 1 || axes > 2 || n.attrs().integer("group", 1) != 1 ||
      !n.operand(0)->shape().back().is_static())
    return false;
  const TileWindow w(n);
  return w.dilation_x == 1 || w.in_place;
}

bool amx_wins(const Node& n, bool packed, const SelectAlgorithmsOptions& options) {
  const int64_t terms = amx_terms(n, options);
  if (terms == 0 || !suits_amx(n)) return false;
  const TileProblem p = tile_problem(n, [&options](const Dim& d) { return options.hint(d); });
  const double tiles = amx_cycles(p, packed, terms),
               vectors = vector_cycles(p, packed, options.machine);
  if (options.explain)
    options.explain(n, "tiles of " + std::to_string(terms) + " bf16 terms: " + thousands(tiles) +
                           "; vectors of f32: " + thousands(vectors));
  return tiles < 0.9 * vectors;
}

Value* amx_product(Builder& b, const Node& n, bool packed, const SelectAlgorithmsOptions& options) {
  const int64_t terms = amx_terms(n, options);
  AttrMap attrs = n.attrs();
  attrs.set("terms", terms);
  Value* w = wide_weights(n);
  if (packed) {
    const bool conv = n.is("conv");
    if (!conv && w->rank() == 3 && w->shape()[0].is(1))
      w = b.reshape(w, {w->shape()[1], w->shape()[2]});
    attrs.set("block", int64_t{kTileColumns});
    if (!conv) attrs.set("columns", n.result()->shape().back().value());
    w = b.make("pack", {w},
               {{"perm", identity(w->rank())},
                {"block", int64_t{kTileColumns}},
                {"terms", terms},
                {"rows", int64_t{conv ? 2 : 1}}});
  }
  return b.make(n.name(), {n.operand(0), w}, attrs);
}

}  // namespace tintype
