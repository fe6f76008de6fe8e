// (value - mean) / deviation, per channel.
#pragma once

#include "frontend/data/dataset.h"

#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// How the elements of an input become f32. A vector has one entry per channel of an image, one per
/// element of a flat input, or a single one for all; empty stands for {0} and {1}.
struct Normalization {
  std::vector<float> mean, deviation;

  /// Bytes to [0, 1]: divides by 255, or by the largest value in the dataset if that is below 128,
  /// as in pictures of few greys.
  /// Does nothing to other types.
  static Result<Normalization> unit(const Dataset& dataset);
  /// Mean 0 and deviation 1 over `dataset`, which should be the training set: per channel of
  /// images, per element of flat inputs. An element that never varies keeps its scale.
  static Result<Normalization> standard(const Dataset& dataset);
  /// "none", or numbers (in the units of the file): "mean=0.5:0.4:0.3,std=0.2".
  static Result<Normalization> parse(std::string_view text);
  /// The same, or what fits a dataset: "unit", "standard".
  static Result<Normalization> parse(std::string_view text, const Dataset& dataset);

  /// Text that `parse` reads back exactly: "mean=0.5,std=0.25".
  std::string text() const;
};

}  // namespace tintype
