// Images scaled once, when the data is opened, rather than in every epoch.
#include "frontend/data/data_error.h"
#include "frontend/data/dataset.h"
#include "frontend/data/image.h"

#include <algorithm>
#include <numeric>

namespace tintype {

namespace {

/// One sample of every field, read where tensors of all samples are.
void read_all(const Dataset& from, std::vector<Column>& columns) {
  std::vector<std::byte*> at;
  for (Column& c : columns) at.push_back(static_cast<std::byte*>(c.values.mutable_data()));
  for (int64_t i = 0; i < from.size(); ++i) {
    throw_unless_ok(from.read(i, at));
    for (size_t c = 0; c < columns.size(); ++c)
      at[c] += columns[c].values.bytes() / static_cast<size_t>(from.size());
  }
}

std::vector<Column> columns_of(const Dataset& from) {
  std::vector<Column> columns;
  for (const Field& f : from.fields()) {
    std::vector<int64_t> dims = f.dims;
    dims.insert(dims.begin(), from.size());
    columns.push_back({f.name, Tensor::empty(f.dtype, std::move(dims)), f.label});
  }
  if (from.size() > 0) read_all(from, columns);
  return columns;
}

/// [channels, height, width] to an image, `stretch` applied, and back after scaling.
void scale_one(std::span<const uint8_t> from, Image& image, double stretch, int height, int width,
               std::span<uint8_t> to) {
  const size_t channels = static_cast<size_t>(image.channels);
  const size_t pixels = from.size() / channels, scaled = to.size() / channels;
  for (size_t c = 0; c < channels; ++c)
    for (size_t p = 0; p < pixels; ++p)
      image.pixels[p * channels + c] =
          static_cast<uint8_t>(std::lround(stretch * from[c * pixels + p]));
  const Result<Image> out = resized(image, width, height);
  throw_unless_ok(out.status());
  for (size_t c = 0; c < channels; ++c)
    for (size_t p = 0; p < scaled; ++p) to[c * scaled + p] = out.value().pixels[p * channels + c];
}

}  // namespace

Result<DatasetPtr> resized_images(const DatasetPtr& dataset, int height, int width) {
  return without_throwing([&]() -> Result<DatasetPtr> {
    const Field& input = dataset->fields()[0];
    if (height < 1 || width < 1)
      throw DataError(invalid_argument(
          fmt::format("expected images of at least 1 x 1, got {} x {}", height, width)));
    if (input.dtype != DType::u8 || input.dims.size() != 3 ||
        (input.dims[0] != 1 && input.dims[0] != 3))
      throw DataError(invalid_argument("only images of bytes with one or three channels can be "
                                       "resized; the inputs are " +
                                       type_string(input.dtype, input.dims)));
    if (input.dims[1] == height && input.dims[2] == width) return dataset;
    if (element_count(input.dims) == 0) throw DataError(invalid_argument("the images are empty"));
    std::vector<Column> columns = columns_of(*dataset);
    const auto bytes = columns[0].values.values<uint8_t>();
    const int most = bytes.empty() ? 0 : *std::max_element(bytes.begin(), bytes.end());
    const double stretch = most > 0 && most < 128 ? 255.0 / most : 1.0;
    Image image = {static_cast<int>(input.dims[2]), static_cast<int>(input.dims[1]),
                   static_cast<int>(input.dims[0]),
                   std::vector<uint8_t>(static_cast<size_t>(element_count(input.dims)))};
    Tensor out = Tensor::empty(DType::u8, {dataset->size(), input.dims[0], height, width});
    const auto to = out.mutable_values<uint8_t>();
    const auto size = static_cast<size_t>(dataset->size());
    for (size_t i = 0; i < size; ++i)
      scale_one(bytes.subspan(i * (bytes.size() / size), bytes.size() / size), image, stretch,
                height, width, to.subspan(i * (to.size() / size), to.size() / size));
    columns[0].values = std::move(out);
    return tensor_dataset(std::move(columns), dataset->class_names());
  });
}

}  // namespace tintype
