// Dropout in training mode and ONNX's random ops: what holds for any generator.
#include "ir/parse.h"
#include "ir/random.h"
#include "passes/gradient_check.h"
#include "passes/passes.h"
#include "tests/support/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tintype::test {

namespace {

std::vector<Tensor> results_of(const std::string& text, const std::vector<Tensor>& inputs) {
  return evaluate(*parse_graph(text), inputs);
}

double mean_of(std::span<const float> v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x);
  return sum / static_cast<double>(v.size());
}

double variance_of(std::span<const float> v) {
  const double mean = mean_of(v);
  double sum = 0;
  for (const float x : v) sum += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean);
  return sum / static_cast<double>(v.size());
}

constexpr const char* kDropout = R"(graph "g"(%x: f32[N], %r: f32[]) {
  %t = constant() {value = bool[](true)}
  %y, %m = Dropout(%x, %r, %t) {seed = 3}
  return %y as "y", %m as "m"
}
)";

Tensor ones(int64_t n) {
  Tensor t = Tensor::empty(DType::f32, {n});
  for (float& v : t.mutable_values<float>()) v = 1;
  return t;
}

TEST(Dropout, KeepsAFractionAndScalesItByTheRatioOfTheRun) {
  for (const float ratio : {0.0f, 0.25f, 0.5f, 0.875f}) {
    const auto out = results_of(kDropout, {ones(20000), Tensor::scalar(ratio)});
    const auto y = out[0].values<float>();
    const auto mask = out[1].values<uint8_t>();
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(y[i], mask[i] != 0 ? 1 / (1 - ratio) : 0.0f) << ratio;
    const double r = static_cast<double>(ratio);
    EXPECT_NEAR(mean_of(y), 1, 5 * std::sqrt(r / (1 - r) / 20000));
  }
}

TEST(Dropout, EveryStepDropsOthers) {
  const auto at_step = [](int64_t step) {
    const auto graph = parse_graph(kDropout);
    PassContext context;
    decompose(*graph, context);
    Value* seed = graph->add_input("seed", {DType::i64, {}});
    set_random_state(*graph, seed, graph->add_input("step", {DType::i64, {}}));
    const auto out = evaluate(*graph, {ones(100), Tensor::scalar(0.5f), Tensor::scalar<int64_t>(9),
                                       Tensor::scalar(step)});
    return std::vector<float>(out[0].values<float>().begin(), out[0].values<float>().end());
  };
  EXPECT_EQ(at_step(4), at_step(4));
  EXPECT_NE(at_step(4), at_step(5));
}

TEST(Dropout, TheGradientPassesWhereTheValueDid) {
  const auto graph = parse_graph(R"(graph "g"(%x: f64[50]) {
  %r = constant() {value = f64[](0.3)}
  %t = constant() {value = bool[](true)}
  %0 = Sin(%x)
  %y = Dropout(%0, %r, %t)
  return %y as "y"
}
)");
  PassContext context;
  decompose(*graph, context);
  const std::vector<Tensor> inputs = random_inputs(*graph, {}, 5);
  const SymbolLookup none = [](std::string_view) { return std::optional<int64_t>(); };
  const auto found = check_gradients(*graph, inputs, none);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].checked, 50);
  EXPECT_EQ(found[0].failed, 0);
}

TEST(RandomOps, HaveTheMomentsAskedFor) {
  const auto of = [](const std::string& node) {
    return results_of("graph \"g\"() {\n  %y = " + node + "\n  return %y as \"y\"\n}\n", {})[0];
  };
  const Tensor uniform = of("RandomUniform() {high = 3.0, low = -1.0, shape = [100, 200]}");
  EXPECT_NEAR(mean_of(uniform.values<float>()), 1, 5 * std::sqrt(16.0 / 12 / 20000));
  EXPECT_NEAR(variance_of(uniform.values<float>()), 16.0 / 12, 0.05);
  const Tensor normal = of("RandomNormal() {mean = 2.0, scale = 0.5, shape = [20000]}");
  EXPECT_NEAR(mean_of(normal.values<float>()), 2, 5 * 0.5 / std::sqrt(20000));
  EXPECT_NEAR(variance_of(normal.values<float>()), 0.25, 5 * 0.25 * std::sqrt(2.0 / 20000));
  EXPECT_EQ(of("RandomNormal() {dtype = 11, shape = [2, 3]}").type_string(), "f64[2,3]");
}

TEST(RandomOps, LikeTakesShapeAndElementTypeOver) {
  const auto out = results_of(R"(graph "g"(%x: f16[N,3]) {
  %0 = RandomUniformLike(%x)
  %1 = RandomNormalLike(%x) {dtype = 1}
  return %0 as "u", %1 as "n"
}
)",
                              {Tensor::zeros(DType::f16, {2, 3})});
  EXPECT_EQ(out[0].type_string(), "f16[2,3]");
  EXPECT_EQ(out[1].type_string(), "f32[2,3]");
}

TEST(RandomOps, BernoulliHitsWithTheProbabilityOfEachElement) {
  Tensor p = Tensor::empty(DType::f32, {2, 20000});
  for (size_t i = 0; i < 40000; ++i) p.mutable_values<float>()[i] = i < 20000 ? 0.25f : 1.0f;
  const auto out = results_of(R"(graph "g"(%x: f32[2,N]) {
  %0 = Bernoulli(%x)
  return %0 as "y"
}
)",
                              {p});
  const auto y = out[0].values<float>();
  EXPECT_NEAR(mean_of(y.first(20000)), 0.25, 5 * std::sqrt(0.25 * 0.75 / 20000));
  EXPECT_EQ(mean_of(y.last(20000)), 1);
}

}  // namespace

}  // namespace tintype::test
