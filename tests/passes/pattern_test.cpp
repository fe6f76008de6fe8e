// Pattern files: mistakes and their places, explanations, and rewriting that does not end. What
// patterns do to graphs is in data/patterns.ir.
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pass_manager.h"
#include "passes/pattern_file.h"

#include <gtest/gtest.h>

namespace tintype::test {

namespace {

std::string mistake_in(const std::string& text) {
  try {
    load_patterns(text, "my.pat");
  } catch (const Error& e) {
    return e.what();
  }
  return "no mistake";
}

TEST(PatternFile, MistakesHaveAPlaceAndANearestName) {
  EXPECT_EQ(mistake_in("pattern p {\n  y = Sigmod(x)\n} => y = x"),
            "my.pat:2:7: there is no op 'Sigmod' (did you mean 'Sigmoid'?)");
  EXPECT_EQ(mistake_in("pattern p { y = Softmax(x) where y.axes == 1 } => y = x"),
            "my.pat:1:36: Softmax has no attribute 'axes' (did you mean 'axis'?)");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) where user(y) == 1 } => y = x"),
            "my.pat:1:31: there is no function 'user' (did you mean 'users'?)");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) where users(other) == 1 } => y = x"),
            "my.pat:1:37: 'other' is not defined");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(input) } => y = Abs(inptu)"),
            "my.pat:1:42: 'inptu' is not defined (did you mean 'input'?)");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x, x) } => y = x"),
            "my.pat:1:17: Relu takes 1 operand, got 2");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) } => y = Softmax(x) {axs = 1}"),
            "my.pat:1:46: Softmax has no attribute 'axs' (did you mean 'axis'?)");
  EXPECT_EQ(
      mistake_in("pattern p { y = Relu(x) } => z = Abs(x)"),
      "my.pat:1:9: nothing is replaced: one of the new results must have the name of a matched one");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) } => x = Abs(x)"),
            "my.pat:1:30: 'x' is an operand of the pattern, only results can be replaced");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) } => y = y"),
            "my.pat:1:34: 'y' would take its own place");
  EXPECT_EQ(mistake_in("pattern p { a = Relu(x) b = Relu(z) } => b = z"),
            "my.pat:1:17: this node shares no tensor with the others, so it cannot be found");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) where rank(x) = 2 } => y = x"),
            "my.pat:1:39: expected a name for a result, found '='");
  EXPECT_EQ(
      mistake_in("pattern Upper { y = Relu(x) } => y = x"),
      "my.pat:1:9: a pattern is named like a pass, in small letters, digits and '-', got 'Upper'");
  EXPECT_EQ(mistake_in("pattern simplify { y = Relu(x) } => y = x"),
            "my.pat:1:9: 'simplify' is the name of another pass");
  EXPECT_EQ(
      mistake_in("pattern p { y = Relu(x) where x == 1 } => y = x"),
      "my.pat:1:31: 'x' is a tensor; write x.attribute for an attribute of its node, or ask a "
      "function such as rank(x)");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) "),
            "my.pat:1:25: expected a name for a result, found the end of the file");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) where users(y) == \"1 } => y = x"),
            "my.pat:1:43: this text does not end on its line");
  EXPECT_EQ(mistake_in("# nothing\n"), "my.pat:2:1: expected 'pattern'");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(x) } => y = BitShift(x, x)"),
            "my.pat:1:34: BitShift needs attribute 'direction'");
  EXPECT_EQ(mistake_in("pattern p { y = Relu(" + std::string(3000, '(')),
            "my.pat:1:22: expected an operand, found '('");
  EXPECT_NE(mistake_in("pattern p { y = Relu(x) where " + std::string(3000, '(')).find("too deep"),
            std::string::npos);
  EXPECT_NE(mistake_in("pattern p { y = Relu(x) where " + std::string(3000, '-')).find("too deep"),
            std::string::npos);
}

TEST(PatternFile, ANameBelongsToOnePattern) {
  EXPECT_EQ(load_patterns("pattern mine { y = Relu(x) } => y = x", "a.pat"),
            std::vector<std::string>{"mine"});
  EXPECT_EQ(mistake_in("pattern mine { y = Relu(x) } => y = x"), "no mistake");
  EXPECT_EQ(mistake_in("pattern mine { y = Abs(x) } => y = x"),
            "my.pat:1:9: there is another pattern named 'mine', from a.pat");
  EXPECT_EQ(mistake_in("pattern q { y = Relu(x) } => y = x\npattern q { y = Abs(x) } => y = x"),
            "my.pat:2:9: there are two patterns named 'q'");
  EXPECT_THROW(load_patterns("/no/such/file.pat"), Error);
}

std::vector<std::string> explanations(const std::string& text, const std::string& pipeline) {
  load_patterns(TINTYPE_TEST_DIR "/patterns/activations.pat");
  load_patterns(TINTYPE_TEST_DIR "/patterns/structure.pat");
  std::vector<std::string> list;
  PipelineOptions options;
  options.verify = true;
  options.explain = [&list](const Explanation& e) {
    list.push_back(std::string(e.pass) + (e.matched ? " + " : " - ") + e.origin + ": " + e.reason);
  };
  run_pipeline(*parse_graph(text), parse_pipeline(pipeline), options);
  return list;
}

using Lines = std::vector<std::string>;

TEST(PatternExplain, EveryCandidateIsNamedWithTheConstraintThatFailed) {
  const Lines lines = explanations(R"(graph "g"(%x: f32[2], %z: f32[2]) {
    %0 = Sigmoid(%x)  // sig1
    %1 = Mul(%x, %0)  // mul1
    %2 = Sigmoid(%z)  // sig2
    %3 = Mul(%2, %z)  // mul2
    %4 = Mul(%x, %z)  // mul3
    %5 = Relu(%z)  // relu
    %6 = Mul(%z, %5)  // mul4
    return %1 as "a", %3 as "b", %2 as "c", %4 as "d", %6 as "e"
  })",
                                   "swish");
  EXPECT_EQ(lines,
            (Lines{
                "swish + mul1: replaced mul1 (Mul), sig1 (Sigmoid)",
                "swish - mul2: 'users(s) == 1' does not hold: s has 2 users (mul2, graph output)",
                "swish - mul3: graph input 'z' is no Sigmoid",
                "swish - mul4: relu (Relu) is no Sigmoid",
            }));
}

TEST(PatternExplain, NodesInBodiesAreNamedWithTheNodesAroundThem) {
  const Lines lines = explanations(R"(graph "g"(%c: bool[], %h: f32[2], %x: f32[3,2]) {
    %0 = if(%c, %h, %x) : f32[2]  // choice
      graph "then"(%h: f32[2], %x: f32[3,2]) {
        %1 = scan(%h, %x) {scanned = 1, states = 1, trips = <3>} : f32[2]  // loop
          graph "step"(%h: f32[2], %x: f32[2]) {
            %2 = Sigmoid(%h)  // sig
            %3 = Mul(%h, %2)  // mul
            return %3 as "h"
          }
        return %1 as "y"
      }
      graph "else"(%h: f32[2], %x: f32[3,2]) {
        %4 = Relu(%h)  // relu
        %5 = Mul(%h, %4)  // mul
        return %5 as "y"
      }
    return %0 as "y"
  })",
                                   "swish");
  EXPECT_EQ(lines, (Lines{"swish + choice (then) > loop > mul: replaced mul (Mul), sig (Sigmoid)",
                          "swish - choice (else) > mul: relu (Relu) is no Sigmoid"}));
}

TEST(PatternExplain, ReplacementsThatDoNotFitSayWhy) {
  EXPECT_EQ(
      explanations(R"(graph "g"(%x: f32[2,3]) {
    %0 = Abs(%x)  // abs
    return %0 as "y"
  })",
                   "wrong-shape"),
      Lines{
          "wrong-shape - abs: not replaced: the replacement of y is f32[3,2] instead of f32[2,3]"});
}

TEST(PatternExplain, NumbersAndAttributesAreShown) {
  const Lines lines = explanations(R"(graph "g"(%x: f32[2,3]) {
    %0 = constant() {value = f32[](3.0)}
    %1 = Mul(%x, %0)  // mul
    %2 = Transpose(%1) {perm = [1, 0]}  // t1
    %3 = Transpose(%2)  // t2
    return %3 as "y"
  })",
                                   "double-to-add,transpose-pair");
  EXPECT_EQ(
      lines,
      (Lines{
          "double-to-add - mul: operand 1 of mul is 3, not 2",
          "transpose-pair - t1: mul (Mul) is no Transpose",
          "transpose-pair - t2: 'y.perm == t.perm' cannot be decided: attribute 'perm' is not given",
      }));
}

TEST(PatternRewriting, ThatDoesNotEndIsAnErrorThatNamesThePattern) {
  try {
    explanations("graph \"g\"(%x: f32[2]) { %0 = Neg(%x)  // n\n return %0 as \"y\" }", "forever");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("pattern 'forever' ("), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("does not come to an end: stopped after 1016 rewrites"),
              std::string::npos)
        << e.what();
  }
}

/// The graph's text, without origins, after a pass.
std::string rewritten(Graph& graph, const std::string& pass) {
  PipelineOptions options;
  options.verify = true;
  run_pipeline(graph, parse_pipeline(pass), options);
  PrintOptions print_options;
  print_options.origins = false;
  return print(graph, print_options);
}

TEST(PatternRewriting, StructureMayChangeWithComputedShapes) {
  load_patterns(TINTYPE_TEST_DIR "/patterns/structure.pat");
  const auto graph = parse_graph(R"(graph "g"(%x: f32[N,8,H,W], %w: f32[16,8,5,5]) {
    %0 = Conv(%x, %w) {pads = [2, 2, 2, 2]}  // conv
    return %0 as "y"
  })");
  EXPECT_EQ(rewritten(*graph, "conv-5x5"), R"(graph "g"(%x: f32[N,8,H,W], %w: f32[16,8,5,5]) {
  %0 = constant() {value = i64[4](8, 8, 3, 3)} : i64[4]
  %1 = ConstantOfShape(%0) : f32[8,8,3,3]
  %2 = constant() {value = i64[4](16, 8, 3, 3)} : i64[4]
  %3 = ConstantOfShape(%2) : f32[16,8,3,3]
  %4 = Conv(%x, %1) {pads = [1, 1, 1, 1]} : f32[N,8,H,W]
  %5 = Conv(%4, %3) {kernel_shape = [3, 3], pads = [1, 1, 1, 1]} : f32[N,16,H,W]
  return %5 as "y"
}
)");
}

TEST(PatternRewriting, ConstantsMayHaveNames) {
  load_patterns("pattern one-twice { y = Neg(x) } => {\n"
                "  one = constant(dtype(x), 1.0)\n  t = Sub(one, x); y = Sub(t, one)\n}",
                "constants.pat");
  const auto graph = parse_graph(R"(graph "g"(%x: f32[2]) {
    %0 = Neg(%x)  // neg
    return %0 as "y"
  })");
  EXPECT_EQ(rewritten(*graph, "one-twice"), R"(graph "g"(%x: f32[2]) {
  %0 = constant() {value = f32[](1.0)} : f32[]
  %1 = Sub(%0, %x) : f32[2]
  %2 = Sub(%1, %0) : f32[2]
  return %2 as "y"
}
)");
}

// Two sweeps are all that a chain needs, however long.
TEST(PatternRewriting, LongChainsAreNoProblem) {
  load_patterns(TINTYPE_TEST_DIR "/patterns/structure.pat");
  std::string text = "graph \"g\"(%x: f32[2]) {\n  %0 = Identity(%x)\n";
  for (int i = 1; i < 20000; ++i)
    text += "  %" + std::to_string(i) + " = Identity(%" + std::to_string(i - 1) + ")\n";
  const auto graph = parse_graph(text + "  return %19999 as \"y\"\n}\n");
  run_pipeline(*graph, parse_pipeline("drop-identity"));
  EXPECT_EQ(graph->size(), 0u);
}

}  // namespace

}  // namespace tintype::test
