// Compiling for CUDA and running on the stand-in, next to the reference on the CPU.
#pragma once

#include "ir/builder.h"
#include "tests/support/cuda/stand_in.h"
#include "tests/support/programs.h"
#include "tools/driver/compare.h"
#include "tools/driver/data_files.h"
#include "tools/driver/driver.h"

#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace tintype::cuda_test {

using test::built;
using test::Dims;
using test::inputs_of;
using test::Make;
using test::random_weights;
using test::weights;

using MakeGraph = std::function<std::unique_ptr<Graph>()>;

/// Without libraries: what they do has tests of its own (library_test.cpp).
inline CompiledModel compiled(std::unique_ptr<Graph> graph, const std::string& target,
                              bool reference = false) {
  CompileOptions options;
  options.target = target;
  options.libraries = Libraries::never;
  options.reference = reference;
  return compile_graph(std::move(graph), options);
}

inline CompiledModel compiled(const Make& make, const std::string& target, bool reference = false) {
  return compiled(built(make), target, reference);
}

/// Functions that give something back: when they fail, something stays.
inline bool gives_back(const std::string& function) {
  static const std::set<std::string> names = {
      "cuMemFree_v2",   "cuMemFreeHost",      "cuStreamDestroy_v2", "cuModuleUnload",
      "cuGraphDestroy", "cuGraphExecDestroy", "cuEventDestroy_v2",  "cuDevicePrimaryCtxRelease_v2"};
  return names.count(function) != 0;
}

/// Runs three times, so that a recorded graph is replayed, and gives everything back.
inline void expect_same_graph(const MakeGraph& make, const Dims& dims = {},
                              const std::string& target = "cuda", double tolerance = 1e-5) {
  const CompiledModel reference = compiled(make(), "", true);
  const std::vector<Tensor> inputs = inputs_of(reference.model.program(), dims);
  const auto want = reference.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(want.ok()) << want.status().message();
  CudaStandIn device;
  {
    const CompiledModel fast = compiled(make(), target);
    for (int run = 0; run < 3; ++run) {
      const auto got = fast.model.run(std::span<const Tensor>(inputs));
      ASSERT_TRUE(got.ok()) << got.status().message() << "\n" << device.problem();
      ASSERT_EQ(got.value().size(), want.value().size());
      for (size_t i = 0; i < got.value().size(); ++i) {
        const Comparison c = compare_tensors(got.value()[i], want.value()[i], 0, 0);
        ASSERT_EQ(got.value()[i].dims(), want.value()[i].dims());
        EXPECT_LE(c.max_error, tolerance * std::max(c.scale, 1e-3)) << c.message;
      }
    }
    EXPECT_FALSE(device.launched().empty());
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

inline void expect_same(const Make& make, const Dims& dims = {},
                        const std::string& target = "cuda") {
  expect_same_graph([&] { return built(make); }, dims, target);
}

}  // namespace tintype::cuda_test
