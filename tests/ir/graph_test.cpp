// Nodes, uses and order.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/node_numbers.h"
#include "ir/print.h"
#include "ir/verify.h"

#include <gtest/gtest.h>

#include <functional>

namespace tintype::test {

namespace {

TensorType f32(Shape shape) { return {DType::f32, std::move(shape)}; }

struct Diamond {
  Graph graph{"diamond"};
  Value* x = graph.add_input("x", f32({Dim::symbol("N"), 3}));
  Builder b{graph};
  Value* left = b.exp(x);
  Value* right = b.neg(x);
  Value* sum = b.add(left, right);
  Diamond() { graph.add_output("y", sum); }
};

TEST(Graph, ReplacingUsesKeepsListsRight) {
  Diamond d;
  EXPECT_EQ(d.x->uses().size(), 2u);
  d.graph.replace_all_uses(d.right, d.left);
  EXPECT_EQ(d.left->uses().size(), 2u);
  EXPECT_TRUE(d.right->uses().empty());
  d.graph.erase(d.right->def());
  EXPECT_EQ(d.x->uses().size(), 1u);
  EXPECT_EQ(find_problem(d.graph), "");
}

TEST(Graph, OutputsCountAsUses) {
  Diamond d;
  EXPECT_TRUE(d.sum->has_one_use());
  d.graph.add_output("z", d.sum);
  EXPECT_EQ(d.sum->output_uses(), 2);
  d.graph.replace_all_uses(d.sum, d.left);
  EXPECT_EQ(d.sum->output_uses(), 0);
  EXPECT_EQ(d.left->output_uses(), 2);
  EXPECT_EQ(find_problem(d.graph), "");
}

TEST(Graph, ErasingUsedNodeIsADefect) {
  Diamond d;
  EXPECT_THROW(d.graph.erase(d.left->def()), InternalError);
}

TEST(Graph, SortRestoresOrder) {
  Diamond d;
  d.graph.move_before(d.sum->def(), d.left->def());
  EXPECT_NE(find_problem(d.graph), "");
  d.graph.sort();
  EXPECT_EQ(find_problem(d.graph), "");
}

TEST(Graph, OriginsDoNotRepeat) {
  Diamond d;
  Node* n = d.left->def();
  n->set_origins({"a", "b"});
  n->add_origins({"b", "c", "c", "a", "d"});
  EXPECT_EQ(n->origins(), (std::vector<std::string>{"a", "b", "c", "d"}));
}

TEST(NodeNumbers, FollowTheOrderAndKnowNoLaterNodes) {
  Diamond d;
  const NodeNumbers numbers(d.graph);
  EXPECT_EQ(numbers.size(), 3u);
  EXPECT_EQ(numbers.of(d.left->def()), 0u);
  EXPECT_EQ(numbers.of(d.right->def()), 1u);
  EXPECT_EQ(numbers.of(d.sum->def()), 2u);
  EXPECT_EQ(numbers.of(d.b.exp(d.sum)->def()), NodeNumbers::kNone);
  EXPECT_EQ(NodeNumbers(Graph("empty")).of(d.sum->def()), NodeNumbers::kNone);
}

TEST(Graph, CloneIsEqualAndIndependent) {
  Diamond d;
  d.graph.require_equal(Dim::symbol("N"), Dim::symbol("M"), "must agree");
  const auto copy = d.graph.clone();
  EXPECT_EQ(print(*copy), print(d.graph));
  copy->replace_all_uses(copy->output(0), copy->inputs()[0].get());
  EXPECT_EQ(d.graph.output(0), d.sum);
  EXPECT_EQ(find_problem(*copy), "");
  EXPECT_EQ(find_problem(d.graph), "");
}

TEST(Graph, FreshSymbolsAreNew) {
  Diamond d;
  EXPECT_NE(d.graph.fresh_symbol("N"), "N");
  EXPECT_NE(d.graph.fresh_symbol("k"), d.graph.fresh_symbol("k"));
}

TEST(Builder, NoNodeForNothingToDo) {
  Diamond d;
  const size_t before = d.graph.size();
  EXPECT_EQ(d.b.reshape(d.x, d.x->shape()), d.x);
  EXPECT_EQ(d.b.transpose(d.x, {0, 1}), d.x);
  EXPECT_EQ(d.b.cast(d.x, DType::f32), d.x);
  EXPECT_EQ(d.b.pad(d.x, {0, 0}, {0, 0}), d.x);
  EXPECT_EQ(d.b.concat({d.x}, 1), d.x);
  EXPECT_EQ(d.graph.size(), before);
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Builder, MistakesNameTheNodeAndBothSides) {
  Diamond d;
  d.b.set_origins({"layer1/add"});
  Value* z = d.graph.add_input("z", f32({Dim(4)}));
  const size_t before = d.graph.size();
  EXPECT_EQ(message_of([&] { d.b.add(d.x, z); }),
            "layer1/add: shapes [N,3] and [4] do not broadcast");
  EXPECT_EQ(message_of([&] {
              d.b.transpose(d.x, {0, 0});
            }),
            "layer1/add (transpose): perm is not a permutation");
  EXPECT_EQ(message_of([&] { d.b.make("dot", {d.x, z}); }).substr(0, 16), "layer1/add (dot)");
  EXPECT_EQ(d.graph.size(), before) << "a node that does not fit is not left behind";
}

TEST(Builder, WhatARecordDoesNotHaveIsAMistake) {
  Diamond d;
  d.b.set_origins({"act"});
  const size_t before = d.graph.size();
  const auto made = [&d](std::string_view op, AttrMap attrs, int results = 1) {
    return message_of([&] { d.b.create(op, {d.x}, std::move(attrs), results); });
  };
  EXPECT_EQ(made("Sigmod", {}), "act: there is no op 'Sigmod' (did you mean 'Sigmoid'?)");
  EXPECT_EQ(
      made("Softmax", {{"axes", int64_t{1}}}),
      "act (Softmax): attribute 'axes' is not in the record of the op (did you mean 'axis'?)");
  EXPECT_EQ(made("Softmax", {{"axis", 1.0}}),
            "act (Softmax): attribute 'axis' must be integer, is number");
  EXPECT_EQ(made("Relu", {}, 3), "act (Relu): expected 1 results, got 3");
  EXPECT_EQ(made("relu", {}, 0), "act (relu): expected 1 results, got 0");
  EXPECT_EQ(d.graph.size(), before);
}

TEST(Builder, UnprovableEqualityBecomesAConstraint) {
  Diamond d;
  Value* z = d.graph.add_input("z", f32({Dim::symbol("M"), 3}));
  d.b.add(d.x, z);
  ASSERT_EQ(d.graph.constraints().size(), 1u);
  EXPECT_EQ(d.graph.constraints()[0].left, Dim::symbol("N"));
  EXPECT_EQ(d.graph.constraints()[0].right, Dim::symbol("M"));
}

}  // namespace

}  // namespace tintype::test
