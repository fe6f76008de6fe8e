// Steps of cuBLASLt and cuDNN on the stand-ins: the values of our kernels, with the libraries and
// without them, and whatever call of them fails.
#include "tests/cuda/fixture.h"

#include "frontend/graph/graph_builder.h"
#include "runtime/validate.h"
#include "tools/driver/trainer.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace tintype {
namespace {

using cuda_test::built;
using cuda_test::Dims;
using cuda_test::inputs_of;
using cuda_test::Make;
using cuda_test::weights;
using test::conv_with_epilogue;
using test::ConvCase;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

CompiledModel compiled(std::unique_ptr<Graph> graph, MathMode math,
                       Libraries libraries = Libraries::always,
                       const std::string& target = "cuda") {
  CompileOptions options;
  options.target = target;
  options.math = math;
  options.libraries = libraries;
  return compile_graph(std::move(graph), options);
}

CompiledModel compiled(const Make& make, MathMode math = MathMode::strict,
                       Libraries libraries = Libraries::always) {
  return compiled(built(make), math, libraries);
}

std::vector<Tensor> expected(const Make& make, const std::vector<Tensor>& inputs) {
  return cuda_test::compiled(make, "", true).model.run(std::span<const Tensor>(inputs)).value();
}

double worst(const std::vector<Tensor>& got, const std::vector<Tensor>& want) {
  double error = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].dims(), want[i].dims());
    const Comparison c = compare_tensors(got[i], want[i], 0, 0);
    error = std::max(error, c.max_error / std::max(c.scale, 1e-3));
  }
  return error;
}

int library_steps(const Model& m) {
  const auto& steps = m.program().steps;
  return static_cast<int>(std::count_if(
      steps.begin(), steps.end(), [](const Step& s) { return s.kind == Step::Kind::library; }));
}

struct Found {
  std::vector<std::string> calls, launched;
  double error = 0;
};

/// Three runs, the last of which replays a graph, of which every value is close to the reference.
Found run_library(const Make& make, const Dims& dims = {}, MathMode math = MathMode::strict,
                  bool libraries = true, double tolerance = 1e-5) {
  CudaStandIn::Settings settings;
  settings.libraries = libraries;
  CudaStandIn device(settings);
  Found found;
  {
    const CompiledModel m = compiled(make, math);
    EXPECT_GT(library_steps(m.model), 0);
    const auto inputs = inputs_of(m.model.program(), dims);
    const auto want = expected(make, inputs);
    for (int i = 0; i < 3; ++i) {
      const auto got = m.model.run(std::span<const Tensor>(inputs));
      EXPECT_TRUE(got.ok()) << got.status().message() << "\n" << device.problem();
      if (!got.ok()) return found;
      found.error = std::max(found.error, worst(got.value(), want));
    }
    EXPECT_LE(found.error, tolerance);
    const auto uses = m.model.libraries();
    EXPECT_EQ(uses.size(), static_cast<size_t>(library_steps(m.model)));
    for (const LibraryUse& use : uses)
      EXPECT_EQ(use.problem.empty(), libraries) << use.library << ": " << use.problem;
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
  found.calls = device.calls();
  found.launched = device.launched();
  return found;
}

/// The same with the libraries and without them; in TF32, too, within what that rounds.
Found expect_same(const Make& make, const Dims& dims = {}) {
  run_library(make, dims, MathMode::strict, false);
  run_library(make, dims, MathMode::standard, true, 3e-3);
  return run_library(make, dims);
}

Make linear(Shape x, std::vector<int64_t> w, bool relu, bool residual = false) {
  return [=](Graph& g, Builder& b) {
    Value* v = g.add_input("x", {DType::f32, x});
    Value* y = b.make("MatMul", {v, weights(b, w, 1)});
    y = b.make("Add", {y, weights(b, {w.back()}, 2)});
    if (residual) y = b.make("Add", {y, g.add_input("s", y->type())});
    g.add_output("y", relu ? b.make("Relu", {y}) : y);
  };
}

TEST(CudaLibraries, ProductsTakeInBiasSumAndRelu) {
  for (const bool relu : {false, true})
    for (const bool residual : {false, true}) {
      const Found f = expect_same(linear({5, 7}, {7, 9}, relu, residual));
      EXPECT_THAT(f.calls, Contains("cublasLtMatmul"));
      EXPECT_TRUE(f.launched.empty());
    }
}

TEST(CudaLibraries, ProductsOfOddAndUnitExtents) {
  for (const int64_t m : {1, 3})
    for (const int64_t k : {1, 5})
      for (const int64_t n : {1, 4})
        if (m * k > 1 && k * n > 1) expect_same(linear({m, k}, {k, n}, true));
  expect_same(linear({2, 3, 4}, {4, 5}, true));
  expect_same(linear({2, 1, 3, 4}, {4, 5}, false));
}

TEST(CudaLibraries, ProductsOfTransposedOperands) {
  const auto product = [](std::vector<int64_t> left, std::vector<int64_t> right, bool turn_left,
                          bool turn_right) {
    return [=](Graph& g, Builder& b) {
      const auto shape = [](const std::vector<int64_t>& dims) {
        return Shape(dims.begin(), dims.end());
      };
      Value* x = g.add_input("x", {DType::f32, shape(left)});
      Value* w = g.add_input("w", {DType::f32, shape(right)});
      const auto turned = [&](Value* v) {
        std::vector<int64_t> perm;
        for (int64_t i = 0; i < v->rank(); ++i) perm.push_back(i);
        std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
        return b.transpose(v, perm);
      };
      g.add_output("y", b.make("MatMul", {turn_left ? turned(x) : x, turn_right ? turned(w) : w}));
    };
  };
  for (const bool left : {false, true})
    for (const bool right : {false, true}) {
      const std::vector<int64_t> a = left ? std::vector<int64_t>{6, 5} : std::vector<int64_t>{5, 6};
      const std::vector<int64_t> b =
          right ? std::vector<int64_t>{7, 6} : std::vector<int64_t>{6, 7};
      EXPECT_TRUE(expect_same(product(a, b, left, right)).launched.empty());
      const auto stacked = [](std::vector<int64_t> dims) {
        dims.insert(dims.begin(), 3);
        return dims;
      };
      expect_same(product(stacked(a), stacked(b), left, right));
    }
}

TEST(CudaLibraries, TailsThatNoLibraryHasAreKernels) {
  const Found f = expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {4, 6}});
    Value* y = b.make("Add", {b.make("MatMul", {x, weights(b, {6, 8}, 1)}), weights(b, {8}, 2)});
    g.add_output("y", b.make("Tanh", {y}));
  });
  EXPECT_THAT(f.calls, Contains("cublasLtMatmul"));
  EXPECT_FALSE(f.launched.empty());
}

TEST(CudaLibraries, Convolutions) {
  const ConvCase cases[] = {
      {2, 3, 7, 6, 5, 3, 3, 1, 1, 1, 1},   // its own padding
      {1, 4, 9, 9, 4, 3, 3, 2, 1, 1, 1},   // strides
      {2, 4, 8, 8, 6, 3, 3, 1, 2, 2, 1},   // dilation
      {1, 8, 6, 6, 12, 3, 3, 1, 1, 1, 2},  // groups
      {3, 5, 4, 4, 7, 1, 1, 1, 0, 1, 1},   // a product
      {1, 4, 5, 5, 3, 1, 1, 2, 0, 1, 1},   // a product of some positions
      {1, 2, 1, 1, 1, 1, 1, 1, 0, 1, 1},  {2, 3, 5, 1, 2, 5, 1, 1, 0, 1, 1},
  };
  for (const ConvCase& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c));
    expect_same(conv_with_epilogue(c));
  }
}

TEST(CudaLibraries, ConvolutionsTakeInTheirEpilogue) {
  const Found f = expect_same(conv_with_epilogue({2, 4, 6, 6, 8, 3, 3, 1, 1, 1, 1}));
  EXPECT_THAT(f.calls, Contains("cudnnConvolutionBiasActivationForward"));
  EXPECT_THAT(f.calls, Not(Contains("cudnnConvolutionForward")));
}

TEST(CudaLibraries, ConvolutionsAlongOneAxis) {
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 4, 11}});
    Value* y = b.make("Conv", {x, weights(b, {6, 4, 3}, 1), weights(b, {6}, 2)},
                      {{"pads", std::vector<int64_t>{1, 1}}});
    g.add_output("y", b.make("Sigmoid", {y}));
  });
}

TEST(CudaLibraries, UnevenPaddingIsWrittenOut) {
  expect_same([](Graph& g, Builder& b) {
    Value* x = b.make("Relu", {g.add_input("x", {DType::f32, {2, 4, 6, 6}})});
    Value* y = b.make(
        "Conv", {x, weights(b, {6, 4, 3, 3}, 1)},
        {{"pads", std::vector<int64_t>{0, 0, 1, 1}}, {"strides", std::vector<int64_t>{2, 2}}});
    g.add_output("y", y);
  });
}

/// Branches that meet in a concatenation, pools with margins, shortcuts.
Make branches() {
  return [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), 4, 8, 8}});
    const auto conv = [&](Value* v, int64_t from, int64_t to, int64_t k, uint64_t seed) {
      return b.make("Relu",
                    {b.make("Conv", {v, weights(b, {to, from, k, k}, seed), weights(b, {to}, 9)},
                            {{"pads", std::vector<int64_t>(4, k / 2)}})});
    };
    Value* first = conv(x, 4, 8, 3, 1);
    Value* pool = b.make(
        "MaxPool", {first},
        {{"kernel_shape", std::vector<int64_t>{3, 3}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    Value* joined = b.make("Concat",
                           {conv(first, 8, 8, 1, 2), conv(conv(first, 8, 4, 1, 3), 4, 8, 3, 4),
                            conv(pool, 8, 4, 1, 5)},
                           {{"axis", int64_t{1}}});
    Value* last = conv(joined, 20, 8, 3, 6);
    g.add_output("y", b.make("GlobalAveragePool", {b.make("Add", {last, first})}));
  };
}

TEST(CudaLibraries, NetworksOfAnyBatch) {
  for (const int64_t n : {1, 3}) expect_same(branches(), {{"N", n}});
}

TEST(CudaLibraries, EmptyTensorsAreLeftToKernels) {
  CudaStandIn::Settings settings;
  settings.libraries = true;
  CudaStandIn device(settings);
  {
    const CompiledModel m = compiled(branches());
    for (const int64_t n : {0, 2, 0}) {
      const auto inputs = inputs_of(m.model.program(), {{"N", n}});
      const auto got = m.model.run(std::span<const Tensor>(inputs));
      ASSERT_TRUE(got.ok()) << got.status().message();
      EXPECT_EQ(got.value()[0].dims()[0], n);
      for (const LibraryUse& use : m.model.libraries())
        EXPECT_EQ(use.problem, n == 0 ? "a tensor is empty" : "");
    }
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

TEST(CudaLibraries, RoundOnlyWhereTheyMay) {
  const Make net = branches();
  const double strict = run_library(net, {{"N", 2}}).error;
  const double standard = run_library(net, {{"N", 2}}, MathMode::standard, true, 3e-3).error;
  EXPECT_LT(strict, 1e-6);
  EXPECT_GT(standard, 1e-5);
}

TEST(CudaLibraries, AWorkspaceTooLargeLeavesTheStepToKernels) {
  CudaStandIn::Settings settings;
  settings.libraries = true;
  settings.library_workspace = size_t{64} << 20;
  CudaStandIn device(settings);
  {
    const CompiledModel m = compiled(branches());
    const auto inputs = inputs_of(m.model.program(), {{"N", 2}});
    const auto got = m.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_LE(worst(got.value(), expected(branches(), inputs)), 1e-5);
    for (const LibraryUse& use : m.model.libraries())
      EXPECT_THAT(use.problem, HasSubstr("workspace of at most")) << use.library;
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

TEST(CudaLibraries, SaysWhichIsMissing) {
  CudaStandIn device;
  const CompiledModel m = compiled(branches());
  EXPECT_TRUE(m.model.libraries().empty());
  const auto inputs = inputs_of(m.model.program(), {{"N", 2}});
  ASSERT_TRUE(m.model.run(std::span<const Tensor>(inputs)).ok());
  std::set<std::string> problems;
  for (const LibraryUse& use : m.model.libraries()) problems.insert(use.problem);
  EXPECT_EQ(problems, (std::set<std::string>{"libcublasLt.so.13: not on the stand-in",
                                             "libcudnn.so.9: not on the stand-in"}));
}

TEST(CudaLibraries, AreLookedForByName) {
  EXPECT_THAT(load_cublaslt("libnothing.so.13").status().message(), HasSubstr("libnothing.so.13"));
  EXPECT_THAT(load_cudnn("libc.so.6").status().message(),
              HasSubstr("libc.so.6 has no function cudnn"));
}

TEST(CudaLibraries, AreNotUsedWhenTheyAreTooOld) {
  const std::string library = TINTYPE_OLD_LIBRARIES;
  EXPECT_EQ(load_cublaslt(library.c_str()).status().message(),
            library + " is version 111103, 120000 or newer is needed");
  EXPECT_EQ(load_cudnn(library.c_str()).status().message(),
            library + " is version 8907, 90000 or newer is needed");
}

TEST(CudaLibraries, CostModelTakesThemForLargeProductsOnly) {
  const CompiledModel small =
      compiled(linear({4, 8}, {8, 8}, true), MathMode::standard, Libraries::automatic);
  EXPECT_EQ(library_steps(small.model), 0);
  const CompiledModel large =
      compiled(linear({1024, 512}, {512, 512}, true), MathMode::standard, Libraries::automatic);
  EXPECT_EQ(library_steps(large.model), 1);
  EXPECT_EQ(library_steps(compiled(linear({1024, 512}, {512, 512}, true), MathMode::standard,
                                   Libraries::never)
                              .model),
            0);
}

TEST(CudaLibraries, NamesTheNodeOfAFailingCall) {
  CudaStandIn::Settings settings;
  settings.libraries = true;
  CudaStandIn device(settings);
  const CompiledModel m = compiled([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {4, 6}});
    b.set_origins({"the_product"});
    g.add_output("y", b.make("MatMul", {x, weights(b, {6, 8}, 1)}));
  });
  const auto inputs = inputs_of(m.model.program(), {});
  device.fail_next("cublasLtMatmul");
  const auto result = m.model.run(std::span<const Tensor>(inputs));
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.status().message(),
              AllOf(HasSubstr("the_product"), HasSubstr("cublasLtMatmul"),
                    HasSubstr("said the stand-in for cuBLASLt")));
  EXPECT_TRUE(m.model.run(std::span<const Tensor>(inputs)).ok());
}

/// Functions that give something back: when they fail, something stays.
bool gives_back(const std::string& function) {
  static const std::set<std::string> names = {
      "cuMemFree_v2",   "cuMemFreeHost",      "cuStreamDestroy_v2",          "cuModuleUnload",
      "cuGraphDestroy", "cuGraphExecDestroy", "cuDevicePrimaryCtxRelease_v2"};
  return names.count(function) != 0 || function.find("Destroy") != std::string::npos;
}

// Every call fails once: the run says so, or has the right result, by a library or by kernels.
TEST(CudaLibraries, SurviveTheFailureOfAnyCall) {
  const auto network = [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 3, 5, 5}});
    Value* y = b.make(
        "Relu",
        {b.make("Conv", {b.make("Tanh", {x}), weights(b, {4, 3, 3, 3}, 1), weights(b, {4}, 3)},
                {{"pads", std::vector<int64_t>{1, 1, 1, 1}}})});
    g.add_output("y", b.make("MatMul", {b.reshape(y, {2, 100}), weights(b, {100, 3}, 2)}));
  };
  CudaStandIn::Settings settings;
  settings.libraries = true;
  std::vector<Tensor> want;
  size_t calls = 0;
  {
    CudaStandIn device(settings);
    {
      const CompiledModel m = compiled(network);
      const auto inputs = inputs_of(m.model.program(), {});
      want = expected(network, inputs);
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(m.model.run(std::span<const Tensor>(inputs)).ok());
    }
    calls = device.calls().size();
  }
  ASSERT_GT(calls, 60u);
  size_t reported = 0;
  for (size_t call = 0; call < calls; ++call) {
    CudaStandIn device(settings);
    {
      const CompiledModel m = compiled(network);
      const auto inputs = inputs_of(m.model.program(), {});
      device.fail_call(call);
      for (int i = 0; i < 3; ++i) {
        const auto got = m.model.run(std::span<const Tensor>(inputs));
        if (got.ok()) EXPECT_LE(worst(got.value(), want), 1e-5) << "call " << call;
        else ++reported;
      }
      device.fail_nothing();
      const auto after = m.model.run(std::span<const Tensor>(inputs));
      ASSERT_TRUE(after.ok()) << "call " << call << ": " << after.status().message();
      EXPECT_LE(worst(after.value(), want), 1e-5) << "call " << call;
      if (call >= device.calls().size()) device.fail_call(call - device.calls().size());
    }
    EXPECT_EQ(device.problem(), "") << "call " << call << " " << device.calls()[call];
    if (gives_back(device.calls()[call]) || device.calls()[call] == "cuCtxSetCurrent") continue;
    EXPECT_EQ(device.leaks(), "") << "call " << call << " " << device.calls()[call];
  }
  EXPECT_GT(reported, calls / 4);
}

TEST(CudaLibraries, MalformedStepsAreRefused) {
  const Program program =
      compiled(conv_with_epilogue({2, 4, 6, 6, 8, 3, 3, 1, 1, 1, 1})).model.program();
  const auto at = static_cast<size_t>(
      std::find_if(program.steps.begin(), program.steps.end(),
                   [](const Step& s) { return s.kind == Step::Kind::library; }) -
      program.steps.begin());
  ASSERT_TRUE(validate(program).ok());
  const auto expect = [&](const std::string& message, const std::function<void(Step&)>& change) {
    Program broken = program;
    change(broken.steps[at]);
    EXPECT_THAT(validate(broken).message(), HasSubstr(message));
  };
  expect("four inputs and two outputs", [](Step& s) { s.inputs.pop_back(); });
  expect("view out of range", [](Step& s) { s.inputs[1] = 100000; });
  expect("another rank or type", [](Step& s) { s.inputs[0] = s.inputs[2]; });
  expect("no row of bytes", [](Step& s) { s.outputs[1] = s.outputs[0]; });
  expect("out of range", [](Step& s) { s.library.strides = {1, 0}; });
  expect("out of range", [](Step& s) { s.library.padding.clear(); });
  expect("out of range", [](Step& s) { s.library.group = 0; });
  expect("an epilogue", [](Step& s) { s.library.kind = LibraryCall::Kind::weight_gradient; });
  expect("unknown kind", [](Step& s) { s.library.kind = static_cast<LibraryCall::Kind>(9); });
  expect("spans steps of another one", [](Step& s) { s.control.otherwise = 100000; });
}

// ---- Training -------------------------------------------------------------------------------

std::unique_ptr<Graph> cnn() {
  GraphBuilder g("cnn");
  auto x = g.input("x", f32("N", 4, 12, 12));
  x = x.conv2d({.filters = 8, .kernel = 3, .padding = 1, .bias = false}).batch_norm().relu();
  const auto half = x.max_pool2d({.kernel = 3, .stride = 2, .padding = 1});
  x = half.conv2d({.filters = 8, .kernel = 3, .padding = 1}).add(half).relu();
  x = x.conv2d({.filters = 8, .kernel = 3, .stride = 2}).relu();
  x = x.conv2d({.filters = 6, .kernel = 1}).relu().avg_pool2d({.kernel = 2});
  g.output("y", x.flatten().linear({.units = 4}));
  return g.take();
}

/// All states after two epochs of three steps.
std::map<std::string, Tensor> trained(const std::string& target, MathMode math) {
  TrainerOptions options;
  options.training.optimizer = Sgd{.lr = 0.1, .momentum = 0.9};
  options.compile.target = target;
  options.compile.batch = 4;
  options.compile.math = math;
  options.compile.libraries = Libraries::always;
  Trainer trainer(cnn(), options);
  Tensor x = random_tensor(DType::f32, {12, 4, 12, 12}, 5);
  for (float& v : x.mutable_values<float>()) v = 2 * v - 1;
  Tensor labels = Tensor::empty(DType::i64, {12});
  for (int64_t i = 0; i < 12; ++i) labels.mutable_values<int64_t>()[static_cast<size_t>(i)] = i % 4;
  const auto data = batches_of({{"x", x}, {"target", labels}}, {.batch = 4});
  trainer.fit(*data, nullptr, {.epochs = 2});
  return trainer.snapshot().tensors;
}

TEST(CudaLibraries, TrainAsTheHostDoes) {
  const auto want = trained("host", MathMode::strict);
  for (const bool there : {true, false})
    for (const MathMode math : {MathMode::strict, MathMode::standard}) {
      CudaStandIn::Settings settings;
      settings.libraries = there;
      CudaStandIn device(settings);
      const auto got = trained("cuda", math);
      EXPECT_EQ(device.problem(), "");
      EXPECT_EQ(device.leaks(), "");
      const double tolerance = there && math == MathMode::standard ? 1e-2 : 1e-4;
      for (const auto& [name, t] : want) {
        const Comparison c = compare_tensors(got.at(name), t, 0, 0);
        EXPECT_LE(c.max_error, tolerance * std::max(c.scale, 1e-2)) << name << ": " << c.message;
      }
      for (const char* function :
           {"cublasLtMatmul", "cudnnConvolutionForward", "cudnnConvolutionBackwardFilter"})
        EXPECT_EQ(device.count(function) > 0, there) << function;
    }
}

}  // namespace
}  // namespace tintype
