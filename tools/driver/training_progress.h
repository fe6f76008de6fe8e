// Where a training run stands, as data that checkpoints keep.
#pragma once

#include "tools/driver/trainer.h"

#include <set>
#include <string>
#include <vector>

namespace tintype {

/// Sums over the examples of an epoch; scores are their quotients.
struct ScoreSums {
  double loss = 0;  ///< each batch's loss times its examples
  double examples = 0;
  double targets = 0;  ///< elements of the first target
  std::vector<double> metrics;

  void add(double batch_loss, const std::vector<double>& batch_metrics, int64_t batch_examples,
           int64_t batch_targets);
  Scores scores(const std::vector<std::string>& metric_names) const;
};

struct TrainingProgress {
  std::string fingerprint;  ///< of the model and the options: must agree on resumption
  int64_t epoch = 0, batch = 0, steps = 0;
  ScoreSums sums;
  double seconds = 0;                 ///< spent in the current epoch
  std::vector<std::string> warnings;  ///< of the current epoch
  std::set<std::string> warned;       ///< Warning::about of all so far
  std::vector<double> rate_memory;
  int64_t averaged = 0;  ///< weights that went into the average so far
  std::optional<double> best;
  int64_t best_epoch = -1, bad_epochs = 0;
  bool finished = false;  ///< stopped early
  std::vector<HistoryRow> history;

  std::string to_json() const;
  /// Throws Error when the text is not what to_json wrote.
  static TrainingProgress from_json(const std::string& text);
};

}  // namespace tintype
