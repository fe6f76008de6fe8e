// Kernels for CUDA, interpreted, against the unscheduled reference on the CPU, over shapes that
// break schedules. What the interpreter checks besides values: every access, races, barriers.
#include "ir/parse.h"
#include "tests/cuda/fixture.h"

namespace tintype {
namespace {

using cuda_test::expect_same;
using cuda_test::weights;
using test::ConvCase;

class CudaConv : public testing::TestWithParam<ConvCase> {};

TEST_P(CudaConv, MatchesTheReferenceWithItsEpilogue) {
  expect_same(test::conv_with_epilogue(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CudaConv,
    testing::Values(ConvCase{1, 3, 9, 9, 8, 3, 3, 1, 1, 1, 1},       // fewer channels than lanes
                    ConvCase{1, 3, 17, 17, 64, 7, 7, 2, 3, 1, 1},    // first layer
                    ConvCase{2, 16, 12, 12, 130, 3, 3, 1, 1, 1, 1},  // a panel and a bit
                    ConvCase{1, 16, 7, 7, 96, 3, 3, 1, 0, 1, 1},
                    ConvCase{1, 16, 5, 14, 40, 5, 5, 1, 2, 1, 1},
                    ConvCase{1, 64, 7, 7, 80, 1, 1, 1, 0, 1, 1},  // merged positions
                    ConvCase{3, 24, 5, 5, 1, 1, 1, 1, 0, 1, 1},   // one filter
                    ConvCase{1, 17, 8, 8, 33, 1, 1, 2, 0, 1, 1},
                    ConvCase{1, 16, 11, 11, 16, 3, 3, 1, 2, 2, 1},  // dilated
                    ConvCase{1, 64, 6, 6, 64, 3, 3, 1, 1, 1, 2},    // panels within groups
                    ConvCase{1, 12, 6, 6, 18, 3, 3, 1, 1, 1, 3},    // groups narrower than a panel
                    ConvCase{2, 20, 8, 8, 20, 3, 3, 2, 1, 1, 20},   // depthwise
                    ConvCase{1, 5, 4, 4, 5, 3, 3, 1, 1, 1, 5}));

struct ProductCase {
  std::vector<int64_t> a, b;
  bool constant;
};

void PrintTo(const ProductCase& c, std::ostream* out) {
  *out << testing::PrintToString(c.a) << " by " << testing::PrintToString(c.b)
       << (c.constant ? ", constant" : "");
}

class CudaProduct : public testing::TestWithParam<ProductCase> {};

TEST_P(CudaProduct, MatchesTheReference) {
  const ProductCase p = GetParam();
  expect_same([p](Graph& g, Builder& b) {
    const Shape sa(p.a.begin(), p.a.end()), sb(p.b.begin(), p.b.end());
    Value* x = g.add_input("x", {DType::f32, sa});
    Value* w = p.constant ? weights(b, p.b, 3) : g.add_input("w", {DType::f32, sb});
    Value* bias = weights(b, {p.b.back()}, 4);
    g.add_output("y", b.make("Tanh", {b.make("Add", {b.make("MatMul", {x, w}), bias})}));
  });
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CudaProduct,
    testing::Values(ProductCase{{1, 37}, {37, 10}, true}, ProductCase{{5, 64}, {64, 200}, true},
                    ProductCase{{33, 16}, {16, 128}, true}, ProductCase{{2, 9, 20}, {20, 7}, true},
                    ProductCase{{7, 13}, {13, 45}, false}, ProductCase{{1, 1}, {1, 1}, false},
                    ProductCase{{2, 3, 5, 8}, {2, 3, 8, 9}, false},
                    ProductCase{{4, 6, 8}, {8, 33}, false}));

// Rows of the left side begin where vectors of four may be loaded, or they do not.
TEST(CudaKernels, ProductsOfColumns) {
  for (const int64_t start : {0, 2, 4})
    expect_same([start](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {5, 64}});
      Value* columns = b.slice_axis(x, 1, Dim(start), Dim(32));
      g.add_output("y", b.make("MatMul", {columns, weights(b, {32, 40}, 1)}));
      Value* w = g.add_input("w", {DType::f32, {32, 7}});
      g.add_output("z", b.make("MatMul", {columns, w}));
    });
}

TEST(CudaKernels, PointwiseAndBroadcast) {
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {3, 1, 7}});
    Value* y = g.add_input("y", {DType::f32, {5, 1}});
    Value* sum = b.make("Add", {x, y});
    g.add_output("a", b.make("Sigmoid", {b.make("Mul", {sum, x})}));
    g.add_output("b", b.make("Sub", {b.make("Exp", {y}), b.make("Abs", {sum})}));
  });
}

TEST(CudaKernels, SymbolicExtents) {
  const auto make = [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), Dim(12)}});
    Value* y = b.make("Relu", {b.make("MatMul", {x, weights(b, {12, 40}, 5)})});
    g.add_output("y", b.make("Softmax", {y}, {{"axis", int64_t{-1}}}));
  };
  for (int64_t n : {1, 2, 9}) expect_same(make, {{"N", n}});
}

TEST(CudaKernels, ReductionsOverEveryAxis) {
  for (const std::vector<int64_t>& axes :
       {std::vector<int64_t>{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}})
    for (const char* op : {"ReduceSum", "ReduceMax", "ReduceMean", "ReduceMin"})
      expect_same([&](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {3, 5, 41}});
        const auto n = static_cast<int64_t>(axes.size());
        Value* list = b.constant(Tensor::from<int64_t>({n}, std::span<const int64_t>(axes)));
        g.add_output("y", b.make(op, {x, list}));
      });
}

TEST(CudaKernels, SoftmaxAndNormalisation) {
  for (int64_t axis : {0, 1, 2})
    expect_same([axis](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {4, 35, 6}});
      g.add_output("y", b.make("Softmax", {x}, {{"axis", axis}}));
    });
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {5, 77}});
    g.add_output("y", b.make("LayerNormalization", {x, weights(b, {77}, 1), weights(b, {77}, 2)}));
  });
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 6, 5, 5}});
    g.add_output("y", b.make("InstanceNormalization", {x, weights(b, {6}, 1), weights(b, {6}, 2)}));
  });
}

TEST(CudaKernels, Pools) {
  for (const char* op : {"MaxPool", "AveragePool"})
    for (int64_t pad : {0, 1})
      expect_same([&](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {2, 5, 9, 8}});
        g.add_output("y", b.make(op, {x},
                                 {{"kernel_shape", std::vector<int64_t>{3, 2}},
                                  {"strides", std::vector<int64_t>{2, 2}},
                                  {"pads", std::vector<int64_t>{pad, pad, pad, pad}}}));
      });
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 37, 6, 6}});
    g.add_output("y", b.make("GlobalAveragePool", {x}));
  });
}

TEST(CudaKernels, Movement) {
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {4, 3, 5}});
    Value* y = g.add_input("y", {DType::f32, {4, 2, 5}});
    Value* all = b.make("Concat", {x, b.make("Relu", {y})}, {{"axis", int64_t{1}}});
    g.add_output("t", b.make("Transpose", {all}, {{"perm", std::vector<int64_t>{2, 0, 1}}}));
    Value* pads = b.constant(Tensor::from<int64_t>({6}, {0, 1, 2, 0, 1, 1}));
    g.add_output("p", b.make("Pad", {all, pads}));
    g.add_output("r", b.make("Pad", {x, pads}, {{"mode", std::string("reflect")}}));
  });
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {6, 10}});
    Value* rows = b.constant(Tensor::from<int64_t>({4}, {5, 0, -1, 2}));
    g.add_output("y", b.make("Gather", {x, rows}, {{"axis", int64_t{0}}}));
  });
}

TEST(CudaKernels, RecurrentLayers) {
  for (const char* direction : {"forward", "bidirectional"})
    expect_same([&](Graph& g, Builder& b) {
      const int64_t d = direction == std::string("forward") ? 1 : 2;
      Value* x = g.add_input("x", {DType::f32, {5, 2, 7}});
      Node* lstm =
          b.create("LSTM",
                   {x, weights(b, {d, 4 * 9, 7}, 1), weights(b, {d, 4 * 9, 9}, 2),
                    weights(b, {d, 8 * 9}, 3)},
                   {{"hidden_size", int64_t{9}}, {"direction", std::string(direction)}}, 3);
      g.add_output("y", lstm->result(0));
      g.add_output("h", lstm->result(1));
      g.add_output("c", lstm->result(2));
    });
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {4, 3, 5}});
    Node* gru = b.create("GRU", {x, weights(b, {1, 24, 5}, 1), weights(b, {1, 24, 8}, 2)},
                         {{"hidden_size", int64_t{8}}}, 2);
    g.add_output("y", gru->result(0));
    g.add_output("h", gru->result(1));
  });
}

void expect_same_text(const std::string& inputs, const std::string& body) {
  const std::string text =
      "graph \"g\"(" + inputs + ") {\n  %y = " + body + "\n  return %y as \"y\"\n}\n";
  cuda_test::expect_same_graph([&] { return parse_graph(text); });
}

TEST(CudaKernels, GradientsOfWindows) {
  const std::string ones = "dilations = [1, 1], ";
  expect_same_text("%x: f32[2,7,6,5], %dy: f32[2,5,5,18]",
                   "conv_weight_gradient(%x, %dy) {group = 1, " + ones +
                       "strides = [1, 1], window = [3, 2]}");
  expect_same_text("%x: f32[1,6,6,8], %dy: f32[1,4,4,12]",
                   "conv_weight_gradient(%x, %dy) {group = 2, " + ones +
                       "strides = [1, 1], window = [3, 3]}");
  expect_same_text("%x: f32[2,8,8,5], %dy: f32[2,3,3,5]",
                   "window_max_gradient(%x, %dy) {" + ones + "strides = [2, 2], window = [3, 3]}");
}

TEST(CudaKernels, ConvolutionsInOneAndThreeDimensions) {
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 4, 19}});
    g.add_output("y", b.make("Conv", {x, weights(b, {6, 4, 3}, 1), weights(b, {6}, 2)},
                             {{"pads", std::vector<int64_t>{1, 1}}}));
  });
  expect_same([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {1, 3, 4, 5, 6}});
    g.add_output("y", b.make("Conv", {x, weights(b, {5, 3, 2, 3, 3}, 1)},
                             {{"pads", std::vector<int64_t>{0, 1, 1, 0, 1, 1}}}));
  });
}

// Phases run on streams of their own and write one between the other.
TEST(CudaKernels, TransposedConvolutions) {
  for (const int64_t kernel : {2, 3, 4})
    expect_same([kernel](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, {2, 9, 5, 6}});
      Value* y =
          b.make("ConvTranspose", {x, weights(b, {9, 24, kernel, kernel}, 1), weights(b, {24}, 2)},
                 {{"strides", std::vector<int64_t>{2, 2}}});
      g.add_output("y", b.make("Relu", {y}));
    });
}

}  // namespace
}  // namespace tintype
