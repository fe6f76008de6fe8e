// Training data given on the command line.
#pragma once

#include "frontend/data/loader.h"
#include "frontend/data/open_dataset.h"
#include "tools/driver/batches.h"
#include "tools/driver/trainer.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tintype::cli {

/// What the user says of the data.
struct DataArguments {
  std::vector<std::string> data, validation;
  double validation_split = 0;
  std::string table, resize, augment, normalize = "unit";
  int64_t batch = 32;

  void add_to(CLI::App& app);
};

/// Samples to train with, and to validate with (may be null).
struct TrainingData {
  DatasetPtr training, validation;
  Normalization normalization;
  Augmentation augmentation;
  std::string description;  ///< "IDX: 1,438 samples of u8[1,8,8], 359 for validation"

  /// Batches for the inputs and the target of a trainer's program.
  std::unique_ptr<BatchSource> batches(const Trainer& trainer, const DataArguments& arguments,
                                       uint64_t seed) const;
  /// The same of the validation data, in order and unchanged; null without.
  std::unique_ptr<BatchSource> validation_batches(const Trainer& trainer,
                                                  const DataArguments& arguments) const;
  /// Extents of one input as batches hold it.
  std::vector<int64_t> input_dims() const;
};

/// Reads what --data and --validation name: one folder or file with inputs and targets, two files,
/// or NAME=FILE for each of `names` (inputs, then "target"). Throws Error.
TrainingData open_training_data(const DataArguments& arguments,
                                const std::vector<std::string>& names, uint64_t seed);

}  // namespace tintype::cli
