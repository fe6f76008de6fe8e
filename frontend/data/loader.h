// Batches of a dataset, epoch after epoch, prepared ahead on threads of their own.
#pragma once

#include "frontend/data/augmentation.h"
#include "frontend/data/dataset.h"
#include "frontend/data/normalization.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

/// Tensors by name; the first extent of each counts the samples.
using Batch = std::map<std::string, Tensor>;

struct LoaderOptions {
  int64_t batch = 32;  ///< samples per batch; 0: all in one
  bool shuffle = false;
  bool drop_last = false;  ///< leave out what does not fill a batch at the end of an epoch
  uint64_t seed = 1;       ///< of order and augmentation
  Augmentation augmentation = {};
  /// Evaluation: of the augmentation, only the crop, and from the middle.
  bool evaluation = false;
  Normalization normalization = {};
  /// Names in batches, in the order of the dataset's fields; empty: the fields' own.
  std::vector<std::string> names = {};
  /// Name of one more field, or empty: the input as it is before noise and cutout, which an
  /// autoencoder should give back.
  std::string reconstruction = {};
  int workers =
      0;  ///< threads that prepare batches; 0: the caller does. Results do not depend on it
  int prefetch = 4;  ///< batches ready or in the making ahead of the caller, at least `workers`
};

/// Where a loader stands: all it takes to go on as if nothing had happened.
struct DataCursor {
  int64_t epoch = 0, batch = 0;  ///< of the next batch
  // What the position means depends on these; seek() compares them.
  int64_t size = 0, batch_size = 0;
  uint64_t seed = 0;
  bool shuffle = false;
  friend bool operator==(const DataCursor&, const DataCursor&) = default;
};

/// The input field (bytes and all floats) comes out as f32, normalised and augmented, other fields
/// of bytes or floats as f32 too; wider integers (tokens) and labels as they are. What a batch
/// holds is a function of dataset, options, epoch and batch number. One thread at a time may use a
/// loader.
class Loader {
 public:
  /// Fails when augmentation or normalisation do not fit the input, or an option is out of range.
  static Result<std::unique_ptr<Loader>> create(DatasetPtr dataset, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const Dataset& dataset() const;
  const LoaderOptions& options() const;
  /// Fields of a sample as batches hold them: names, dtypes and dims after options.
  const std::vector<Field>& fields() const;
  /// Samples per epoch, batches per epoch.
  int64_t size() const;
  int64_t batches() const;

  /// The next call of next() returns this batch of this epoch.
  void start(int64_t epoch, int64_t batch = 0);
  /// The next batch, or nothing at the end of an epoch; the call after that begins the next epoch.
  /// After a failure the loader stands behind the batch that failed.
  Result<std::optional<Batch>> next();

  DataCursor cursor() const;
  /// Fails when the cursor was taken with another dataset size, batch size, order or seed.
  Status seek(const DataCursor& cursor);

 private:
  class Engine;
  explicit Loader(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace tintype
