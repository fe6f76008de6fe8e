// Which kind of training data a path holds.
#include "frontend/data/open_dataset.h"

#include "frontend/data/data_error.h"
#include "frontend/data/npy_bytes.h"
#include "frontend/data/readers.h"

#include <algorithm>
#include <filesystem>

namespace tintype {

namespace {

namespace fs = std::filesystem;

/// Text has no control characters but white space.
bool is_text(std::span<const std::byte> bytes) {
  const auto head = bytes.first(std::min<size_t>(bytes.size(), 4096));
  return !head.empty() && std::all_of(head.begin(), head.end(), [](std::byte b) {
    const int c = std::to_integer<int>(b);
    return c >= 32 || c == '\t' || c == '\n' || c == '\r';
  });
}

DataSource open_folder(const std::string& path, const OpenOptions& options) {
  if (is_idx_folder(path)) return read_idx_folder(path, options);
  if (is_cifar10_folder(path)) return read_cifar10_folder(path);
  if (is_image_folder(path)) return read_image_folder(path, options);
  throw DataError(path, "expected a folder with IDX files (...-images-idx3-ubyte), CIFAR-10 files "
                        "(data_batch_1.bin) or a folder of images per class; found none of them");
}

DataSource open_file(const std::string& path, const OpenOptions& options) {
  const Bytes bytes = read_bytes(path);
  if (bytes.data.empty()) throw DataError(path, "is empty");
  if (is_npy(bytes.data)) return read_npy_file(bytes, path, options);
  if (is_zip(bytes.data)) return read_npz_file(bytes, path, options);
  if (is_idx(bytes.data)) return read_idx_file(bytes, path, options);
  if (is_text(bytes.data)) return read_csv(bytes, path, options);
  if (is_cifar10(bytes.data)) return read_cifar10_file(bytes, path);
  throw DataError(path,
                  "expected IDX, CIFAR-10 (a multiple of 3073 bytes), CSV, .npy or .npz; found " +
                      std::to_string(bytes.data.size()) + " bytes of something else");
}

void check_options(const OpenOptions& o) {
  const auto fail = [](const std::string& message) { throw DataError(invalid_argument(message)); };
  const auto one_of = [&](const char* what, const std::string& value,
                          std::initializer_list<const char*> known) {
    std::string list;
    for (const char* k : known) {
      if (value == k) return;
      list += (list.empty() ? "" : ", ") + std::string(k);
    }
    fail(std::string(what) + ": expected one of " + list + "; found '" + value + "'");
  };
  one_of("task", o.task, {"auto", "classes", "values"});
  one_of("header", o.header, {"auto", "yes", "no"});
  if (o.channels != 0 && o.channels != 1 && o.channels != 3)
    fail("channels: expected 1, 3, or 0 for those of the images; found " +
         std::to_string(o.channels));
  if (o.resize[0] < 0 || o.resize[1] < 0 || (o.resize[0] == 0) != (o.resize[1] == 0) ||
      o.resize[0] > 16384 || o.resize[1] > 16384)
    fail(fmt::format("resize: expected a height and a width up to 16384; found {}x{}", o.resize[0],
                     o.resize[1]));
  if (std::any_of(o.shape.begin(), o.shape.end(), [](int64_t d) { return d < 1; }))
    fail("shape: expected positive extents");
}

}  // namespace

Result<DataSource> open_dataset(const std::string& path, const OpenOptions& options) {
  return without_throwing([&]() -> Result<DataSource> {
    check_options(options);
    try {
      return fs::is_directory(path) ? open_folder(path, options) : open_file(path, options);
    } catch (const fs::filesystem_error& e) {
      return Status(StatusCode::io_error, path + ": " + e.code().message());
    }
  });
}

std::vector<std::string> lines_of(const Bytes& bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data.data()), bytes.data.size());
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line(text.substr(at, end - at));
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

}  // namespace tintype
