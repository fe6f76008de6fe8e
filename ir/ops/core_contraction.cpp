// Records of convolution, matrix products, sliding windows and their weight packing.
//
// Activations are channels-last: x[N, spatial..., C]. Windows are valid: padding is a separate op.
// `library` says that a library of the device is to compute a node, in "tf32", "f32" or, with
// operands of 16 bits, in their type. `result` is the type of sums and results where it is not that
// of the operands: f32, of operands in bf16 or f16. `terms` says that operands in f32 are taken
// apart into as many bf16 terms, which tiles of a matrix unit multiply; with one term, the left
// side may be bf16 already.
#include "ir/ops/gradients.h"

#include <algorithm>

namespace tintype::ops {

namespace {

std::vector<int64_t> per_axis(InferContext& c, std::string_view name, size_t count) {
  auto list = c.attrs().integers(name, std::vector<int64_t>(count, 1));
  if (list.size() != count)
    c.fail("attribute '" + std::string(name) + "' needs " + std::to_string(count) +
           " entries, has " + std::to_string(list.size()));
  for (int64_t v : list)
    if (v < 1) c.fail("attribute '" + std::string(name) + "' must be positive");
  return list;
}

/// (size - ((window - 1) * dilation + 1)) / stride + 1
Dim window_count(InferContext& c, const Dim& size, int64_t window, int64_t stride,
                 int64_t dilation) {
  if (window < 1) c.fail("attribute 'window' must be positive");
  const Dim reach = Dim(window - 1) * Dim(dilation) + Dim(1);
  const Dim out = floor_div(size - reach, Dim(stride)) + Dim(1);
  if (out.is_static() && out.value() < 0)
    c.fail("window of " + reach.text() + " does not fit extent " + size.text());
  return out;
}

constexpr int64_t kTermColumns = 32, kTermDepth = 32;  // see runtime/tile_product.h

void check_operands(InferContext& c, const TensorType& x, const TensorType& w) {
  if (c.attrs().integer("terms") > 0 ? w.dtype != DType::f32 : x.dtype != w.dtype)
    c.fail("operands " + x.text() + " and " + w.text() + " differ in element type");
}

/// [panels, ...rows..., terms * kTermColumns] of bf16 for weights with `depth` rows below each
/// other: the form that `pack` gives with `terms`.
void check_term_panels(InferContext& c, const TensorType& w, const Dim& depth, int64_t columns) {
  const int64_t terms = c.attrs().integer("terms");
  if (terms > 3) c.fail("terms must be 1, 2 or 3");
  if (w.dtype != DType::bf16 || c.attrs().integer("block") != kTermColumns ||
      !w.shape.back().is(terms * kTermColumns))
    c.fail("weights " + w.text() + " are not packed in " + std::to_string(terms) + " terms");
  c.unify(w.shape[w.shape.size() - 2], round_up(depth, Dim(kTermDepth)),
          "rows of packed weights " + w.text());
  c.unify(w.shape[0], ceil_div(Dim(columns), Dim(kTermColumns)), "panels of " + w.text());
}

/// Fails where extents are known to differ; of others the run will tell.
void require_fit(InferContext& c, const Dim& found, const Dim& wanted, const TensorType& w) {
  const Dim difference = found - wanted;
  if (difference.is_static() && !difference.is(0))
    c.fail("weights " + w.text() + " do not fit: expected " + wanted.text() + " in the place of " +
           found.text());
}

/// Columns of weights [rows, columns], or packed [panels, rows, block], rows being any axes.
void check_columns(InferContext& c, const TensorType& w, const Dim& columns) {
  const Dim block = c.attrs().integer("block");
  if (block.value() <= 0) return require_fit(c, w.shape.back(), columns, w);
  require_fit(c, w.shape[0], ceil_div(columns, block), w);
  require_fit(c, w.shape.back(), block, w);
}

/// The element type of a product's result, from the operands' and the attribute `result`.
DType product_type(InferContext& c) {
  const DType operands = c.type(0).dtype;
  const int64_t terms = c.attrs().integer("terms");
  if (terms > 0 && operands != DType::f32 && (terms > 1 || operands != DType::bf16))
    c.fail(c.type(0).text() + " does not split in " + std::to_string(terms) +
           " terms: it must be f32, or bf16 with one term");
  const DType result = c.attrs().get("result", operands);
  const bool narrow = operands == DType::bf16 || operands == DType::f16;
  if (result != operands && !(narrow && result == DType::f32))
    c.fail("result = " + std::string(name_of(result)) + " does not go with operands of " +
           std::string(name_of(operands)) + "; it may be f32 where these are bf16 or f16");
  return result;
}

void infer_conv(InferContext& c) {
  const TensorType& x = c.type(0);
  const TensorType& w = c.type(1);
  const int64_t block = c.attrs().integer("block");
  const auto window = c.attrs().integers("window");
  const size_t spatial = window.size();
  if (x.shape.size() != spatial + 2)
    c.fail("expected N, " + std::to_string(spatial) + " spatial axes and C, got " + x.text());
  const bool term_panels = c.attrs().integer("terms") > 0 && block > 0 && spatial > 0;
  // Packed in terms, the last axis of the window is one with the channels.
  if (w.shape.size() != spatial + 2 + (block > 0 && !term_panels ? 1 : 0))
    c.fail("weights " + w.text() + " do not fit");
  if (term_panels)
    check_term_panels(c, w, Dim(window.back()) * x.shape.back(), c.attrs().integer("filters"));
  else check_operands(c, x, w);
  const int64_t group = c.attrs().integer("group", 1);
  if (group < 1) c.fail("group must be positive");
  if (!term_panels) {
    const size_t first = block > 0 ? 1 : 0;
    for (size_t i = 0; i < spatial; ++i) require_fit(c, w.shape[first + i], Dim(window[i]), w);
    require_fit(c, w.shape[first + spatial] * Dim(group), x.shape.back(), w);
    check_columns(c, w, Dim(c.attrs().integer("filters")));
  }
  const auto strides = per_axis(c, "strides", spatial);
  const auto dilations = per_axis(c, "dilations", spatial);
  Shape shape = {x.shape[0]};
  for (size_t i = 0; i < spatial; ++i)
    shape.push_back(window_count(c, x.shape[i + 1], window[i], strides[i], dilations[i]));
  shape.push_back(Dim(c.attrs().integer("filters")));
  c.results[0] = {product_type(c), std::move(shape)};
}

void infer_dot(InferContext& c) {
  const TensorType& a = c.type(0);
  const TensorType& b = c.type(1);
  const int64_t block = c.attrs().integer("block");
  const bool term_panels = c.attrs().integer("terms") > 0 && block > 0;
  if (!term_panels) check_operands(c, a, b);
  if (a.rank() < 2 || b.rank() < 2)
    c.fail("operands need rank 2 at least, got " + a.text() + " and " + b.text());
  const size_t matrix = block > 0 ? 3 : 2;  // packed: [ceil(N / block), K, block]
  if (b.shape.size() < matrix) c.fail("weights " + b.text() + " are not packed");
  const Dim k = a.shape.back();
  const Dim kb = b.shape[b.shape.size() - 2];
  if (term_panels) check_term_panels(c, b, k, c.attrs().integer("columns"));
  else c.unify(k, kb, "inner extents of " + a.text() + " and " + b.text());
  const Dim columns = block > 0 ? Dim(c.attrs().integer("columns")) : b.shape.back();
  if (!term_panels && block > 0)
    require_fit(c, b.shape[b.shape.size() - 3], ceil_div(columns, Dim(block)), b);
  if (!term_panels && block > 0) require_fit(c, b.shape.back(), Dim(block), b);
  Shape stack(b.shape.begin(), b.shape.end() - static_cast<std::ptrdiff_t>(matrix));
  if (term_panels) stack.assign(b.shape.begin() + 1, b.shape.end() - 2);  // panels are outermost
  Shape batch = broadcast_shapes(c.node.graph(), Shape(a.shape.begin(), a.shape.end() - 2), stack,
                                 c.node.where());
  batch.push_back(a.shape[a.shape.size() - 2]);
  batch.push_back(columns);
  c.results[0] = {product_type(c), std::move(batch)};
}

// x[1, M, K] w[G, K, N] + h[1, M, L] r[H, L, N], gate i of the second at places[i]. Packed
// weights are [ceil(N / block), K, G, block]: what a tile reads lies together.
void infer_gate_products(InferContext& c) {
  const int64_t block = c.attrs().integer("block");
  const size_t rank = block > 0 ? 4 : 3, gate_axis = block > 0 ? 2 : 0;
  for (const int left : {0, 2}) {
    const TensorType &a = c.type(left), &w = c.type(left + 1);
    if (a.dtype != w.dtype || a.dtype != c.type(0).dtype)
      c.fail("operands " + a.text() + " and " + w.text() + " differ in element type");
    if (a.rank() != 3 || !a.shape[0].is(1) || w.shape.size() != rank ||
        !w.shape[gate_axis].is_static())
      c.fail("expected a[1,M,K] and weights of several gates, got " + a.text() + " and " +
             w.text());
    c.unify(a.shape[2], w.shape[1], "inner extents of " + a.text() + " and " + w.text());
    c.unify(w.shape.back(), c.type(1).shape.back(), "columns");
  }
  c.unify(c.type(0).shape[1], c.type(2).shape[1], "rows");
  int64_t gates = c.type(1).shape[gate_axis].value();
  const auto places = c.attrs().integers("places");
  if (!c.type(3).shape[gate_axis].is(static_cast<int64_t>(places.size())))
    c.fail("places do not fit " + c.type(3).text());
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i] < 0 || (i > 0 && places[i] <= places[i - 1]) || places[i] > gates)
      c.fail("places must ascend, without a gap behind those of the first product");
    gates = std::max(gates, places[i] + 1);
  }
  c.results[0] = {c.type(0).dtype,
                  {Dim(gates), c.type(0).shape[1],
                   block > 0 ? Dim(c.attrs().integer("columns")) : c.type(1).shape.back()}};
}

void infer_window_reduce(InferContext& c) {
  const TensorType& x = c.type(0);
  const auto window = c.attrs().integers("window");
  if (x.shape.size() != window.size() + 2) c.fail("window does not fit " + x.text());
  const auto strides = per_axis(c, "strides", window.size());
  const auto dilations = per_axis(c, "dilations", window.size());
  Shape shape = {x.shape[0]};
  for (size_t i = 0; i < window.size(); ++i)
    shape.push_back(window_count(c, x.shape[i + 1], window[i], strides[i], dilations[i]));
  shape.push_back(x.shape.back());
  c.results[0] = {x.dtype, shape};
}

void infer_window_argmax(InferContext& c) {
  infer_window_reduce(c);
  c.results[0].dtype = DType::i64;
}

/// Fails unless dy[N, positions..., C] has the positions of the windows over x.
void check_positions(InferContext& c) {
  const TensorType& x = c.type(0);
  const TensorType& dy = c.type(1);
  const auto window = c.attrs().integers("window");
  if (x.shape.size() != window.size() + 2 || dy.rank() != x.rank() || x.dtype != dy.dtype)
    c.fail("expected x and dy of N, " + std::to_string(window.size()) +
           " spatial axes and channels, got " + x.text() + " and " + dy.text());
  const auto strides = per_axis(c, "strides", window.size());
  const auto dilations = per_axis(c, "dilations", window.size());
  c.unify(x.shape[0], dy.shape[0], "batch");
  for (size_t i = 0; i < window.size(); ++i)
    c.unify(window_count(c, x.shape[i + 1], window[i], strides[i], dilations[i]), dy.shape[i + 1],
            "positions on axis " + std::to_string(i + 1));
}

void infer_conv_weight_gradient(InferContext& c) {
  check_positions(c);
  const TensorType& x = c.type(0);
  const int64_t group = c.attrs().integer("group", 1);
  if (group < 1) c.fail("group must be positive");
  Shape shape;
  for (int64_t k : c.attrs().integers("window")) shape.emplace_back(k);
  shape.push_back(floor_div(x.shape.back(), Dim(group)));
  shape.push_back(c.type(1).shape.back());
  c.results[0] = {product_type(c), std::move(shape)};
}

void infer_window_max_gradient(InferContext& c) {
  check_positions(c);
  c.unify(c.type(0).shape.back(), c.type(1).shape.back(), "channels");
  c.results[0] = c.type(0);
}

/// Fails unless these are the axes of x, in some order.
void require_axes(InferContext& c, std::vector<int64_t> perm, const TensorType& x) {
  std::sort(perm.begin(), perm.end());
  bool fits = static_cast<int>(perm.size()) == x.rank() && !perm.empty();
  for (size_t i = 0; fits && i < perm.size(); ++i) fits = perm[i] == static_cast<int64_t>(i);
  if (!fits) c.fail("perm does not fit " + x.text());
}

void infer_term_panels(InferContext& c) {
  const TensorType& x = c.type(0);
  const auto perm = c.attrs().integers("perm");
  const int64_t terms = c.attrs().integer("terms"), rows = c.attrs().integer("rows", 1);
  if (x.dtype != DType::f32 || terms > 3 || c.attrs().integer("block") != kTermColumns ||
      rows < 1 || rows >= x.rank())
    c.fail("only f32 splits in 1, 2 or 3 terms, in panels of 32 columns; got " + x.text());
  const auto at = [&](size_t i) { return x.shape[static_cast<size_t>(perm[i])]; };
  const size_t outer = perm.size() - 1 - static_cast<size_t>(rows);
  Shape shape = {ceil_div(at(perm.size() - 1), Dim(kTermColumns))};
  for (size_t i = 0; i < outer; ++i) shape.push_back(at(i));
  Dim depth = 1;
  for (size_t i = outer; i + 1 < perm.size(); ++i) depth = depth * at(i);
  shape.push_back(round_up(depth, Dim(kTermDepth)));
  shape.emplace_back(terms * kTermColumns);
  c.results[0] = {DType::bf16, std::move(shape)};
}

void infer_pack(InferContext& c) {
  const TensorType& x = c.type(0);
  const auto perm = c.attrs().integers("perm");
  const Dim block = c.attrs().integer("block");
  require_axes(c, perm, x);
  if (c.attrs().integer("terms") > 0) return infer_term_panels(c);
  Shape shape = {ceil_div(x.shape[static_cast<size_t>(perm.back())], block)};
  for (size_t i = 0; i + 1 < perm.size(); ++i)
    shape.push_back(x.shape[static_cast<size_t>(perm[i])]);
  shape.push_back(block);
  c.results[0] = {x.dtype, std::move(shape)};
}

constexpr AttrDef kConv[] = {{"window", AttrKind::integers, true}, {"strides", AttrKind::integers},
                             {"dilations", AttrKind::integers},    {"group", AttrKind::integer},
                             {"filters", AttrKind::integer, true}, {"block", AttrKind::integer},
                             {"terms", AttrKind::integer},         {"library", AttrKind::string},
                             {"result", AttrKind::dtype}};
constexpr AttrDef kDot[] = {{"block", AttrKind::integer},
                            {"columns", AttrKind::integer},
                            {"terms", AttrKind::integer},
                            {"library", AttrKind::string},
                            {"result", AttrKind::dtype}};
constexpr AttrDef kGateProducts[] = {{"places", AttrKind::integers, true},
                                     {"block", AttrKind::integer},
                                     {"columns", AttrKind::integer}};
constexpr AttrDef kWindowAttrs[] = {{"kind", AttrKind::string, true},
                                    {"window", AttrKind::integers, true},
                                    {"strides", AttrKind::integers},
                                    {"dilations", AttrKind::integers}};
constexpr AttrDef kArgWindow[] = {{"window", AttrKind::integers, true},
                                  {"strides", AttrKind::integers},
                                  {"dilations", AttrKind::integers}};
constexpr AttrDef kConvWeightGradient[] = {
    {"window", AttrKind::integers, true}, {"strides", AttrKind::integers},
    {"dilations", AttrKind::integers},    {"group", AttrKind::integer},
    {"library", AttrKind::string},        {"result", AttrKind::dtype}};
constexpr AttrDef kPack[] = {{"perm", AttrKind::integers, true},
                             {"block", AttrKind::integer, true},
                             {"terms", AttrKind::integer},
                             {"rows", AttrKind::integer}};
constexpr OpDef kOps[] = {
    {.name = "conv",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kConv,
     .traits = kContraction,
     .infer = infer_conv,
     .gradient = conv_gradient,
     .doc = "valid convolution of x[N,spatial...,C] with w[window...,C/group,filters], or packed "
            "w[ceil(filters/block),window...,C,block]"},
    {.name = "dot",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kDot,
     .traits = kContraction,
     .infer = infer_dot,
     .gradient = dot_gradient,
     .doc =
         "matrix product of a[batch...,M,K] and b[batch...,K,N], or packed b[ceil(N/block),K,block]"},
    {.name = "gate_products",
     .min_operands = 4,
     .max_operands = 4,
     .attrs = kGateProducts,
     .traits = kContraction,
     .infer = infer_gate_products,
     .not_differentiable = kAfterwards,
     .doc = "x[1,M,K] w[gates,K,N] and h[1,M,L] r[gates,L,N], the second's gates added to, or "
            "behind, those of the first; weights also packed, w[ceil(N/block),K,gates,block]"},
    {.name = "window_reduce",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kWindowAttrs,
     .traits = kWindow,
     .infer = infer_window_reduce,
     .gradient = window_reduce_gradient,
     .doc = "max or sum over sliding windows of x[N,spatial...,C]"},
    {.name = "window_argmax",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kArgWindow,
     .traits = kHostOnly,
     .infer = infer_window_argmax,
     .not_differentiable = "its result is an index",
     .doc = "row-major spatial position of the first largest element of each window"},
    {.name = "conv_weight_gradient",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kConvWeightGradient,
     .traits = kKernel,
     .infer = infer_conv_weight_gradient,
     .gradient = conv_weight_gradient_gradient,
     .doc = "sum over N and positions o of x[N,o*stride+k*dilation,C] dy[N,o,F]: "
            "w[window...,C/group,F]"},
    {.name = "window_max_gradient",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kArgWindow,
     .traits = kKernel,
     .infer = infer_window_max_gradient,
     .gradient = window_max_gradient_gradient,
     .doc = "x's shape; each window adds its dy to the place of its first largest element of x"},
    {.name = "pack",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kPack,
     .traits = kPrepack,
     .infer = infer_pack,
     .not_differentiable = kAfterwards,
     .doc =
         "transpose by perm, then panels of `block` of the last axis, zero filled, outermost; with "
         "`terms` as bf16 terms (runtime/tile_product.h), `rows` axes before the last as one"},
};

}  // namespace

std::span<const OpDef> core_contraction() { return kOps; }

}  // namespace tintype::ops
