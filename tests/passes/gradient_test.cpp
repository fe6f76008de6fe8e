// Gradients against central differences in double precision: every differentiable core op, and
// what PyTorch does where a function has a kink.
#include "ir/builder.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "passes/autodiff.h"
#include "passes/gradient_check.h"
#include "tests/passes/case_file.h"
#include "tests/support/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <stdexcept>
#include <string>

namespace tintype::test {

namespace {

std::vector<PassCase> all_cases() {
  return read_cases(std::string(TINTYPE_TEST_DIR) + "/gradients/core_ops.ir");
}

struct Range {
  double low, high;
};

Range range_of(const PassCase& c) {
  const size_t dots = c.pipeline.find("..");
  return {std::stod(c.pipeline), std::stod(c.pipeline.substr(dots + 2))};
}

SymbolLookup lookup_in(const Symbols& symbols) {
  return [&symbols](std::string_view name) -> std::optional<int64_t> {
    const auto it = symbols.find(name);
    return it == symbols.end() ? std::nullopt : std::optional(it->second);
  };
}

/// Random inputs in the range instead of [-1, 1].
std::vector<Tensor> inputs_in(const Graph& graph, const Symbols& symbols, Range range) {
  std::vector<Tensor> inputs = random_inputs(graph, symbols, 7);
  for (Tensor& t : inputs)
    for (double& v : t.mutable_values<double>())
      v = range.low + (v + 1) / 2 * (range.high - range.low);
  return inputs;
}

void expect_correct(const Graph& graph, const std::vector<Tensor>& inputs, const Symbols& symbols) {
  for (const GradientComparison& c : check_gradients(graph, inputs, lookup_in(symbols)))
    EXPECT_EQ(c.failed, 0) << c.input << ": " << c.failed << " of " << c.checked
                           << " elements, worst " << c.worst << ": gradient " << c.analytic
                           << ", difference quotient " << c.numeric;
}

class GradientOfOp : public testing::TestWithParam<PassCase> {};

TEST_P(GradientOfOp, AgreesWithCentralDifferences) {
  const auto graph = parse_graph(GetParam().before);
  const Symbols symbols = small_symbols(*graph);
  expect_correct(*graph, inputs_in(*graph, symbols, range_of(GetParam())), symbols);
}

/// The graph whose outputs are the gradients of the sum of squares of the first output.
std::unique_ptr<Graph> gradient_graph(const Graph& graph) {
  auto copy = graph.clone();
  Builder b(*copy);
  Value* y = copy->output(0);
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < y->rank(); ++i) axes.push_back(i);
  Value* loss = b.reduce("reduce_sum", b.mul(y, y), axes);
  std::vector<Value*> wrt;
  for (const auto& input : copy->inputs()) wrt.push_back(input.get());
  const std::vector<Value*> found = gradients(*copy, loss, wrt);
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i] != nullptr) copy->add_output("gradient " + std::to_string(i), found[i]);
  return copy;
}

// Gradients are made of core ops, so they have gradients.
TEST_P(GradientOfOp, HasAGradientItself) {
  const std::unique_ptr<Graph> first = gradient_graph(*parse_graph(GetParam().before));
  EXPECT_EQ(find_problem(*first), "");
  // A product with zeros among its factors is divided by its non-zero factors only; the second
  // derivative at the zeros needs the products of pairs, which that form does not have.
  if (GetParam().name == "reduce_prod_zeros") return;
  const Symbols symbols = small_symbols(*first);
  expect_correct(*first, inputs_in(*first, symbols, range_of(GetParam())), symbols);
}

INSTANTIATE_TEST_SUITE_P(Core, GradientOfOp, testing::ValuesIn(all_cases()),
                         [](const auto& instance) { return instance.param.name; });

TEST(Gradient, EveryDifferentiableOpHasACase) {
  std::set<std::string_view> covered;
  std::vector<std::unique_ptr<Graph>> graphs;
  for (const PassCase& c : all_cases()) {
    graphs.push_back(parse_graph(c.before));
    for (const auto& n : graphs.back()->nodes()) covered.insert(n->name());
  }
  for (const OpDef* def : all_ops())
    EXPECT_TRUE(def->gradient == nullptr || covered.count(def->name) != 0) << def->name;
}

/// The gradients of the first output's sum at the given inputs.
std::vector<Tensor> gradients_at(const std::string& text, const std::vector<Tensor>& inputs) {
  const auto graph = parse_graph(text);
  Builder b(*graph);
  Value* y = graph->output(0);
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < y->rank(); ++i) axes.push_back(i);
  Value* loss = b.reduce("reduce_sum", y, axes);
  std::vector<Value*> wrt;
  for (const auto& input : graph->inputs()) wrt.push_back(input.get());
  const std::vector<Value*> found = gradients(*graph, loss, wrt);
  for (Value* v : found) graph->add_output("g", v);
  std::vector<Tensor> outputs = evaluate(*graph, inputs);
  outputs.erase(outputs.begin());
  return outputs;
}

void expect_values(const Tensor& got, const std::vector<double>& want) {
  const auto values = got.values<double>();
  EXPECT_EQ(std::vector<double>(values.begin(), values.end()), want);
}

Tensor vector(std::vector<double> values) {
  return Tensor::from<double>({static_cast<int64_t>(values.size())},
                              std::span<const double>(values));
}

TEST(Gradient, KinksAndTiesAreThoseOfPyTorch) {
  const std::string head = "graph \"g\"(%x: f64[4]) {\n  %0 = ",
                    tail = "\n  return %0 as \"y\"\n}\n";
  const Tensor x = vector({0, -1, 2, 2});
  expect_values(gradients_at(head + "relu(%x)" + tail, {x})[0], {0, 0, 1, 1});
  expect_values(gradients_at(head + "abs(%x)" + tail, {x})[0], {0, -1, 1, 1});
  expect_values(gradients_at(head + "reduce_max(%x) {axes = [0]}" + tail, {x})[0],
                {0, 0, 0.5, 0.5});
  const std::string two = "graph \"g\"(%x: f64[4], %z: f64[4]) {\n  %0 = ";
  const Tensor z = vector({0, 3, 1, 2});
  expect_values(gradients_at(two + "max(%x, %z)" + tail, {x, z})[0], {0.5, 0, 1, 0.5});
  expect_values(gradients_at(two + "max(%x, %z)" + tail, {x, z})[1], {0.5, 1, 0, 0.5});
  expect_values(gradients_at(two + "min(%x, %z)" + tail, {x, z})[0], {0.5, 1, 0, 0.5});
  expect_values(gradients_at(two + "pow(%x, %z)" + tail, {vector({0, -1, 2, 0}), z})[0],
                {0, 3, 1, 0});
}

TEST(Gradient, ALargestElementThatRepeatsCountsOnceInAWindow) {
  const std::string text = R"(graph "g"(%x: f64[1,5,1]) {
  %0 = window_reduce(%x) {kind = "max", strides = [2], window = [3]}
  return %0 as "y"
}
)";
  const Tensor x = Tensor::from<double>({1, 5, 1}, {1, 3, 3, 3, 0});
  expect_values(gradients_at(text, {x})[0], {0, 1, 1, 0, 0});
}

TEST(Gradient, StopsWhereItIsToldTo) {
  const std::string text = R"(graph "g"(%x: f64[3]) {
  %0 = stop_gradient(%x)
  %1 = mul(%x, %0)
  return %1 as "y"
}
)";
  const Tensor x = Tensor::from<double>({3}, {1, -2, 5});
  expect_values(gradients_at(text, {x})[0], {1, -2, 5});
}

using Values = std::vector<Value*>;

constexpr OpDef wrong_gradient(std::string_view name, GradientFunction gradient) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 1,
          .traits = kHostOnly,
          .infer = infer_like_first,
          .gradient = gradient,
          .doc = "x"};
}

constexpr OpDef kWrongGradients[] = {
    wrong_gradient("test::None", [](Builder&, const Node&, const Values&) { return Values(); }),
    wrong_gradient("test::Rank", [](Builder& b, const Node&,
                                    const Values&) { return Values{b.scalar(1, DType::f64)}; }),
    wrong_gradient("test::Typo",
                   [](Builder& b, const Node&, const Values& dy) {
                     return Values{b.make("mull", {dy[0], dy[0]})};
                   }),
    wrong_gradient("test::Throws",
                   [](Builder&, const Node&, const Values&) -> Values {
                     throw std::runtime_error("not today");
                   }),
};

TEST(Gradient, MistakesOfAddedOpsNameTheNode) {
  register_ops(kWrongGradients);
  const auto message = [](const std::string& op) -> std::string {
    const auto graph = parse_graph("graph \"g\"(%x: f64[3]) {\n  %0 = test::" + op +
                                   "(%x)  // act\n  %1 = reduce_sum(%0) {axes = [0]}\n" +
                                   "  return %1 as \"y\"\n}\n");
    Value* x = graph->inputs()[0].get();
    try {
      gradients(*graph, graph->output(0), {&x, 1});
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message("None"),
            "act (test::None): the op's gradient returns 0 gradients of 1 operands "
            "(null stands for zero)");
  EXPECT_EQ(message("Rank"), "act (test::Rank): the op's gradient is f64[] for an operand f64[3]");
  EXPECT_EQ(message("Typo"), "grad:act: there is no op 'mull' (did you mean 'mul'?)");
  EXPECT_EQ(message("Throws"), "act (test::Throws): the op's gradient failed: not today");
}

TEST(Gradient, SharedValuesAccumulate) {
  // y = x w + sin(x w) w
  const std::string text = R"(graph "g"(%x: f64[], %w: f64[]) {
  %0 = mul(%x, %w)
  %1 = sin(%0)
  %2 = mul(%1, %w)
  %3 = add(%0, %2)
  return %3 as "y"
}
)";
  const auto g = gradients_at(text, {Tensor::scalar(0.5), Tensor::scalar(2.0)});
  EXPECT_NEAR(g[0].values<double>()[0], 2 + 4 * std::cos(1.0), 1e-12);
  EXPECT_NEAR(g[1].values<double>()[0], 0.5 + 2 * 0.5 * std::cos(1.0) + std::sin(1.0), 1e-12);
}

TEST(Gradient, IsNullWhereTheLossDoesNotDepend) {
  const auto graph = parse_graph(R"(graph "g"(%x: f64[2], %z: f64[2], %i: f64[2]) {
  %0 = floor(%z)
  %1 = mul(%x, %0)
  %2 = reduce_sum(%1) {axes = [0]}
  return %2 as "y"
}
)");
  std::vector<Value*> wrt;
  for (const auto& input : graph->inputs()) wrt.push_back(input.get());
  const size_t before = graph->size();
  const std::vector<Value*> found = gradients(*graph, graph->output(0), wrt);
  EXPECT_NE(found[0], nullptr);
  EXPECT_EQ(found[1], nullptr);
  EXPECT_EQ(found[2], nullptr);
  for (const auto& n : graph->nodes())
    for (int i = 0; i < n->result_count(); ++i)
      EXPECT_TRUE(!n->result(i)->uses().empty() || n->result(i)->output_uses() != 0 ||
                  n->result(i) == found[0]);
  EXPECT_GT(graph->size(), before);
}

std::string refusal(const std::string& text) {
  const auto graph = parse_graph(text);
  std::vector<Value*> wrt = {graph->inputs()[0].get()};
  try {
    gradients(*graph, graph->output(0), wrt);
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Gradient, AllNodesThatPreventTrainingAreListed) {
  EXPECT_EQ(refusal(R"(graph "g"(%x: f64[3,4]) {
  %0 = arg_max(%x) {axis = 1} : i64[3,1]  // predict
  %1 = cast(%0) {to = f64} : f64[3,1]
  %2 = arg_min(%x) {axis = 0} : i64[1,4]  // other
  %3 = bit_not(%2) : i64[1,4]  // flip
  %4 = cast(%3) {to = f64} : f64[1,4]
  %5 = mul(%1, %4) : f64[3,4]
  %6 = Softmax(%5) : f64[3,4]  // probabilities
  %7 = mul(%6, %x) : f64[3,4]
  %8 = reduce_sum(%7) {axes = [0, 1]} : f64[1,1]
  return %8 as "y"
}
)"),
            "cannot train through 4 nodes:\n"
            "  predict (arg_max): its result is an index\n"
            "  other (arg_min): its result is an index\n"
            "  flip (bit_not): it is defined on integers alone\n"
            "  probabilities (Softmax): it is an ONNX-level op; run the pass decompose first");
}

TEST(Gradient, IndicesAndConditionsAreNotPathsOfTheirOwn) {
  EXPECT_EQ(refusal(R"(graph "g"(%x: f64[4]) {
  %0 = arg_max(%x) {axis = 0} : i64[1]
  %1 = gather(%x, %0) {axis = 0} : f64[1]
  return %1 as "y"
}
)"),
            "accepted");
}

TEST(Gradient, UnsuitableArgumentsAreNamed) {
  EXPECT_EQ(refusal("graph \"g\"(%x: f64[4]) {\n  %0 = exp(%x)\n  return %0 as \"y\"\n}\n"),
            "gradients need a loss of one float element, got f64[4]");
  EXPECT_EQ(
      refusal("graph \"g\"(%x: i64[1]) {\n  %0 = cast(%x) {to = f32}\n  return %0 as \"y\"\n}\n"),
      "gradients with respect to 'x' need floats, got i64[1]");
}

TEST(Gradient, BackwardNodesNameTheirForwardNode) {
  const auto graph = parse_graph(R"(graph "g"(%x: f64[1]) {
  %0 = exp(%x) : f64[1]  // layer1, layer2
  return %0 as "y"
}
)");
  std::vector<Value*> wrt = {graph->inputs()[0].get()};
  const std::vector<Value*> found = gradients(*graph, graph->output(0), wrt);
  EXPECT_EQ(found[0]->def()->origins(), (std::vector<std::string>{"grad:layer1", "grad:layer2"}));
}

}  // namespace

}  // namespace tintype::test
