// Convolutions whose weights change from run to run, and their gradients: whatever algorithm is
// chosen, results are those of the host.
#include "ir/builder.h"
#include "passes/autodiff.h"
#include "tests/support/amx.h"
#include "tests/support/host_results.h"
#include "tests/support/random_network.h"
#include "tools/driver/driver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace tintype {
namespace {

struct Layer {
  std::string name;
  int64_t batch, height, width, channels, filters;
  std::vector<int64_t> window, strides;
  int64_t padding;
  /// An algorithm that the compiled program has to contain, or nothing.
  std::string algorithm = "";
};

std::ostream& operator<<(std::ostream& out, const Layer& l) { return out << l.name; }

/// y = conv(pad(x), w) and the gradients of a linear loss of it, where x and w are inputs.
std::unique_ptr<Graph> with_gradients(const Layer& l) {
  auto graph = std::make_unique<Graph>("layer");
  Value* x = graph->add_input(
      "x", {DType::f32, {Dim::symbol("N"), Dim(l.height), Dim(l.width), Dim(l.channels)}});
  Value* w = graph->add_input(
      "w", {DType::f32, {Dim(l.window[0]), Dim(l.window[1]), Dim(l.channels), Dim(l.filters)}});
  Builder b(*graph);
  // The input is computed, as in a network: its gradient flows on.
  Value* h = b.unary("sin", x);
  const Shape margin = {Dim(0), Dim(l.padding), Dim(l.padding), Dim(0)};
  Value* y = b.make("conv", {b.pad(h, margin, margin), w},
                    {{"window", l.window}, {"strides", l.strides}, {"filters", l.filters}});
  graph->add_output("y", y);
  Value* place = b.make("iota", {}, {{"shape", Shape{y->shape().back()}}, {"dtype", DType::f32}});
  Value* loss =
      b.reduce("reduce_sum", b.mul(b.unary("tanh", y), b.unary("cos", place)), {0, 1, 2, 3});
  const std::vector<Value*> wrt = {x, w};
  const std::vector<Value*> found = gradients(*graph, loss, wrt);
  graph->add_output("dx", found[0]);
  graph->add_output("dw", found[1]);
  return graph;
}

bool uses(const Program& p, const std::string& algorithm) {
  return std::any_of(p.kernels.begin(), p.kernels.end(), [&](const KernelInfo& k) {
    return k.algorithm.find(algorithm) != std::string::npos;
  });
}

class TrainingAlgorithms : public testing::TestWithParam<Layer> {};

TEST_P(TrainingAlgorithms, GiveWhatTheHostGives) {
  const test::WithAmx wish("0");  // which would take convolutions whose weights are inputs
  const Layer& l = GetParam();
  const auto graph = with_gradients(l);
  for (const MathMode math : {MathMode::standard, MathMode::strict}) {
    CompileOptions options;
    options.math = math;
    options.hints = {{"N", l.batch}};
    const CompiledModel compiled = compile_graph(graph->clone(), options);
    const Program& program = compiled.model.program();
    // Processors with twice the multiply-adds choose otherwise; all choices run in tuning_test.cpp.
    const Machine machine = host_machine();
    const bool wide = machine.lanes * machine.multiply_adds > 16;
    EXPECT_TRUE(wide || math == MathMode::strict || uses(program, l.algorithm));
    EXPECT_FALSE(math == MathMode::strict && uses(program, "winograd"));
    // What was chosen for one batch size has to be right for others, smaller ones above all, and
    // none at all.
    for (const int64_t batch : {l.batch, std::max<int64_t>(1, l.batch / 4), int64_t{0}}) {
      SCOPED_TRACE("batch " + std::to_string(batch));
      test::HostResults(*graph, {{"N", batch}}, 7)
          .expect_of(compiled.model, math == MathMode::strict ? 1e-5 : 1e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layers, TrainingAlgorithms,
    testing::Values(Layer{"same", 4, 16, 16, 64, 64, {3, 3}, {1, 1}, 1, "winograd"},
                    Layer{"odd_image", 3, 15, 13, 32, 48, {3, 3}, {1, 1}, 1},
                    Layer{"odd_channels", 2, 14, 14, 24, 40, {3, 3}, {1, 1}, 1},
                    Layer{"few_channels", 2, 12, 12, 3, 20, {3, 3}, {1, 1}, 1},
                    Layer{"few_filters", 20, 12, 12, 5, 6, {5, 5}, {1, 1}, 2},
                    Layer{"few_filters_of_one", 16, 9, 9, 1, 3, {3, 3}, {1, 1}, 1},
                    Layer{"line", 2, 17, 17, 64, 64, {1, 3}, {1, 1}, 0},
                    Layer{"large_window", 2, 16, 16, 32, 32, {5, 5}, {1, 1}, 2},
                    Layer{"narrow_image", 16, 2, 2, 64, 128, {3, 3}, {1, 1}, 1},
                    Layer{"narrow_margins", 19, 2, 3, 48, 64, {3, 3}, {1, 1}, 1},
                    Layer{"whole_image", 16, 2, 2, 256, 256, {3, 3}, {1, 1}, 1, "zero margins"},
                    Layer{"whole_image_odd", 23, 2, 2, 200, 328, {3, 3}, {1, 1}, 1, "zero margins"},
                    Layer{"whole_line", 16, 2, 2, 256, 320, {1, 3}, {1, 1}, 1},
                    Layer{"narrow_strided", 16, 2, 2, 64, 128, {3, 3}, {2, 2}, 1, "gemm"},
                    Layer{"strided", 2, 16, 16, 32, 64, {3, 3}, {2, 2}, 1},
                    Layer{"strided_odd", 2, 15, 14, 16, 32, {3, 3}, {2, 2}, 1},
                    Layer{"strided_mixed", 1, 13, 11, 8, 16, {4, 3}, {3, 2}, 0},
                    Layer{"pointwise", 3, 7, 9, 32, 64, {1, 1}, {1, 1}, 0, "direct 1x1"},
                    Layer{"pointwise_strided", 3, 9, 8, 32, 64, {1, 1}, {2, 2}, 0},
                    Layer{"window_below_stride", 2, 12, 12, 16, 16, {2, 2}, {3, 3}, 0},
                    Layer{"one_place", 1, 1, 1, 8, 8, {1, 1}, {1, 1}, 0}),
    [](const testing::TestParamInfo<Layer>& layer) { return layer.param.name; });

}  // namespace
}  // namespace tintype
