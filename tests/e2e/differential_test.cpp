// Optimised programs against the unfused, unscheduled reference, over shapes that break schedules:
// extents of 1, odd ones, fewer channels than lanes, channels between panels.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "tests/support/amx.h"
#include "tests/support/evaluate.h"
#include "tests/support/fenced.h"
#include "tests/support/programs.h"
#include "tools/driver/compare.h"
#include "tools/driver/data_files.h"
#include "tools/driver/driver.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

namespace tintype {
namespace {

using test::ConvCase;
using test::inputs_of;
using test::Make;
using test::weights;

CompiledModel compiled(const Make& make, bool reference, MathMode math) {
  CompileOptions options;
  options.reference = reference;
  options.math = math;
  return compile_graph(test::built(make), options);
}

/// Default within 1e-4 of the scale, strict within 1e-5, one thread bit-identical to all, and
/// nothing read outside the inputs.
void expect_same(const Make& make, const std::map<std::string, int64_t>& dims = {}) {
  const CompiledModel reference = compiled(make, true, MathMode::standard);
  const std::vector<Tensor> inputs = inputs_of(reference.model.program(), dims);
  const auto want = reference.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(want.ok()) << want.status().message();
  for (const MathMode math : {MathMode::standard, MathMode::strict}) {
    const CompiledModel fast = compiled(make, false, math);
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
    ASSERT_EQ(got.value().size(), want.value().size());
    for (size_t i = 0; i < got.value().size(); ++i) {
      const Tensor& g = got.value()[i];
      const Comparison c = compare_tensors(g, want.value()[i], 0, 0);
      ASSERT_EQ(g.dims(), want.value()[i].dims());
      const double limit = math == MathMode::strict ? 1e-5 : 1e-4;
      EXPECT_LE(c.max_error, limit * std::max(c.scale, 1e-3)) << c.message;
      EXPECT_EQ(std::memcmp(g.data(), alone.value()[i].data(), g.bytes()), 0)
          << "1 thread differs from many";
    }
  }
}

class Conv : public testing::TestWithParam<ConvCase> {};

TEST_P(Conv, MatchesTheReferenceWithItsEpilogue) {
  expect_same(test::conv_with_epilogue(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Conv,
    testing::Values(ConvCase{1, 3, 9, 9, 8, 3, 3, 1, 1, 1, 1},      // fewer channels than lanes
                    ConvCase{1, 3, 23, 23, 64, 7, 7, 2, 3, 1, 1},   // first layer
                    ConvCase{2, 16, 12, 12, 16, 3, 3, 1, 1, 1, 1},  // Winograd, whole tiles
                    ConvCase{1, 32, 13, 11, 40, 3, 3, 1, 1, 1,
                             1},  // Winograd, partial tiles and panels
                    ConvCase{1, 32, 40, 37, 40, 3, 3, 1, 1, 1, 1},  // Winograd in one kernel
                    ConvCase{2, 20, 65, 50, 72, 3, 3, 1, 1, 1, 1},  // channels between vectors
                    ConvCase{1, 16, 40, 41, 32, 5, 5, 1, 2, 1, 1},
                    ConvCase{1, 16, 7, 7, 32, 3, 3, 1, 0, 1, 1},
                    ConvCase{1, 16, 14, 14, 96, 5, 5, 1, 2, 1, 1},
                    ConvCase{1, 64, 7, 7, 80, 1, 1, 1, 0, 1, 1},  // merged positions
                    ConvCase{3, 24, 5, 5, 1, 1, 1, 1, 0, 1, 1},   // one filter
                    ConvCase{1, 17, 8, 8, 33, 1, 1, 2, 0, 1, 1},
                    ConvCase{1, 16, 15, 15, 16, 3, 3, 1, 2, 2, 1},   // dilated
                    ConvCase{1, 64, 9, 9, 64, 3, 3, 1, 1, 1, 2},     // panels within groups
                    ConvCase{1, 12, 9, 9, 12, 3, 3, 1, 1, 1, 4},     // groups below a vector
                    ConvCase{1, 24, 10, 10, 24, 3, 3, 1, 1, 1, 24},  // depthwise, partial vector
                    ConvCase{1, 32, 11, 11, 32, 5, 5, 2, 2, 1, 32},
                    ConvCase{1, 8, 1, 1, 8, 1, 1, 1, 0, 1, 1},  // a single position
                    ConvCase{1, 8, 3, 3, 8, 3, 3, 1, 0, 1, 1}));

TEST(Conv1d, FactorisedWindowsMatch) {
  for (const bool row : {true, false})
    for (const int64_t extent : {12, 50})
      expect_same([row, extent](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {1, 16, extent, extent - 2}});
        Value* w = weights(
            b, row ? std::vector<int64_t>{32, 16, 1, 3} : std::vector<int64_t>{32, 16, 3, 1}, 1);
        Value* y = b.make(
            "Conv", {x, w},
            {{"pads", row ? std::vector<int64_t>{0, 1, 0, 1} : std::vector<int64_t>{1, 0, 1, 0}}});
        g.add_output("y", y);
      });
}

TEST(SymbolicExtents, OneModelServesEveryBatchAndImageSize) {
  const Make make = [](Graph& g, Builder& b) {
    Value* x =
        g.add_input("x", {DType::f32, {Dim::symbol("N"), 3, Dim::symbol("H"), Dim::symbol("W")}});
    Value* y = b.make("Conv", {x, weights(b, {32, 3, 3, 3}, 1)},
                      {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    y = b.make(
        "MaxPool", {b.make("Relu", {y})},
        {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
    y = b.make("Conv", {y, weights(b, {16, 32, 3, 3}, 2)},
               {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    g.add_output("y", b.make("GlobalAveragePool", {y}));
  };
  const CompiledModel fast = compiled(make, false, MathMode::standard);
  const CompiledModel reference = compiled(make, true, MathMode::standard);
  for (const auto& dims :
       std::vector<std::map<std::string, int64_t>>{{{"N", 1}, {"H", 8}, {"W", 8}},
                                                   {{"N", 3}, {"H", 9}, {"W", 14}},
                                                   {{"N", 2}, {"H", 2}, {"W", 2}},
                                                   {{"N", 1}, {"H", 33}, {"W", 5}}}) {
    const std::vector<Tensor> inputs = inputs_of(fast.model.program(), dims);
    const auto got = fast.model.run(std::span<const Tensor>(inputs));
    const auto want = reference.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message();
    ASSERT_TRUE(want.ok()) << want.status().message();
    const Comparison c = compare_tensors(got.value()[0], want.value()[0], 0, 0);
    EXPECT_LE(c.max_error, 1e-4 * c.scale)
        << dims.at("N") << " " << dims.at("H") << " " << dims.at("W");
  }
}

// Chosen for a large image, and run on images whose lines are shorter than a run of tiles.
TEST(SymbolicExtents, WinogradInOneKernelServesSmallImages) {
  const test::WithAmx wish("0");  // which would take this convolution
  const Make make = [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {1, 32, Dim::symbol("H"), Dim::symbol("W")}});
    Value* y = b.make("Conv", {x, weights(b, {32, 32, 3, 3}, 1)},
                      {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    g.add_output("y", b.make("Relu", {y}));
  };
  CompileOptions options;
  options.hints = {{"H", 64}, {"W", 64}};
  const CompiledModel fast = compile_graph(test::built(make), options);
  const Program& p = fast.model.program();
  EXPECT_TRUE(std::any_of(p.steps.begin(), p.steps.end(), [&p](const Step& s) {
    return s.alternatives.size() == 2 &&
           p.kernels[static_cast<size_t>(s.alternatives[0].kernel)].algorithm.ends_with("fused");
  }));
  const CompiledModel reference = compiled(make, true, MathMode::standard);
  for (const auto& [h, w] :
       {std::pair(64, 64), std::pair(5, 3), std::pair(1, 1), std::pair(9, 57)}) {
    const std::vector<Tensor> inputs = inputs_of(fast.model.program(), {{"H", h}, {"W", w}});
    const auto got = fast.model.run(std::span<const Tensor>(inputs));
    const auto want = reference.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message();
    ASSERT_TRUE(want.ok()) << want.status().message();
    const Comparison c = compare_tensors(got.value()[0], want.value()[0], 0, 0);
    EXPECT_LE(c.max_error, 1e-4 * c.scale) << h << " x " << w;
  }
}

// The reference program has kernels, too: the host knows what two amounts that depend on the run
// give.
TEST(SymbolicExtents, EachAmountOfAPadReachesItsAxis) {
  Graph graph("pad");
  Builder b(graph);
  const Dim n = Dim::symbol("N"), m = Dim::symbol("M");
  Value* x = graph.add_input("x", {DType::f32, {2, 3}});
  graph.add_input("n", {DType::f32, {n}});
  graph.add_input("m", {DType::f32, {m}});
  Value* y = b.make(
      "pad", {x}, {{"before", Shape{n, m}}, {"after", Shape{0, n}}, {"mode", std::string("edge")}});
  graph.add_output("y", b.unary("sin", y));
  const CompiledModel compiled = compile_graph(graph.clone(), {});
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 2}, {4, 1}, {0, 3}}) {
    const test::Symbols symbols = {{"N", rows}, {"M", columns}};
    const std::vector<Tensor> inputs = test::random_inputs(graph, symbols, 7);
    const auto got = compiled.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ(test::difference(got.value()[0], test::evaluate(graph, inputs, symbols)[0], 1e-6),
              "");
  }
}

int copies_into_concat(const Model& model) {
  int copies = 0;
  for (const Step& s : model.program().steps)
    if (s.kind == Step::Kind::copy && s.name.find("concat") != std::string::npos) ++copies;
  return copies;
}

TEST(Memory, ConcatAndPaddingAreProducedInPlace) {
  const CompiledModel m = compiled(
      [](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {1, 16, 8, 8}});
        std::vector<Value*> parts;
        for (uint64_t i = 0; i < 3; ++i)
          parts.push_back(b.make("Relu", {b.make("Conv", {x, weights(b, {16, 16, 1, 1}, i)})}));
        Value* joined = b.make("Concat", parts, {{"axis", int64_t{1}}});
        g.add_output("y", b.make("Conv", {joined, weights(b, {16, 48, 3, 3}, 9)},
                                 {{"pads", std::vector<int64_t>{1, 1, 1, 1}},
                                  {"strides", std::vector<int64_t>{2, 2}}}));
      },
      false, MathMode::standard);
  EXPECT_EQ(copies_into_concat(m.model), 0);
}

// Stacked twice, as the phases of a transposed convolution are, on the axes before and behind.
TEST(Memory, StackedValuesAreProducedInPlace) {
  const auto make = [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 5, 3}});
    std::vector<Value*> rows;
    for (const auto& [left, right] : {std::pair{"Exp", "Neg"}, std::pair{"Sin", "Cos"}}) {
      std::vector<Value*> parts;
      for (const char* op : {left, right})
        parts.push_back(b.reshape(b.make(op, {x}), {2, 1, 5, 1, 3}));
      rows.push_back(b.concat(parts, 3));
    }
    g.add_output("y", b.make("Tanh", {b.concat(rows, 1)}));
  };
  EXPECT_EQ(copies_into_concat(compiled(make, false, MathMode::standard).model), 0);
  expect_same(make);
}

TEST(Pooling, MatchesOverWindowsThatOverlapAndPad) {
  for (const char* op : {"MaxPool", "AveragePool"})
    for (const int64_t channels : {1, 5, 16, 40})
      expect_same([op, channels](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {2, channels, 11, 9}});
        Value* y = b.make("Relu", {x});
        g.add_output("y", b.make(op, {y},
                                 {{"kernel_shape", std::vector<int64_t>{3, 3}},
                                  {"strides", std::vector<int64_t>{2, 2}},
                                  {"pads", std::vector<int64_t>{1, 1, 1, 1}}}));
      });
}

TEST(Normalisation, SoftmaxAndLayerNormMatchForAnyRowLength) {
  for (const int64_t length : {1, 3, 16, 50, 257}) {
    expect_same([length](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {3, length}});
      g.add_output("y", b.make("Softmax", {x}, {{"axis", int64_t{-1}}}));
    });
    expect_same([length](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {2, 5, length}});
      Value* s = weights(b, {length}, 3);
      g.add_output("y", b.make("LayerNormalization", {x, s, weights(b, {length}, 4)},
                               {{"axis", int64_t{-1}}}));
    });
  }
}

TEST(Products, MatMulAndGemmMatchForAnyExtents) {
  for (const int64_t m : {1, 2, 7, 40})
    for (const int64_t n : {1, 5, 16, 65, 130})
      expect_same([m, n](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {m, 31}});
        Value* y = b.make("Gemm", {x, weights(b, {31, n}, 1), weights(b, {n}, 2)});
        Value* z = g.add_input("z", {DType::f32, {2, n, 9}});
        g.add_output("y", b.make("MatMul", {y, z}));
      });
}

// Sums so long that tiles take them in several turns, with a rest or without, whatever is known of
// their length, over a last tile that is whole or not.
TEST(Products, LongSumsMatchForAnyExtents) {
  for (const int64_t m : {1, 5, 6, 64, 131})
    for (const int64_t k : {512, 777})
      expect_same([m, k](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {m, k}});
        Value* y = b.make("MatMul", {x, weights(b, {k, 40}, 1)});
        Value* z = g.add_input("z", {DType::f32, {k, 48}});
        g.add_output("y", y);
        g.add_output("z", b.unary("abs", b.make("MatMul", {x, z})));
      });
}

/// x op y for all pairs of special values, as IEEE 754 has it.
template <typename T>
void expect_special_values(DType dtype) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> special = {0, -T{0}, 1, -1, 2, -2, T(0.5), 3, -3, inf, -inf, nan};
  std::vector<T> x, y;
  for (const T a : special)
    for (const T b : special) {
      x.push_back(a);
      y.push_back(b);
    }
  const auto n = static_cast<int64_t>(x.size());
  auto graph = std::make_unique<Graph>("special");
  Builder b(*graph);
  Value* left = graph->add_input("x", {dtype, {Dim(n)}});
  Value* right = graph->add_input("y", {dtype, {Dim(n)}});
  for (const char* op : {"le", "ge", "pow"}) graph->add_output(op, b.make(op, {left, right}));
  const CompiledModel m = compile_graph(std::move(graph));
  const std::vector<Tensor> inputs = {Tensor::from<T>({n}, x), Tensor::from<T>({n}, y)};
  const auto got = m.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(got.ok()) << got.status().message();
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(got.value()[0].values<uint8_t>()[i] != 0, x[i] <= y[i]) << x[i] << " <= " << y[i];
    EXPECT_EQ(got.value()[1].values<uint8_t>()[i] != 0, x[i] >= y[i]) << x[i] << " >= " << y[i];
    const T want = std::pow(x[i], y[i]), power = got.value()[2].template values<T>()[i];
    const bool equal = std::isfinite(want) ? std::abs(power - want) <= T(1e-5) * std::abs(want)
                       : std::isnan(want)  ? std::isnan(power)
                                           : power == want;
    EXPECT_TRUE(equal) << x[i] << " ^ " << y[i] << " is " << power << ", expected " << want;
  }
}

TEST(Pointwise, ComparisonsAndPowersOfSpecialValues) {
  expect_special_values<float>(DType::f32);
  expect_special_values<double>(DType::f64);
}

/// The message of running a graph on token numbers, and on how they lie.
std::string message_of_indices(const Make& make, const std::vector<int64_t>& indices,
                               bool reference = false) {
  CompileOptions options;
  options.reference = reference;
  const CompiledModel m = compile_graph(test::built(make), options);
  const auto n = static_cast<int64_t>(indices.size());
  const std::vector<Tensor> inputs = {Tensor::from<int64_t>({n / 2, 2}, indices)};
  const auto got = m.model.run(std::span<const Tensor>(inputs));
  return got.ok() ? "" : got.status().message();
}

TEST(Gather, RefusesInputsThatAreOutOfRange) {
  const auto embedding = [](auto change) {
    return [change](Graph& g, Builder& b) {
      Value* ids = g.add_input("ids", {DType::i64, {Dim::symbol("N"), 2}});
      Value* y = b.make("Gather", {weights(b, {5, 3}, 1), change(b, ids)});
      g.add_output("y", b.make("Relu", {y}));
    };
  };
  const Make plain = embedding([](Builder&, Value* v) { return v; });
  const Make moved =
      embedding([](Builder& b, Value* v) { return b.make("Transpose", {b.cast(v, DType::i32)}); });
  for (const Make& make : {plain, moved})
    for (const bool reference : {false, true}) {
      EXPECT_EQ(message_of_indices(make, {0, 4, -5, -1}, reference), "");
      EXPECT_THAT(message_of_indices(make, {0, 4, 1, 5}, reference),
                  testing::StartsWith("input 'ids': 5 at [1, 1] is out of range for an axis of "
                                      "extent 5 ("));
      EXPECT_THAT(message_of_indices(make, {-6, 0}, reference), testing::HasSubstr("-6 at [0, 0]"));
      EXPECT_THAT(message_of_indices(make, {int64_t{1} << 32, 0}, reference),
                  testing::HasSubstr("4294967296 at [0, 0]"));
    }
}

TEST(Gather, RefusesConstantsThatAreOutOfRange) {
  for (const int64_t index : {5, -6})
    EXPECT_THAT(
        [&] {
          compile_graph(test::built([&](Graph& g, Builder& b) {
            Value* x = g.add_input("x", {DType::f32, {5, 3}});
            Value* i = b.constant(Tensor::from<int64_t>({1}, {index}));
            g.add_output("y", b.make("Gather", {x, i}));
          }));
        },
        testing::ThrowsMessage<Error>(
            testing::HasSubstr("index " + std::to_string(index) + " is out of range")));
}

// As in ONNX: what limits a number keeps NaN, alone and behind a product.
TEST(Pointwise, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const MathMode math : {MathMode::standard, MathMode::strict})
    for (const DType type : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
      auto graph = std::make_unique<Graph>("nan");
      Builder b(*graph);
      Value* x = graph->add_input("x", {DType::f32, {Dim(3), Dim(19)}});
      Value* wide = b.cast(x, type);
      Value* product = b.make("MatMul", {x, weights(b, {19, 33}, 1)});
      const auto number = [&](float v, DType t) {
        return b.cast(b.constant(Tensor::from<float>({}, {v})), t);
      };
      const auto add = [&](const char* name, Value* v) {
        graph->add_output(name, b.cast(v, DType::f32));
      };
      add("relu", b.make("Relu", {wide}));
      add("max", b.make("Max", {wide, number(0, type)}));
      add("clip", b.make("Clip", {wide, number(0, type), number(6, type)}));
      graph->add_output("product", b.make("Relu", {product}));
      CompileOptions options;
      options.math = math;
      const CompiledModel m = compile_graph(std::move(graph), options);
      std::vector<float> values(57, -1.0f);
      values[0] = values[25] = nan;  // of the first two rows
      values[56] = 3;
      const std::vector<Tensor> inputs = {Tensor::from<float>({3, 19}, values)};
      const auto got = m.model.run(std::span<const Tensor>(inputs));
      ASSERT_TRUE(got.ok()) << got.status().message();
      for (size_t o = 0; o < 3; ++o) {
        for (size_t i = 0; i < values.size(); ++i) {
          const float v = got.value()[o].values<float>()[i];
          if (std::isnan(values[i])) EXPECT_TRUE(std::isnan(v)) << o << " at " << i << ": " << v;
          else EXPECT_EQ(v, std::max(values[i], 0.0f)) << o << " at " << i;
        }
      }
      for (size_t i = 0; i < 99; ++i)
        EXPECT_EQ(std::isnan(got.value()[3].values<float>()[i]), i < 66) << i;
    }
}

TEST(Lrn, MatchesAcrossChannels) {
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {1, 20, 5, 5}});
    Value* y = b.make("Conv", {x, weights(b, {24, 20, 1, 1}, 1)});
    g.add_output(
        "y",
        b.make("LRN", {y}, {{"size", int64_t{5}}, {"alpha", 1e-4}, {"beta", 0.75}, {"bias", 2.0}}));
  });
}

Value* resized(Builder& b, Value* x, const std::vector<float>& scales, const std::string& mode) {
  const auto n = static_cast<int64_t>(scales.size());
  return b.make("Resize", {x, nullptr, b.constant(Tensor::from<float>({n}, scales))},
                {{"mode", mode}});
}

// In the layout of the convolutions around it, by factors that repeat, spread and shrink.
TEST(Resize, MatchesBetweenConvolutions) {
  for (const char* mode : {"nearest", "linear", "cubic"})
    for (const int64_t channels : {1, 5, 16, 40})
      for (const auto& [h, w] :
           {std::pair(2.0f, 2.0f), std::pair(1.0f, 3.0f), std::pair(0.7f, 1.5f)})
        expect_same(
            [&, h = h, w = w](Graph& g, Builder& b) {
              Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), 3, Dim::symbol("H"), 7}});
              Value* y = b.make("Conv", {x, weights(b, {channels, 3, 1, 1}, 1)});
              y = b.make("Relu", {resized(b, y, {1, 1, h, w}, mode)});
              g.add_output("y", b.make("Conv", {y, weights(b, {4, channels, 3, 3}, 2)}));
            },
            {{"N", 2}, {"H", 5}});
}

TEST(Resize, MatchesForEveryAxisAndOneElement) {
  for (const char* mode : {"nearest", "linear"})
    for (const auto& dims :
         std::vector<std::vector<int64_t>>{{1, 1, 1, 1}, {1, 2, 9, 1}, {3, 1, 1, 17}, {2, 3, 4, 5}})
      expect_same([&](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, Shape(dims.begin(), dims.end())});
        g.add_output("y", resized(b, x, {1, 1.5f, 3, 2.4f}, mode));
        g.add_output("z", resized(b, b.make("Exp", {x}), {2, 1, 1, 0.5f}, mode));
      });
}

// Every element is read where it is needed: one kernel per axis, however many taps.
TEST(Resize, IsOneKernelPerAxis) {
  for (const auto& [mode, steps] :
       {std::pair("nearest", 2u), std::pair("linear", 2u), std::pair("cubic", 2u)}) {
    const CompiledModel m = compiled(
        [mode = mode](Graph& g, Builder& b) {
          Value* x = g.add_input("x", {DType::f32, {1, 8, 6, 5}});
          g.add_output("y", resized(b, x, {1, 1, 1.7f, 0.6f}, mode));
        },
        false, MathMode::standard);
    EXPECT_EQ(m.model.program().steps.size(), steps) << mode;
  }
}

TEST(GridSample, MatchesForAnyImageAndGrid) {
  for (const char* mode : {"linear", "nearest", "cubic"})
    for (const char* padding : {"zeros", "border", "reflection"})
      for (const int64_t channels : {1, 3, 20})
        expect_same([&](Graph& g, Builder& b) {
          Value* x = g.add_input("x", {DType::f32, {2, channels, 5, 6}});
          Value* grid = g.add_input("grid", {DType::f32, {2, 3, 7, 2}});
          g.add_output(
              "y", b.make("GridSample", {x, grid},
                          {{"mode", std::string(mode)}, {"padding_mode", std::string(padding)}}));
        });
}

}  // namespace
}  // namespace tintype
