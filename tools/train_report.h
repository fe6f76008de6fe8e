// What `tintype train` says while it runs.
#pragma once

#include "tools/command.h"
#include "tools/driver/trainer.h"

#include <chrono>
#include <string>

namespace tintype::cli {

/// A progress bar on a terminal, one line per epoch there or when `verbose`; silent otherwise.
class TrainReport {
 public:
  TrainReport(int64_t epochs, bool verbose);
  void step(const StepReport& report);
  void epoch(const HistoryRow& report);
  /// Removes the bar.
  void clear() const;

 private:
  std::string status(int64_t epoch, const Scores& scores) const;

  int64_t epochs_;
  bool terminal_, verbose_;
  std::chrono::steady_clock::time_point start_, drawn_;
  int64_t examples_ = 0, first_ = -1;
};

/// "loss 0.081  accuracy 97.6 %"
std::string text_of(const Scores& scores);

}  // namespace tintype::cli
