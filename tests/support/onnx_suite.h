// Cases of the official ONNX test suite: models with stored inputs and outputs.
#pragma once

#include "frontend/onnx/import.h"
#include "frontend/onnx/tensor_file.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <filesystem>
#include <map>
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

/// The stored "input" or "output" tensors, in order; ends at the first that is missing or is not a
/// tensor.
inline std::vector<Tensor> stored_tensors(const std::filesystem::path& folder,
                                          const std::string& what) {
  std::vector<Tensor> list;
  for (int i = 0;; ++i) {
    const auto file = folder / "test_data_set_0" / (what + "_" + std::to_string(i) + ".pb");
    if (!std::filesystem::exists(file)) return list;
    list.push_back(load_tensor_proto(file.string()));
  }
}

struct SuiteCase {
  std::unique_ptr<Graph> graph;  ///< null when it cannot be imported
  std::string problem;
  std::vector<Tensor> inputs;  ///< of the graph's inputs; those that decide shapes became constants
  std::vector<Tensor> outputs;
};

/// Imports a case, supplying stored inputs whose values decide shapes. Never throws Error.
inline SuiteCase load_case(const std::filesystem::path& folder) {
  SuiteCase c;
  const std::string path = (folder / "model.onnx").string();
  try {
    const std::vector<std::string> names = import_onnx_collect(path).info.inputs;
    c.outputs = stored_tensors(folder, "output");
    const std::vector<Tensor> stored = stored_tensors(folder, "input");
    std::map<std::string, Tensor> by_name;
    for (size_t i = 0; i < names.size() && i < stored.size(); ++i) by_name[names[i]] = stored[i];
    ImportOptions options;
    while (c.graph == nullptr) {
      try {
        c.graph = import_onnx(path, options);
      } catch (const NeedsInputValue& e) {
        const auto it = by_name.find(e.input());
        if (it == by_name.end() || options.known_inputs.count(e.input()) != 0) throw;
        options.known_inputs[e.input()] = it->second;
      }
    }
    for (const auto& input : c.graph->inputs()) c.inputs.push_back(by_name.at(input->name()));
  } catch (const std::exception& e) {
    c.graph = nullptr;
    c.problem = e.what();
  }
  return c;
}

}  // namespace tintype::test
