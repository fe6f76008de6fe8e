// Products in tiles through shared memory, interpreted, against the unscheduled reference on the
// CPU. Extents are such that the cost model takes each kind of tile, whole and with parts of the
// sum, and that tiles end in the middle of a position, a column, a vector, a step.
#include "ir/parse.h"
#include "tests/cuda/fixture.h"

#include <array>

namespace tintype {
namespace {

using cuda_test::compiled;
using cuda_test::expect_same_graph;
using cuda_test::weights;
using test::built;
using test::ConvCase;
using test::Make;

std::vector<std::string> algorithms(const CompiledModel& m) {
  std::vector<std::string> found;
  for (const auto& k : m.model.program().kernels) found.push_back(k.algorithm);
  return found;
}

/// Values agree, and one of the kernels is called `algorithm`.
void expect_tiled(const Make& make, const std::string& algorithm,
                  const std::string& target = "cuda,sm_90") {
  SCOPED_TRACE(algorithm);
  EXPECT_THAT(algorithms(compiled(make, target)), testing::Contains(testing::HasSubstr(algorithm)));
  expect_same_graph([&] { return built(make); }, {}, target);
}

struct ProductCase {
  int64_t rows, depth, columns;
  bool constant;
};

void PrintTo(const ProductCase& c, std::ostream* out) {
  *out << c.rows << "x" << c.depth << " by " << c.columns << (c.constant ? ", constant" : "");
}

class CudaTiledProduct : public testing::TestWithParam<ProductCase> {};

TEST_P(CudaTiledProduct, MatchesTheReference) {
  const ProductCase p = GetParam();
  expect_tiled(
      [p](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {p.rows, p.depth}});
        Value* w = p.constant ? weights(b, {p.depth, p.columns}, 3)
                              : g.add_input("w", {DType::f32, {p.depth, p.columns}});
        Value* bias = weights(b, {p.columns}, 4);
        Value* more = g.add_input("more", {DType::f32, {p.rows, p.columns}});
        Value* y = b.make("Add", {b.make("MatMul", {x, w}), bias});
        g.add_output("y", b.make("Relu", {b.make("Add", {y, more})}));
      },
      "gemm");
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CudaTiledProduct,
    testing::Values(ProductCase{5, 64, 200, true}, ProductCase{7, 33, 45, false},
                    ProductCase{1, 17, 45, false},
                    ProductCase{1, 600, 100, true},  // parts of a long sum
                    ProductCase{33, 17, 12, false}, ProductCase{130, 40, 64, true},
                    ProductCase{260, 600, 33, false},  // parts, columns that are no vectors
                    ProductCase{49, 600, 260, true},
                    ProductCase{1030, 17, 10, false},  // no vectors on either side
                    ProductCase{1540, 17, 260, true}, ProductCase{2050, 16, 516, false},
                    // narrow tiles
                    ProductCase{900, 40, 3, false}, ProductCase{1300, 17, 6, true},
                    ProductCase{300, 70, 12, true}, ProductCase{40, 5000, 2, false}));

class CudaImplicitProduct : public testing::TestWithParam<ConvCase> {};

TEST_P(CudaImplicitProduct, MatchesTheReferenceWithItsEpilogue) {
  const Make make = test::conv_with_epilogue(GetParam());
  EXPECT_THAT(algorithms(compiled(make, "cuda,sm_90")),
              testing::Contains(testing::HasSubstr("gemm")));
  expect_same_graph([&] { return built(make); }, {}, "cuda,sm_90");
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CudaImplicitProduct,
    testing::Values(ConvCase{1, 64, 7, 7, 128, 3, 3, 1, 1, 1, 1},   // parts of a long sum
                    ConvCase{2, 3, 30, 31, 64, 7, 7, 2, 3, 1, 1},   // no vectors along the sum
                    ConvCase{3, 20, 9, 11, 33, 3, 3, 2, 1, 1, 1},   // an odd number of filters
                    ConvCase{2, 12, 10, 10, 70, 2, 3, 1, 0, 2, 1},  // dilated
                    ConvCase{1, 36, 40, 40, 72, 1, 1, 1, 0, 1, 1},
                    ConvCase{2, 10, 6, 6, 9, 3, 3, 1, 1, 1, 1},
                    ConvCase{3, 16, 12, 12, 6, 5, 5, 1, 0, 1, 1}));

// Weights and gradients that are no constants, batches of matrices, half precision.
TEST(CudaTiled, Batches) {
  for (const auto& [rows, depth, columns] :
       {std::array<int64_t, 3>{33, 20, 40}, {9, 18, 21}, {70, 64, 70}})
    expect_tiled(
        [=](Graph& g, Builder& b) {
          Value* x = g.add_input("x", {DType::f32, {2, 3, rows, depth}});
          Value* y = g.add_input("y", {DType::f32, {2, 3, depth, columns}});
          Value* one = g.add_input("one", {DType::f32, {1, 3, depth, columns}});
          g.add_output("a", b.make("MatMul", {x, y}));
          g.add_output("b", b.make("MatMul", {x, one}));
        },
        "gemm");
}

TEST(CudaTiled, HalfPrecision) {
  for (const DType type : {DType::f16, DType::bf16})
    expect_same_graph(
        [=] {
          return built([=](Graph& g, Builder& b) {
            Value* x = g.add_input("x", {type, {33, 40}});
            Value* y = g.add_input("y", {type, {40, 24}});
            g.add_output("z", b.make("Relu", {b.make("MatMul", {x, y})}));
          });
        },
        {}, "cuda", 1e-2);
}

void expect_same_text(const std::string& inputs, const std::string& body) {
  const std::string text =
      "graph \"g\"(" + inputs + ") {\n  %y = " + body + "\n  return %y as \"y\"\n}\n";
  SCOPED_TRACE(text);
  EXPECT_THAT(algorithms(compiled(parse_graph(text), "cuda")),
              testing::Contains(testing::HasSubstr("weight gradient gemm")));
  expect_same_graph([&] { return parse_graph(text); });
}

TEST(CudaTiled, WeightGradients) {
  expect_same_text(
      "%x: f32[2,7,6,5], %dy: f32[2,5,5,18]",
      "conv_weight_gradient(%x, %dy) {group = 1, dilations = [1, 1], strides = [1, 1], "
      "window = [3, 2]}");
  expect_same_text(
      "%x: f32[3,16,16,12], %dy: f32[3,14,14,24]",
      "conv_weight_gradient(%x, %dy) {group = 1, dilations = [1, 1], strides = [1, 1], "
      "window = [3, 3]}");
  expect_same_text(
      "%x: f32[2,17,17,8], %dy: f32[2,7,7,33]",
      "conv_weight_gradient(%x, %dy) {group = 1, dilations = [2, 2], strides = [2, 2], "
      "window = [3, 3]}");
  expect_same_text(
      "%x: f32[2,9,9,64], %dy: f32[2,9,9,72]",
      "conv_weight_gradient(%x, %dy) {group = 1, dilations = [1, 1], strides = [1, 1], "
      "window = [1, 1]}");
}

// Few weights, each a sum over all positions: hundreds of parts.
TEST(CudaTiled, WeightGradientsOfFewWeights) {
  expect_same_text(
      "%x: f32[6,33,33,1], %dy: f32[6,29,29,6]",
      "conv_weight_gradient(%x, %dy) {group = 1, dilations = [1, 1], strides = [1, 1], "
      "window = [5, 5]}");
}

// Halide leaves out a stage that a flag says nobody needs, and would ask the flag on the host.
TEST(CudaTiled, AFlagOnTheDeviceDecidesWhetherAProductIsNeeded) {
  for (const int64_t rows : {64, 200})
    expect_same_graph([=] {
      return built([=](Graph& g, Builder& b) {
        Value* flag = g.add_input("flag", {DType::boolean, {}});
        Value* x = g.add_input("x", {DType::f32, {rows, 64}});
        Value* y = g.add_input("y", {DType::f32, {64, 128}});
        Value* z = g.add_input("z", {DType::f32, {64, 128}});
        Value* old = g.add_input("old", {DType::f32, {rows, 128}});
        g.add_output("new", b.make("Where", {flag, old, b.make("MatMul", {x, y})}));
        g.add_output("other", b.make("Where", {flag, b.make("MatMul", {x, z}), old}));
      });
    });
}

TEST(CudaTiled, SeveralResultsInVectors) {
  expect_same_graph([] {
    return built([](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {130, 64}});
      Value* y = g.add_input("y", {DType::f32, {64, 128}});
      Value* old = g.add_input("old", {DType::f32, {130, 128}});
      Value* sum = b.make("Add", {b.make("MatMul", {x, y}), old});
      g.add_output("sum", sum);
      g.add_output("product", b.make("Mul", {sum, old}));
    });
  });
}

struct WinogradCase {
  int64_t images, rows, columns, channels, filters, m, height, width, block;
  int64_t lines, places;  ///< of the result: the last tiles may reach past them
};

// The three kernels of a convolution, whatever the cost model thinks of its extents.
TEST(CudaTiled, Winograd) {
  for (const WinogradCase& c : {WinogradCase{2, 2, 3, 20, 33, 4, 3, 3, 64, 7, 11},
                                {1, 3, 3, 16, 40, 2, 3, 3, 32, 6, 5},
                                {1, 3, 5, 17, 18, 4, 1, 3, 32, 3, 19},
                                {2, 2, 2, 16, 16, 2, 5, 5, 32, 4, 3}}) {
    const auto line = [&](int64_t window, int64_t tiles) {
      return window > 1 ? tiles * c.m + window - 1 : tiles;
    };
    const auto points = [&](int64_t window) { return window > 1 ? c.m + window - 1 : 1; };
    const auto shape = [](const std::vector<int64_t>& dims) {
      std::string s;
      for (const int64_t d : dims) s += (s.empty() ? "" : ",") + std::to_string(d);
      return s;
    };
    const std::string window = "m = " + std::to_string(c.m) + ", window = [" +
                               shape({c.height, c.width}) + "]",
                      block = "block = " + std::to_string(c.block);
    const int64_t all = points(c.height) * points(c.width);
    const std::string text =
        "graph \"g\"(%x: f32[" +
        shape({c.images, line(c.height, c.rows), line(c.width, c.columns), c.channels}) +
        "], %w: f32[" + shape({c.height, c.width, c.channels, c.filters}) + "], %s: f32[" +
        shape({c.images, c.lines, c.places, c.filters}) + "]) {\n" + "  %v = winograd_input(%x) {" +
        window + "}\n" +  //
        "  %u = winograd_weight(%w) {" + window + ", " + block + ", perm = [0, 1, 2, 3]}\n" +
        "  %flat = reshape(%v) {shape = <" +
        shape({all, c.images * c.rows * c.columns, c.channels}) + ">}\n" +
        "  %p = dot(%flat, %u) {" + block + ", columns = " + std::to_string(c.filters) + "}\n" +
        "  %q = reshape(%p) {shape = <" + shape({all, c.images, c.rows, c.columns, c.filters}) +
        ">}\n" + "  %o = winograd_output(%q) {" + window + ", extents = <" +
        shape({c.lines, c.places}) + ">}\n" +
        "  %t = add(%o, %s)\n  %y = max(%t, %s)\n  return %y as \"y\"\n}\n";
    SCOPED_TRACE(text);
    expect_same_graph([&] { return parse_graph(text); }, {}, "cuda");
  }
}

// Products of the points, whose left side is read across, and both adjoint transforms.
TEST(CudaTiled, WinogradWeightGradients) {
  for (const auto& [channels, filters, m] :
       {std::array<int64_t, 3>{16, 20, 2}, {33, 18, 2}, {20, 64, 4}}) {
    const int64_t tiles = 3, places = tiles * m, points = (m + 2) * (m + 2);
    const auto number = [](int64_t n) { return std::to_string(n); };
    const std::string window = " {m = " + number(m) + ", window = [3, 3]}\n",
                      side = number(places + 2), all = number(2 * tiles * tiles);
    const std::string text =
        "graph \"g\"(%x: f32[2," + side + "," + side + "," + number(channels) + "], %dy: f32[2," +
        number(places) + "," + number(places) + "," + number(filters) + "]) {\n" +
        "  %v = winograd_input(%x)" + window + "  %g = winograd_output_adjoint(%dy)" + window +
        "  %vs = reshape(%v) {shape = <" + number(points) + "," + all + "," + number(channels) +
        ">}\n  %gs = reshape(%g) {shape = <" + number(points) + "," + all + "," + number(filters) +
        ">}\n  %t = transpose(%vs) {perm = [0, 2, 1]}\n" +
        "  %u = dot(%t, %gs)\n  %dw = winograd_weight_adjoint(%u)" + window +
        "  return %dw as \"dw\"\n}\n";
    SCOPED_TRACE(text);
    expect_same_graph([&] { return parse_graph(text); }, {}, "cuda", 2e-5);
  }
}

// A transposed left side is read as it lies: nothing copies it.
TEST(CudaTiled, TransposedLeftSides) {
  for (const auto& [rows, depth, columns] :
       {std::array<int64_t, 3>{64, 96, 128}, {33, 40, 70}, {132, 17, 65}, {8, 600, 64}}) {
    const Make make = [=](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {depth, rows}});
      Value* y = g.add_input("y", {DType::f32, {depth, columns}});
      Value* z = g.add_input("z", {DType::f32, {3, depth, rows}});
      g.add_output("a", b.make("MatMul", {b.make("Transpose", {x}), y}));
      Value* across = b.make("Transpose", {z}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
      g.add_output("b", b.make("Relu", {b.make("MatMul", {across, y})}));
    };
    EXPECT_THAT(algorithms(compiled(make, "cuda")), testing::Each(testing::HasSubstr("gemm")));
    expect_same_graph([&] { return built(make); });
  }
}

// Sums of dozens of places, of dozens of those, and of what is left.
TEST(CudaRows, SumsPerChannel) {
  using Extents = std::vector<Dim>;
  for (const Extents& extents :
       {Extents{3, 70, 5, 9}, {2, 3, 150, 4}, {5, 1, 1, 33}, {1, 64, 64, 3}, {2, 200, 7}})
    expect_same_graph([&] {
      return built([&](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, extents});
        std::vector<int64_t> axes;
        for (size_t d = 0; d + 1 < extents.size(); ++d) axes.push_back(static_cast<int64_t>(d));
        const AttrMap attrs = {{"axes", axes}};
        g.add_output("sum", b.make("reduce_sum", {x}, attrs));
        g.add_output("squares", b.make("reduce_sum", {b.make("mul", {x, x})}, attrs));
      });
    });
}

TEST(CudaTiled, ExtentsThatAreNotKnown) {
  const Make make = [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), Dim(24)}});
    Value* y = g.add_input("y", {DType::f32, {Dim(40), Dim::symbol("N")}});
    g.add_output("a", b.make("MatMul", {x, weights(b, {24, 40}, 5)}));
    g.add_output("b", b.make("MatMul", {y, b.make("Relu", {x})}));
  };
  for (int64_t n : {1, 2, 9, 70}) expect_same_graph([&] { return built(make); }, {{"N", n}});
}

}  // namespace
}  // namespace tintype
