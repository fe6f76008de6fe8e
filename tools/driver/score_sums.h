// Sums over batches, of which scores are quotients.
#pragma once

#include "frontend/train/training_graph.h"
#include "tools/driver/batches.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tintype {

/// Mean loss ("loss") and metrics over examples.
using Scores = std::map<std::string, double>;

struct ScoreSums {
  double loss = 0;  ///< each batch's loss times its examples
  double examples = 0;
  double targets = 0;  ///< elements of the first target
  std::vector<double> metrics;

  void add(double batch_loss, const std::vector<double>& batch_metrics, int64_t batch_examples,
           int64_t batch_targets);
  Scores scores(const std::vector<std::string>& metric_names) const;
};

/// Labels outside the classes would silently count with loss 0. Throws Error.
void check_labels(const TargetInput& target, const Batch& batch);

}  // namespace tintype
