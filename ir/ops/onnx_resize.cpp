// Resize: values between elements, one axis after the other.
//
//   y[o] = sum over taps t of w(o, t) x[i(o, t)]
//
// Indices and weights follow from the places of the results in the operand, which are computed by
// ordinary ops on f64 vectors: constants when extents are known, small tensors at run time when
// they are not.
#include "ir/ops/decompose.h"
#include "ir/ops/interpolation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace tintype::ops {

namespace {

/// One axis that is resized. Numbers are f64 scalars.
struct Axis {
  int axis;
  Dim in, out;
  Value* scale;
  Value* width;                            ///< in * scale, which `out` may have been rounded from
  std::optional<double> static_scale;      ///< when it is known
  Value *start = nullptr, *end = nullptr;  ///< of the region of interest, as parts of the axis
};

/// The fraction that a scale was rounded to f32 from, if there is a simple one: 7/10, not
/// 0.699999988. Places that fall on an element, or half-way, do so in f64 as well.
struct Fraction {
  int64_t over, under;
  double value() const { return static_cast<double>(over) / static_cast<double>(under); }
};

/// Scales that fractions of integers can express.
constexpr double kLeastScale = 1e-5, kLargestScale = 1e12;

Fraction fraction_of(double scale) {
  constexpr int64_t kLargestDenominator = 1024;
  const auto rounded = static_cast<float>(scale);
  for (int64_t q = 1; q <= kLargestDenominator; ++q) {
    const double p = std::round(scale * static_cast<double>(q));
    if (p > 0 && static_cast<float>(p / static_cast<double>(q)) == rounded)
      return {static_cast<int64_t>(p), q};
  }
  int exponent = 0;
  const auto mantissa = static_cast<int64_t>(std::ldexp(std::frexp(rounded, &exponent), 24));
  return {mantissa, int64_t{1} << std::clamp(24 - exponent, 0, 40)};
}

class Resizer {
 public:
  Resizer(Builder& b, const Node& n)
      : b_(b), n_(n), mode_(n.attrs().string("mode", "nearest")),
        places_(n.attrs().string("coordinate_transformation_mode", "half_pixel")),
        nearest_(n.attrs().string("nearest_mode", "round_prefer_floor")),
        antialias_(n.attrs().integer("antialias") != 0),
        exclude_outside_(n.attrs().integer("exclude_outside") != 0) {
    check("mode", mode_, {"nearest", "linear", "cubic"});
    check("coordinate_transformation_mode", places_,
          {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
           "asymmetric", "tf_crop_and_resize"});
    check("nearest_mode", nearest_, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
    if (antialias_ && mode_ == "nearest") fail(n, "antialias does not go with mode 'nearest'");
  }

  Value* run() {
    Value* x = n_.operand(0);
    const std::vector<Axis> axes = resized_axes();
    if (mode_ == "nearest") return extrapolated(nearest(x, axes));
    const DType dtype = x->dtype();
    x = b_.cast(x, working_type(dtype));
    for (const Axis& a : axes) x = interpolated(x, a);
    return extrapolated(rounded(x, dtype));
  }

 private:
  void check(std::string_view what, const std::string& found,
             std::initializer_list<std::string_view> known) const {
    if (std::find(known.begin(), known.end(), found) != known.end()) return;
    std::string list;
    for (std::string_view k : known) list += (list.empty() ? "" : ", ") + std::string(k);
    fail(n_, std::string(what) + " '" + found + "' is not one of " + list);
  }

  // ---- what is resized ----------------------------------------------------------------------

  /// Exporters write an empty tensor for an operand that is not given.
  Value* given(int i) const {
    Value* v = n_.operand(i);
    return v != nullptr && !(v->rank() == 1 && v->shape()[0].is(0)) ? v : nullptr;
  }

  std::vector<Axis> resized_axes() {
    const Value* x = n_.operand(0);
    std::vector<int64_t> which = n_.attrs().integers("axes");
    if (which.empty()) {
      which.resize(x->shape().size());
      std::iota(which.begin(), which.end(), int64_t{0});
    }
    for (int64_t& a : which) a = normalize_axis(a, x->rank(), n_.where());
    normalized_axes(n_, which, x->rank());  // fails on repeats
    const bool by_size = given(3) != nullptr;
    if (by_size == (given(2) != nullptr))
      fail(n_, by_size ? "both scales and sizes are given" : "neither scales nor sizes are given");
    std::vector<Axis> axes = by_size ? axes_by_size(which) : axes_by_scale(which);
    const bool crops = places_ == "tf_crop_and_resize";
    if (crops) add_region(axes);
    axes.erase(std::remove_if(axes.begin(), axes.end(),
                              [&](const Axis& a) {
                                return !crops && a.out == a.in && a.static_scale.value_or(1) == 1;
                              }),
               axes.end());
    for (const Axis& a : axes)
      if (a.in.is(0) && !a.out.is(0))
        fail(n_, "axis " + std::to_string(a.axis) + " of " + x->type().text() +
                     " has no elements to resize");
    return axes;
  }

  template <typename List>
  void check_length(const List& list, size_t axes, const char* what) const {
    if (list.size() != axes)
      fail(n_, std::string(what) + " has " + std::to_string(list.size()) + " entries for " +
                   std::to_string(axes) + " axes");
  }

  std::vector<Axis> axes_by_scale(const std::vector<int64_t>& which) {
    if (n_.attrs().string("keep_aspect_ratio_policy", "stretch") != "stretch")
      fail(n_, "keep_aspect_ratio_policy goes with sizes, not with scales");
    const std::vector<double> scales = static_numbers(n_, 2, "scales");
    check_length(scales, which.size(), "scales");
    std::vector<Axis> axes;
    for (size_t i = 0; i < which.size(); ++i) {
      if (!(scales[i] > 0) || !std::isfinite(scales[i]))
        fail(n_, "scales must be positive, found " + std::to_string(scales[i]));
      if (scales[i] < kLeastScale || scales[i] > kLargestScale)
        fail(n_, "scales must be between 1e-5 and 1e12");
      const Dim& in = n_.operand(0)->shape()[static_cast<size_t>(which[i])];
      const Fraction f = fraction_of(scales[i]);
      Value* scale = number(f.value());
      axes.push_back({static_cast<int>(which[i]), in, floor_div(in * Dim(f.over), Dim(f.under)),
                      scale, b_.mul(scale, extent(in)), f.value()});
    }
    return axes;
  }

  std::vector<Axis> axes_by_size(const std::vector<int64_t>& which) {
    const std::vector<Dim> sizes = symbolic_integers(n_, 3, "sizes");
    check_length(sizes, which.size(), "sizes");
    for (const Dim& s : sizes)
      if (s.is_static() && s.value() < 0) fail(n_, "size " + s.text() + " is negative");
    const std::string policy = n_.attrs().string("keep_aspect_ratio_policy", "stretch");
    check("keep_aspect_ratio_policy", policy, {"stretch", "not_larger", "not_smaller"});
    std::vector<Axis> axes;
    for (size_t i = 0; i < which.size(); ++i) {
      const Dim& in = n_.operand(0)->shape()[static_cast<size_t>(which[i])];
      axes.push_back({static_cast<int>(which[i]), in, sizes[i],
                      b_.div(extent(sizes[i]), extent(in)), extent(sizes[i]),
                      sizes[i] == in ? std::optional(1.0) : ratio(sizes[i], in)});
    }
    if (policy != "stretch") keep_aspect(axes, policy == "not_larger");
    return axes;
  }

  static std::optional<double> ratio(const Dim& out, const Dim& in) {
    if (!out.is_static() || !in.is_static() || in.is(0)) return std::nullopt;
    return static_cast<double>(out.value()) / static_cast<double>(in.value());
  }

  // All axes get the least (or largest) scale s = min(size / in), and the extents
  // round(s in) = min(floor((2 size in' + in) / (2 in))).
  void keep_aspect(std::vector<Axis>& axes, bool least) {
    const std::vector<Axis> wanted = axes;
    for (Axis& a : axes) {
      for (const Axis& w : wanted) {
        const bool first = &w == &wanted.front();
        const Dim out = floor_div(Dim(2) * w.out * a.in + w.in, Dim(2) * w.in);
        a.out = first ? out : least ? min(a.out, out) : max(a.out, out);
        a.scale = first ? w.scale : b_.make(least ? "min" : "max", {a.scale, w.scale});
        if (first) a.static_scale = w.static_scale;
        else if (a.static_scale && w.static_scale)
          a.static_scale = least ? std::min(*a.static_scale, *w.static_scale)
                                 : std::max(*a.static_scale, *w.static_scale);
        else a.static_scale.reset();
      }
      a.width = b_.mul(a.scale, extent(a.in));
    }
  }

  void add_region(std::vector<Axis>& axes) {
    Value* roi = given(1);
    const auto count = static_cast<int64_t>(axes.size());
    if (roi == nullptr) fail(n_, "tf_crop_and_resize needs roi");
    if (roi->rank() != 1 || !roi->shape()[0].is(2 * count))
      fail(n_,
           "roi is " + roi->type().text() + ", expected " + std::to_string(2 * count) + " entries");
    roi = b_.cast(roi, DType::f64);
    for (int64_t i = 0; i < count; ++i) {
      axes[static_cast<size_t>(i)].start = b_.reshape(b_.slice_axis(roi, 0, Dim(i), Dim(1)), {});
      axes[static_cast<size_t>(i)].end =
          b_.reshape(b_.slice_axis(roi, 0, Dim(count + i), Dim(1)), {});
    }
  }

  // ---- places of the results in the operand --------------------------------------------------

  Value* number(double v) { return b_.scalar(v, DType::f64); }
  Value* extent(const Dim& d) { return extent_scalar(b_, d, DType::f64); }
  Value* plus(Value* x, double v) { return b_.with_scalar("add", x, v); }
  Value* less(const Dim& d, double v) { return b_.with_scalar("sub", extent(d), v); }

  Value* iota(Shape shape, int64_t axis, DType dtype) {
    return b_.make("iota", {}, {{"shape", std::move(shape)}, {"axis", axis}, {"dtype", dtype}});
  }

  /// f64[out]
  Value* places(const Axis& a) {
    Value* y = iota({a.out}, 0, DType::f64);
    if (places_ == "asymmetric") return b_.div(y, a.scale);
    if (places_ == "align_corners")
      return unless_one(a, b_.div(b_.mul(y, less(a.in, 1)), b_.with_scalar("sub", a.width, 1)),
                        number(0));
    if (places_ == "tf_crop_and_resize") return cropped_places(a, y);
    Value* x = plus(b_.div(plus(y, 0.5), a.scale), -0.5);
    if (places_ == "pytorch_half_pixel") return unless_one(a, x, number(0));
    if (places_ == "half_pixel") return x;
    // The middle of what is left after rounding down is the middle of the operand.
    Value* kept = b_.div(extent(a.out), a.width);
    Value* offset = b_.mul(b_.with_scalar("mul", extent(a.in), 0.5), b_.sub(number(1), kept));
    return b_.add(offset, x);
  }

  Value* unless_one(const Axis& a, Value* x, Value* otherwise) {
    return b_.select(b_.compare("eq", a.width, number(1)), otherwise, x);
  }

  Value* cropped_places(const Axis& a, Value* y) {
    Value* last = less(a.in, 1);
    Value* length = b_.mul(b_.sub(a.end, a.start), last);
    Value* many = b_.div(b_.mul(y, length), b_.with_scalar("sub", a.width, 1));
    Value* x =
        b_.add(unless_one(a, many, b_.with_scalar("mul", length, 0.5)), b_.mul(a.start, last));
    Value* inside = b_.make("and", {b_.compare("ge", x, number(0)), b_.compare("le", x, last)});
    inside = along(inside, a);
    inside_ = inside_ == nullptr ? inside : b_.make("and", {inside_, inside});
    return x;
  }

  /// A vector over the axis, so that it broadcasts against the operand.
  Value* along(Value* v, const Axis& a) {
    Shape shape = {v->shape()[0]};
    shape.resize(static_cast<size_t>(n_.operand(0)->rank() - a.axis), Dim(1));
    return b_.reshape(v, std::move(shape));
  }

  Value* extrapolated(Value* y) {
    if (inside_ == nullptr) return y == n_.operand(0) ? b_.unary("identity", y) : y;
    return b_.select(inside_, y, b_.scalar(n_.attrs().number("extrapolation_value"), y->dtype()));
  }

  /// Indices i64[...] of elements, for numbers that may lie outside the axis.
  Value* within(Value* index, const Dim& in) {
    return b_.cast(b_.min(b_.max(index, number(0)), less(in, 1)), DType::i64);
  }

  // ---- nearest ------------------------------------------------------------------------------

  Value* nearest(Value* x, const std::vector<Axis>& axes) {
    if (Value* y = repeated(x, axes); y != nullptr) return y;
    for (const Axis& a : axes)
      x = b_.make("gather", {x, within(nearest_index(places(a)), a.in)},
                  {{"axis", static_cast<int64_t>(a.axis)}});
    return x;
  }

  Value* nearest_index(Value* x) {
    if (nearest_ == "floor" || nearest_ == "ceil") return b_.unary(nearest_, x);
    return nearest_ == "round_prefer_floor" ? b_.unary("ceil", plus(x, -0.5))
                                            : b_.unary("floor", plus(x, 0.5));
  }

  /// Results o on [k i, k (i + 1)) all show element i: a repetition, which is a view.
  Value* repeated(Value* x, const std::vector<Axis>& axes) {
    const bool centred = places_ == "half_pixel" || places_ == "half_pixel_symmetric";
    const bool rounds = nearest_ == "round_prefer_floor" || nearest_ == "round_prefer_ceil";
    if (!(centred && rounds) && !(places_ == "asymmetric" && nearest_ == "floor")) return nullptr;
    std::vector<Dim> times(x->shape().size(), Dim(1));
    for (const Axis& a : axes) {
      const double k = a.static_scale.value_or(0);
      if (k < 1 || k > kLargestScale || k != std::floor(k) ||
          a.out != a.in * Dim(static_cast<int64_t>(k)))
        return nullptr;
      times[static_cast<size_t>(a.axis)] = static_cast<int64_t>(k);
    }
    Shape apart, spread, joined;
    for (size_t i = 0; i < times.size(); ++i) {
      const Dim& d = x->shape()[i];
      joined.push_back(d * times[i]);
      apart.push_back(d);
      spread.push_back(d);
      if (times[i].is(1)) continue;
      apart.emplace_back(1);
      spread.push_back(times[i]);
    }
    return b_.reshape(b_.broadcast(b_.reshape(x, apart), spread), joined);
  }

  // ---- linear and cubic ---------------------------------------------------------------------

  static DType working_type(DType dtype) {
    if (dtype == DType::f64) return DType::f64;
    return is_int(dtype) && size_of(dtype) > 2 ? DType::f64 : DType::f32;
  }

  /// Integers take what is nearest within their range, without the fraction.
  Value* rounded(Value* x, DType dtype) {
    if (is_int(dtype)) {
      x = b_.max(x, b_.cast(lowest(b_, dtype), x->dtype()));
      x = b_.min(x, b_.cast(highest(b_, dtype), x->dtype()));
    }
    return b_.cast(x, dtype);
  }

  /// Elements from `first` to 1 - first around the one to the left of a place.
  int64_t first_tap(const Axis& a) const {
    const int64_t reach = mode_ == "cubic" ? 2 : 1;
    if (!antialias_) return 1 - reach;
    if (!a.static_scale)
      fail(n_, "antialias needs an extent of axis " + std::to_string(a.axis) +
                   " that is known when compiling, got " + a.in.text() + " and " + a.out.text());
    if (a.out.is(0)) return 1 - reach;
    const double scale = std::min(*a.static_scale, 1.0);
    if (!(scale >= kLeastScale))
      fail(n_, "antialias cannot shrink " + a.in.text() + " elements to " + a.out.text());
    return static_cast<int64_t>(std::floor(-static_cast<double>(reach) / scale)) + 1;
  }

  Value* interpolated(Value* x, const Axis& a) {
    const int64_t first = first_tap(a);
    const Dim taps = 2 - 2 * first;
    const bool shrinks = antialias_ && *a.static_scale < 1;
    // f64[out,1]: the element to the left (never the place itself), and the distance from it
    Value* place = b_.reshape(places(a), {a.out, Dim(1)});
    Value* left = plus(b_.unary("ceil", place), -1);
    Value* tap = plus(iota({Dim(1), taps}, 1, DType::f64), static_cast<double>(first));
    Value* index = b_.add(left, tap);
    Value* distance = b_.sub(tap, b_.sub(place, left));
    if (shrinks) distance = b_.with_scalar("mul", distance, *a.static_scale);
    Value* weight = mode_ == "cubic"
                        ? cubic_weight(b_, distance, n_.attrs().number("cubic_coeff_a", -0.75))
                        : linear_weight(b_, distance);
    if (exclude_outside_) {
      Value* inside = b_.make(
          "and", {b_.compare("ge", index, number(0)), b_.compare("le", index, less(a.in, 1))});
      weight = b_.select(inside, weight, number(0));
    }
    if (shrinks || exclude_outside_) weight = b_.div(weight, b_.reduce("reduce_sum", weight, {1}));
    index = within(index, a.in);
    weight = b_.cast(weight, x->dtype());
    constexpr int64_t kFewTaps = 4;
    return taps.value() <= kFewTaps ? sum_of_taps(x, a, index, weight)
                                    : product(x, a, index, weight);
  }

  Value* sum_of_taps(Value* x, const Axis& a, Value* index, Value* weight) {
    Value* y = nullptr;
    for (int64_t t = 0; t < index->shape()[1].value(); ++t) {
      const auto column = [&](Value* v) {
        return b_.reshape(b_.slice_axis(v, 1, Dim(t), Dim(1)), {a.out});
      };
      Value* element =
          b_.make("gather", {x, column(index)}, {{"axis", static_cast<int64_t>(a.axis)}});
      Value* part = b_.mul(element, along(column(weight), a));
      y = y == nullptr ? part : b_.add(y, part);
    }
    return y;
  }

  /// Many taps are a product with a matrix w[out,in].
  Value* product(Value* x, const Axis& a, Value* index, Value* weight) {
    const Dim taps = index->shape()[1];
    Value* all = iota({Dim(1), Dim(1), a.in}, 2, DType::i64);
    Value* hit = b_.compare("eq", b_.reshape(index, {a.out, taps, Dim(1)}), all);
    Value* spread =
        b_.select(hit, b_.reshape(weight, {a.out, taps, Dim(1)}), b_.scalar(0, weight->dtype()));
    Value* w = b_.reshape(b_.reduce("reduce_sum", spread, {1}), {a.out, a.in});
    const auto axis = static_cast<size_t>(a.axis);
    const Shape outer(x->shape().begin(), x->shape().begin() + a.axis);
    const Shape inner(x->shape().begin() + a.axis + 1, x->shape().end());
    Shape shape = x->shape();
    shape[axis] = a.out;
    if (inner.empty())
      return b_.reshape(
          b_.make("dot", {b_.reshape(x, {tintype::product(outer), a.in}), b_.transpose(w, {1, 0})}),
          shape);
    x = b_.reshape(x, {tintype::product(outer), a.in, tintype::product(inner)});
    return b_.reshape(b_.make("dot", {w, x}), shape);
  }

  Builder& b_;
  const Node& n_;
  std::string mode_, places_, nearest_;
  bool antialias_, exclude_outside_;
  Value* inside_ = nullptr;  ///< where the cropped region lies within the operand
};

Values resize(Builder& b, const Node& n) { return {Resizer(b, n).run()}; }

constexpr AttrDef kResize[] = {{"antialias", AttrKind::integer},
                               {"axes", AttrKind::integers},
                               {"coordinate_transformation_mode", AttrKind::string},
                               {"cubic_coeff_a", AttrKind::number},
                               {"exclude_outside", AttrKind::integer},
                               {"extrapolation_value", AttrKind::number},
                               {"keep_aspect_ratio_policy", AttrKind::string},
                               {"mode", AttrKind::string},
                               {"nearest_mode", AttrKind::string}};

constexpr OpDef kOps[] = {
    {.name = "Resize",
     .min_operands = 1,
     .max_operands = 4,
     .attrs = kResize,
     .traits = kOnnx,
     .decompose = resize,
     .doc = "other extents, by the nearest element or by linear or cubic interpolation"},
};

}  // namespace

std::span<const OpDef> onnx_resize() { return kOps; }

}  // namespace tintype::ops
