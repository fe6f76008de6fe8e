// Definition of products of bf16 for a matrix unit: dot, and convolution as an implicit product.
// Positions are numbers whose digits are the dims of the result but the last, so that tiles of
// sixteen positions waste little on narrow images.
#include "codegen/digits.h"
#include "codegen/matrix_unit.h"

#include <algorithm>

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::RDom;
using Halide::Var;

// Divisions take longer than what is done with 32 columns of a position: a task does them once.
std::function<Index(const Expr&)> Composer::define_place_table(const Index& places, const Var& at) {
  const Expr last = product(places) - 1;
  const auto many =
      std::count_if(places.begin(), places.end(), [](const Expr& e) { return !is_one(e); });
  if (many < 2)
    return [=](const Expr& position) { return digits(Halide::min(position, last), places); };
  Func table("place");
  table(at) = Halide::Tuple(digits(Halide::min(at, last), places));
  c_.stages.push_back(table);
  return [=](const Expr& position) {
    Index place;
    for (size_t i = 0; i < places.size(); ++i)
      place.push_back(is_one(places[i])
                          ? Expr(0)
                          : Halide::unsafe_promise_clamped(table(position)[static_cast<int>(i)], 0,
                                                           places[i] - 1));
    return place;
  };
}

// The left side is copied, converted where it is wider, to where tiles can be loaded from: per
// position all taps of the window, the channels of each filled up with zeros to whole tiles. What
// lies behind the last position is that one again, and not stored.
void Composer::define_matrix(const Node& n) {
  const Value* x = n.operand(0);
  const Value* w = n.operand(1);
  const bool conv = n.is("conv");
  const auto window = n.attrs().integers("window");
  const auto strides = n.attrs().integers("strides", std::vector<int64_t>(window.size(), 1));
  const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(window.size(), 1));
  const auto block = static_cast<int32_t>(n.attrs().integer("block"));
  const auto amount = [](int64_t i) { return Expr(static_cast<int32_t>(i)); };
  const size_t leading = n.result()->shape().size() - 1;
  Index places, taps;
  for (size_t d = 0; d < leading; ++d) {
    if (is_unit(n.result(), d)) {
      places.emplace_back(1);
    } else if (conv && d > 0) {
      const Expr span = amount((window[d - 1] - 1) * dilations[d - 1] + 1);
      places.push_back((extent(x, d) - span) / amount(strides[d - 1]) + 1);
    } else {
      places.push_back(conv ? extent(x, 0) : extent(n.result(), d));
    }
  }
  for (const int64_t k : window) taps.push_back(amount(k));
  const Expr tap_count = product(taps), positions = product(places);
  const Var k("k"), t("t"), at("at"), c("c"), panel("panel");
  const auto place_of = define_place_table(places, at);
  const auto element = [&](const Expr& position, const Expr& tap, const Expr& channel) {
    const Index place = place_of(position), t_digits = digits(tap, taps);
    Index in;
    if (conv) {
      in.push_back(place[0]);
      for (size_t i = 0; i < window.size(); ++i)
        in.push_back(place[i + 1] * amount(strides[i]) + t_digits[i] * amount(dilations[i]));
    } else {
      Index result = place;
      result.emplace_back(0);
      in = batch_index(x, 2, result);
      in.push_back(place.back());
    }
    for (size_t d = 0; d < in.size(); ++d)
      if (is_unit(x, d)) in[d] = 0;
    in.push_back(channel);
    return converted(Halide::BFloat(16), value(x, in));
  };

  MatrixProduct& out = c_.matrix.emplace();
  const Expr channels = extent(x, x->shape().size() - 1);
  const Expr depth = (channels + kMatrixDepth - 1) / kMatrixDepth * kMatrixDepth;
  out.whole = spec_.depth_multiple % kMatrixDepth == 0;
  out.left = Func("left");
  if (out.whole) {
    out.left(k, t, at) = element(at, t, k);
  } else {
    const RDom own(0, channels, "own");
    out.left(k, t, at) = Halide::cast(Halide::BFloat(16), 0.0f);
    out.left(own.x, t, at) = element(at, t, own.x);
    out.channels = own.x;
  }

  const RDom r =
      taps.empty() || is_one(tap_count)
          ? RDom(0, out.whole ? multiple_of(channels, kMatrixDepth) : depth, "r")
          : RDom({{0, out.whole ? multiple_of(channels, kMatrixDepth) : depth}, {0, tap_count}},
                 "r");
  const Expr tap = r.dimensions() > 1 ? Expr(r.y) : Expr(0);
  pin_panel(w, 2 * block);
  Index weight = {Expr(panel)};
  for (const Expr& d : digits(tap, taps)) weight.push_back(d);
  weight.push_back(Expr(r.x) / 2);
  weight.push_back(Expr(c) * 2 + Expr(r.x) % 2);
  out.depth = r.x;
  out.sums = Func("sums");
  out.sums(c, at, panel) = Halide::undef<float>();  // tiles begin with zeros
  out.sums(c, at, panel) += Halide::cast<float>(out.left(r.x, tap, at)) * value(w, weight);

  const int rows = spec_.rows, run = spec_.run;
  out.places =
      RDom({{0, rows}, {0, run}, {0, (positions + rows * run - 1) / (rows * run)}}, "tile");
  const Expr first = (out.places[2] * run + out.places[1]) * rows, own = first + out.places[0];
  out.places.where(first < positions);
  out.places.where(own < positions);
  tiled_index_ = place_of(own);
  const Var column = make_vars(n.result()->rank()).front();
  tiled_index_.emplace_back(column);
  tiled_result_ = n.result();
  tiled_sum_ = out.sums(Expr(column) % block, own, Expr(column) / block);
}

}  // namespace tintype
