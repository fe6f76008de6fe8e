// Operators of ONNX that reshape, cut, join and index tensors.
#include "ir/ops/decompose.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace tintype::ops {

DType dtype_of_onnx(const Node& n, int64_t code) {
  switch (code) {  // values of TensorProto.DataType
    case 1: return DType::f32;
    case 2: return DType::u8;
    case 3: return DType::i8;
    case 4: return DType::u16;
    case 5: return DType::i16;
    case 6: return DType::i32;
    case 7: return DType::i64;
    case 9: return DType::boolean;
    case 10: return DType::f16;
    case 11: return DType::f64;
    case 12: return DType::u32;
    case 13: return DType::u64;
    case 16: return DType::bf16;
    default: fail(n, "element type number " + std::to_string(code) + " is not supported");
  }
}

namespace {

Values cast(Builder& b, const Node& n) {
  const DType to = dtype_of_onnx(n, n.attrs().integer("to"));
  return {to == n.operand(0)->dtype() ? b.unary("identity", n.operand(0))
                                      : b.cast(n.operand(0), to)};
}

Values cast_like(Builder& b, const Node& n) {
  const DType to = n.operand(1)->dtype();
  return {to == n.operand(0)->dtype() ? b.unary("identity", n.operand(0))
                                      : b.cast(n.operand(0), to)};
}

Values bit_cast(Builder& b, const Node& n) {
  return {b.make("bitcast", {n.operand(0)}, {{"to", dtype_of_onnx(n, n.attrs().integer("to"))}})};
}

Values reshape(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const bool allow_zero = n.attrs().integer("allowzero") != 0;
  Shape shape = symbolic_integers(n, 1, "the target shape");
  int wild = -1;
  Dim known = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].is(0) && !allow_zero) {
      if (i >= x->shape().size())
        fail(n, "entry " + std::to_string(i) + " of the shape copies an axis that " +
                    x->type().text() + " has not");
      shape[i] = x->shape()[i];
    }
    if (shape[i].is_static() && shape[i].value() < -1)
      fail(n, "the target shape " + text_of(shape) + " has the entry " + shape[i].text());
    if (shape[i].is(-1)) {
      if (wild >= 0) fail(n, "the target shape " + text_of(shape) + " has two entries -1");
      wild = static_cast<int>(i);
    } else {
      known = known * shape[i];
    }
  }
  const Dim total = product(x->shape());
  if (wild >= 0) {
    if (known.is(0))
      fail(n, "entry -1 of the target shape " + text_of(shape) + " is not determined");
    shape[static_cast<size_t>(wild)] = floor_div(total, known);
  }
  return {b.make("reshape", {x}, {{"shape", shape}})};
}

Values flatten(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  int64_t axis = n.attrs().integer("axis", 1);
  if (axis < -x->rank() || axis > x->rank())
    fail(n, "axis " + std::to_string(axis) + " is outside " + x->type().text());
  if (axis < 0) axis += x->rank();
  const Shape outer(x->shape().begin(), x->shape().begin() + axis);
  const Shape inner(x->shape().begin() + axis, x->shape().end());
  return {b.make("reshape", {x}, {{"shape", Shape{product(outer), product(inner)}}})};
}

Values transpose(Builder& b, const Node& n) {
  std::vector<int64_t> perm(static_cast<size_t>(n.operand(0)->rank()));
  std::iota(perm.rbegin(), perm.rend(), int64_t{0});
  return {b.make("transpose", {n.operand(0)}, {{"perm", n.attrs().integers("perm", perm)}})};
}

Values squeeze(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  std::vector<int64_t> axes;
  if (n.operand(1) != nullptr) {
    axes = normalized_axes(n, static_integers(n, 1, "axes"), x->rank());
  } else {
    for (int i = 0; i < x->rank(); ++i)
      if (x->shape()[static_cast<size_t>(i)].is(1)) axes.push_back(i);
  }
  for (int64_t a : axes) {
    const Dim& d = x->shape()[static_cast<size_t>(a)];
    if (d.is_static() && !d.is(1))
      fail(n, "axis " + std::to_string(a) + " of " + x->type().text() + " is not 1");
  }
  return {b.make("reshape", {x}, {{"shape", without_axes(x->shape(), axes)}})};
}

Values unsqueeze(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  auto axes = static_integers(n, 1, "axes");
  const int rank = x->rank() + static_cast<int>(axes.size());
  axes = normalized_axes(n, axes, rank);
  Shape shape;
  size_t next = 0;
  for (int64_t i = 0; i < rank; ++i) {
    const bool added = std::find(axes.begin(), axes.end(), i) != axes.end();
    shape.push_back(added ? Dim(1) : x->shape()[next++]);
  }
  return {b.make("reshape", {x}, {{"shape", shape}})};
}

Values shape_op(Builder& b, const Node& n) {
  const Shape& s = n.operand(0)->shape();
  const auto rank = static_cast<int64_t>(s.size());
  auto bound = [rank](int64_t i) { return std::clamp(i < 0 ? i + rank : i, int64_t{0}, rank); };
  const int64_t start = bound(n.attrs().integer("start", 0));
  const int64_t end = std::max(start, bound(n.attrs().integer("end", rank)));
  return {b.dims(Shape(s.begin() + start, s.begin() + end))};
}

Values size_op(Builder& b, const Node& n) {
  return {b.reshape(b.dims({product(n.operand(0)->shape())}), {})};
}

/// Start and size of a numpy-style slice of one axis.
struct SliceRange {
  Dim start, size;
};

/// Bounds of a slice of one axis, as positions on it.
class SliceBounds {
 public:
  SliceBounds(const Node& n, const Dim& extent, int64_t step)
      : n_(n), extent_(extent), step_(step), before_(step < 0 ? -1 : 0) {}

  SliceRange range(Dim start, Dim end) const {
    constexpr int64_t kFar = std::numeric_limits<int32_t>::max();
    // Exporters write "to the end" as INT_MAX or INT64_MAX, and "past the start" as their
    // negatives.
    const bool end_open = end.is_static() && (end.value() >= kFar || end.value() <= -kFar);
    if (step_ > 0) {
      start = min(position(start, "start"), extent_);
      end = end_open && end.value() > 0 ? extent_
                                        : min(end_open ? Dim(0) : position(end, "end"), extent_);
      return {start, max(ceil_div(end - start, Dim(step_)), Dim(0))};
    }
    if (start.is_static() && start.value() >= kFar) start = extent_ - Dim(1);
    else start = min(position(start, "start"), extent_ - Dim(1));
    end = end_open && end.value() < 0 ? Dim(-1) : min(position(end, "end"), extent_ - Dim(1));
    return {start, max(ceil_div(start - end, Dim(0) - Dim(step_)), Dim(0))};
  }

 private:
  /// A bound below zero counts from the end.
  Dim position(const Dim& bound, const char* what) const {
    if (provably_le(Dim(0), bound)) return bound;
    const Dim from_end = max(bound + extent_, before_);
    const Dim back = bound.is_static() ? Dim(1) : Dim(0) - bound;
    if (provably_le(Dim(1), back)) return from_end;
    if (provably_le(Dim(0), back)) return from_end * min(back, Dim(1));  // zero is the start
    // T - 5, say. What it cuts off has a simple extent where it counts from the start, as those who
    // write it mean, so that a shorter axis is a mistake. T - 1 is no mistake with T = 0.
    if (!(extent_ - bound).is(1))
      n_.graph().require_equal(min(bound, Dim(0)), Dim(0),
                               n_.where() + ": the " + what + " of a slice must not be negative");
    return bound;
  }

  const Node& n_;
  Dim extent_;
  int64_t step_;
  Dim before_;
};

Values slice(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const auto starts = symbolic_integers(n, 1, "starts");
  const auto ends = symbolic_integers(n, 2, "ends");
  std::vector<int64_t> axes(starts.size());
  std::iota(axes.begin(), axes.end(), int64_t{0});
  if (n.operand(3) != nullptr) axes = static_integers(n, 3, "axes");
  std::vector<int64_t> steps(starts.size(), 1);
  if (n.operand(4) != nullptr) steps = static_integers(n, 4, "steps");
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    fail(n, "starts, ends, axes and steps differ in length");
  Shape from(x->shape().size(), Dim(0));
  Shape sizes = x->shape();
  std::vector<int64_t> by(x->shape().size(), 1);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto a = static_cast<size_t>(normalize_axis(axes[i], x->rank(), n.where()));
    if (steps[i] == 0) fail(n, "step 0 on axis " + std::to_string(a));
    const SliceRange r = SliceBounds(n, x->shape()[a], steps[i]).range(starts[i], ends[i]);
    from[a] = r.size.is(0) ? Dim(0) : r.start;
    sizes[a] = r.size;
    by[a] = steps[i];
  }
  return {b.make("slice", {x}, {{"starts", from}, {"sizes", sizes}, {"steps", by}})};
}

Values concat(Builder& b, const Node& n) {
  const int axis = normalize_axis(n.attrs().integer("axis"), n.operand(0)->rank(), n.where());
  if (n.operand_count() == 1) return {b.unary("identity", n.operand(0))};
  return {b.concat(n.operands(), axis)};
}

Values split(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const int axis = normalize_axis(n.attrs().integer("axis", 0), x->rank(), n.where());
  const Dim extent = x->shape()[static_cast<size_t>(axis)];
  const auto parts = static_cast<int64_t>(n.result_count());
  std::vector<Dim> sizes;
  if (n.operand(1) != nullptr) {
    sizes = symbolic_integers(n, 1, "split");
    if (sizes.size() != static_cast<size_t>(parts))
      fail(n, "split has " + std::to_string(sizes.size()) + " entries for " +
                  std::to_string(parts) + " outputs");
  } else {
    const Dim chunk = ceil_div(extent, Dim(parts));
    for (int64_t i = 0; i + 1 < parts; ++i) sizes.push_back(chunk);
    sizes.push_back(extent - chunk * Dim(parts - 1));
  }
  Values results;
  Dim start = 0;
  for (const Dim& size : sizes) {
    results.push_back(b.slice_axis(x, axis, start, size));
    start = start + size;
  }
  b.graph().require_equal(start, extent, n.where() + ": split sizes must sum to the axis");
  return results;
}

Values pad(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const auto pads = symbolic_integers(n, 1, "pads");
  std::vector<int64_t> axes(x->shape().size());
  std::iota(axes.begin(), axes.end(), int64_t{0});
  if (n.operand(3) != nullptr) axes = static_integers(n, 3, "axes");
  if (pads.size() != 2 * axes.size())
    fail(n, "pads has " + std::to_string(pads.size()) + " entries for " +
                std::to_string(axes.size()) + " axes");
  Shape before(x->shape().size(), Dim(0));
  Shape after = before;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto a = static_cast<size_t>(normalize_axis(axes[i], x->rank(), n.where()));
    before[a] = pads[i];
    after[a] = pads[i + axes.size()];
  }
  Value* value = n.operand(2);
  if (value != nullptr && value->rank() != 0) value = b.reshape(value, {});
  Value* y = b.pad(x, before, after, value, n.attrs().string("mode", "constant"));
  return {y == x ? b.unary("identity", x) : y};
}

Values expand(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const Shape wanted = symbolic_integers(n, 1, "the target shape");
  const Shape shape = broadcast_shapes(b.graph(), x->shape(), wanted, n.where());
  return {b.make("broadcast", {x}, {{"shape", shape}})};
}

// [d0, d1] tiled by [r0, r1] = reshape(broadcast(reshape(x, [1,d0,1,d1]), [r0,d0,r1,d1]))
Values tile(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const auto repeats = symbolic_integers(n, 1, "repeats");
  if (repeats.size() != x->shape().size())
    fail(n, "repeats needs one entry per axis of " + x->type().text());
  Shape apart, spread, joined;
  for (size_t i = 0; i < repeats.size(); ++i) {
    apart.insert(apart.end(), {Dim(1), x->shape()[i]});
    spread.insert(spread.end(), {repeats[i], x->shape()[i]});
    joined.push_back(repeats[i] * x->shape()[i]);
  }
  Value* y = b.broadcast(b.reshape(x, apart), spread);
  return {b.make("reshape", {y}, {{"shape", joined}})};
}

/// Indices that are known are in range.
template <typename T>
void check_indices(const Node& n, const Tensor& indices, int64_t extent) {
  for (const T i : indices.values<T>())
    if (i < -extent || i >= extent)
      fail(n, "index " + std::to_string(i) + " is out of range for an axis of extent " +
                  std::to_string(extent));
}

Values gather(Builder& b, const Node& n) {
  const int axis = normalize_axis(n.attrs().integer("axis", 0), n.operand(0)->rank(), n.where());
  const Dim& extent = n.operand(0)->shape()[static_cast<size_t>(axis)];
  if (const Tensor* indices = n.operand(1)->constant(); indices != nullptr && extent.is_static()) {
    if (indices->dtype() == DType::i64) check_indices<int64_t>(n, *indices, extent.value());
    if (indices->dtype() == DType::i32) check_indices<int32_t>(n, *indices, extent.value());
  }
  return {b.make("gather", {n.operand(0), n.operand(1)}, {{"axis", static_cast<int64_t>(axis)}})};
}

Values gather_elements(Builder& b, const Node& n) {
  return {b.make("gather_elements", {n.operand(0), n.operand(1)},
                 {{"axis", static_cast<int64_t>(normalize_axis(
                               n.attrs().integer("axis", 0), n.operand(0)->rank(), n.where()))}})};
}

Values gather_nd(Builder& b, const Node& n) {
  return {b.make("gather_nd", {n.operand(0), n.operand(1)},
                 {{"batch_dims", n.attrs().integer("batch_dims", 0)}})};
}

Values scatter_elements(Builder& b, const Node& n) {
  return {b.make("scatter_elements", n.operands(),
                 {{"axis", static_cast<int64_t>(normalize_axis(n.attrs().integer("axis", 0),
                                                               n.operand(0)->rank(), n.where()))},
                  {"reduction", n.attrs().string("reduction", "none")}})};
}

Values scatter_nd(Builder& b, const Node& n) {
  return {
      b.make("scatter_nd", n.operands(), {{"reduction", n.attrs().string("reduction", "none")}})};
}

Values constant_of_shape(Builder& b, const Node& n) {
  const Shape shape = symbolic_integers(n, 0, "the shape");
  const Tensor value = n.attrs().get("value", Tensor::scalar<float>(0.0f));
  if (value.size() != 1) fail(n, "value must have one element, got " + value.type_string());
  return {b.make("broadcast", {b.constant(value.reshaped({}))}, {{"shape", shape}})};
}

Values range(Builder& b, const Node& n) {
  const DType t = n.operand(0)->dtype();
  Dim count;
  if (is_int(t)) {
    const Dim start = symbolic_integer(n, 0, "start");
    const Dim limit = symbolic_integer(n, 1, "limit");
    const int64_t delta = static_integer(n, 2, "delta");
    if (delta == 0) fail(n, "delta is 0");
    count = delta > 0 ? max(ceil_div(limit - start, Dim(delta)), Dim(0))
                      : max(ceil_div(start - limit, Dim(0) - Dim(delta)), Dim(0));
  } else {
    const double start = static_number(n, 0, "start");
    const double limit = static_number(n, 1, "limit");
    const double delta = static_number(n, 2, "delta");
    if (delta == 0) fail(n, "delta is 0");
    const double steps = std::max(0.0, (limit - start) / delta);
    if (!(steps < 1e12)) fail(n, "the range has too many elements");
    count = static_cast<int64_t>(steps) +
            (steps > static_cast<double>(static_cast<int64_t>(steps)) ? 1 : 0);
  }
  Value* index = b.make("iota", {}, {{"shape", Shape{count}}, {"axis", int64_t{0}}, {"dtype", t}});
  return {b.add(b.mul(index, n.operand(2)), n.operand(0))};
}

/// r x r blocks of channels to space; `column_row` is the DCR order (Depth to space, ONNX-13).
Values depth_to_space(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const int64_t r = n.attrs().integer("blocksize");
  if (x->rank() != 4 || r < 1)
    fail(n, "expected N,C,H,W and blocksize > 0, got " + x->type().text());
  const Shape& s = x->shape();
  const Dim c = floor_div(s[1], Dim(r) * Dim(r));
  const bool dcr = n.attrs().string("mode", "DCR") == "DCR";
  Value* y = dcr ? b.reshape(x, {s[0], Dim(r), Dim(r), c, s[2], s[3]})
                 : b.reshape(x, {s[0], c, Dim(r), Dim(r), s[2], s[3]});
  y = dcr ? b.transpose(y, {0, 3, 4, 1, 5, 2}) : b.transpose(y, {0, 1, 4, 2, 5, 3});
  return {b.make("reshape", {y}, {{"shape", Shape{s[0], c, s[2] * Dim(r), s[3] * Dim(r)}}})};
}

Values space_to_depth(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const int64_t r = n.attrs().integer("blocksize");
  if (x->rank() != 4 || r < 1)
    fail(n, "expected N,C,H,W and blocksize > 0, got " + x->type().text());
  const Shape& s = x->shape();
  const Dim h = floor_div(s[2], Dim(r));
  const Dim w = floor_div(s[3], Dim(r));
  Value* y = b.reshape(x, {s[0], s[1], h, Dim(r), w, Dim(r)});
  const bool dcr = n.attrs().string("mode", "DCR") == "DCR";
  y = b.transpose(y, dcr ? std::vector<int64_t>{0, 3, 5, 1, 2, 4}
                         : std::vector<int64_t>{0, 1, 3, 5, 2, 4});
  return {b.make("reshape", {y}, {{"shape", Shape{s[0], s[1] * Dim(r) * Dim(r), h, w}}})};
}

Values eye_like(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  if (x->rank() != 2) fail(n, "expected a matrix, got " + x->type().text());
  const DType t =
      n.attrs().has("dtype") ? dtype_of_onnx(n, n.attrs().integer("dtype")) : x->dtype();
  Value* row = b.make(
      "iota", {},
      {{"shape", Shape{x->shape()[0], Dim(1)}}, {"axis", int64_t{0}}, {"dtype", DType::i64}});
  Value* column = b.make(
      "iota", {},
      {{"shape", Shape{Dim(1), x->shape()[1]}}, {"axis", int64_t{1}}, {"dtype", DType::i64}});
  Value* diagonal = b.with_scalar("add", row, static_cast<double>(n.attrs().integer("k")));
  return {b.cast(b.compare("eq", diagonal, column), t)};
}

// Keeps column - row >= k (lower: <= k).
Values trilu(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  if (x->rank() < 2) fail(n, "expected matrices, got " + x->type().text());
  const bool upper = n.attrs().integer("upper", 1) != 0;
  const Dim rows = x->shape()[x->shape().size() - 2];
  const Dim columns = x->shape().back();
  Value* row = b.make(
      "iota", {}, {{"shape", Shape{rows, Dim(1)}}, {"axis", int64_t{0}}, {"dtype", DType::i64}});
  Value* column = b.make(
      "iota", {}, {{"shape", Shape{Dim(1), columns}}, {"axis", int64_t{1}}, {"dtype", DType::i64}});
  Value* k = n.operand(1) != nullptr ? b.reshape(n.operand(1), {}) : b.scalar(0, DType::i64);
  Value* keep = b.compare(upper ? "ge" : "le", b.sub(column, row), k);
  return {b.select(keep, x, b.scalar(0, x->dtype()))};
}

constexpr AttrDef kTo[] = {{"to", AttrKind::integer, true},
                           {"saturate", AttrKind::integer},
                           {"round_mode", AttrKind::string}};
constexpr AttrDef kSaturate[] = {{"saturate", AttrKind::integer}, {"round_mode", AttrKind::string}};
constexpr AttrDef kAllowZero[] = {{"allowzero", AttrKind::integer}};
constexpr AttrDef kAxis[] = {{"axis", AttrKind::integer}};
constexpr AttrDef kPerm[] = {{"perm", AttrKind::integers}};
constexpr AttrDef kShape[] = {{"start", AttrKind::integer}, {"end", AttrKind::integer}};
constexpr AttrDef kSplit[] = {{"axis", AttrKind::integer}, {"num_outputs", AttrKind::integer}};
constexpr AttrDef kMode[] = {{"mode", AttrKind::string}};
constexpr AttrDef kBatchDims[] = {{"batch_dims", AttrKind::integer}};
constexpr AttrDef kScatter[] = {{"axis", AttrKind::integer}, {"reduction", AttrKind::string}};
constexpr AttrDef kReduction[] = {{"reduction", AttrKind::string}};
constexpr AttrDef kValue[] = {{"value", AttrKind::tensor}};
constexpr AttrDef kBlock[] = {{"blocksize", AttrKind::integer, true}, {"mode", AttrKind::string}};
constexpr AttrDef kEye[] = {{"dtype", AttrKind::integer}, {"k", AttrKind::integer}};
constexpr AttrDef kUpper[] = {{"upper", AttrKind::integer}};
constexpr AttrDef kStash[] = {{"stash_type", AttrKind::integer}};

constexpr OpDef kOps[] = {
    onnx_op("Cast", 1, 1, cast, kTo),
    onnx_op("CastLike", 2, 2, cast_like, kSaturate),
    onnx_op("BitCast", 1, 1, bit_cast, kTo),
    onnx_op("Reshape", 2, 2, reshape, kAllowZero),
    onnx_op("Flatten", 1, 1, flatten, kAxis),
    onnx_op("Transpose", 1, 1, transpose, kPerm),
    onnx_op("Squeeze", 1, 2, squeeze),
    onnx_op("Unsqueeze", 2, 2, unsqueeze),
    onnx_op("Shape", 1, 1, shape_op, kShape),
    onnx_op("Size", 1, 1, size_op),
    onnx_op("Slice", 3, 5, slice),
    onnx_op("Concat", 1, -1, concat, kAxis),
    onnx_op("Split", 1, 2, split, kSplit, -1),
    onnx_op("Pad", 2, 4, pad, kMode),
    onnx_op("Expand", 2, 2, expand),
    onnx_op("Tile", 2, 2, tile),
    onnx_op("Gather", 2, 2, gather, kAxis),
    onnx_op("GatherElements", 2, 2, gather_elements, kAxis),
    onnx_op("GatherND", 2, 2, gather_nd, kBatchDims),
    onnx_op("ScatterElements", 3, 3, scatter_elements, kScatter),
    onnx_op("ScatterND", 3, 3, scatter_nd, kReduction),
    onnx_op("ConstantOfShape", 1, 1, constant_of_shape, kValue),
    onnx_op("Range", 3, 3, range, kStash),
    onnx_op("DepthToSpace", 1, 1, depth_to_space, kBlock),
    onnx_op("SpaceToDepth", 1, 1, space_to_depth, kBlock),
    onnx_op("EyeLike", 1, 1, eye_like, kEye),
    onnx_op("Trilu", 1, 2, trilu, kUpper),
};

}  // namespace

std::span<const OpDef> onnx_shape() { return kOps; }

}  // namespace tintype::ops
