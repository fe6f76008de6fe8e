// From an inference graph to programs that train and evaluate it, and back.
//
// All programs of one model share their states by name (runtime/session.h):
//   <parameter>, <running statistic>     under the names they have in the model
//   optimizer/<parameter>/<slot>         what the optimizer keeps
//   average/<name>                       averaged weights and running statistics
//   step                                 i64: steps done
//   seed                                 u32: of dropout
#pragma once

#include "frontend/train/losses.h"
#include "frontend/train/metrics.h"
#include "frontend/train/optimizers.h"
#include "frontend/train/parameters.h"
#include "frontend/train/regularizers.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

/// One output of the model and what it is compared with.
struct LossTerm {
  std::string output = {};  ///< of the model; empty for its first
  Loss loss = CrossEntropy{};
  double weight = 1;
  /// Program input with the targets; terms may share it when their target types agree.
  std::string target = "target";
};

/// Settings of the parameters whose names match; the first group that matches counts.
struct ParameterGroup {
  std::string pattern = {};  ///< ECMAScript regular expression, searched in the name
  double rate_scale = 1;
  std::optional<double> weight_decay = {};  ///< instead of the optimizer's
  std::optional<double> max_norm = {};      ///< instead of TrainingOptions::max_norm
};

struct TrainingOptions {
  std::vector<LossTerm> losses = {LossTerm{}};
  Optimizer optimizer = Adam{};
  std::vector<ParameterGroup> groups = {};
  /// Parameters whose names match stay constants, bit for bit. A batch normalisation whose scale is
  /// frozen keeps its running statistics, too. Empty: none.
  std::string freeze = {};
  double l1 = 0, l2 = 0;  ///< penalties on weights (parameters of rank 2 or more)
  double max_norm = 0;    ///< limit of each unit's incoming weights; 0: none
  Clipping clipping = {};
  std::vector<int64_t> top_k = {1};  ///< accuracies to count where targets are labels
  /// Adds "average/<name>" states and the input "average_weight" w: average += w (p -
  /// average).
  bool average = false;
  uint64_t seed = 1;
  /// Gradients through long loops keep the states of some trips and compute the others again:
  /// memory for about the square root of the steps, sums in another order
  /// (passes/segment_scans.cpp). The number of segments, 0 for about the square root of the steps.
  std::optional<int64_t> scan_segments = {};
  /// Adds the outputs that TrainingGraph::diagnostics describes.
  bool diagnostics = false;
};

/// A parameter of the model as training sees it.
struct TrainedParameter {
  std::string name;
  std::vector<int64_t> dims;
  int unit_axis = -1;
  bool frozen = false;
  /// False when the losses do not depend on it: it keeps its value.
  bool used = true;
};

/// One element of the output "diagnostics".
struct Diagnostic {
  enum class Kind : uint8_t {
    activation_rms,  ///< root mean square of the elements of a node's result
    gradient_norm,   ///< |g| of a parameter
    update_ratio,    ///< |next - p| / |p| of a parameter of rank 2 or more
    saturated,       ///< share of a sigmoid's or tanh's outputs within 1 % of its range from an end
    dead,            ///< share of a ReLU's units (channels) that are 0 for the whole batch
    non_finite,      ///< 1 when a node's result holds NaN or infinity
  };
  Kind kind;
  std::string name;  ///< parameter, or the model's node
};

/// An input that takes targets.
struct TargetInput {
  std::string name;
  TensorType type;
  std::optional<int64_t> classes;  ///< labels must be in [0, classes)
  std::optional<int64_t> ignored;  ///< or this
};

/// A program: one training step, or one evaluation.
struct TrainingGraph {
  std::unique_ptr<Graph> graph;
  std::vector<TrainedParameter> parameters;
  std::vector<UntrainedConstant> untrained;
  std::vector<std::string> statistics;  ///< states that batch normalisation updates
  std::vector<TargetInput> targets;
  std::vector<std::string> metrics;     ///< names of metric outputs, each a sum over the targets
  std::vector<Diagnostic> diagnostics;  ///< what the elements of "diagnostics" mean, in order
  std::vector<std::string> notes;       ///< decisions that the user may want to know
};

/// What a loss is computed from: an output of the model, or under a cross entropy, which contains a
/// softmax, the input of the Softmax that ends the model; a note says so. Throws Error for an
/// unknown output.
Value* prediction_of(const Graph& graph, const LossTerm& term, std::vector<std::string>& notes);

/// One step: inputs are the model's, the targets (in order of the loss terms) and "learning_rate"
/// (f32 scalar); outputs "loss" (f32 scalar, penalties included), the metrics, "gradient_norm"
/// under Clipping::global_norm, "diagnostics" if asked for. Every state keeps its value in a step
/// whose loss or "gradient_norm" is not finite. Parameters that the losses do not depend on
/// are read as constants.
///
/// Dropout drops (inverted: kept elements are divided by 1 - ratio) and batch normalisation uses
/// the statistics of the batch, updating the running ones as PyTorch does: with momentum m (ONNX's,
/// 1 - PyTorch's), running = m running + (1 - m) batch, the variance divided by n - 1 where ONNX
/// divides by n. A Softmax that ends the model is left out under a cross entropy, which contains
/// it.
///
/// Throws Error: no parameter to train, an unknown output, all nodes that can not be
/// differentiated.
TrainingGraph make_training_graph(std::unique_ptr<Graph> model, const TrainingOptions& options);

/// Inference on the same states: inputs are the model's and the targets; outputs the model's,
/// "loss" (without penalties) and the metrics. Without `with_loss` there are neither targets nor
/// losses.
TrainingGraph make_evaluation_graph(std::unique_ptr<Graph> model, const TrainingOptions& options,
                                    bool with_loss = true);

/// The value of a state, or nothing for a parameter that was frozen.
using StateValues = std::function<std::optional<Tensor>(const std::string&)>;

/// The model with trained values in place of the constants of the same names: for export. Dropout
/// is gone, batch normalisation in inference mode; names and order stay.
std::unique_ptr<Graph> export_trained(const Graph& model, const StateValues& values);

}  // namespace tintype
