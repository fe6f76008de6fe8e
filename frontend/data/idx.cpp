// IDX, the format of MNIST: two zero bytes, element type, rank, extents, elements; all big endian
// (http://yann.lecun.com/exdb/mnist).
#include "frontend/data/data_error.h"
#include "frontend/data/readers.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace tintype {

namespace {

namespace fs = std::filesystem;

DType dtype_of_code(std::byte code) {
  switch (std::to_integer<int>(code)) {
    case 0x08: return DType::u8;
    case 0x09: return DType::i8;
    case 0x0b: return DType::i16;
    case 0x0c: return DType::i32;
    case 0x0d: return DType::f32;
    case 0x0e: return DType::f64;
    default: return DType::undefined;
  }
}

int64_t extent_at(std::span<const std::byte> bytes, size_t at) {
  int64_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<int64_t>(bytes[at + i]);
  return value;
}

Tensor swapped(DType dtype, const std::vector<int64_t>& dims, std::span<const std::byte> data) {
  Tensor t = Tensor::empty(dtype, dims);
  auto* to = static_cast<std::byte*>(t.mutable_data());
  const size_t element = size_of(dtype);
  for (size_t at = 0; at < data.size(); at += element)
    std::reverse_copy(data.data() + at, data.data() + at + element, to + at);
  return t;
}

std::string file_name(const std::string& path) { return fs::path(path).filename().string(); }

bool names_idx_images(const std::string& name) {
  return name.find("images") != std::string::npos && name.find("idx") != std::string::npos;
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  if (const size_t at = text.rfind(from); at != std::string::npos)
    text.replace(at, from.size(), to);
}

/// The labels that belong to a file of images: train-images-idx3-ubyte.gz ->
/// train-labels-idx1-ubyte.gz, packed or not. Empty when there is no such file.
std::string labels_beside(const std::string& images) {
  std::string name = file_name(images);
  if (name.find("images") == std::string::npos) return "";
  replace(name, "images", "labels");
  for (const char* rank : {"idx2", "idx3", "idx4"}) replace(name, rank, "idx1");
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  const fs::path folder = fs::path(images).parent_path();
  for (const std::string& candidate : {name, name + ".gz"})
    if (fs::exists(folder / candidate)) return (folder / candidate).string();
  return "";
}

DatasetPtr dataset_of_files(const Bytes& bytes, const std::string& images,
                            const std::string& labels, const OpenOptions& options) {
  std::optional<Column> target;
  if (!labels.empty()) target = target_column(parse_idx(read_bytes(labels), labels), labels);
  return dataset_of(input_column(parse_idx(bytes, images), options, images), std::move(target),
                    images, options.class_names);
}

}  // namespace

bool is_idx(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && bytes[0] == std::byte{0} && bytes[1] == std::byte{0} &&
         dtype_of_code(bytes[2]) != DType::undefined && bytes[3] > std::byte{0} &&
         bytes[3] <= std::byte{8};
}

Tensor parse_idx(const Bytes& bytes, const std::string& path) {
  if (!is_idx(bytes.data))
    throw DataError(path, "is not an IDX file: expected 00 00, an element type (08 to 0e) and the "
                          "number of extents (1 to 8)");
  const DType dtype = dtype_of_code(bytes.data[2]);
  const size_t rank = std::to_integer<size_t>(bytes.data[3]), start = 4 + 4 * rank;
  if (bytes.data.size() < start)
    throw DataError(path, "ends inside the header: expected " + std::to_string(start) +
                              " bytes, found " + std::to_string(bytes.data.size()));
  std::vector<int64_t> dims;
  for (size_t i = 0; i < rank; ++i) dims.push_back(extent_at(bytes.data, 4 + 4 * i));
  const std::span<const std::byte> data = bytes.data.subspan(start);
  const bool empty = std::find(dims.begin(), dims.end(), 0) != dims.end();
  size_t wanted = empty ? 0 : size_of(dtype);
  for (const int64_t d : dims) {
    if (empty || wanted > data.size()) break;
    // Far too many elements are as wrong as too many, and their number may overflow.
    const bool too_many = static_cast<size_t>(d) > data.size();
    wanted = too_many ? data.size() + 1 : wanted * static_cast<size_t>(d);
  }
  if (wanted != data.size())
    throw DataError(path, "holds " + std::to_string(data.size()) + " bytes of data, its header " +
                              type_string(dtype, dims) + " asks for " +
                              (wanted < data.size() ? "fewer" : "more"));
  if (size_of(dtype) > 1) return swapped(dtype, dims, data);
  return Tensor::borrow(dtype, dims, data.data(), bytes.owner);
}

bool is_idx_folder(const std::string& path) {
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.is_regular_file() && names_idx_images(entry.path().filename().string())) return true;
  return false;
}

DataSource read_idx_folder(const std::string& path, const OpenOptions& options) {
  std::vector<std::string> training, test;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || !names_idx_images(name)) continue;
    const bool is_test =
        name.find("t10k") != std::string::npos || name.find("test") != std::string::npos;
    (is_test ? test : training).push_back(entry.path().string());
  }
  const auto only = [&](std::vector<std::string> files) -> DatasetPtr {
    std::sort(files.begin(), files.end());
    if (files.empty()) return nullptr;
    if (files.size() > 1)
      throw DataError(path, "holds several sets of images, among them " + file_name(files[0]) +
                                " and " + file_name(files[1]) + "; name one of the files");
    const std::string labels = labels_beside(files[0]);
    if (labels.empty())
      throw DataError(files[0], "the labels are missing: expected a file beside it whose name has "
                                "'labels' for 'images' and 'idx1' for 'idx3'");
    return dataset_of_files(read_bytes(files[0]), files[0], labels, options);
  };
  DataSource source = {only(training), only(test), "IDX"};
  if (source.training == nullptr) throw DataError(path, "holds test images alone; name the file");
  return source;
}

DataSource read_idx_file(const Bytes& bytes, const std::string& path, const OpenOptions& options) {
  const std::string labels = options.targets.empty() ? labels_beside(path) : options.targets;
  return {dataset_of_files(bytes, path, labels, options), nullptr, "IDX"};
}

Result<Tensor> load_idx(const std::string& path) {
  return without_throwing([&]() -> Result<Tensor> { return parse_idx(read_bytes(path), path); });
}

}  // namespace tintype
