// Gradients of models in ONNX ops against PyTorch's autograd (gradients/make_pytorch_cases.py).
#include "frontend/graph/graph_builder.h"
#include "ir/builder.h"
#include "ir/parse.h"
#include "passes/autodiff.h"
#include "passes/gradient_check.h"
#include "passes/passes.h"
#include "tests/passes/case_file.h"
#include "tests/support/evaluate.h"

#include <gtest/gtest.h>

#include <map>

namespace tintype::test {

namespace {

constexpr double kTolerance = 1e-12;

std::vector<PassCase> cases_of(const std::string& kind) {
  std::vector<PassCase> chosen;
  for (PassCase& c : read_cases(std::string(TINTYPE_TEST_DIR) + "/gradients/pytorch.ir"))
    if (c.pipeline == kind) chosen.push_back(std::move(c));
  return chosen;
}

/// The constants of a graph by the names under which it returns them.
std::map<std::string, Tensor> named_values(const std::string& text) {
  const auto graph = parse_graph(text);
  std::map<std::string, Tensor> values;
  for (size_t i = 0; i < graph->output_count(); ++i)
    values[graph->output_name(i)] = *graph->output(i)->constant();
  return values;
}

/// Compares result and gradients of a graph of core ops; its inputs are called as in the case.
void expect_values(Graph& graph, const std::map<std::string, Tensor>& values) {
  Builder b(graph);
  Value* y = graph.output(0);
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < y->rank(); ++i) axes.push_back(i);
  Value* loss = b.reduce("reduce_sum", b.mul(y, b.constant(values.at("w"))), axes);
  std::vector<Tensor> inputs;
  std::vector<Value*> wrt;
  for (const auto& input : graph.inputs()) {
    inputs.push_back(values.at("input " + input->name()));
    if (input->dtype() == DType::f64) wrt.push_back(input.get());
  }
  const std::vector<Value*> found = gradients(graph, loss, wrt);
  for (size_t i = 0; i < wrt.size(); ++i)
    graph.add_output("gradient " + wrt[i]->name(),
                     found[i] != nullptr ? found[i]
                                         : b.broadcast(b.scalar(0, DType::f64), wrt[i]->shape()));
  const std::vector<Tensor> outputs = evaluate(graph, inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = graph.output_name(i);
    if (values.count(name) == 0) continue;
    EXPECT_EQ(difference(outputs[i], values.at(name), kTolerance), "") << name;
  }
}

class PyTorchGradient : public testing::TestWithParam<PassCase> {};

TEST_P(PyTorchGradient, Agrees) {
  const auto graph = parse_graph(GetParam().before);
  PassContext context;
  decompose(*graph, context);
  expect_values(*graph, named_values(GetParam().after));
}

INSTANTIATE_TEST_SUITE_P(Onnx, PyTorchGradient, testing::ValuesIn(cases_of("graph")),
                         [](const auto& instance) { return instance.param.name; });

TEST(PyTorchGradients, LocallyConnectedLayer) {
  const auto cases = cases_of("layer");
  ASSERT_EQ(cases.size(), 1u);
  GraphBuilder g("local");
  const auto x = g.input("x", f32(2, 2, 5, 4));
  g.output("y", x.locally_connected2d({.filters = 2, .kernel = {2, 3}, .stride = {2, 1}}));
  const auto graph = g.take();
  PassContext context;
  decompose(*graph, context);
  std::vector<Tensor> parameters;
  const auto wide = in_double_precision(*graph, parameters);
  ASSERT_EQ(wide->inputs().size(), 3u);
  wide->inputs()[1]->set_name("w");
  wide->inputs()[2]->set_name("b");
  expect_values(*wide, named_values(cases[0].after));
}

}  // namespace

}  // namespace tintype::test
