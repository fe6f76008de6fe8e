// What a classifier says of a dataset: counts, pictures, tables.
#pragma once

#include "frontend/data/dataset.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tintype::cli {

/// Samples in the order of the dataset, with the class that has the highest score.
struct Classified {
  std::vector<int64_t> truth, predicted;
  std::vector<double> confidence;  ///< its probability
  int64_t classes = 0;

  /// Takes rows of scores [N, classes]: logits, probabilities or log-probabilities.
  void add(const Tensor& scores);
  int64_t right() const;
  /// counts[truth * classes + predicted]
  std::vector<int64_t> confusion() const;
};

/// One row of a report: precision, recall and their harmonic mean (0 where undefined).
struct ClassScore {
  std::string name;
  int64_t samples = 0;
  double precision = 0, recall = 0, f1 = 0;
};
std::vector<ClassScore> class_scores(const Classified& c, const Dataset& dataset);

/// The name of a class, or its number.
std::string class_name(const Dataset& dataset, int64_t number);
/// Whether inputs can be drawn: one or three channels of bytes or f32.
bool has_pictures(const Dataset& dataset);
/// The input of a sample as the dataset has it. Throws Error.
Tensor input_of(const Dataset& dataset, int64_t index);

/// Writes confusion.svg and, of images, predictions.svg to a folder: the first samples, or the
/// mistakes that the model is surest of in front when `mistakes_first`. Throws Error.
void save_classification(const std::string& folder, const Classified& c, const Dataset& dataset,
                         bool mistakes_first);

}  // namespace tintype::cli
