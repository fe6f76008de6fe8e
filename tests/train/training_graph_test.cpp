// What training graphs contain and refuse; metrics, projections and diagnostics by host evaluation.
#include "frontend/graph/graph_builder.h"
#include "frontend/train/diagnostics.h"
#include "frontend/train/parameters.h"
#include "frontend/train/training_graph.h"
#include "ir/constant_source.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"
#include "tests/support/evaluate.h"
#include "tests/train/fixture.h"
#include "tests/train/networks.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

namespace tintype::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::vector<std::string> state_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const State& s : graph.states()) names.push_back(s.current->name());
  return names;
}

TEST(TrainingGraph, HasStatesInputsAndOutputsByName) {
  const TrainingGraph t =
      make_training_graph(make_network("normed"), {.optimizer = Sgd{.momentum = 0.9}});
  verify(*t.graph);
  EXPECT_THAT(state_names(*t.graph),
              UnorderedElementsAre(
                  "step", "seed", "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean",
                  "bn1.running_var", "fc1.weight", "fc1.bias",
                  "optimizer/conv1.weight/momentum_buffer", "optimizer/bn1.weight/momentum_buffer",
                  "optimizer/bn1.bias/momentum_buffer", "optimizer/fc1.weight/momentum_buffer",
                  "optimizer/fc1.bias/momentum_buffer"));
  std::vector<std::string> outputs;
  for (size_t i = 0; i < t.graph->output_count(); ++i)
    if (!t.graph->is_next(static_cast<int>(i))) outputs.push_back(t.graph->output_name(i));
  EXPECT_THAT(outputs, UnorderedElementsAre("loss", "accuracy"));
  EXPECT_THAT(t.statistics, ElementsAre("bn1.running_mean", "bn1.running_var"));
  EXPECT_EQ(t.targets[0].classes, 3);
}

TEST(TrainingGraph, ParametersComeInTheOrderOfTheModel) {
  const std::vector<std::string> order = {"conv1.weight", "bn1.weight", "bn1.bias", "fc1.weight",
                                          "fc1.bias"};
  for (const char* freeze : {"", "fc1.weight"}) {
    const TrainingGraph t = make_training_graph(
        make_network("normed"), {.optimizer = Sgd{.momentum = 0.9}, .freeze = freeze});
    std::vector<std::string> names;
    for (const TrainedParameter& p : t.parameters) names.push_back(p.name);
    EXPECT_EQ(names, order);
    // States, and with them what checkpoints and weights files hold, come in the same order.
    std::vector<std::string> wanted = order;
    std::erase(wanted, std::string(freeze));
    std::vector<std::string> states = state_names(*t.graph);
    std::erase_if(states, [&](const std::string& s) { return std::ranges::count(order, s) == 0; });
    EXPECT_EQ(states, wanted);
  }
}

TEST(TrainingGraph, EvaluationSharesTheNamesOfParametersAndStatistics) {
  const TrainingGraph t = make_evaluation_graph(make_network("normed"), {});
  verify(*t.graph);
  EXPECT_THAT(state_names(*t.graph),
              UnorderedElementsAre("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean",
                                   "bn1.running_var", "fc1.weight", "fc1.bias"));
  for (const State& s : t.graph->states())
    EXPECT_EQ(t.graph->output(static_cast<size_t>(s.next)), s.current);
}

TEST(TrainingGraph, ListsAllNodesThatCanNotBeDifferentiated) {
  GraphBuilder g("indices");
  auto x = g.input("x", f32("N", 8)).linear({.name = "fc", .units = 6});
  std::vector<Variable> indices;
  for (const char* op : {"ArgMax", "ArgMin"}) {
    const std::string layer = g.begin(op, std::string("find_") + op);
    indices.push_back(g.node(layer, "Cast", {g.node(layer, op, {x}, {{"axis", int64_t{1}}})},
                             {{"to", int64_t{1}}}));
  }
  g.output("y", g.concat(indices).linear({.name = "head", .units = 3}));
  EXPECT_THAT(message_of([&] { make_training_graph(g.take(), {}); }),
              testing::AllOf(HasSubstr("find_ArgMax"), HasSubstr("find_ArgMin")));
}

TEST(Parameters, AreFoundByTheirRoles) {
  GraphBuilder g("roles");
  auto x = g.input("x", f32("N", 4));
  const std::string layer = g.begin("custom", "custom");
  const auto parameter = [&](const char* name, std::vector<int64_t> dims) {
    return g.parameter(layer, name, std::move(dims), init::ones(), 1, 1);
  };
  x = g.node(layer, "Mul", {x, parameter("scale", {1})});
  x = g.node(layer, "Mul", {x, parameter("formula", {})});
  const auto moved = g.node(layer, "Transpose", {parameter("moved", {3, 4})},
                            {{"perm", std::vector<int64_t>{1, 0}}});
  x = g.node(layer, "MatMul", {x, moved});
  x = g.node(layer, "MatMul", {x, parameter("matrix", {3, 5})});
  x = g.node(layer, "Max", {x, parameter("limit", {5})});
  g.output("y", x.linear({.name = "fc", .units = 2}));
  const auto graph = g.take();
  std::map<std::string, int> axes;
  for (const Parameter& p : find_parameters(*graph)) axes[p.value->name()] = p.unit_axis;
  EXPECT_THAT(axes, ElementsAre(testing::Pair("custom.matrix", 1), testing::Pair("custom.moved", 0),
                                testing::Pair("custom.scale", -1), testing::Pair("fc.bias", -1),
                                testing::Pair("fc.weight", 0)));
}

/// A constant of this source, of equal elements.
Variable constant(GraphBuilder& g, const std::string& name, std::vector<int64_t> dims,
                  ConstantSource source, float value = 1) {
  const Variable v = g.parameter("c", name, std::move(dims), init::ones(), 1, 1);
  Tensor elements = v.value()->constant()->clone();
  std::ranges::fill(elements.mutable_values<float>(), value);
  v.value()->def()->attrs().set("value", elements);
  set_source(*v.value()->def(), source);
  return v;
}

// A formula may multiply by a constant; nobody writes out a filter in one.
TEST(Parameters, TheRoleDecidesForConstantNodesWhereItCan) {
  using enum ConstantSource;
  GraphBuilder g("literals");
  auto x = g.input("x", f32("N", 2, 4, 4));
  const std::string layer = g.begin("l", "l");
  x = g.node(layer, "Mul", {x, constant(g, "factor", {1}, literal)});
  x = g.node(layer, "Conv", {x, constant(g, "filter", {3, 2, 1, 1}, literal)});
  x = g.node(
      layer, "InstanceNormalization",
      {x, constant(g, "in_scale", {3}, literal, 2), constant(g, "in_bias", {3}, initializer, 2)});
  x = g.node(layer, "Add", {x, constant(g, "mask", {4}, initializer, -INFINITY)});
  x = g.node(layer, "BatchNormalization",
             {x, constant(g, "no_scale", {3}, literal), constant(g, "bn_bias", {3}, literal, 2),
              constant(g, "mean", {3}, buffer), constant(g, "var", {3}, buffer)});
  x = g.node(layer, "MatMul", {x, constant(g, "projection", {4, 4}, buffer)});
  x = g.node(layer, "Concat", {x, constant(g, "zeros", {1, 3, 4, 4}, literal)},
             {{"axis", int64_t{0}}});
  x = g.node(layer, "MatMul", {x, constant(g, "matrix", {4, 4}, literal)});
  g.output("y", x);
  const auto graph = g.take();
  std::vector<std::string> trained, others;
  for (const Parameter& p : find_parameters(*graph)) trained.push_back(p.value->name());
  for (const UntrainedConstant& c : find_untrained(*graph)) others.push_back(c.name);
  EXPECT_THAT(trained, UnorderedElementsAre("c.filter", "c.in_bias", "c.bn_bias", "c.matrix"));
  EXPECT_THAT(others, UnorderedElementsAre("c.factor", "c.in_scale", "c.mask", "c.no_scale",
                                           "c.projection", "c.zeros"));
}

TEST(TrainingGraph, SaysThatQuantisedWeightsAreNotTrained) {
  GraphBuilder g("quantised");
  auto x = g.input("x", f32("N", 4)).linear({.units = 4});
  const std::string layer = g.begin("q", "q");
  const Variable w = g.parameter(layer, "weight", {4, 3}, init::ones(), 1, 1);
  w.value()->def()->attrs().set("value", Tensor::zeros(DType::i8, {4, 3}));
  w.value()->set_type({DType::i8, {4, 3}});
  const Variable scale = g.parameter(layer, "scale", {}, init::ones(), 1, 1);
  g.output("y", g.node(layer, "MatMul", {x, g.node(layer, "DequantizeLinear", {w, scale})}));
  const TrainingGraph t = make_training_graph(g.take(), {});
  EXPECT_THAT(t.notes,
              ElementsAre("not trained (quantised: integers have no gradient): 'q.weight'"));
}

TEST(TrainingGraph, NotesParametersThatNodesShare) {
  GraphBuilder g("tied");
  auto x = g.input("x", f32("N", 4));
  const std::string layer = g.begin("tied", "tied");
  const Variable w = g.parameter(layer, "weight", {4, 4}, init::xavier_uniform(), 4, 4);
  g.output("y", g.node(layer, "MatMul", {g.node(layer, "MatMul", {x, w}), w}));
  const TrainingGraph t = make_training_graph(g.take(), {});
  ASSERT_EQ(t.parameters.size(), 1u);
  EXPECT_THAT(
      t.notes,
      ElementsAre(
          "parameters that several nodes share stay tied: 1, the first is 'tied.weight' by 2"));
}

TEST(ExportTrained, LeavesNothingOfDropoutBehind) {
  GraphBuilder g("dropped");
  g.output("y", g.input("x", f32("N", 4)).linear({.units = 3}).dropout(0.25).relu());
  const auto model = g.take();
  const auto as_it_is = [](const std::string&) { return std::optional<Tensor>(); };
  const std::unique_ptr<Graph> exported = export_trained(*model, as_it_is);
  verify(*exported);
  EXPECT_LT(exported->size(), model->size());
  for (const auto& n : exported->nodes()) {
    EXPECT_FALSE(n->is("Dropout"));
    EXPECT_TRUE(!n->result()->uses().empty() || n->result()->output_uses() > 0) << n->name();
  }
}

TEST(TrainingGraph, MistakesAreExplained) {
  const auto message = [](const TrainingOptions& options) {
    return message_of([&] { make_training_graph(make_network("mlp"), options); });
  };
  EXPECT_THAT(message({.losses = {{.output = "z"}}}), HasSubstr("the model has no output 'z'"));
  EXPECT_THAT(message({.losses = {}}), HasSubstr("at least one loss"));
  EXPECT_THAT(message({.freeze = "("}), HasSubstr("--freeze '(' is not a regular expression"));
  EXPECT_THAT(message({.freeze = "conv"}),
              HasSubstr("--freeze 'conv' matches no parameter; the first is 'fc1.weight'"));
  EXPECT_THAT(message({.freeze = "."}), HasSubstr("--freeze '.' leaves nothing to train"));
  EXPECT_THAT(message({.groups = {{.pattern = "conv"}}}),
              HasSubstr("'conv' matches no trained parameter"));
  EXPECT_THAT(message({.losses = {{.target = "x"}}}), HasSubstr("named 'x'"));
  EXPECT_THAT(message({.optimizer = Rprop{}, .groups = {{.pattern = "fc1", .weight_decay = 0.1}}}),
              HasSubstr("has no weight decay"));
  GraphBuilder g("no parameters");
  g.output("y", g.input("x", f32("N", 4)).relu());
  EXPECT_THAT(message_of([&] { make_training_graph(g.take(), {}); }), HasSubstr("no parameters"));
}

TEST(TrainingGraph, LeavesOutASoftmaxUnderACrossEntropy) {
  const auto build = [](bool softmax) {
    GraphBuilder g("classifier");
    auto y = g.input("x", f32("N", 20)).linear({.name = "fc", .units = 5});
    g.output("y", softmax ? y.softmax() : y);
    return g.take();
  };
  const TrainingGraph with = make_evaluation_graph(build(true), {});
  const TrainingGraph without = make_evaluation_graph(build(false), {});
  EXPECT_THAT(with.notes, ElementsAre(HasSubstr("computed from the input of softmax1")));
  const auto loss = [](const TrainingGraph& t) {
    const auto examples = make_examples("mlp", 6);
    std::vector<Tensor> inputs;
    for (const auto& v : t.graph->inputs()) {
      const State* s = t.graph->state_of(v.get());
      inputs.push_back(s != nullptr ? s->initial : examples.at(v->name()));
    }
    const auto results = evaluate(*t.graph, inputs);
    for (size_t i = 0; i < results.size(); ++i)
      if (t.graph->output_name(i) == "loss") return results[i].values<float>()[0];
    return std::numeric_limits<float>::quiet_NaN();
  };
  EXPECT_EQ(loss(with), loss(without));
}

/// Evaluates a fragment of one input.
Tensor fragment(const Tensor& x, const std::function<Value*(Builder&, Value*)>& build) {
  Graph graph;
  Value* input = graph.add_input("x", {x.dtype(), Shape(x.dims().begin(), x.dims().end())});
  Builder b(graph);
  graph.add_output("y", build(b, input));
  return evaluate(graph, {x})[0];
}

TEST(Metrics, CountLabelsAmongTheHighestScores) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor scores = Tensor::from<float>({6, 4}, {1,   2, 3, 4,    // label 3: rank 1
                                                     4,   3, 2, 1,    // label 1: rank 2
                                                     1,   1, 1, 1,    // label 0: first of equals
                                                     1,   1, 1, 1,    // label 2: third of equals
                                                     nan, 1, 2, 3,    // label 0: NaN
                                                     nan, 1, 2, 3});  // label 3: behind NaN
  const auto count = [&](int64_t k) {
    return fragment(scores,
                    [&](Builder& b, Value* x) {
                      return count_top_k(
                          b, x, b.constant(Tensor::from<int64_t>({6}, {3, 1, 0, 2, 0, 3})), k);
                    })
        .values<float>()[0];
  };
  EXPECT_EQ(count(1), 2);
  EXPECT_EQ(count(2), 4);
  EXPECT_EQ(count(3), 5);
  EXPECT_EQ(count(4), 5);
}

TEST(Regularizers, MaxNormScalesUnitsDownToTheLimit) {
  const Tensor w = Tensor::from<float>({2, 2}, {3, 4, 0.3f, 0.4f});
  const auto project = [&](int axis) {
    return fragment(w, [&](Builder& b, Value* x) { return project_max_norm(b, x, axis, 1); });
  };
  EXPECT_EQ(difference(project(0), Tensor::from<float>({2, 2}, {0.6f, 0.8f, 0.3f, 0.4f}), 1e-6),
            "");
  const float a = std::hypot(3.0f, 0.3f);
  const float c = std::hypot(4.0f, 0.4f);
  EXPECT_EQ(
      difference(project(1), Tensor::from<float>({2, 2}, {3 / a, 4 / c, 0.3f / a, 0.4f / c}), 1e-6),
      "");
}

TEST(Regularizers, PenaltiesAddUp) {
  const Tensor w = Tensor::from<float>({2, 2}, {1, -2, 3, -4});
  const Tensor p = fragment(w, [](Builder& b, Value* x) {
    return add_penalty(b, {x, x}, 0.1, 0.01);
  });
  EXPECT_NEAR(p.values<float>()[0], 2 * (0.1 * 10 + 0.01 * 30), 1e-6);
}

TEST(Diagnostics, CountIdenticalUnits) {
  const Tensor w = Tensor::from<float>({4, 2}, {1, 2, 3, 4, 1, 2, 1, 2});
  EXPECT_EQ(identical_units(w, 0), 0.75);
  EXPECT_EQ(identical_units(w, 1), 0);
  EXPECT_EQ(identical_units(Tensor::zeros(DType::f32, {3, 5}), 1), 1);
  EXPECT_EQ(identical_units(Tensor::zeros(DType::f32, {3, 5}), -1), 0);
  EXPECT_EQ(identical_units(Tensor::zeros(DType::f32, {0, 5}), 0), 0);
}

TEST(Diagnostics, SpeakOfWhatIsWrong) {
  using Kind = Diagnostic::Kind;
  const std::vector<Diagnostic> meanings = {
      {Kind::gradient_norm, "a"}, {Kind::gradient_norm, "b"}, {Kind::update_ratio, "a"},
      {Kind::dead, "relu1"},      {Kind::saturated, "tanh1"}, {Kind::non_finite, "conv1"}};
  const auto warnings = [&](std::initializer_list<float> values) {
    std::vector<std::string> texts;
    for (const Warning& w : warnings_of(meanings, Tensor::from<float>({6}, values)))
      texts.push_back(w.text);
    return texts;
  };
  EXPECT_THAT(warnings({1, 1, 0.001f, 0.1f, 0.1f, 0}), ElementsAre());
  EXPECT_THAT(warnings({2000, 1, 0.5f, 0.38f, 0.9f, 0}),
              ElementsAre(HasSubstr("gradient of a"), HasSubstr("changes a by 50 %"),
                          HasSubstr("38 % of the units of relu1 are dead"),
                          HasSubstr("90 % of the outputs of tanh1")));
  EXPECT_THAT(warnings({0, 1e-9f, 0, 0, 0, 0}), ElementsAre(HasSubstr("vanish")));
  EXPECT_EQ(first_non_finite(meanings, Tensor::from<float>({6}, {0, 0, 0, 0, 0, 1})), "conv1");
}

}  // namespace
}  // namespace tintype::test
