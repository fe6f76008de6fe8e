// Recurrent networks, control flow and attention as PyTorch's exporters write them
// (make_exported_cases.py), and operators with many settings against ONNX Runtime
// (make_operator_cases.py).
#include "passes/pass_manager.h"
#include "tools/driver/compare.h"
#include "tools/driver/driver.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace tintype::test {

namespace {

namespace fs = std::filesystem;

std::vector<std::string> folders(const std::string& kind) {
  std::vector<std::string> list;
  for (const auto& entry : fs::directory_iterator(TINTYPE_TEST_DIR "/data/" + kind))
    list.push_back(entry.path().string());
  std::sort(list.begin(), list.end());
  return list;
}

class Exported : public testing::TestWithParam<std::string> {};

TEST_P(Exported, ComputesWhatPyTorchDoes) {
  const CaseResult result = verify_case(GetParam(), {});
  EXPECT_EQ(result.outcome, CaseOutcome::passed) << result.message;
}

std::string name_of_folder(const testing::TestParamInfo<std::string>& info) {
  return fs::path(info.param).filename().string();
}

INSTANTIATE_TEST_SUITE_P(Models, Exported, testing::ValuesIn(folders("exported")), name_of_folder);

class Operators : public testing::TestWithParam<std::string> {};

TEST_P(Operators, ComputeWhatOnnxRuntimeDoes) {
  VerifyOptions options;
  options.rtol = 1e-5;
  options.atol = 1e-5;  // spectra have zeros that are sums of large numbers
  const CaseResult result = verify_case(GetParam(), options);
  EXPECT_EQ(result.outcome, CaseOutcome::passed) << result.message;
}

INSTANTIATE_TEST_SUITE_P(Settings, Operators, testing::ValuesIn(folders("operators")),
                         name_of_folder);

/// Loops of a compiled model, those inside others not counted.
int64_t loops_of(const std::string& name) {
  const CompiledModel m =
      compile_model(std::string(TINTYPE_TEST_DIR "/data/exported/") + name + "/model.onnx", {});
  return std::count_if(m.graph->nodes().begin(), m.graph->nodes().end(),
                       [](const auto& n) { return n->is("scan"); });
}

// Cells that Python wrote out step by step are loops again, whoever exported them.
TEST(ExportedCells, RollUp) {
  for (const char* cell : {"cell_by_hand", "lstm_cells", "gru_cells", "rnn_cells"})
    for (const char* how : {"_script", "_dynamo"})
      EXPECT_EQ(loops_of(std::string(cell) + how), 1) << cell << how;
}

// Attention is one kernel, whoever exported it, and one op to whoever reads the model.
TEST(ExportedAttention, IsFound) {
  for (const auto& [name, count] : {std::pair("attention", 1),
                                    {"attention_causal", 1},
                                    {"attention_masked", 1},
                                    {"attention_vit", 2}})
    for (const char* how : {"_script", "_dynamo"}) {
      const std::string path =
          std::string(TINTYPE_TEST_DIR "/data/exported/") + name + how + "/model.onnx";
      const CompiledModel m = compile_model(path, {});
      EXPECT_EQ(
          std::count_if(m.graph->nodes().begin(), m.graph->nodes().end(),
                        [](const auto& n) { return n->attrs().string("name", "") == "attention"; }),
          count)
          << name << how;
      const auto graph = load_graph(path, {});
      run_pipeline(*graph, parse_pipeline("recognize"));
      EXPECT_EQ(std::count_if(graph->nodes().begin(), graph->nodes().end(),
                              [](const auto& n) { return n->is("Attention"); }),
                count)
          << name << how;
    }
}

}  // namespace

}  // namespace tintype::test
