// Training from C++: fit, evaluate, predict, export.
//
//   Trainer trainer(g.take(), {.training = {.optimizer = Sgd{.lr = 0.05, .momentum = 0.9}}});
//   auto data = batches_of({{"image", images}, {"target", labels}}, {.batch = 64, .shuffle =
//   true}); trainer.fit(*data, nullptr, {.epochs = 30}); export_onnx(*trainer.trained(),
//   "lenet5.onnx");
//
// A run is determined by the model, the options, the data and the seeds: not by the number of
// threads. Not thread-safe; distinct trainers are independent.
#pragma once

#include "frontend/plot/history.h"
#include "frontend/train/schedules.h"
#include "frontend/train/training_graph.h"
#include "runtime/session.h"
#include "tools/driver/batches.h"
#include "tools/driver/driver.h"
#include "tools/driver/score_sums.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

/// Averages of weights over steps or epochs; evaluate, predict and trained() use them.
struct Averaging {
  /// average = decay average + (1 - decay) p after every step; 0: off (Polyak & Juditsky 1992; as
  /// torch.optim.swa_utils.get_ema_multi_avg_fn)
  double ema_decay = 0;
  /// Mean of the weights at the ends of the epochs from this one on, counted from 0; -1: off
  /// (Izmailov et al. 2018, Averaging Weights Leads to Wider Optima)
  int64_t swa_start = -1;
};

struct TrainerOptions {
  TrainingOptions training = {};
  Schedule schedule = {};
  Averaging averaging = {};
  CompileOptions compile = {};
  int threads = 0;  ///< upper bound; results do not depend on it
  /// Every so many epochs the first step also measures gradients and activations and may warn; 0:
  /// never.
  int64_t diagnostics_every = 0;
};

/// Where a run stands, after a step.
struct StepReport {
  int64_t epoch = 0, batch = 0, batches = 0;  ///< counted from 0; batches per epoch
  int64_t examples = 0, size = 0;             ///< seen in this epoch, and in all
  Scores scores;                              ///< over the epoch so far
  double learning_rate = 0;
};

struct EarlyStopping {
  std::string metric = {};  ///< "loss", "accuracy" ... of the validation data, or the training data
  int64_t patience = 0;     ///< epochs without improvement before the run ends; 0: never ends early
  double min_delta = 0;     ///< what counts as improvement
  bool restore_best = true;  ///< at the end of the run, weights go back to those of the best epoch
};

struct FitOptions {
  int64_t epochs = 1;  ///< in all, those before a resumption included
  std::optional<EarlyStopping> early_stopping = {};
  /// Called after each step and each epoch; false ends the run there.
  std::function<bool(const StepReport&)> on_step = {};
  std::function<bool(const HistoryRow&)> on_epoch = {};
};

/// All that a run needs to continue as if it had not been interrupted.
struct Snapshot {
  std::map<std::string, Tensor> tensors;  ///< states, and "best/<state>"
  std::string progress;                   ///< JSON: position, history, schedule's memory
};

class Trainer {
 public:
  /// Compiles the training step. Throws Error as make_training_graph and the compiler do.
  Trainer(std::unique_ptr<Graph> model, TrainerOptions options);
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

  /// Trains until `epochs` are done, and returns the history of all epochs so far. `validation` may
  /// be null. Throws Error when a batch does not fit, or when a loss is not finite: the message
  /// names the step and the first node whose result is not finite, and the weights are those before
  /// it.
  const std::vector<HistoryRow>& fit(BatchSource& training, BatchSource* validation,
                                     const FitOptions& options);
  /// Mean loss and metrics in inference mode.
  Scores evaluate(BatchSource& data);
  /// The model's outputs by name, in inference mode, for its inputs.
  std::map<std::string, Tensor> predict(const Batch& inputs);

  /// The model with its current (averaged, if so) weights, ready for export_onnx.
  std::unique_ptr<Graph> trained() const;
  /// Parameters that are trained and running statistics, by name: the values that trained() has.
  std::map<std::string, Tensor> weights() const;
  /// Sets any of them before training. Throws Error for names and types that the model lacks.
  void set_weights(const std::map<std::string, Tensor>& weights);
  /// Whether an Averaging is on and has begun.
  bool averaged() const;

  Snapshot snapshot() const;
  /// Throws Error when the snapshot is of another model or of other options.
  void restore(const Snapshot& snapshot);

  const Graph& model() const;
  /// The training program: its parameters, metrics and notes.
  const TrainingGraph& program() const;
  const CompileReport& compile_report() const;
  /// Bytes that one step needs for a batch of this size: states, planned buffers, constants.
  size_t step_bytes(const Batch& batch) const;
  StateStore& states();
  /// Steps done.
  int64_t steps() const;
  /// All epochs so far.
  const std::vector<HistoryRow>& history() const;
  /// Whether a metric is better when it is larger: everything but losses and errors.
  static bool larger_is_better(const std::string& metric);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tintype
