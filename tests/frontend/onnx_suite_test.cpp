// The official ONNX test suite: what imports must have the types of the outputs stored with it.
#include "tests/support/onnx_suite.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace tintype::test {
namespace {

namespace fs = std::filesystem;

void expect_stored_types(const fs::path& folder, const SuiteCase& c) {
  for (size_t i = 0; i < c.outputs.size(); ++i) {
    const Tensor& stored = c.outputs[i];
    const TensorType& inferred = c.graph->output(i)->type();
    bool same = inferred.dtype == stored.dtype() && inferred.rank() == stored.rank();
    for (size_t d = 0; same && d < inferred.shape.size(); ++d)
      same = !inferred.shape[d].is_static() || inferred.shape[d].value() == stored.dims()[d];
    EXPECT_TRUE(same) << folder.filename() << ": output " << i << " is inferred as "
                      << inferred.text() << ", stored as " << stored.type_string();
  }
}

size_t import_all(const std::string& kind, bool all_supported) {
  size_t imported = 0;
  for (const fs::path& folder : suite_cases(kind)) {
    const SuiteCase c = load_case(folder);
    if (c.graph != nullptr) {
      ++imported;
      expect_stored_types(folder, c);
    } else if (all_supported) {
      ADD_FAILURE() << folder.filename() << ": " << c.problem;
    }
  }
  return imported;
}

TEST(OnnxSuite, ConvertedPytorchModels) {
  if (suite_cases("pytorch-converted").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_EQ(import_all("pytorch-converted", true), 82u);
}

TEST(OnnxSuite, PytorchOperators) {
  if (suite_cases("pytorch-operator").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_EQ(import_all("pytorch-operator", true), 35u);
}

TEST(OnnxSuite, RealModels) {
  if (suite_cases("real").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_EQ(import_all("real", true), 9u);
}

TEST(OnnxSuite, Nodes) {
  if (suite_cases("node").empty()) GTEST_SKIP() << "run `make suite` first";
  EXPECT_GE(import_all("node", false), 1363u);
}

}  // namespace
}  // namespace tintype::test
