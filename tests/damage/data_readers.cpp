// Training data, images, weights and checkpoints.
#include "frontend/data/checkpoint.h"
#include "frontend/data/image.h"
#include "frontend/data/npy.h"
#include "frontend/data/open_dataset.h"
#include "frontend/data/safetensors.h"
#include "runtime/checksum.h"
#include "tests/damage/readers.h"
#include "tests/data/folder.h"

#include <cstring>
#include <map>

namespace tintype::test {

namespace {

using namespace std::string_literals;
using Files = std::vector<std::string>;

std::string fixture(const std::string& name) {
  return content_of(TINTYPE_SOURCE_DIR "/tests/data/fixtures/" + name);
}

void touch(const Tensor& t) { test::touch(t.data(), t.bytes()); }

void touch_all(const std::map<std::string, Tensor>& tensors) {
  for (const auto& [name, t] : tensors) touch(t);
}

void read_npy_file(const std::string& path, Outcome& outcome) {
  const Result<Tensor> t = load_npy(path);
  if (accept(t.status(), outcome)) touch(t.value());
}

void read_npz_file(const std::string& path, Outcome& outcome) {
  const auto arrays = load_npz(path);
  if (accept(arrays.status(), outcome)) touch_all(arrays.value());
}

/// What training does with a path: finds out what it is, and reads samples and labels.
void read_dataset(const std::string& path, Outcome& outcome) {
  const Result<DataSource> source = open_dataset(path);
  if (!accept(source.status(), outcome)) return;
  const Dataset& data = *source.value().training;
  (void)data.classes();
  for (int64_t i = 0; i < std::min<int64_t>(data.size(), 4); ++i) {
    std::vector<std::vector<std::byte>> values;
    std::vector<std::byte*> places;
    for (const Field& f : data.fields())
      values.emplace_back(static_cast<size_t>(element_count(f.dims)) * size_of(f.dtype));
    for (auto& v : values) places.push_back(v.data());
    if (!accept(data.read(i, places), outcome)) return;
    for (const auto& v : values) test::touch(v.data(), v.size());
  }
  // Splits look at every label.
  if (data.size() > 1) (void)split(source.value().training, 0.5, 1, false).ok();
}

void read_image(const std::string& path, Outcome& outcome) {
  const Result<Image> image = load_image_file(path);
  if (!accept(image.status(), outcome)) return;
  test::touch(image.value().pixels.data(), image.value().pixels.size());
  (void)resized_to_cover(image.value(), 5, 3).ok();
}

void read_weights(const std::string& path, Outcome& outcome) {
  const auto file = load_safetensors(path);
  if (accept(file.status(), outcome)) touch_all(file.value().tensors);
}

void read_checkpoint(const std::string& path, Outcome& outcome) {
  const Result<Checkpoint> c = load_checkpoint(path);
  if (accept(c.status(), outcome)) touch_all(c.value().tensors);
}

void repair_checkpoint(std::string& bytes) {
  if (bytes.size() < 64) return;
  const uint64_t size = bytes.size();
  std::memcpy(bytes.data(), "TTCHECK\n\1\0\0\0", 12);
  std::memcpy(bytes.data() + 16, &size, sizeof size);
  std::memset(bytes.data() + 48, 0, 16);
  const Checksum sum = checksum_of(std::as_bytes(std::span(bytes)));
  std::memcpy(bytes.data() + 48, &sum, 16);
}

Files npy_files() {
  const Folder folder;
  Files files = {fixture("f32.npy"), fixture("fortran_i64.npy")};
  const Tensor images = Tensor::from<uint8_t>({2, 2, 2, 3}, std::vector<uint8_t>(24, 7));
  if (!save_npy(images, folder.path("x.npy")).ok()) std::abort();
  files.push_back(read_file(folder.path("x.npy")));
  return files;
}

Files npz_files() { return {fixture("stored.npz"), fixture("deflated.npz")}; }

Files idx_files() {
  return {fixture("i16.idx"), fixture("f64.idx.gz"), "\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\1abcd"s,
          "\0\0\10\1\0\0\0\3\0\1\2"s};
}

Files cifar_files() {
  return {"\3"s + std::string(3072, 'x'),
          "\11"s + std::string(3072, 'y') + "\0"s + std::string(3072, 'z')};
}

Files csv_files() {
  return {"\xef\xbb\xbf\"sepal, cm\",petal,kind\r\n5.1,+1.4,\"Iris \"\"setosa\"\"\"\r\n"
          "4.9,-1e-1,versicolor\r\n",
          "7;1;2\n0;3;4\n", "1\t0.5\n2\t3\n", "1,0\n2,1\n3,9007199254740993\n"};
}

Files all_data_files() {
  Files all;
  for (const Files& more : {npy_files(), npz_files(), idx_files(), cifar_files(), csv_files()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// One of each kind that decoders exist for: 2 x 2 pixels, but for those that Pillow wrote.
Files image_files() {
  const std::string bmp = "BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\2\0\0\0\2\0\0\0\1\0\x18\0"
                          "\0\0\0\0\x10\0\0\0\x13\x0b\0\0\x13\x0b\0\0\0\0\0\0\0\0\0\0"
                          "abcdef\0\0ghijkl\0\0"s;
  const std::string tga = "\0\0\12\0\0\0\0\0\0\0\0\0\2\0\2\0\x18\0\x83"
                          "abc"s;
  const std::string gif = "GIF89a\2\0\2\0\x80\0\0\0\0\0\xff\xff\xff\x2c\0\0\0\0\2\0\2\0\0\2\3"
                          "\x44\x02\x05\0\x3b"s;
  return {fixture("colour.png"),        fixture("grey.png"), fixture("flat.jpg"), bmp, tga, gif,
          "P6\n2 2\n255\nabcdefghijkl", "P5\n2 2\n255\nabcd"};
}

Files safetensors_files() {
  return {fixture("numpy.safetensors"),
          "\x48\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
          "\"__metadata__\":{}} ab"s};
}

Files checkpoint_files() {
  const Folder folder;
  Checkpoint c;
  c.tensors = {{"w", Tensor::from<float>({2, 2}, {1, 2, 3, 4})},
               {"step", Tensor::scalar<int64_t>(7)}};
  c.step = 7;
  c.cursor = {2, 5, 1797, 32, 9, true};
  c.schedule = {0.1};
  c.metadata = R"({"history":[{"loss":0.5}]})";
  if (!save_checkpoint(c, folder.path("c")).ok()) std::abort();
  return {read_file(folder.path("c"))};
}

}  // namespace

std::vector<Reader> data_readers() {
  return {{"npy", ".npy", npy_files, read_npy_file},
          {"npz", ".npz", npz_files, read_npz_file},
          {"dataset", ".data", all_data_files, read_dataset},
          {"image", ".png", image_files, read_image},
          {"safetensors", ".safetensors", safetensors_files, read_weights},
          {"checkpoint", ".ttc", checkpoint_files, read_checkpoint},
          {"forged_checkpoint", ".ttc", checkpoint_files, read_checkpoint, repair_checkpoint}};
}

}  // namespace tintype::test
