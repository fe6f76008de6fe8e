// The rewrites, one for each algorithm.
#include "codegen/select_algorithms.h"

#include "codegen/algorithm_choice.h"
#include "codegen/select_amx.h"
#include "codegen/select_library.h"
#include "codegen/weights.h"
#include "codegen/widen_convs.h"
#include "codegen/winograd_forms.h"
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "runtime/winograd.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

namespace tintype {

namespace {

class Selector {
 public:
  Selector(Graph& graph, const SelectAlgorithmsOptions& options) : graph_(graph), o_(options) {}

  bool run() {
    const bool on_device = o_.machine.cuda != 0;
    for (Node* n : graph_.node_list())
      if (!on_device && (n->is("scan") || n->is("loop"))) select_in_loop(*n);
    for (Node* n : graph_.node_list()) {
      if (chooses(*n)) select(n);
      else if (n->is("reduce_sum") && !on_device) select_channel_sum(n);
    }
    return changed_;
  }

 private:
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

  static bool chooses(const Node& n) {
    return n.is("conv") || n.is("dot") || n.is("gate_products") || n.is("conv_weight_gradient");
  }

  /// Products of a loop with weights that are the same on every trip: simplify-control packs them
  /// once, before the loop.
  void select_in_loop(const Node& loop) {
    Selector inside(*loop.body(), o_);
    inside.steady_ = steady_values(loop);
    if (loop.is("scan")) inside.trips_ = o_.hint(ScanView(loop).trips);
    for (Node* n : loop.body()->node_list())
      if ((n->is("dot") || n->is("gate_products")) && inside.is_steady(n->operand(1)) &&
          (n->is("dot") || inside.is_steady(n->operand(3))))
        inside.select(n);
    changed_ = changed_ || inside.changed_;
  }

  bool is_steady(const Value* v) const { return steady_.count(v) != 0; }

  void select(Node* n) {
    const bool gates = n->is("gate_products");
    const auto stays = [this](const Value* v) { return is_steady(v) || is_constant_tree(v); };
    const bool steady =
        gates ? stays(n->operand(1)) && stays(n->operand(3)) : is_steady(n->operand(1));
    if (const auto a = choose_algorithm({n, steady, trips_}, o_)) apply(n, *a);
  }

  void apply(Node* n, const Algorithm& a) {
    const bool gradient = n->is("conv_weight_gradient");
    switch (a.kind) {
      case Algorithm::Kind::plain:
      case Algorithm::Kind::wide: return;  // widen_convs has done it
      case Algorithm::Kind::amx: return use_amx(n, a.panel > 0);
      case Algorithm::Kind::packed:
        if (n->is("gate_products")) return pack_gate_products(n, a.panel);
        if (n->is("conv")) return pack_conv(n, a.panel);
        return is_cell_product(*n) ? pack_cell(n, a.panel) : pack_dot(n, a.panel);
      case Algorithm::Kind::winograd:
        return gradient ? rewrite_winograd_gradient(n, a.form) : rewrite_winograd(n, a);
      case Algorithm::Kind::winograd_fused: return rewrite_winograd_fused(n, a);
      case Algorithm::Kind::patches:
        return gradient ? rewrite_gradient_as_dot(n) : rewrite_as_dot(n, a.panel);
      case Algorithm::Kind::library:
        rewrite_for_library(graph_, n, o_);
        changed_ = true;
        return;
    }
  }

  void use_amx(Node* n, bool packed) {
    Builder b = builder_before(n);
    replace(n, amx_product(b, *n, packed, o_));
  }

  // ---- panels -------------------------------------------------------------------------------

  void pack_dot(Node* n, int64_t block) {
    Value* w = n->operand(1);
    const int64_t columns = w->shape().back().value();
    Builder b = builder_before(n);
    if (w->rank() == 3) w = b.reshape(w, {w->shape()[1], w->shape()[2]});
    Value* packed = b.make("pack", {w}, {{"perm", identity(2)}, {"block", block}});
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    attrs.set("columns", columns);
    replace(n, b.make("dot", {n->operand(0), packed}, attrs));
  }

  void pack_conv(Node* n, int64_t block) {
    Builder b = builder_before(n);
    Value* w = n->operand(1);
    Value* packed = b.make("pack", {w}, {{"perm", identity(w->rank())}, {"block", block}});
    AttrMap attrs = n->attrs();
    attrs.set("block", block);
    replace(n, b.make("conv", {n->operand(0), packed}, attrs));
  }

  // w[gates, K, N] = panels[gates, N / block, K, block], N filled up with zeros
  void pack_cell(Node* n, int64_t block) {
    Value* w = n->operand(1);
    const Dim gates = w->shape()[0], depth = w->shape()[1];
    const int64_t columns = w->shape()[2].value();
    const Dim panels = ceil_div(Dim(columns), Dim(block));
    const Dim filled = panels * Dim(block);
    Builder b = builder_before(n);
    Value* flat = b.transpose(b.pad(w, {0, 0, 0}, {0, 0, filled - Dim(columns)}), {1, 0, 2});
    flat = b.reshape(flat, {depth, gates * filled});
    Value* packed = b.make("pack", {flat}, {{"perm", identity(2)}, {"block", block}});
    packed = b.reshape(packed, {gates, panels, depth, Dim(block)});
    replace(n, b.make("dot", {n->operand(0), packed}, {{"block", block}, {"columns", columns}}));
  }

  void pack_gate_products(Node* n, int64_t block) {
    const Dim columns = n->result()->shape()[2];
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

  /// [points, N, TH, TW, C] as [points, tiles, C].
  static Value* flat_tiles(Builder& b, Value* v) {
    const Shape s = v->shape();
    return b.reshape(v, {s[0], s[1] * s[2] * s[3], s[4]});
  }

  // conv(x, w) = winograd_conv(pad(x), winograd_weight(w))
  void rewrite_winograd_fused(Node* n, const Algorithm& a) {
    Builder b = builder_before(n);
    const auto window = n->attrs().integers("window");
    const Shape out = n->result()->shape();
    AttrMap packing = transform_attrs(a.form, window);
    packing.set("perm", identity(4));
    packing.set("block", a.panel);
    Value* u = b.make("winograd_weight", {n->operand(1)}, packing);
    replace(n, b.make("winograd_conv", {whole_tiles(b, n->operand(0), out, a.form, window), u},
                      {{"m", a.form.m},
                       {"window", window},
                       {"filters", n->attrs().integer("filters")},
                       {"extents", Shape{out[1], out[2]}}}));
  }

  // conv(x, w) = winograd_output(dot(winograd_input(pad(x)), winograd_weight(w)))
  void rewrite_winograd(Node* n, const Algorithm& a) {
    Builder b = builder_before(n);
    const auto window = n->attrs().integers("window");
    const int64_t filters = n->attrs().integer("filters");
    const Shape out = n->result()->shape();
    AttrMap packing = transform_attrs(a.form, window);
    packing.set("perm", identity(4));
    packing.set("block", a.panel);
    Value* v = input_points(b, n->operand(0), out, a.form, window);
    const Shape tiles = v->shape();  // points, N, TH, TW, C
    Value* u = b.make("winograd_weight", {n->operand(1)}, packing);
    Value* product =
        b.make("dot", {flat_tiles(b, v), u}, {{"block", a.panel}, {"columns", filters}});
    product = b.reshape(product, {tiles[0], tiles[1], tiles[2], tiles[3], Dim(filters)});
    AttrMap transform = transform_attrs(a.form, window);
    transform.set("extents", Shape{out[1], out[2]});
    replace(n, b.make("winograd_output", {product}, transform));
  }

  // ---- Patches ------------------------------------------------------------------------------

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
  void rewrite_as_dot(Node* n, int64_t block) {
    Builder b = builder_before(n);
    const Shape out = n->result()->shape();
    Value* x = patches(b, *n, out);
    Value* w = n->operand(1);
    const Dim depth = product(Shape(w->shape().begin(), w->shape().end() - 1));
    const int64_t columns = out.back().value();
    if (block == 0) {
      Value* y =
          b.make("dot", {b.reshape(x, as_matrix(x->shape())), b.reshape(w, {depth, columns})});
      return replace(n, b.reshape(y, out));
    }
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
  void rewrite_winograd_gradient(Node* n, const WinogradForm& form) {
    Value* dy = n->operand(1);
    const Shape out = dy->shape();
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
