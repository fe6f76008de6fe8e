// Products on AMX through the whole compiler: chosen where they pay, right for every extent, left
// out where f32 is asked for. Where the CPU has no AMX the runtime computes the same without.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "tests/support/amx.h"
#include "tests/support/host_results.h"
#include "tests/support/programs.h"
#include "tools/driver/driver.h"
#include "tools/driver/pipeline.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

namespace tintype {
namespace {

using testing::HasSubstr;

struct Case {
  std::string name;
  test::Make make;
  int64_t batch;
  bool chosen = true;  ///< expected to run on AMX
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

bool uses_amx(const Program& p) {
  return std::any_of(p.kernels.begin(), p.kernels.end(),
                     [](const KernelInfo& k) { return k.algorithm.starts_with("amx"); });
}

Value* batch_input(Graph& g, const Shape& rest) {
  Shape shape = {Dim::symbol("N")};
  shape.insert(shape.end(), rest.begin(), rest.end());
  return g.add_input("x", {DType::f32, shape});
}

/// relu(conv(pad(x)) + b), and the sum with what went in where shapes agree.
test::Make conv_layer(int64_t size, int64_t channels, int64_t filters,
                      const std::vector<int64_t>& window, int64_t stride, int64_t margin) {
  return [=](Graph& g, Builder& b) {
    Value* x = batch_input(g, {Dim(size), Dim(size), Dim(channels)});
    const Shape edge = {Dim(0), Dim(margin), Dim(margin), Dim(0)};
    Value* w = test::weights(b, {window[0], window[1], channels, filters}, 3);
    Value* y = b.make(
        "conv", {b.pad(b.unary("sin", x), edge, edge), w},
        {{"window", window}, {"strides", std::vector<int64_t>(2, stride)}, {"filters", filters}});
    y = b.add(y, test::weights(b, {filters}, 4));
    if (y->shape() == x->shape()) y = b.add(y, x);
    g.add_output("y", b.unary("relu", y));
  };
}

test::Make dense_layer(int64_t features, int64_t units, bool weights_are_input) {
  return [=](Graph& g, Builder& b) {
    Value* x = batch_input(g, {Dim(features)});
    Value* w = weights_are_input ? g.add_input("w", {DType::f32, {Dim(features), Dim(units)}})
                                 : test::weights(b, {features, units}, 5);
    g.add_output("y", b.unary("tanh", b.make("dot", {x, w})));
    if (!weights_are_input) return;
    // The gradient of x reads the weights along their rows.
    Value* back = b.make("dot", {b.unary("sin", b.make("dot", {x, w})), b.transpose(w, {1, 0})});
    g.add_output("dx", back);
  };
}

/// The gates of a recurrent cell.
test::Make cell(int64_t units) {
  return [=](Graph& g, Builder& b) {
    Value* h = g.add_input("x", {DType::f32, {Dim(1), Dim::symbol("N"), Dim(units)}});
    Value* sums = b.make("dot", {h, test::weights(b, {3, units, units}, 6)});
    const auto gate = [&](int64_t i) { return b.slice_axis(sums, 0, i, 1); };
    g.add_output("y", b.add(b.mul(b.unary("sigmoid", gate(0)), b.unary("tanh", gate(1))), gate(2)));
  };
}

class Amx : public testing::TestWithParam<Case> {};

TEST_P(Amx, GivesWhatTheHostGives) {
  const test::WithAmx wish("1");
  const Case& c = GetParam();
  const auto graph = test::built(c.make);
  CompileOptions options;
  options.hints = {{"N", c.batch}};
  options.tuning = "";
  const CompiledModel compiled = compile_graph(graph->clone(), options);
  EXPECT_EQ(uses_amx(compiled.model.program()), c.chosen);
  for (const int64_t batch : {c.batch, c.batch / 3 + 1, int64_t{1}, int64_t{0}}) {
    SCOPED_TRACE("batch " + std::to_string(batch));
    test::HostResults(*graph, {{"N", batch}}, 7).expect_of(compiled.model, 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Products, Amx,
    testing::Values(Case{"image", conv_layer(14, 64, 64, {3, 3}, 1, 1), 2},
                    Case{"image_of_few_channels", conv_layer(30, 3, 40, {7, 7}, 2, 3), 2},
                    Case{"image_with_odd_channels", conv_layer(13, 40, 48, {3, 3}, 1, 1), 3},
                    Case{"small_images", conv_layer(4, 64, 96, {3, 3}, 1, 1), 9},
                    Case{"strided", conv_layer(15, 64, 64, {3, 3}, 2, 1), 2},
                    Case{"pointwise", conv_layer(10, 96, 130, {1, 1}, 1, 0), 2},
                    Case{"pointwise_strided", conv_layer(40, 128, 128, {1, 1}, 2, 0), 2},
                    Case{"line", conv_layer(12, 64, 64, {1, 5}, 1, 0), 2},
                    Case{"dense", dense_layer(300, 200, false), 40},
                    Case{"dense_of_whole_panels", dense_layer(256, 512, false), 64},
                    Case{"dense_that_changes", dense_layer(200, 150, true), 100},
                    Case{"dense_that_changes_in_blocks", dense_layer(96, 128, true), 600},
                    Case{"cell", cell(96), 20}, Case{"cell_of_odd_units", cell(100), 40},
                    Case{"vector", dense_layer(300, 200, false), 1, false}),
    [](const auto& test) { return test.param.name; });

Program compiled(const char* wish, MathMode math, const std::string& passes = "") {
  const test::WithAmx with(wish);
  CompileOptions options;
  options.hints = {{"N", 2}};
  options.math = math;
  options.passes = passes;
  options.tuning = "";
  return compile_graph(test::built(conv_layer(14, 64, 64, {3, 3}, 1, 1)), options).model.program();
}

TEST(AmxChoice, IsLeftWhereF32IsAskedFor) {
  EXPECT_TRUE(uses_amx(compiled("1", MathMode::standard)));
  EXPECT_FALSE(uses_amx(compiled("1", MathMode::strict)));
  EXPECT_FALSE(uses_amx(compiled("0", MathMode::standard)));
  EXPECT_FALSE(
      uses_amx(compiled("1", MathMode::standard, "canonical,select-algorithms{terms=0},finish")));
  EXPECT_THROW(compiled("1", MathMode::standard, "canonical,select-algorithms{terms=4},finish"),
               Error);
}

TEST(AmxChoice, LeavesConvolutionsOfTrainingInF32) {
  const test::WithAmx wish("1");
  const auto graph = test::built([](Graph& g, Builder& b) {
    Value* x = batch_input(g, {Dim(14), Dim(14), Dim(64)});
    Value* w = g.add_state("w", test::random_weights({3, 3, 64, 64}, 1));
    Value* y =
        b.make("conv", {x, w}, {{"window", std::vector<int64_t>{3, 3}}, {"filters", int64_t{64}}});
    g.set_next(w, b.mul(w, b.reduce("reduce_sum", y, {0, 1, 2})));
    g.add_output("y", y);
  });
  CompileOptions options;
  options.hints = {{"N", 2}};
  options.tuning = "";
  EXPECT_FALSE(uses_amx(compile_graph(graph->clone(), options).model.program()));
}

TEST(AmxText, RoundTripsAndNamesWhatDoesNotFit) {
  const std::string text =
      "graph \"g\"(%x: f32[2,40], %w: f32[40,33]) {\n"
      "  %0 = pack(%w) {block = 32, perm = [0, 1], rows = 1, terms = 2} : bf16[2,64,64]\n"
      "  %1 = dot(%x, %0) {block = 32, columns = 33, terms = 2} : f32[2,33]\n"
      "  return %1 as \"y\"\n"
      "}\n";
  EXPECT_EQ(print(*parse_graph(text)), text);
  const auto error_of = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    try {
      parse_graph(changed);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error_of("rows = 1, terms = 2", "rows = 1, terms = 4"), HasSubstr("1, 2 or 3 terms"));
  EXPECT_THAT(error_of("columns = 33, terms = 2", "columns = 33, terms = 3"),
              HasSubstr("not packed in 3 terms"));
  EXPECT_THAT(error_of("f32[2,40]", "f32[2,70]"), HasSubstr("rows of packed weights"));
  EXPECT_THAT(error_of("columns = 33", "columns = 65"), HasSubstr("panels of"));
}

}  // namespace
}  // namespace tintype
