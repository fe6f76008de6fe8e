// Arrays as people store them, to columns of a dataset; npy and npz files.
#include "frontend/data/data_error.h"
#include "frontend/data/npy_bytes.h"
#include "frontend/data/readers.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tintype {

namespace {

/// [N, H, W, C] to [N, C, H, W].
Tensor channels_first(const Tensor& from) {
  const int64_t n = from.dims()[0], pixels = from.dims()[1] * from.dims()[2], c = from.dims()[3];
  Tensor to = Tensor::empty(from.dtype(), {n, c, from.dims()[1], from.dims()[2]});
  const auto source = from.values<uint8_t>();
  auto target = to.mutable_values<uint8_t>();
  size_t at = 0;
  for (int64_t sample = 0; sample < n; ++sample)
    for (int64_t channel = 0; channel < c; ++channel)
      for (int64_t pixel = 0; pixel < pixels; ++pixel)
        target[at++] = source[static_cast<size_t>((sample * pixels + pixel) * c + channel)];
  return to;
}

Tensor as_image(const Tensor& values) {
  const auto& dims = values.dims();
  if (values.dtype() != DType::u8) return values;
  if (values.rank() == 3) return values.reshaped({dims[0], 1, dims[1], dims[2]});
  const bool channels_last = values.rank() == 4 && dims[1] != 1 && dims[1] != 3 &&
                             (dims[3] == 1 || dims[3] == 3 || dims[3] == 4);
  return channels_last ? channels_first(values) : values;
}

template <typename T>
void widen(const Tensor& from, Tensor& to, const std::string& path) {
  const auto source = from.values<T>();
  auto target = to.mutable_values<int64_t>();
  for (size_t i = 0; i < source.size(); ++i) {
    target[i] = static_cast<int64_t>(source[i]);
    if (target[i] < 0)
      throw DataError(path, "label " + std::to_string(source[i]) + " of sample " +
                                std::to_string(i) + " is no class number; classes count from 0");
  }
}

Tensor as_labels(const Tensor& from, const std::string& path) {
  Tensor to = Tensor::empty(DType::i64, {from.dims()[0]});
  switch (from.dtype()) {
    case DType::i8: widen<int8_t>(from, to, path); break;
    case DType::i16: widen<int16_t>(from, to, path); break;
    case DType::i32: widen<int32_t>(from, to, path); break;
    case DType::i64: widen<int64_t>(from, to, path); break;
    case DType::boolean:
    case DType::u8: widen<uint8_t>(from, to, path); break;
    case DType::u16: widen<uint16_t>(from, to, path); break;
    case DType::u32: widen<uint32_t>(from, to, path); break;
    default: widen<uint64_t>(from, to, path); break;
  }
  return to;
}

Tensor targets_of_file(const std::string& path) {
  const Bytes bytes = read_bytes(path);
  if (is_npy(bytes.data)) return parse_npy(bytes, path);
  if (is_idx(bytes.data)) return parse_idx(bytes, path);
  throw DataError(path, "expected targets as an .npy or IDX file");
}

using Arrays = std::map<std::string, Tensor>;

/// The dataset of two members of an archive; `targets` may be missing.
DatasetPtr dataset_of_members(const Arrays& arrays, const char* inputs, const char* targets,
                              const std::string& path, const OpenOptions& options) {
  std::optional<Column> target;
  if (const auto found = arrays.find(targets); found != arrays.end())
    target = target_column(found->second, path + ":" + targets);
  return dataset_of(input_column(arrays.at(inputs), options, path + ":" + inputs),
                    std::move(target), path, options.class_names);
}

/// Extents without elements may be as large as they like, and there is nothing to learn from them.
void check_samples(const Tensor& values, const std::string& path) {
  if (values.rank() < 1)
    throw DataError(path, "holds a single value; expected a first extent that counts samples");
  if (values.size() == 0)
    throw DataError(path, "holds " + values.type_string() + ", which has no elements");
}

}  // namespace

Column input_column(Tensor values, const OpenOptions& options, const std::string& path) {
  check_samples(values, path);
  if (options.shape.empty()) return {"input", as_image(values), false};
  std::vector<int64_t> dims = options.shape;
  dims.insert(dims.begin(), values.dims()[0]);
  // Extents come from the user: a product that overflows does not fit either.
  int64_t wanted = -1;
  try {
    wanted = element_count(dims);
  } catch (const std::length_error&) {
  }
  if (wanted != values.size())
    throw DataError(path, "holds " + values.type_string() + ", which does not fit inputs of " +
                              type_string(values.dtype(), options.shape));
  return {"input", values.reshaped(std::move(dims)), false};
}

Column target_column(const Tensor& values, const std::string& path) {
  check_samples(values, path);
  const bool one_each = values.rank() == 1 || (values.rank() == 2 && values.dims()[1] == 1);
  const bool whole = is_int(values.dtype()) || values.dtype() == DType::boolean;
  if (one_each && whole) return {"target", as_labels(values, path), true};
  // A value per sample has an axis of its own, as the outputs of models have.
  return {"target", values.rank() == 1 ? values.reshaped({values.dims()[0], 1}) : values, false};
}

DatasetPtr dataset_of(Column input, std::optional<Column> target, const std::string& path,
                      std::vector<std::string> class_names) {
  std::vector<Column> columns = {std::move(input)};
  if (target) columns.push_back(std::move(*target));
  // Names are of classes: of no use where the targets are values.
  if (!target || !columns.back().label) class_names.clear();
  Result<DatasetPtr> dataset = tensor_dataset(std::move(columns), std::move(class_names));
  if (!dataset.ok()) throw DataError(path, dataset.status().message());
  return dataset.value();
}

DataSource read_npy_file(const Bytes& bytes, const std::string& path, const OpenOptions& options) {
  std::optional<Column> target;
  if (!options.targets.empty())
    target = target_column(targets_of_file(options.targets), options.targets);
  return {dataset_of(input_column(parse_npy(bytes, path), options, path), std::move(target), path,
                     options.class_names),
          nullptr, "npy"};
}

DataSource read_npz_file(const Bytes& bytes, const std::string& path, const OpenOptions& options) {
  struct Names {
    const char *inputs, *targets, *test_inputs, *test_targets;
  };
  constexpr std::array<Names, 4> kNames = {{{"x_train", "y_train", "x_test", "y_test"},
                                            {"x", "y", "x_test", "y_test"},
                                            {"images", "labels", "test_images", "test_labels"},
                                            {"data", "target", "test_data", "test_target"}}};
  const Arrays arrays = parse_npz(bytes, path);
  for (const Names& n : kNames) {
    if (arrays.count(n.inputs) == 0) continue;
    DataSource source = {dataset_of_members(arrays, n.inputs, n.targets, path, options), nullptr,
                         "npz"};
    if (arrays.count(n.test_inputs) > 0)
      source.test = dataset_of_members(arrays, n.test_inputs, n.test_targets, path, options);
    return source;
  }
  std::string found;
  for (const auto& [name, array] : arrays) found += (found.empty() ? "" : ", ") + name;
  throw DataError(path, "expected arrays x and y, x_train and y_train, images and labels, or data "
                        "and target; found " +
                            (found.empty() ? "none" : found));
}

}  // namespace tintype
