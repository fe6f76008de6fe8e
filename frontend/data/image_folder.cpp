// A folder of images per class; images are decoded when they are read.
#include "frontend/data/data_error.h"
#include "frontend/data/image.h"
#include "frontend/data/readers.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

namespace tintype {

namespace {

namespace fs = std::filesystem;

struct ImageFile {
  std::string path;
  int64_t label;
};

std::vector<fs::path> subfolders(const fs::path& folder) {
  std::vector<fs::path> list;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && !entry.path().filename().string().starts_with("."))
      list.push_back(entry.path());
  std::sort(list.begin(), list.end());
  return list;
}

bool has_image_name(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto endings = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".gif", ".tga"};
  return std::find(endings.begin(), endings.end(), ending) != endings.end() &&
         !path.filename().string().starts_with(".");
}

class ImageFolder final : public Dataset {
 public:
  ImageFolder(std::vector<ImageFile> files, std::vector<std::string> class_names, ImageSize size,
              bool resize)
      : Dataset({{"input", DType::u8, {size.channels, size.height, size.width}, false},
                 {"target", DType::i64, {}, true}},
                std::move(class_names)),
        files_(std::move(files)), size_(size), resize_(resize) {}

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }

  Status read(int64_t index, std::span<std::byte* const> to) const override {
    const ImageFile& file = files_[static_cast<size_t>(index)];
    Result<Image> image = load_image_file(file.path, size_.channels);
    if (image.ok() && resize_) image = resized_to_cover(image.value(), size_.width, size_.height);
    if (!image.ok()) return image.status();
    const Image& i = image.value();
    if (i.width != size_.width || i.height != size_.height)
      return {
          StatusCode::invalid_argument,
          fmt::format("{}: has {}x{} pixels, the first image has {}x{}; give a size (--resize) to "
                      "scale all images to",
                      file.path, i.width, i.height, size_.width, size_.height)};
    auto* out = reinterpret_cast<uint8_t*>(to[0]);
    const auto channels = static_cast<size_t>(i.channels);
    for (size_t c = 0; c < channels; ++c)
      for (size_t at = c; at < i.pixels.size(); at += channels) *out++ = i.pixels[at];
    *reinterpret_cast<int64_t*>(to[1]) = file.label;
    return {};
  }

  std::vector<int64_t> labels() const override {
    std::vector<int64_t> list;
    for (const ImageFile& f : files_) list.push_back(f.label);
    return list;
  }

 private:
  std::vector<ImageFile> files_;
  ImageSize size_;
  bool resize_;
};

int64_t class_number(const fs::path& folder, const std::vector<std::string>& class_names) {
  const auto found = std::find(class_names.begin(), class_names.end(), folder.filename().string());
  if (found == class_names.end())
    throw DataError(folder.string(), "there is no class of this name in the training data");
  return found - class_names.begin();
}

std::vector<ImageFile> image_files(const fs::path& folder,
                                   const std::vector<std::string>& class_names) {
  std::vector<ImageFile> files;
  for (const fs::path& of_class : subfolders(folder)) {
    const int64_t label = class_number(of_class, class_names);
    std::vector<std::string> paths;
    for (const auto& entry : fs::recursive_directory_iterator(of_class))
      if (entry.is_regular_file() && has_image_name(entry.path()))
        paths.push_back(entry.path().string());
    if (paths.empty()) throw DataError(of_class.string(), "holds no images");
    std::sort(paths.begin(), paths.end());
    for (std::string& path : paths) files.push_back({std::move(path), label});
  }
  return files;
}

DatasetPtr read_part(const fs::path& folder, OpenOptions options) {
  if (options.class_names.empty())
    for (const fs::path& of_class : subfolders(folder))
      options.class_names.push_back(of_class.filename().string());
  std::vector<ImageFile> files = image_files(folder, options.class_names);
  ImageSize size = value_or_throw(image_file_size(files.front().path));
  const bool resize = options.resize[0] > 0 && options.resize[1] > 0;
  if (resize) {
    size.height = options.resize[0];
    size.width = options.resize[1];
  }
  if (options.channels > 0) size.channels = options.channels;
  return std::make_shared<ImageFolder>(std::move(files), std::move(options.class_names), size,
                                       resize);
}

/// The first of these subfolders that has folders of classes in it.
fs::path part_folder(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (fs::is_directory(folder / name) && !subfolders(folder / name).empty()) return folder / name;
  return {};
}

}  // namespace

bool is_image_folder(const std::string& path) { return !subfolders(path).empty(); }

DataSource read_image_folder(const std::string& path, const OpenOptions& options) {
  const fs::path training = part_folder(path, {"train", "training"});
  DataSource source = {read_part(training.empty() ? fs::path(path) : training, options), nullptr,
                       "image folder"};
  source.named_classes = true;
  if (training.empty()) return source;
  const fs::path test = part_folder(path, {"test", "val", "validation", "valid"});
  if (test.empty()) return source;
  // Test images are brought to what the training images are.
  OpenOptions like_training = options;
  like_training.class_names = source.training->class_names();
  like_training.channels = static_cast<int>(source.training->fields()[0].dims[0]);
  source.test = read_part(test, like_training);
  return source;
}

}  // namespace tintype
