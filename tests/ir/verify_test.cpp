// The verifier finds what is broken, and says which node.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/verify.h"

#include <gtest/gtest.h>

namespace tintype::test {

namespace {

struct Fixture {
  std::unique_ptr<Graph> graph = parse_graph(R"(graph "g"(%x: f32[N,3]) {
    %0 = exp(%x)  // first
    %1 = reduce_sum(%0) {axes = [1]}  // second
    return %1 as "y"
  })");
  Node* first = graph->inputs()[0]->uses()[0].node;
  Node* second = graph->output(0)->def();
  std::string problem() const { return find_problem(*graph); }
};

TEST(Verify, SoundGraphHasNoProblem) {
  Fixture f;
  EXPECT_EQ(f.problem(), "");
  verify(*f.graph);
}

TEST(Verify, OrderOfDefinition) {
  Fixture f;
  f.graph->move_before(f.second, f.first);
  EXPECT_EQ(f.problem(), "second (reduce_sum): operand 0 is not defined before it is used");
  EXPECT_THROW(verify(*f.graph), InternalError);
}

TEST(Verify, TypesAreThoseOfInference) {
  Fixture f;
  f.first->result()->set_type({DType::f32, {Dim::symbol("N"), 4}});
  EXPECT_EQ(f.problem(), "first (exp): result 0 is f32[N,4], inference gives f32[N,3]");
}

TEST(Verify, AttributesFitTheRecord) {
  Fixture f;
  f.second->attrs().set("axes", int64_t{1});
  EXPECT_EQ(f.problem(),
            "second (reduce_sum): attribute 'axes' must be list of integers, is integer");
  f.second->attrs().erase("axes");
  EXPECT_EQ(f.problem(), "second (reduce_sum): attribute 'axes' is missing");
  f.second->attrs().set("axes", std::vector<int64_t>{1});
  f.second->attrs().set("keepdims", int64_t{1});
  EXPECT_EQ(f.problem(),
            "second (reduce_sum): attribute 'keepdims' is not in the record of the op");
}

TEST(Verify, OperandCounts) {
  Fixture f;
  f.first->add_operand(f.graph->inputs()[0].get());
  EXPECT_EQ(f.problem(), "first (exp): has 2 operands");
}

TEST(Verify, ValuesOfOtherGraphs) {
  Fixture f;
  Fixture other;
  f.second->set_operand(0, other.first->result());
  EXPECT_EQ(f.problem(), "second (reduce_sum): operand 0 is not defined before it is used");
  f.second->set_operand(0, f.first->result());
}

TEST(Verify, InferenceMustAccept) {
  Fixture f;
  f.second->attrs().set("axes", std::vector<int64_t>{5});
  EXPECT_EQ(f.problem().substr(0, 36), "second (reduce_sum): inference fails");
}

TEST(Verify, RegionBodies) {
  const auto graph = parse_graph(R"(graph "g"(%x: f32[N,3]) {
    %0 = region(%x) {name = "exp"} : f32[N,3]
      graph "body"(%1: f32[N,3]) {
        %2 = exp(%1)
        return %2 as ""
      }
    return %0 as "y"
  })");
  EXPECT_EQ(find_problem(*graph), "");
  Node* region = graph->nodes().front().get();
  Graph& body = *region->body();
  body.inputs()[0]->set_type({DType::f32, {Dim::symbol("N"), Dim(4)}});
  body.output(0)->set_type({DType::f32, {Dim::symbol("N"), Dim(4)}});
  EXPECT_EQ(find_problem(*graph),
            "region (region): inference fails: region: its body's input 0 is f32[N,4], the "
            "operand is f32[N,3]");
}

}  // namespace

}  // namespace tintype::test
