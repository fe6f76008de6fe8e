// The graph API: shapes and costs of layers, messages for mistakes, distributions of weights.
#include "frontend/graph/graph_builder.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype {
namespace {

using testing::HasSubstr;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(GraphApi, ReadsLikeAPaper) {
  GraphBuilder g("lenet5");
  auto x = g.input("image", f32("N", 1, 28, 28));
  auto y = x.conv2d({.filters = 6, .kernel = 5, .padding = 2}).tanh().avg_pool2d({.kernel = 2});
  EXPECT_EQ(text_of(y.shape()), "[N,6,14,14]");
  g.output("features", y);
  ASSERT_EQ(g.layers().size(), 3u);
  EXPECT_EQ(g.layers()[0].name, "conv1");
  EXPECT_EQ(g.layers()[0].parameters, 6 * (25 + 1));
  EXPECT_EQ(g.layers()[0].multiply_adds, 6 * 28 * 28 * 25);
  const auto graph = g.take();
  EXPECT_EQ(graph->output_name(0), "features");
  verify(*graph);
}

TEST(GraphApi, NamesParametersAfterScopeAndLayer) {
  GraphBuilder g("scopes");
  auto x = g.input("x", f32("N", 8));
  {
    const GraphBuilder::Scope outer(g, "block");
    const GraphBuilder::Scope inner(g, "1");
    x = x.linear({.name = "fc", .units = 4});
  }
  const Node* node = x.value()->def();
  EXPECT_EQ(node->where(), "block/1/fc");
  EXPECT_EQ(node->operand(1)->name(), "block/1/fc.weight");
  EXPECT_EQ(x.linear({.units = 2}).value()->def()->where(), "fc1");
}

TEST(GraphApi, SlopesOfPreluAreParametersOfTheirChannels) {
  GraphBuilder g("slopes");
  const auto x = g.input("x", f32("N", 8, 5, 5));
  const Variable shared = x.prelu();
  EXPECT_EQ(shared.value()->def()->operand(1)->constant()->dims(), (std::vector<int64_t>{1}));
  const Variable each = x.prelu(/*per_channel=*/true, "gate");
  const Tensor& slopes = *each.value()->def()->operand(1)->constant();
  EXPECT_EQ(each.value()->def()->operand(1)->name(), "gate.weight");
  EXPECT_EQ(slopes.dims(), (std::vector<int64_t>{8, 1, 1}));
  EXPECT_EQ(slopes.values<float>()[7], 0.25f);
  EXPECT_EQ(g.layers().back().parameters, 8);
  EXPECT_EQ(text_of(x.silu().shape()), "[N,8,5,5]");
  const auto open = g.input("open", f32("N", "C", 5));
  EXPECT_THAT(message_of([&] { open.prelu(true); }), HasSubstr("fixed number of channels"));
}

// Output extents by (N - F + 2 P) / S + 1 and its kin.
TEST(GraphApi, LayersHaveTheShapesOfTheirFormulas) {
  GraphBuilder g("shapes");
  auto x = g.input("x", f32("N", 8, 13, 17));
  const auto shape = [](const Variable& v) { return text_of(v.shape()); };
  EXPECT_EQ(
      shape(x.conv2d({.filters = 4, .kernel = {3, 5}, .stride = 2, .padding = 1, .groups = 2})),
      "[N,4,7,8]");
  EXPECT_EQ(shape(x.conv2d({.filters = 4, .kernel = 3, .dilation = 2})), "[N,4,9,13]");
  EXPECT_EQ(shape(x.conv_transpose2d(
                {.filters = 4, .kernel = 3, .stride = 2, .padding = 1, .output_padding = 1})),
            "[N,4,26,34]");
  EXPECT_EQ(shape(x.locally_connected2d({.filters = 3, .kernel = 3, .stride = 2})), "[N,3,6,8]");
  EXPECT_EQ(shape(x.maxout(4)), "[N,2,13,17]");
  EXPECT_EQ(shape(x.max_pool2d({.kernel = 3, .stride = 2, .ceil = true})), "[N,8,6,8]");
  EXPECT_EQ(shape(x.lp_pool2d({.kernel = 2})), "[N,8,6,8]");
  EXPECT_EQ(shape(g.concat({x, x.relu()})), "[N,16,13,17]");
  EXPECT_EQ(shape(x.reshape({0, 2, -1}).transpose({0, 2, 1})), "[N,884,2]");
  EXPECT_EQ(shape(x.lrn().batch_norm().layer_norm().add(x).global_avg_pool().flatten().softmax()),
            "[N,8]");
  EXPECT_EQ(shape(x.flatten().dropout().linear({.units = 3})), "[N,3]");
}

TEST(GraphApi, MistakesNameTheLayer) {
  GraphBuilder g("mistakes");
  auto x = g.input("x", f32("N", 6, 8, 8));
  EXPECT_THAT(message_of([&] { x.conv2d({.name = "a", .filters = 5, .groups = 2}); }),
              HasSubstr("a: 6 channels and 5 filters do not split into 2 groups"));
  EXPECT_THAT(message_of([&] { x.conv2d({.name = "b", .filters = 4, .kernel = 9}); }),
              HasSubstr("b: a window of 9 does not fit an extent of 8"));
  EXPECT_THAT(message_of([&] { x.linear({.name = "c", .units = 4}); }),
              HasSubstr("c: expected an input [N, features] or N,T,features, got f32[N,6,8,8]; "
                        "flatten() comes first"));
  EXPECT_THAT(message_of([&] { x.relu("d").relu("d"); }), HasSubstr("'d': the name is taken"));
  EXPECT_THAT(message_of([&] { x.add(x.flatten(), "e"); }),
              HasSubstr("e: shapes [N,6,8,8] and [N,384] do not broadcast"));
  EXPECT_THAT(message_of([&] { x.dropout(1.5, "f"); }), HasSubstr("f: the ratio"));
  EXPECT_THAT(message_of([&] { g.take(); }), HasSubstr("has no output"));
}

TEST(GraphApi, MistakesOfNumbersNameTheLayer) {
  GraphBuilder g("mistakes");
  auto x = g.input("x", f32("N", 6, 8, 8));
  EXPECT_EQ(message_of([&] { x.conv2d({.name = "a", .filters = 2, .kernel = 3, .padding = -1}); }),
            "a: padding must not be negative, got -1x-1; slice() crops");
  EXPECT_EQ(message_of([&] { x.max_pool2d({.name = "b", .kernel = 2, .padding = 2}); }),
            "b: padding must be smaller than the kernel: some windows would see nothing else");
  EXPECT_EQ(message_of([&] { x.max_pool2d({.name = "c", .stride = Extent2(0, 2)}); }),
            "c: the stride must be positive, got 0x2");
  EXPECT_THAT(message_of([&] { x.conv2d({.name = "d", .filters = int64_t{1} << 60}); }),
              HasSubstr("d.weight: byte count overflows in f32[1152921504606846976,6,1,1]"));
  EXPECT_THAT(message_of([&] {
                g.parameter("e.w", {-2, 3}, init::zeros());
              }),
              HasSubstr("e.w: negative extent in [-2,3]"));
  EXPECT_EQ(message_of([&] {
              x.reshape({-2, 3}, "f");
            }),
            "f (Reshape): the target shape [-2,3] has the entry -2");
  EXPECT_EQ(message_of([&] { g.node(g.begin("h", "h"), "Sigmod", {x}); }),
            "h: there is no op 'Sigmod' (did you mean 'Sigmoid'?)");
}

TEST(GraphApi, MistakesOfInputsAndOutputs) {
  GraphBuilder g("ports");
  auto x = g.input("x", f32("N", 3));
  EXPECT_EQ(message_of([&] { g.input("z", f32(-1, 3)); }),
            "input 'z': extent -1; what is not known yet has a symbol, as N in f32(\"N\", 3)");
  EXPECT_THAT(message_of([&] { g.input("z", f32("batch size", 3)); }),
              HasSubstr("input 'z': the symbol 'batch size' is no name"));
  EXPECT_EQ(message_of([&] { g.input("z", {}); }), "input 'z': it has no element type");
  EXPECT_EQ(message_of([&] { g.input("", f32(3)); }), "an input needs a name");
  EXPECT_EQ(message_of([&] { g.state("s", Tensor()); }),
            "state 's': its initial value is no tensor");
  EXPECT_EQ(message_of([&] { g.output("", x); }), "an output needs a name");
  EXPECT_EQ(message_of([&] { g.output("x", x.relu()); }),
            "output 'x': the name is taken by an input");
  g.output("x", x);
  g.output("y", x.relu());
  EXPECT_EQ(message_of([&] { g.output("y", x.tanh()); }),
            "output 'y': the name is taken by another output");
}

TEST(GraphApi, VariablesBelongToTheirBuilder) {
  GraphBuilder g("one"), other("other");
  auto x = g.input("x", f32("N", 3)), z = other.input("z", f32("N", 3));
  EXPECT_EQ(message_of([&] { x.add(z, "sum"); }), "sum: a variable of another GraphBuilder");
  EXPECT_EQ(message_of([&] { g.output("y", z); }),
            "output 'y': a variable of another GraphBuilder");
  auto s = g.state("s", Tensor::zeros(DType::f32, {3}));
  EXPECT_EQ(message_of([&] { g.set_next(s, z); }), "state 's': a variable of another GraphBuilder");
}

TEST(GraphApi, AGraphIsTakenOnce) {
  GraphBuilder g("once");
  auto x = g.input("x", f32("N", 3));
  g.output("y", x.relu());
  const auto graph = g.take();
  for (const std::function<void()>& late : std::initializer_list<std::function<void()>>{
           [&] { x.tanh(); }, [&] { g.input("z", f32(1)); }, [&] { g.output("z", x); },
           [&] { g.graph(); }, [&] { g.scalar(1); }, [&] { g.take(); }})
    EXPECT_EQ(message_of(late), "the graph of this builder was taken; make another builder");
}

TEST(GraphApi, LinearMapsEachStepOfASequence) {
  GraphBuilder g("steps");
  const auto x = g.input("x", f32("N", "T", 5));
  const Variable y = x.linear({.name = "map", .units = 2});
  EXPECT_EQ(text_of(y.shape()), "[N,T,2]");
  EXPECT_EQ(g.layers().back().parameters, 2 * (5 + 1));
  g.output("y", y);
  verify(*g.take());
}

TEST(GraphApi, SumsMeansAndConversions) {
  GraphBuilder g("reductions");
  const auto x = g.input("x", f32("N", 3, 4));
  const auto shape = [](const Variable& v) { return v.value()->type().text(); };
  EXPECT_EQ(shape(x.exp().sum({1}).log().sqrt()), "f32[N,4]");
  EXPECT_EQ(shape(x.mean({-1}, /*keep=*/true)), "f32[N,3,1]");
  EXPECT_EQ(shape(x.sum()), "f32[]");
  EXPECT_EQ(shape(x.cast(DType::i64)), "i64[N,3,4]");
  EXPECT_THAT(message_of([&] { x.sum({3}, false, "s"); }), HasSubstr("s"));
  EXPECT_THAT(message_of([&] { x.cast(DType::undefined, "c"); }), HasSubstr("c: there is no"));
}

struct Moments {
  double mean = 0, variance = 0;
};

Moments moments(const Tensor& t) {
  Moments m;
  for (float v : t.values<float>()) m.mean += v;
  m.mean /= static_cast<double>(t.size());
  for (float v : t.values<float>()) m.variance += (v - m.mean) * (v - m.mean);
  m.variance /= static_cast<double>(t.size());
  return m;
}

TEST(Initializer, VariancesAreThoseOfThePapers) {
  const std::vector<int64_t> dims = {200, 500};
  const auto variance = [&](const Initializer& how) {
    return moments(initialize(how, dims, 500, 200, 1, "w")).variance;
  };
  // The sample variance of 100,000 numbers is within 3 % of the distribution's.
  EXPECT_NEAR(variance(init::xavier_uniform()) / (2.0 / 700), 1, 0.03);
  EXPECT_NEAR(variance(init::xavier_normal()) / (2.0 / 700), 1, 0.03);
  EXPECT_NEAR(variance(init::he_uniform()) / (2.0 / 500), 1, 0.03);
  EXPECT_NEAR(variance(init::he_normal()) / (2.0 / 500), 1, 0.03);
  EXPECT_NEAR(variance(init::lecun_normal()) / (1.0 / 500), 1, 0.03);
  EXPECT_NEAR(variance(init::normal(0.5)), 0.25, 0.01);
  EXPECT_NEAR(variance(init::uniform(-1, 1)), 1.0 / 3, 0.01);
  EXPECT_EQ(variance(init::constant(3)), 0);
}

TEST(Initializer, DependsOnSeedAndNameAlone) {
  const auto first = [](uint64_t seed, std::string_view name) {
    return initialize(init::he_normal(), {16}, 4, 4, seed, name).values<float>()[3];
  };
  EXPECT_EQ(first(1, "a"), first(1, "a"));
  EXPECT_NE(first(1, "a"), first(2, "a"));
  EXPECT_NE(first(1, "a"), first(1, "b"));
}

TEST(Initializer, OrthogonalRowsAreOrthonormal) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{5, 9}, {9, 5}}) {
    const Tensor t = initialize(init::orthogonal(), {rows, columns}, 1, 1, 3, "q");
    const auto v = t.values<float>();
    const bool tall = rows > columns;
    const int64_t count = std::min(rows, columns);
    const int64_t length = std::max(rows, columns);
    const auto at = [&](int64_t i, int64_t k) {
      return static_cast<double>(v[static_cast<size_t>(tall ? k * columns + i : i * columns + k)]);
    };
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < length; ++k) dot += at(i, k) * at(j, k);
        EXPECT_NEAR(dot, i == j ? 1 : 0, 1e-6);
      }
  }
}

}  // namespace
}  // namespace tintype
