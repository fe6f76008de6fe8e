// Where a Trainer's batches come from.
#pragma once

#include "frontend/data/loader.h"
#include "ir/type.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

/// A data set cut into batches, epoch after epoch. Not thread-safe.
class BatchSource {
 public:
  BatchSource() = default;
  BatchSource(const BatchSource&) = delete;
  BatchSource& operator=(const BatchSource&) = delete;
  virtual ~BatchSource() = default;

  /// Examples per epoch.
  virtual int64_t size() const = 0;
  /// Batches per epoch.
  virtual int64_t batches() const = 0;
  /// The next call of next() returns this batch of this epoch. What an epoch holds depends on its
  /// number and the source's seed alone, which makes resumed runs equal uninterrupted ones.
  virtual void start(int64_t epoch, int64_t batch) = 0;
  /// The next batch, or nothing at the end of the epoch. Throws Error when data can not be read.
  virtual std::optional<Batch> next() = 0;
};

struct TensorBatchesOptions {
  int64_t batch = 32;
  bool shuffle = false;
  uint64_t seed = 1;
};

/// Batches of tensors in memory, which share their first extent. The last batch of an epoch has
/// what is left. Throws Error when the extents disagree.
std::unique_ptr<BatchSource> batches_of(std::map<std::string, Tensor> tensors,
                                        const TensorBatchesOptions& options);

/// Batches of a loader, as inputs of these types: elements are converted, and an axis of extent one
/// for each sample comes or goes as the type wants it. Throws Error when a field of the loader does
/// not fit its type, or a type has no field.
std::unique_ptr<BatchSource> batches_of(std::unique_ptr<Loader> loader,
                                        std::map<std::string, TensorType> types);

}  // namespace tintype
