// Arithmetic on extents as exporters write it: what inference knows of small integer tensors.
#include "ir/diagnostic.h"
#include "ir/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {

namespace {

/// The graph of nodes %0; %1; ... over the extents H and W of an image, and M of a list.
std::unique_ptr<Graph> graph_of(const std::string& nodes) {
  std::string text = "graph \"g\"(%x: f32[N,3,H,W], %m: f32[M]) {\n";
  int count = 0;
  for (size_t at = 0, end = 0; end != std::string::npos; at = end + 1) {
    end = nodes.find(';', at);
    text += "  %" + std::to_string(count++) + " = " + nodes.substr(at, end - at) + "\n";
  }
  return parse_graph(text + "  return %" + std::to_string(count - 1) + " as \"y\"\n}\n");
}

/// The elements of the last node's result, or "unknown".
std::string content(const std::string& nodes) {
  const auto graph = graph_of(nodes);
  const auto& known = graph->output(0)->content();
  return known ? text_of(*known) : "unknown";
}

TEST(ExtentArithmetic, PaddingAsExportersStoreIt) {
  // Amounts of the last axes first, reversed and brought into ONNX's order in a matrix.
  const std::string two_columns = "constant() {value = i64[6](1, 2, 3, 4, 0, 0)}; "
                                  "reshape(%0) {shape = <3, 2>}; ";
  EXPECT_EQ(content(two_columns + "slice(%1) {starts = <2, 0>, sizes = <3, 2>, steps = [-1, 1]}"),
            "[0,0,3,4,1,2]");
  EXPECT_EQ(content(two_columns + "slice(%1) {starts = <2, 0>, sizes = <3, 2>, steps = [-1, 1]}; "
                                  "transpose(%2) {perm = [1, 0]}; reshape(%3) {shape = <6>}"),
            "[0,3,1,0,4,2]");
  EXPECT_EQ(content("dims() {extents = <H, W>}; reshape(%0) {shape = <2, 1>}; "
                    "concat(%1, %1) {axis = 1}"),
            "[H,H,W,W]");
  EXPECT_EQ(content("dims() {extents = <H, W>}; reshape(%0) {shape = <2, 1>}; "
                    "broadcast(%1) {shape = <2, 2, 2>}"),
            "[H,H,W,W,H,H,W,W]");
  EXPECT_EQ(content("dims() {extents = <H, W>}; slice(%0) {starts = <1>, sizes = <0>, "
                    "steps = [9223372036854775807]}"),
            "[]");
}

TEST(ExtentArithmetic, RepeatsAsExportersStoreThem) {
  // repeat_interleave picks the axis by OneHot, whose values are 1 and the number.
  EXPECT_EQ(content("dims() {extents = <1, H>}; constant() {value = i64[1](1)}; "
                    "constant() {value = i64[](4)}; OneHot(%1, %2, %0)"),
            "[1,H,1,1]");
}

TEST(ExtentArithmetic, IntegersDivideTowardsZero) {
  const std::string numbers = "dims() {extents = <H-1, H, M-H>}; dims() {extents = <4>}; ";
  EXPECT_EQ(content(numbers + "div(%0, %1)"), "[floordiv(max(0,H-1),4),floordiv(H,4),"
                                              "floordiv(max(-H+M,0),4)-floordiv(max(0,H-M),4)]");
  EXPECT_EQ(content("dims() {extents = <H-1>}; dims() {extents = <4>}; mod(%0, %1)"),
            "[H-4*floordiv(H-1,4)-1]");
  EXPECT_EQ(content("dims() {extents = <H>}; dims() {extents = <M>}; div(%0, %1)"),
            "[floordiv(H,M)]");
  EXPECT_EQ(content("dims() {extents = <H>}; dims() {extents = <M-1>}; div(%0, %1)"), "unknown");
}

TEST(ExtentArithmetic, NumbersThatAreNoExtents) {
  EXPECT_EQ(content("constant() {value = i64[](9223372036854775807)}; add(%0, %0)"), "unknown");
  EXPECT_EQ(content("constant() {value = i32[](2147483647)}; add(%0, %0)"), "unknown")
      << "which is -2";
  EXPECT_EQ(content("constant() {value = i32[](1073741823)}; add(%0, %0)"), "[2147483646]");
}

/// The content of an i64 that `nodes` make of %0, an f32[2] with H and W, and the rounding.
std::string through_floats(const std::string& nodes, const std::string& last) {
  return content("dims() {extents = <H, W>}; Cast(%0) {to = 1}; " + nodes + "; Cast(" + last +
                 ") {to = 7}");
}

TEST(ExtentArithmetic, FloatsWhoseRoundingChangesNothing) {
  const std::string half = "constant() {value = f32[](2)}; Div(%1, %2)";
  EXPECT_EQ(through_floats(half + "; Ceil(%3)", "%4"), "[floordiv(H+1,2),floordiv(W+1,2)]");
  EXPECT_EQ(through_floats(half + "; Floor(%3); Mul(%4, %2)", "%5"),
            "[2*floordiv(H,2),2*floordiv(W,2)]");
  EXPECT_EQ(through_floats(half, "%3"), "[floordiv(H,2),floordiv(W,2)]");
  EXPECT_EQ(through_floats("constant() {value = f32[2](1.5, 2)}; Mul(%1, %2)", "%3"),
            "[floordiv(3*H,2),2*W]");
  EXPECT_EQ(through_floats("constant() {value = f32[](16)}; constant() {value = f32[](0.5)}; "
                           "Pow(%2, %3); Mul(%1, %4)",
                           "%5"),
            "[4*H,4*W]");
  EXPECT_EQ(through_floats("constant() {value = i64[1](-1)}; constant() {value = i64[1](0)}; "
                           "constant() {value = i64[1](-3)}; Slice(%1, %2, %4, %3, %2); "
                           "Concat(%5, %5) {axis = 0}",
                           "%6"),
            "[W,H,W,H]");
}

TEST(ExtentArithmetic, FloatsWhoseRoundingMatters) {
  // 10 * 0.7 is 7 as a float, and less with the number that the float 0.7 is.
  EXPECT_EQ(through_floats("constant() {value = f32[](0.7)}; Mul(%1, %2)", "%3"), "unknown");
  // 1 / 49 * 49 is less than 1 as a float.
  EXPECT_EQ(through_floats("constant() {value = f32[](49)}; Div(%1, %2); Mul(%3, %2)", "%4"),
            "unknown");
}

TEST(ExtentArithmetic, BoundsOfSlices) {
  const auto sliced = [](const std::string& start, const std::string& end) {
    const auto graph = graph_of("dims() {extents = <" + start + ">}; dims() {extents = <" + end +
                                ">}; constant() {value = i64[1](2)}; Slice(%x, %0, %1, %2)");
    std::string text = graph->output(0)->shape()[2].text();
    for (const DimConstraint& c : graph->constraints()) text += " if " + c.left.text() + " is 0";
    return text;
  };
  EXPECT_EQ(sliced("H-5", "H"), "5 if min(0,H-5) is 0");
  EXPECT_EQ(sliced("0", "H-1"), "max(0,H-1)");
  EXPECT_EQ(sliced("-1-M", "H"), "max(0,H-min(H,max(0,H-M-1)))");
  EXPECT_EQ(sliced("-M", "H"), "max(0,H-min(H,max(0,H-M)*min(1,M)))");
}

}  // namespace

}  // namespace tintype::test
