// Batches of tensors in memory, and of a loader.
#include "tools/driver/batches.h"

#include "ir/diagnostic.h"
#include "runtime/scalar.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <numeric>
#include <random>

namespace tintype {

namespace {

class TensorBatches final : public BatchSource {
 public:
  TensorBatches(std::map<std::string, Tensor> tensors, const TensorBatchesOptions& options)
      : tensors_(std::move(tensors)), options_(options) {
    if (options_.batch < 1)
      throw Error("expected a positive batch size, got " + std::to_string(options_.batch));
    for (const auto& [name, tensor] : tensors_) {
      if (tensor.rank() < 1) throw Error("'" + name + "' has no axis that counts examples");
      if (size_ < 0) size_ = tensor.dims()[0];
      if (tensor.dims()[0] != size_)
        throw Error("'" + name + "' has " + std::to_string(tensor.dims()[0]) + " examples, '" +
                    tensors_.begin()->first + "' has " + std::to_string(size_));
    }
    size_ = std::max<int64_t>(size_, 0);
    start(0, 0);
  }

  int64_t size() const override { return size_; }
  int64_t batches() const override { return (size_ + options_.batch - 1) / options_.batch; }

  void start(int64_t epoch, int64_t batch) override {
    order_.resize(static_cast<size_t>(size_));
    std::iota(order_.begin(), order_.end(), int64_t{0});
    position_ = std::min(batch * options_.batch, size_);
    if (!options_.shuffle) return;
    // Fisher & Yates, written out because std::shuffle differs between libraries.
    std::mt19937_64 random(options_.seed * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(epoch));
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random() % i]);
  }

  std::optional<Batch> next() override {
    if (position_ == size_) return std::nullopt;
    const int64_t count = std::min(options_.batch, size_ - position_);
    Batch batch;
    for (const auto& [name, tensor] : tensors_) batch.emplace(name, rows(tensor, count));
    position_ += count;
    return batch;
  }

 private:
  Tensor rows(const Tensor& from, int64_t count) const {
    std::vector<int64_t> dims = from.dims();
    dims[0] = count;
    Tensor to = Tensor::empty(from.dtype(), std::move(dims));
    const size_t row = from.bytes() / static_cast<size_t>(size_);
    for (int64_t i = 0; row > 0 && i < count; ++i)
      std::memcpy(static_cast<std::byte*>(to.mutable_data()) + static_cast<size_t>(i) * row,
                  static_cast<const std::byte*>(from.data()) +
                      static_cast<size_t>(order_[static_cast<size_t>(position_ + i)]) * row,
                  row);
    return to;
  }

  std::map<std::string, Tensor> tensors_;
  TensorBatchesOptions options_;
  int64_t size_ = -1, position_ = 0;
  std::vector<int64_t> order_;
};

/// Dims of a sample without the axes that `type` does not have, or with those it has.
std::vector<int64_t> sample_dims(const Field& field, const TensorType& type) {
  std::vector<int64_t> dims = field.dims;
  while (static_cast<int>(dims.size()) + 1 < type.rank()) dims.push_back(1);
  while (static_cast<int>(dims.size()) + 1 > type.rank() && !dims.empty() && dims.back() == 1)
    dims.pop_back();
  return dims;
}

bool fits(const std::vector<int64_t>& dims, const TensorType& type) {
  if (static_cast<int>(dims.size()) + 1 != type.rank()) return false;
  for (size_t i = 0; i < dims.size(); ++i)
    if (type.shape[i + 1].is_static() && type.shape[i + 1].value() != dims[i]) return false;
  return true;
}

/// Whether an integer type has this number: 7.9 is no token, and 300 no byte.
bool holds(DType type, double value) {
  const int bits = static_cast<int>(8 * size_of(type)) - (is_signed_int(type) ? 1 : 0);
  const double end = std::ldexp(1, bits);
  return value == std::floor(value) && value < end && value >= (is_signed_int(type) ? -end : 0);
}

Tensor converted(const Tensor& from, const TensorType& type, const std::string& name) {
  const DType to = type.dtype;
  if (from.dtype() == to) return from;
  Tensor out = Tensor::empty(to, from.dims());
  auto* at = static_cast<std::byte*>(out.mutable_data());
  for (int64_t i = 0; i < out.size(); ++i, at += size_of(to)) {
    const double value = element_as_double(from, i);
    if (is_int(to) && !holds(to, value))
      throw Error(
          fmt::format("the data for '{}' has the number {}, but the model takes integers, {}", name,
                      value, type.text()));
    store_scalar(to, value, at);
  }
  return out;
}

class LoaderBatches final : public BatchSource {
 public:
  LoaderBatches(std::unique_ptr<Loader> loader, std::map<std::string, TensorType> types)
      : loader_(std::move(loader)), types_(std::move(types)) {
    for (const auto& [name, type] : types_) {
      const Field* field = nullptr;
      for (const Field& f : loader_->fields())
        if (f.name == name) field = &f;
      if (field == nullptr) throw Error("the data has nothing for '" + name + "'");
      const std::vector<int64_t> dims = sample_dims(*field, type);
      if (!fits(dims, type))
        throw Error("the data for '" + name + "' has samples of " +
                    type_string(field->dtype, field->dims) + ", but the model takes batches of " +
                    type.text());
      dims_[name] = dims;
    }
  }

  int64_t size() const override { return loader_->size(); }
  int64_t batches() const override { return loader_->batches(); }
  void start(int64_t epoch, int64_t batch) override { loader_->start(epoch, batch); }

  std::optional<Batch> next() override {
    Result<std::optional<Batch>> read = loader_->next();
    if (!read.ok()) throw Error(read.status().message());
    if (!read.value()) return std::nullopt;
    Batch batch;
    for (const auto& [name, type] : types_) {
      const Tensor& from = read.value()->at(name);
      std::vector<int64_t> dims = dims_.at(name);
      dims.insert(dims.begin(), from.dims()[0]);
      batch.emplace(name, converted(from, type, name).reshaped(std::move(dims)));
    }
    return batch;
  }

 private:
  std::unique_ptr<Loader> loader_;
  std::map<std::string, TensorType> types_;
  std::map<std::string, std::vector<int64_t>> dims_;  ///< of one sample
};

}  // namespace

std::unique_ptr<BatchSource> batches_of(std::map<std::string, Tensor> tensors,
                                        const TensorBatchesOptions& options) {
  return std::make_unique<TensorBatches>(std::move(tensors), options);
}

std::unique_ptr<BatchSource> batches_of(std::unique_ptr<Loader> loader,
                                        std::map<std::string, TensorType> types) {
  return std::make_unique<LoaderBatches>(std::move(loader), std::move(types));
}

}  // namespace tintype
