// Samples in memory, parts of datasets, splits.
#include "frontend/data/dataset.h"

#include "frontend/data/data_error.h"
#include "frontend/data/random_draws.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

namespace tintype {

namespace {

/// A split draws its own numbers, apart from those of the epochs of a loader with the same seed.
constexpr uint64_t kSplitEpoch = ~uint64_t{0};

std::vector<int64_t> sample_dims(const Tensor& values) {
  return {values.dims().begin() + 1, values.dims().end()};
}

std::vector<Field> fields_of(const std::vector<Column>& columns) {
  std::vector<Field> fields;
  for (const Column& c : columns)
    fields.push_back({c.name, c.values.dtype(), sample_dims(c.values), c.label});
  return fields;
}

class TensorDataset final : public Dataset {
 public:
  TensorDataset(std::vector<Column> columns, std::vector<std::string> class_names)
      : Dataset(fields_of(columns), std::move(class_names)), columns_(std::move(columns)),
        size_(columns_.front().values.dims()[0]) {}

  int64_t size() const override { return size_; }

  Status read(int64_t index, std::span<std::byte* const> to) const override {
    for (size_t i = 0; i < columns_.size(); ++i) {
      const Tensor& values = columns_[i].values;
      const size_t row = values.bytes() / static_cast<size_t>(size_);
      if (row > 0)
        std::memcpy(to[i],
                    static_cast<const std::byte*>(values.data()) + static_cast<size_t>(index) * row,
                    row);
    }
    return {};
  }

  std::vector<int64_t> labels() const override {
    for (const Column& c : columns_)
      if (c.label) return {c.values.values<int64_t>().begin(), c.values.values<int64_t>().end()};
    return {};
  }

 private:
  std::vector<Column> columns_;
  int64_t size_;
};

class Subset final : public Dataset {
 public:
  Subset(DatasetPtr whole, std::vector<int64_t> indices)
      : Dataset(whole->fields(), whole->class_names()), whole_(std::move(whole)),
        indices_(std::move(indices)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Status read(int64_t index, std::span<std::byte* const> to) const override {
    return whole_->read(indices_[static_cast<size_t>(index)], to);
  }
  std::vector<int64_t> labels() const override {
    const std::vector<int64_t> all = whole_->labels();
    std::vector<int64_t> own;
    for (size_t i = 0; !all.empty() && i < indices_.size(); ++i)
      own.push_back(all[static_cast<size_t>(indices_[i])]);
    return own;
  }

 private:
  DatasetPtr whole_;
  std::vector<int64_t> indices_;
};

/// Above this, a number is hardly that of a class: networks have an output for each.
constexpr int64_t kMostClasses = 1 << 24;

void check_labels(const Column& column, size_t names) {
  if (column.values.dtype() != DType::i64 || column.values.rank() != 1)
    throw DataError(column.name,
                    "labels are " + column.values.type_string() + ", expected one i64 per sample");
  const auto labels = column.values.values<int64_t>();
  for (size_t i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || labels[i] >= (names > 0 ? static_cast<int64_t>(names) : kMostClasses))
      throw DataError(
          column.name,
          "label " + std::to_string(labels[i]) + " of sample " + std::to_string(i) +
              (names > 0       ? " is not below the number of classes, " + std::to_string(names)
               : labels[i] < 0 ? std::string(" is negative; classes count from 0")
                               : std::string(" is too large for the number of a class; numbers "
                                             "that are no classes have to be floats")));
}

/// Marks round(share * group) members of a group, chosen at random.
void mark_share(std::span<const int64_t> group, double share, uint64_t seed, uint64_t stream,
                std::vector<bool>& marked) {
  std::vector<int64_t> order(group.begin(), group.end());
  shuffle(order, RandomDraws(seed, RandomDraws::kOrder, kSplitEpoch, stream));
  const auto count = std::llround(share * static_cast<double>(group.size()));
  for (size_t i = 0; i < static_cast<size_t>(count); ++i)
    marked[static_cast<size_t>(order[i])] = true;
}

}  // namespace

int64_t Dataset::classes() const {
  if (!class_names_.empty()) return static_cast<int64_t>(class_names_.size());
  const std::vector<int64_t> all = labels();
  return all.empty() ? 0 : *std::max_element(all.begin(), all.end()) + 1;
}

Result<DatasetPtr> tensor_dataset(std::vector<Column> columns,
                                  std::vector<std::string> class_names) {
  return without_throwing([&]() -> Result<DatasetPtr> {
    if (columns.empty()) return invalid_argument("a dataset needs at least one column");
    const Column& first = columns.front();
    for (const Column& c : columns) {
      if (c.values.rank() < 1)
        throw DataError(c.name, "is a single value; expected a first extent that counts samples");
      if (c.values.dims()[0] != first.values.dims()[0])
        throw DataError(c.name, "has " + std::to_string(c.values.dims()[0]) + " samples, '" +
                                    first.name + "' has " + std::to_string(first.values.dims()[0]));
      if (c.label) check_labels(c, class_names.size());
    }
    return DatasetPtr(std::make_shared<TensorDataset>(std::move(columns), std::move(class_names)));
  });
}

DatasetPtr subset(DatasetPtr dataset, std::vector<int64_t> indices) {
  return std::make_shared<Subset>(std::move(dataset), std::move(indices));
}

Result<Split> split(const DatasetPtr& dataset, double share, uint64_t seed, bool stratified) {
  return without_throwing([&]() -> Result<Split> {
    if (!(share > 0 && share < 1))
      return invalid_argument(
          fmt::format("the share of a split must be between 0 and 1, got {}", share));
    std::map<int64_t, std::vector<int64_t>> groups;
    const std::vector<int64_t> labels = stratified ? dataset->labels() : std::vector<int64_t>();
    if (stratified && labels.empty())
      return invalid_argument("a stratified split needs labels; this dataset has none");
    for (int64_t i = 0; i < dataset->size(); ++i)
      groups[stratified ? labels[static_cast<size_t>(i)] : 0].push_back(i);
    std::vector<bool> marked(static_cast<size_t>(dataset->size()));
    for (const auto& [label, group] : groups)
      mark_share(group, share, seed, static_cast<uint64_t>(label), marked);
    std::vector<int64_t> parts[2];
    for (size_t i = 0; i < marked.size(); ++i)
      parts[marked[i] ? 1 : 0].push_back(static_cast<int64_t>(i));
    if (parts[0].empty() || parts[1].empty())
      return invalid_argument(
          fmt::format("a share of {} leaves one part of {} samples empty", share, dataset->size()));
    return Split{subset(dataset, std::move(parts[0])), subset(dataset, std::move(parts[1]))};
  });
}

}  // namespace tintype
