// Tensors from files that people have: npy, ONNX pb, images.
#pragma once

#include "runtime/tensor.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// How an image becomes a tensor f32[1,3,H,W]: resized so that the shorter side is `resize` (0: no
/// resizing), the middle `crop` x `crop` cut out (0: all), scaled to [0, 1], then (x - mean) / std.
struct Preprocess {
  int resize = 0;
  int crop = 0;
  std::array<float, 3> mean = {0, 0, 0};
  std::array<float, 3> deviation = {1, 1, 1};

  /// "imagenet": 256, 224, and the means and deviations of torchvision's models.
  static Preprocess imagenet(int crop = 224);
};

/// Reads .npy, .pb (a TensorProto), or an image (.png, .jpg, .jpeg, .bmp, .ppm). Throws Error
/// naming the file and what is wrong with it.
Tensor load_tensor(const std::string& path, const Preprocess& preprocess = {});
Tensor load_image(const std::string& path, const Preprocess& preprocess);

/// Uniform in [0, 1) for floats, small integers for the rest; the same for the same seed.
Tensor random_tensor(DType dtype, const std::vector<int64_t>& dims, uint64_t seed);
/// Element i as a double.
double element_as_double(const Tensor& t, int64_t i);

}  // namespace tintype
