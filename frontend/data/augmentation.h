// Random changes of training images, drawn anew for every sample and epoch.
#pragma once

#include "runtime/status.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// What may happen to a sample, in this order: rotation, scaling and shift (one bilinear
/// interpolation; whole-pixel shifts alone are exact), padding and cropping, flip, normalisation,
/// noise, cutout. What comes from outside the image is 0 before normalisation.
struct Augmentation {
  int64_t shift = 0;   ///< whole pixels in each direction, uniform in [-shift, shift]
  double rotate = 0;   ///< degrees about the centre, uniform in [-rotate, rotate]
  double scale = 0;    ///< zoom factor, uniform in [1 - scale, 1 + scale]; below 1
  double flip = 0;     ///< probability of a horizontal flip
  int64_t pad = 0;     ///< zeros on each side before cropping
  int64_t crop = 0;    ///< side of the square cut out at random; 0: the image's own extents
  double noise = 0;    ///< deviation of Gaussian noise, in units of normalised values
  int64_t cutout = 0;  ///< side of a square that becomes 0 (the mean, when normalised); its centre
                       ///< is anywhere in the image (DeVries & Taylor 2017, arXiv:1708.04552)

  /// "shift=1,rotate=10,flip,cutout=4"; flip alone means flip=0.5.
  static Result<Augmentation> parse(std::string_view text);
  std::string text() const;

  /// Whether anything is on that only images have: all but noise.
  bool needs_images() const {
    return shift > 0 || rotate > 0 || scale > 0 || flip > 0 || pad > 0 || crop > 0 || cutout > 0;
  }
  /// Extents of a sample after cropping; fails when `dims` are no image (channels, height, width)
  /// but this needs one, or when the crop is larger than the padded image.
  Result<std::vector<int64_t>> output_dims(const std::vector<int64_t>& dims) const;
};

}  // namespace tintype
