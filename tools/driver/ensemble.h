// Loss, metrics and predictions of trained models, one or several whose predictions are averaged.
#pragma once

#include "frontend/train/training_graph.h"
#include "tools/driver/batches.h"
#include "tools/driver/driver.h"
#include "tools/driver/trainer.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tintype {

struct EnsembleOptions {
  LossTerm loss = {};  ///< which output is compared with what, and how
  std::vector<int64_t> top_k = {1};
  CompileOptions compile = {};
  int threads = 0;  ///< upper bound; results do not depend on it
};

struct Evaluation {
  std::vector<Scores> members;  ///< of each model alone: "loss" and metrics
  Scores together;              ///< of the averaged predictions; with one model, its scores
};

/// Models that answer the same question. Not thread-safe; distinct ensembles are independent.
///
/// Averaged are probabilities: softmax of the scores that cross entropy takes, sigmoid of those of
/// binary cross entropy, exponentials of log-probabilities; for other losses the predictions
/// themselves. The mean goes back to the form that the loss takes, so that loss and metrics of the
/// ensemble have the definitions of a single model's.
class Ensemble {
 public:
  /// Models with an open batch axis. Throws Error when there are none, when the models differ in
  /// their predictions' shape, and as the compiler does.
  Ensemble(std::vector<std::unique_ptr<Graph>> models, EnsembleOptions options);
  ~Ensemble();
  Ensemble(Ensemble&&) noexcept;
  Ensemble& operator=(Ensemble&&) noexcept;

  size_t size() const;
  /// What the batches of model `i` hold: its inputs in order, then the target.
  std::vector<std::pair<std::string, TensorType>> batch_types(size_t i) const;

  /// One source for each model, with the same samples in the same order however they are
  /// preprocessed, or one for all. `on_batch`, if any, gets the averaged prediction of each batch.
  /// Throws Error when the sources disagree or a label is outside the classes.
  Evaluation evaluate(std::span<BatchSource* const> sources,
                      const std::function<void(const Tensor& prediction)>& on_batch = {});
  /// The averaged prediction, in the form that the loss takes (see above): one batch for each model
  /// or one for all.
  Tensor predict(std::span<const Batch> inputs);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The mean of predictions as an Ensemble takes it. All have one shape. Computed in double
/// precision; a single prediction is returned as it is.
Tensor average_predictions(std::span<const Tensor> predictions, const Loss& loss);
/// Probabilities where the loss has them (softmax, sigmoid, exp), else the prediction itself.
Tensor probabilities_of(const Tensor& prediction, const Loss& loss);

}  // namespace tintype
