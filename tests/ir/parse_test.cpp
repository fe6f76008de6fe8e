// The text form of graphs: what prints parses back, and mistakes are named by line.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

namespace tintype::test {

namespace {

void expect_round_trip(const std::string& text) {
  const auto graph = parse_graph(text);
  EXPECT_EQ(find_problem(*graph), "");
  EXPECT_EQ(print(*graph), text);
}

std::string mistake_in(const std::string& text) {
  try {
    parse_graph(text);
  } catch (const Error& e) {
    return e.what();
  }
  return "no mistake";
}

TEST(Parse, StatesOfAGraphWithRegions) {
  expect_round_trip(R"(graph "g"(%x: f32[2], state %s: f32[2](1.0, 2.0)) {
  %0 = region(%x, %s) {name = "add"} : f32[2]
    graph "add"(%a0: f32[2], %a1: f32[2]) {
      %1 = add(%a0, %a1) : f32[2]
      return %1 as "r0"
    }
  return %0 as "sum", %0 next "s"
}
)");
  EXPECT_EQ(mistake_in(R"(graph "g"(%x: f32[2], state %s: f32[2](1.0, 2.0)) {
  return %x as "y"
})"),
            "line 3: state 's' has no next value");
}

TEST(Parse, AllKindsOfAttributes) {
  expect_round_trip(R"(graph "all kinds"(%x: f32[N,H,3], %"/in put:0": i64[2], %"0": f32[]) {
  %0 = constant() {value = f32[4](-0.0, 1.5, 3.4028235e+38, 1e-06)} : f32[4]
  %1 = constant() {value = i64[](-9223372036854775808)} : i64[]
  %2 = constant() {value = u64[1](18446744073709551615)} : u64[1]
  %3 = constant() {value = bool[2](true, false)} : bool[2]
  %4 = constant() {value = f16[2](0.5, -inf)} : f16[2]
  %5 = constant() {value = f32[0]()} : f32[0]
  %6 = slice(%x) {sizes = <N,floordiv(H,2),3>, starts = <0,1,0>, steps = [1, 2, 1]} : f32[N,floordiv(H,2),3]  // cut, twice
  %7 = cast(%6) {to = f64} : f64[N,floordiv(H,2),3]
  %8 = Softplus(%0) : f32[4]
  %9 = LRN(%x) {alpha = 1e-04, beta = 0.75, bias = 1.0, size = 5} : f32[N,H,3]
  %10 = Clip(%x, none, %"0") : f32[N,H,3]
  return %7 as "a \"quoted\" name", %x as "x"
}
)");
}

TEST(Parse, RegionsNest) {
  expect_round_trip(R"(graph "g"(%x: f32[N,3]) {
  %0 = region(%x) {name = "exp_neg"} : f32[N,3]
    graph "body"(%1: f32[N,3]) {
      %2 = exp(%1) : f32[N,3]
      %3 = neg(%2) : f32[N,3]
      return %3 as ""
    }
  return %0 as "y"
}
)");
}

TEST(Parse, RegionsAreWhatTheirBodiesSay) {
  const auto region = [](const std::string& results, const std::string& type,
                         const std::string& input) {
    return "graph \"g\"(%x: f32[N,3]) {\n  " + results +
           " = region(%x) {name = \"exp\"} : " + type + "\n    graph \"body\"(" + input +
           ") {\n      %2 = exp(%1) return %2 as \"\"\n    }\n  return %0 as \"y\"\n}";
  };
  EXPECT_EQ(mistake_in(region("%0", "f32[N,3]", "%1: f32[N,3]")), "no mistake");
  EXPECT_EQ(mistake_in(region("%0", "f32[N,-1]", "%1: f32[N,3]")),
            "line 2: result 0 of region is stated as f32[N,-1], inference gives f32[N,3]");
  EXPECT_EQ(mistake_in(region("%0", "f32[N,3]", "%1: f32[N,4]")),
            "line 2: region: its body's input 0 is f32[N,4], the operand is f32[N,3]");
  EXPECT_EQ(mistake_in(region("%0", "f32[N,3]", "%1: f32[N,3], %5: f32[2]")),
            "line 2: region: its body has 2 inputs for 1 operands");
  EXPECT_EQ(mistake_in(region("%0, %7", "f32[N,3], f32[2]", "%1: f32[N,3]")),
            "line 2: region: its body has 1 outputs for 2 results");
  EXPECT_EQ(
      mistake_in("graph \"g\"(%x: f32[2]) { %0 = region(%x) {name = \"a\"} return %0 as \"y\" }"),
      "graph 'g': region (region): has 0 bodies");
}

TEST(Parse, ConstraintsThatAreNotStatedHold) {
  const auto constraints = [](const std::string& text) {
    const auto graph = parse_graph(text);
    std::string all;
    for (const DimConstraint& c : graph->constraints())
      all += c.left.text() + "=" + c.right.text() + " ";
    return all;
  };
  EXPECT_EQ(
      constraints("graph \"g\"(%x: f32[N], %z: f32[M]) { %0 = add(%x, %z) return %0 as \"y\" }"),
      "N=M ");
  EXPECT_EQ(constraints("graph \"g\"(%x: f32[N], %z: f32[M]) { %0 = add(%x, %z) "
                        "require M == N : \"\" require K == 2 : \"\" return %0 as \"y\" }"),
            "M=N K=2 ");
  EXPECT_EQ(constraints(R"(graph "g"(%x: f32[N], %z: f32[M]) {
    %0 = region(%x, %z) {name = "add"}
      graph "add"(%a: f32[N], %b: f32[M]) { %1 = add(%a, %b) return %1 as "r" }
    return %0 as "y"
  })"),
            "N=M ")
      << "a region's body runs with the extents of the graph around it";
}

TEST(Parse, OriginsPrintAsTheyAre) {
  for (const char* origins : {"conv, relu", " again:conv", "conv, ", ", relu", "  ", "a,b"}) {
    const std::string text = "graph \"g\"(%x: f32[2]) {\n  %0 = exp(%x) : f32[2]  // " +
                             std::string(origins) + "\n  return %0 as \"y\"\n}\n";
    EXPECT_EQ(print(*parse_graph(text)), print(*parse_graph(print(*parse_graph(text))))) << origins;
  }
  const auto graph =
      parse_graph("graph \"g\"(%x: f32[2]) {\n%0 = exp(%x) // a, b\nreturn %0 as \"y\"}");
  EXPECT_EQ(graph->nodes().front()->origins(), (std::vector<std::string>{"a", "b"}));
}

TEST(Parse, ConstraintsStay) {
  expect_round_trip(R"(graph "g"(%x: f32[N,3], %z: f32[M,3]) {
  %0 = add(%x, %z) : f32[N,3]
  require N == M : "add: shapes [N,3] and [M,3] must broadcast"
  return %0 as "y"
}
)");
}

TEST(Parse, TypesMayBeLeftOut) {
  const auto graph = parse_graph("graph \"g\"(%x: f32[N,3]) { %y = exp(%x) return %y as \"y\" }");
  EXPECT_EQ(graph->output(0)->type().text(), "f32[N,3]");
}

TEST(Parse, NumbersThatAreNotFinite) {
  const auto graph = parse_graph(
      "graph \"g\"() { %0 = constant() {value = f32[2](nan, inf)} return %0 as \"y\" }");
  const Tensor& t = *graph->output(0)->constant();
  EXPECT_NE(t.values<float>()[0], t.values<float>()[0]);
  EXPECT_EQ(t.values<float>()[1], std::numeric_limits<float>::infinity());
}

TEST(Parse, MistakesNameTheLine) {
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f32[2]) {\n  %0 = expp(%x)\n  return %0 as \"y\"\n}"),
            "line 2: there is no op 'expp' (did you mean 'exp'?)");
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f32[2]) {\n  %0 = exp(%y)\n  return %0 as \"y\"\n}"),
            "line 2: %y is used, but not defined above");
  EXPECT_EQ(
      mistake_in("graph \"g\"(%x: f32[2]) {\n  %0 = exp(%x) : f32[3]\n  return %0 as \"y\"\n}"),
      "line 2: result 0 of exp is stated as f32[3], inference gives f32[2]");
  EXPECT_EQ(
      mistake_in("graph \"g\"(%x: f32[2]) {\n  %0 = exp(%x) {axis = 1}\n  return %0 as \"y\"\n}"),
      "line 2: op exp has no attribute 'axis'");
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f33[2]) {"), "line 1: 'f33' is not an element type");
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f32[2]) {\n  %0 = transpose(%x) {perm = [0, 1]}\n"),
            "line 2: transpose: perm has 2 entries for f32[2]");
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f32[2]) { return %x as \"y\" } graph"),
            "line 1: expected the end of the text after the graph");
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f32[2])"),
            "line 1: expected '{', found the end of the text");
}

TEST(Parse, ExtentsThatOverflowNameTheLine) {
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f32[4611686018427387904,2]) {\n"
                       "  %0 = pad(%x) {after = <4611686018427387904,0>, before = <0,0>}\n"
                       "  return %0 as \"y\"\n}"),
            "line 1: '4611686018427387904' is not an extent");
  EXPECT_EQ(mistake_in("graph \"g\"(%x: f32[999999999999999999,2]) {\n"
                       "  %0 = concat(%x, %x, %x, %x, %x, %x, %x, %x, %x, %x) {axis = 0}\n"
                       "  return %0 as \"y\"\n}"),
            "line 2: concat: extent arithmetic overflows");
}

TEST(Parse, GraphsInGraphsHaveALimit) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "graph \"g\"() { %0 = region() {name = \"r\"} ";
  EXPECT_EQ(mistake_in(text), "line 1: graphs lie more than 64 deep in each other");
}

TEST(Parse, AbsurdTensorsAllocateNothing) {
  EXPECT_EQ(
      mistake_in(
          "graph \"g\"() {\n  %0 = constant() {value = f32[1000000,1000000,1000000,1000000](1.0)}"),
      "line 2: the tensor has fewer elements than f32[1000000,1000000,1000000,1000000]");
  EXPECT_EQ(mistake_in("graph \"g\"() { %0 = constant() {value = f32[N](1.0)}"),
            "line 1: the extents of a tensor must be numbers");
  EXPECT_EQ(mistake_in("graph \"g\"() { %0 = constant() {value = undefined[1](1.0)}"),
            "line 1: a tensor needs an element type");
}

TEST(Parse, LeftOutElementsAreRefused) {
  Graph g("g");
  Builder b(g);
  g.add_output("y", b.constant(Tensor::zeros(DType::f32, {100})));
  EXPECT_EQ(mistake_in(print(g)), "line 2: the elements of this tensor are left out; print with a "
                                  "table of tensors");
}

class TextFile : public ::testing::Test {
 protected:
  void TearDown() override {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + ".tensors");
  }
  // ctest runs the cases of this suite as processes of their own, at the same time.
  std::string path_ =
      ::testing::TempDir() + "/tintype_text_file_" + std::to_string(getpid()) + ".ir";
};

TEST_F(TextFile, LargeTensorsLieBeside) {
  Graph g("g");
  Builder b(g);
  Value* x = g.add_input("x", {DType::f32, {Dim(100)}});
  Tensor w = Tensor::empty(DType::f32, {100});
  for (int i = 0; i < 100; ++i)
    w.mutable_values<float>()[static_cast<size_t>(i)] = static_cast<float>(i) / 7;
  Value* weights = b.constant(w);
  weights->set_name("layer \"1\"/w");
  Value* zeros = b.constant(Tensor::zeros(DType::f32, {100}));
  g.add_output("y", b.add(b.add(x, weights), zeros));
  save_text(g, path_);
  const auto back = load_text(path_);
  EXPECT_EQ(print(*back), print(g));
  const Tensor& read = *back->output(0)->def()->operand(0)->def()->operand(1)->constant();
  EXPECT_TRUE(std::equal(read.values<float>().begin(), read.values<float>().end(),
                         w.values<float>().begin()));
}

TEST_F(TextFile, NothingIsLeftBesideADevice) {
  Graph g("g");
  Builder b(g);
  g.add_output("y", b.constant(Tensor::zeros(DType::f32, {100})));
  save_text(g, "/dev/null");
  EXPECT_FALSE(std::filesystem::exists("/dev/null.tensors"));
}

TEST_F(TextFile, WhatCannotBeReadSaysWhy) {
  const auto message = [](const std::string& path) {
    try {
      load_text(path);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no mistake");
  };
  EXPECT_EQ(message("/no/such/file.ir"),
            "/no/such/file.ir: cannot be opened: No such file or directory");
  EXPECT_EQ(message("/tmp"), "/tmp: is a folder, expected a file");
  std::ofstream(path_) << "";
  EXPECT_EQ(message(path_), path_ + ": is empty");
}

TEST_F(TextFile, WhatCannotBeWrittenLeavesTheOldFile) {
  Graph g("g");
  Builder b(g);
  g.add_output("y", b.constant(Tensor::zeros(DType::f32, {100})));
  std::ofstream(path_) << "old";
  std::filesystem::create_directory(path_ + ".tensors");  // in the way of the tensors
  EXPECT_THROW(save_text(g, path_), Error);
  std::string content;
  std::getline(std::ifstream(path_), content);
  EXPECT_EQ(content, "old");
  EXPECT_THROW(save_text(g, "/dev/full"), Error);
}

TEST_F(TextFile, BrokenTensorFilesAreRefused) {
  Graph g("g");
  Builder b(g);
  g.add_output("y", b.constant(Tensor::zeros(DType::f32, {100})));
  save_text(g, path_);
  const auto size = std::filesystem::file_size(path_ + ".tensors");
  std::filesystem::resize_file(path_ + ".tensors", size - 4);
  EXPECT_THROW(load_text(path_), Error);
  std::ofstream(path_ + ".tensors") << "something else";
  EXPECT_THROW(load_text(path_), Error);
  std::filesystem::remove(path_ + ".tensors");
  EXPECT_THROW(load_text(path_), Error);
  EXPECT_THROW(load_text(path_ + ".missing"), Error);
}

}  // namespace

}  // namespace tintype::test
