// Training data given on the command line.
#pragma once

#include "frontend/data/loader.h"
#include "frontend/data/open_dataset.h"
#include "tools/driver/batches.h"
#include "tools/driver/trainer.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tintype::cli {

/// What the user says of the data.
struct DataArguments {
  std::vector<std::string> data, validation;
  double validation_split = 0;
  std::string table, resize, augment, normalize = "unit";
  int64_t batch = 32;
  std::vector<std::string> class_names;  ///< that text labels must be among; empty: those found
  bool numbered_classes = false;         ///< the model learnt numbers: names will not agree
  /// Of the columns of a table, as the model learnt them; empty: those found.
  std::vector<std::string> input_names = {};
  std::string target_name = {};

  void add_to(CLI::App& app);
  /// Only what evaluation needs.
  void add_evaluation_to(CLI::App& app);
};

/// Names and types of what batches hold, in the order of a dataset's fields.
using BatchTypes = std::vector<std::pair<std::string, TensorType>>;

/// Samples to train with, and to validate with (may be null).
struct TrainingData {
  DatasetPtr training, validation;
  Normalization normalization;
  Augmentation augmentation;
  bool reconstruct = false;  ///< the input, before noise and cutout, is the target
  /// Of the columns of a table with a header.
  std::vector<std::string> input_names;
  std::string target_name;
  std::string description;  ///< "IDX: 1,438 samples of u8[1,8,8], 359 for validation"

  /// Batches for the inputs and the target of a trainer's program.
  std::unique_ptr<BatchSource> batches(const Trainer& trainer, const DataArguments& arguments,
                                       uint64_t seed) const;
  /// The same of the validation data, in order and unchanged; null without.
  std::unique_ptr<BatchSource> validation_batches(const Trainer& trainer,
                                                  const DataArguments& arguments) const;
  /// Batches of any samples like these, in order: normalised, and cropped in the middle.
  std::unique_ptr<BatchSource> batches_in_order(const DatasetPtr& samples, const BatchTypes& types,
                                                int64_t batch) const;
  /// Extents of one input as batches hold it.
  std::vector<int64_t> input_dims() const;
  /// Whether targets are numbers, not classes.
  bool numbers() const;
  /// Width of the output that the targets ask for: the classes, or the numbers of one sample; 0
  /// where that is open.
  int64_t outputs() const;
};

/// Decides what the target is: that of the data, or the input. A model whose output has the shape
/// of its one input learns to give it back, unless the data has other targets than classes, or the
/// output can be scores of the classes; `loss`, where it is known, decides as well. Throws Error
/// when there is nothing to learn from.
void settle_targets(TrainingData& data, const Graph& model, const std::optional<Loss>& loss,
                    const DataArguments& arguments);

/// Throws Error, with what goes together, when the loss wants classes and the targets are numbers,
/// or the other way round.
void check_targets(const TrainingData& data, const Loss& loss);

/// Reads what --data and --validation name: one folder or file with inputs and perhaps targets, two
/// files, or NAME=FILE for each input of the model and "target". Throws Error.
TrainingData open_training_data(const DataArguments& arguments, const Graph& model, uint64_t seed);

}  // namespace tintype::cli
