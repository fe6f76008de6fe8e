// Choice of schedule, register tile and dim merging for one region.
#include "codegen/region_kernel.h"

#include "codegen/amx_cost.h"
#include "codegen/region_arguments.h"
#include "codegen/tiles.h"
#include "ir/builder.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "runtime/tile_product.h"

#include <algorithm>
#include <numeric>

namespace tintype {

namespace {

/// Multiply-adds per result element, where known.
int64_t total_depth(const Node& anchor) {
  const Shape& w = anchor.operand(1)->shape();
  int64_t depth = static_or(w[w.size() - 2], 1);
  for (int64_t k : anchor.attrs().integers("window")) depth *= k;
  return depth;
}

/// Variants of a tiled kernel: the tile for the likely extent, then one that always fits.
void expand_tiles(std::vector<KernelChoice>& out, KernelChoice c, const Dim& positions, int rows) {
  c.spec.rows = rows;
  // A result without elements has no tiles; of one that has some, no symbol is 0.
  const bool always = rows == 1 || positions.lower_bound(1).value_or(0) >= rows;
  if (always) {
    out.push_back(std::move(c));
    return;
  }
  KernelChoice small = c;
  c.position_extent = positions;
  c.least = rows;
  small.spec.rows = 1;
  small.spec.depth_block = 0;
  out.push_back(std::move(c));
  out.push_back(std::move(small));
}

/// Elements of the widest type that fill a vector.
int64_t vector_lanes_of(const KernelChoice& c, const Machine& machine) {
  size_t bytes = 4;
  for (const BufferSpec& b : c.spec.inputs) bytes = std::max(bytes, size_of(b.dtype));
  for (const BufferSpec& b : c.spec.outputs) bytes = std::max(bytes, size_of(b.dtype));
  return std::max<int64_t>(1, machine.lanes * 4 / static_cast<int64_t>(bytes));
}

/// What to do where the channels of an operand do not fill a vector: computed by whole vectors
/// where memory behind the operand may be read. The slack counts bytes behind the last element, so
/// that it covers a vector only where channels are neighbours: of an operand in another layout the
/// same lanes are whole images apart.
PanelTail few_channels(const Node& region, const Value* operand, const std::vector<Buffer>& buffers,
                       const RegionOptions& options) {
  for (size_t i = 0; i < region.body()->inputs().size(); ++i) {
    const Placement& p = buffers[i].placement;
    if (buffers[i].value != operand || p.strides.empty() || !p.strides.back().is(1)) continue;
    if (options.readable_beyond(p.storage)) return PanelTail::padded;
  }
  return PanelTail::masked;
}

/// The widest panel of whole vectors, of at most `widest`, that divides the columns; 0 for none.
int dividing_vectors(const Dim& columns, int widest, const Machine& machine) {
  if (!columns.is_static()) return 0;
  for (int v = widest; v > 0; --v)
    if (columns.value() % (v * machine.lanes) == 0) return v;
  return 0;
}

/// Products whose tiles can be made to fit into the result without a rest.
bool fits_whole_tiles(const Node& dot, const Machine& machine) {
  const Shape& s = dot.result()->shape();
  return dot.is("dot") && s.size() == 2 && s[0].is_static() &&
         dot.result()->dtype() == DType::f32 &&
         (dot.attrs().integer("block") > 0 ||
          dividing_vectors(s[1], widest_panel(machine), machine) > 0);
}

/// A result lies where an operand does.
bool replaces_operand(const Node& region, const std::vector<Buffer>& buffers) {
  const auto inputs = static_cast<std::ptrdiff_t>(region.body()->inputs().size());
  return std::any_of(buffers.begin() + inputs, buffers.end(), [&](const Buffer& out) {
    return std::any_of(buffers.begin(), buffers.begin() + inputs, [&](const Buffer& in) {
      return in.placement.storage == out.placement.storage;
    });
  });
}

/// An input of a region's body that is the same in every run.
bool is_constant(const Node& region, const Value* input) {
  const auto& inputs = region.body()->inputs();
  const auto it = std::find_if(inputs.begin(), inputs.end(),
                               [input](const auto& v) { return v.get() == input; });
  if (it == inputs.end()) return false;
  const Node* def = region.operand(static_cast<int>(it - inputs.begin()))->def();
  return def != nullptr && def->is("constant");
}

/// Lines of weights to fetch per step of the reduction, where a task runs a panel over `passes`
/// tiles: with few of them each has to fetch more. Two values are enough, and layers of different
/// sizes share kernels.
int prefetched_lines(const KernelSpec& spec, int64_t passes) {
  constexpr int kFew = 2, kMany = 6;
  const int64_t lines = int64_t{spec.vectors} * std::min(spec.depth_multiple, kDepthUnroll);
  return 4 * lines <= 5 * kFew * passes ? kFew : kMany;
}

/// Tiles of a Winograd transform along a spatial axis of its result.
Dim tiles_along(const Dim& extent, const Node& transform, size_t axis) {
  const bool wide = transform.attrs().integers("window")[axis] > 1;
  return wide ? ceil_div(extent, Dim(transform.attrs().integer("m"))) : extent;
}

/// A number that divides the extent whatever its symbols are.
int64_t known_divisor(const Dim& d) {
  if (d.is_static()) return d.value();
  int64_t divisor = 0;
  for (const DimTerm& t : d.poly()->terms) divisor = std::gcd(divisor, t.coefficient);
  return divisor;
}

std::vector<KernelChoice> contraction_choices(const Node& region, const Node& anchor,
                                              const std::vector<Buffer>& buffers,
                                              const RegionOptions& options) {
  const Machine& machine = *options.machine;
  const int64_t block = anchor.attrs().integer("block");
  std::optional<KernelChoice> merged = merged_contraction(region, anchor, buffers);
  KernelChoice c =
      merged ? std::move(*merged) : plain_choice(region, buffers, ScheduleKind::contraction);
  const Dim channels = anchor.result()->shape().back();
  c.spec.vectors = static_cast<int>(block / machine.lanes);
  const bool whole = fits_whole_tiles(anchor, machine) && replaces_operand(region, buffers);
  if (block > 0) {
    const bool full = channels.is_static() && channels.value() % block == 0;
    c.spec.tail = full ? PanelTail::whole : PanelTail::padded;
  } else if (whole) {
    c.spec.vectors = dividing_vectors(channels, widest_panel(machine), machine);
    c.spec.tail = PanelTail::whole;
  } else if (channels.is_static() && channels.value() >= machine.lanes) {
    // Unpacked columns cannot be read past their end: the last panel overlaps its neighbour.
    const int64_t widest = widest_panel(machine);
    c.spec.vectors = static_cast<int>(std::min(channels.value() / machine.lanes, widest));
    c.spec.tail = channels.value() % (c.spec.vectors * machine.lanes) == 0 ? PanelTail::whole
                                                                           : PanelTail::shifted;
  } else {
    c.spec.vectors = 1;
    c.spec.tail = few_channels(region, anchor.operand(1), buffers, options);
    if (c.spec.tail == PanelTail::masked) {
      c.spec.schedule = ScheduleKind::window;
      c.algorithm = "plain";
      return {std::move(c)};
    }
  }
  const Value* w = anchor.operand(1);
  const Dim& steps = w->shape()[w->shape().size() - 2];
  const int64_t divisor = known_divisor(steps);
  c.spec.depth_multiple = divisor % 4 == 0 ? 4 : divisor % 2 == 0 ? 2 : 1;
  c.algorithm = anchor.is("conv") ? (merged ? "direct 1x1" : "direct") : "gemm";
  const Dim positions = c.arguments.back().extents[c.arguments.back().extents.size() - 2];
  const int spare = anchor.is("conv") && !merged ? kImageSpare : kMatrixSpare;
  if (anchor.is("dot") && !is_constant(region, w))
    c.spec.depth_block = depth_block(c.spec.vectors, options.hint(steps), machine);
  const int64_t depth = c.spec.depth_block > 0 ? c.spec.depth_block : total_depth(anchor);
  const int rows = pick_tile(options.hint(positions), c.spec.vectors, depth, spare, machine).rows;
  c.spec.guarded_rows = whole && positions.value() % rows != 0;
  if (rows == 1) c.spec.depth_block = 0;
  if (block > 0 && c.spec.depth_block == 0) {
    const int64_t tiles = (options.hint(positions) + rows - 1) / rows;
    const bool image = anchor.is("conv") && !merged;
    c.spec.prefetch = prefetched_lines(c.spec, image ? tiles * image_rows_per_task(anchor)
                                                     : std::min<int64_t>(tiles, kTaskTiles));
  }
  std::vector<KernelChoice> out;
  expand_tiles(out, c, positions, rows);
  return out;
}

std::vector<KernelChoice> amx_choices(const Node& region, const Node& anchor,
                                      const std::vector<Buffer>& buffers,
                                      const RegionOptions& options) {
  const int64_t terms = anchor.attrs().integer("terms");
  std::optional<KernelChoice> merged = merged_contraction(region, anchor, buffers);
  KernelChoice c = merged ? std::move(*merged) : plain_choice(region, buffers, ScheduleKind::amx);
  c.spec.schedule = ScheduleKind::amx;
  c.algorithm = "amx, " + std::to_string(terms) + (terms == 1 ? " term" : " terms");
  const Dim& columns = anchor.result()->shape().back();
  const bool whole = columns.is_static() && columns.value() % kTileColumns == 0;
  c.spec.tail = whole ? PanelTail::whole : PanelTail::padded;
  const auto hint = [&options](const Dim& d) { return options.hint(d); };
  if (anchor.is("conv") && !merged) c.spec.tile_rows = tile_rows(anchor, hint);
  TileProblem p = tile_problem(anchor, hint);
  if (merged) {
    p.lines = p.rows = p.results;
    p.line = p.images = 1;
  }
  // The hidden units of a cell are divided among the cores, each of which keeps its weights.
  if (is_cell(*region.body(), anchor)) {
    constexpr int kRows = 256;
    const int64_t panels = whole ? columns.value() / kTileColumns : 0;
    const int64_t cores = std::max<int64_t>(1, options.machine->cores);
    c.spec.rows = kRows;
    c.spec.vectors = panels % cores == 0 ? static_cast<int>(panels / cores) : whole ? 1 : 0;
    return {std::move(c)};
  }
  const AmxTasks tasks =
      pick_amx_tasks(p, whole ? columns.value() / kTileColumns : 0,
                     anchor.attrs().integer("block") > 0, terms, *options.machine);
  c.spec.rows = tasks.rows;
  c.spec.vectors = tasks.panels;
  return {std::move(c)};
}

std::vector<KernelChoice> cell_choices(const Node& region, const Node& anchor,
                                       const std::vector<Buffer>& buffers,
                                       const RegionOptions& options) {
  const Machine& machine = *options.machine;
  KernelChoice c = plain_choice(region, buffers, ScheduleKind::cell);
  c.algorithm = "cell";
  const int64_t block = anchor.attrs().integer("block");
  // The panels of two products have all gates of a step together.
  const bool may_be_apart = anchor.is("dot");
  const int64_t lanes = vector_lanes_of(c, machine);
  const int64_t gates = static_or(anchor.result()->shape()[0], 1);
  const Dim units = anchor.result()->shape().back();
  const Dim rows = anchor.result()->shape()[1];
  if (block > 0) {
    c.spec.vectors = static_cast<int>(block / lanes);
    const bool whole = units.is_static() && units.value() % block == 0;
    c.spec.tail = whole ? PanelTail::whole : PanelTail::padded;
  } else {
    c.spec.vectors =
        pick_cell_tile(gates, units, options.hint(rows), lanes, 0, may_be_apart, machine).vectors;
    const int64_t panel = c.spec.vectors * lanes;
    if (!units.is_static() || units.value() < panel) {
      c.spec.vectors = 1;
      c.spec.tail = units.is_static() && units.value() >= lanes
                        ? (units.value() % lanes == 0 ? PanelTail::whole : PanelTail::shifted)
                        : few_channels(region, anchor.operand(1), buffers, options);
    } else {
      c.spec.tail = units.value() % panel == 0 ? PanelTail::whole : PanelTail::shifted;
    }
  }
  int64_t depth = static_or(anchor.operand(0)->shape().back(), 1);
  if (anchor.is("gate_products"))
    depth = std::gcd(depth, static_or(anchor.operand(2)->shape().back(), 1));
  c.spec.depth_multiple = depth % 4 == 0 ? 4 : depth % 2 == 0 ? 2 : 1;
  const int64_t batch = options.hint(rows);
  const CellTile tile =
      pick_cell_tile(gates, units, batch, lanes, c.spec.vectors, may_be_apart, machine);
  c.spec.gates_apart = tile.apart && c.spec.tail != PanelTail::masked;
  c.spec.tasks = machine.cores;
  c.spec.split_rows = splits_sequences(batch, machine);
  std::vector<KernelChoice> out;
  expand_tiles(out, c, rows, tile.rows);
  return out;
}

/// As many queries at a time as fill vectors of which registers hold a tile, fewer where the scores
/// of so many would leave the second-level cache. Kernels of a single vector take any number.
std::vector<KernelChoice> attention_choices(const Node& region, const std::vector<Buffer>& buffers,
                                            const RegionOptions& options) {
  const Machine& machine = *options.machine;
  KernelChoice c = plain_choice(region, buffers, ScheduleKind::attention);
  c.algorithm = "attention";
  const Graph& body = *region.body();
  const Node& product = *find_anchor(body);
  const Shape &scores = product.result()->shape(), &result = body.output(0)->shape();
  const Dim &queries = scores[scores.size() - 2], &width = result.back();
  const int64_t lanes = machine.lanes;
  c.spec.vectors = 1;
  c.spec.tail = PanelTail::masked;
  if (width.is_static() && width.value() >= lanes) {
    const int64_t widest = widest_panel(machine);
    c.spec.vectors = static_cast<int>(std::min(width.value() / lanes, widest));
    c.spec.tail =
        width.value() % (c.spec.vectors * lanes) == 0 ? PanelTail::whole : PanelTail::shifted;
  }
  const int64_t depth = static_or(product.operand(0)->shape().back(), 1);
  c.spec.depth_multiple = depth % 4 == 0 ? 4 : depth % 2 == 0 ? 2 : 1;
  int64_t vectors = widest_panel(machine);
  // Scores and their exponentials, of one thread.
  const auto fits = [&] {
    return 8 * vectors * lanes * options.hint(scores.back()) <= machine.l2_bytes;
  };
  while (vectors > 1 && (static_or(queries, vectors * lanes) < vectors * lanes || !fits()))
    vectors /= 2;
  KernelChoice any = c;
  any.spec.rows = static_cast<int>(lanes);
  if (vectors == 1) return {std::move(any)};
  c.spec.rows = static_cast<int>(vectors * lanes);
  if (queries.is_static()) return {std::move(c)};
  c.position_extent = queries;
  c.least = c.spec.rows;
  return {std::move(c), std::move(any)};
}

std::vector<KernelChoice> depthwise_choices(const Node& region, const std::vector<Buffer>& buffers,
                                            const RegionOptions& options) {
  KernelChoice c = plain_choice(region, buffers, ScheduleKind::depthwise);
  c.algorithm = "depthwise";
  const Dim positions = c.arguments.back().extents[c.arguments.back().extents.size() - 2];
  std::vector<KernelChoice> out;
  expand_tiles(
      out, c, positions,
      std::min(8, pick_tile(options.hint(positions), 1, 1, kImageSpare, *options.machine).rows));
  return out;
}

/// The ending of vectors along the innermost output dim.
PanelTail vector_tail(const KernelChoice& c, const Machine& machine,
                      PanelTail few = PanelTail::masked) {
  const int64_t lanes = vector_lanes_of(c, machine);
  const Shape& extents = c.arguments.back().extents;
  if (extents.empty() || !extents.back().is_static() || extents.back().value() < lanes) return few;
  return extents.back().value() % lanes == 0 ? PanelTail::whole : PanelTail::shifted;
}

KernelChoice weight_gradient_choice(const Node& region, const Node& anchor,
                                    const std::vector<Buffer>& buffers,
                                    const RegionOptions& options) {
  const Machine& machine = *options.machine;
  KernelChoice c = plain_choice(region, buffers, ScheduleKind::weight_gradient);
  c.algorithm = "weight gradient";
  const Shape& shape = anchor.result()->shape();
  const int64_t channels = static_or(shape[shape.size() - 2], 1),
                filters = static_or(shape.back(), 0);
  const int64_t lanes = std::max<int64_t>(
      1, machine.lanes * 4 /
             std::max<int64_t>(4, static_cast<int64_t>(size_of(anchor.result()->dtype()))));
  c.spec.rows = channels >= 6 ? 6 : static_cast<int>(std::max<int64_t>(1, channels));
  c.spec.tail = vector_tail(c, machine, few_channels(region, anchor.operand(1), buffers, options));
  if (c.spec.tail == PanelTail::padded || c.spec.tail == PanelTail::masked) return c;
  const int64_t widest = widest_panel(machine);
  c.spec.vectors = static_cast<int>(std::min(filters / lanes, widest));
  c.spec.tail = filters % (c.spec.vectors * lanes) == 0 ? PanelTail::whole : PanelTail::shifted;
  return c;
}

/// All steps of a Winograd convolution, for lines of tiles as long as a run, and for shorter ones.
std::vector<KernelChoice> winograd_choices(const Node& region, const Node& anchor,
                                           const std::vector<Buffer>& buffers,
                                           const RegionOptions& options) {
  const Machine& machine = *options.machine;
  KernelChoice c = plain_choice(region, buffers, ScheduleKind::winograd_conv);
  c.algorithm = "winograd f" + std::to_string(anchor.attrs().integer("m")) + " fused";
  const Shape& u = anchor.operand(1)->shape();
  const Dim columns = tiles_along(anchor.result()->shape()[2], anchor, 1);
  const int64_t channels = u[2].value(), filters = anchor.attrs().integer("filters");
  c.spec.vectors = static_cast<int>(u[3].value() / machine.lanes);
  c.spec.tail = vector_tail(c, machine);
  c.spec.depth_multiple = channels % 4 == 0 ? 4 : channels % 2 == 0 ? 2 : 1;
  const WinogradRun run = pick_winograd_run(options.hint(columns), u[0].value(), channels, filters,
                                            c.spec.vectors, machine);
  c.spec.channels = static_cast<int>(channels);
  c.spec.filters = static_cast<int>(filters);
  c.spec.rows = run.rows;
  c.spec.run = std::max(run.tiles, 1);
  c.spec.prefetch = prefetched_lines(c.spec, c.spec.run / c.spec.rows);
  if (columns.is_static() && columns.value() >= c.spec.run) return {std::move(c)};
  c.position_extent = columns;
  c.least = c.spec.run;
  KernelChoice small = c;
  small.spec.rows = small.spec.run = 1;
  small.position_extent = Dim();
  small.least = 0;
  return {std::move(c), std::move(small)};
}

/// Extents in attributes that the kernel has to be told.
void collect_scalars(KernelChoice& c) {
  auto add = [&c](const Shape& dims) {
    for (const Dim& d : dims)
      if (!d.is_static() &&
          std::find(c.spec.scalars.begin(), c.spec.scalars.end(), d) == c.spec.scalars.end())
        c.spec.scalars.push_back(d);
  };
  for (const auto& n : c.spec.body->nodes()) {
    if (n->is("pad")) {
      for (const char* side : {"before", "after"})
        for (const Dim& d : n->attrs().dims(side))
          add({signed_amount(d).more, signed_amount(d).less});
    }
    if (n->is("slice")) add(n->attrs().dims("starts"));
    if (n->is("random_bits") || n->is("iota")) add(n->attrs().dims("shape"));
    if (n->is("scatter_add")) add(n->attrs().dims("rows"));
  }
  if (c.spec.scalars.empty()) return;
  const size_t inputs = c.spec.inputs.size();
  KernelArgument a{
      DType::u8,
      {c.arguments.back().placement.storage, Dim(0), Shape(c.spec.scalars.size(), Dim(0)), {}},
      c.spec.scalars};
  c.arguments.insert(c.arguments.begin() + static_cast<std::ptrdiff_t>(inputs), a);
}

ScheduleKind transform_schedule(const Node& transform) {
  if (transform.is("winograd_output")) return ScheduleKind::winograd_output;
  if (transform.is("winograd_weight_adjoint")) return ScheduleKind::winograd_weight_adjoint;
  return ScheduleKind::winograd_points;
}

/// A machine with vectors of half the length, where channels fill no more than those: six channels
/// leave ten of sixteen lanes idle, but two of eight.
std::optional<Machine> narrow_machine(const Node& region, const Machine& machine) {
  const Graph& body = *region.body();
  const Shape& shape = body.output(0)->shape();
  const Node* anchor = find_anchor(body);
  if (is_attention(body) || (anchor != nullptr && anchor->attrs().integer("terms") > 0))
    return std::nullopt;
  if (machine.lanes != 16 || shape.empty() || !shape.back().is_static() || shape.back().is(1) ||
      shape.back().value() > machine.lanes / 2 || anchor == nullptr ||
      anchor->attrs().integer("block") > 0 || !anchor->op().has(kContraction | kWindow | kKernel))
    return std::nullopt;
  Machine narrow = machine;
  narrow.lanes /= 2;
  narrow.multiply_adds = 2;
  return narrow;
}

/// The kernels of these compute every element once: their vectors end where channels do.
bool ends_with_channels(const Node& n) {
  const Dim& channels = n.result()->shape().back();
  return n.is("winograd_weight_adjoint") && channels.is_static() && channels.value() % 16 == 0;
}

/// Weights of which the channels, not the filters, are neighbours in memory, both in whole lines.
bool reads_across(const Node& transform, const KernelChoice& c) {
  if (!transform.is("winograd_weight") || c.spec.tail != PanelTail::whole || c.spec.vectors < 1)
    return false;
  const Dim& channels = transform.result()->shape()[2];
  return transform.attrs().integers("perm")[2] == 3 && channels.is_static() &&
         channels.value() % 16 == 0;
}

}  // namespace

bool may_replace_operand(const Node& region, int operand, const Machine& machine) {
  if (!region.is("region")) return false;
  const Graph& body = *region.body();
  const Value* input = body.inputs()[static_cast<size_t>(operand)].get();
  return input->shape() == body.output(0)->shape() &&
         std::all_of(input->uses().begin(), input->uses().end(),
                     [](const Use& u) { return u.node->op().has(kPointwise); }) &&
         std::all_of(body.nodes().begin(), body.nodes().end(), [&](const auto& n) {
           return n->op().has(kPointwise) || n->is("constant") || ends_with_channels(*n) ||
                  fits_whole_tiles(*n, machine);
         });
}

std::vector<KernelChoice> choose_kernels(const Node& region, const std::vector<Placement>& inputs,
                                         const std::vector<Placement>& outputs,
                                         const RegionOptions& wide) {
  if (const auto narrow = narrow_machine(region, *wide.machine);
      narrow && !wide.reference && !wide.cuda) {
    RegionOptions options = wide;
    options.machine = &*narrow;
    std::vector<KernelChoice> choices = choose_kernels(region, inputs, outputs, options);
    for (KernelChoice& c : choices) c.spec.lanes = narrow->lanes;
    return choices;
  }
  const RegionOptions& options = wide;
  const std::vector<Buffer> buffers = buffers_of(region, inputs, outputs);
  const Node* anchor = find_anchor(*region.body());
  std::vector<KernelChoice> choices;
  if (options.cuda) {
    choices = {cuda_choice(region, buffers, options)};
    choices[0].spec.cuda = true;
  } else if (options.reference) {
    choices = {plain_choice(region, buffers, ScheduleKind::reference)};
    choices[0].algorithm = "reference";
  } else if (anchor == nullptr && is_pointwise_only(*region.body())) {
    choices = {elementwise_choice(region, buffers, *options.machine)};
  } else if (anchor == nullptr) {
    const bool pack =
        region.body()->nodes().size() == 1 && region.body()->nodes().front()->op().has(kPrepack);
    choices = {
        plain_choice(region, buffers, pack ? ScheduleKind::pack : ScheduleKind::elementwise)};
    choices[0].algorithm = pack ? "pack" : "movement";
    if (pack) choices[0].spec.tail = panel_tail(*region.body()->nodes().front());
    if (pack && region.body()->nodes().front()->attrs().integer("terms") > 0)
      choices[0].spec.schedule = ScheduleKind::amx;
  } else if (anchor->attrs().integer("terms") > 0) {
    choices = amx_choices(region, *anchor, buffers, options);
  } else if (is_attention(*region.body())) {
    choices = attention_choices(region, buffers, options);
  } else if (anchor->is("conv") && is_depthwise(*anchor)) {
    choices = depthwise_choices(region, buffers, options);
    for (KernelChoice& c : choices) c.spec.tail = vector_tail(c, *options.machine);
  } else if (is_cell(*region.body(), *anchor)) {
    choices = cell_choices(region, *anchor, buffers, options);
  } else if (anchor->is("gate_products")) {  // by itself, which no pass leaves it
    choices = {plain_choice(region, buffers, ScheduleKind::reference)};
    choices[0].algorithm = "plain";
  } else if (anchor->is("dot") ||
             (anchor->is("conv") &&
              (anchor->attrs().integer("block") > 0 || anchor->attrs().integer("group", 1) == 1))) {
    choices = contraction_choices(region, *anchor, buffers, options);
  } else if (anchor->is("conv") || anchor->op().has(kWindow)) {
    choices = {plain_choice(region, buffers, ScheduleKind::window)};
    choices[0].algorithm = anchor->is("conv") ? "plain" : "window";
    const PanelTail few = anchor->is("conv")
                              ? PanelTail::masked
                              : few_channels(region, anchor->operand(0), buffers, options);
    choices[0].spec.tail = vector_tail(choices[0], *options.machine, few);
  } else if (anchor->is("winograd_conv")) {
    choices = winograd_choices(region, *anchor, buffers, options);
  } else if (anchor->op().has(kTileTransform)) {
    choices = {plain_choice(region, buffers, transform_schedule(*anchor))};
    choices[0].spec.tail = anchor->op().has(kPrepack) ? panel_tail(*anchor)
                                                      : vector_tail(choices[0], *options.machine);
    // Points lie far apart, often in the same set of the first-level cache: a whole line of each is
    // written at once, before it is evicted.
    constexpr int64_t kLine = 16;
    const Dim& channels = choices[0].arguments.back().extents.back();
    if (transform_schedule(*anchor) == ScheduleKind::winograd_points && channels.is_static() &&
        channels.value() % kLine == 0)
      choices[0].spec.vectors = std::max(1, static_cast<int>(kLine) / options.machine->lanes);
    if (reads_across(*anchor, choices[0])) choices[0].spec.rows = kLine;
    choices[0].algorithm = "winograd f" + std::to_string(anchor->attrs().integer("m"));
    if (anchor->attrs().integer("zero_margins", 0) != 0) choices[0].algorithm += " zero margins";
  } else if (anchor->op().has(kKernel) && is_added(anchor->op())) {
    choices = {plain_choice(region, buffers, ScheduleKind::added)};
    choices[0].algorithm = "plugin";
  } else if (anchor->is("conv_weight_gradient")) {
    choices = {weight_gradient_choice(region, *anchor, buffers, options)};
  } else if (anchor->op().has(kKernel)) {
    const bool window = anchor->is("window_max_gradient");
    choices = {plain_choice(region, buffers,
                            window ? ScheduleKind::window_max_gradient : ScheduleKind::scatter)};
    choices[0].algorithm = window ? "window gradient" : "scatter";
    choices[0].spec.tail = vector_tail(choices[0], *options.machine);
  } else {
    choices = {plain_choice(region, buffers, ScheduleKind::rows)};
    choices[0].algorithm = "rows";
  }
  for (KernelChoice& c : choices) {
    c.spec.name = region.attrs().string("name", "kernel");
    collect_scalars(c);
  }
  return choices;
}

}  // namespace tintype
