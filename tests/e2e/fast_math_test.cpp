// --math fast on the CPU: products of 16-bit operands against the unscheduled program in f32. Of
// operands that bf16 holds exactly, products are exact, and the two may differ by the order of
// additions alone; of others by what the rounding of operands allows.
#include "codegen/machine.h"
#include "frontend/graph/graph_builder.h"
#include "frontend/zoo/zoo.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "runtime/dtype.h"
#include "runtime/scalar.h"
#include "tests/support/amx.h"
#include "tests/support/evaluate.h"
#include "tests/support/fenced.h"
#include "tests/support/programs.h"
#include "tools/driver/compare.h"
#include "tools/driver/driver.h"
#include "tools/driver/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

namespace tintype {
namespace {

using test::ConvCase;
using test::Dims;
using test::inputs_of;
using test::Make;
using testing::HasSubstr;

constexpr const char* kNarrowEverything =
    "recognize-attention,fold-batch-norm,canonical,merge-projections,narrow-operands{always},"
    "select-algorithms,simplify-control,finish";
const char* const kWithoutUnit = "x86-64-linux-avx-avx2-avx512-avx512_skylake-f16c-fma-sse41";

void round_to_bf16(Tensor& t) {
  for (float& v : t.mutable_values<float>()) v = bf16_to_f32(f32_to_bf16(v));
}

Value* exact_weights(Builder& b, std::vector<int64_t> dims, uint64_t seed) {
  Tensor t = test::random_weights(std::move(dims), seed);
  round_to_bf16(t);
  return b.constant(t);
}

CompiledModel compiled(const Make& make) {
  CompileOptions options;
  options.math = MathMode::fast;
  options.passes = kNarrowEverything;
  return compile_graph(test::built(make), options);
}

int kernels_on_amx(const Model& m) {
  const auto& kernels = m.program().kernels;
  return static_cast<int>(std::count_if(kernels.begin(), kernels.end(), [](const KernelInfo& k) {
    return k.algorithm == "amx, 1 term";
  }));
}

/// Equal to the reference but for the order of additions, with one thread as with many, and nothing
/// read outside the inputs.
void expect_exact(const Make& make, const Dims& dims = {}) {
  CompileOptions options;
  options.reference = true;
  const CompiledModel reference = compile_graph(test::built(make), options);
  std::vector<Tensor> inputs = inputs_of(reference.model.program(), dims);
  for (Tensor& t : inputs) round_to_bf16(t);
  const auto want = reference.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(want.ok()) << want.status().message();
  for (const bool amx : {false, true}) {
    const test::WithAmx wish(amx ? "1" : "0");
    const CompiledModel fast = compiled(make);
    EXPECT_EQ(kernels_on_amx(fast.model) > 0, amx);
    std::vector<Tensor> ending = inputs, starting = inputs;
    for (Tensor& t : ending) t = test::fenced(t, test::Fence::after);
    for (Tensor& t : starting) t = test::fenced(t, test::Fence::before);
    ASSERT_TRUE(fast.model.run(std::span<const Tensor>(starting)).ok());
    const auto got = fast.model.run(std::span<const Tensor>(ending));
    ASSERT_TRUE(got.ok()) << got.status().message();
    RunOptions single;
    single.threads = 1;
    const auto alone = fast.model.run(std::span<const Tensor>(inputs), single);
    ASSERT_TRUE(alone.ok()) << alone.status().message();
    for (size_t i = 0; i < got.value().size(); ++i) {
      const Tensor& g = got.value()[i];
      ASSERT_EQ(g.dims(), want.value()[i].dims());
      const Comparison c = compare_tensors(g, want.value()[i], 0, 0);
      EXPECT_LE(c.max_error, 1e-5 * std::max(c.scale, 1e-3)) << c.message;
      EXPECT_EQ(std::memcmp(g.data(), alone.value()[i].data(), g.bytes()), 0)
          << "1 thread differs from many";
    }
  }
}

Make exact_conv(const ConvCase& p) {
  return [p](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {p.n, p.ci, p.h, p.w}});
    Value* y = b.make(
        "Conv",
        {x, exact_weights(b, {p.co, p.ci / p.group, p.kh, p.kw}, 1), test::weights(b, {p.co}, 2)},
        {{"strides", std::vector<int64_t>{p.stride, p.stride}},
         {"pads", std::vector<int64_t>{p.pad, p.pad, p.pad, p.pad}},
         {"dilations", std::vector<int64_t>{p.dilation, p.dilation}},
         {"group", p.group}});
    Value* shortcut = g.add_input("s", y->type());
    g.add_output("y", b.make("Relu", {b.make("Add", {y, shortcut})}));
  };
}

class FastConv : public testing::TestWithParam<ConvCase> {};

TEST_P(FastConv, IsExactWhereOperandsAre) { expect_exact(exact_conv(GetParam())); }

INSTANTIATE_TEST_SUITE_P(
    Shapes, FastConv,
    testing::Values(ConvCase{1, 32, 9, 9, 32, 3, 3, 1, 1, 1, 1},
                    ConvCase{2, 64, 7, 7, 64, 3, 3, 1, 1, 1, 1},    // tiles across images
                    ConvCase{1, 16, 13, 11, 40, 3, 3, 1, 1, 1, 1},  // half a tile of channels
                    ConvCase{1, 48, 10, 9, 17, 3, 3, 1, 1, 1, 1},   // a column in a tile of its own
                    ConvCase{1, 33, 8, 8, 16, 3, 3, 1, 1, 1, 1},    // a channel in one of its own
                    ConvCase{1, 32, 15, 15, 96, 5, 5, 1, 2, 1, 1},
                    ConvCase{1, 32, 17, 16, 32, 3, 3, 2, 1, 1, 1},
                    ConvCase{1, 32, 15, 15, 32, 3, 3, 1, 2, 2, 1},  // dilated
                    ConvCase{3, 64, 5, 5, 80, 1, 1, 1, 0, 1, 1},
                    ConvCase{1, 64, 9, 9, 48, 1, 1, 2, 0, 1, 1},
                    ConvCase{1, 32, 40, 37, 32, 1, 7, 1, 3, 1, 1},
                    ConvCase{1, 64, 1, 1, 64, 1, 1, 1, 0, 1, 1},  // a single position
                    ConvCase{1, 512, 4, 4, 256, 3, 3, 1, 1, 1, 1}));

TEST(FastProducts, AreExactWhereOperandsAre) {
  for (const int64_t m : {1, 5, 16, 17, 33, 100})
    for (const auto& [k, n] : {std::pair<int64_t, int64_t>{64, 64}, {40, 33}, {16, 16}, {300, 100}})
      expect_exact([m, k = k, n = n](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {m, k}});
        Value* y = b.make("Gemm", {x, exact_weights(b, {k, n}, 3), test::weights(b, {n}, 4)});
        g.add_output("y", b.make("Tanh", {y}));
      });
}

TEST(FastProducts, OfStacksOfRowsShareTheirWeights) {
  expect_exact([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {3, 7, 5, 48}});
    g.add_output("y", b.make("MatMul", {x, exact_weights(b, {48, 40}, 3)}));
  });
}

TEST(FastProducts, OfWeightsThatComeWithTheRun) {
  expect_exact([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {70, 48}});
    g.add_output("y", b.make("MatMul", {x, g.add_input("w", {DType::f32, {48, 50}})}));
  });
}

TEST(FastSymbolicExtents, OneModelServesEveryBatchAndImageSize) {
  const Make make = [](Graph& g, Builder& b) {
    Value* x =
        g.add_input("x", {DType::f32, {Dim::symbol("N"), 32, Dim::symbol("H"), Dim::symbol("W")}});
    Value* y = b.make("Conv", {x, exact_weights(b, {32, 32, 3, 3}, 1)},
                      {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    g.add_output("y", b.make("Relu", {y}));
  };
  for (const Dims& dims : {Dims{{"N", 1}, {"H", 8}, {"W", 8}}, Dims{{"N", 3}, {"H", 5}, {"W", 21}},
                           Dims{{"N", 2}, {"H", 1}, {"W", 1}}, Dims{{"N", 0}, {"H", 4}, {"W", 4}}})
    expect_exact(make, dims);
}

// The reference of a product whose left side is bf16 and whose weights come as one term.
TEST(FastProducts, OfRoundedRowsAreWhatTheHostGives) {
  for (const char* product :
       {"dot(%x, %p) {block = 32, columns = 33, result = f32, terms = 1} : f32[5,33]",
        "dot(%x, %w) {result = f32, terms = 1} : f32[5,33]"}) {
    const std::string text =
        "graph \"g\"(%x: bf16[5,40], %w: f32[40,33]) {\n"
        "  %p = pack(%w) {block = 32, perm = [0, 1], rows = 1, terms = 1} : bf16[2,64,32]\n"
        "  %y = " +
        std::string(product) +
        "\n"
        "  return %p as \"p\", %y as \"y\"\n"
        "}\n";
    const auto graph = parse_graph(text);
    EXPECT_EQ(print(*parse_graph(print(*graph))), print(*graph));
    const std::vector<Tensor> inputs = test::random_inputs(*graph, {}, 3);
    const std::vector<Tensor> want = test::evaluate(*graph, inputs, {});
    CompileOptions options;
    options.passes = "fuse-regions";
    const auto got = compile_graph(graph->clone(), options).model.run(std::span(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message();
    // Weights that are not packed reach the host unrounded.
    const double tolerance = text.find("%x, %p") == std::string::npos ? 1e-2 : 1e-5;
    EXPECT_EQ(test::difference(got.value()[1], want[1], tolerance), "") << product;
  }
}

TEST(FastProducts, NameOperandsThatDoNotGoWithTerms) {
  const auto error_of = [](const std::string& x, const std::string& attributes) -> std::string {
    try {
      parse_graph("graph \"g\"(%x: " + x + "[5,40], %w: f32[40,33]) {\n  %y = dot(%x, %w) {" +
                  attributes + "}\n  return %y as \"y\"\n}\n");
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of("bf16", "result = f32, terms = 2"), HasSubstr("or bf16 with one term"));
  EXPECT_THAT(error_of("f16", "result = f32, terms = 1"), HasSubstr("or bf16 with one term"));
  EXPECT_THAT(error_of("bf16", "result = f32"), HasSubstr("differ in element type"));
}

/// |error| of a product <= 2^-8 (1 + 2^-10) sum |x| |w|: operands are wrong by one part in 2^9
/// each.
TEST(FastMath, ErrsByTheRoundingOfOperandsOnly) {
  const auto net = [](bool magnitudes) {
    return Make([magnitudes](Graph& g, Builder& b) {
      const auto weights = [&](std::vector<int64_t> dims, uint64_t seed) {
        Tensor t = test::random_weights(std::move(dims), seed);
        if (magnitudes)
          for (float& v : t.mutable_values<float>()) v = std::abs(v);
        return b.constant(t);
      };
      Value* x = g.add_input("x", {DType::f32, {2, 64, 14, 14}});
      g.add_output("y", b.make("Conv", {x, weights({64, 64, 3, 3}, 1)},
                               {{"pads", std::vector<int64_t>{1, 1, 1, 1}}}));
      Value* flat = b.reshape(x, {2, 64 * 14 * 14});
      g.add_output("z", b.make("MatMul", {flat, weights({64 * 14 * 14, 40}, 2)}));
    });
  };
  const CompiledModel fast = compiled(net(false));
  std::vector<Tensor> inputs = inputs_of(fast.model.program(), {});
  const auto run = [](const Make& make, const std::vector<Tensor>& with) {
    CompileOptions options;
    options.reference = true;
    return compile_graph(test::built(make), options)
        .model.run(std::span<const Tensor>(with))
        .value();
  };
  const std::vector<Tensor> got = fast.model.run(std::span<const Tensor>(inputs)).value(),
                            want = run(net(false), inputs);
  for (float& v : inputs[0].mutable_values<float>()) v = std::abs(v);
  const std::vector<Tensor> bound = run(net(true), inputs);
  for (size_t i = 0; i < got.size(); ++i) {
    double worst = 0, largest = 0;
    for (int64_t k = 0; k < got[i].size(); ++k) {
      const double error = std::abs(element_as_double(got[i], k) - element_as_double(want[i], k));
      worst = std::max(worst, error / element_as_double(bound[i], k));
      largest = std::max(largest, error);
    }
    EXPECT_LE(worst, 1.001 / 256);
    EXPECT_GT(largest, 0) << "nothing was rounded";
  }
}

TEST(FastMath, LeavesWhatDoesNotGainInF32) {
  const auto reasons = [](const Make& make, const std::string& target, DType type) {
    std::vector<std::string> said;
    CompileOptions options;
    options.math = MathMode::fast;
    options.narrow = type;
    options.target = target;
    options.explain = [&](const Explanation& e) {
      if (e.pass == "narrow-operands") said.push_back(e.reason);
    };
    auto graph = test::built(make);
    optimize(*graph, options);
    return testing::PrintToString(said);
  };
  const auto product = [](int64_t m, int64_t k, int64_t n) {
    return Make([=](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {m, k}});
      g.add_output("y", b.make("MatMul", {x, test::weights(b, {k, n}, 1)}));
    });
  };
  {
    const test::WithAmx wish("1");
    const Make two = [](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {512, 512}});
      const auto dot = [&b](Value* v, uint64_t seed) {
        return b.make("MatMul", {v, test::weights(b, {512, 512}, seed)});
      };
      g.add_output("y", dot(b.make("Relu", {dot(x, 1)}), 2));
    };
    // The first reads what the caller has in f32, the second what nothing else reads.
    EXPECT_THAT(reasons(two, "", DType::bf16), HasSubstr("wants f32; the product rounds it\", "
                                                         "\"operands in bf16"));
    EXPECT_THAT(reasons(product(4, 16, 16), "", DType::bf16),
                HasSubstr("vectors of f32 are reckoned to be faster"));
    EXPECT_THAT(reasons(product(128, 128, 128), "", DType::f16),
                HasSubstr("without arithmetic in f16"));
  }
  EXPECT_THAT(reasons(product(128, 128, 128), kWithoutUnit, DType::bf16),
              HasSubstr("without arithmetic in bf16"));
  // Reading the weights is all that such a product waits for.
  EXPECT_THAT(reasons(product(1, 4096, 2048), kWithoutUnit, DType::bf16),
              HasSubstr("operands in bf16"));
  EXPECT_THAT(reasons(product(1, 4096, 2048), kWithoutUnit, DType::f16),
              HasSubstr("operands in f16"));
}

TEST(FastMath, SaysWhereThereIsNoArithmetic) {
  const auto problem = [](const std::string& target, DType type) {
    CompileOptions options;
    options.math = MathMode::fast;
    options.narrow = type;
    options.target = target;
    return compile_graph(build_zoo_network("lenet5")->take(), options).report.narrow_problem;
  };
  EXPECT_EQ(problem(kWithoutUnit, DType::bf16), "this processor has no arithmetic in bf16");
  EXPECT_THAT(problem(kWithoutUnit, DType::f16), HasSubstr("no arithmetic in f16"));
  const test::WithAmx wish("1");
  EXPECT_EQ(problem("", DType::bf16), "");
}

TEST(FastMath, NetworksStayWithinTheirTolerance) {
  for (const char* name : {"resnet18", "googlenet"}) {
    const auto run = [&](MathMode math) {
      CompileOptions options;
      options.math = math;
      ZooOptions zoo;
      zoo.input = {3, 64, 64};
      const CompiledModel m = compile_graph(build_zoo_network(name, zoo)->take(), options);
      const auto inputs = inputs_of(m.model.program(), {{"N", 2}});
      return m.model.run(std::span<const Tensor>(inputs)).value();
    };
    const auto want = run(MathMode::strict), got = run(MathMode::fast);
    const Comparison c = compare_tensors(got[0], want[0], 0, 0);
    EXPECT_LE(c.max_error, 3e-2 * c.scale) << name << ": " << c.message;
  }
}

TEST(FastMath, ResultsWiderThanOperandsAreText) {
  const std::string text = "graph \"g\"(%x: bf16[4,8], %w: bf16[8,3]) {\n"
                           "  %0 = dot(%x, %w) {result = f32} : f32[4,3]\n"
                           "  return %0 as \"y\"\n"
                           "}\n";
  EXPECT_EQ(print(*parse_graph(text)), text);
  try {
    parse_graph("graph \"g\"(%x: f32[4,8], %w: f32[8,3]) {\n  %0 = dot(%x, %w) {result = bf16}\n"
                "  return %0 as \"y\"\n}\n");
    FAIL() << "a result narrower than operands";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("it may be f32 where these are bf16 or f16"));
  }
}

// ---- Training -------------------------------------------------------------------------------

std::unique_ptr<Graph> cnn() {
  GraphBuilder g("cnn");
  auto x = g.input("x", f32("N", 16, 12, 12));
  x = x.conv2d({.filters = 32, .kernel = 3, .padding = 1}).batch_norm().relu();
  x = x.max_pool2d({.kernel = 2}).conv2d({.filters = 64, .kernel = 3, .padding = 1}).relu();
  g.output("y", x.flatten().linear({.units = 128}).relu().linear({.units = 10}));
  return g.take();
}

/// The losses of epochs over data whose classes are patterns under noise.
std::vector<double> losses(MathMode math) {
  constexpr int64_t kSamples = 256;
  TrainerOptions options;
  options.training.optimizer = Sgd{.lr = 0.004, .momentum = 0.9};
  options.compile.math = math;
  options.compile.batch = 32;
  Trainer trainer(cnn(), options);
  Tensor x = random_tensor(DType::f32, {kSamples, 16, 12, 12}, 5);
  const Tensor patterns = random_tensor(DType::f32, {10, 16, 12, 12}, 6);
  Tensor labels = Tensor::empty(DType::i64, {kSamples});
  const int64_t size = 16 * 12 * 12;
  for (int64_t i = 0; i < kSamples * size; ++i) {
    float& v = x.mutable_values<float>()[static_cast<size_t>(i)];
    v = 2 * v - 1 + patterns.values<float>()[static_cast<size_t>(i / size % 10 * size + i % size)];
  }
  for (int64_t i = 0; i < kSamples; ++i)
    labels.mutable_values<int64_t>()[static_cast<size_t>(i)] = i % 10;
  const auto data = batches_of({{"x", x}, {"target", labels}}, {.batch = 32});
  std::vector<double> list;
  for (const HistoryRow& row : trainer.fit(*data, nullptr, {.epochs = 6}))
    list.push_back(row.training.at("loss"));
  return list;
}

// Masters of weights, momenta and statistics are f32; forward and backward products are rounded.
TEST(FastTraining, FollowsTheCurveOfF32) {
  const std::vector<double> want = losses(MathMode::strict), got = losses(MathMode::fast);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 0.03 * want.front()) << "epoch " << i;
  EXPECT_LT(got.back(), 0.5 * got.front());
}

}  // namespace
}  // namespace tintype
