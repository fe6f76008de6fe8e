// Models as training leaves them: run folders, checkpoints, ONNX files.
#pragma once

#include "ir/graph.h"
#include "tools/train_data.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tintype::cli {

/// An ONNX model whose batch axes are the symbol N, whatever the file says, or the text of a graph
/// as it is. Throws Error.
std::unique_ptr<Graph> import_for_training(const std::string& path);

/// What was done to inputs in training, and has to be done to them ever after: inputs.json of a run
/// folder. Texts are values of the options of their names.
struct InputSpec {
  std::string table, resize, augment, normalize, loss;
  std::vector<std::string> classes;
  std::vector<std::string> columns = {};  ///< of a table with a header: those of inputs
  std::string target = {};                ///< and the one of targets
  bool operator==(const InputSpec&) const = default;
};
/// The spec of a run: only the crop remains of its augmentation, and numbers of its normalisation.
InputSpec input_spec(const DataArguments& arguments, const TrainingData& data,
                     const std::string& loss);
/// Both throw Error.
void save_input_spec(const InputSpec& spec, const std::string& path);
InputSpec load_input_spec(const std::string& path);

struct TrainedModel {
  std::string path;
  std::unique_ptr<Graph> graph;
  std::optional<InputSpec> inputs;  ///< of a run
  std::string run;                  ///< the run's folder, or empty
};
/// Loads a run folder (its model.onnx), a checkpoint of a run (that model with the weights of the
/// checkpoint, averaged ones if there are any), or an ONNX model. Throws Error.
TrainedModel load_trained(const std::string& path);
/// The first model with the mean of all models' weights and running statistics. Throws Error when
/// their weights differ in name or shape, or when their inputs are not prepared alike.
TrainedModel average_weights(std::vector<TrainedModel> models);

}  // namespace tintype::cli
