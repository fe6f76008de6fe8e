// What a text case cannot show: large constants, and what stays in memory.
#include "ir/builder.h"
#include "passes/pass_manager.h"

#include <gtest/gtest.h>

#include <memory>

namespace tintype::test {

namespace {

constexpr int64_t kLarge = 200;  // 200 x 200 floats are more than what is folded at once

struct LargeWeights {
  Graph graph{"g"};
  Builder b{graph};
  std::weak_ptr<const void> storage;
  Node* product = nullptr;

  LargeWeights() {
    Value* x = graph.add_input("x", {DType::f32, {Dim::symbol("N"), kLarge}});
    Tensor w = Tensor::zeros(DType::f32, {kLarge, kLarge});
    storage = w.owner();
    product = b.create("dot", {x, b.transpose(b.constant(std::move(w)), {1, 0})});
    graph.add_output("y", product->result());
  }
};

TEST(FoldConstants, WeightsAreLeftToPacking) {
  LargeWeights g;
  run_pipeline(g.graph, parse_pipeline("fold-constants{weights=0}"));
  EXPECT_TRUE(g.product->operand(1)->def()->is("transpose"));

  Builder b(g.graph, g.product);
  Value* packed = b.make("pack", {g.product->operand(1)},
                         {{"perm", std::vector<int64_t>{0, 1}}, {"block", int64_t{16}}});
  g.product->set_operand(1, packed);
  g.product->attrs().set("block", int64_t{16});
  g.product->attrs().set("columns", kLarge);
  PipelineOptions options;
  options.verify = true;
  run_pipeline(g.graph, parse_pipeline("finish"), options);
  EXPECT_EQ(g.graph.size(), 2u) << "one packed constant and the product";
}

TEST(FoldConstants, OriginalsDoNotStayInMemory) {
  LargeWeights g;
  EXPECT_FALSE(g.storage.expired());
  run_pipeline(g.graph, parse_pipeline("fold-constants"));
  EXPECT_NE(g.product->operand(1)->constant(), nullptr);
  EXPECT_TRUE(g.storage.expired());
}

}  // namespace

}  // namespace tintype::test
