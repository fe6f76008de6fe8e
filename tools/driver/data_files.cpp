// npy files, ONNX tensor files and images.
#include "tools/driver/data_files.h"

#include "frontend/onnx/tensor_file.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_FAILURE_USERMSG
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image.h>
#include <stb/stb_image_resize.h>
#pragma GCC diagnostic pop

namespace tintype {

namespace {

struct NpyType {
  std::string_view code;
  DType dtype;
};
constexpr NpyType kNpyTypes[] = {{"<f4", DType::f32}, {"<f8", DType::f64}, {"<f2", DType::f16}, {"|b1", DType::boolean},
                                 {"|i1", DType::i8},  {"<i2", DType::i16}, {"<i4", DType::i32}, {"<i8", DType::i64},
                                 {"|u1", DType::u8},  {"<u2", DType::u16}, {"<u4", DType::u32}, {"<u8", DType::u64}};

/// Text between `'key':` and the next top-level comma of an npy header.
std::string header_field(const std::string& header, const std::string& key) {
  const size_t at = header.find("'" + key + "'");
  if (at == std::string::npos) return "";
  const size_t colon = header.find(':', at);
  if (colon == std::string::npos) return "";
  size_t end = colon + 1;
  for (int depth = 0; end < header.size() && (depth > 0 || (header[end] != ',' && header[end] != '}')); ++end) {
    if (header[end] == '(') ++depth;
    if (header[end] == ')') --depth;
  }
  std::string field = header.substr(colon + 1, end - colon - 1);
  std::erase_if(field, [](char c) { return c == ' ' || c == '\''; });
  return field;
}

std::optional<std::vector<int64_t>> parse_shape(const std::string& text) {
  if (text.size() < 2 || text.front() != '(' || text.back() != ')') return std::nullopt;
  std::vector<int64_t> dims;
  std::string digits;
  for (const char c : text.substr(1)) {
    if (c >= '0' && c <= '9') {
      digits += c;
      if (digits.size() > 18) return std::nullopt;
    } else if (!digits.empty()) {
      dims.push_back(std::stoll(digits));
      digits.clear();
    }
  }
  return dims;
}

}  // namespace

Tensor load_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path + ": cannot be opened");
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto bad = [&path](const std::string& why) { return Error(path + ": " + why); };
  if (bytes.size() < 12 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0) throw bad("is not a .npy file");
  const int major = bytes[6];
  auto byte = [&bytes](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes[i])); };
  const size_t start = major >= 2 ? 12 : 10;
  size_t length = byte(8) | (byte(9) << 8);
  if (major >= 2) length |= (byte(10) << 16) | (byte(11) << 24);
  if (length > bytes.size() - start) throw bad("the header reaches past the end of the file");
  const std::string header(bytes.data() + start, length);
  const std::string code = header_field(header, "descr");
  const auto* type = std::find_if(std::begin(kNpyTypes), std::end(kNpyTypes), [&](const NpyType& t) { return t.code == code; });
  if (type == std::end(kNpyTypes)) throw bad("element type '" + code + "' is not supported");
  if (header_field(header, "fortran_order") != "False") throw bad("is in Fortran order; save it with numpy.ascontiguousarray");
  const auto dims = parse_shape(header_field(header, "shape"));
  if (!dims) throw bad("the shape in the header cannot be read");
  Tensor t;
  try {
    if (static_cast<size_t>(element_count(*dims)) != (bytes.size() - start - length) / size_of(type->dtype))
      throw bad("holds " + std::to_string(bytes.size() - start - length) + " bytes of data, expected " + type_string(type->dtype, *dims));
    t = Tensor::empty(type->dtype, *dims);
  } catch (const std::length_error& e) {
    throw bad(e.what());
  }
  if (t.bytes() != 0) std::memcpy(t.mutable_data(), bytes.data() + start + length, t.bytes());
  return t;
}

void save_npy(const Tensor& tensor, const std::string& path) {
  const auto* type = std::find_if(std::begin(kNpyTypes), std::end(kNpyTypes), [&](const NpyType& t) { return t.dtype == tensor.dtype(); });
  if (type == std::end(kNpyTypes)) throw Error(path + ": numpy has no element type " + std::string(name_of(tensor.dtype())));
  std::string header = "{'descr': '" + std::string(type->code) + "', 'fortran_order': False, 'shape': (";
  for (int64_t d : tensor.dims()) header += std::to_string(d) + ",";
  header += "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  const std::string temporary = path + ".part";
  {
    std::ofstream out(temporary, std::ios::binary);
    out.write("\x93NUMPY\x01\x00", 8);
    out.put(static_cast<char>(header.size() & 0xff)).put(static_cast<char>(header.size() >> 8));
    out << header;
    out.write(static_cast<const char*>(tensor.data()), static_cast<std::streamsize>(tensor.bytes()));
    out.flush();
    if (!out) {
      std::error_code ignored;
      std::filesystem::remove(temporary, ignored);
      throw Error(path + ": cannot be written");
    }
  }
  std::filesystem::rename(temporary, path);
}

Preprocess Preprocess::imagenet(int crop) {
  Preprocess p;
  p.resize = crop == 299 ? 342 : crop * 256 / 224;
  p.crop = crop;
  p.mean = {0.485f, 0.456f, 0.406f};
  p.deviation = {0.229f, 0.224f, 0.225f};
  return p;
}

Tensor load_image(const std::string& path, const Preprocess& preprocess) {
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<unsigned char, decltype(&stbi_image_free)> pixels(
      stbi_load(path.c_str(), &width, &height, &channels, 3), stbi_image_free);
  if (pixels == nullptr) throw Error(path + ": cannot be read as an image (" + stbi_failure_reason() + ")");
  std::vector<unsigned char> image(pixels.get(), pixels.get() + static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  if (preprocess.resize > 0) {
    const double scale = static_cast<double>(preprocess.resize) / std::min(width, height);
    const int w = std::max(1, static_cast<int>(std::lround(width * scale)));
    const int h = std::max(1, static_cast<int>(std::lround(height * scale)));
    std::vector<unsigned char> resized(static_cast<size_t>(w) * static_cast<size_t>(h) * 3);
    stbir_resize_uint8(image.data(), width, height, 0, resized.data(), w, h, 0, 3);
    image = std::move(resized);
    width = w;
    height = h;
  }
  const int crop_w = preprocess.crop > 0 ? preprocess.crop : width;
  const int crop_h = preprocess.crop > 0 ? preprocess.crop : height;
  if (crop_w > width || crop_h > height)
    throw Error(path + ": image of " + std::to_string(width) + "x" + std::to_string(height) + " is smaller than the crop of " + std::to_string(preprocess.crop));
  const int left = (width - crop_w) / 2, top = (height - crop_h) / 2;
  Tensor t = Tensor::empty(DType::f32, {1, 3, crop_h, crop_w});
  auto out = t.mutable_values<float>();
  size_t i = 0;
  for (size_t c = 0; c < 3; ++c)
    for (int y = 0; y < crop_h; ++y)
      for (int x = 0; x < crop_w; ++x) {
        const size_t at = (static_cast<size_t>(top + y) * static_cast<size_t>(width) + static_cast<size_t>(left + x)) * 3 + c;
        out[i++] = (static_cast<float>(image[at]) / 255.0f - preprocess.mean[c]) / preprocess.deviation[c];
      }
  return t;
}

Tensor load_tensor(const std::string& path, const Preprocess& preprocess) {
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (ending == ".npy") return load_npy(path);
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
    case DType::f32: fill(static_cast<float*>(p), [&] { return static_cast<float>(unit(engine)); }); break;
    case DType::f64: fill(static_cast<double*>(p), [&] { return unit(engine); }); break;
    case DType::f16: fill(static_cast<uint16_t*>(p), [&] { return f32_to_f16(static_cast<float>(unit(engine))); }); break;
    case DType::bf16: fill(static_cast<uint16_t*>(p), [&] { return f32_to_bf16(static_cast<float>(unit(engine))); }); break;
    case DType::boolean: fill(static_cast<uint8_t*>(p), [&] { return static_cast<uint8_t>(engine() % 2); }); break;
    case DType::i8:
    case DType::u8: fill(static_cast<uint8_t*>(p), [&] { return static_cast<uint8_t>(small()); }); break;
    case DType::i16:
    case DType::u16: fill(static_cast<uint16_t*>(p), [&] { return static_cast<uint16_t>(small()); }); break;
    case DType::i32:
    case DType::u32: fill(static_cast<uint32_t*>(p), [&] { return static_cast<uint32_t>(small()); }); break;
    case DType::i64:
    case DType::u64: fill(static_cast<uint64_t*>(p), [&] { return small(); }); break;
    case DType::undefined: break;
  }
  return t;
}

double element_as_double(const Tensor& t, int64_t i) {
  const auto at = static_cast<size_t>(i);
  switch (t.dtype()) {
    case DType::f32: return static_cast<double>(t.values<float>()[at]);
    case DType::f64: return t.values<double>()[at];
    case DType::f16: return static_cast<double>(f16_to_f32(t.values<uint16_t>()[at]));
    case DType::bf16: return static_cast<double>(bf16_to_f32(t.values<uint16_t>()[at]));
    case DType::boolean:
    case DType::u8: return t.values<uint8_t>()[at];
    case DType::i8: return t.values<int8_t>()[at];
    case DType::i16: return t.values<int16_t>()[at];
    case DType::u16: return t.values<uint16_t>()[at];
    case DType::i32: return t.values<int32_t>()[at];
    case DType::u32: return t.values<uint32_t>()[at];
    case DType::i64: return static_cast<double>(t.values<int64_t>()[at]);
    case DType::u64: return static_cast<double>(t.values<uint64_t>()[at]);
    case DType::undefined: break;
  }
  return 0.0;
}

}  // namespace tintype
