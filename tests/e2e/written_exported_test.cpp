// Recurrent cells written out by hand, as PyTorch's exporters store them (make_written_cells.py):
// they compute what ONNX Runtime computes, as loops with one product for what steps multiply.
#include "ir/ops/control.h"
#include "ir/print.h"
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

std::vector<std::string> folders() {
  std::vector<std::string> list;
  for (const auto& entry : fs::directory_iterator(TINTYPE_TEST_DIR "/data/written"))
    list.push_back(entry.path().filename().string());
  std::sort(list.begin(), list.end());
  return list;
}

std::string path_of(const std::string& name) { return TINTYPE_TEST_DIR "/data/written/" + name; }

int count(const Graph& graph, std::string_view op) {
  const auto nodes = graph.node_list();
  return static_cast<int>(
      std::count_if(nodes.begin(), nodes.end(), [&](const Node* n) { return n->is(op); }));
}

/// What the steps of a cell cannot do without.
struct Expected {
  int loops = 1;
  int products = 1;     ///< in each loop: with states, one behind the other
  int projections = 1;  ///< around the loops: of all steps
};

Expected expected_of(const std::string& name) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  Expected e;
  if (has("both_ways") || has("stacked")) e.loops = 2;
  // What is reset before it is multiplied waits for the gates.
  if ((has("gru") && !has("after")) || has("minimal")) e.products = 2;
  e.projections = e.loops;
  if (has("stacked")) e.projections = 3;  // one lies between the layers
  if (has("elman")) e.projections = 2;    // one makes the outputs
  return e;
}

class WrittenExported : public testing::TestWithParam<std::string> {};

TEST_P(WrittenExported, ComputesWhatOnnxRuntimeDoes) {
  const CaseResult result = verify_case(path_of(GetParam()), {});
  EXPECT_EQ(result.outcome, CaseOutcome::passed) << result.message;
}

TEST_P(WrittenExported, IsALoop) {
  auto graph = load_graph(path_of(GetParam()) + "/model.onnx", {});
  run_pipeline(*graph, parse_pipeline("canonical"));
  const Expected e = expected_of(GetParam());
  EXPECT_EQ(count(*graph, "scan"), e.loops) << print(*graph);
  EXPECT_EQ(count(*graph, "dot"), e.projections) << print(*graph);
  for (const Node* n : graph->node_list()) {
    if (!n->is("scan")) continue;
    EXPECT_EQ(ScanView(*n).trips, Dim(6));
    EXPECT_EQ(count(*n->body(), "dot"), e.products) << print(*graph);
  }
}

std::string name_of_folder(const testing::TestParamInfo<std::string>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(Cells, WrittenExported, testing::ValuesIn(folders()), name_of_folder);

}  // namespace

}  // namespace tintype::test
