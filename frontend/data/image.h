// Pictures in files: decoding, scaling, PNG out.
#pragma once

#include "runtime/status.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tintype {

/// Rows from the top, pixels from the left, channels (grey; or red, green, blue) interleaved.
struct Image {
  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> pixels;
};

struct ImageSize {
  int width = 0, height = 0, channels = 0;
};

/// Reads JPEG, PNG, BMP, PNM, GIF (first frame), TGA. `channels` 1 or 3 converts; 0 keeps grey grey
/// and makes everything else RGB. Transparency is dropped. Messages begin with the path.
Result<Image> load_image_file(const std::string& path, int channels = 0);
/// What the header says, without decoding.
Result<ImageSize> image_file_size(const std::string& path);

/// Scaled with an antialiasing filter. Extents are positive.
Result<Image> resized(const Image& image, int width, int height);
/// The middle of an image; the extents are not larger than its own.
Image center_crop(const Image& image, int width, int height);
/// Scaled so that it just covers width x height, then the middle cut out.
Result<Image> resized_to_cover(const Image& image, int width, int height);

/// A PNG file in memory.
Result<std::vector<std::byte>> encode_png(const Image& image);
Status save_png(const Image& image, const std::string& path);

}  // namespace tintype
