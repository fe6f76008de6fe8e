// Every output pixel asks where it comes from.
#include "frontend/data/image_ops.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tintype {

namespace {

/// The four pixels around a point, and their weights; those outside have weight 0.
struct Taps {
  size_t at[4];
  float weight[4];
};

Taps taps_at(double x, double y, int64_t width, int64_t height) {
  const double left = std::floor(x), top = std::floor(y);
  const double fx = x - left, fy = y - top;
  const double weights[4] = {(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy};
  Taps taps{};
  for (int i = 0; i < 4; ++i) {
    const double column = left + (i & 1), row = top + (i >> 1);
    const bool inside = column >= 0 && row >= 0 && column < static_cast<double>(width) &&
                        row < static_cast<double>(height);
    if (!inside) continue;
    taps.at[i] =
        static_cast<size_t>(static_cast<int64_t>(row) * width + static_cast<int64_t>(column));
    taps.weight[i] = static_cast<float>(weights[i]);
  }
  return taps;
}

}  // namespace

void transform_image(std::span<const float> from, const ImageExtents& extents, double degrees,
                     double zoom, double right, double down, std::span<float> to) {
  const double angle = degrees * std::numbers::pi / 180;
  const double cosine = std::cos(angle) / zoom, sine = std::sin(angle) / zoom;
  const double middle_x = static_cast<double>(extents.width - 1) / 2;
  const double middle_y = static_cast<double>(extents.height - 1) / 2;
  const auto plane = static_cast<size_t>(extents.width * extents.height);
  size_t at = 0;
  for (int64_t y = 0; y < extents.height; ++y)
    for (int64_t x = 0; x < extents.width; ++x, ++at) {
      // The inverse of: turn, enlarge, move. Rows count downwards.
      const double u = static_cast<double>(x) - middle_x - right;
      const double v = static_cast<double>(y) - middle_y - down;
      const Taps taps = taps_at(cosine * u - sine * v + middle_x, sine * u + cosine * v + middle_y,
                                extents.width, extents.height);
      for (size_t c = 0; c < static_cast<size_t>(extents.channels); ++c) {
        const float* source = from.data() + c * plane;
        to[c * plane + at] =
            taps.weight[0] * source[taps.at[0]] + taps.weight[1] * source[taps.at[1]] +
            taps.weight[2] * source[taps.at[2]] + taps.weight[3] * source[taps.at[3]];
      }
    }
}

void crop_image(std::span<const float> from, const ImageExtents& extents, int64_t top, int64_t left,
                bool flip, const ImageExtents& window, std::span<float> to) {
  std::fill(to.begin(), to.end(), 0.0f);
  const int64_t first = std::max<int64_t>(0, -left);
  const int64_t last = std::min(window.width, extents.width - left);
  for (int64_t c = 0; c < window.channels; ++c)
    for (int64_t y = 0; y < window.height; ++y) {
      const int64_t row = top + y;
      if (row < 0 || row >= extents.height) continue;
      const float* source = from.data() + (c * extents.height + row) * extents.width + left;
      float* target = to.data() + (c * window.height + y) * window.width;
      for (int64_t x = first; x < last; ++x) target[flip ? window.width - 1 - x : x] = source[x];
    }
}

void cut_out(std::span<float> image, const ImageExtents& extents, int64_t y, int64_t x,
             int64_t side) {
  const int64_t top = std::max<int64_t>(0, y - side / 2);
  const int64_t bottom = std::min(extents.height, y - side / 2 + side);
  const int64_t left = std::max<int64_t>(0, x - side / 2);
  const int64_t right = std::min(extents.width, x - side / 2 + side);
  for (int64_t c = 0; c < extents.channels; ++c)
    for (int64_t row = top; row < bottom; ++row)
      for (int64_t column = left; column < right; ++column)
        image[static_cast<size_t>((c * extents.height + row) * extents.width + column)] = 0;
}

}  // namespace tintype
