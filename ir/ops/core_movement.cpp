// Records of the core ops that only move elements.
#include "ir/extent_arithmetic.h"
#include "ir/ops/gradients.h"

#include <algorithm>
#include <limits>

namespace tintype::ops {

namespace {

using Content = std::optional<std::vector<Dim>>;

void infer_reshape(InferContext& c) {
  const Shape shape = c.attrs().dims("shape");
  c.unify(product(c.type(0).shape), product(shape), "number of elements");
  c.results[0] = {c.type(0).dtype, shape};
}

void infer_transpose(InferContext& c) {
  const auto perm = c.attrs().integers("perm");
  const TensorType& x = c.type(0);
  std::vector<bool> seen(perm.size());
  if (static_cast<int>(perm.size()) != x.rank())
    c.fail("perm has " + std::to_string(perm.size()) + " entries for " + x.text());
  Shape shape;
  for (int64_t p : perm) {
    if (p < 0 || p >= x.rank() || seen[static_cast<size_t>(p)]) c.fail("perm is not a permutation");
    seen[static_cast<size_t>(p)] = true;
    shape.push_back(x.shape[static_cast<size_t>(p)]);
  }
  c.results[0] = {x.dtype, std::move(shape)};
}

void infer_broadcast(InferContext& c) {
  const Shape target = c.attrs().dims("shape");
  const Shape shape = broadcast_shapes(c.node.graph(), c.type(0).shape, target, c.node.where());
  if (shape != target) c.fail("cannot broadcast " + c.type(0).text() + " to " + text_of(target));
  c.results[0] = {c.type(0).dtype, target};
}

void infer_slice(InferContext& c) {
  const TensorType& x = c.type(0);
  const Shape starts = c.attrs().dims("starts");
  const Shape sizes = c.attrs().dims("sizes");
  const auto steps = c.attrs().integers("steps");
  const size_t rank = x.shape.size();
  if (starts.size() != rank || sizes.size() != rank || steps.size() != rank)
    c.fail("starts, sizes and steps need one entry per axis of " + x.text());
  for (size_t i = 0; i < rank; ++i) {
    if (steps[i] == 0) c.fail("step 0 on axis " + std::to_string(i));
    if (!sizes[i].is_static() || !starts[i].is_static() || !x.shape[i].is_static()) continue;
    const int64_t last = (starts[i] + (sizes[i] - Dim(1)) * Dim(steps[i])).value();
    if (sizes[i].value() > 0 && (starts[i].value() < 0 || starts[i].value() >= x.shape[i].value() ||
                                 last < 0 || last >= x.shape[i].value()))
      c.fail("slice leaves axis " + std::to_string(i) + " of " + x.text());
  }
  c.results[0] = {x.dtype, sizes};
}

void infer_pad(InferContext& c) {
  const TensorType& x = c.type(0);
  const Shape before = c.attrs().dims("before");
  const Shape after = c.attrs().dims("after");
  if (before.size() != x.shape.size() || after.size() != x.shape.size())
    c.fail("pad amounts need one entry per axis of " + x.text());
  Shape shape;
  for (size_t i = 0; i < x.shape.size(); ++i) {
    for (const Dim& d : {before[i], after[i]})
      if (d.is_static() && d.value() == std::numeric_limits<int64_t>::min())
        c.fail("cannot crop " + d.text() + " elements");
    shape.push_back(x.shape[i] + before[i] + after[i]);
    if (shape.back().is_static() && shape.back().value() < 0)
      c.fail("padding crops more than axis " + std::to_string(i) + " of " + x.text() + " has");
  }
  c.results[0] = {x.dtype, std::move(shape)};
}

void infer_dilate(InferContext& c) {
  const TensorType& x = c.type(0);
  const auto factors = c.attrs().integers("factors");
  if (factors.size() != x.shape.size()) c.fail("factors need one entry per axis of " + x.text());
  Shape shape;
  for (size_t i = 0; i < x.shape.size(); ++i) {
    if (factors[i] < 1) c.fail("factors must be positive");
    shape.push_back(x.shape[i] * Dim(factors[i]) - Dim(factors[i] - 1));
  }
  c.results[0] = {x.dtype, std::move(shape)};
}

void infer_concat(InferContext& c) {
  const TensorType& first = c.type(0);
  const auto axis =
      static_cast<size_t>(normalize_axis(c.attrs().integer("axis"), first.rank(), c.node.where()));
  Shape shape = first.shape;
  for (int i = 1; i < c.node.operand_count(); ++i) {
    const TensorType& t = c.type(i);
    if (t.dtype != first.dtype || t.rank() != first.rank())
      c.fail("cannot concatenate " + first.text() + " and " + t.text());
    for (size_t d = 0; d < shape.size(); ++d)
      shape[d] = d == axis ? shape[d] + t.shape[d]
                           : c.unify(shape[d], t.shape[d], "axis " + std::to_string(d));
  }
  c.results[0] = {first.dtype, std::move(shape)};
}

void infer_reverse(InferContext& c) {
  for (int64_t a : c.attrs().integers("axes"))
    if (a < 0 || a >= c.type(0).rank())
      c.fail("axis " + std::to_string(a) + " is not one of " + c.type(0).text());
  c.results[0] = c.type(0);
}

void infer_iota(InferContext& c) {
  c.results[0] = {c.attrs().get("dtype", DType::i64), c.attrs().dims("shape")};
  const int64_t axis = c.attrs().integer("axis");
  if (axis < 0 || axis >= std::max(1, c.results[0].rank()))
    c.fail("axis " + std::to_string(axis) + " is not one of " + c.results[0].text());
}

void infer_dims(InferContext& c) {
  c.results[0] = {DType::i64, {Dim(static_cast<int64_t>(c.attrs().dims("extents").size()))}};
}

void infer_constant(InferContext& c) {
  const Attr* a = c.attrs().find("value");
  if (a == nullptr || !std::holds_alternative<Tensor>(*a)) c.fail("constant without a tensor");
  const auto& t = std::get<Tensor>(*a);
  Shape shape(t.dims().begin(), t.dims().end());
  c.results[0] = {t.dtype(), std::move(shape)};
}

void infer_gather(InferContext& c) {
  const TensorType& x = c.type(0);
  const TensorType& indices = c.type(1);
  const int axis = normalize_axis(c.attrs().integer("axis"), x.rank(), c.node.where());
  Shape shape(x.shape.begin(), x.shape.begin() + axis);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), x.shape.begin() + axis + 1, x.shape.end());
  c.results[0] = {x.dtype, std::move(shape)};
}

void infer_gather_elements(InferContext& c) { c.results[0] = {c.type(0).dtype, c.type(1).shape}; }

void infer_gather_nd(InferContext& c) {
  const TensorType& x = c.type(0);
  const TensorType& indices = c.type(1);
  const int64_t batch = c.attrs().integer("batch_dims");
  if (indices.rank() < 1 || !indices.shape.back().is_static())
    c.fail("the last extent of the indices must be static, got " + indices.text());
  const int64_t depth = indices.shape.back().value();
  if (batch < 0 || batch >= indices.rank() || depth < 0 || depth > x.rank() - batch)
    c.fail("indices " + indices.text() + " are too deep for " + x.text());
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  shape.insert(shape.end(), x.shape.begin() + batch + depth, x.shape.end());
  c.results[0] = {x.dtype, std::move(shape)};
}

void infer_like_first(InferContext& c) { c.results[0] = c.type(0); }

Content content_constant(const Node& n) {
  const auto& t = std::get<Tensor>(*n.attrs().find("value"));
  if (t.size() > static_cast<int64_t>(kMaxContent)) return std::nullopt;
  std::vector<Dim> out;
  if (t.dtype() == DType::i64) {
    for (int64_t v : t.values<int64_t>()) out.emplace_back(v);
  } else if (t.dtype() == DType::i32) {
    for (int32_t v : t.values<int32_t>()) out.emplace_back(static_cast<int64_t>(v));
  } else if (t.dtype() == DType::boolean) {
    for (uint8_t v : t.values<uint8_t>()) out.emplace_back(static_cast<int64_t>(v));
  } else {
    return std::nullopt;
  }
  return out;
}

Content content_dims(const Node& n) { return n.attrs().dims("extents"); }

Content content_reshape(const Node& n) { return n.operand(0)->content(); }

Content content_transpose(const Node& n) {
  const auto& x = n.operand(0)->content();
  const auto from = strides_of(n.operand(0)->shape());
  if (!x || !from) return std::nullopt;
  std::vector<int64_t> strides;
  for (int64_t p : n.attrs().integers("perm")) strides.push_back((*from)[static_cast<size_t>(p)]);
  return strided_content(*x, n.result()->shape(), 0, strides);
}

Content content_broadcast(const Node& n) {
  return broadcast_content(*n.operand(0), n.result()->shape());
}

Content content_slice(const Node& n) {
  const auto& x = n.operand(0)->content();
  auto strides = strides_of(n.operand(0)->shape());
  if (!x || !strides) return std::nullopt;
  const Shape starts = n.attrs().dims("starts");
  const Shape& sizes = n.result()->shape();
  const auto steps = n.attrs().integers("steps");
  int64_t first = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    if (!starts[i].is_static() || !sizes[i].is_static()) return std::nullopt;
    if (sizes[i].is(0)) return std::vector<Dim>();
    first += starts[i].value() * (*strides)[i];
    (*strides)[i] *= sizes[i].is(1) ? 0 : steps[i];  // one element is no reason to stay in range
  }
  return strided_content(*x, sizes, first, *strides);
}

Content content_concat(const Node& n) {
  const Shape& shape = n.result()->shape();
  const auto axis =
      static_cast<size_t>(normalize_axis(n.attrs().integer("axis"), n.result()->rank(), n.where()));
  const Dim outer = product(Shape(shape.begin(), shape.begin() + static_cast<int64_t>(axis)));
  if (!outer.is_static()) return std::nullopt;
  std::vector<Dim> out;
  for (int64_t i = 0; i < outer.value(); ++i)
    for (Value* v : n.operands()) {
      if (!v->content()) return std::nullopt;
      const auto length = static_cast<int64_t>(v->content()->size()) / outer.value();
      const auto from = v->content()->begin() + i * length;
      out.insert(out.end(), from, from + length);
      if (out.size() > kMaxContent) return std::nullopt;
    }
  return out;
}

Content content_gather(const Node& n) {
  const auto& x = n.operand(0)->content();
  const auto& indices = n.operand(1)->content();
  if (!x || !indices || n.operand(0)->rank() != 1) return std::nullopt;
  std::vector<Dim> out;
  for (const Dim& i : *indices) {
    if (!i.is_static()) return std::nullopt;
    const int64_t at = i.value() < 0 ? i.value() + static_cast<int64_t>(x->size()) : i.value();
    if (at < 0 || at >= static_cast<int64_t>(x->size())) return std::nullopt;
    out.push_back((*x)[static_cast<size_t>(at)]);
  }
  return out;
}

Content content_iota(const Node& n) {
  const Shape& shape = n.result()->shape();
  const Dim count = product(shape);
  const auto strides = strides_of(shape);
  if (!strides || !count.is_static() || count.value() > static_cast<int64_t>(kMaxContent))
    return std::nullopt;
  const DType t = n.result()->dtype();
  if (t != DType::i64 && t != DType::i32) return std::nullopt;
  std::vector<Dim> out;
  const auto axis = static_cast<size_t>(n.attrs().integer("axis"));
  for (int64_t i = 0; i < count.value(); ++i)
    out.emplace_back(shape.empty() ? 0 : i / (*strides)[axis] % shape[axis].value());
  return out;
}

void infer_scatter_add(InferContext& c) {
  const TensorType& indices = c.type(0);
  const TensorType& updates = c.type(1);
  const Shape rows = c.attrs().dims("rows");
  if (indices.rank() != 1 || updates.rank() != 3 || rows.size() != 1)
    c.fail("expected indices[n], updates[outer,n,inner] and one number of rows, got " +
           indices.text() + " and " + updates.text());
  if (indices.dtype != DType::i64 && indices.dtype != DType::i32)
    c.fail("indices must be i32 or i64, got " + indices.text());
  c.unify(indices.shape[0], updates.shape[1], "number of indices");
  c.results[0] = {updates.dtype, {updates.shape[0], rows[0], updates.shape[2]}};
}

void infer_bounded(InferContext& c) {
  const TensorType& x = c.type(0);
  if (x.dtype != DType::i32 && x.dtype != DType::i64)
    c.fail("expected i32 or i64, got " + x.text());
  for (const char* limit : {"low", "high"})
    if (c.attrs().dims(limit).size() != 1)
      c.fail("attribute '" + std::string(limit) + "' needs one extent");
  c.results[0] = x;
}

constexpr AttrDef kShape[] = {{"shape", AttrKind::dims, true}};
constexpr AttrDef kPerm[] = {{"perm", AttrKind::integers, true}};
constexpr AttrDef kSlice[] = {{"starts", AttrKind::dims, true},
                              {"sizes", AttrKind::dims, true},
                              {"steps", AttrKind::integers, true}};
constexpr AttrDef kPad[] = {
    {"before", AttrKind::dims, true}, {"after", AttrKind::dims, true}, {"mode", AttrKind::string}};
constexpr AttrDef kFactors[] = {{"factors", AttrKind::integers, true}};
constexpr AttrDef kAxis[] = {{"axis", AttrKind::integer, true}};
constexpr AttrDef kIota[] = {
    {"shape", AttrKind::dims, true}, {"axis", AttrKind::integer}, {"dtype", AttrKind::dtype}};
constexpr AttrDef kRows[] = {{"rows", AttrKind::dims, true}};
constexpr AttrDef kExtents[] = {{"extents", AttrKind::dims, true}};
constexpr AttrDef kValue[] = {{"value", AttrKind::tensor, true},
                              {"source", AttrKind::string}};  // ir/constant_source.h
constexpr AttrDef kBatchDims[] = {{"batch_dims", AttrKind::integer}};
constexpr AttrDef kScatter[] = {{"axis", AttrKind::integer}, {"reduction", AttrKind::string}};
constexpr AttrDef kBounded[] = {{"high", AttrKind::dims, true},
                                {"low", AttrKind::dims, true},
                                {"what", AttrKind::string, true}};
constexpr AttrDef kAxes[] = {{"axes", AttrKind::integers, true}};

constexpr OpDef kOps[] = {
    {.name = "constant",
     .min_operands = 0,
     .max_operands = 0,
     .attrs = kValue,
     .infer = infer_constant,
     .content = content_constant,
     .gradient = zero_gradient,
     .doc = "an immutable tensor"},
    {.name = "dims",
     .min_operands = 0,
     .max_operands = 0,
     .attrs = kExtents,
     .traits = kHostOnly,
     .infer = infer_dims,
     .content = content_dims,
     .gradient = zero_gradient,
     .doc = "extents as an i64 vector"},
    {.name = "reshape",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kShape,
     .traits = kView | kMovement,
     .infer = infer_reshape,
     .content = content_reshape,
     .gradient = reshape_gradient,
     .doc = "same elements in row-major order under another shape"},
    {.name = "transpose",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kPerm,
     .traits = kView | kMovement,
     .infer = infer_transpose,
     .content = content_transpose,
     .gradient = transpose_gradient,
     .doc = "result axis i is operand axis perm[i]"},
    {.name = "broadcast",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kShape,
     .traits = kView | kMovement,
     .infer = infer_broadcast,
     .content = content_broadcast,
     .gradient = broadcast_gradient,
     .doc = "numpy broadcasting to a shape"},
    {.name = "slice",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kSlice,
     .traits = kView | kMovement,
     .infer = infer_slice,
     .content = content_slice,
     .gradient = slice_gradient,
     .doc = "elements starts + i * steps, sizes of them, on each axis"},
    {.name = "reverse",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kAxes,
     .traits = kMovement,
     .infer = infer_reverse,
     .gradient = reverse_gradient,
     .doc = "reversed order on the given axes"},
    {.name = "pad",
     .min_operands = 1,
     .max_operands = 2,
     .attrs = kPad,
     .traits = kMovement,
     .infer = infer_pad,
     .gradient = pad_gradient,
     .doc = "margins of a scalar (default 0), or mode reflect, edge, wrap; negative amounts crop"},
    {.name = "dilate",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kFactors,
     .traits = kMovement,
     .infer = infer_dilate,
     .gradient = dilate_gradient,
     .doc = "zeros between elements: element i goes to i * factor"},
    {.name = "concat",
     .min_operands = 1,
     .max_operands = -1,
     .attrs = kAxis,
     .traits = kMovement,
     .infer = infer_concat,
     .content = content_concat,
     .gradient = concat_gradient,
     .doc = "operands one after another on an axis"},
    {.name = "iota",
     .min_operands = 0,
     .max_operands = 0,
     .attrs = kIota,
     .infer = infer_iota,
     .content = content_iota,
     .gradient = zero_gradient,
     .doc = "the index along an axis"},
    {.name = "gather",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kAxis,
     .traits = kMovement,
     .infer = infer_gather,
     .content = content_gather,
     .gradient = gather_gradient,
     .doc = "slices of an axis picked by indices"},
    {.name = "gather_elements",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kAxis,
     .traits = kMovement | kHostOnly,
     .infer = infer_gather_elements,
     .gradient = gather_elements_gradient,
     .doc = "elements picked by an index per element"},
    {.name = "gather_nd",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kBatchDims,
     .traits = kMovement | kHostOnly,
     .infer = infer_gather_nd,
     .gradient = gather_nd_gradient,
     .doc = "slices picked by index tuples"},
    {.name = "scatter_elements",
     .min_operands = 3,
     .max_operands = 3,
     .attrs = kScatter,
     .traits = kHostOnly,
     .infer = infer_like_first,
     .gradient = scatter_elements_gradient,
     .doc = "copy of the first operand with elements replaced or combined at indices"},
    {.name = "scatter_nd",
     .min_operands = 3,
     .max_operands = 3,
     .attrs = kScatter,
     .traits = kHostOnly,
     .infer = infer_like_first,
     .gradient = scatter_nd_gradient,
     .doc = "copy of the first operand with slices replaced or combined at index tuples"},
    {.name = "scatter_add",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kRows,
     .traits = kKernel,
     .infer = infer_scatter_add,
     .gradient = scatter_add_gradient,
     .doc = "zeros[outer,rows,inner] with updates[outer,i,inner] added at row indices[i]"},
    {.name = "bounded",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kBounded,
     .traits = kHostOnly,
     .infer = infer_bounded,
     .not_differentiable = "it holds integers",
     .doc = "the operand, i32 or i64; a run fails when an element is outside [low, high]"},
};

}  // namespace

std::span<const OpDef> core_movement() { return kOps; }

}  // namespace tintype::ops
