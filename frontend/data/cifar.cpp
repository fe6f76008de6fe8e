// CIFAR-10's binary files: records of a label and 3 x 32 x 32 bytes
// (https://www.cs.toronto.edu/~kriz/cifar.html).
#include "frontend/data/data_error.h"
#include "frontend/data/readers.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace tintype {

namespace {

namespace fs = std::filesystem;

constexpr size_t kPixels = 3 * 32 * 32, kRecord = 1 + kPixels;
constexpr int kClasses = 10;

struct NamedBytes {
  std::string path;
  Bytes bytes;
};

DatasetPtr dataset_of_records(const std::vector<NamedBytes>& files,
                              const std::vector<std::string>& class_names) {
  int64_t count = 0;
  for (const NamedBytes& f : files) count += static_cast<int64_t>(f.bytes.data.size() / kRecord);
  Tensor images = Tensor::empty(DType::u8, {count, 3, 32, 32});
  Tensor labels = Tensor::empty(DType::i64, {count});
  auto* image = static_cast<std::byte*>(images.mutable_data());
  auto* label = labels.mutable_values<int64_t>().data();
  for (const NamedBytes& f : files) {
    const std::span<const std::byte> data = f.bytes.data;
    if (data.empty() || data.size() % kRecord != 0)
      throw DataError(f.path, "has " + std::to_string(data.size()) +
                                  " bytes; a CIFAR-10 file has a multiple of " +
                                  std::to_string(kRecord));
    for (size_t at = 0; at < data.size(); at += kRecord, image += kPixels) {
      *label = std::to_integer<int64_t>(data[at]);
      if (*label >= kClasses)
        throw DataError(f.path, "label " + std::to_string(*label) + " of image " +
                                    std::to_string(at / kRecord) + " is not below 10");
      ++label;
      std::memcpy(image, data.data() + at + 1, kPixels);
    }
  }
  return dataset_of({"input", std::move(images), false}, Column{"target", std::move(labels), true},
                    files.front().path, class_names);
}

std::vector<std::string> names_beside(const fs::path& folder) {
  const fs::path file = folder / "batches.meta.txt";
  if (!fs::exists(file)) return {};
  std::vector<std::string> names = lines_of(read_bytes(file.string()));
  if (names.size() != kClasses)
    throw DataError(file.string(),
                    "expected 10 class names, one a line; found " + std::to_string(names.size()));
  return names;
}

bool is_training_name(const std::string& name) {
  return name.starts_with("data_batch_") && name.ends_with(".bin");
}

}  // namespace

bool is_cifar10(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() % kRecord != 0) return false;
  for (size_t at = 0; at < bytes.size(); at += kRecord)
    if (std::to_integer<int>(bytes[at]) >= kClasses) return false;
  return true;
}

bool is_cifar10_folder(const std::string& path) {
  for (const auto& entry : fs::directory_iterator(path))
    if (is_training_name(entry.path().filename().string())) return true;
  return false;
}

DataSource read_cifar10_folder(const std::string& path) {
  std::vector<std::string> training;
  for (const auto& entry : fs::directory_iterator(path))
    if (is_training_name(entry.path().filename().string()))
      training.push_back(entry.path().string());
  std::sort(training.begin(), training.end());
  std::vector<NamedBytes> files;
  for (const std::string& file : training) files.push_back({file, read_bytes(file)});
  const std::vector<std::string> names = names_beside(path);
  DataSource source = {dataset_of_records(files, names), nullptr, "CIFAR-10"};
  if (const std::string test = (fs::path(path) / "test_batch.bin").string(); fs::exists(test))
    source.test = dataset_of_records({{test, read_bytes(test)}}, names);
  return source;
}

DataSource read_cifar10_file(const Bytes& bytes, const std::string& path) {
  return {dataset_of_records({{path, bytes}}, names_beside(fs::path(path).parent_path())), nullptr,
          "CIFAR-10"};
}

}  // namespace tintype
