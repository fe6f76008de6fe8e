// What `tintype train` leaves in its output folder.
#pragma once

#include "tools/driver/trainer.h"
#include "tools/train_data.h"

#include <cstdint>
#include <string>

namespace tintype::cli {

/// The folder of a run: checkpoint.ttc (and those kept of single epochs), config.json, inputs.json,
/// parameters.json, history.csv, history.json, curves.svg, model.onnx, weights.safetensors and,
/// where they make sense, filters.png, confusion.svg, predictions.svg and reconstructions.png. Each
/// file is written whole or not at all. Members throw Error.
class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  bool has_run() const;

  /// What is trained and what is not, and why: parameters.json.
  void save_parameters(const TrainingGraph& program) const;
  /// After each epoch: the model, everything that --resume needs, and the history so far.
  void save_progress(const Trainer& trainer, const TrainingData& data,
                     const DataArguments& arguments, uint64_t seed,
                     const std::vector<HistoryRow>& history) const;
  /// Gives the checkpoint that save_progress wrote after an epoch, counted from 1, a name of its
  /// own, and removes those of all but the last `count` epochs.
  void keep_checkpoint(int64_t epoch, int64_t count) const;
  /// Restores what save_progress wrote. Fails when the data is not what it was.
  void restore(Trainer& trainer, const TrainingData& data, const DataArguments& arguments,
               uint64_t seed) const;
  /// At the end: model, weights and pictures.
  void save_results(Trainer& trainer, const TrainingData& data,
                    const DataArguments& arguments) const;

 private:
  std::string path_;
};

/// The first `count` validation images as text, each with what the model says of it and the truth.
/// Empty when the data has no images or no labels.
std::string text_pictures(Trainer& trainer, const TrainingData& data,
                          const DataArguments& arguments, int64_t count);

}  // namespace tintype::cli
