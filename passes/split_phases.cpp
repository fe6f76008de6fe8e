// split-phases: convolutions over inputs that are spread out with zeros, without the zeros.
//
// Between the elements of dilate(x) by s lie s - 1 zeros, and a window that steps by one place
// meets elements of x at every s-th of its places only: which ones depends on where it stands,
// modulo s. The outputs at s i + p, the phase p, are a convolution of x itself with every s-th row
// of the window (the sub-pixel form of Shi et al., arXiv:1609.07009; in signal processing, the
// polyphase form), and the phases one between the other are the result. With s = 2 on two axes that
// is a quarter of the multiplications. Transposed convolutions are such, and so are the gradients
// of convolutions with strides.
//
// Along one axis, with padding `before` of the spread input and dilation d, output o meets x[m] by
// the place t of the window where o + t d - before = s m. With g = gcd(s, d) and o = s i + p, these
// places are t = first, first + s / g, ..., which meet m = i + shift, i + shift + d / g, ...
//
// Pointwise ops behind the convolution are computed phase by phase, too, so that they stay in its
// kernel.
#include "passes/passes.h"
#include "passes/patterns.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

namespace {

/// Every phase is a step of the program; with more of them, these would take longer than the zeros.
constexpr int64_t kMostPhases = 64;

/// What one phase of one axis reads.
struct Taps {
  int64_t first = 0;  ///< place of the window
  int64_t count = 0;  ///< places, `step` apart; 0 where only zeros are met
  int64_t shift = 0;  ///< of the element of x that output 0 of the phase reads first
};

/// One spatial axis of the convolution.
struct Axis {
  Dim input;             ///< extent of x
  Dim output;            ///< of the convolution's result
  int64_t factor = 1;    ///< s
  int64_t step = 1;      ///< s / g
  int64_t dilation = 1;  ///< d / g, that of the phases
  std::vector<Taps> phases;
  int64_t before = 0;  ///< zeros around x that all phases need
  Dim after = 0;

  /// Outputs of one phase; those of the last phases may have one too many.
  Dim positions() const { return floor_div(output + Dim(factor - 1), Dim(factor)); }
  /// Elements of x, with zeros around, that a phase reads.
  Dim extent(const Taps& t) const { return positions() + Dim((t.count - 1) * dilation); }
};

void set_phases(Axis& axis, int64_t window, int64_t dilation, int64_t before) {
  const int64_t common = std::gcd(axis.factor, dilation);
  axis.step = axis.factor / common;
  axis.dilation = dilation / common;
  for (int64_t p = 0; p < axis.factor; ++p) {
    Taps t;
    const auto met = [&] { return p + t.first * dilation - before; };
    const int64_t end = std::min(window, axis.step);
    while (t.first < end && met() % axis.factor != 0) ++t.first;
    if (t.first < end) {
      t.count = (window - t.first + axis.step - 1) / axis.step;
      t.shift = met() / axis.factor;
    }
    axis.phases.push_back(t);
  }
}

/// Zeros around x so that every phase finds what it reads.
void set_padding(Axis& axis) {
  for (const Taps& t : axis.phases) {
    if (t.count == 0) continue;
    axis.before = std::max(axis.before, -t.shift);
    axis.after = max(axis.after, axis.extent(t) + Dim(t.shift) - axis.input);
  }
}

/// conv(pad(dilate(x)), w), without padding perhaps, and perhaps with a transpose before it, which
/// then is one of x.
struct SpreadConv {
  Node* conv = nullptr;
  Value* x = nullptr;
  Perm perm;  ///< of x, that the axes are those of the convolution
  std::vector<Axis> axes;

  Value* weights() const { return conv->operand(1); }
  size_t spatial() const { return axes.size(); }
};

bool pads_with_zeros(const Node& n) {
  const Value* value = n.operand_count() > 1 ? n.operand(1) : nullptr;
  return n.attrs().string("mode", "constant") == "constant" &&
         (value == nullptr || constant_splat(value) == 0.0);
}

int64_t phases_of(const std::vector<int64_t>& factors) {
  int64_t phases = 1;
  for (int64_t f : factors) phases *= std::min(f, kMostPhases + 1);
  return phases;
}

/// What stands in the way of a convolution over a spread input, or "".
std::string obstacle(const Node& conv, const Shape& input, const std::vector<int64_t>& factors,
                     const Shape& before) {
  const auto spatial = factors.size() - 2;
  const std::vector<int64_t> ones(spatial, 1);
  if (conv.attrs().integer("block", 0) > 0) return "its weights are packed";
  if (factors.front() != 1 || factors.back() != 1) return "channels are spread, too";
  if (!before.front().is(0) || !before.back().is(0) ||
      !(input.front() == conv.operand(0)->shape().front()) ||
      !(input.back() == conv.operand(0)->shape().back()))
    return "images or channels are padded, too";
  if (conv.attrs().integers("strides", ones) != ones) return "it has strides";
  if (std::any_of(before.begin(), before.end(), [](const Dim& d) { return !d.is_static(); }))
    return "its padding is not known";
  if (const int64_t phases = phases_of(factors); phases > kMostPhases)
    return "it has " + std::to_string(phases) + " phases";
  return "";
}

/// What is behind the input of a convolution.
struct Spread {
  Value* x = nullptr;
  Perm perm;
  std::vector<int64_t> factors;
  Shape before;
};

std::optional<Spread> find_spread(const Node& conv) {
  Spread s;
  const auto rank = static_cast<size_t>(conv.result()->rank());
  s.perm.resize(rank);
  std::iota(s.perm.begin(), s.perm.end(), int64_t{0});
  s.before.assign(rank, Dim(0));
  const Node* from = conv.operand(0)->def();
  if (from != nullptr && from->is("transpose")) {
    s.perm = from->attrs().integers("perm");
    from = from->operand(0)->def();
  }
  if (from != nullptr && from->is("pad") && pads_with_zeros(*from)) {
    s.before = permuted(from->attrs().dims("before"), s.perm);
    from = from->operand(0)->def();
  }
  if (from == nullptr || !from->is("dilate")) return std::nullopt;
  s.x = from->operand(0);
  const auto factors = from->attrs().integers("factors");
  for (int64_t axis : s.perm) s.factors.push_back(factors[static_cast<size_t>(axis)]);
  const bool spreads =
      std::any_of(factors.begin(), factors.end(), [](int64_t f) { return f != 1; });
  return spreads ? std::optional(std::move(s)) : std::nullopt;
}

/// Nothing for other convolutions, and for those that stay as they are.
std::optional<SpreadConv> find_spread_conv(Node& conv, PassContext& context) {
  const std::optional<Spread> s = find_spread(conv);
  if (!s) return std::nullopt;
  const Shape input = permuted(s->x->shape(), s->perm);
  const std::string why = obstacle(conv, input, s->factors, s->before);
  if (!why.empty()) {
    context.declined(conv, "not split: " + why);
    return std::nullopt;
  }
  SpreadConv found = {&conv, s->x, s->perm, {}};
  const auto window = conv.attrs().integers("window");
  const auto dilations = conv.attrs().integers("dilations", std::vector<int64_t>(window.size(), 1));
  for (size_t i = 0; i < window.size(); ++i) {
    Axis axis;
    axis.input = input[i + 1];
    axis.output = conv.result()->shape()[i + 1];
    axis.factor = s->factors[i + 1];
    set_phases(axis, window[i], dilations[i], s->before[i + 1].value());
    set_padding(axis);
    found.axes.push_back(std::move(axis));
  }
  return found;
}

/// Whether an operand of a pointwise op has the same element at all spatial places.
bool same_everywhere(const Value& v, int rank) {
  for (int axis = 1; axis + 1 < rank; ++axis)
    if (const int own = axis - (rank - v.rank());
        own >= 0 && !v.shape()[static_cast<size_t>(own)].is(1))
      return false;
  return true;
}

/// The pointwise ops behind a value, each the only user of the one before.
std::vector<Node*> followers_of(Value* y) {
  std::vector<Node*> chain;
  for (Value* at = y; at->has_one_use() && !at->uses().empty();) {
    Node* n = at->uses().front().node;
    if (!n->op().has(kPointwise) || n->result_count() != 1 || n->result()->shape() != y->shape())
      break;
    const auto fits = [&](const Value* v) {
      return v == nullptr || v == at || same_everywhere(*v, y->rank());
    };
    const std::vector<Value*> operands = n->operands();
    if (!std::all_of(operands.begin(), operands.end(), fits)) break;
    chain.push_back(n);
    at = n->result();
  }
  return chain;
}

class Splitter {
 public:
  Splitter(Graph& graph, const SpreadConv& found)
      : graph_(graph), found_(found), followers_(followers_of(found.conv->result())),
        last_(followers_.empty() ? found.conv : followers_.back()), b_(graph, last_) {
    b_.set_origins(found.conv->origins());
  }

  void run() {
    padded_ = padded_input();
    Value* y = interleaved({});
    Shape whole = {y->shape().front()};
    for (const Axis& a : found_.axes) whole.push_back(a.positions() * Dim(a.factor));
    whole.push_back(y->shape().back());
    y = b_.reshape(y, whole);
    for (size_t i = 0; i < found_.spatial(); ++i)
      if (!(y->shape()[i + 1] == found_.axes[i].output))
        y = b_.slice_axis(y, static_cast<int>(i) + 1, Dim(0), found_.axes[i].output);
    replace_node(graph_, *last_, y);
    std::reverse(followers_.begin(), followers_.end());
    for (Node* n : followers_)
      if (n != last_) graph_.erase(n);
    if (found_.conv != last_) graph_.erase(found_.conv);
  }

 private:
  Value* padded_input() {
    Shape before(found_.spatial() + 2, Dim(0));
    Shape after = before;
    for (size_t i = 0; i < found_.spatial(); ++i) {
      before[i + 1] = found_.axes[i].before;
      after[i + 1] = found_.axes[i].after;
    }
    return b_.pad(b_.transpose(found_.x, found_.perm), before, after);
  }

  /// All phases of the axes behind those whose phases are given, one between the other:
  /// [N, positions, phases, positions, phases, ..., F]
  Value* interleaved(std::vector<size_t> phases) {
    const size_t axis = phases.size();
    if (axis == found_.spatial()) return with_axes_of_phases(phase(phases));
    std::vector<Value*> parts;
    for (size_t p = 0; p < found_.axes[axis].phases.size(); ++p) {
      phases.push_back(p);
      parts.push_back(interleaved(phases));
      phases.pop_back();
    }
    return parts.size() == 1 ? parts[0] : b_.concat(parts, static_cast<int>(2 * axis) + 2);
  }

  Value* with_axes_of_phases(Value* y) {
    Shape shape = {y->shape().front()};
    for (size_t i = 0; i < found_.spatial(); ++i) {
      shape.push_back(y->shape()[i + 1]);
      shape.emplace_back(1);
    }
    shape.push_back(y->shape().back());
    return b_.reshape(y, shape);
  }

  Value* phase(const std::vector<size_t>& phases) {
    std::vector<Taps> taps;
    for (size_t i = 0; i < phases.size(); ++i) taps.push_back(found_.axes[i].phases[phases[i]]);
    const bool meets_zeros_only =
        std::any_of(taps.begin(), taps.end(), [](const Taps& t) { return t.count == 0; });
    return followed(meets_zeros_only ? zeros() : convolved(taps));
  }

  Value* zeros() {
    const Value* y = found_.conv->result();
    Shape shape = y->shape();
    for (size_t i = 0; i < found_.spatial(); ++i) shape[i + 1] = found_.axes[i].positions();
    return b_.broadcast(b_.scalar(0, y->dtype()), shape);
  }

  Value* convolved(const std::vector<Taps>& taps) {
    Value* x = padded_;
    Value* w = found_.weights();
    Shape starts(static_cast<size_t>(x->rank()), Dim(0)), sizes = x->shape();
    Shape first(static_cast<size_t>(w->rank()), Dim(0)), count = w->shape();
    std::vector<int64_t> step(static_cast<size_t>(w->rank()), 1);
    std::vector<int64_t> window, dilations;
    for (size_t i = 0; i < taps.size(); ++i) {
      const Axis& axis = found_.axes[i];
      starts[i + 1] = axis.before + taps[i].shift;
      sizes[i + 1] = axis.extent(taps[i]);
      first[i] = taps[i].first;
      count[i] = taps[i].count;
      step[i] = axis.step;
      window.push_back(taps[i].count);
      dilations.push_back(axis.dilation);
    }
    AttrMap attrs = found_.conv->attrs();
    attrs.set("window", window);
    attrs.set("dilations", dilations);
    const std::vector<int64_t> ones(static_cast<size_t>(x->rank()), 1);
    return b_.make("conv", {b_.slice(x, starts, sizes, ones), b_.slice(w, first, count, step)},
                   std::move(attrs));
  }

  Value* followed(Value* y) {
    const Value* at = found_.conv->result();
    for (const Node* n : followers_) {
      std::vector<Value*> operands = n->operands();
      std::replace(operands.begin(), operands.end(), const_cast<Value*>(at), y);
      Node* copy = b_.create(n->name(), operands, n->attrs());
      copy->set_origins(n->origins());
      y = copy->result();
      at = n->result();
    }
    return y;
  }

  Graph& graph_;
  const SpreadConv& found_;
  std::vector<Node*> followers_;
  Node* last_;
  Builder b_;
  Value* padded_ = nullptr;
};

}  // namespace

bool split_phases(Graph& graph, PassContext& context) {
  bool changed = false;
  std::vector<Node*> convs = graph.node_list();
  std::erase_if(convs, [](const Node* n) { return !n->is("conv"); });
  for (Node* node : convs) {
    const std::optional<SpreadConv> found = find_spread_conv(*node, context);
    if (!found) continue;
    size_t phases = 1;
    for (const Axis& a : found->axes) phases *= a.phases.size();
    context.matched(*node, "split into " + std::to_string(phases) + " phases");
    Splitter(graph, *found).run();
    changed = true;
  }
  return changed;
}

}  // namespace tintype
