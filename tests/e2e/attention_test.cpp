// Attention in one kernel against the unfused reference, over numbers of queries, keys and features
// that break schedules, masks of all kinds, and models as both of PyTorch's exporters store them.
#include "ir/builder.h"
#include "passes/pass_manager.h"
#include "tests/support/fenced.h"
#include "tests/support/programs.h"
#include "tools/driver/compare.h"
#include "tools/driver/driver.h"
#include "tools/driver/pipeline.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>

namespace tintype::test {
namespace {

CompiledModel compiled(const Make& make, const std::string& passes, const Dims& hints = {}) {
  CompileOptions options;
  options.passes = passes;
  options.hints = hints;
  return compile_graph(built(make), options);
}

size_t kernels_named(const Program& p, const std::string& name) {
  size_t count = 0;
  for (const Step& s : p.steps) count += s.name == name ? 1 : 0;
  return count;
}

/// One kernel, whose results are those of single ops to 1e-5, bit for bit with any number of
/// threads.
void expect_attention(const Make& make, const Dims& dims = {}, std::vector<Tensor> inputs = {},
                      const Dims& hints = {}) {
  const CompiledModel reference = compiled(make, "reference"), fast = compiled(make, "", hints);
  EXPECT_EQ(kernels_named(fast.model.program(), "attention"), 1u);
  if (inputs.empty()) inputs = inputs_of(fast.model.program(), dims);
  const auto want = reference.model.run(std::span<const Tensor>(inputs));
  const auto got = fast.model.run(std::span<const Tensor>(inputs));
  RunOptions single;
  single.threads = 1;
  const auto alone = fast.model.run(std::span<const Tensor>(inputs), single);
  ASSERT_TRUE(want.ok() && got.ok() && alone.ok()) << got.status().message();
  for (size_t i = 0; i < got.value().size(); ++i) {
    const Tensor& g = got.value()[i];
    EXPECT_EQ(compare_tensors(g, want.value()[i], 1e-5, 1e-5).message, "");
    EXPECT_EQ(std::memcmp(g.data(), alone.value()[i].data(), g.bytes()), 0);
  }
}

struct Sizes {
  int64_t queries, keys, features, width;
};

Make attention(const Sizes& s, const AttrMap& attrs = {}) {
  return [=](Graph& g, Builder& b) {
    Value* q = g.add_input("q", {DType::f32, {2, 3, s.queries, s.features}});
    Value* k = g.add_input("k", {DType::f32, {2, 3, s.keys, s.features}});
    Value* v = g.add_input("v", {DType::f32, {2, 3, s.keys, s.width}});
    g.add_output("y", b.make("Attention", {q, k, v}, attrs));
  };
}

class AttentionSizes : public testing::TestWithParam<Sizes> {};

TEST_P(AttentionSizes, MatchTheReference) { expect_attention(attention(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionSizes,
                         testing::Values(Sizes{1, 2, 1, 1},     // next to nothing
                                         Sizes{1, 9, 64, 64},   // a step of a decoder
                                         Sizes{5, 3, 8, 4},     // fewer features than lanes
                                         Sizes{15, 2, 20, 20},  // a vector and a rest
                                         Sizes{16, 16, 16, 16},
                                         Sizes{33, 40, 24, 72},  // a chunk and a rest
                                         Sizes{63, 64, 64, 64},  // one less than a chunk
                                         Sizes{64, 65, 64, 80},
                                         Sizes{130, 70, 32, 130}));  // several panels and a rest

// Fewer keys than a register tile once had the tile start before the first of them.
TEST_P(AttentionSizes, ReadNothingOutside) {
  const CompiledModel fast = compiled(attention(GetParam()), "");
  for (const Fence side : {Fence::before, Fence::after}) {
    std::vector<Tensor> inputs = inputs_of(fast.model.program(), {});
    for (Tensor& t : inputs) t = fenced(t, side);
    EXPECT_TRUE(fast.model.run(std::span<const Tensor>(inputs)).ok());
  }
}

TEST(Attention, AnyNumberOfQueriesAndKeys) {
  const Make make = [](Graph& g, Builder& b) {
    const Dim n = Dim::symbol("N"), tq = Dim::symbol("Q"), tk = Dim::symbol("K");
    Value* q = g.add_input("q", {DType::f32, {n, 2, tq, 16}});
    Value* k = g.add_input("k", {DType::f32, {n, 2, tk, 16}});
    Value* v = g.add_input("v", {DType::f32, {n, 2, tk, 16}});
    g.add_output("y", b.make("Attention", {q, k, v}));
  };
  // Kernels for many queries take over from that for few where they fit.
  for (const int64_t queries : {1, 17, 63, 64, 200})
    expect_attention(make, {{"N", 2}, {"Q", queries}, {"K", queries + 3}}, {},
                     {{"Q", 200}, {"K", 203}});
}

TEST(Attention, MasksOfAllKinds) {
  for (const int64_t causal : {0, 1})
    for (const Shape& shape : {Shape{19, 21}, Shape{1, 21}, Shape{3, 1, 21}, Shape{2, 1, 1, 21}}) {
      expect_attention([&](Graph& g, Builder& b) {
        Value* q = g.add_input("q", {DType::f32, {2, 3, 19, 8}});
        Value* k = g.add_input("k", {DType::f32, {2, 3, 21, 8}});
        Value* v = g.add_input("v", {DType::f32, {2, 3, 21, 8}});
        Value* bias = g.add_input("bias", {DType::f32, shape});
        Value* y = b.make("Attention", {q, k, v, bias},
                          {{"is_causal", causal}, {"softcap", 2.0}, {"scale", 0.3}});
        g.add_output("y", y);
      });
    }
}

// Rows that see no key are zeros, whatever hides the keys.
TEST(Attention, RowsWithoutKeysAreZeros) {
  const Make make = [](Graph& g, Builder& b) {
    Value* q = g.add_input("q", {DType::f32, {1, 1, 2, 4}});
    Value* k = g.add_input("k", {DType::f32, {1, 1, 3, 4}});
    Value* v = g.add_input("v", {DType::f32, {1, 1, 3, 4}});
    Value* mask = g.add_input("mask", {DType::f32, {2, 3}});
    g.add_output("y", b.make("Attention", {q, k, v, mask}));
  };
  const CompiledModel model = compiled(make, "");
  std::vector<Tensor> inputs = inputs_of(model.model.program(), {});
  const float hidden = -std::numeric_limits<float>::infinity();
  inputs[3] = Tensor::from<float>({2, 3}, {hidden, hidden, hidden, 0, hidden, hidden});
  expect_attention(make, {}, inputs);
  const auto got = model.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(got.ok());
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got.value()[0].values<float>()[i], 0.0f);
    EXPECT_FLOAT_EQ(got.value()[0].values<float>()[4 + i], inputs[2].values<float>()[i]);
  }
}

TEST(Attention, HeadsOfQueriesShareKeys) {
  for (const bool flat : {false, true})
    expect_attention([flat](Graph& g, Builder& b) {
      const Shape many = flat ? Shape{2, 7, 48} : Shape{2, 6, 7, 8};
      const Shape few = flat ? Shape{2, 9, 16} : Shape{2, 2, 9, 8};
      Value* q = g.add_input("q", {DType::f32, many});
      Value* k = g.add_input("k", {DType::f32, few});
      Value* v = g.add_input("v", {DType::f32, few});
      Value* bias = g.add_input("bias", {DType::f32, {6, 7, 9}});
      AttrMap attrs;
      if (flat) attrs = {{"q_num_heads", int64_t{6}}, {"kv_num_heads", int64_t{2}}};
      g.add_output("y", b.make("Attention", {q, k, v, bias}, attrs));
    });
}

// As it lies in the result of one product for queries, keys and values: nothing is copied.
TEST(Attention, ReadsHeadsWhereTheyLie) {
  expect_attention([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 10, 3 * 4 * 16}});
    std::vector<Value*> parts;
    for (int i = 0; i < 3; ++i)
      parts.push_back(
          b.transpose(b.reshape(b.slice_axis(x, 2, Dim(int64_t{i} * 64), Dim(64)), {2, 10, 4, 16}),
                      {0, 2, 1, 3}));
    Value* y = b.transpose(b.make("Attention", parts), {0, 2, 1, 3});
    g.add_output("y", b.unary("relu", b.reshape(y, {2, 10, 64})));
  });
}

// What is used besides cannot stay inside, and results stay the same.
TEST(Attention, WeightsThatAreResultsKeepItApart) {
  const Make make = [](Graph& g, Builder& b) {
    Value* q = g.add_input("q", {DType::f32, {2, 3, 5, 8}});
    Value* k = g.add_input("k", {DType::f32, {2, 3, 7, 8}});
    Value* v = g.add_input("v", {DType::f32, {2, 3, 7, 8}});
    const Node* n = b.create("Attention", {q, k, v}, {{"qk_matmul_output_mode", int64_t{3}}}, 4);
    g.add_output("y", n->result(0));
    g.add_output("weights", n->result(3));
  };
  const CompiledModel fast = compiled(make, "");
  EXPECT_EQ(kernels_named(fast.model.program(), "attention"), 0u);
}

}  // namespace
}  // namespace tintype::test
