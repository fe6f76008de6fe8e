// Records of reductions, scans and sorts.
#include "ir/ops/gradients.h"

#include <algorithm>

namespace tintype::ops {

namespace {

Shape reduced_shape(InferContext& c, const std::vector<int64_t>& axes) {
  Shape shape = c.type(0).shape;
  for (int64_t a : axes)
    shape[static_cast<size_t>(normalize_axis(a, c.type(0).rank(), c.node.where()))] = 1;
  return shape;
}

void infer_reduce(InferContext& c) {
  c.results[0] = {c.type(0).dtype, reduced_shape(c, c.attrs().integers("axes"))};
}

void infer_arg(InferContext& c) {
  c.results[0] = {DType::i64, reduced_shape(c, {c.attrs().integer("axis")})};
}

void infer_cumsum(InferContext& c) {
  normalize_axis(c.attrs().integer("axis"), c.type(0).rank(), c.node.where());
  c.results[0] = c.type(0);
}

void infer_top_k(InferContext& c) {
  const TensorType& x = c.type(0);
  const int axis = normalize_axis(c.attrs().integer("axis"), x.rank(), c.node.where());
  Shape shape = x.shape;
  const Dim k = c.attrs().integer("k");
  const Dim& extent = shape[static_cast<size_t>(axis)];
  if (extent.is_static() && k.value() > extent.value())
    c.fail("k = " + k.text() + " exceeds axis " + std::to_string(axis) + " of " + x.text());
  shape[static_cast<size_t>(axis)] = k;
  c.results[0] = {x.dtype, shape};
  if (c.results.size() > 1) c.results[1] = {DType::i64, shape};
}

std::optional<std::vector<Dim>> content_reduce_prod(const Node& n) {
  const auto& x = n.operand(0)->content();
  if (!x || n.operand(0)->rank() != 1) return std::nullopt;
  return std::vector<Dim>{product(*x)};
}

constexpr AttrDef kAxes[] = {{"axes", AttrKind::integers, true}};
constexpr AttrDef kArg[] = {{"axis", AttrKind::integer, true},
                            {"select_last_index", AttrKind::integer}};
constexpr AttrDef kCumsum[] = {{"axis", AttrKind::integer, true},
                               {"exclusive", AttrKind::integer},
                               {"reverse", AttrKind::integer}};
constexpr AttrDef kTopK[] = {{"axis", AttrKind::integer, true},
                             {"k", AttrKind::integer, true},
                             {"largest", AttrKind::integer},
                             {"sorted", AttrKind::integer}};

constexpr std::string_view kAnIndex = "its result is an index";

constexpr OpDef reduce(std::string_view name, std::string_view doc, GradientFunction gradient,
                       ContentFunction content = nullptr) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 1,
          .attrs = kAxes,
          .traits = kReduction,
          .infer = infer_reduce,
          .content = content,
          .gradient = gradient,
          .doc = doc};
}

constexpr OpDef kOps[] = {
    reduce("reduce_sum", "sum over axes", reduce_sum_gradient),
    reduce("reduce_prod", "product over axes", reduce_prod_gradient, content_reduce_prod),
    reduce("reduce_max", "largest element over axes", reduce_extreme_gradient),
    reduce("reduce_min", "smallest element over axes", reduce_extreme_gradient),
    {.name = "arg_max",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kArg,
     .traits = kHostOnly,
     .infer = infer_arg,
     .not_differentiable = kAnIndex,
     .doc = "index of the largest element on an axis"},
    {.name = "arg_min",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kArg,
     .traits = kHostOnly,
     .infer = infer_arg,
     .not_differentiable = kAnIndex,
     .doc = "index of the smallest element on an axis"},
    {.name = "cumsum",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kCumsum,
     .traits = kHostOnly,
     .infer = infer_cumsum,
     .gradient = cumsum_gradient,
     .doc = "running sum along an axis"},
    {.name = "cumprod",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kCumsum,
     .traits = kHostOnly,
     .infer = infer_cumsum,
     .gradient = cumprod_gradient,
     .doc = "running product along an axis"},
    {.name = "top_k",
     .min_operands = 1,
     .max_operands = 1,
     .max_results = 2,
     .attrs = kTopK,
     .traits = kHostOnly,
     .infer = infer_top_k,
     .gradient = top_k_gradient,
     .doc = "k extreme elements of an axis and their indices"},
};

}  // namespace

std::span<const OpDef> core_reduction() { return kOps; }

}  // namespace tintype::ops
