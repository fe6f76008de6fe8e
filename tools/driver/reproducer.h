// A fault in a folder: the graph, its inputs, and what to run.
#pragma once

#include "ir/graph.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

struct Reproducer {
  std::unique_ptr<Graph> graph;
  std::string passes;  ///< the pipeline that goes wrong
  double tolerance = 1e-4;
  uint64_t seed = 1;  ///< of inputs without a file
  std::map<std::string, Tensor> inputs;
  std::vector<std::string> plugins, patterns;  ///< files that the pipeline needs
  std::string message;                         ///< what was seen
};

/// Writes model.ir (with model.ir.tensors), an .npy file per input, reproducer.json, and
/// command.txt with a command line that shows the fault. bf16 inputs are left to the seed: .npy has
/// no such type. The folder is created where needed. Throws Error when something cannot be written.
void save_reproducer(const Reproducer& r, const std::string& folder);
/// Reads such a folder; its plugins and patterns are named, not loaded, since the graph may need
/// them: `before_graph` is called with them first. Throws Error naming the file that is wrong.
Reproducer load_reproducer(const std::string& folder,
                           const std::function<void(const Reproducer&)>& before_graph);

}  // namespace tintype
