// Compiled programs against the host: right values, and the same bits with any number of threads.
#pragma once

#include "tests/support/evaluate.h"
#include "tools/driver/driver.h"

#include <cstring>
#include <gtest/gtest.h>
#include <span>
#include <string>
#include <vector>

namespace tintype::test {

/// Random inputs of a graph, and what the host makes of them op by op.
class HostResults {
 public:
  HostResults(const Graph& graph, const Symbols& symbols, uint64_t seed)
      : inputs_(random_inputs(graph, symbols, seed)), want_(evaluate(graph, inputs_, symbols)) {
    for (size_t i = 0; i < want_.size(); ++i) names_.push_back(graph.output_name(i));
  }

  DType dtype(size_t output) const { return want_[output].dtype(); }

  /// Runs the model with all threads and with one: no element differs from the host's by more than
  /// `tolerance` of the output's scale (test::difference), and no bit between the two runs.
  void expect_of(const Model& model, double tolerance) const {
    RunOptions alone;
    alone.threads = 1;
    const auto got = model.run(std::span<const Tensor>(inputs_));
    const auto single = model.run(std::span<const Tensor>(inputs_), alone);
    ASSERT_TRUE(got.ok()) << got.status().message();
    ASSERT_TRUE(single.ok()) << single.status().message();
    ASSERT_EQ(got.value().size(), want_.size());
    for (size_t i = 0; i < want_.size(); ++i) {
      const Tensor &g = got.value()[i], &s = single.value()[i];
      EXPECT_EQ(difference(g, want_[i], tolerance), "") << names_[i];
      ASSERT_EQ(g.bytes(), s.bytes()) << names_[i];
      EXPECT_TRUE(g.bytes() == 0 || std::memcmp(g.data(), s.data(), g.bytes()) == 0)
          << names_[i] << " differs between 1 and N threads";
    }
  }

 private:
  std::vector<Tensor> inputs_, want_;
  std::vector<std::string> names_;
};

}  // namespace tintype::test
