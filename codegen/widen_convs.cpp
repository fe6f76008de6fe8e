// With p positions at once and F filters:
//
//   conv(x, w)[n, y, p u + i, f] = conv(x, v)[n, y, u, i F + f]
//   v[ky, kx, c, i F + f] = w[ky, kx - i, c, f], zero outside the window
//
// The wide convolution steps p places along a line, and its window is p - 1 wider: 6 filters of
// 5 x 5 fill 6 of 16 lanes with 25 taps, 12 lanes with 30 taps for twice as many results. The
// gradient of the weights is that of the wide ones, summed over i.
#include "codegen/widen_convs.h"

#include "codegen/algorithm_choice.h"
#include "ir/builder.h"

#include <algorithm>
#include <vector>

namespace tintype {

namespace {

class Widening {
 public:
  Widening(Graph& graph, const SelectAlgorithmsOptions& options) : graph_(graph), o_(options) {}

  bool run() {
    std::vector<Node*> convs;  // what follows one may be rebuilt with it
    for (const auto& n : graph_.nodes())
      if (n->is("conv") || n->is("conv_weight_gradient")) convs.push_back(n.get());
    bool changed = false;
    for (Node* n : convs) {
      const bool gradient = n->is("conv_weight_gradient");
      const int64_t p = positions_at_once(*n, (gradient ? n->operand(1) : n->result())->shape());
      if (p == 1) continue;
      if (gradient) widen_gradient(n, p);
      else widen(n, p);
      changed = true;
    }
    return changed;
  }

 private:
  /// Cycles of a tap of p * filters results, up to a common factor. Vectors of half the length are
  /// as good where no more lanes are needed.
  double cost_of_tap(int64_t channels) const {
    const int64_t lanes = o_.machine.lanes;
    if (channels <= lanes / 2) return 1;
    const int64_t vectors = (channels + lanes - 1) / lanes;
    return static_cast<double>(vectors) * (lanes == 16 ? 2.0 / o_.machine.multiply_adds : 1.0);
  }

  /// For a convolution with results `out`, or its weight gradient; 1: it stays as it is.
  int64_t positions_at_once(const Node& n, const Shape& out) const {
    constexpr int64_t kMost = 4, kManyPositions = 1024;
    const AttrMap& attrs = n.attrs();
    const auto window = attrs.integers("window");
    const std::vector<int64_t> ones(window.size(), 1);
    if (!out.back().is_static()) return 1;
    const int64_t filters = out.back().value();
    if (o_.strict || window.empty() || attrs.integer("block") > 0 ||
        attrs.integer("group", 1) != 1 || n.result()->dtype() != DType::f32 ||
        attrs.integers("strides", ones).back() != 1 ||
        attrs.integers("dilations", ones).back() != 1 || filters >= o_.machine.lanes ||
        window.back() < 2 || !out[out.size() - 2].is_static() ||
        o_.hint(product(Shape(out.begin(), out.end() - 1))) < kManyPositions)
      return 1;
    const int64_t width = out[out.size() - 2].value();
    Decision d;
    d.node = &n;
    d.candidates.emplace_back();  // as it is
    double least = 0.9 * static_cast<double>(window.back()) * cost_of_tap(filters);
    for (int64_t p = 2; p <= kMost; ++p) {
      if (width % p != 0) continue;
      const Algorithm wide{.kind = Algorithm::Kind::wide, .positions = p};
      d.candidates.push_back(wide);
      const double cost = static_cast<double>(window.back() + p - 1) * cost_of_tap(p * filters) /
                          static_cast<double>(p);
      if (cost >= least) continue;
      least = cost;
      d.reckoned = wide;
    }
    d.key = "widen " + choice_key({&n}, o_);
    return settle(std::move(d), o_).positions;
  }

  static Value* wide_weights(Builder& b, Value* w, int64_t p) {
    const size_t axis = w->shape().size() - 3;  // of the window, along a line
    std::vector<Value*> parts;
    for (int64_t i = 0; i < p; ++i) {
      Shape before(w->shape().size(), Dim(0)), after = before;
      before[axis] = i;
      after[axis] = p - 1 - i;
      parts.push_back(b.pad(w, before, after));
    }
    return b.concat(std::move(parts), w->rank() - 1);
  }

  static AttrMap wide_attributes(const Node& n, int64_t p) {
    AttrMap attrs = n.attrs();
    std::vector<int64_t> window = attrs.integers("window");
    std::vector<int64_t> strides =
        attrs.integers("strides", std::vector<int64_t>(window.size(), 1));
    window.back() += p - 1;
    strides.back() = p;
    attrs.set("window", window);
    attrs.set("strides", strides);
    return attrs;
  }

  /// p positions of a line side by side.
  static Shape wide_shape(Shape s, int64_t p) {
    s[s.size() - 2] = s[s.size() - 2].value() / p;
    s.back() = s.back() * Dim(p);
    return s;
  }

  void widen_gradient(Node* n, int64_t p) {
    Builder b(graph_, n);
    b.set_origins(n->origins());
    Value* dy = n->operand(1);
    const Shape shape = n->result()->shape();
    Value* wide = b.make(n->name(), {n->operand(0), b.reshape(dy, wide_shape(dy->shape(), p))},
                         wide_attributes(*n, p));
    Value* sum = nullptr;
    for (int64_t i = 0; i < p; ++i) {
      Shape starts(shape.size(), Dim(0));
      starts[shape.size() - 3] = i;
      starts.back() = shape.back() * Dim(i);
      Value* part = b.slice(wide, starts, shape, std::vector<int64_t>(shape.size(), 1));
      sum = sum == nullptr ? part : b.add(sum, part);
    }
    sum->set_name(n->result()->name());
    graph_.replace_all_uses(n->result(), sum);
    graph_.erase(n);
  }

  void widen(Node* n, int64_t p) {
    Builder b(graph_, n);
    b.set_origins(n->origins());
    AttrMap attrs = wide_attributes(*n, p);
    attrs.set("filters", p * attrs.integer("filters"));
    Value* wide = b.make("conv", {n->operand(0), wide_weights(b, n->operand(1), p)}, attrs);
    Value* y = b.reshape(wide, n->result()->shape());
    y->set_name(n->result()->name());
    graph_.replace_all_uses(n->result(), y);
    graph_.erase(n);
    carry(y, p);
  }

  /// f(reshape(y), v) = reshape(f(y, v')) for as long as one pointwise op follows the other.
  void carry(Value* y, int64_t p) {
    while (y->has_one_use() && y->output_uses() == 0) {
      Node* reshape = y->def();
      Node* f = y->uses()[0].node;
      if (!f->op().has(kPointwise) || !(f->result()->shape() == y->shape())) return;
      const auto operands = f->operands();
      if (!std::all_of(operands.begin(), operands.end(),
                       [&](Value* v) { return v == y || fits(*v, *y); }))
        return;
      Builder b(graph_, f);
      b.set_origins(f->origins());
      std::vector<Value*> wide;
      for (Value* v : operands)
        wide.push_back(v == y ? reshape->operand(0) : widened(b, v, *y, *reshape->operand(0), p));
      Value* next = b.reshape(b.make(f->name(), std::move(wide), f->attrs()), y->shape());
      next->set_name(f->result()->name());
      graph_.replace_all_uses(f->result(), next);
      graph_.erase(f);
      graph_.erase(reshape);
      y = next;
    }
  }

  static bool single(const Value& v) {
    return std::all_of(v.shape().begin(), v.shape().end(), [](const Dim& d) { return d.is(1); });
  }

  /// One element, one per channel, or one per result.
  static bool fits(const Value& v, const Value& y) {
    return single(v) || v.shape() == y.shape() ||
           (v.rank() == 1 && v.shape()[0] == y.shape().back());
  }

  static Value* widened(Builder& b, Value* v, const Value& y, const Value& wide, int64_t p) {
    if (v->shape() == y.shape()) return b.reshape(v, wide.shape());
    if (single(*v)) return v;
    const Dim filters = y.shape().back();
    return b.reshape(b.broadcast(b.reshape(v, {1, filters}), {Dim(p), filters}),
                     {Dim(p) * filters});
  }

  Graph& graph_;
  const SelectAlgorithmsOptions& o_;
};

}  // namespace

bool widen_convs(Graph& graph, const SelectAlgorithmsOptions& options) {
  return options.machine.cuda == 0 && Widening(graph, options).run();
}

}  // namespace tintype
