// Gradients of recurrent cells written out by hand against PyTorch's autograd
// (make_written_cells.py): the steps are a loop before they are differentiated.
#include "frontend/data/npy.h"
#include "frontend/train/training_graph.h"
#include "ir/builder.h"
#include "passes/autodiff.h"
#include "passes/pass_manager.h"
#include "tests/support/evaluate.h"
#include "tools/driver/driver.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace tintype::test {

namespace {

namespace fs = std::filesystem;

std::vector<std::string> folders() {
  std::vector<std::string> list;
  for (const auto& entry : fs::directory_iterator(TINTYPE_TEST_DIR "/data/written"))
    if (fs::exists(entry.path() / "gradients.npz")) list.push_back(entry.path().filename());
  std::sort(list.begin(), list.end());
  return list;
}

int64_t loops_of(const Graph& graph) {
  const auto nodes = graph.node_list();
  return std::count_if(nodes.begin(), nodes.end(), [](const Node* n) { return n->is("scan"); });
}

/// The largest difference, relative to the largest element.
double relative_error(const Tensor& got, const Tensor& want) {
  EXPECT_EQ(got.dims(), want.dims());
  double error = 0, scale = 0;
  for (size_t i = 0; i < static_cast<size_t>(want.size()); ++i) {
    const auto w = static_cast<double>(want.values<float>()[i]);
    error = std::max(error, std::abs(static_cast<double>(got.values<float>()[i]) - w));
    scale = std::max(scale, std::abs(w));
  }
  return error / scale;
}

class WrittenGradients : public testing::TestWithParam<std::string> {
 protected:
  const std::string path_ = TINTYPE_TEST_DIR "/data/written/" + GetParam();
  const std::map<std::string, Tensor> given_ = load_npz(path_ + "/gradients.npz").value();
};

/// Weights become inputs, as in a training program they become states.
TEST_P(WrittenGradients, AreThoseOfAutograd) {
  auto graph = load_graph(path_ + "/model.onnx", {});
  std::vector<Value*> wrt = {graph->inputs()[0].get()};
  std::vector<std::string> names = {"d_input"};
  std::vector<Tensor> inputs = {given_.at("input")};
  for (Node* n : graph->node_list()) {
    const Tensor* weight = n->result()->constant();
    const std::string name = "d_" + n->result()->name();
    if (weight == nullptr || given_.count(name) == 0) continue;
    names.push_back(name);
    inputs.push_back(*weight);
    wrt.push_back(graph->add_input(name, n->result()->type()));
    graph->replace_all_uses(n->result(), wrt.back());
  }
  ASSERT_EQ(names.size() + 2, given_.size());
  run_pipeline(*graph, parse_pipeline("decompose,roll"));
  ASSERT_EQ(loops_of(*graph), 1);
  Builder b(*graph);
  Value* y = graph->output(0);
  Value* weighted = b.mul(y, b.constant(given_.at("seed")));
  Value* loss = b.reshape(b.reduce("reduce_sum", weighted, {0, 1, 2}), {});
  const std::vector<Value*> found = gradients(*graph, loss, wrt);
  while (graph->output_count() > 0) graph->erase_output(graph->output_count() - 1);
  for (size_t i = 0; i < found.size(); ++i) graph->add_output(names[i], found[i]);
  EXPECT_EQ(loops_of(*graph), 2);
  const CompiledModel m = compile_graph(std::move(graph));
  const auto results = m.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(results.ok()) << results.status().message();
  for (size_t i = 0; i < names.size(); ++i)
    EXPECT_LT(relative_error(results.value()[i], given_.at(names[i])), 1e-5) << names[i];
}

/// What training makes of the model: a loop forwards and one backwards.
TEST_P(WrittenGradients, NeedTwoLoopsInTraining) {
  TrainingOptions options;
  options.losses = {{.loss = MeanSquaredError{}}};
  const TrainingGraph training =
      make_training_graph(load_graph(path_ + "/model.onnx", {}), options);
  EXPECT_EQ(loops_of(*training.graph), 2);
}

std::string name_of_folder(const testing::TestParamInfo<std::string>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(Cells, WrittenGradients, testing::ValuesIn(folders()), name_of_folder);

}  // namespace

}  // namespace tintype::test
