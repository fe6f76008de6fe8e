// Readers by file name.
#include "tools/driver/data_files.h"

#include "frontend/data/image.h"
#include "frontend/data/npy.h"
#include "frontend/onnx/tensor_file.h"
#include "ir/diagnostic.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

namespace tintype {

namespace {

template <typename T>
T value_or_error(Result<T> result) {
  if (!result.ok()) throw Error(result.status().message());
  return std::move(result).value();
}

}  // namespace

Preprocess Preprocess::imagenet(int crop) {
  Preprocess p;
  p.resize = crop == 299 ? 342 : crop * 256 / 224;
  p.crop = crop;
  p.mean = {0.485f, 0.456f, 0.406f};
  p.deviation = {0.229f, 0.224f, 0.225f};
  return p;
}

Tensor load_image(const std::string& path, const Preprocess& preprocess) {
  Image image = value_or_error(load_image_file(path, 3));
  if (preprocess.resize > 0) {
    const double scale =
        static_cast<double>(preprocess.resize) / std::min(image.width, image.height);
    const int width = std::max(1, static_cast<int>(std::lround(image.width * scale)));
    const int height = std::max(1, static_cast<int>(std::lround(image.height * scale)));
    image = value_or_error(resized(image, width, height));
  }
  if (preprocess.crop > image.width || preprocess.crop > image.height)
    throw Error(path + ": image of " + std::to_string(image.width) + "x" +
                std::to_string(image.height) + " is smaller than the crop of " +
                std::to_string(preprocess.crop));
  if (preprocess.crop > 0) image = center_crop(image, preprocess.crop, preprocess.crop);
  Tensor t = Tensor::empty(DType::f32, {1, 3, image.height, image.width});
  auto out = t.mutable_values<float>();
  size_t i = 0;
  for (size_t c = 0; c < 3; ++c)
    for (size_t at = c; at < image.pixels.size(); at += 3)
      out[i++] = (static_cast<float>(image.pixels[at]) / 255.0f - preprocess.mean[c]) /
                 preprocess.deviation[c];
  return t;
}

Tensor load_tensor(const std::string& path, const Preprocess& preprocess) {
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (ending == ".npy") return value_or_error(load_npy(path));
  if (ending == ".pb") return load_tensor_proto(path);
  for (const char* image : {".png", ".jpg", ".jpeg", ".bmp", ".ppm"})
    if (ending == image) return load_image(path, preprocess);
  throw Error(path + ": expected .npy, .pb, .png, .jpg, .bmp or .ppm");
}

Tensor random_tensor(DType dtype, const std::vector<int64_t>& dims, uint64_t seed) {
  Tensor t = Tensor::empty(dtype, dims);
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  const auto fill = [&](auto* p, auto make) {
    for (int64_t i = 0; i < t.size(); ++i) p[i] = make();
  };
  void* p = t.mutable_data();
  const auto small = [&engine] { return engine() % 10; };
  switch (dtype) {
    case DType::f32:
      fill(static_cast<float*>(p), [&] { return static_cast<float>(unit(engine)); });
      break;
    case DType::f64: fill(static_cast<double*>(p), [&] { return unit(engine); }); break;
    case DType::f16:
      fill(static_cast<uint16_t*>(p), [&] { return f32_to_f16(static_cast<float>(unit(engine))); });
      break;
    case DType::bf16:
      fill(static_cast<uint16_t*>(p),
           [&] { return f32_to_bf16(static_cast<float>(unit(engine))); });
      break;
    case DType::boolean:
      fill(static_cast<uint8_t*>(p), [&] { return static_cast<uint8_t>(engine() % 2); });
      break;
    case DType::i8:
    case DType::u8:
      fill(static_cast<uint8_t*>(p), [&] { return static_cast<uint8_t>(small()); });
      break;
    case DType::i16:
    case DType::u16:
      fill(static_cast<uint16_t*>(p), [&] { return static_cast<uint16_t>(small()); });
      break;
    case DType::i32:
    case DType::u32:
      fill(static_cast<uint32_t*>(p), [&] { return static_cast<uint32_t>(small()); });
      break;
    case DType::i64:
    case DType::u64: fill(static_cast<uint64_t*>(p), [&] { return small(); }); break;
    case DType::undefined: break;
  }
  return t;
}

double element_as_double(const Tensor& t, int64_t i) {
  return load_scalar(t.dtype(), static_cast<const std::byte*>(t.data()) +
                                    static_cast<size_t>(i) * size_of(t.dtype()));
}

}  // namespace tintype
