// Gradients of RNN, GRU and LSTM against PyTorch's autograd (make_recurrent_gradients.py): all in
// one piece, in segments that compute their insides again, and what that does to memory.
#include "frontend/data/npy.h"
#include "frontend/graph/recurrent.h"
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "passes/autodiff.h"
#include "passes/pass_manager.h"
#include "tests/support/evaluate.h"
#include "tools/driver/driver.h"
#include "tools/driver/trainer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace tintype::test {

namespace {

using json = nlohmann::ordered_json;
using Named = std::vector<std::pair<std::string, Tensor>>;

struct GradientCase {
  std::string op;
  AttrMap attributes;
  Named inputs, weights, outputs, gradients;
};

std::vector<GradientCase> read_cases() {
  const Tensor all = load_npy(TINTYPE_TEST_DIR "/data/recurrent_gradients.npy").value();
  size_t at = 0;
  const auto read = [&](const json& group) {
    Named named;
    for (const auto& [name, shape] : group.items()) {
      const auto dims = shape.get<std::vector<int64_t>>();
      const bool integers = name == "sequence_lens";
      Tensor t = Tensor::empty(integers ? DType::i32 : DType::f32, dims);
      for (size_t i = 0; i < static_cast<size_t>(t.size()); ++i) {
        const float v = all.values<float>()[at++];
        if (integers) t.mutable_values<int32_t>()[i] = static_cast<int32_t>(v);
        else t.mutable_values<float>()[i] = v;
      }
      named.emplace_back(name, std::move(t));
    }
    return named;
  };
  std::ifstream file(TINTYPE_TEST_DIR "/data/recurrent_gradients.json");
  std::vector<GradientCase> cases;
  for (const json& about : json::parse(file)) {
    GradientCase c;
    c.op = about.at("op");
    for (const auto& [name, value] : about.at("attributes").items()) {
      if (value.is_string()) c.attributes.set(name, value.get<std::string>());
      else c.attributes.set(name, value.get<int64_t>());
    }
    c.inputs = read(about.at("inputs"));
    c.weights = read(about.at("weights"));
    c.outputs = read(about.at("outputs"));
    c.gradients = read(about.at("gradients"));
    cases.push_back(std::move(c));
  }
  EXPECT_EQ(at, static_cast<size_t>(all.size()));
  return cases;
}

/// A graph that returns outputs and gradients of a case, its loops in segments when `length` > 0.
std::unique_ptr<Graph> make_graph(const GradientCase& c, int64_t length) {
  auto graph = std::make_unique<Graph>(c.op);
  Builder b(*graph);
  std::map<std::string, Value*> by_name;
  for (const auto& [name, t] : c.inputs)
    by_name[name] = graph->add_input(name, {t.dtype(), Shape(t.dims().begin(), t.dims().end())});
  std::vector<Value*> operands;
  for (const char* name : {"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c"}) {
    const auto it = by_name.find(name);
    operands.push_back(it == by_name.end() ? nullptr : it->second);
  }
  while (operands.back() == nullptr) operands.pop_back();
  const Node* n = b.create(c.op, operands, c.attributes, static_cast<int>(c.outputs.size()));
  Value* loss = nullptr;
  for (size_t i = 0; i < c.outputs.size(); ++i) {
    Value* y = n->result(static_cast<int>(i));
    graph->add_output(c.outputs[i].first, y);
    std::vector<int64_t> axes(static_cast<size_t>(y->rank()));
    for (size_t a = 0; a < axes.size(); ++a) axes[a] = static_cast<int64_t>(a);
    Value* term =
        b.reshape(b.reduce("reduce_sum", b.mul(y, b.constant(c.weights[i].second)), axes), {});
    loss = loss == nullptr ? term : b.add(loss, term);
  }
  run_pipeline(*graph, parse_pipeline(length == 0 ? "decompose"
                                                  : "decompose,segment-scans{length=" +
                                                        std::to_string(length) + ",shortest=1}"));
  std::vector<Value*> wrt;
  for (const auto& [name, t] : c.gradients) wrt.push_back(by_name.at(name));
  const std::vector<Value*> found = gradients(*graph, loss, wrt);
  for (size_t i = 0; i < found.size(); ++i)
    graph->add_output("gradient of " + c.gradients[i].first, found[i]);
  return graph;
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
  return scale == 0 ? error : error / scale;
}

void expect_case(const std::vector<Tensor>& results, const GradientCase& c,
                 const std::string& where) {
  Named wanted = c.outputs;
  wanted.insert(wanted.end(), c.gradients.begin(), c.gradients.end());
  ASSERT_EQ(results.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i)
    EXPECT_LE(relative_error(results[i], wanted[i].second), 1e-5)
        << where << ", " << c.op << ", " << (i < c.outputs.size() ? "" : "gradient of ")
        << wanted[i].first;
}

std::vector<Tensor> tensors_of(const Named& named) {
  std::vector<Tensor> list;
  for (const auto& [name, t] : named) list.push_back(t);
  return list;
}

TEST(RecurrentGradient, AgreesWithAutograd) {
  const std::vector<GradientCase> cases = read_cases();
  ASSERT_EQ(cases.size(), 20u);
  size_t masked = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const GradientCase& c = cases[i];
    masked += std::any_of(c.inputs.begin(), c.inputs.end(),
                          [](const auto& in) { return in.first == "sequence_lens"; });
    const std::vector<Tensor> inputs = tensors_of(c.inputs);
    const std::string where = "case " + std::to_string(i);
    expect_case(evaluate(*make_graph(c, 0), inputs), c, where + " on the host");
    const CompiledModel m = compile_graph(make_graph(c, 0));
    auto results = m.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(results.ok()) << results.status().message();
    expect_case(results.value(), c, where + " compiled");
  }
  EXPECT_GE(masked, 5u);
}

// Segments of three steps and what is left over, forwards and backwards, with lengths.
TEST(RecurrentGradient, SegmentsAgreeWithAutograd) {
  const std::vector<GradientCase> cases = read_cases();
  int segmented = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::vector<Tensor> inputs = tensors_of(cases[i].inputs);
    const std::string where = "case " + std::to_string(i) + " in segments";
    const auto graph = make_graph(cases[i], 3);
    segmented += std::any_of(graph->nodes().begin(), graph->nodes().end(), [](const auto& n) {
      return n->is("scan") && ScanView(*n).checkpoint;
    });
    expect_case(evaluate(*graph, inputs), cases[i], where);
    if (i % 5 != 0) continue;
    const CompiledModel m = compile_graph(make_graph(cases[i], 3));
    auto results = m.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(results.ok()) << results.status().message();
    expect_case(results.value(), cases[i], where + ", compiled");
  }
  EXPECT_GE(segmented, 10);
}

/// An LSTM that reads `steps` steps and is asked about its last state.
std::unique_ptr<Graph> long_reader(int64_t steps) {
  GraphBuilder g("reader");
  const Variable x = g.input("x", f32("N", steps, 4));
  const RecurrentResult r = x.lstm({.name = "lstm", .units = 24, .forget_bias = 1});
  g.output("y", r.h.reshape({-1, 24}).linear({.units = 3}));
  return g.take();
}

struct StepResult {
  size_t bytes = 0;
  double loss = 0;
  std::map<std::string, Tensor> weights;
};

StepResult one_step(int64_t steps, bool recompute) {
  constexpr int64_t kBatch = 8;
  TrainerOptions options;
  options.training.optimizer = Sgd{.lr = 0.5};
  options.compile.batch = kBatch;
  if (recompute) options.compile.recompute = RecomputeOptions{};
  Trainer trainer(long_reader(steps), options);
  Graph shapes;
  shapes.add_input("x", {DType::f32, {kBatch, steps, 4}});
  Tensor labels = Tensor::empty(DType::i64, {kBatch});
  for (size_t i = 0; i < kBatch; ++i)
    labels.mutable_values<int64_t>()[i] = static_cast<int64_t>(i % 3);
  const auto data =
      batches_of({{"x", random_inputs(shapes, {}, 3)[0]}, {"target", labels}}, {.batch = kBatch});
  StepResult result;
  result.loss = trainer.fit(*data, nullptr, {.epochs = 1}).back().training.at("loss");
  data->start(0, 0);
  result.bytes = trainer.step_bytes(*data->next());
  result.weights = trainer.weights();
  return result;
}

// Four times as many steps: four times the memory, but with --recompute about twice.
TEST(RecurrentGradient, MemoryGrowsWithTheRootOfTheSteps) {
  const StepResult kept = one_step(256, false), again = one_step(256, true);
  EXPECT_LT(again.bytes * 4, kept.bytes);
  EXPECT_EQ(again.loss, kept.loss);
  for (const auto& [name, t] : kept.weights)
    EXPECT_LE(relative_error(again.weights.at(name), t), 1e-5) << name;
  const size_t at_1024 = one_step(1024, true).bytes, at_4096 = one_step(4096, true).bytes;
  EXPECT_LT(at_4096 * 2, at_1024 * 5);
  EXPECT_GT(one_step(1024, false).bytes * 2, kept.bytes * 7);
}

}  // namespace

}  // namespace tintype::test
