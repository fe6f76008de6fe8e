// Means over examples, and what would spoil them.
#include "tools/driver/score_sums.h"

#include "ir/diagnostic.h"

namespace tintype {

void ScoreSums::add(double batch_loss, const std::vector<double>& batch_metrics,
                    int64_t batch_examples, int64_t batch_targets) {
  loss += batch_loss * static_cast<double>(batch_examples);
  examples += static_cast<double>(batch_examples);
  targets += static_cast<double>(batch_targets);
  metrics.resize(batch_metrics.size());
  for (size_t i = 0; i < metrics.size(); ++i) metrics[i] += batch_metrics[i];
}

Scores ScoreSums::scores(const std::vector<std::string>& metric_names) const {
  Scores out;
  if (examples == 0) return out;
  out["loss"] = loss / examples;
  for (size_t i = 0; i < metrics.size(); ++i) out[metric_names[i]] = metrics[i] / targets;
  return out;
}

void check_labels(const TargetInput& target, const Batch& batch) {
  const auto found = batch.find(target.name);
  if (!target.classes || found == batch.end() || found->second.dtype() != DType::i64) return;
  for (const int64_t label : found->second.values<int64_t>())
    if ((label < 0 || label >= *target.classes) && label != target.ignored)
      throw Error("'" + target.name + "' has the label " + std::to_string(label) +
                  ", but the model has " + std::to_string(*target.classes) + " classes (0 to " +
                  std::to_string(*target.classes - 1) + ")");
}

}  // namespace tintype
