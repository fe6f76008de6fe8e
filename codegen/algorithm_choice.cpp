// The cost model's picks, and the lists of what else would do.
#include "codegen/algorithm_choice.h"

#include "codegen/block_tiles.h"
#include "codegen/conv_cost.h"
#include "codegen/library_steps.h"
#include "codegen/region_arguments.h"
#include "codegen/select_amx.h"
#include "codegen/select_library.h"
#include "codegen/tiles.h"
#include "codegen/weights.h"
#include "codegen/winograd_forms.h"
#include "runtime/tile_product.h"

#include <algorithm>
#include <cmath>

namespace tintype {

namespace {

using Kind = Algorithm::Kind;

constexpr int64_t kFewPositions = 16;
/// Columns that tiles of CUDA devices may have (codegen/block_tiles.cpp).
constexpr int64_t kCudaPanels[] = {8, 16, 32, 64, 128};

Algorithm packed(int64_t panel) {
  return panel > 0 ? Algorithm{.kind = Kind::packed, .panel = panel} : Algorithm{};
}

class Chooser {
 public:
  Chooser(const ChoiceSite& site, const SelectAlgorithmsOptions& options)
      : n_(*site.node), steady_(site.steady), trips_(site.trips), o_(options),
        constant_(n_.is("gate_products") || is_constant_tree(n_.operand(1))) {}

  /// Nothing where there is nothing to decide.
  std::optional<Algorithm> reckoned() const {
    if (n_.attrs().integer("block") > 0 || n_.attrs().has("library")) return std::nullopt;
    if (n_.is("gate_products")) return reckon_gate_products();
    if (on_device()) return reckon_on_device();
    if (amx_fits() && (narrow() || amx_wins(n_, amx_panel() > 0, o_))) return amx(amx_panel());
    if (n_.result()->dtype() != DType::f32 || (narrow() && !n_.is("dot"))) return std::nullopt;
    if (n_.is("conv")) return reckon_conv();
    if (n_.is("dot")) return reckon_dot();
    return reckon_weight_gradient();
  }

  /// What would do, each family with the panels that the cost model picks for it first.
  std::vector<Algorithm> candidates() const {
    std::vector<Algorithm> list;
    const auto add = [&list](Algorithm a, const std::vector<int64_t>& panels) {
      list.push_back(a);
      for (const int64_t p : panels) {
        if (p == a.panel) continue;
        list.push_back(a);
        list.back().panel = p;
      }
    };
    if (amx_fits()) list.push_back(amx(amx_panel()));
    if (amx_fits() && !constant_ && !steady_) list.push_back(amx(kTileColumns - amx_panel()));
    if (n_.is("gate_products") || (!on_device() && n_.is("dot") && is_cell_product(n_))) {
      add(packed(cell_block()), cell_panels());
      return list;
    }
    const bool offered = on_device() && n_.result()->dtype() == DType::f32 &&
                         o_.libraries != Libraries::never && suits_library(n_);
    if (offered) list.push_back({.kind = Kind::library});
    if (offered && o_.libraries == Libraries::always) return list;
    if (n_.is("conv_weight_gradient") || !on_device() || !constant_) list.emplace_back();
    if (!n_.is("dot") && !narrow() && extents().back().is_static()) {
      for (const WinogradForm& form : winograd_forms(n_, extents(), o_)) {
        const Algorithm three = winograd(form);
        if (n_.is("conv_weight_gradient")) list.push_back(three);
        else add(three, panels(filters(), on_device() ? 1 : winograd_step()));
        const int fused = n_.is("conv") ? fused_vectors(form, 1) : 0;
        if (fused > 0) add(fused_winograd(form, fused), fused_panels(form));
      }
      if (!on_device() && patches_fit()) {
        const int64_t block = patches_panel();
        if (!constant_) list.push_back({.kind = Kind::patches});
        if (n_.is("conv")) add({.kind = Kind::patches, .panel = block}, panels(filters()));
      }
    }
    if (n_.is("conv_weight_gradient")) return list;
    const int64_t block = on_device() ? device_panel() : n_.is("conv") ? conv_panel() : dot_panel();
    if (block > 0) add(packed(block), packed_panels());
    return list;
  }

 private:
  bool on_device() const { return o_.machine.cuda != 0; }
  const Value* weights() const { return n_.operand(1); }
  /// Operands of 16 bits, with a result in f32.
  bool narrow() const { return weights()->dtype() != DType::f32; }
  /// Of the positions: the result's, or those of its gradient.
  const Shape& extents() const {
    return n_.is("conv_weight_gradient") ? n_.operand(1)->shape() : n_.result()->shape();
  }
  int64_t filters() const { return o_.hint(extents().back()); }
  int64_t positions() const {
    return o_.hint(product(Shape(extents().begin(), extents().end() - 1)));
  }
  int64_t window_size() const {
    int64_t size = 1;
    for (const int64_t k : n_.attrs().integers("window")) size *= k;
    return size;
  }

  // ---- panels -------------------------------------------------------------------------------

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

  /// Widths from one vector to as many as `columns` fill, or those of a device's tiles.
  std::vector<int64_t> panels(int64_t columns, int step = 1) const {
    if (on_device()) return {std::begin(kCudaPanels), std::end(kCudaPanels)};
    std::vector<int64_t> list;
    for (int64_t v = step; v <= kMostPanelVectors; v += step)
      if (v == step || (v - step) * o_.machine.lanes < columns)
        list.push_back(v * o_.machine.lanes);
    return list;
  }

  /// Those that do not straddle groups.
  std::vector<int64_t> packed_panels() const {
    std::vector<int64_t> list = panels(filters());
    const int64_t group = n_.attrs().integer("group", 1);
    std::erase_if(list, [&](int64_t p) { return group > 1 && filters() / group % p != 0; });
    return list;
  }

  /// Packing what changes from run to run reads and writes it once; 128 positions take ten times as
  /// long as that. It pays where panels are used for many tiles, where a panel's rows lie on more
  /// pages than the processor has translations for, and where the columns would have to be brought
  /// together anyway.
  bool worth_packing(int64_t columns, int64_t positions) const {
    const Value* w = weights();
    const Node* n = w->def();
    const bool apart =
        n != nullptr && n->is("transpose") && n->attrs().integers("perm").back() + 1 != w->rank();
    constexpr int64_t kReachOfTranslations = 1024 * 4096;
    const bool far = 4 * o_.hint(product(w->shape())) > kReachOfTranslations;
    return columns >= 2 * o_.machine.lanes && positions >= (apart || far ? kFewPositions : 256);
  }

  // ---- CUDA ---------------------------------------------------------------------------------

  Algorithm reckon_on_device() const {
    if (library_wins(n_, o_)) return {.kind = Kind::library};
    if (n_.result()->dtype() != DType::f32 || !weights()->shape().back().is_static()) return {};
    const bool gradient = n_.is("conv_weight_gradient");
    const int transforms = gradient ? 2 : constant_ ? 0 : 1;
    const WinogradForm form = !n_.is("dot") && !narrow()
                                  ? pick_winograd_form(n_, extents(), transforms, o_)
                                  : WinogradForm{};
    if (form.m > 0) return winograd(form);
    return constant_ && !gradient ? packed(device_panel()) : Algorithm{};
  }

  /// Columns of a block's panel: those of the tile that costs least. 0 where weights that stay the
  /// same are not packed, so that the lanes of a warp load them four at a time.
  int64_t device_panel() const {
    const int rank = weights()->rank();
    if (!constant_ || !weights()->shape().back().is_static()) return 0;
    if (n_.is("dot") && rank != 2 && (rank != 3 || !weights()->shape()[0].is(1))) return 0;
    const ProductExtents p = product_extents(n_, [this](const Dim& d) { return o_.hint(d); });
    int64_t block = pick_block_tile(p, 0, o_.machine.cuda).columns;
    const int64_t group = n_.attrs().integer("group", 1);
    while (group > 1 && block >= 8 && filters() / group % block != 0) block /= 2;
    return block < 8 ? 0 : block;  // panels must not straddle groups
  }

  // ---- AMX ----------------------------------------------------------------------------------

  static Algorithm amx(int64_t panel) { return {.kind = Kind::amx, .panel = panel}; }

  bool amx_fits() const {
    if (on_device() || n_.is("gate_products") || n_.is("conv_weight_gradient") ||
        amx_terms(n_, o_) == 0 || !suits_amx(n_))
      return false;
    const Value* w = weights();
    if (n_.is("conv")) return true;
    if (is_cell_product(n_)) return constant_ || steady_;
    return w->rank() == 2 || (constant_ && w->rank() == 3 && w->shape()[0].is(1));
  }

  /// Weights that change from run to run are packed beforehand where several blocks of results, or
  /// several products, read them, and where a convolution's would be read by pieces of rows. Else
  /// a product packs what it reads.
  int64_t amx_panel() const {
    constexpr int64_t kBlock = 128;
    const Value* w = wide_weights(n_);
    const Node* order = w->def();
    const bool along = order != nullptr && order->is("transpose") &&
                       order->attrs().integers("perm").back() + 1 != w->rank();
    const auto products =
        std::count_if(weights()->uses().begin(), weights()->uses().end(),
                      [](const Use& u) { return u.node->is("dot") && u.operand == 1; });
    const bool packs =
        constant_ || steady_ || positions() > kBlock || products > 1 || (n_.is("conv") && !along);
    return packs ? kTileColumns : 0;
  }

  // ---- products -----------------------------------------------------------------------------

  std::optional<Algorithm> reckon_dot() const {
    const Value* w = weights();
    if (!w->shape().back().is_static()) return std::nullopt;
    if (is_cell_product(n_)) {
      if (!constant_ && !steady_) return std::nullopt;
      return packed(cell_block());
    }
    const bool matrix = w->rank() == 2 || (constant_ && w->rank() == 3 && w->shape()[0].is(1));
    if (!matrix) return std::nullopt;
    const int64_t columns = w->shape().back().value(), uses = positions() * (steady_ ? trips_ : 1);
    const bool pays = constant_ || worth_packing(columns, uses) ||
                      (uses >= kFewPositions && columns >= 2 * o_.machine.lanes &&
                       crowds_cache(depth_of_dot(), columns, o_.machine));
    return pays ? packed(dot_panel()) : Algorithm{};
  }

  int64_t depth_of_dot() const {
    const Shape& w = weights()->shape();
    return o_.hint(w[w.size() - 2]);
  }
  int64_t dot_panel() const {
    return panel_vectors(filters(), positions(), depth_of_dot(), kMatrixSpare, 1, 1, !constant_) *
           o_.machine.lanes;
  }

  std::optional<Algorithm> reckon_gate_products() const {
    if (on_device() || n_.result()->dtype() != DType::f32 || !n_.result()->shape()[2].is_static() ||
        (!steady_ && !gates_are_constant()))
      return std::nullopt;
    return packed(cell_block());
  }
  bool gates_are_constant() const {
    return is_constant_tree(n_.operand(1)) && is_constant_tree(n_.operand(3));
  }

  /// Columns of the panels that the weights of a cell are packed in.
  int64_t cell_block() const {
    const Shape& sums = n_.result()->shape();
    const CellTile tile = pick_cell_tile(sums[0].value(), sums[2], o_.hint(sums[1]),
                                         o_.machine.lanes, 0, n_.is("dot"), o_.machine);
    return int64_t{tile.vectors} * o_.machine.lanes;
  }
  /// Widths with which all gates of a row fit the registers.
  std::vector<int64_t> cell_panels() const {
    const Shape& sums = n_.result()->shape();
    std::vector<int64_t> list = panels(o_.hint(sums[2]));
    std::erase_if(list, [&](int64_t p) {
      return p > o_.machine.lanes &&
             p / o_.machine.lanes * sums[0].value() > o_.machine.registers - 3;
    });
    return list;
  }

  // ---- convolutions -------------------------------------------------------------------------

  Algorithm reckon_conv() const {
    if (const WinogradForm form = pick_winograd_form(n_, extents(), constant_ ? 0 : 1, o_);
        form.m > 0) {
      const int vectors = fused_vectors(form, 4 * o_.machine.cores);
      return vectors > 0 ? fused_winograd(form, vectors) : winograd(form);
    }
    const bool packs = constant_ || worth_packing(filters(), positions());
    if (patches_pay()) return {.kind = Kind::patches, .panel = packs ? patches_panel() : 0};
    return packs ? packed(conv_panel()) : Algorithm{};
  }

  Algorithm reckon_weight_gradient() const {
    if (const WinogradForm form = pick_winograd_form(n_, extents(), 2, o_); form.m > 0)
      return winograd(form);
    return patches_pay() ? Algorithm{.kind = Kind::patches} : Algorithm{};
  }

  int64_t conv_panel() const {
    const auto window = n_.attrs().integers("window");
    // A 1x1 window may treat all positions as one row; others tile along the last spatial axis.
    const bool merges = all_ones(window) && all_ones(n_.attrs().integers("strides", {1}));
    const int64_t row = merges ? positions() : o_.hint(extents()[extents().size() - 2]);
    const Shape& w = weights()->shape();
    const int64_t depth = o_.hint(w[w.size() - 2]) * window_size();
    const int spare = merges ? kMatrixSpare : kImageSpare;
    const int64_t group = n_.attrs().integer("group", 1);
    // Panels must not straddle groups.
    for (int v = panel_vectors(filters() / group, row, depth, spare); v >= 1; --v)
      if (group == 1 || (filters() / group) % (v * o_.machine.lanes) == 0)
        return int64_t{v} * o_.machine.lanes;
    return 0;
  }

  // ---- Winograd -----------------------------------------------------------------------------

  /// Panels that are made on every run are written by whole lines of memory.
  int winograd_step() const { return constant_ ? 1 : std::max(1, 16 / o_.machine.lanes); }

  /// Three kernels, with the panels of the products of the points.
  Algorithm winograd(const WinogradForm& form) const {
    Algorithm a{.kind = Kind::winograd, .form = form};
    if (n_.is("conv_weight_gradient")) return a;
    const auto window = n_.attrs().integers("window");
    int64_t points = 1, count = o_.hint(extents()[0]);
    for (size_t i = 0; i < 2; ++i) {
      points *= find_winograd(form, window[i]).points;
      const Dim& extent = extents()[i + 1];
      count *= o_.hint(window[i] > 1 ? ceil_div(extent, Dim(form.m)) : extent);
    }
    const int64_t depth = o_.hint(n_.operand(0)->shape()[3]);
    // The products of the points stream their weights once; wide panels do that in longer runs
    // (VGG16 loses a tenth of its speed with narrow ones). Weights just made lie in the caches.
    const int narrowest = constant_ && filters() > 2 * o_.machine.lanes ? 3 : 1;
    const ProductExtents p = {points, count, filters(), depth, points * count * depth};
    a.panel = on_device() ? pick_block_tile(p, 0, o_.machine.cuda).columns
                          : panel_vectors(filters(), count, depth, kMatrixSpare, narrowest,
                                          winograd_step()) *
                                o_.machine.lanes;
    return a;
  }

  Algorithm fused_winograd(const WinogradForm& form, int vectors) const {
    return {
        .kind = Kind::winograd_fused, .form = form, .panel = int64_t{vectors} * o_.machine.lanes};
  }

  struct FusedRun {
    double cost = 0;
    int64_t tasks = 0;  ///< none: it does not fit
  };

  /// How a convolution goes whose points stay in the cache, a few tiles at a time: where the
  /// weights are little to read for every few tiles.
  FusedRun fused_run(const WinogradForm& form, int vectors) const {
    const auto window = n_.attrs().integers("window");
    const int64_t m = form.m;
    int64_t points = 1, lines = o_.hint(extents()[0]), columns = 1;
    for (size_t i = 0; i < 2; ++i) {
      const int64_t extent = o_.hint(extents()[i + 1]);
      points *= window[i] > 1 ? m + window[i] - 1 : 1;
      (i == 0 ? lines : columns) *= window[i] > 1 ? (extent + m - 1) / m : extent;
    }
    const int64_t channels = o_.hint(n_.operand(0)->shape()[3]);
    const int64_t bytes = 4 * points * channels * filters();
    if (on_device() || form.zero_margins || !constant_ || n_.result()->dtype() != DType::f32 ||
        4 * bytes > 5 * o_.machine.l2_bytes)
      return {};
    const WinogradRun run =
        pick_winograd_run(columns, points, channels, filters(), vectors, o_.machine);
    if (run.tiles == 0) return {};
    const int64_t panel = int64_t{vectors} * o_.machine.lanes;
    return {run.cost * static_cast<double>((filters() + panel - 1) / panel * vectors),
            lines * ((columns + run.tiles - 1) / run.tiles)};
  }

  /// Panel width in vectors of the cheapest one with so many tasks at least, where an image is
  /// large; else 0.
  int fused_vectors(const WinogradForm& form, int64_t least_tasks) const {
    int best = 0;
    double best_cost = 1e30;
    for (int v = 1; v <= kMostPanelVectors; ++v) {
      const FusedRun run = fused_run(form, v);
      if (run.tasks == 0 || run.tasks < least_tasks || run.cost > best_cost - 1e-9) continue;
      best_cost = run.cost;
      best = v;
    }
    return best;
  }
  std::vector<int64_t> fused_panels(const WinogradForm& form) const {
    std::vector<int64_t> list = panels(filters());
    std::erase_if(list, [&](int64_t p) {
      return fused_run(form, static_cast<int>(p / o_.machine.lanes)).tasks == 0;
    });
    return list;
  }

  // ---- patches ------------------------------------------------------------------------------

  bool patches_fit() const {
    const auto window = n_.attrs().integers("window");
    const Dim& channels = n_.operand(0)->shape().back();
    return n_.attrs().integer("group", 1) == 1 && window.size() >= 2 && !all_ones(window) &&
           channels.is_static() && extents().back().is_static() &&
           channels.value() >= o_.machine.lanes && extents().back().value() >= 2 * o_.machine.lanes;
  }

  int64_t patches_depth() const { return n_.operand(0)->shape().back().value() * window_size(); }
  int64_t patches_panel() const {
    return panel_vectors(filters(), positions(), patches_depth(), kMatrixSpare) * o_.machine.lanes;
  }

  /// True where a direct convolution, whose tiles lie along the last axis of an image, wastes more
  /// on narrow images than writing every window out costs.
  bool patches_pay() const {
    if (!patches_fit()) return false;
    const int widest = widest_panel(o_.machine);
    const int64_t depth = patches_depth(), row = o_.hint(extents()[extents().size() - 2]);
    const double direct = pick_tile(row, widest, depth, kImageSpare, o_.machine).cost;
    const double merged = pick_tile(positions(), widest, depth, kMatrixSpare, o_.machine).cost;
    // An element is copied once and takes part in a multiply-add per filter.
    const double copies =
        8 * o_.machine.gflops / (2 * o_.machine.dram_gbs * static_cast<double>(filters()));
    return merged * (1 + copies) < 0.9 * direct;
  }

  const Node& n_;
  const bool steady_;
  const int64_t trips_;
  const SelectAlgorithmsOptions& o_;
  const bool constant_;
};

// ---- keys -------------------------------------------------------------------------------------

std::string extents_text(const Shape& shape, const SelectAlgorithmsOptions& options) {
  std::string s;
  for (const Dim& d : shape) s += (s.empty() ? "" : "x") + std::to_string(options.hint(d));
  return s.empty() ? "1" : s;
}

std::string attributes_text(const AttrMap& attrs) {
  std::string s;
  for (const auto& [name, value] : attrs.entries()) {
    if (const auto* i = std::get_if<int64_t>(&value)) {
      s += " " + name + "=" + std::to_string(*i);
    } else if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) {
      s += " " + name + "=";
      for (size_t k = 0; k < list->size(); ++k)
        s += (k > 0 ? "x" : "") + std::to_string((*list)[k]);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      s += " " + name + "=" + *text;
    }
  }
  return s;
}

/// Pointwise ops behind a value, as long as one follows the other.
std::string epilogue_text(const Value* v) {
  constexpr int kMost = 16;
  std::string s;
  for (int i = 0; i < kMost && v->has_one_use() && !v->uses().empty(); ++i) {
    const Node* user = v->uses()[0].node;
    if (!user->op().has(kPointwise) || !(user->result()->shape() == v->shape())) break;
    s += (s.empty() ? ", then " : " ") + std::string(user->name());
    v = user->result();
  }
  return s;
}

}  // namespace

bool is_cell_product(const Node& n) {
  const Shape& left = n.operand(0)->shape();
  const Shape& w = n.operand(1)->shape();
  return left.size() == 3 && w.size() == 3 && left[0].is(1) && w[0].is_static() &&
         w[0].value() > 1 && w[0].value() <= 8;
}

std::string choice_key(const ChoiceSite& site, const SelectAlgorithmsOptions& options) {
  const Node& n = *site.node;
  std::string s(n.name());
  for (const Value* v : n.operands())
    if (v != nullptr) s += (v == n.operand(0) ? " " : " * ") + extents_text(v->shape(), options);
  s += " = " + extents_text(n.result()->shape(), options);
  s += " " + std::string(name_of(n.result()->dtype())) + attributes_text(n.attrs());
  if (const Node* pad = zero_pad(n.operand(0)))
    s += " padded=" + extents_text(pad->attrs().dims("before"), options) + "/" +
         extents_text(pad->attrs().dims("after"), options);
  const bool constant = is_constant_tree(n.operand(1));
  s += constant      ? ", constant weights"
       : site.steady ? ", weights of " + std::to_string(site.trips) + " trips"
                     : ", weights of a run";
  return s + epilogue_text(n.result());
}

Algorithm settle(Decision d, const SelectAlgorithmsOptions& options) {
  d.choice = d.reckoned;
  if (options.tuning != nullptr) {
    const auto it = options.tuning->find(d.key);
    if (it != options.tuning->end() && it->second.reckoned == d.reckoned &&
        std::find(d.candidates.begin(), d.candidates.end(), it->second.choice) !=
            d.candidates.end()) {
      d.tuned = &it->second;
      d.choice = it->second.choice;
    }
  }
  if (options.decided) options.decided(d);
  return d.choice;
}

std::optional<Algorithm> choose_algorithm(const ChoiceSite& site,
                                          const SelectAlgorithmsOptions& options) {
  const Chooser chooser(site, options);
  const std::optional<Algorithm> reckoned = chooser.reckoned();
  if (!reckoned || (options.tuning == nullptr && !options.decided)) return reckoned;
  Decision d;
  d.node = site.node;
  d.key = choice_key(site, options);
  d.reckoned = *reckoned;
  d.candidates = chooser.candidates();
  if (std::find(d.candidates.begin(), d.candidates.end(), d.reckoned) == d.candidates.end())
    d.candidates.push_back(d.reckoned);
  return settle(std::move(d), options);
}

}  // namespace tintype
