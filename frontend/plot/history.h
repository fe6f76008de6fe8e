// What a training run scored, epoch by epoch, as files.
#pragma once

#include "runtime/status.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tintype {

/// One epoch.
struct HistoryRow {
  int64_t epoch = 0;  ///< counted from 0
  double learning_rate = 0;
  std::map<std::string, double> training, validation;  ///< "loss", "accuracy" ...; may differ
  double seconds = 0;
  std::vector<std::string> warnings;
  /// What the training program measured of itself, where it did: kind ("gradient_norm",
  /// "activation_rms" ...), then parameter or node.
  std::map<std::string, std::map<std::string, double>> diagnostics = {};
};

/// Columns epoch (counted from 1), learning_rate, seconds, then loss, accuracy ... of training and
/// validation_loss ... of validation; an empty cell where a row has no such score. Numbers read
/// back exactly.
std::string history_csv(const std::vector<HistoryRow>& history);
/// A JSON list with an object per epoch. Numbers that are not finite become null.
std::string history_json(const std::vector<HistoryRow>& history);
/// The same to a file, whole or not at all.
Status save_text(const std::string& text, const std::string& path);

}  // namespace tintype
