// Cases of the official ONNX test suite: models with stored inputs and outputs.
#pragma once

#include "frontend/onnx/import.h"
#include "frontend/onnx/stored_case.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace tintype::test {

/// Folders of a kind ("node", "real" ...), sorted; none when the suite is not there.
inline std::vector<std::filesystem::path> suite_cases(const std::string& kind) {
  std::vector<std::filesystem::path> list;
  const std::filesystem::path folder = std::filesystem::path(TINTYPE_ONNX_SUITE) / kind;
  if (!std::filesystem::exists(folder)) return list;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (std::filesystem::exists(entry.path() / "model.onnx")) list.push_back(entry.path());
  std::sort(list.begin(), list.end());
  return list;
}

struct SuiteCase {
  std::unique_ptr<Graph> graph;  ///< null when it cannot be imported
  std::string problem;
  std::vector<Tensor> inputs;   ///< of the graph's inputs; what decides shapes became a constant
  std::vector<Tensor> outputs;  ///< of the graph's outputs, as many as are stored
};

/// Imports a case, supplying what decides shapes and lengths. Never throws Error.
inline SuiteCase load_case(const std::filesystem::path& folder) {
  SuiteCase c;
  const std::string path = (folder / "model.onnx").string();
  try {
    const StoredCase stored =
        load_stored_case(onnx_interface(path), (folder / "test_data_set_0").string());
    ImportOptions options;
    while (c.graph == nullptr) {
      try {
        c.graph = import_onnx(path, options);
      } catch (const NeedsInputValue& e) {
        if (!stored.supply(e.input(), options)) throw;
      }
    }
    for (const auto& input : c.graph->inputs()) c.inputs.push_back(stored.inputs.at(input->name()));
    for (size_t i = 0; i < stored.outputs.size(); ++i) {
      const auto& [name, tensor] = stored.outputs[i];
      if (i >= c.graph->output_count() || c.graph->output_name(i) != name)
        throw Error("output '" + name + "' is stored, but not imported");
      c.outputs.push_back(tensor);
    }
  } catch (const std::exception& e) {
    c.graph = nullptr;
    c.problem = e.what();
  }
  return c;
}

}  // namespace tintype::test
