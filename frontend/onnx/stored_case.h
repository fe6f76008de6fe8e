// Inputs and outputs as ONNX's test suite stores them: a file per input and output of a model.
#pragma once

#include "frontend/onnx/import.h"
#include "runtime/tensor.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tintype {

/// One data set of a model. Elements of sequences count as inputs and outputs of their own
/// (element_name), as in the graph that is imported.
struct StoredCase {
  std::map<std::string, Tensor> inputs;
  std::map<std::string, int64_t> lengths;  ///< of sequences and optionals among the inputs
  std::vector<std::pair<std::string, Tensor>> outputs;  ///< in order

  /// Tells an import what it asks for: the value of a tensor, or the length of a sequence and the
  /// shapes of its elements. False when there is no more to tell.
  bool supply(const std::string& input, ImportOptions& options) const;
};

/// Reads `folder`/input_<i>.pb and output_<i>.pb. Throws Error, naming the file.
StoredCase load_stored_case(const ModelInterface& model, const std::string& folder);

}  // namespace tintype
