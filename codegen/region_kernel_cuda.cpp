// Choice of schedule and tile for a region on a CUDA device.
#include "codegen/block_tiles.h"
#include "codegen/region_arguments.h"
#include "ir/custom_ops.h"

#include <algorithm>
#include <set>

namespace tintype {

namespace {

/// Positions of a thread's tile: as many as registers allow, fewer where most would be idle.
int cuda_rows(int64_t positions, int vectors) {
  const int most = vectors > 1 ? 8 : 16;
  int best = 1;
  double best_cost = 1e30;
  for (int rows = 1; rows <= most; ++rows) {
    const auto tiles = static_cast<double>((positions + rows - 1) / rows);
    // Per step of the reduction: the products, and the loads that all of them share.
    const double cost = tiles * (rows * (vectors + 1.0) + 4.0);
    if (cost >= best_cost) continue;
    best_cost = cost;
    best = rows;
  }
  return best;
}

/// Threads of a block along the two innermost loops of the result that become threads: neighbours
/// first, as far as there are some.
void set_cuda_threads(KernelChoice& c) {
  constexpr int64_t kThreads = 128, kWarp = 32;
  std::vector<bool> reduced(c.spec.outputs[0].unit.size(), false);
  for (const auto& n : c.spec.body->nodes())
    if (n->op().has(kReduction))
      for (const int64_t axis : n->attrs().integers("axes"))
        reduced[static_cast<size_t>(axis)] = true;
  const Shape& extents = c.arguments.back().extents;
  std::vector<Dim> stay;
  for (size_t d = extents.size(); d-- > 0;)
    if (!reduced[d]) stay.push_back(extents[d]);
  const auto wanted = [](const std::vector<Dim>& dims, size_t i, int64_t most) {
    const int64_t extent = i < dims.size() ? static_or(dims[i], most) : 1;
    int64_t threads = 1;
    while (threads < std::min(extent, most)) threads *= 2;
    return threads;
  };
  const int64_t across = wanted(stay, 0, stay.size() > 1 ? kWarp : kThreads);
  c.spec.vectors = static_cast<int>(across);
  c.spec.rows = static_cast<int>(wanted(stay, 1, kThreads / across));
}

/// True when the amount is a multiple of n whatever the symbols stand for.
bool is_multiple(const Dim& d, int64_t n) {
  if (d.is_static()) return d.value() % n == 0;
  const auto& terms = d.poly()->terms;
  return std::all_of(terms.begin(), terms.end(),
                     [n](const DimTerm& t) { return t.coefficient % n == 0; });
}

/// True when every row of the buffer begins where a vector of four f32 may be loaded; rows lie
/// along the dim `adjacent`, counted from the innermost. Storages and inputs' copies begin at
/// multiples of 64 bytes.
bool loads_vectors(const KernelArgument& a, size_t adjacent = 0) {
  constexpr int64_t kElements = 4;
  const Placement& p = a.placement;
  const size_t rank = p.strides.size();
  if (a.dtype != DType::f32 || !p.motions.empty() || rank <= adjacent ||
      !p.strides[rank - 1 - adjacent].is(1) || !is_multiple(p.offset, kElements))
    return false;
  for (size_t d = 0; d < rank; ++d)
    if (d + 1 + adjacent != rank && !a.extents[d].is(1) && !is_multiple(p.strides[d], kElements))
      return false;
  return true;
}

/// True of a transposed matrix.
bool lies_across(const KernelArgument& a) {
  const size_t rank = a.extents.size();
  return rank >= 2 && !a.extents[rank - 1].is(1) && !a.extents[rank - 2].is(1) &&
         !a.placement.strides[rank - 1].is(1) && a.placement.strides[rank - 2].is(1);
}

/// True when what follows the product computes every element of its results from that of the
/// product alone, and from other operands.
bool has_plain_epilogue(const Graph& body, const Node& anchor) {
  const Shape& shape = anchor.result()->shape();
  std::set<const Value*> after = {anchor.result()};
  for (const auto& n : body.nodes()) {
    const std::vector<Value*> operands = n->operands();
    if (std::none_of(operands.begin(), operands.end(),
                     [&](const Value* v) { return after.count(v) != 0; }))
      continue;
    if (!n->op().has(kPointwise) || n->result()->shape() != shape) return false;
    after.insert(n->result());
  }
  for (size_t i = 0; i < body.output_count(); ++i)
    if (body.output(i)->shape() != shape) return false;
  return true;
}

/// Products too small for a tile's shortest side, groups and wide types are left to a thread per
/// few elements.
bool fits_tiles(const Node& region, const Node& anchor, const ProductExtents& p) {
  constexpr int64_t kLeastColumns = 2, kLeastDepth = 16;
  const DType type = anchor.result()->dtype();
  const bool real = type == DType::f32 || type == DType::f16 || type == DType::bf16;
  return real && anchor.attrs().integer("group", 1) == 1 &&
         !anchor.result()->shape().back().is(1) && p.columns >= kLeastColumns &&
         p.depth >= kLeastDepth && has_plain_epilogue(*region.body(), anchor);
}

bool is_multiple_of_four(const Dim& d) { return d.is_static() && d.value() % 4 == 0; }

/// The left side of a kernel's product where it is an argument whose neighbours are positions.
const KernelArgument* left_across(const KernelChoice& c) {
  const Value* left = find_anchor(*c.spec.body)->operand(0);
  for (size_t i = 0; i < c.spec.inputs.size(); ++i)
    if (c.spec.body->inputs()[i].get() == left)
      return lies_across(c.arguments[i]) ? &c.arguments[i] : nullptr;
  return nullptr;
}

/// A product in tiles, or none where tiles do not fit it.
std::optional<KernelChoice> tiled_choice(const Node& region, const Node& anchor,
                                         const std::vector<Buffer>& buffers,
                                         const RegionOptions& options) {
  ProductExtents p = product_extents(anchor, options.hint);
  if (!fits_tiles(region, anchor, p)) return std::nullopt;
  const auto block = static_cast<int>(anchor.attrs().integer("block"));
  std::optional<KernelChoice> merged = merged_contraction(region, anchor, buffers);
  KernelChoice c = merged ? std::move(*merged) : plain_choice(region, buffers, ScheduleKind::tiled);
  c.spec.schedule = ScheduleKind::tiled;
  const KernelArgument* across = anchor.is("dot") ? left_across(c) : nullptr;
  const Shape& left = anchor.operand(0)->shape();
  const Dim& neighbours = across == nullptr ? left.back() : across->extents.rbegin()[1];
  if (across != nullptr) p.left_vectors = is_multiple_of_four(neighbours);
  BlockTile t = pick_block_tile(p, block, options.machine->cuda);
  t.left_across = across != nullptr;
  t.left_vector = is_multiple_of_four(neighbours) ? 4 : 1;
  const bool whole = is_multiple_of_four(anchor.result()->shape().back());
  t.right_vector = block > 0 || whole ? 4 : 1;
  if (!anchor.is("dot") && left.back().is_static() && !merged)
    t.channels = static_cast<int>(left.back().value());
  t.store_vectors = whole;
  for (size_t i = 0; i < c.arguments.size(); ++i) {
    const bool input = i < c.spec.inputs.size();
    BufferSpec& b = input ? c.spec.inputs[i] : c.spec.outputs[i - c.spec.inputs.size()];
    b.across = &c.arguments[i] == across;
    const bool aligned = !c.arguments[i].extents.empty() && !c.arguments[i].extents.back().is(1) &&
                         loads_vectors(c.arguments[i], b.across ? 1 : 0);
    b.aligned = aligned;
    if (!input) t.store_vectors = t.store_vectors && aligned;
  }
  c.spec.block = t;
  if (t.splits > 1) set_cuda_threads(c);  // of the kernel that adds the parts up
  c.algorithm = tile_name(anchor, t);
  return c;
}

KernelChoice cuda_contraction(const Node& region, const Node& anchor,
                              const std::vector<Buffer>& buffers, const RegionOptions& options) {
  const int64_t block = anchor.attrs().integer("block");
  std::optional<KernelChoice> merged = merged_contraction(region, anchor, buffers);
  KernelChoice c =
      merged ? std::move(*merged) : plain_choice(region, buffers, ScheduleKind::contraction);
  c.spec.vectors = block > 0 ? 4 : 1;
  const Shape& w = anchor.operand(1)->shape();
  const int64_t depth = static_or(w[w.size() - 2], 1);
  c.spec.depth_multiple = depth % 4 == 0 ? 4 : depth % 2 == 0 ? 2 : 1;
  // A thread then loads four steps of the sum at once.
  const Node& merged_anchor = *find_anchor(*c.spec.body);
  if (c.spec.depth_multiple == 4 && merged_anchor.attrs().integer("group", 1) == 1)
    for (size_t i = 0; i < c.spec.inputs.size(); ++i)
      if (c.spec.body->inputs()[i].get() == merged_anchor.operand(0))
        c.spec.inputs[i].aligned = loads_vectors(c.arguments[i]);
  const Shape& extents = c.arguments.back().extents;
  c.spec.rows = cuda_rows(options.hint(extents[extents.size() - 2]), c.spec.vectors);
  c.algorithm = anchor.is("dot") ? "gemm" : merged ? "direct 1x1" : "direct";
  return c;
}

}  // namespace

KernelChoice cuda_choice(const Node& region, const std::vector<Buffer>& buffers,
                         const RegionOptions& options) {
  const Node* anchor = find_anchor(*region.body());
  const auto plain = [&](ScheduleKind kind, const char* algorithm) {
    KernelChoice c = plain_choice(region, buffers, kind);
    c.algorithm = algorithm;
    if (anchor != nullptr) set_cuda_threads(c);
    return c;
  };
  if (anchor == nullptr && is_pointwise_only(*region.body())) {
    KernelChoice c = elementwise_choice(region, buffers, *options.machine);
    c.spec.lanes = 0;  // for vectors of the CPU
    return c;
  }
  if (anchor == nullptr) {
    KernelChoice c = plain(ScheduleKind::elementwise, "movement");
    for (const auto& n : region.body()->nodes())
      if (n->op().has(kPrepack)) c.spec.tail = panel_tail(*n);
    return c;
  }
  if (anchor->is("conv") && is_depthwise(*anchor))
    return plain(ScheduleKind::depthwise, "depthwise");
  if (anchor->is("dot") || anchor->is("conv") || anchor->is("conv_weight_gradient"))
    if (std::optional<KernelChoice> tiled = is_cell(*region.body(), *anchor)
                                                ? std::nullopt
                                                : tiled_choice(region, *anchor, buffers, options))
      return std::move(*tiled);
  if (is_cell(*region.body(), *anchor)) {
    KernelChoice c = plain(ScheduleKind::cell, "cell");
    const int64_t depth = static_or(anchor->operand(0)->shape().back(), 1);
    c.spec.depth_multiple = depth % 4 == 0 ? 4 : depth % 2 == 0 ? 2 : 1;
    return c;
  }
  if (anchor->is("dot") || (anchor->is("conv") && (anchor->attrs().integer("block") > 0 ||
                                                   anchor->attrs().integer("group", 1) == 1)))
    return cuda_contraction(region, *anchor, buffers, options);
  if (anchor->is("conv")) return plain(ScheduleKind::window, "plain");
  if (anchor->op().has(kWindow)) return plain(ScheduleKind::window, "window");
  if (anchor->is("conv_weight_gradient"))
    return plain(ScheduleKind::weight_gradient, "weight gradient");
  if (anchor->is("window_max_gradient"))
    return plain(ScheduleKind::window_max_gradient, "window gradient");
  if (anchor->op().has(kTileTransform)) {
    KernelChoice c =
        plain(anchor->is("winograd_output")           ? ScheduleKind::winograd_output
              : anchor->is("winograd_weight_adjoint") ? ScheduleKind::winograd_weight_adjoint
                                                      : ScheduleKind::winograd_points,
              "winograd");
    if (anchor->op().has(kPrepack)) c.spec.tail = panel_tail(*anchor);
    c.algorithm += " f" + std::to_string(anchor->attrs().integer("m"));
    return c;
  }
  if (anchor->op().has(kKernel)) return plain(ScheduleKind::scatter, "scatter");
  return plain(ScheduleKind::rows, "rows");
}

std::string cuda_problem(const Node& region) {
  const Node* anchor = find_anchor(*region.body());
  if (anchor != nullptr &&
      (anchor->is("winograd_conv") || (anchor->op().has(kKernel) && is_added(anchor->op()))))
    return "op '" + std::string(anchor->name()) + "' has no kernel for CUDA";
  if (is_attention(*region.body())) return "attention in one kernel has none for CUDA";
  return "";
}

}  // namespace tintype
