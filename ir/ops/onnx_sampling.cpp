// Values of images at places that are computed: GridSample, RoiAlign.
//
// Positions of all images are rows, x[N D1 ... Dr, C]. Elements around a place are gathered along
// an axis of their own and summed with their weights:
//   y[s] = sum over t of w[s, t] x[i[s, t]]
#include "ir/ops/decompose.h"
#include "ir/ops/interpolation.h"

#include <algorithm>
#include <string>

namespace tintype::ops {

namespace {

/// Elements around places along one axis of an image: indices (floats) and weights, [places..., t].
struct Taps {
  Value* index;
  Value* weight;
};

Value* iota(Builder& b, Shape shape, int64_t axis, DType dtype) {
  return b.make("iota", {}, {{"shape", std::move(shape)}, {"axis", axis}, {"dtype", dtype}});
}

Value* with_axis(Builder& b, Value* v) {
  Shape shape = v->shape();
  shape.emplace_back(1);
  return b.reshape(v, std::move(shape));
}

/// min(max(index, 0), extent - 1)
Value* within(Builder& b, Value* index, const Dim& extent) {
  Value* last = b.with_scalar("sub", extent_scalar(b, extent, index->dtype()), 1);
  return b.min(b.with_scalar("max", index, 0), last);
}

/// 0 <= index < extent
Value* is_within(Builder& b, Value* index, const Dim& extent) {
  Value* above = b.compare("ge", index, b.scalar(0, index->dtype()));
  Value* below = b.compare("lt", index, extent_scalar(b, extent, index->dtype()));
  return b.make("and", {above, below});
}

/// The taps of all axes together, [places..., t1 t2 ... tr]; index i64 of the row, which begins
/// with that of the image, i64 and [places...] or something that broadcasts to it.
Taps combined(Builder& b, Value* image, const std::vector<Taps>& axes, const Shape& extents) {
  Taps all = {with_axis(b, image), nullptr};
  for (size_t a = 0; a < axes.size(); ++a) {
    Value* index = b.cast(within(b, axes[a].index, extents[a]), DType::i64);
    // [places..., t, 1] with [places..., 1, u]
    const auto before = [&](Value* v) {
      Shape shape(v->shape().begin(), v->shape().end() - 1);
      shape.insert(shape.end(), {Dim(1), v->shape().back()});
      return b.reshape(v, std::move(shape));
    };
    const auto joined = [&](Value* v) {
      Shape shape(v->shape().begin(), v->shape().end() - 2);
      shape.push_back(v->shape()[shape.size()] * v->shape().back());
      return b.reshape(v, std::move(shape));
    };
    Value* row = b.mul(with_axis(b, all.index), extent_scalar(b, extents[a], DType::i64));
    all.index = joined(b.add(row, before(index)));
    all.weight =
        a == 0 ? axes[a].weight : joined(b.mul(with_axis(b, all.weight), before(axes[a].weight)));
  }
  return all;
}

/// x[N, C, spatial...] as [N spatial..., C]
Value* rows_of(Builder& b, Value* x) {
  Value* last = b.transpose(x, channels_last(x->rank()));
  const Dim rows = product(Shape(last->shape().begin(), last->shape().end() - 1));
  return b.reshape(last, {rows, last->shape().back()});
}

/// w[places..., t] x[i[places..., t], C]
Value* weighted(Builder& b, Value* rows, const Taps& taps) {
  Value* elements = b.make("gather", {rows, taps.index}, {{"axis", int64_t{0}}});
  return b.mul(elements, with_axis(b, b.cast(taps.weight, rows->dtype())));
}

/// The same, summed over t.
Value* interpolated(Builder& b, Value* rows, const Taps& taps) {
  Value* sum = weighted(b, rows, taps);
  const int64_t axis = sum->rank() - 2;
  sum = b.reduce("reduce_sum", sum, {axis});
  return b.reshape(sum, without_axes(sum->shape(), {axis}));
}

DType working_type(DType dtype) {
  const bool wide = dtype == DType::f64 || (is_int(dtype) && size_of(dtype) > 2);
  return wide ? DType::f64 : DType::f32;
}

// ---- GridSample -------------------------------------------------------------------------------

class GridSampler {
 public:
  GridSampler(Builder& b, const Node& n)
      : b_(b), n_(n), mode_(n.attrs().string("mode", "linear")),
        outside_(n.attrs().string("padding_mode", "zeros")),
        corners_(n.attrs().integer("align_corners") != 0) {
    if (mode_ == "bilinear") mode_ = "linear";  // their names before opset 20
    if (mode_ == "bicubic") mode_ = "cubic";
    if (mode_ != "linear" && mode_ != "nearest" && mode_ != "cubic")
      fail(n, "mode '" + mode_ + "' is not one of linear, nearest, cubic");
    if (outside_ != "zeros" && outside_ != "border" && outside_ != "reflection")
      fail(n, "padding_mode '" + outside_ + "' is not one of zeros, border, reflection");
  }

  Value* run() {
    Value* x = n_.operand(0);
    Value* grid = n_.operand(1);
    const int64_t axes = x->rank() - 2;
    if (axes < 1 || grid->rank() != x->rank() || !grid->shape().back().is(axes))
      fail(n_, "expected x[N,C,D1...Dr] and grid[N,O1...Or,r], got " + x->type().text() + " and " +
                   grid->type().text());
    b_.graph().require_equal(x->shape()[0], grid->shape()[0], n_.where() + ": batches must agree");
    const bool wide = x->dtype() == DType::f64 || grid->dtype() == DType::f64;
    grid = b_.cast(grid, wide ? DType::f64 : DType::f32);
    const Shape places(grid->shape().begin(), grid->shape().end() - 1);
    const Shape extents(x->shape().begin() + 2, x->shape().end());
    std::vector<Taps> taps;
    for (int64_t a = 0; a < axes; ++a) {  // the grid names the innermost axis first
      Value* g = b_.slice_axis(grid, grid->rank() - 1, Dim(axes - 1 - a), Dim(1));
      taps.push_back(around(b_.reshape(g, places), extents[static_cast<size_t>(a)]));
    }
    Shape images(places.size(), Dim(1));
    images[0] = places[0];
    const Taps all = combined(b_, iota(b_, images, 0, DType::i64), taps, extents);
    const DType dtype = x->dtype();
    Value* rows = rows_of(b_, b_.cast(x, working_type(dtype)));
    Value* y = b_.transpose(interpolated(b_, rows, all), channels_first(x->rank()));
    return b_.cast(y, dtype);
  }

 private:
  Value* number(const Dim& d) { return extent_scalar(b_, d, type_); }

  Taps around(Value* g, const Dim& extent) {
    type_ = g->dtype();
    Value* place = inside(place_of(g, extent), extent);
    const int64_t first = mode_ == "cubic" ? -1 : 0;
    const Dim count = mode_ == "cubic" ? 4 : mode_ == "linear" ? 2 : 1;
    Value* left = b_.unary("floor", place);
    Shape shape(static_cast<size_t>(place->rank()) + 1, Dim(1));
    shape.back() = count;
    Value* tap =
        b_.with_scalar("add", iota(b_, shape, place->rank(), type_), static_cast<double>(first));
    Value* index = b_.add(with_axis(b_, left), tap);
    Value* distance = b_.sub(tap, with_axis(b_, b_.sub(place, left)));
    Value* weight =
        mode_ == "cubic" ? cubic_weight(b_, distance, -0.75) : linear_weight(b_, distance);
    if (outside_ == "reflection") index = reflected(index, extent);
    if (outside_ == "zeros")
      weight = b_.select(is_within(b_, index, extent), weight, b_.scalar(0, type_));
    return {index, weight};
  }

  // From [-1, 1]: to the middles of the outermost elements, or to their outer edges.
  Value* place_of(Value* g, const Dim& extent) {
    Value* from_zero = b_.with_scalar("add", g, 1);
    if (corners_) return b_.mul(b_.with_scalar("mul", from_zero, 0.5), number(extent - Dim(1)));
    Value* doubled = b_.with_scalar("sub", b_.mul(from_zero, number(extent)), 1);
    return b_.with_scalar("mul", doubled, 0.5);
  }

  /// Places beyond the borders, moved to where they are looked up. Cubic weights belong to the
  /// place as it is: of that only the elements are looked up elsewhere.
  Value* inside(Value* place, const Dim& extent) {
    if (mode_ == "nearest") place = b_.unary("round", place);
    if (outside_ == "zeros" || mode_ == "cubic") return place;
    Value* low = b_.scalar(corners_ ? 0 : -0.5, type_);
    Value* high = corners_ ? number(extent - Dim(1)) : b_.with_scalar("sub", number(extent), 0.5);
    Value* beyond = b_.make("or", {b_.compare("lt", place, low), b_.compare("gt", place, high)});
    Value* moved = outside_ == "border" ? within(b_, place, extent) : reflected(place, extent);
    return b_.select(beyond, moved, place);
  }

  // With t = |v - low| modulo twice the range: low + min(t, 2 range - t).
  Value* reflected(Value* v, const Dim& extent) {
    const double low = corners_ ? 0 : -0.5;
    // A range of nothing has one place, to which the caller's limits lead.
    const Dim range = corners_ ? max(extent - Dim(1), Dim(1)) : extent;
    Value* period = number(Dim(2) * range);
    Value* t = b_.unary("abs", b_.with_scalar("sub", v, low));
    t = b_.sub(t, b_.mul(b_.unary("floor", b_.div(t, period)), period));
    return b_.with_scalar("add", b_.min(t, b_.sub(period, t)), low);
  }

  Builder& b_;
  const Node& n_;
  std::string mode_, outside_;
  bool corners_;
  DType type_ = DType::f32;
};

Values grid_sample(Builder& b, const Node& n) { return {GridSampler(b, n).run()}; }

// ---- RoiAlign ---------------------------------------------------------------------------------

class RoiAligner {
 public:
  RoiAligner(Builder& b, const Node& n)
      : b_(b), n_(n), dtype_(working_type(n.operand(0)->dtype())) {}

  Value* run() {
    Value* x = n_.operand(0);
    Value* rois = n_.operand(1);
    Value* images = n_.operand(2);
    if (x->rank() != 4 || rois->rank() != 2 || !rois->shape()[1].is(4) || images->rank() != 1)
      fail(n_, "expected x[N,C,H,W], rois[R,4] and batch_indices[R], got " + x->type().text() +
                   ", " + rois->type().text() + " and " + images->type().text());
    b_.graph().require_equal(rois->shape()[0], images->shape()[0],
                             n_.where() + ": rois and batch_indices must agree");
    const std::string mode = n_.attrs().string("mode", "avg");
    if (mode != "avg" && mode != "max") fail(n_, "mode '" + mode + "' is not one of avg, max");
    samples_ = n_.attrs().integer("sampling_ratio");
    if (samples_ < 1)
      fail(n_, "sampling_ratio must be positive: samples whose number depends on the sizes of "
               "regions are not supported");
    const Dim regions = rois->shape()[0];
    // Rows and columns of samples, so that their taps broadcast: [R, ph, sh, 1, 1] and [R, 1, 1,
    // pw, sw].
    const Dim ph = n_.attrs().integer("output_height", 1),
              pw = n_.attrs().integer("output_width", 1);
    if (ph.value() < 1 || pw.value() < 1)
      fail(n_, "output_height and output_width must be positive");
    const Dim s = samples_;
    const Taps rows = around(places(rois, 1, ph), {regions, ph, s, Dim(1), Dim(1)}, x->shape()[2]);
    const Taps columns =
        around(places(rois, 0, pw), {regions, Dim(1), Dim(1), pw, s}, x->shape()[3]);
    Value* image =
        b_.reshape(b_.cast(images, DType::i64), {regions, Dim(1), Dim(1), Dim(1), Dim(1)});
    const Taps all = combined(b_, image, {rows, columns}, {x->shape()[2], x->shape()[3]});
    Value* y = mode == "avg" ? mean(x, all) : largest(x, all);
    y = b_.reshape(y, {regions, ph, pw, x->shape()[1]});
    return b_.cast(b_.transpose(y, channels_first(4)), x->dtype());
  }

 private:
  // start + (p + (i + 1/2) / samples) size / bins, for bin p and sample i: [R, bins, samples]
  Value* places(Value* rois, int64_t corner, const Dim& bins) {
    const bool half_pixel =
        n_.attrs().string("coordinate_transformation_mode", "half_pixel") == "half_pixel";
    const auto edge = [&](int64_t column) {
      Value* v = b_.cast(b_.slice_axis(rois, 1, Dim(column), Dim(1)), dtype_);
      v = b_.with_scalar("mul", v, n_.attrs().number("spatial_scale", 1.0));
      if (half_pixel) v = b_.with_scalar("sub", v, 0.5);
      return b_.reshape(v, {rois->shape()[0], Dim(1), Dim(1)});
    };
    Value* start = edge(corner);
    Value* size = b_.sub(edge(corner + 2), start);
    if (!half_pixel) size = b_.with_scalar("max", size, 1.0);
    Value* bin = iota(b_, {Dim(1), bins, Dim(1)}, 1, dtype_);
    Value* sample = iota(b_, {Dim(1), Dim(1), Dim(samples_)}, 2, dtype_);
    sample = b_.with_scalar("mul", b_.with_scalar("add", sample, 0.5),
                            1.0 / static_cast<double>(samples_));
    Value* per_bin = b_.div(size, b_.scalar(static_cast<double>(bins.value()), dtype_));
    return b_.add(start, b_.mul(b_.add(bin, sample), per_bin));
  }

  /// Places up to one element outside count as the border, those beyond as zeros.
  Taps around(Value* place, Shape shape, const Dim& extent) {
    place = b_.reshape(place, std::move(shape));
    Value* counts = b_.make("and", {b_.compare("ge", place, b_.scalar(-1, dtype_)),
                                    b_.compare("le", place, extent_scalar(b_, extent, dtype_))});
    place = within(b_, place, extent);
    Value* left = b_.unary("floor", place);
    Shape taps(static_cast<size_t>(place->rank()) + 1, Dim(1));
    taps.back() = 2;
    Value* tap = iota(b_, taps, place->rank(), dtype_);
    Value* distance = b_.sub(tap, with_axis(b_, b_.sub(place, left)));
    Value* weight =
        b_.select(with_axis(b_, counts), linear_weight(b_, distance), b_.scalar(0, dtype_));
    return {b_.add(with_axis(b_, left), tap), weight};
  }

  /// [R, ph, sh, pw, sw, t] as [R, ph, pw, sh, sw, t], the samples of a bin as its taps
  Value* by_bin(Value* v) {
    v = b_.transpose(v, {0, 1, 3, 2, 4, 5});
    const Shape& s = v->shape();
    return b_.reshape(v, {s[0], s[1], s[2], s[3] * s[4] * s[5]});
  }

  Value* mean(Value* x, const Taps& all) {
    const auto samples = static_cast<double>(samples_);
    Value* weight = b_.with_scalar("mul", by_bin(all.weight), 1.0 / (samples * samples));
    return interpolated(b_, rows_of(b_, b_.cast(x, dtype_)), {by_bin(all.index), weight});
  }

  /// ONNX takes the largest of the weighted elements, not of their sums.
  Value* largest(Value* x, const Taps& all) {
    Value* elements =
        weighted(b_, rows_of(b_, b_.cast(x, dtype_)), {by_bin(all.index), by_bin(all.weight)});
    return b_.reduce("reduce_max", elements, {3});
  }

  Builder& b_;
  const Node& n_;
  DType dtype_;
  int64_t samples_ = 0;
};

Values roi_align(Builder& b, const Node& n) { return {RoiAligner(b, n).run()}; }

constexpr AttrDef kGridSample[] = {{"align_corners", AttrKind::integer},
                                   {"mode", AttrKind::string},
                                   {"padding_mode", AttrKind::string}};
constexpr AttrDef kRoiAlign[] = {{"coordinate_transformation_mode", AttrKind::string},
                                 {"mode", AttrKind::string},
                                 {"output_height", AttrKind::integer},
                                 {"output_width", AttrKind::integer},
                                 {"sampling_ratio", AttrKind::integer},
                                 {"spatial_scale", AttrKind::number}};

constexpr OpDef kOps[] = {
    {.name = "GridSample",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kGridSample,
     .traits = kOnnx,
     .decompose = grid_sample,
     .doc = "values at places that a grid names, between -1 and 1 along each axis"},
    {.name = "RoiAlign",
     .min_operands = 3,
     .max_operands = 3,
     .attrs = kRoiAlign,
     .traits = kOnnx,
     .decompose = roi_align,
     .doc = "regions of images, as so many bins each"},
};

}  // namespace

std::span<const OpDef> onnx_sampling() { return kOps; }

}  // namespace tintype::ops
