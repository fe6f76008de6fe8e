// Host ops that prepare weights once, and the transforms around Winograd products.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/strided.h"
#include "runtime/winograd.h"

#include <algorithm>

namespace tintype {

namespace {

/// See the record of the op: transpose by perm, then panels of the last axis outermost.
Status pack(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const std::vector<int64_t> perm = call.attributes.integers("perm");
  const int64_t block = call.attributes.integer("block", 0);
  if (perm.size() != x.dims().size() || perm.empty())
    return wrong_length("perm", perm.size(), x.dims().size());
  if (block < 1 || out.rank() != x.rank() + 1 || out.dims().back() != block)
    return invalid_argument("panels of " + std::to_string(block) + " do not fit " +
                            out.type_string());
  // Result axes: panel, permuted axes but the last, column within the panel.
  const std::vector<int64_t> strides = dense_strides(x.dims());
  const std::vector<int64_t> to = dense_strides(out.dims());
  std::vector<int64_t> from = {0}, extents = out.dims();
  for (int64_t p : perm) {
    const auto axis = find_axis(p, x.rank());
    if (!axis) return axis_out_of_range(p, x);
    from.push_back(strides[*axis]);
  }
  from[0] = from.back() * block;
  const size_t element = size_of(x.dtype());
  const int64_t columns = x.dims()[static_cast<size_t>(perm.back())], full = columns / block;
  const auto* source = static_cast<const std::byte*>(x.data());
  auto* target = static_cast<std::byte*>(out.mutable_data());
  const auto bytes = [&](int64_t elements) { return elements * static_cast<int64_t>(element); };
  extents[0] = full;
  strided_copy(extents, target, to, source, from, element);
  if (const int64_t rest = columns % block; rest != 0) {
    extents[0] = 1;
    extents.back() = rest;
    std::byte* panel = target + bytes(full * to[0]);
    strided_copy(extents, panel, to, source + bytes(full * from[0]), from, element);
    extents.back() = block - rest;
    const uint64_t zero = 0;
    strided_fill(extents, panel + bytes(rest), to, &zero, element);
  }
  return {};
}

/// out[i][j] = sum_k matrix[i][k] * in[k][j] for rows of `width` consecutive numbers:
/// in is [taps][others][width], out [rows][others][width].
/// Neighbours are summed together, so that the innermost loop runs over vectors.
void apply_first(const double* matrix, int rows, int taps, const double* __restrict in,
                 double* __restrict out, int64_t others) {
  std::fill_n(out, rows * others, 0.0);
  for (int i = 0; i < rows; ++i)
    for (int k = 0; k < taps; ++k) {
      const double factor = matrix[i * taps + k];
      for (int64_t j = 0; j < others; ++j) out[i * others + j] += factor * in[k * others + j];
    }
}

/// The same along the middle axis: in is [outer][taps][width], out [outer][rows][width].
void apply_middle(const double* matrix, int rows, int taps, const double* in, double* out,
                  int64_t outer, int64_t width) {
  for (int64_t o = 0; o < outer; ++o)
    apply_first(matrix, rows, taps, in + o * taps * width, out + o * rows * width, width);
}

/// The transforms of the two spatial axes; an axis with a window of 1 stays as it is.
struct Axes {
  WinogradMatrices h, w;
  bool ok() const { return h.points != 0 && w.points != 0; }
  int64_t points() const { return int64_t{h.points} * w.points; }
};

Status no_transform(int64_t m, std::span<const int64_t> window) {
  std::string text;
  for (int64_t r : window) {
    if (!text.empty()) text += 'x';
    text += std::to_string(r);
  }
  return {StatusCode::unsupported,
          "no Winograd transform with m = " + std::to_string(m) + " for window " + text};
}

Status winograd_weight(const HostCall& call) {
  const Tensor& w = call.inputs[0];
  Tensor& out = call.outputs[0];
  const int64_t m = call.attributes.integer("m", 0), block = call.attributes.integer("block", 0);
  if (w.rank() < 3 || w.rank() > 4 || out.rank() != 4 || block < 1)
    return invalid_argument("winograd_weight takes [O,I,H,W] or [O,I,W], got " + w.type_string());
  const std::span<const int64_t> window = std::span(w.dims()).subspan(2);
  const Axes axes{find_winograd(m, window.size() == 2 ? window[0] : 1),
                  find_winograd(m, window.back())};
  if (!axes.ok() || out.dims()[0] != axes.points() || out.dims()[3] != block)
    return no_transform(m, window);
  const int64_t filters = w.dims()[0], channels = w.dims()[1], panels = out.dims()[1];
  const int64_t taps = int64_t{axes.h.r} * axes.w.r, points = axes.points();
  return for_elements<kFloats>(w.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(w.data());
    auto* to = static_cast<T*>(out.mutable_data());
    // One task is one row of a panel: `block` filters of one input channel, side by side.
    parallel_for(panels * channels, 16, [&](int64_t begin, int64_t end) {
      std::vector<double> g(static_cast<size_t>(taps * block));
      std::vector<double> half(static_cast<size_t>(axes.h.points * axes.w.r * block));
      std::vector<double> u(static_cast<size_t>(points * block));
      for (int64_t row = begin; row < end; ++row) {
        const int64_t first = row / channels * block, channel = row % channels;
        const int64_t real = std::min(block, filters - first);
        std::fill(g.begin(), g.end(), 0.0);
        for (int64_t b = 0; b < real; ++b)
          for (int64_t t = 0; t < taps; ++t)
            g[static_cast<size_t>(t * block + b)] =
                static_cast<double>(load(from[((first + b) * channels + channel) * taps + t]));
        apply_first(axes.h.g, axes.h.points, axes.h.r, g.data(), half.data(), axes.w.r * block);
        apply_middle(axes.w.g, axes.w.points, axes.w.r, half.data(), u.data(), axes.h.points,
                     block);
        for (int64_t p = 0; p < points; ++p)
          for (int64_t b = 0; b < block; ++b)
            to[(p * panels * channels + row) * block + b] =
                store<T>(static_cast<Compute<T>>(u[static_cast<size_t>(p * block + b)]));
      }
    });
  });
}

/// Sizes shared by the two activation transforms.
struct Tiles {
  Axes axes;
  int64_t rows = 0, columns = 0, channels = 0;  ///< tiles per image, elements per tile point
};

Result<Tiles> read_tiles(const HostCall& call, int64_t channels) {
  const int64_t m = call.attributes.integer("m", 0);
  const std::vector<int64_t> window = call.attributes.integers("window");
  const std::vector<int64_t> tiles = call.attributes.integers("tiles");
  if (call.inputs[0].rank() + call.outputs[0].rank() != 7 || tiles.size() != 2)
    return invalid_argument("Winograd transforms take [N,H,W,C] and [points,tiles,C]");
  Tiles t;
  if (window.size() == 2) t.axes = {find_winograd(m, window[0]), find_winograd(m, window[1])};
  if (!t.axes.ok()) return no_transform(m, window);
  t.rows = tiles[0];
  t.columns = tiles[1];
  t.channels = channels;
  return t;
}

/// V[point, tile, C] = B^T d B of every tile; what lies outside x counts as zero.
Status winograd_input(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const Result<Tiles> tiles = read_tiles(call, x.dims().back());
  if (!tiles.ok()) return tiles.status();
  const Tiles& t = tiles.value();
  const int64_t height = x.dims()[1], width = x.dims()[2], c = t.channels;
  const int64_t count = x.dims()[0] * t.rows * t.columns;
  const int ph = t.axes.h.points, pw = t.axes.w.points;
  return for_elements<kFloats>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    auto* to = static_cast<T*>(out.mutable_data());
    parallel_for(count, 4, [&](int64_t begin, int64_t end) {
      std::vector<double> d(static_cast<size_t>(ph * pw * c)), half(d.size()), v(d.size());
      for (int64_t tile = begin; tile < end; ++tile) {
        const int64_t image = tile / (t.rows * t.columns);
        const int64_t top = tile / t.columns % t.rows * t.axes.h.m;
        const int64_t left = tile % t.columns * t.axes.w.m;
        for (int64_t i = 0; i < ph * pw; ++i) {
          const int64_t h = top + i / pw, w = left + i % pw;
          const bool inside = h < height && w < width;
          const T* pixel = from + ((image * height + h) * width + w) * c;
          for (int64_t k = 0; k < c; ++k)
            d[static_cast<size_t>(i * c + k)] = inside ? static_cast<double>(load(pixel[k])) : 0.0;
        }
        apply_first(t.axes.h.bt, ph, ph, d.data(), half.data(), pw * c);
        apply_middle(t.axes.w.bt, pw, pw, half.data(), v.data(), ph, c);
        for (int64_t i = 0; i < ph * pw; ++i)
          for (int64_t k = 0; k < c; ++k)
            to[(i * count + tile) * c + k] =
                store<T>(static_cast<Compute<T>>(v[static_cast<size_t>(i * c + k)]));
      }
    });
  });
}

/// y[N,H,W,C] = A^T m A of every tile; what lies outside y is dropped.
Status winograd_output(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const Result<Tiles> tiles = read_tiles(call, out.dims().back());
  if (!tiles.ok()) return tiles.status();
  const Tiles& t = tiles.value();
  const int64_t height = out.dims()[1], width = out.dims()[2], c = t.channels;
  const int64_t count = out.dims()[0] * t.rows * t.columns;
  const int ph = t.axes.h.points, pw = t.axes.w.points, mh = t.axes.h.m, mw = t.axes.w.m;
  return for_elements<kFloats>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    auto* to = static_cast<T*>(out.mutable_data());
    parallel_for(count, 4, [&](int64_t begin, int64_t end) {
      std::vector<double> d(static_cast<size_t>(ph * pw * c));
      std::vector<double> half(static_cast<size_t>(mh * pw * c)),
          y(static_cast<size_t>(mh * mw * c));
      for (int64_t tile = begin; tile < end; ++tile) {
        for (int64_t i = 0; i < ph * pw; ++i)
          for (int64_t k = 0; k < c; ++k)
            d[static_cast<size_t>(i * c + k)] =
                static_cast<double>(load(from[(i * count + tile) * c + k]));
        apply_first(t.axes.h.at, mh, ph, d.data(), half.data(), pw * c);
        apply_middle(t.axes.w.at, mw, pw, half.data(), y.data(), mh, c);
        const int64_t image = tile / (t.rows * t.columns);
        for (int64_t i = 0; i < mh * mw; ++i) {
          const int64_t h = tile / t.columns % t.rows * mh + i / mw;
          const int64_t w = tile % t.columns * mw + i % mw;
          if (h >= height || w >= width) continue;
          for (int64_t k = 0; k < c; ++k)
            to[((image * height + h) * width + w) * c + k] =
                store<T>(static_cast<Compute<T>>(y[static_cast<size_t>(i * c + k)]));
        }
      }
    });
  });
}

constexpr HostOp kOps[] = {
    {"pack", pack},
    {"winograd_weight", winograd_weight},
    {"winograd_input", winograd_input},
    {"winograd_output", winograd_output},
};

}  // namespace

std::span<const HostOp> weight_host_ops() { return kOps; }

}  // namespace tintype
