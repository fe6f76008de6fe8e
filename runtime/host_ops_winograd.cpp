// The transforms around Winograd products, one tile at a time, in f64.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/winograd.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

namespace tintype {

namespace {

/// out[i][j] = sum_k matrix[i][k] * in[k][j] for rows of `others` consecutive numbers. Neighbours
/// are summed together, all taps of one at a time, so that the innermost loop runs over vectors and
/// sums stay in registers.
template <int kTaps>
void apply_taps(const WinogradAxis& axis, const double* __restrict in, double* __restrict out,
                int64_t others) {
  for (int i = 0; i < axis.rows; ++i) {
    std::array<double, kTaps> factors;
    for (int k = 0; k < kTaps; ++k)
      factors[static_cast<size_t>(k)] = axis.matrix[static_cast<size_t>(i * kTaps + k)];
    double* row = out + i * others;
    for (int64_t j = 0; j < others; ++j) {
      double sum = 0;
      for (int k = 0; k < kTaps; ++k) sum += factors[static_cast<size_t>(k)] * in[k * others + j];
      row[j] = sum;
    }
  }
}

void apply_first(const WinogradAxis& axis, const double* in, double* out, int64_t others) {
  static_assert(kMaxWinogradPoints == 8, "one case for each number of taps");
  switch (axis.taps) {
    case 1: return apply_taps<1>(axis, in, out, others);
    case 2: return apply_taps<2>(axis, in, out, others);
    case 3: return apply_taps<3>(axis, in, out, others);
    case 4: return apply_taps<4>(axis, in, out, others);
    case 5: return apply_taps<5>(axis, in, out, others);
    case 6: return apply_taps<6>(axis, in, out, others);
    case 7: return apply_taps<7>(axis, in, out, others);
    default: return apply_taps<8>(axis, in, out, others);
  }
}

/// One map along both spatial axes.
struct Axes {
  WinogradAxis h, w;
  int taps() const { return h.taps * w.taps; }
  int rows() const { return h.rows * w.rows; }
};

Result<Axes> find_axes(WinogradMap map, const WinogradForm& form, std::span<const int64_t> window) {
  if (window.size() == 2) {
    Axes axes{winograd_axis(map, form, window[0]), winograd_axis(map, form, window[1])};
    if (axes.h.rows != 0 && axes.w.rows != 0) return axes;
  }
  std::string text;
  for (int64_t r : window) {
    if (!text.empty()) text += 'x';
    text += std::to_string(r);
  }
  return Status(StatusCode::unsupported,
                "no Winograd transform with m = " + std::to_string(form.m) + " for window " + text);
}

WinogradForm form_of(const HostCall& call) {
  return {call.attributes.integer("m", 0), call.attributes.integer("zero_margins", 0) != 0};
}

/// Transforms `tiles` tiles of `width` numbers per place. read(tile, i, j, numbers) fetches what
/// lies at row i and column j of the tile, write(tile, i, j, numbers) stores a result.
template <typename Read, typename Write>
void transform(const Axes& axes, int64_t tiles, int64_t width, const Read& read,
               const Write& write) {
  parallel_for(tiles, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> d(static_cast<size_t>(axes.taps() * width));
    std::vector<double> half(static_cast<size_t>(axes.h.rows * axes.w.taps * width));
    std::vector<double> v(static_cast<size_t>(axes.rows() * width));
    for (int64_t tile = begin; tile < end; ++tile) {
      for (int i = 0; i < axes.h.taps; ++i)
        for (int j = 0; j < axes.w.taps; ++j)
          read(tile, i, j, d.data() + (i * axes.w.taps + j) * width);
      apply_first(axes.h, d.data(), half.data(), axes.w.taps * width);
      for (int i = 0; i < axes.h.rows; ++i)
        apply_first(axes.w, half.data() + i * axes.w.taps * width,
                    v.data() + i * axes.w.rows * width, width);
      for (int i = 0; i < axes.h.rows; ++i)
        for (int j = 0; j < axes.w.rows; ++j)
          write(tile, i, j, v.data() + (i * axes.w.rows + j) * width);
    }
  });
}

template <typename T>
void load_row(const T* from, int64_t width, double* to) {
  for (int64_t k = 0; k < width; ++k) to[k] = static_cast<double>(load(from[k]));
}

template <typename T>
void store_row(const double* from, int64_t width, T* to) {
  for (int64_t k = 0; k < width; ++k) to[k] = store<T>(static_cast<Compute<T>>(from[k]));
}

/// Tiles of an image [N,H,W,C] beside points [points,N,TH,TW,C].
struct TileGrid {
  TileGrid(const Tensor& image, const Tensor& points, int64_t down, int64_t right)
      : height(image.dims()[1]), width(image.dims()[2]), channels(image.dims()[3]),
        rows(points.dims()[2]), columns(points.dims()[3]), step_h(down), step_w(right),
        count(image.dims()[0] * rows * columns) {}

  /// Element of the image at place (i, j) of a tile, or -1 outside.
  int64_t pixel(int64_t tile, int64_t i, int64_t j) const {
    const int64_t n = tile / (rows * columns);
    const int64_t h = tile / columns % rows * step_h + i, w = tile % columns * step_w + j;
    return h < height && w < width ? ((n * height + h) * width + w) * channels : -1;
  }
  int64_t point(int64_t e, int64_t tile) const { return (e * count + tile) * channels; }

  int64_t height, width, channels, rows, columns, step_h, step_w, count;
};

Status wrong_shapes(const HostCall& call) {
  return invalid_argument("shapes " + call.inputs[0].type_string() + " and " +
                          call.outputs[0].type_string() + " do not fit the transform");
}

int64_t tile_step(int64_t m, int64_t window) { return window > 1 ? m : 1; }

/// Image to points: B^T d B (what lies outside counts as zero), or A dy A^T.
Status to_points(const HostCall& call, WinogradMap map) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const WinogradForm form = form_of(call);
  const std::vector<int64_t> window = call.attributes.integers("window");
  const Result<Axes> axes = find_axes(map, form, window);
  if (!axes.ok()) return axes.status();
  if (x.rank() != 4 || out.rank() != 5 || out.dims()[0] != axes.value().rows())
    return wrong_shapes(call);
  const TileGrid grid(x, out, tile_step(form.m, window[0]), tile_step(form.m, window[1]));
  return for_elements<kFloats>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    auto* to = static_cast<T*>(out.mutable_data());
    const auto read = [&](int64_t tile, int i, int j, double* d) {
      const int64_t at = grid.pixel(tile, i, j);
      if (at < 0) std::fill(d, d + grid.channels, 0.0);
      else load_row(from + at, grid.channels, d);
    };
    const auto write = [&](int64_t tile, int i, int j, const double* v) {
      store_row(v, grid.channels, to + grid.point(i * axes.value().w.rows + j, tile));
    };
    transform(axes.value(), grid.count, grid.channels, read, write);
  });
}

Status winograd_input(const HostCall& call) { return to_points(call, WinogradMap::input); }

Status winograd_output_adjoint(const HostCall& call) {
  return to_points(call, WinogradMap::output_adjoint);
}

/// y[N,H,W,C] = A^T m A of every tile; what lies outside y is dropped.
Status winograd_output(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const WinogradForm form = form_of(call);
  const std::vector<int64_t> window = call.attributes.integers("window");
  const Result<Axes> axes = find_axes(WinogradMap::output, form, window);
  if (!axes.ok()) return axes.status();
  if (out.rank() != 4 || x.rank() != 5 || x.dims()[0] != axes.value().taps())
    return wrong_shapes(call);
  const TileGrid grid(out, x, tile_step(form.m, window[0]), tile_step(form.m, window[1]));
  return for_elements<kFloats>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    auto* to = static_cast<T*>(out.mutable_data());
    const auto read = [&](int64_t tile, int i, int j, double* d) {
      load_row(from + grid.point(i * axes.value().w.taps + j, tile), grid.channels, d);
    };
    const auto write = [&](int64_t tile, int i, int j, const double* v) {
      if (const int64_t at = grid.pixel(tile, i, j); at >= 0) store_row(v, grid.channels, to + at);
    };
    transform(axes.value(), grid.count, grid.channels, read, write);
  });
}

/// product[points, tiles, F] = V[points, tiles, C] U[points, panels, C, block].
template <typename T>
void multiply_points(const Tensor& v, const Tensor& u, Tensor& product) {
  const int64_t points = u.dims()[0], panels = u.dims()[1], channels = u.dims()[2],
                block = u.dims()[3];
  const int64_t filters = product.dims().back();
  const int64_t tiles = product.size() / std::max<int64_t>(points * filters, 1);
  const auto* left = static_cast<const T*>(v.data());
  const auto* right = static_cast<const T*>(u.data());
  auto* to = static_cast<T*>(product.mutable_data());
  std::vector<double> sums(static_cast<size_t>(block));
  for (int64_t row = 0; row < points * tiles; ++row) {
    for (int64_t panel = 0; panel < panels; ++panel) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t c = 0; c < channels; ++c) {
        const auto x = static_cast<double>(load(left[row * channels + c]));
        const T* w = right + ((row / tiles * panels + panel) * channels + c) * block;
        for (int64_t b = 0; b < block; ++b)
          sums[static_cast<size_t>(b)] += x * static_cast<double>(load(w[b]));
      }
      const int64_t real = std::min(block, filters - panel * block);
      store_row(sums.data(), real, to + row * filters + panel * block);
    }
  }
}

/// y[N,H,W,F]: the input transform, a product per point, the output transform.
Status winograd_conv(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const Tensor& u = call.inputs[1];
  const Tensor& y = call.outputs[0];
  const std::vector<int64_t> window = call.attributes.integers("window");
  const int64_t m = call.attributes.integer("m", 0);
  if (x.rank() != 4 || u.rank() != 4 || y.rank() != 4 || window.size() != 2 || m < 1 ||
      u.dims()[2] != x.dims()[3] || u.dims()[1] * u.dims()[3] < y.dims()[3])
    return wrong_shapes(call);
  std::vector<int64_t> dims = {u.dims()[0], x.dims()[0]};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t step = tile_step(m, window[i]);
    dims.push_back((y.dims()[i + 1] + step - 1) / step);
  }
  dims.push_back(x.dims()[3]);
  std::vector<Tensor> v = {Tensor::empty(x.dtype(), dims)};
  dims.back() = y.dims()[3];
  std::vector<Tensor> product = {Tensor::empty(x.dtype(), dims)};
  if (Status s = winograd_input({call.inputs.first(1), v, call.attributes}); !s.ok()) return s;
  Status s = for_elements<kFloats>(x.dtype(), [&](auto tag) {
    multiply_points<typename decltype(tag)::type>(v[0], u, product[0]);
  });
  if (!s.ok()) return s;
  return winograd_output({product, call.outputs, call.attributes});
}

/// U[points, panel, C, block] = G w G^T, where `perm` names the axes of w that are H, W, C, F.
Status winograd_weight(const HostCall& call) {
  const Tensor& w = call.inputs[0];
  Tensor& out = call.outputs[0];
  const int64_t block = call.attributes.integer("block", 0);
  const std::vector<int64_t> perm = call.attributes.integers("perm");
  if (w.rank() != 4 || perm.size() != 4 || out.rank() != 4 || block < 1) return wrong_shapes(call);
  const std::vector<int64_t> strides = dense_strides(w.dims());
  std::vector<int64_t> extents, step;
  for (int64_t p : perm) {
    const auto axis = find_axis(p, w.rank());
    if (!axis) return axis_out_of_range(p, w);
    extents.push_back(w.dims()[*axis]);
    step.push_back(strides[*axis]);
  }
  const std::vector<int64_t> window = call.attributes.integers("window");
  const Result<Axes> axes = find_axes(WinogradMap::weight, form_of(call), window);
  if (!axes.ok()) return axes.status();
  if (extents[0] != window[0] || extents[1] != window[1] || out.dims()[0] != axes.value().rows() ||
      out.dims()[3] != block)
    return wrong_shapes(call);
  // Pieces of a line of memory each: all that becomes of one stays in the first-level cache.
  constexpr int64_t kPiece = 16;
  const int64_t width = block % kPiece == 0 ? kPiece : block, pieces = block / width;
  const int64_t channels = extents[2], filters = extents[3];
  const int64_t tiles = out.dims()[1] * channels * pieces;
  return for_elements<kFloats>(w.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(w.data());
    auto* to = static_cast<T*>(out.mutable_data());
    // A tile is a piece of one row of a panel: `width` filters of one input channel, side by side.
    const auto read = [&](int64_t tile, int i, int j, double* g) {
      const int64_t first = tile / pieces / channels * block + tile % pieces * width;
      const int64_t real = std::clamp<int64_t>(filters - first, 0, width);
      const T* at =
          from + i * step[0] + j * step[1] + tile / pieces % channels * step[2] + first * step[3];
      for (int64_t b = 0; b < real; ++b) g[b] = static_cast<double>(load(at[b * step[3]]));
      std::fill(g + real, g + width, 0.0);
    };
    const auto write = [&](int64_t tile, int i, int j, const double* u) {
      store_row(u, width, to + ((i * axes.value().w.rows + j) * tiles + tile) * width);
    };
    transform(axes.value(), tiles, width, read, write);
  });
}

/// dw[H,W,C,F] = G^T dU G of dU[points,C,F].
Status winograd_weight_adjoint(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const Result<Axes> axes =
      find_axes(WinogradMap::weight_adjoint, form_of(call), call.attributes.integers("window"));
  if (!axes.ok()) return axes.status();
  if (x.rank() != 3 || out.rank() != 4 || x.dims()[0] != axes.value().taps())
    return wrong_shapes(call);
  const int64_t channels = x.dims()[1], filters = x.dims()[2];
  return for_elements<kFloats>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    auto* to = static_cast<T*>(out.mutable_data());
    const auto read = [&](int64_t c, int i, int j, double* d) {
      load_row(from + ((i * axes.value().w.taps + j) * channels + c) * filters, filters, d);
    };
    const auto write = [&](int64_t c, int i, int j, const double* v) {
      store_row(v, filters, to + ((i * axes.value().w.rows + j) * channels + c) * filters);
    };
    transform(axes.value(), channels, filters, read, write);
  });
}

constexpr HostOp kOps[] = {
    {"winograd_weight", winograd_weight},
    {"winograd_input", winograd_input},
    {"winograd_output", winograd_output},
    {"winograd_conv", winograd_conv},
    {"winograd_output_adjoint", winograd_output_adjoint},
    {"winograd_weight_adjoint", winograd_weight_adjoint},
};

}  // namespace

std::span<const HostOp> winograd_host_ops() { return kOps; }

}  // namespace tintype
