// Tensors from files that people have: npy, ONNX pb, images.
#pragma once

#include "runtime/tensor.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// How an image becomes a tensor f32[1,C,H,W]: scaled, a margin of zeros added, the middle cut out,
/// then (byte / unit - mean) / deviation. Zero extents leave an image as it is.
struct Preprocess {
  using Extents = std::array<int, 2>;  ///< height, width

  int channels = 3;     ///< 1, 3, or 0: grey stays grey, all else becomes colours
  int shorter = 0;      ///< scaled so that this is the shorter side, or
  Extents resize = {};  ///< scaled to cover these extents, and the middle cut out
  int pad = 0;
  Extents crop = {};
  float unit = 255;
  std::vector<float> mean = {}, deviation = {};  ///< of channels, or one for all; empty: 0, 1

  /// The shorter side 256, the middle 224 x 224, means and deviations of torchvision's models.
  static Preprocess imagenet(int crop = 224);
};

/// Reads .npy, .npz (if it holds one array), .pb (a TensorProto), or an image. Throws Error naming
/// the file and what is wrong with it.
Tensor load_tensor(const std::string& path, const Preprocess& preprocess = {});
/// Whether load_tensor takes a file of this name for an image.
bool is_image_name(const std::string& path);
Tensor load_image(const std::string& path, const Preprocess& preprocess);
/// One tensor [N,C,H,W] of several images, which must come out alike.
Tensor load_images(const std::vector<std::string>& paths, const Preprocess& preprocess);

/// Uniform in [0, 1) for floats, small integers for the rest; the same for the same seed.
Tensor random_tensor(DType dtype, const std::vector<int64_t>& dims, uint64_t seed);

}  // namespace tintype
