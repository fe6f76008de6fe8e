// The first half of every training or evaluation program: the model with parameters as states.
#pragma once

#include "frontend/train/training_graph.h"

#include <map>
#include <string>
#include <vector>

namespace tintype {

/// A parameter that changes.
struct StatefulParameter {
  std::string name;
  Value* state = nullptr;
  int unit_axis = -1;
};

/// A model whose trainable constants became states.
struct StatefulModel {
  std::vector<StatefulParameter> trainable;
  Value* step = nullptr;       ///< state: steps done
  Value* this_step = nullptr;  ///< step + 1
  Value* seed = nullptr;       ///< state
};

/// Makes a BatchNormalization that was exported for training one for inference: of one result, with
/// the running statistics as they are.
void to_inference(Node& norm);

/// Rewrites the ONNX-level graph; `about` receives parameters, statistics and notes. In training
/// mode dropout and batch normalisation behave as make_training_graph says. Throws Error.
StatefulModel make_stateful(Graph& graph, const TrainingOptions& options, bool training,
                            TrainingGraph& about);

}  // namespace tintype
