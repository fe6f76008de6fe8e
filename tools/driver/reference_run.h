// Graphs run as they are, always on the same inputs: how passes are checked.
#pragma once

#include "tools/driver/driver.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tintype {

/// Runs graphs unfused and unscheduled, every op a kernel of its own. An input keeps its value from
/// the first run in which it occurs: the one given for its name, else random numbers of the seed.
/// Extents that are symbols take their value from options.hints, else 1.
class ReferenceRun {
 public:
  explicit ReferenceRun(const CompileOptions& options, uint64_t seed = 1,
                        std::map<std::string, Tensor> inputs = {});

  /// The outputs, then the states as the run leaves them. Throws Error.
  std::vector<Tensor> operator()(const Graph& graph);
  /// Values of the inputs that occurred so far, by name.
  const std::map<std::string, Tensor>& inputs() const { return inputs_; }

 private:
  CompileOptions options_;
  uint64_t seed_;
  std::map<std::string, Tensor> inputs_;
};

}  // namespace tintype
