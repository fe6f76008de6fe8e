// Geometry of images in floats, channel after channel. What comes from outside the image is 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tintype {

struct ImageExtents {
  int64_t channels = 0, height = 0, width = 0;
  size_t size() const { return static_cast<size_t>(channels * height * width); }
};

/// Turned counter-clockwise by `degrees` and enlarged by `zoom` about the centre, then moved
/// `right` and `down` by that many pixels; bilinear. `to` has the extents of `from` and is another
/// memory.
void transform_image(std::span<const float> from, const ImageExtents& extents, double degrees,
                     double zoom, double right, double down, std::span<float> to);

/// The window of `window` extents (the same channels) whose upper left corner is at (top, left),
/// which may lie outside; mirrored left to right if `flip`. `to` is another memory.
void crop_image(std::span<const float> from, const ImageExtents& extents, int64_t top, int64_t left,
                bool flip, const ImageExtents& window, std::span<float> to);

/// Sets the square of side `side` around pixel (y, x), as far as it lies inside, to 0. Even squares
/// reach one pixel further up and left.
void cut_out(std::span<float> image, const ImageExtents& extents, int64_t y, int64_t x,
             int64_t side);

}  // namespace tintype
