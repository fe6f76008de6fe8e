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
  p.shorter = crop == 299 ? 342 : crop * 256 / 224;
  p.crop = {crop, crop};
  p.mean = {0.485f, 0.456f, 0.406f};
  p.deviation = {0.229f, 0.224f, 0.225f};
  return p;
}

namespace {

Image padded(const Image& image, int margin) {
  Image out = {image.width + 2 * margin, image.height + 2 * margin, image.channels, {}};
  const auto row = static_cast<size_t>(image.width * image.channels);
  const auto wide = static_cast<size_t>(out.width * out.channels);
  out.pixels.resize(wide * static_cast<size_t>(out.height));
  const size_t first = static_cast<size_t>(margin) * wide + (wide - row) / 2;
  for (size_t y = 0; y < static_cast<size_t>(image.height); ++y)
    std::copy_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(y * row), row,
                out.pixels.begin() + static_cast<std::ptrdiff_t>(first + y * wide));
  return out;
}

Image scaled(Image image, const Preprocess& p, const std::string& path) {
  const auto checked = [&](Result<Image> r) {
    if (!r.ok()) throw Error(path + ": " + r.status().message());
    return std::move(r).value();
  };
  if (p.shorter > 0) {
    const double scale = static_cast<double>(p.shorter) / std::min(image.width, image.height);
    const auto scaled_extent = [&](int extent) {
      return static_cast<int>(std::clamp<long>(std::lround(extent * scale), 1, 1 << 30));
    };
    const int width = scaled_extent(image.width), height = scaled_extent(image.height);
    image = checked(resized(image, width, height));
  } else if (p.resize[0] > 0) {
    image = checked(resized_to_cover(image, p.resize[1], p.resize[0]));
  }
  if (p.pad > 0) image = padded(image, p.pad);
  if (p.crop[0] == 0) return image;
  if (p.crop[0] > image.height || p.crop[1] > image.width)
    throw Error(path + ": image of " + std::to_string(image.height) + "x" +
                std::to_string(image.width) + " is smaller than the crop of " +
                std::to_string(p.crop[0]) + "x" + std::to_string(p.crop[1]));
  return center_crop(image, p.crop[1], p.crop[0]);
}

/// The entry of a channel in a list with one for each or one for all.
float entry(const std::vector<float>& list, size_t channel, size_t channels, float missing,
            const std::string& what) {
  if (list.size() > 1 && list.size() != channels)
    throw Error(what + ": " + std::to_string(list.size()) + " values for an image of " +
                std::to_string(channels) + (channels == 1 ? " channel" : " channels"));
  return list.empty() ? missing : list[list.size() == 1 ? 0 : channel];
}

}  // namespace

Tensor load_image(const std::string& path, const Preprocess& p) {
  const Image image = scaled(value_or_error(load_image_file(path, p.channels)), p, path);
  Tensor t = Tensor::empty(DType::f32, {1, image.channels, image.height, image.width});
  auto out = t.mutable_values<float>();
  const auto channels = static_cast<size_t>(image.channels);
  size_t i = 0;
  for (size_t c = 0; c < channels; ++c) {
    const float mean = entry(p.mean, c, channels, 0, path + ": means");
    const float deviation = entry(p.deviation, c, channels, 1, path + ": deviations");
    for (size_t at = c; at < image.pixels.size(); at += channels)
      out[i++] = (static_cast<float>(image.pixels[at]) / p.unit - mean) / deviation;
  }
  return t;
}

Tensor load_images(const std::vector<std::string>& paths, const Preprocess& preprocess) {
  Tensor all;
  for (size_t n = 0; n < paths.size(); ++n) {
    const Tensor one = load_image(paths[n], preprocess);
    if (n == 0) {
      std::vector<int64_t> dims = one.dims();
      dims[0] = static_cast<int64_t>(paths.size());
      all = Tensor::empty(DType::f32, dims);
    }
    const auto from = one.values<float>();
    const auto to = all.mutable_values<float>();
    if (!std::equal(one.dims().begin() + 1, one.dims().end(), all.dims().begin() + 1))
      throw Error(paths[n] + ": becomes " + one.type_string() + ", the first image " +
                  load_image(paths[0], preprocess).type_string() +
                  "; scale all to the same extents");
    std::copy(from.begin(), from.end(), to.begin() + static_cast<std::ptrdiff_t>(n * from.size()));
  }
  return all;
}

namespace {

std::string ending_of(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending;
}

Tensor load_only_array(const std::string& path) {
  const std::map<std::string, Tensor> arrays = value_or_error(load_npz(path));
  if (arrays.size() == 1) return arrays.begin()->second;
  std::string names;
  for (const auto& [name, array] : arrays) names += (names.empty() ? "" : ", ") + name;
  throw Error(path + ": expected one array, found " + std::to_string(arrays.size()) +
              (names.empty() ? "" : ": " + names));
}

}  // namespace

bool is_image_name(const std::string& path) {
  const std::string ending = ending_of(path);
  const auto images = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".gif", ".tga"};
  return std::find(images.begin(), images.end(), ending) != images.end();
}

Tensor load_tensor(const std::string& path, const Preprocess& preprocess) {
  const std::string ending = ending_of(path);
  if (ending == ".npy") return value_or_error(load_npy(path));
  if (ending == ".npz") return load_only_array(path);
  if (ending == ".pb") return load_tensor_proto(path);
  if (is_image_name(path)) return load_image(path, preprocess);
  throw Error(path + ": expected .npy, .npz, .pb or an image: .png, .jpg, .bmp, .ppm, .pgm, .gif, "
                     ".tga");
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

}  // namespace tintype
