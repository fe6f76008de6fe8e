// Metrics as program outputs: counts over one batch, which the trainer adds up.
#pragma once

#include "frontend/train/losses.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tintype {

/// An output of a training or evaluation program.
struct Metric {
  std::string name;  ///< "accuracy", "top5", "mean_absolute_error"
  Value* sum;        ///< f32 scalar: over the elements of the target in this batch
};

/// Number of targets whose label is among the k classes with the highest scores, an f32 scalar. Of
/// equal scores the lower class ranks higher; NaN never counts as correct.
Value* count_top_k(Builder& b, Value* scores, Value* labels, int64_t k);

/// What the loss suggests to measure: "accuracy" (and "top<k>" for other k) where targets are
/// labels, the share on the right side of 0 for binary losses, the absolute error for regressions.
std::vector<Metric> add_metrics(Builder& b, const Loss& loss, Value* prediction, Value* target,
                                const std::vector<int64_t>& top_k);

}  // namespace tintype
