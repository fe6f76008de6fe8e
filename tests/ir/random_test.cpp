// Random values: what makes them differ, and what they are distributed like.
#include "ir/random.h"
#include "tests/support/evaluate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace tintype::test {

namespace {

using Make = std::function<Value*(Builder&)>;

std::vector<float> values_of(const Make& make, int64_t seed = 0, int64_t step = 0,
                             bool stateful = false) {
  Graph g("random");
  Builder b(g);
  std::vector<Tensor> inputs;
  g.add_output("y", make(b));
  if (stateful) {
    Value* s = g.add_input("seed", {DType::i64, {}});
    set_random_state(g, s, g.add_input("step", {DType::i64, {1}}));
    inputs = {Tensor::scalar(seed), Tensor::from<int64_t>({1}, {step})};
  }
  const Tensor y = evaluate(g, inputs)[0];
  return {y.values<float>().begin(), y.values<float>().end()};
}

const Make kUniform = [](Builder& b) { return random_uniform(b, {100000}, DType::f32); };
const Make kNormal = [](Builder& b) { return random_normal(b, {100000}, DType::f32); };

double moment(const std::vector<float>& v, double centre, int power) {
  double sum = 0;
  for (const float x : v) sum += std::pow(static_cast<double>(x) - centre, power);
  return sum / static_cast<double>(v.size());
}

TEST(Random, UniformFillsTheUnitInterval) {
  const auto v = values_of(kUniform);
  EXPECT_GE(*std::min_element(v.begin(), v.end()), 0.0f);
  EXPECT_LT(*std::max_element(v.begin(), v.end()), 1.0f);
  // Five standard errors of 10^5 draws.
  EXPECT_NEAR(moment(v, 0, 1), 0.5, 5 * std::sqrt(1.0 / 12 / 1e5));
  EXPECT_NEAR(moment(v, 0.5, 2), 1.0 / 12, 5 * std::sqrt(1.0 / 180 / 1e5));
  for (const float x : v) EXPECT_EQ(std::ldexp(x, 24), std::floor(std::ldexp(x, 24)));
}

TEST(Random, NormalHasTheMomentsOfTheNormalDistribution) {
  const auto v = values_of(kNormal);
  EXPECT_NEAR(moment(v, 0, 1), 0, 5 * std::sqrt(1.0 / 1e5));
  EXPECT_NEAR(moment(v, 0, 2), 1, 5 * std::sqrt(2.0 / 1e5));
  EXPECT_NEAR(moment(v, 0, 3), 0, 5 * std::sqrt(15.0 / 1e5));
  EXPECT_NEAR(moment(v, 0, 4), 3, 5 * std::sqrt(96.0 / 1e5));
  const auto beyond = [&](float limit) {
    return static_cast<double>(
               std::count_if(v.begin(), v.end(), [=](float x) { return x > limit; })) /
           1e5;
  };
  EXPECT_NEAR(beyond(1), 0.158655, 0.006);
  EXPECT_NEAR(beyond(2), 0.022750, 0.0025);
}

TEST(Random, HalfPrecisionStaysBelowOne) {
  for (const DType t : {DType::f16, DType::bf16}) {
    const auto v =
        values_of([t](Builder& b) { return b.cast(random_uniform(b, {20000}, t), DType::f32); });
    EXPECT_LT(*std::max_element(v.begin(), v.end()), 1.0f);
    EXPECT_NEAR(moment(v, 0, 1), 0.5, 0.011);
  }
}

TEST(Random, SeedStepAndNodeEachGiveOtherNumbers) {
  const auto base = values_of(kUniform, 1, 0, true);
  EXPECT_EQ(values_of(kUniform, 1, 0, true), base);
  EXPECT_NE(values_of(kUniform, 2, 0, true), base);
  EXPECT_NE(values_of(kUniform, 1, 1, true), base);
  EXPECT_NE(values_of(kUniform, 1, int64_t{1} << 32, true), base);
  EXPECT_NE(values_of(kUniform, int64_t{1} << 32 | 1, 0, true), base);
  const Make second = [](Builder& b) {
    random_uniform(b, {3}, DType::f32);
    return random_uniform(b, {100000}, DType::f32);
  };
  const auto other = values_of(second, 1, 0, true);
  double product = 0;
  for (size_t i = 0; i < base.size(); ++i)
    product += (static_cast<double>(base[i]) - 0.5) * (static_cast<double>(other[i]) - 0.5);
  EXPECT_NEAR(product / 1e5, 0, 5.0 / 12 / std::sqrt(1e5));
}

TEST(Random, ASeedOfItsOwnOutlastsTheGraphs) {
  const Make seeded = [](Builder& b) {
    return random_uniform(b, {8}, DType::f32, b.constant(Tensor::scalar<int64_t>(42)));
  };
  EXPECT_EQ(values_of(seeded, 1, 0, true), values_of(seeded, 2, 0, true));
  EXPECT_NE(values_of(seeded, 1, 0, true), values_of(seeded, 1, 1, true));
}

}  // namespace

}  // namespace tintype::test
