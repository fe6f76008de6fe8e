// Products of 16-bit operands for CUDA (--math fast) on the stand-in: by the libraries, and by the
// kernels in their place.
#include "tests/cuda/fixture.h"
#include "tests/cuda/ptxas.h"

#include "frontend/graph/graph_builder.h"
#include "frontend/train/training_graph.h"
#include "frontend/zoo/zoo.h"
#include "tools/driver/trainer.h"

#include <algorithm>
#include <cmath>

namespace tintype {
namespace {

using cuda_test::built;
using cuda_test::Dims;
using cuda_test::inputs_of;
using cuda_test::Make;
using cuda_test::weights;
using test::conv_with_epilogue;
using test::ConvCase;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

/// The pipeline of --math fast with products of any size narrowed.
std::string narrowing(const std::string& type) {
  return "recognize-attention,fold-batch-norm,canonical,merge-projections,narrow-operands{always,"
         "type=" +
         type + "},select-algorithms,simplify-control,finish";
}

CompiledModel compiled(std::unique_ptr<Graph> graph, const std::string& type,
                       Libraries libraries = Libraries::always) {
  CompileOptions options;
  options.target = "cuda,sm_80";
  options.math = MathMode::fast;
  options.passes = narrowing(type);
  options.libraries = libraries;
  return compile_graph(std::move(graph), options);
}

/// An operand is wrong by one part in 2^9 (bf16) or 2^12 (f16) at most, a product by twice that;
/// errors of random numbers add up to a small part of it. cuDNN rounds results once more.
double tolerance(const std::string& type) { return type == "bf16" ? 8e-3 : 1e-3; }

std::vector<std::string> run_both_ways(const Make& make, const std::string& type,
                                       const Dims& dims = {}) {
  CompileOptions reference;
  reference.reference = true;
  const CompiledModel cpu = compile_graph(built(make), reference);
  const auto inputs = inputs_of(cpu.model.program(), dims);
  const auto want = cpu.model.run(std::span<const Tensor>(inputs));
  EXPECT_TRUE(want.ok());
  std::vector<std::string> calls;
  for (const bool there : {true, false}) {
    CudaStandIn::Settings settings;
    settings.libraries = there;
    CudaStandIn device(settings);
    {
      const CompiledModel m = compiled(built(make), type);
      for (int run = 0; run < 3; ++run) {
        const auto got = m.model.run(std::span<const Tensor>(inputs));
        EXPECT_TRUE(got.ok()) << got.status().message() << "\n" << device.problem();
        if (!got.ok()) return calls;
        for (size_t i = 0; i < got.value().size(); ++i) {
          const Comparison c = compare_tensors(got.value()[i], want.value()[i], 0, 0);
          EXPECT_LE(c.max_error, tolerance(type) * std::max(c.scale, 1e-3)) << c.message;
          EXPECT_GT(c.max_error, 1e-6 * c.scale) << "nothing was rounded";
        }
      }
      for (const LibraryUse& use : m.model.libraries())
        EXPECT_EQ(use.problem.empty(), there) << use.library << ": " << use.problem;
    }
    EXPECT_EQ(device.problem(), "");
    EXPECT_EQ(device.leaks(), "");
    if (there) calls = device.calls();
  }
  return calls;
}

Make linear(Shape x, std::vector<int64_t> w) {
  return [=](Graph& g, Builder& b) {
    Value* y = b.make("MatMul", {g.add_input("x", {DType::f32, x}), weights(b, w, 1)});
    y = b.make("Add", {y, weights(b, {w.back()}, 2)});
    g.add_output("y", b.make("Relu", {b.make("Add", {y, g.add_input("s", y->type())})}));
  };
}

class CudaNarrow : public testing::TestWithParam<const char*> {};

TEST_P(CudaNarrow, Products) {
  for (const auto& [m, k, n] :
       {std::array<int64_t, 3>{5, 16, 16}, {1, 40, 24}, {33, 17, 19}, {3, 64, 48}}) {
    const auto calls = run_both_ways(linear({m, k}, {k, n}), GetParam());
    EXPECT_THAT(calls, Contains("cublasLtMatmul"));
  }
}

TEST_P(CudaNarrow, Convolutions) {
  const ConvCase cases[] = {
      {2, 16, 7, 6, 16, 3, 3, 1, 1, 1, 1}, {1, 16, 9, 9, 24, 3, 3, 2, 1, 1, 1},
      {1, 16, 6, 6, 32, 3, 3, 1, 1, 1, 2}, {3, 24, 4, 4, 17, 1, 1, 1, 0, 1, 1},
      {1, 16, 5, 5, 16, 3, 3, 1, 2, 2, 1},
  };
  for (const ConvCase& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c));
    const auto calls = run_both_ways(conv_with_epilogue(c), GetParam());
    EXPECT_THAT(calls, Contains(c.kh == 1 ? "cublasLtMatmul" : "cudnnConvolutionForward"));
    // Its bias would have to be of 16 bits.
    EXPECT_THAT(calls, Not(Contains("cudnnConvolutionBiasActivationForward")));
  }
}

TEST_P(CudaNarrow, OneProductAfterAnother) {
  run_both_ways(
      [](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), 16, 6, 6}});
        const auto conv = [&](Value* v, int64_t from, int64_t to, uint64_t seed) {
          return b.make(
              "Relu", {b.make("Conv", {v, weights(b, {to, from, 3, 3}, seed), weights(b, {to}, 9)},
                              {{"pads", std::vector<int64_t>(4, 1)}})});
        };
        Value* first = conv(x, 16, 16, 1);
        Value* second = b.make("Add", {conv(first, 16, 16, 2), first});
        g.add_output("y", b.make("GlobalAveragePool", {conv(second, 16, 24, 3)}));
      },
      GetParam(), {{"N", 2}});
}

INSTANTIATE_TEST_SUITE_P(Types, CudaNarrow, testing::Values("bf16", "f16"),
                         [](const auto& of) { return std::string(of.param); });

std::unique_ptr<Graph> cnn() {
  GraphBuilder g("cnn");
  auto x = g.input("x", f32("N", 16, 8, 8));
  // Smooth: what rounding decides (a largest element, a sign) would change gradients by leaps.
  x = x.conv2d({.filters = 16, .kernel = 3, .padding = 1}).tanh().avg_pool2d({.kernel = 2});
  x = x.conv2d({.filters = 16, .kernel = 3}).tanh();
  g.output("y", x.flatten().linear({.units = 16}));
  return g.take();
}

std::map<std::string, Tensor> trained(const std::string& target, const std::string& passes) {
  TrainerOptions options;
  options.training.optimizer = Sgd{.lr = 0.05, .momentum = 0.9};
  options.compile.target = target;
  options.compile.batch = 4;
  options.compile.passes = passes;
  options.compile.libraries = Libraries::always;
  Trainer trainer(cnn(), options);
  Tensor x = random_tensor(DType::f32, {12, 16, 8, 8}, 5);
  for (float& v : x.mutable_values<float>()) v = 2 * v - 1;
  Tensor labels = Tensor::empty(DType::i64, {12});
  for (int64_t i = 0; i < 12; ++i) labels.mutable_values<int64_t>()[static_cast<size_t>(i)] = i;
  const auto data = batches_of({{"x", x}, {"target", labels}}, {.batch = 4});
  trainer.fit(*data, nullptr, {.epochs = 2});
  return trainer.snapshot().tensors;
}

// Weights and momenta stay f32; gradients of six steps are those of the host, but for rounding.
TEST(CudaNarrowTraining, IsThatOfTheHostWithinRounding) {
  const auto want = trained("host", "");
  for (const bool there : {true, false}) {
    CudaStandIn::Settings settings;
    settings.libraries = there;
    CudaStandIn device(settings);
    const auto got = trained("cuda,sm_80", narrowing("bf16"));
    EXPECT_EQ(device.problem(), "");
    EXPECT_EQ(device.leaks(), "");
    for (const auto& [name, t] : want) {
      EXPECT_EQ(got.at(name).dtype(), t.dtype()) << name;
      const Comparison c = compare_tensors(got.at(name), t, 0, 0);
      EXPECT_LE(c.max_error, 3e-2 * std::max(c.scale, 1e-2)) << name << ": " << c.message;
    }
    for (const char* function :
         {"cublasLtMatmul", "cudnnConvolutionForward", "cudnnConvolutionBackwardFilter"})
      EXPECT_EQ(device.count(function) > 0, there) << function;
  }
}

TEST(CudaNarrowKernels, PassTheAssembler) {
  const std::string ptxas = cuda_test::find_ptxas();
  if (ptxas.empty()) GTEST_SKIP() << "there is no ptxas: run tools/setup/ptxas.sh";
  for (const auto& [type, network] :
       {std::pair(DType::bf16, "resnet18"), std::pair(DType::f16, "lenet5")}) {
    CompileOptions options;
    options.target = "cuda,sm_80";
    options.math = MathMode::fast;
    options.narrow = type;
    options.libraries = Libraries::never;
    const CompiledModel m = compile_graph(build_zoo_network(network)->take(), options);
    EXPECT_EQ(m.report.narrow_problem, "");
    for (size_t i = 0; i < m.objects.size(); ++i) {
      const KernelInfo& k = m.model.program().kernels[i];
      const cuda_test::Verdict v =
          cuda_test::assemble(ptxas, cuda_test::ptx_of(m.objects[i]), "sm_80");
      EXPECT_TRUE(v.accepted) << k.name << ", " << k.algorithm << ": " << v.messages;
    }
  }
}

TEST(CudaNarrowRule, NeedsADeviceWithTheArithmetic) {
  CompileOptions options;
  options.target = "cuda,sm_75";
  options.math = MathMode::fast;
  options.libraries = Libraries::never;
  const CompiledModel m = compile_graph(built(linear({256, 512}, {512, 512})), options);
  EXPECT_THAT(m.report.narrow_problem, HasSubstr("sm_75 has no arithmetic in bf16, sm_80 has"));
  for (const auto& n : m.graph->nodes())
    for (int i = 0; i < n->result_count(); ++i) EXPECT_NE(n->result(i)->dtype(), DType::bf16);
}

TEST(CudaNarrowRule, CostModelCountsTensorCoresForThem) {
  std::vector<std::string> reasons;
  CompileOptions options;
  options.target = "cuda,sm_80";
  options.math = MathMode::fast;
  options.explain = [&](const Explanation& e) {
    if (e.pass == "narrow-operands" || e.pass == "select-algorithms") reasons.push_back(e.reason);
  };
  auto graph = built(linear({1024, 512}, {512, 512}));
  optimize(*graph, options);
  EXPECT_THAT(reasons, Contains(HasSubstr("operands in bf16")));
  EXPECT_THAT(reasons, Contains(HasSubstr("cuBLASLt in bf16")));
}

}  // namespace
}  // namespace tintype
