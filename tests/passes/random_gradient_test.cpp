// Gradients of 200 random networks against central differences: what single ops do not show, such
// as values with several users, broadcasting between branches and symbolic batches.
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/gradient_check.h"
#include "passes/passes.h"
#include "tests/support/evaluate.h"
#include "tests/support/random_network.h"

#include <gtest/gtest.h>

namespace tintype::test {

namespace {

void expect_correct(uint64_t seed) {
  const std::unique_ptr<Graph> graph = random_network(seed, DType::f64);
  PassContext context;
  decompose(*graph, context);
  ASSERT_EQ(find_problem(*graph), "");
  const Symbols symbols = {{"N", 2}};
  std::vector<Tensor> inputs = random_inputs(*graph, symbols, seed);
  // The divisors exp(tanh(x)) + p stay away from 0.
  for (size_t i = 1; i < inputs.size(); ++i)
    for (double& v : inputs[i].mutable_values<double>()) v += 0.75;
  const SymbolLookup lookup = [](std::string_view) { return std::optional<int64_t>(2); };
  GradientCheckOptions options;
  options.samples = 8;
  options.seed = seed;
  for (const GradientComparison& c : check_gradients(*graph, inputs, lookup, options))
    EXPECT_EQ(c.failed, 0) << "network " << seed << ", " << c.input << ": worst element " << c.worst
                           << ", gradient " << c.analytic << ", difference quotient " << c.numeric
                           << "\n"
                           << print(*graph);
}

class RandomNetworks : public testing::TestWithParam<uint64_t> {};

TEST_P(RandomNetworks, GradientsAgreeWithCentralDifferences) {
  constexpr uint64_t kPerCase = 25;
  for (uint64_t i = 0; i < kPerCase && !HasFailure(); ++i)
    expect_correct(GetParam() * kPerCase + i);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomNetworks, testing::Range<uint64_t>(0, 8));

}  // namespace

}  // namespace tintype::test
