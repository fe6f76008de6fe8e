// Records of the transforms around Winograd convolution (runtime/winograd.h has the formulas).
//
// With tiles of m output elements and windows of r, an axis has m + r - 1 points, or one where the
// window is 1, or one less where zero_margins says that a tile is a whole image between zeros. The
// products are a `dot` per point, over all tiles of all images.
#include "ir/ops/gradients.h"

#include <algorithm>
#include <array>

namespace tintype::ops {

namespace {

bool zero_margins(const InferContext& c) { return c.attrs().integer("zero_margins", 0) != 0; }

/// Points of the transform of a 2-D window.
Dim winograd_points(const InferContext& c, const std::vector<int64_t>& window) {
  const Dim m = c.attrs().integer("m");
  Dim points = 1;
  for (int64_t r : window)
    if (r > 1) points = points * (m + Dim(r) - Dim(zero_margins(c) ? 2 : 1));
  return points;
}

/// Output elements of a tile along an axis.
int64_t tile_extent(int64_t m, int64_t window) { return window > 1 ? m : 1; }

constexpr std::array<int64_t, 4> kAxes = {0, 1, 2, 3};

// w -> U[points, panels, C, block]
void infer_weight(InferContext& c) {
  const TensorType& w = c.type(0);
  const auto perm = c.attrs().integers("perm");
  const auto window = c.attrs().integers("window");
  const Dim block = c.attrs().integer("block");
  const bool axes = std::is_permutation(perm.begin(), perm.end(), kAxes.begin(), kAxes.end());
  if (w.rank() != 4 || !axes || window.size() != 2)
    c.fail("expected weights of rank 4, their axes in perm and a 2-D window, got " + w.text());
  const auto extent = [&](size_t i) { return w.shape[static_cast<size_t>(perm[i])]; };
  for (size_t i = 0; i < 2; ++i) c.unify(extent(i), Dim(window[i]), "window");
  const Dim points = winograd_points(c, window);
  c.results[0] = {w.dtype, {points, ceil_div(extent(3), block), extent(2), block}};
}

/// N, H, W, C and the attributes of a 2-D window, or fails.
void check_image(InferContext& c) {
  if (c.type(0).rank() != 4 || c.attrs().integers("window").size() != 2)
    c.fail("expected N,H,W,C and a 2-D window, got " + c.type(0).text());
}

// x[N, H, W, C] -> V[points, N, TH, TW, C]; x holds TH * m + r - 1 rows, TW * m + r - 1 columns, or
// TH * m and TW * m without the margins that are zero.
void infer_input(InferContext& c) {
  check_image(c);
  const TensorType& x = c.type(0);
  const auto window = c.attrs().integers("window");
  const int64_t m = c.attrs().integer("m");
  Shape shape = {winograd_points(c, window), x.shape[0]};
  for (size_t i = 0; i < 2; ++i)
    shape.push_back(floor_div(x.shape[i + 1] - (zero_margins(c) ? Dim(0) : Dim(window[i]) - Dim(1)),
                              Dim(tile_extent(m, window[i]))));
  shape.push_back(x.shape[3]);
  c.results[0] = {x.dtype, std::move(shape)};
}

// dy[N, H, W, C] -> M[points, N, TH, TW, C]; dy holds TH * m rows and TW * m columns.
void infer_output_adjoint(InferContext& c) {
  check_image(c);
  const TensorType& dy = c.type(0);
  const auto window = c.attrs().integers("window");
  const int64_t m = c.attrs().integer("m");
  Shape shape = {winograd_points(c, window), dy.shape[0]};
  for (size_t i = 0; i < 2; ++i)
    shape.push_back(floor_div(dy.shape[i + 1], Dim(tile_extent(m, window[i]))));
  shape.push_back(dy.shape[3]);
  c.results[0] = {dy.dtype, std::move(shape)};
}

// M[points, N, TH, TW, C] -> y[N, rows, columns, C]
void infer_output(InferContext& c) {
  const TensorType& m = c.type(0);
  const Shape extents = c.attrs().dims("extents");
  if (m.rank() != 5 || extents.size() != 2) c.fail("expected points,N,TH,TW,C, got " + m.text());
  c.results[0] = {m.dtype, {m.shape[1], extents[0], extents[1], m.shape[4]}};
}

// x[N, H, W, C], U[points, panels, C, block] -> y[N, rows, columns, F]; x as for winograd_input.
void infer_conv(InferContext& c) {
  check_image(c);
  const TensorType& x = c.type(0);
  const TensorType& u = c.type(1);
  const Shape extents = c.attrs().dims("extents");
  if (u.rank() != 4 || extents.size() != 2)
    c.fail("expected weights points,panels,C,block and 2 extents, got " + u.text());
  const auto window = c.attrs().integers("window");
  c.unify(u.shape[0], winograd_points(c, window), "points");
  c.unify(u.shape[2], x.shape[3], "channels");
  c.results[0] = {x.dtype, {x.shape[0], extents[0], extents[1], c.attrs().integer("filters")}};
}

// dU[points, C, F] -> dw[H, W, C, F]
void infer_weight_adjoint(InferContext& c) {
  const TensorType& u = c.type(0);
  const auto window = c.attrs().integers("window");
  if (u.rank() != 3 || window.size() != 2)
    c.fail("expected points,C,F and a 2-D window, got " + u.text());
  c.results[0] = {u.dtype, {Dim(window[0]), Dim(window[1]), u.shape[1], u.shape[2]}};
}

constexpr AttrDef kWeight[] = {{"m", AttrKind::integer, true},
                               {"window", AttrKind::integers, true},
                               {"perm", AttrKind::integers, true},
                               {"block", AttrKind::integer, true},
                               {"zero_margins", AttrKind::integer}};
constexpr AttrDef kTiles[] = {{"m", AttrKind::integer, true},
                              {"window", AttrKind::integers, true},
                              {"zero_margins", AttrKind::integer}};
constexpr AttrDef kOutput[] = {{"m", AttrKind::integer, true},
                               {"window", AttrKind::integers, true},
                               {"extents", AttrKind::dims, true},
                               {"zero_margins", AttrKind::integer}};

constexpr AttrDef kConv[] = {{"m", AttrKind::integer, true},
                             {"window", AttrKind::integers, true},
                             {"filters", AttrKind::integer, true},
                             {"extents", AttrKind::dims, true}};

constexpr OpDef kOps[] = {
    {.name = "winograd_weight",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kWeight,
     .traits = kPrepack | kKernel | kTileTransform,
     .infer = infer_weight,
     .not_differentiable = kAfterwards,
     .doc = "G w G^T in packed panels; `perm` names the axes of w that are H,W,C,F"},
    {.name = "winograd_input",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kTiles,
     .traits = kKernel | kTileTransform,
     .infer = infer_input,
     .not_differentiable = kAfterwards,
     .doc = "B^T d B of each input tile"},
    {.name = "winograd_output",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kOutput,
     .traits = kTileTransform,
     .infer = infer_output,
     .not_differentiable = kAfterwards,
     .doc = "A^T m A of each output tile"},
    {.name = "winograd_conv",
     .min_operands = 2,
     .max_operands = 2,
     .attrs = kConv,
     .traits = kTileTransform,
     .infer = infer_conv,
     .not_differentiable = kAfterwards,
     .doc = "all three steps of a convolution, a few tiles at a time: the points never leave the "
            "cache"},
    {.name = "winograd_output_adjoint",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kTiles,
     .traits = kKernel | kTileTransform,
     .infer = infer_output_adjoint,
     .not_differentiable = kAfterwards,
     .doc = "A dy A^T of each tile of an output's gradient"},
    {.name = "winograd_weight_adjoint",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kTiles,
     .traits = kTileTransform,
     .infer = infer_weight_adjoint,
     .not_differentiable = kAfterwards,
     .doc = "G^T dU G: the gradient of weights from that at the points"},
};

}  // namespace

std::span<const OpDef> core_winograd() { return kOps; }

}  // namespace tintype::ops
