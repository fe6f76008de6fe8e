// The rewrites that the cost model chooses between.
#include "codegen/select_algorithms.h"

#include "codegen/block_tiles.h"
#include "codegen/conv_cost.h"
#include "codegen/matrix_unit.h"
#include "codegen/region_arguments.h"
#include "codegen/select_library.h"
#include "codegen/tiles.h"
#include "codegen/weights.h"
#include "codegen/widen_convs.h"
#include "codegen/winograd_forms.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/ops/control.h"
#include "runtime/winograd.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

namespace tintype {

namespace {

class Selector {
 public:
  Selector(Graph& graph, const SelectAlgorithmsOptions& options) : graph_(graph), o_(options) {}

  bool run() {
    if (o_.machine.cuda != 0) return run_cuda();
    for (Node* n : graph_.node_list())
      if (n->is("scan") || n->is("loop")) select_in_loop(*n);
    for (Node* n : graph_.node_list()) {
      if (suits_matrix_unit(*n)) pack_for_matrix_unit(n);
      else if (n->is("conv")) select_conv(n);
      else if (n->is("dot")) select_dot(n);
      else if (n->is("gate_products")) select_gate_products(n);
      else if (n->is("conv_weight_gradient")) select_weight_gradient(n);
      else if (n->is("reduce_sum")) select_channel_sum(n);
    }
    return changed_;
  }

 private:
  /// Panel width in vectors: the one that wastes least on the last panel and the last tile. Wide
  /// panels need fewer broadcasts per multiply-add; a panel that leaves the second-level cache is
  /// fetched again for every tile of positions. `depth` counts the weights per filter. Panels are
  /// at least `narrowest` vectors wide, and a multiple of `step`; `blocks` says that tiles may take
  /// the weights in several turns.
  int panel_vectors(int64_t channels, int64_t positions, int64_t depth, int spare,
                    int narrowest = 1, int step = 1, bool blocks = false) const {
    double best_cost = 1e30;
    int best = step;
    for (int v = step; v <= kMostPanelVectors; v += step) {
      if (v < narrowest) continue;
      const int64_t width = v * o_.machine.lanes;
      const double panels = std::ceil(static_cast<double>(channels) / static_cast<double>(width));
      const int near = blocks ? depth_block(v, depth, o_.machine) : 0;
      const int64_t steps = near > 0 ? near : depth;
      const TileChoice tile = pick_tile(positions, v, steps, spare, o_.machine);
      const bool spills =
          4 * steps * width > o_.machine.l2_bytes * 3 / 4 && positions > 2 * tile.rows;
      const double cost = panels * v * tile.cost * (spills ? 1.4 : 1.0);
      if (cost < best_cost - 1e-9) {
        best_cost = cost;
        best = v;
      }
    }
    return best;
  }

  static constexpr int64_t kFewPositions = 16;

  /// Packing what changes from run to run reads and writes it once; 128 positions take ten times as
  /// long as that. It pays where panels are used for many tiles, where a panel's rows lie on more
  /// pages than the processor has translations for, and where the columns would have to be brought
  /// together anyway.
  bool worth_packing(const Value* w, int64_t columns, int64_t positions) const {
    const Node* n = w->def();
    const bool apart =
        n != nullptr && n->is("transpose") && n->attrs().integers("perm").back() + 1 != w->rank();
    constexpr int64_t kReachOfTranslations = 1024 * 4096;
    const bool far = 4 * o_.hint(product(w->shape())) > kReachOfTranslations;
    return columns >= 2 * o_.machine.lanes && positions >= (apart || far ? kFewPositions : 256);
  }

  void replace(Node* n, Value* v) {
    changed_ = true;
    v->set_name(n->result()->name());
    graph_.replace_all_uses(n->result(), v);
    graph_.erase(n);
  }

  Builder builder_before(Node* n) const {
    Builder b(graph_, n);
    b.set_origins(n->origins());
    return b;
  }

  // ---- CUDA ---------------------------------------------------------------------------------

  /// Weights that stay the same are packed, so that the lanes of a warp load them four at a time.
  bool run_cuda() {
    for (Node* n : graph_.node_list()) {
      if (n->attrs().has("library")) continue;
      if (library_wins(*n, o_)) {
        rewrite_for_library(graph_, n, o_);
        changed_ = true;
        continue;
      }
      if (!n->is("conv") && !n->is("dot")) continue;
      const Value* w = n->operand(1);
      const bool narrow = w->dtype() != DType::f32;
      if (n->attrs().integer("block") > 0 || n->result()->dtype() != DType::f32 ||
          !w->shape().back().is_static())
        continue;
      const bool constant = is_constant_tree(w);
      const WinogradForm form =
          n->is("conv") && !narrow
              ? pick_winograd_form(*n, n->result()->shape(), constant ? 0 : 1, o_)
              : WinogradForm{};
      if (form.m > 0) rewrite_winograd(n, form);
      else if (!constant) continue;
      else if (n->is("conv")) pack_conv(n);
      else if (w->rank() == 2 || (w->rank() == 3 && w->shape()[0].is(1))) pack_dot(n);
    }
    return changed_;
  }

  /// Columns of a block's panel: those of the tile that costs least.
  int64_t cuda_panel(const ProductExtents& p) const {
    return pick_block_tile(p, 0, o_.machine.cuda).columns;
  }
  int64_t cuda_panel(const Node& n) const {
    return cuda_panel(product_extents(n, [this](const Dim& d) { return o_.hint(d); }));
  }

  void pack_dot(Node* n) {
    Value* w = n->operand(1);
    const int64_t columns = w->shape().back().value(), block = cuda_panel(*n);
    Builder b = builder_before(n);
    if (w->rank() == 3) w = b.reshape(w, {w->shape()[1], w->shape()[2]});
    Value* packed = b.make("pack", {w}, {{"perm", identity(2)}, {"block", block}});
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    attrs.set("columns", columns);
    replace(n, b.make("dot", {n->operand(0), packed}, attrs));
  }

  void pack_conv(Node* n) {
    const int64_t group = n->attrs().integer("group", 1);
    const int64_t filters = n->attrs().integer("filters");
    int64_t block = cuda_panel(*n);
    while (group > 1 && block >= 32 && filters / group % block != 0) block /= 2;
    if (block < 32) return;  // panels must not straddle groups
    Builder b = builder_before(n);
    Value* w = n->operand(1);
    Value* packed = b.make("pack", {w}, {{"perm", identity(w->rank())}, {"block", block}});
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    replace(n, b.make("conv", {n->operand(0), packed}, attrs));
  }

  // ---- CPU ----------------------------------------------------------------------------------

  /// What narrow-operands has made for it: in bf16, with one matrix or window.
  bool suits_matrix_unit(const Node& n) const {
    if (!o_.machine.matrix_unit || (!n.is("dot") && !n.is("conv")) ||
        n.operand(0)->dtype() != DType::bf16 || n.result()->dtype() != DType::f32 ||
        n.attrs().integer("block") > 0 || n.attrs().integer("group", 1) != 1)
      return false;
    const Value* w = n.operand(1);
    const bool one = w->rank() == 2 || (w->rank() == 3 && w->shape()[0].is(1));
    return (n.is("conv") || one) && n.result()->shape().back().is_static();
  }

  // w[..., C, F] = panels[F / block, ..., C / 2, block, 2], C and F filled up with zeros
  void pack_for_matrix_unit(Node* n) {
    Builder b = builder_before(n);
    Value* w = n->operand(1);
    if (n->is("dot") && w->rank() == 3) w = b.reshape(w, {w->shape()[1], w->shape()[2]});
    const int64_t columns = n->result()->shape().back().value();
    const int64_t block = columns > kMatrixColumns ? 2 * kMatrixColumns : kMatrixColumns;
    const size_t outer = w->shape().size() - 2;
    const Dim depth = round_up(w->shape()[outer], Dim(kMatrixDepth)),
              filled = round_up(Dim(columns), Dim(block));
    Shape after(outer, Dim(0));
    after.insert(after.end(), {depth - w->shape()[outer], filled - Dim(columns)});
    w = b.pad(w, Shape(outer + 2, Dim(0)), after);
    Shape split(w->shape().begin(), w->shape().end() - 2), packed = {ceil_div(filled, Dim(block))};
    packed.insert(packed.end(), split.begin(), split.end());
    packed.insert(packed.end(), {ceil_div(depth, Dim(2)), Dim(2 * block)});
    split.insert(split.end(),
                 {ceil_div(depth, Dim(2)), Dim(2), ceil_div(filled, Dim(block)), Dim(block)});
    const auto o = static_cast<int64_t>(outer);
    std::vector<int64_t> perm = {o + 2};
    for (int64_t i = 0; i <= o; ++i) perm.push_back(i);
    perm.insert(perm.end(), {o + 3, o + 1});
    w = b.reshape(b.transpose(b.reshape(w, split), perm), packed);
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    attrs.set("pairs", int64_t{1});
    if (n->is("dot")) attrs.set("columns", columns);
    replace(n, b.make(n->name(), {n->operand(0), w}, attrs));
  }

  /// Products of a loop with weights that are the same on every trip: simplify-control packs them
  /// once, before the loop.
  void select_in_loop(const Node& loop) {
    Selector inside(*loop.body(), o_);
    inside.steady_ = steady_values(loop);
    if (loop.is("scan")) inside.trips_ = o_.hint(ScanView(loop).trips);
    for (Node* n : loop.body()->node_list()) {
      if (n->is("dot") && inside.is_steady(n->operand(1))) inside.select_dot(n);
      else if (n->is("gate_products") && inside.is_steady(n->operand(1)) &&
               inside.is_steady(n->operand(3)))
        inside.select_gate_products(n);
    }
    changed_ = changed_ || inside.changed_;
  }

  bool is_steady(const Value* v) const { return steady_.count(v) != 0; }

  void select_dot(Node* n) {
    Value* w = n->operand(1);
    if (n->attrs().integer("block") > 0 || n->result()->dtype() != DType::f32 ||
        !w->shape().back().is_static())
      return;
    const bool constant = is_constant_tree(w);
    if (is_cell_product(*n)) {
      if (constant || is_steady(w)) select_cell(n);
      return;
    }
    const bool matrix = w->rank() == 2 || (constant && w->rank() == 3 && w->shape()[0].is(1));
    if (!matrix) return;
    const int64_t columns = w->shape().back().value();
    const Shape& out = n->result()->shape();
    const int64_t positions = o_.hint(product(Shape(out.begin(), out.end() - 1)));
    const int64_t depth = o_.hint(w->shape()[w->shape().size() - 2]);
    const int64_t uses = positions * (is_steady(w) ? trips_ : 1);
    if (!constant && !worth_packing(w, columns, uses) &&
        !(uses >= kFewPositions && columns >= 2 * o_.machine.lanes &&
          crowds_cache(depth, columns, o_.machine)))
      return;
    const int64_t block =
        panel_vectors(columns, positions, depth, kMatrixSpare, 1, 1, true) * o_.machine.lanes;
    Builder b = builder_before(n);
    if (w->rank() == 3) w = b.reshape(w, {w->shape()[1], w->shape()[2]});
    Value* packed = b.make("pack", {w}, {{"perm", identity(2)}, {"block", block}});
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    attrs.set("columns", columns);
    replace(n, b.make("dot", {n->operand(0), packed}, attrs));
  }

  /// One matrix on the left, several on the right: the gates of a recurrent cell.
  static bool is_cell_product(const Node& n) {
    const Shape& left = n.operand(0)->shape();
    const Shape& w = n.operand(1)->shape();
    return left.size() == 3 && w.size() == 3 && left[0].is(1) && w[0].is_static() &&
           w[0].value() > 1 && w[0].value() <= 8;
  }

  /// Columns of the panels that the weights of a cell are packed in.
  int64_t cell_block(const Node& n) const {
    const Shape& sums = n.result()->shape();
    const CellTile tile = pick_cell_tile(sums[0].value(), sums[2], o_.hint(sums[1]),
                                         o_.machine.lanes, 0, n.is("dot"), o_.machine);
    return int64_t{tile.vectors} * o_.machine.lanes;
  }

  // w[gates, K, N] = panels[gates, N / block, K, block], N filled up with zeros
  void select_cell(Node* n) {
    Value* w = n->operand(1);
    const Dim gates = w->shape()[0], depth = w->shape()[1];
    const int64_t columns = w->shape()[2].value(), block = cell_block(*n);
    const Dim panels = ceil_div(Dim(columns), Dim(block));
    const Dim filled = panels * Dim(block);
    Builder b = builder_before(n);
    Value* flat = b.transpose(b.pad(w, {0, 0, 0}, {0, 0, filled - Dim(columns)}), {1, 0, 2});
    flat = b.reshape(flat, {depth, gates * filled});
    Value* packed = b.make("pack", {flat}, {{"perm", identity(2)}, {"block", block}});
    packed = b.reshape(packed, {gates, panels, depth, Dim(block)});
    replace(n, b.make("dot", {n->operand(0), packed}, {{"block", block}, {"columns", columns}}));
  }

  void select_gate_products(Node* n) {
    const Dim columns = n->result()->shape()[2];
    if (n->attrs().integer("block") > 0 || n->result()->dtype() != DType::f32 ||
        !columns.is_static())
      return;
    for (const int i : {1, 3})
      if (!is_constant_tree(n->operand(i)) && !is_steady(n->operand(i))) return;
    const int64_t block = cell_block(*n);
    Builder b = builder_before(n);
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    attrs.set("columns", columns.value());
    replace(n, b.make("gate_products",
                      {n->operand(0), gate_panels(b, n->operand(1), block), n->operand(2),
                       gate_panels(b, n->operand(3), block)},
                      attrs));
  }

  // w[gates, K, N] = panels[N / block, K, gates, block]. A panel that lies together spreads over
  // all sets of the second-level cache; gates a power of two apart would share few of them.
  static Value* gate_panels(Builder& b, Value* w, int64_t block) {
    const Dim gates = w->shape()[0], depth = w->shape()[1], columns = w->shape()[2];
    const Dim panels = ceil_div(columns, Dim(block));
    Value* whole = b.pad(w, {0, 0, 0}, {0, 0, panels * Dim(block) - columns});
    return b.transpose(b.reshape(whole, {gates, depth, panels, Dim(block)}), {2, 1, 0, 3});
  }

  void select_conv(Node* n) {
    Value* w = n->operand(1);
    if (n->attrs().integer("block") > 0 || w->dtype() != DType::f32) return;
    const int64_t group = n->attrs().integer("group", 1);
    const int64_t filters = n->attrs().integer("filters");
    const bool constant = is_constant_tree(w);
    if (const WinogradForm form =
            pick_winograd_form(*n, n->result()->shape(), constant ? 0 : 1, o_);
        form.m > 0)
      return rewrite_winograd(n, form);
    if (patches_pay(*n, n->result()->shape())) return rewrite_as_dot(n);
    const Shape& all = n->result()->shape();
    if (!constant &&
        !worth_packing(w, filters, o_.hint(product(Shape(all.begin(), all.end() - 1)))))
      return;
    const Shape& out = n->result()->shape();
    const auto window = n->attrs().integers("window");
    // A 1x1 window may treat all positions as one row; others tile along the last spatial axis.
    const bool merges = all_ones(window) && all_ones(n->attrs().integers("strides", {1}));
    const int64_t positions =
        merges ? o_.hint(product(Shape(out.begin(), out.end() - 1))) : o_.hint(out[out.size() - 2]);
    int64_t depth = o_.hint(w->shape()[w->shape().size() - 2]);
    for (int64_t k : window) depth *= k;
    const int spare = merges ? kMatrixSpare : kImageSpare;
    int64_t block = panel_vectors(filters, positions, depth, spare) * o_.machine.lanes;
    if (group > 1) {
      block = 0;  // panels must not straddle groups
      for (int v = panel_vectors(filters / group, positions, depth, spare); v >= 1 && block == 0;
           --v)
        if ((filters / group) % (v * o_.machine.lanes) == 0) block = v * o_.machine.lanes;
      if (block == 0) return;
    }
    Builder b = builder_before(n);
    Value* packed = b.make("pack", {w}, {{"perm", identity(w->rank())}, {"block", block}});
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    replace(n, b.make("conv", {n->operand(0), packed}, attrs));
  }

  // reduce_sum(x[..., W, C]) over all axes but C = reduce_sum(reduce_sum(x[..., W * C]))
  //
  // Few channels leave lanes of a vector empty; a line of an image fills them.
  void select_channel_sum(Node* n) {
    Value* x = n->operand(0);
    const Shape& s = x->shape();
    const size_t rank = s.size();
    const bool fused = x->has_one_use() && x->def() != nullptr && x->def()->op().has(kPointwise);
    const auto last = static_cast<int64_t>(rank) - 1;
    const auto axes = n->attrs().integers("axes");
    const bool channels_stay =
        std::none_of(axes.begin(), axes.end(), [&](int64_t a) { return a == last || a == -1; });
    if (o_.strict || fused || rank < 3 || axes.size() + 1 != rank || !channels_stay ||
        !s.back().is_static() || !s[rank - 2].is_static() ||
        s.back().value() >= 2 * o_.machine.lanes || s.back().value() % o_.machine.lanes == 0)
      return;
    Builder b = builder_before(n);
    std::vector<int64_t> outer(rank - 2);
    std::iota(outer.begin(), outer.end(), int64_t{0});
    Shape lines(s.begin(), s.end() - 2);
    lines.push_back(s[rank - 2] * s.back());
    Value* sums = b.reduce("reduce_sum", b.reshape(x, lines), outer);
    Shape line(rank - 2, Dim(1));
    line.insert(line.end(), {s[rank - 2], s.back()});
    replace(n, b.reduce("reduce_sum", b.reshape(sums, line), {last - 1}));
  }

  // ---- Winograd -----------------------------------------------------------------------------

  /// The attributes of all transforms of a form.
  static AttrMap transform_attrs(const WinogradForm& form, const std::vector<int64_t>& window) {
    AttrMap attrs = {{"m", form.m}, {"window", window}};
    if (form.zero_margins) attrs.set("zero_margins", int64_t{1});
    return attrs;
  }

  /// The input of all tiles, for results of extents `out` by a window over x. Where x is a pad by
  /// zeros, one larger pad takes its place, or none.
  static Value* whole_tiles(Builder& b, Value* x, const Shape& out, const WinogradForm& form,
                            const std::vector<int64_t>& window) {
    if (form.zero_margins) return zero_pad(x)->operand(0);
    // The tiles may reach past the padded input; what they read there does not reach the result.
    Shape before(4, Dim(0)), after(4, Dim(0));
    for (size_t i = 0; i < 2; ++i) {
      if (window[i] == 1) continue;
      after[i + 1] = round_up(out[i + 1], Dim(form.m)) + Dim(window[i] - 1) - x->shape()[i + 1];
    }
    if (const Node* pad = zero_pad(x)) {
      before = pad->attrs().dims("before");
      const Shape more = pad->attrs().dims("after");
      for (size_t i = 0; i < 4; ++i) after[i] = after[i] + more[i];
      x = pad->operand(0);
    }
    return b.pad(x, before, after);
  }

  /// That input at the points.
  static Value* input_points(Builder& b, Value* x, const Shape& out, const WinogradForm& form,
                             const std::vector<int64_t>& window) {
    return b.make("winograd_input", {whole_tiles(b, x, out, form, window)},
                  transform_attrs(form, window));
  }

  /// Panel width in vectors of a convolution whose points stay in the cache, a few tiles at a time:
  /// where an image is large and the weights are little to read for every few tiles. Else 0.
  int vectors_of_fused(const Node& n, const Shape& out, int64_t m) const {
    const auto window = n.attrs().integers("window");
    int64_t points = 1, lines = o_.hint(out[0]), columns = 1;
    for (size_t i = 0; i < 2; ++i) {
      const int64_t tiles = window[i] > 1 ? (o_.hint(out[i + 1]) + m - 1) / m : o_.hint(out[i + 1]);
      points *= window[i] > 1 ? m + window[i] - 1 : 1;
      (i == 0 ? lines : columns) *= tiles;
    }
    const int64_t channels = o_.hint(n.operand(0)->shape()[3]), filters = out[3].value();
    const int64_t bytes = 4 * points * channels * filters;
    if (!is_constant_tree(n.operand(1)) || n.result()->dtype() != DType::f32 ||
        4 * bytes > 5 * o_.machine.l2_bytes)
      return 0;
    int best = 0;
    double best_cost = 1e30;
    for (int v = 1; v <= kMostPanelVectors; ++v) {
      const WinogradRun run = pick_winograd_run(columns, points, channels, filters, v, o_.machine);
      if (run.tiles == 0) continue;
      const int64_t panel = int64_t{v} * o_.machine.lanes;
      const double cost = run.cost * static_cast<double>((filters + panel - 1) / panel * v);
      const int64_t tasks = lines * ((columns + run.tiles - 1) / run.tiles);
      if (tasks < 4 * o_.machine.cores || cost > best_cost - 1e-9) continue;
      best_cost = cost;
      best = v;
    }
    return best;
  }

  /// [points, N, TH, TW, C] as [points, tiles, C].
  static Value* flat_tiles(Builder& b, Value* v) {
    const Shape s = v->shape();
    return b.reshape(v, {s[0], s[1] * s[2] * s[3], s[4]});
  }

  // conv(x, w) = winograd_output(dot(winograd_input(pad(x)), winograd_weight(w)))
  void rewrite_winograd(Node* n, const WinogradForm& form) {
    Builder b = builder_before(n);
    const auto window = n->attrs().integers("window");
    const int64_t filters = n->attrs().integer("filters");
    const Shape out = n->result()->shape();
    AttrMap packing = transform_attrs(form, window);
    packing.set("perm", identity(4));
    const bool fuses = o_.machine.cuda == 0 && !form.zero_margins;
    if (const int vectors = fuses ? vectors_of_fused(*n, out, form.m) : 0; vectors > 0) {
      packing.set("block", int64_t{vectors} * o_.machine.lanes);
      Value* u = b.make("winograd_weight", {n->operand(1)}, packing);
      return replace(n,
                     b.make("winograd_conv", {whole_tiles(b, n->operand(0), out, form, window), u},
                            {{"m", form.m},
                             {"window", window},
                             {"filters", filters},
                             {"extents", Shape{out[1], out[2]}}}));
    }
    Dim tiles_hint = out[0];
    for (size_t i = 0; i < 2; ++i)
      tiles_hint = tiles_hint * (window[i] > 1 ? ceil_div(out[i + 1], Dim(form.m)) : out[i + 1]);
    // The products of the points stream their weights once; wide panels do that in longer runs
    // (VGG16 loses a tenth of its speed with narrow ones). Weights just made lie in the caches.
    const bool streamed = is_constant_tree(n->operand(1));
    const int narrowest = streamed && filters > 2 * o_.machine.lanes ? 3 : 1;
    // Those that are made on every run are written by whole lines of memory.
    const int step = streamed ? 1 : std::max(1, 16 / o_.machine.lanes);
    Value* v = input_points(b, n->operand(0), out, form, window);
    const Shape tiles = v->shape();  // points, N, TH, TW, C
    const int64_t depth = o_.hint(tiles.back()), count = o_.hint(tiles_hint);
    const int64_t points = tiles[0].value();
    const int64_t block =
        o_.machine.cuda != 0 ? cuda_panel({points, count, filters, depth, points * count * depth})
                             : panel_vectors(filters, count, depth, kMatrixSpare, narrowest, step) *
                                   o_.machine.lanes;
    packing.set("block", block);
    Value* u = b.make("winograd_weight", {n->operand(1)}, packing);
    Value* flat = flat_tiles(b, v);
    Value* product = b.make("dot", {flat, u}, {{"block", block}, {"columns", filters}});
    product = b.reshape(product, {tiles[0], tiles[1], tiles[2], tiles[3], Dim(filters)});
    AttrMap transform = transform_attrs(form, window);
    transform.set("extents", Shape{out[1], out[2]});
    replace(n, b.make("winograd_output", {product}, transform));
  }

  // ---- Patches ------------------------------------------------------------------------------

  /// True where a direct convolution, whose tiles lie along the last axis of an image, wastes more
  /// on narrow images than writing every window out costs.
  bool patches_pay(const Node& n, const Shape& out) const {
    const auto window = n.attrs().integers("window");
    const Dim& channels = n.operand(0)->shape().back();
    if (n.attrs().integer("group", 1) != 1 || window.size() < 2 || all_ones(window) ||
        !channels.is_static() || !out.back().is_static() || channels.value() < o_.machine.lanes ||
        out.back().value() < 2 * o_.machine.lanes)
      return false;
    const int64_t positions = o_.hint(product(Shape(out.begin(), out.end() - 1)));
    int64_t depth = channels.value();
    for (int64_t k : window) depth *= k;
    const int widest = widest_panel(o_.machine);
    const double direct =
        pick_tile(o_.hint(out[out.size() - 2]), widest, depth, kImageSpare, o_.machine).cost;
    const double merged = pick_tile(positions, widest, depth, kMatrixSpare, o_.machine).cost;
    // An element is copied once and takes part in a multiply-add per filter.
    const double copies =
        8 * o_.machine.gflops / (2 * o_.machine.dram_gbs * static_cast<double>(out.back().value()));
    return merged * (1 + copies) < 0.9 * direct;
  }

  /// Every window of x written out: [N, positions..., window... * C].
  Value* patches(Builder& b, const Node& n, const Shape& out) const {
    Value* x = n.operand(0);
    const auto window = n.attrs().integers("window");
    const size_t spatial = window.size();
    const auto strides = n.attrs().integers("strides", std::vector<int64_t>(spatial, 1));
    const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(spatial, 1));
    Shape sizes(out.begin(), out.end() - 1);
    sizes.push_back(x->shape().back());
    std::vector<int64_t> steps = {1};
    steps.insert(steps.end(), strides.begin(), strides.end());
    steps.push_back(1);
    if (std::equal(window.begin(), window.end(), x->shape().begin() + 1,
                   [](int64_t w, const Dim& extent) { return extent.is(w); })) {
      // One window that is the whole image.
      sizes.back() = product(Shape(x->shape().begin() + 1, x->shape().end()));
      return b.reshape(x, sizes);
    }
    std::vector<Value*> taps;
    std::vector<int64_t> tap(spatial, 0);
    for (bool more = true; more;) {
      Shape starts(spatial + 2, Dim(0));
      for (size_t i = 0; i < spatial; ++i) starts[i + 1] = tap[i] * dilations[i];
      taps.push_back(b.slice(x, starts, sizes, steps));
      more = false;
      for (size_t i = spatial; i-- > 0 && !more;) {
        more = ++tap[i] < window[i];
        if (!more) tap[i] = 0;
      }
    }
    return b.concat(std::move(taps), static_cast<int>(spatial) + 1);
  }

  static Shape as_matrix(const Shape& s) {
    return {product(Shape(s.begin(), s.end() - 1)), s.back()};
  }

  // conv(x, w) = dot(patches(x), w), all positions one row
  void rewrite_as_dot(Node* n) {
    Builder b = builder_before(n);
    const Shape out = n->result()->shape();
    Value* x = patches(b, *n, out);
    Value* w = n->operand(1);
    const Dim depth = product(Shape(w->shape().begin(), w->shape().end() - 1));
    const int64_t positions = o_.hint(product(Shape(out.begin(), out.end() - 1)));
    const int64_t columns = out.back().value();
    if (!is_constant_tree(w) && !worth_packing(w, columns, positions)) {
      Value* y =
          b.make("dot", {b.reshape(x, as_matrix(x->shape())), b.reshape(w, {depth, columns})});
      return replace(n, b.reshape(y, out));
    }
    const int64_t block =
        panel_vectors(columns, positions, o_.hint(depth), kMatrixSpare) * o_.machine.lanes;
    // Packed from its own shape: reversed or transposed weights are no matrix without a copy.
    Value* packed = b.make("pack", {w}, {{"perm", identity(w->rank())}, {"block", block}});
    packed = b.reshape(packed, {packed->shape()[0], depth, Dim(block)});
    Value* y = b.make("dot", {b.reshape(x, as_matrix(x->shape())), packed},
                      {{"block", block}, {"columns", columns}});
    replace(n, b.reshape(y, out));
  }

  // conv_weight_gradient(x, dy) = dot(transpose(patches(x)), dy)
  void rewrite_gradient_as_dot(Node* n) {
    Builder b = builder_before(n);
    Value* dy = n->operand(1);
    Value* x = patches(b, *n, dy->shape());
    Value* left = b.transpose(b.reshape(x, as_matrix(x->shape())), {1, 0});
    Value* dw = b.make("dot", {left, b.reshape(dy, as_matrix(dy->shape()))});
    replace(n, b.reshape(dw, n->result()->shape()));
  }

  // conv_weight_gradient(x, dy) =
  //   winograd_weight_adjoint(transpose(winograd_input(pad(x))) winograd_output_adjoint(dy))
  void select_weight_gradient(Node* n) {
    Value* dy = n->operand(1);
    const Shape out = dy->shape();
    if (dy->dtype() != DType::f32) return;
    const WinogradForm form = pick_winograd_form(*n, out, 2, o_);
    if (form.m == 0) {
      if (patches_pay(*n, out)) rewrite_gradient_as_dot(n);
      return;
    }
    Builder b = builder_before(n);
    const auto window = n->attrs().integers("window");
    const AttrMap tiles = transform_attrs(form, window);
    Value* v = flat_tiles(b, input_points(b, n->operand(0), out, form, window));
    Shape after(4, Dim(0));
    for (size_t i = 0; i < 2; ++i)
      if (window[i] > 1) after[i + 1] = round_up(out[i + 1], Dim(form.m)) - out[i + 1];
    dy = b.pad(dy, Shape(4, Dim(0)), after);
    Value* g = flat_tiles(b, b.make("winograd_output_adjoint", {dy}, tiles));
    Value* du = b.make("dot", {b.transpose(v, {0, 2, 1}), g});
    replace(n, b.make("winograd_weight_adjoint", {du}, tiles));
  }

  Graph& graph_;
  const SelectAlgorithmsOptions& o_;
  bool changed_ = false;
  std::unordered_set<const Value*> steady_;  ///< in the body of a loop, from trip to trip
  int64_t trips_ = 1;
};

}  // namespace

bool select_algorithms(Graph& graph, const SelectAlgorithmsOptions& options) {
  const bool widened = widen_convs(graph, options);
  return Selector(graph, options).run() || widened;
}

}  // namespace tintype
