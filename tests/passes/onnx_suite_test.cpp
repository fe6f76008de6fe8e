// The official ONNX test suite through decompositions, passes and the text form, evaluated op by op
// and compared with the outputs stored with it.
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pass_manager.h"
#include "passes/passes.h"
#include "passes/patterns.h"
#include "tests/support/evaluate.h"
#include "tests/support/onnx_suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace tintype::test {

namespace {

namespace fs = std::filesystem;

/// ONNX's own tolerance, or one step of a 16-bit float.
double tolerance_of(DType dtype) {
  if (dtype == DType::bf16) return 1.0 / 128;
  if (dtype == DType::f16) return 1.0 / 512;
  return 1e-3;
}

std::string compare_outputs(const Graph& graph, const SuiteCase& c) {
  const std::vector<Tensor> got = evaluate(graph, c.inputs);
  const bool random = is_random(graph);
  for (size_t i = 0; i < got.size() && i < c.outputs.size(); ++i) {
    if (random) {
      if (got[i].type_string() != c.outputs[i].type_string())
        return "got " + got[i].type_string() + ", want " + c.outputs[i].type_string();
      continue;
    }
    const std::string d = difference(got[i], c.outputs[i], tolerance_of(got[i].dtype()));
    if (!d.empty()) return "output " + std::to_string(i) + ": " + d;
  }
  return "";
}

std::string text_and_back(const Graph& graph) {
  TensorTable tensors;
  PrintOptions options;
  options.tensors = &tensors;
  const std::string text = print(graph, options);
  const std::unique_ptr<Graph> back = parse_graph(text, tensors);
  TensorTable again;
  options.tensors = &again;
  const std::string second = print(*back, options);
  return second == text ? "" : "prints as\n" + text + "and after parsing as\n" + second;
}

std::string check(const SuiteCase& c) {
  std::string problem = compare_outputs(*c.graph, c);
  if (!problem.empty()) return "as decomposed: " + problem;
  problem = text_and_back(*c.graph);
  if (!problem.empty()) return problem;
  PipelineOptions options;
  options.verify = true;
  run_pipeline(*c.graph, parse_pipeline("fold-batch-norm,canonical,finish"), options);
  problem = compare_outputs(*c.graph, c);
  if (!problem.empty()) return "after passes: " + problem;
  return text_and_back(*c.graph);
}

class OnnxSuitePasses : public ::testing::TestWithParam<const char*> {};

TEST_P(OnnxSuitePasses, KeepResultsAndTextRoundTrips) {
  if (suite_cases(GetParam()).empty()) GTEST_SKIP() << "run `make suite` first";
  size_t imported = 0;
  for (const fs::path& folder : suite_cases(GetParam())) {
    const SuiteCase c = load_case(folder);
    if (c.graph == nullptr) continue;
    ++imported;
    std::string problem;
    try {
      problem = check(c);
    } catch (const std::exception& e) {
      problem = e.what();
    }
    EXPECT_EQ(problem, "") << folder.filename();
  }
  EXPECT_GT(imported, 0u);
}

std::string name_of_kind(const ::testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, OnnxSuitePasses,
                         ::testing::Values("node", "pytorch-operator", "pytorch-converted", "real"),
                         name_of_kind);

/// Transposes of data, not of weights.
size_t count_transposes(const Graph& graph) {
  size_t count = 0;
  for (const auto& n : graph.nodes())
    if (n->is("transpose") && !depends_on_constants_only(n->result())) ++count;
  return count;
}

// The input is brought into channels-last once. Before a dense layer the channels move again, and
// each of ShuffleNet's 16 shuffles is one; nothing else may remain.
TEST(Layout, RealModelsTransposeAtTheEdgesOnly) {
  const std::map<std::string, size_t> expected = {
      {"test_bvlc_alexnet", 2}, {"test_densenet121", 1}, {"test_inception_v1", 1},
      {"test_inception_v2", 1}, {"test_resnet50", 1},    {"test_shufflenet", 17},
      {"test_squeezenet", 1},   {"test_vgg19", 2},       {"test_zfnet512", 2}};
  if (suite_cases("real").empty()) GTEST_SKIP() << "run `make suite` first";
  for (const fs::path& folder : suite_cases("real")) {
    const SuiteCase c = load_case(folder);
    ASSERT_NE(c.graph, nullptr) << c.problem;
    run_pipeline(*c.graph, parse_pipeline("fold-batch-norm,canonical,finish"));
    const auto it = expected.find(folder.filename().string());
    ASSERT_NE(it, expected.end()) << folder.filename();
    EXPECT_EQ(count_transposes(*c.graph), it->second) << folder.filename();
  }
}

}  // namespace

}  // namespace tintype::test
