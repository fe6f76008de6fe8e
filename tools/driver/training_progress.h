// Where a training run stands, as data that checkpoints keep.
#pragma once

#include "tools/driver/trainer.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace tintype {

struct TrainingProgress {
  std::string fingerprint;  ///< of the model and the options: must agree on resumption
  int64_t epoch = 0, batch = 0, steps = 0;
  ScoreSums sums;
  double seconds = 0;                                                ///< spent in the current epoch
  std::vector<std::string> warnings;                                 ///< of the current epoch
  std::map<std::string, std::map<std::string, double>> diagnostics;  ///< of the current epoch
  std::set<std::string> warned;  ///< Warning::about of all so far
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
