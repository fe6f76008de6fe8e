// The official ONNX test suite: what imports must have the types of the outputs stored with it.
#include "frontend/onnx/import.h"
#include "frontend/onnx/tensor_file.h"
#include "ir/diagnostic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace tintype::test {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> cases(const std::string& kind) {
  std::vector<fs::path> list;
  const fs::path folder = fs::path(TINTYPE_ONNX_SUITE) / kind;
  if (!fs::exists(folder)) return list;
  for (const auto& entry : fs::directory_iterator(folder))
    if (fs::exists(entry.path() / "model.onnx")) list.push_back(entry.path());
  std::sort(list.begin(), list.end());
  return list;
}

fs::path data(const fs::path& folder, const char* what, size_t index) {
  return folder / "test_data_set_0" / (std::string(what) + "_" + std::to_string(index) + ".pb");
}

/// Imports, supplying stored inputs whose values decide shapes. Null when something is unsupported;
/// `problem` then says what.
std::unique_ptr<Graph> import_case(const fs::path& folder, std::string& problem) {
  const std::string path = (folder / "model.onnx").string();
  ImportOptions options;
  for (int attempt = 0; attempt < 8; ++attempt) {
    try {
      return import_onnx(path, options);
    } catch (const NeedsInputValue& e) {
      problem = e.what();
      const std::vector<std::string> names = import_onnx_collect(path).info.inputs;
      const auto it = std::find(names.begin(), names.end(), e.input());
      if (it == names.end() || options.known_inputs.count(e.input()) != 0) return nullptr;
      const auto index = static_cast<size_t>(it - names.begin());
      options.known_inputs[e.input()] = load_tensor_proto(data(folder, "input", index).string());
    } catch (const Error& e) {
      problem = e.what();
      return nullptr;
    }
  }
  return nullptr;
}

void expect_stored_types(const fs::path& folder, const Graph& g) {
  for (size_t i = 0; i < g.output_count(); ++i) {
    const fs::path file = data(folder, "output", i);
    if (!fs::exists(file)) continue;
    const Tensor stored = load_tensor_proto(file.string());
    const TensorType& inferred = g.output(i)->type();
    bool same = inferred.dtype == stored.dtype() && inferred.rank() == stored.rank();
    for (size_t d = 0; same && d < inferred.shape.size(); ++d)
      same = !inferred.shape[d].is_static() || inferred.shape[d].value() == stored.dims()[d];
    EXPECT_TRUE(same) << folder.filename() << ": output " << i << " is inferred as "
                      << inferred.text() << ", stored as " << stored.type_string();
  }
}

size_t import_all(const std::string& kind, bool all_supported) {
  size_t imported = 0;
  for (const fs::path& folder : cases(kind)) {
    std::string problem;
    const auto g = import_case(folder, problem);
    if (g != nullptr) {
      ++imported;
      expect_stored_types(folder, *g);
    } else if (all_supported) {
      ADD_FAILURE() << folder.filename() << ": " << problem;
    }
  }
  return imported;
}

TEST(OnnxSuite, ConvertedPytorchModels) {
  if (cases("pytorch-converted").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_EQ(import_all("pytorch-converted", true), 82u);
}

TEST(OnnxSuite, PytorchOperators) {
  if (cases("pytorch-operator").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_EQ(import_all("pytorch-operator", true), 35u);
}

TEST(OnnxSuite, RealModels) {
  if (cases("real").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_EQ(import_all("real", true), 9u);
}

TEST(OnnxSuite, Nodes) {
  if (cases("node").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_GE(import_all("node", false), 1363u);
}

}  // namespace
}  // namespace tintype::test
