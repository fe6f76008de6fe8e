// Definitions of products whose panels go through the shared memory of a device: dot, convolution
// as an implicit product, weight gradients. All are sums over a depth of what belongs to a position
// times what belongs to a column; positions and depth are numbers whose digits are the dims.
#include "codegen/digits.h"

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::RDom;
using Halide::Var;

namespace {

Expr number(const Index& digits, const Index& extents) {
  Expr n = 0;
  for (size_t i = 0; i < extents.size(); ++i)
    if (!is_one(extents[i])) n = n * extents[i] + digits[i];
  return n;
}

Index joined(Index a, const Index& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// All but the last as they are, that in groups of n.
Index in_groups(Index extents, int n) {
  if (n > 1) extents.back() = extents.back() / n;
  return extents;
}

}  // namespace

struct Composer::Product {
  Index batches, positions, depth;  ///< extents, outermost first
  Expr columns;                     ///< undefined where panels are filled up
  /// From the digits of batch, position and depth.
  std::function<Expr(const Index&, const Index&, const Index&)> left;
  /// From the digits of batch and depth, and the column.
  std::function<Expr(const Index&, const Index&, const Expr&)> right;
};

Composer::Product Composer::conv_product(const Node& n) {
  const bool gradient = n.is("conv_weight_gradient");
  const Value* x = n.operand(0);
  const Value* other = n.operand(1);  // weights, or the gradient of the result
  const auto window = n.attrs().integers("window");
  const size_t axes = window.size();
  const auto strides = n.attrs().integers("strides", std::vector<int64_t>(axes, 1));
  const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(axes, 1));
  const auto block = static_cast<int32_t>(n.attrs().integer("block"));
  const auto amount = [](int64_t i) { return Expr(static_cast<int32_t>(i)); };
  Index places = {extent(x, 0)}, taps;
  for (size_t i = 0; i < axes; ++i) {
    const Expr span = amount((window[i] - 1) * dilations[i] + 1);
    places.push_back(gradient ? extent(other, i + 1)
                              : (extent(x, i + 1) - span) / amount(strides[i]) + 1);
    if (is_unit(gradient ? other : n.result(), i + 1)) places.back() = 1;
    taps.push_back(amount(window[i]));
  }
  taps.push_back(spec_.block.channels > 0 ? Expr(spec_.block.channels) : extent(x, axes + 1));
  const auto at = [=, this](const Index& place, const Index& tap) {
    Index in = {place[0]};
    for (size_t i = 0; i < axes; ++i)
      in.push_back(place[i + 1] * amount(strides[i]) + tap[i] * amount(dilations[i]));
    in.push_back(tap.back());
    return value(x, in);
  };
  if (gradient)
    return {{},
            taps,
            places,
            extent(other, axes + 1),
            [=](const Index&, const Index& tap, const Index& place) { return at(place, tap); },
            [=, this](const Index&, const Index& place, const Expr& column) {
              return value(other, joined(place, {column}));
            }};
  pin_panel(other, block);
  return {{},
          places,
          taps,
          block > 0 ? Expr() : extent(other, axes + 1),
          [=](const Index&, const Index& place, const Index& tap) { return at(place, tap); },
          [=, this](const Index&, const Index& tap, const Expr& column) {
            if (block == 0) return value(other, joined(tap, {column}));
            return value(other, joined(joined({column / block}, tap), {column % block}));
          }};
}

Composer::Product Composer::dot_product(const Node& n) {
  const Value* a = n.operand(0);
  const Value* b = n.operand(1);
  const auto block = static_cast<int32_t>(n.attrs().integer("block"));
  const size_t leading = n.result()->shape().size() - 1;
  Index rows;
  for (size_t d = 0; d < leading; ++d)
    rows.push_back(is_unit(n.result(), d) ? Expr(1) : extent(n.result(), d));
  const size_t matrix = block > 0 ? 3 : 2;
  bool shared = true;  // one right side for all rows
  for (size_t d = 0; d + matrix < b->shape().size(); ++d) shared = shared && is_unit(b, d);
  const Index batches = shared ? Index() : Index(rows.begin(), rows.end() - 1);
  if (!shared) rows.erase(rows.begin(), rows.end() - 1);
  pin_panel(b, block);
  const auto index = [=](const Index& batch, const Index& position, const Expr& last) {
    return joined(joined(batch, position), {last});
  };
  return {batches,
          rows,
          {extent(a, a->shape().size() - 1)},
          block > 0 ? Expr() : extent(b, b->shape().size() - 1),
          [=, this](const Index& batch, const Index& position, const Index& depth) {
            const Index result = index(batch, position, 0);
            Index at = batch_index(a, 2, result);
            at.push_back(result[result.size() - 2]);
            at.push_back(depth[0]);
            return value(a, at);
          },
          [=, this](const Index& batch, const Index& depth, const Expr& column) {
            const Index none(leading - 1, Expr(0));
            Index at = batch_index(b, matrix, joined(shared ? none : batch, {0, 0}));
            if (block > 0) at.push_back(column / block);
            at.push_back(depth[0]);
            at.push_back(block > 0 ? column % block : column);
            return value(b, at);
          }};
}

namespace {

/// Of the panels: element of a vector, vector, step of a chunk (or, of a left side along the depth,
/// position), chunk, slice.
struct PanelVars {
  Var v{"v"}, e{"e"}, s{"s"}, chunk{"chunk"}, z{"z"};
};

}  // namespace

// Left and right panels are Funcs of their own, which blocks copy to shared memory; so is where a
// position lies, which a thread finds out once. What lies behind the end of the sum is zero; what
// lies behind the last position or column is that one again, and not stored.
void Composer::define_tiled(const Node& n) {
  const Product p = n.is("dot") ? dot_product(n) : conv_product(n);
  const BlockTile& t = spec_.block;
  TiledProduct& out = c_.tiled.emplace();
  out.along_depth = !n.is("conv_weight_gradient") && !t.left_across;
  out.slices = !p.batches.empty() || t.splits > 1;
  const Expr chunks = (product(p.depth) + t.depth - 1) / t.depth;
  const Expr part = (chunks + t.splits - 1) / t.splits;  // of the sum
  const Expr zero = Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
  const PanelVars x;
  define_panels(p, t.splits > 1 ? Expr(x.z) % t.splits * part : Expr(0), zero);

  const RDom r({{0, t.depth}, {0, part}}, "r");
  const Var c("c"), at("at");
  const int lv = t.left_vector, rv = t.right_vector;
  std::vector<Var> sum = {c, at};
  std::vector<Expr> left = {Expr(at) % lv, Expr(at) / lv, r.x, r.y},
                    right = {Expr(c) % rv, Expr(c) / rv, r.x, r.y};
  if (out.along_depth) left = {r.x % lv, r.x / lv, at, r.y};
  if (out.slices) {
    sum.push_back(x.z);
    left.emplace_back(x.z);
    right.emplace_back(x.z);
  }
  out.sums = Func("sums");
  out.sums(sum) = zero;
  out.sums(sum) += out.left(left) * out.right(right);
  out.depth = r;
  t.splits > 1 ? define_parts(n, p) : define_places(n, p);
}

// `begin`: the first chunk of the slice.
void Composer::define_panels(const Product& p, const Expr& begin, const Expr& zero) {
  const BlockTile& t = spec_.block;
  TiledProduct& out = *c_.tiled;
  const PanelVars x;
  const int lv = t.left_vector, rv = t.right_vector;
  std::vector<Var> vars = {x.v, x.e, x.s, x.chunk};
  if (out.slices) vars.push_back(x.z);
  const Index batch = digits(out.slices ? Expr(x.z) / t.splits : Expr(0), p.batches);
  const Expr depth = product(p.depth), first = (begin + x.chunk) * t.depth, step = first + x.s;

  Index position = define_place(p), tap;
  if (out.along_depth) {
    const Expr group = Halide::min((begin + x.chunk) * (t.depth / lv) + x.e, depth / lv - 1);
    tap = digits(group, in_groups(p.depth, lv));
    if (lv > 1) tap.back() = tap.back() * lv + x.v;
  } else {
    tap = digits(Halide::min(step, depth - 1), p.depth);
    if (lv > 1) position.back() = position.back() * lv + x.v;
  }
  out.left = Func("left");
  out.left(vars) = Halide::select((out.along_depth ? first + x.e * lv : step) < depth,
                                  p.left(batch, position, tap), zero);

  Expr column = x.e;
  if (p.columns.defined()) column = Halide::min(column, p.columns / rv - 1);
  if (rv > 1) column = column * rv + x.v;
  out.right = Func("right");
  out.right(vars) = Halide::select(
      step < depth, p.right(batch, digits(Halide::min(step, depth - 1), p.depth), column), zero);
}

// The digits of a position that the left panel needs: found once per thread and vector.
Index Composer::define_place(const Product& p) {
  TiledProduct& out = *c_.tiled;
  const PanelVars x;
  const Index extents =
      out.along_depth ? p.positions : in_groups(p.positions, spec_.block.left_vector);
  const Expr named = Halide::min(out.along_depth ? x.s : x.e, product(extents) - 1);
  const Index found = digits(named, extents);
  out.has_place = found.size() > 1;
  if (!out.has_place) return {named};
  out.place = Func("place");
  out.place(x.e, x.s) = Halide::Tuple(found);
  Index position;
  for (size_t i = 0; i < found.size(); ++i)
    position.push_back(is_one(extents[i])
                           ? Expr(0)
                           : Halide::unsafe_promise_clamped(
                                 out.place(x.e, x.s)[static_cast<int>(i)], 0, extents[i] - 1));
  return position;
}

// The result is written where the tile's positions lie: a thread's are `groups` apart.
void Composer::define_places(const Node& n, const Product& p) {
  TiledProduct& out = *c_.tiled;
  const BlockTile& t = spec_.block;
  const int together = out.along_depth ? 1 : std::min(4, t.thread_positions);
  const Expr positions = product(p.positions);
  Halide::Region region = {
      {0, t.thread_positions}, {0, t.groups()}, {0, (positions + t.positions - 1) / t.positions}};
  if (out.slices) region.push_back({0, product(p.batches)});
  out.places = RDom(region, "tile");
  const Expr own = out.places[0];
  const Expr at = out.places[2] * t.positions +
                  (own / together * t.groups() + out.places[1]) * together + own % together;
  out.places.where(at < positions);
  tiled_index_ =
      joined(out.slices ? digits(out.places[3], p.batches) : Index(), digits(at, p.positions));
  const Var column = make_vars(n.result()->rank()).front();
  tiled_index_.push_back(is_unit(n.result(), tiled_index_.size()) ? Expr(0) : Expr(column));
  std::vector<Expr> sum = {column, at};
  if (out.slices) sum.emplace_back(out.places[3]);
  tiled_result_ = n.result();
  tiled_sum_ = out.sums(sum);
}

// Parts of a long sum are kernels' results of their own; what follows adds them up in order.
void Composer::define_parts(const Node& n, const Product& p) {
  TiledProduct& out = *c_.tiled;
  const int32_t splits = spec_.block.splits;
  const Var c("c"), at("at"), z("z");
  out.part = Func("part");
  out.part(c, at, z) = out.sums(c, at, z);
  const std::vector<Var> vars = make_vars(n.result()->rank());
  const Index index = index_of(vars);
  const auto leading = static_cast<std::ptrdiff_t>(p.batches.size());
  const Index batch(index.begin(), index.begin() + leading),
      position(index.begin() + leading, index.end() - 1);
  const RDom r(0, splits, "part");
  Func total = new_func(n);
  total(vars) = Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
  total(vars) += out.part(vars.front(), number(position, p.positions),
                          number(batch, p.batches) * splits + r.x);
  add_anchor(n, total, vars, r);
}

}  // namespace tintype
