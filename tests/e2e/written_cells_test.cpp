// Cells that a user of the graph API writes from their gates: what they compute, what the passes
// make of them, and that they learn.
#include "frontend/graph/recurrent.h"
#include "ir/diagnostic.h"
#include "ir/print.h"
#include "passes/pass_manager.h"
#include "tests/support/evaluate.h"
#include "tools/driver/driver.h"
#include "tools/driver/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

namespace tintype::test {

namespace {

constexpr int64_t kFeatures = 5, kUnits = 7, kSteps = 6;

/// x W + h U + b
class Gate {
 public:
  Gate(GraphBuilder& g, const std::string& name)
      : input_(g.parameter(name + ".input", {kFeatures, kUnits}, init::normal(0.4))),
        state_(g.parameter(name + ".state", {kUnits, kUnits}, init::normal(0.4))),
        bias_(g.parameter(name + ".bias", {kUnits}, init::normal(0.3))) {}
  Variable operator()(const Variable& x, const Variable& h) const {
    return x.matmul(input_) + h.matmul(state_) + bias_;
  }
  std::span<const float> input() const { return input_.value()->constant()->values<float>(); }
  std::span<const float> state() const { return state_.value()->constant()->values<float>(); }
  std::span<const float> bias() const { return bias_.value()->constant()->values<float>(); }

 private:
  Variable input_, state_, bias_;
};

/// concat(x, h) W + b
class JoinedGate {
 public:
  JoinedGate(GraphBuilder& g, const std::string& name)
      : weight_(g.parameter(name + ".weight", {kFeatures + kUnits, kUnits}, init::normal(0.4))),
        bias_(g.parameter(name + ".bias", {kUnits}, init::normal(0.3))) {}
  Variable operator()(const Variable& x, const Variable& h) const {
    return x.builder().concat({x, h}, 1).matmul(weight_) + bias_;
  }
  std::span<const float> input() const { return weights().first(kFeatures * kUnits); }
  std::span<const float> state() const { return weights().last(kUnits * kUnits); }
  std::span<const float> bias() const { return bias_.value()->constant()->values<float>(); }

 private:
  std::span<const float> weights() const { return weight_.value()->constant()->values<float>(); }
  Variable weight_, bias_;
};

/// What the weights of ONNX's ops are made of.
struct GateValues {
  std::span<const float> input, state, bias;
};

template <typename Gate>
GateValues values_of(const Gate& gate) {
  return {gate.input(), gate.state(), gate.bias()};
}

/// Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.
template <typename Gate>
struct WrittenLstm {
  static constexpr const char* kOp = "LSTM";
  static constexpr int kProducts = 1;
  explicit WrittenLstm(GraphBuilder& g)
      : forget(g, "forget"), input(g, "input"), candidate(g, "candidate"), output(g, "output") {}

  Variable run(const Variable& x) const {
    Variable h = zero_state(x, kUnits), c = zero_state(x, kUnits);
    std::vector<Variable> outputs;
    for (int64_t t = 0; t < kSteps; ++t) {
      const Variable xt = at_step(x, t);
      const Variable f = forget(xt, h).sigmoid();
      const Variable i = input(xt, h).sigmoid();
      const Variable o = output(xt, h).sigmoid();
      c = f * c + i * candidate(xt, h).tanh();
      h = o * c.tanh();
      outputs.push_back(h);
    }
    return from_steps(outputs);
  }
  // In the order of ONNX's LSTM: i, o, f, c.
  std::vector<GateValues> gates() const {
    return {values_of(input), values_of(output), values_of(forget), values_of(candidate)};
  }

  Gate forget, input, candidate, output;
};

/// Cho et al. 2014: one gate decides what of the state stays and what is new.
template <typename Gate>
struct WrittenGru {
  static constexpr const char* kOp = "GRU";
  static constexpr int kProducts = 2;  // what is reset waits for its gate
  explicit WrittenGru(GraphBuilder& g)
      : update(g, "update"), reset(g, "reset"), candidate(g, "candidate") {}

  Variable run(const Variable& x) const {
    Variable h = zero_state(x, kUnits);
    std::vector<Variable> outputs;
    for (int64_t t = 0; t < kSteps; ++t) {
      const Variable xt = at_step(x, t);
      const Variable z = update(xt, h).sigmoid();
      const Variable r = reset(xt, h).sigmoid();
      h = z * h + (1 - z) * candidate(xt, r * h).tanh();
      outputs.push_back(h);
    }
    return from_steps(outputs);
  }
  // In the order of ONNX's GRU: z, r, h.
  std::vector<GateValues> gates() const {
    return {values_of(update), values_of(reset), values_of(candidate)};
  }

  Gate update, reset, candidate;
};

/// ONNX's op with the weights of a written cell, over N,T,features.
std::unique_ptr<Graph> operator_of(const char* op, const std::vector<GateValues>& gates) {
  const auto count = static_cast<int64_t>(gates.size());
  Tensor w = Tensor::empty(DType::f32, {1, count * kUnits, kFeatures});
  Tensor r = Tensor::empty(DType::f32, {1, count * kUnits, kUnits});
  Tensor b = Tensor::zeros(DType::f32, {1, 2 * count * kUnits});
  size_t row = 0;
  for (const GateValues& gate : gates) {
    for (size_t u = 0; u < kUnits; ++u, ++row) {
      for (size_t k = 0; k < kFeatures; ++k)
        w.mutable_values<float>()[row * kFeatures + k] = gate.input[k * kUnits + u];
      for (size_t k = 0; k < kUnits; ++k)
        r.mutable_values<float>()[row * kUnits + k] = gate.state[k * kUnits + u];
      b.mutable_values<float>()[row] = gate.bias[u];
    }
  }
  GraphBuilder g(op);
  const Variable x = g.input("x", f32("N", kSteps, kFeatures));
  const std::vector<int64_t> swapped = {1, 0, 2};
  const std::vector<Variable> results =
      g.nodes("op", op,
              {x.transpose(swapped).value(), g.constant(w).value(), g.constant(r).value(),
               g.constant(b).value()},
              {{"hidden_size", kUnits}}, 2);
  g.output("y", results[0].reshape({kSteps, -1, kUnits}).transpose(swapped));
  return g.take();
}

struct Written {
  std::unique_ptr<Graph> cell, op;
};

template <typename Cell>
Written written() {
  GraphBuilder g(std::string("written ") + Cell::kOp);
  const Variable x = g.input("x", f32("N", kSteps, kFeatures));
  const Cell cell(g);
  g.output("y", cell.run(x));
  std::unique_ptr<Graph> reference = operator_of(Cell::kOp, cell.gates());
  return {g.take(), std::move(reference)};
}

/// Compiled, they agree with ONNX's op for several batches.
void expect_agreement(const Written& w) {
  const CompiledModel cell = compile_graph(w.cell->clone()), op = compile_graph(w.op->clone());
  for (const int64_t batch : {1, 3, 16}) {
    const std::vector<Tensor> x = random_inputs(*w.op, {{"N", batch}}, 7);
    const auto got = cell.model.run(std::span<const Tensor>(x));
    const auto want = op.model.run(std::span<const Tensor>(x));
    ASSERT_TRUE(got.ok()) << got.status().message();
    ASSERT_TRUE(want.ok()) << want.status().message();
    EXPECT_EQ(difference(got.value()[0], want.value()[0], 1e-5), "") << "batch " << batch;
  }
}

int count(const Graph& graph, std::string_view op) {
  const auto nodes = graph.node_list();
  return static_cast<int>(
      std::count_if(nodes.begin(), nodes.end(), [&](const Node* n) { return n->is(op); }));
}

/// One loop with `products` for all gates, and no other product but that of all inputs.
void expect_rolled_up(const Graph& graph, int products) {
  const auto optimized = graph.clone();
  run_pipeline(*optimized, parse_pipeline("canonical"));
  ASSERT_EQ(count(*optimized, "scan"), 1) << print(*optimized);
  EXPECT_EQ(count(*optimized, "dot"), 1) << print(*optimized);
  for (const Node* n : optimized->node_list()) {
    if (!n->is("scan")) continue;
    EXPECT_EQ(count(*n->body(0), "dot"), products) << print(*optimized);
  }
}

template <typename Cell>
class WrittenCells : public testing::Test {};
using Cells = testing::Types<WrittenLstm<Gate>, WrittenLstm<JoinedGate>, WrittenGru<Gate>,
                             WrittenGru<JoinedGate>>;
TYPED_TEST_SUITE(WrittenCells, Cells);

TYPED_TEST(WrittenCells, ComputeWhatOnnxDoes) { expect_agreement(written<TypeParam>()); }
TYPED_TEST(WrittenCells, BecomeALoop) {
  expect_rolled_up(*written<TypeParam>().cell, TypeParam::kProducts);
}

/// A classifier on a written cell: is the first element of the first step positive?
template <typename Cell>
double accuracy_after_training() {
  GraphBuilder g("learner");
  const Variable x = g.input("x", f32("N", kSteps, kFeatures));
  const Cell cell(g);
  g.output("scores", last_step(cell.run(x)).linear({.units = 2}));
  Trainer trainer(g.take(), {.training = {.optimizer = Adam{.lr = 2e-2}}});
  const int64_t samples = 256;
  Graph shape;
  shape.add_input("x", {DType::f32, {samples, kSteps, kFeatures}});
  const Tensor values = random_inputs(shape, {}, 3)[0];
  Tensor labels = Tensor::empty(DType::i64, {samples});
  for (size_t i = 0; i < static_cast<size_t>(samples); ++i)
    labels.mutable_values<int64_t>()[i] = values.values<float>()[i * kSteps * kFeatures] > 0;
  const auto data = batches_of({{"x", values}, {"target", labels}}, {.batch = 32, .shuffle = true});
  return trainer.fit(*data, nullptr, {.epochs = 30}).back().training.at("accuracy");
}

TYPED_TEST(WrittenCells, Learn) { EXPECT_GT(accuracy_after_training<TypeParam>(), 0.95); }

}  // namespace

}  // namespace tintype::test
