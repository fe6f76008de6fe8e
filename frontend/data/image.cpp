// stb does the work; what its C interface leaves open (sizes, bombs, ownership) is checked here.
#include "frontend/data/image.h"

#include "runtime/atomic_file.h"
#include "runtime/guarded.h"
#include "runtime/mapped_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_FAILURE_USERMSG
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_NO_STDIO
#define STBI_NO_PIC
#define STBI_NO_PSD
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image.h>
#include <stb/stb_image_resize.h>
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace tintype {

namespace {

constexpr int64_t kMostPixels = int64_t{1} << 28;  ///< larger claims are damage or malice
constexpr int kLongestSide = 65535;  ///< scaling takes time that grows with the square of a side

bool is_sane(int width, int height, int64_t most_pixels) {
  return width > 0 && height > 0 && width <= kLongestSide && height <= kLongestSide &&
         int64_t{width} * height <= most_pixels;
}

struct Encoded {
  std::shared_ptr<const MappedFile> file;
  const stbi_uc* data = nullptr;
  int size = 0;
};

Result<Encoded> open_encoded(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file.ok()) return file.status();
  const std::span<const std::byte> bytes = file.value()->bytes();
  if (bytes.size() > std::numeric_limits<int>::max())
    return Status(StatusCode::unsupported, path + ": is larger than 2 GiB");
  return Encoded{file.value(), reinterpret_cast<const stbi_uc*>(bytes.data()),
                 static_cast<int>(bytes.size())};
}

Status unreadable(const std::string& path, const char* why) {
  return {StatusCode::corrupt_file, path + ": cannot be read as an image (" + why + ")"};
}

size_t byte_count(int width, int height, int channels) {
  return static_cast<size_t>(width) * static_cast<size_t>(height) * static_cast<size_t>(channels);
}

/// How many pixels the bytes can hold, so that a few of them do not make the decoder ask for
/// gigabytes. GIF and others may leave parts of a picture empty: small pictures are always fine.
int64_t most_pixels(const Encoded& e) {
  constexpr int64_t kAlwaysFine = int64_t{1} << 22;
  const auto starts_with = [&](std::string_view magic) {
    return static_cast<size_t>(e.size) > magic.size() &&
           std::memcmp(e.data, magic.data(), magic.size()) == 0;
  };
  int64_t per_byte = 8192;
  if (starts_with("\xff\xd8")) {
    per_byte = 512;  // a bit at least for every 8 x 8 block
  } else if (starts_with("\x89PNG") && e.size > 25) {
    const int samples = std::array{1, 1, 3, 1, 2, 1, 4}[e.data[25] % 7];  // by type of colour
    per_byte = 1032 * 8 / std::max(1, samples * e.data[24]);  // what deflate packs at best
  }
  return std::min(kMostPixels, std::max(kAlwaysFine, per_byte * e.size));
}

Result<ImageSize> size_of_encoded(const Encoded& e, const std::string& path) {
  ImageSize s;
  if (stbi_info_from_memory(e.data, e.size, &s.width, &s.height, &s.channels) == 0)
    return unreadable(path, stbi_failure_reason());
  if (!is_sane(s.width, s.height, most_pixels(e)))
    return unreadable(path, "its header claims impossible extents");
  s.channels = s.channels <= 2 ? 1 : 3;  // 2 and 4 have transparency
  return s;
}

}  // namespace

Result<ImageSize> image_file_size(const std::string& path) {
  const Result<Encoded> encoded = open_encoded(path);
  return encoded.ok() ? size_of_encoded(encoded.value(), path) : encoded.status();
}

Result<Image> load_image_file(const std::string& path, int channels) {
  return guarded([&]() -> Result<Image> {
    const Result<Encoded> encoded = open_encoded(path);
    if (!encoded.ok()) return encoded.status();
    const Result<ImageSize> size = size_of_encoded(encoded.value(), path);
    if (!size.ok()) return size.status();
    Image image;
    image.channels = channels > 0 ? channels : size.value().channels;
    int found = 0;
    const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
        stbi_load_from_memory(encoded.value().data, encoded.value().size, &image.width,
                              &image.height, &found, image.channels),
        stbi_image_free);
    if (pixels == nullptr) return unreadable(path, stbi_failure_reason());
    image.pixels.assign(pixels.get(),
                        pixels.get() + byte_count(image.width, image.height, image.channels));
    return image;
  });
}

Result<Image> resized(const Image& image, int width, int height) {
  return guarded([&]() -> Result<Image> {
    if (!is_sane(width, height, kMostPixels))
      return Status(StatusCode::unsupported, "an image of " + std::to_string(image.width) + "x" +
                                                 std::to_string(image.height) +
                                                 " would become too large");
    Image out = {width, height, image.channels, {}};
    out.pixels.resize(byte_count(width, height, image.channels));
    if (stbir_resize_uint8(image.pixels.data(), image.width, image.height, 0, out.pixels.data(),
                           width, height, 0, image.channels) == 0)
      return Status(StatusCode::out_of_memory, "out of memory while scaling an image");
    return out;
  });
}

Image center_crop(const Image& image, int width, int height) {
  const int left = (image.width - width) / 2, top = (image.height - height) / 2;
  Image out = {width, height, image.channels, {}};
  out.pixels.resize(byte_count(width, height, image.channels));
  const size_t row = byte_count(width, 1, image.channels);
  for (int y = 0; y < height; ++y)
    std::memcpy(out.pixels.data() + static_cast<size_t>(y) * row,
                image.pixels.data() + byte_count(image.width, top + y, image.channels) +
                    byte_count(left, 1, image.channels),
                row);
  return out;
}

Result<Image> resized_to_cover(const Image& image, int width, int height) {
  const double scale = std::max(static_cast<double>(width) / image.width,
                                static_cast<double>(height) / image.height);
  const int w = std::max(width, static_cast<int>(std::lround(image.width * scale)));
  const int h = std::max(height, static_cast<int>(std::lround(image.height * scale)));
  if (int64_t{w} * h > kMostPixels)
    return Status(StatusCode::unsupported,
                  "an image of " + std::to_string(image.width) + "x" +
                      std::to_string(image.height) + " is too oblong to be scaled to cover " +
                      std::to_string(width) + "x" + std::to_string(height));
  if (w == image.width && h == image.height) return center_crop(image, width, height);
  const Result<Image> scaled = resized(image, w, h);
  if (!scaled.ok()) return scaled.status();
  return center_crop(scaled.value(), width, height);
}

Result<std::vector<std::byte>> encode_png(const Image& image) {
  return guarded([&]() -> Result<std::vector<std::byte>> {
    std::vector<std::byte> png;
    const auto append = [](void* to, void* data, int size) {
      const auto* bytes = static_cast<const std::byte*>(data);
      auto& out = *static_cast<std::vector<std::byte>*>(to);
      out.insert(out.end(), bytes, bytes + size);
    };
    if (stbi_write_png_to_func(append, &png, image.width, image.height, image.channels,
                               image.pixels.data(), 0) == 0)
      return Status(StatusCode::out_of_memory, "out of memory while packing an image");
    return png;
  });
}

Status save_png(const Image& image, const std::string& path) {
  const Result<std::vector<std::byte>> png = encode_png(image);
  if (!png.ok()) return png.status();
  Result<AtomicFile> file = AtomicFile::create(path);
  if (!file.ok()) return file.status();
  if (Status s = file.value().write(png.value()); !s.ok()) return s;
  return file.value().commit();
}

}  // namespace tintype
