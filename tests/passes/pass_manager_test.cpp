// Pipelines as text, and what running them reports.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pass_manager.h"

#include <gtest/gtest.h>
#include <stdexcept>

namespace tintype::test {

namespace {

std::string mistake_in(std::string_view text) {
  try {
    parse_pipeline(text);
  } catch (const Error& e) {
    return e.what();
  }
  return "no mistake";
}

std::unique_ptr<Graph> small_graph() {
  return parse_graph(R"(graph "g"(%x: f32[N,3]) {
    %0 = neg(%x)  // unused
    %1 = Relu(%x)  // act
    return %1 as "y"
  })");
}

TEST(Pipeline, TextRoundTrips) {
  const std::string text = "decompose,fold-constants{max-bytes=10,small-only=1},dead-code";
  EXPECT_EQ(text_of(parse_pipeline(text)), text);
  EXPECT_EQ(text_of(parse_pipeline(
                " decompose , fold-constants{ small-only, max-bytes = 10 } ,dead-code")),
            text);
  EXPECT_EQ(text_of(parse_pipeline("reference,simplify")),
            "decompose,fold-constants,dead-code,fuse-regions{single-ops=1},simplify");
}

TEST(Pipeline, AllNamedOnesParse) {
  for (std::string_view name : {"canonical", "finish", "reference"})
    EXPECT_FALSE(parse_pipeline(name).empty()) << name;
}

TEST(Pipeline, StrictFoldsNothingIntoWeights) {
  for (const NamedPipeline& p : named_pipelines())
    EXPECT_EQ(p.text.find("batch-norm") != std::string::npos,
              p.name == "default" || p.name == "fast")
        << p.name;
}

TEST(Pipeline, MistakesSuggestTheNearestName) {
  EXPECT_EQ(mistake_in("decompos"),
            "there is no pass or pipeline 'decompos' (did you mean 'decompose'?)");
  EXPECT_EQ(mistake_in("fold-constants{max-byte=1}"),
            "pass 'fold-constants' has no option 'max-byte' (did you mean 'max-bytes'?)");
  EXPECT_EQ(mistake_in("decompose,,dead-code"),
            "pipeline 'decompose,,dead-code' has an empty entry");
  EXPECT_EQ(mistake_in("fold-constants{max-bytes=1"),
            "pipeline 'fold-constants{max-bytes=1' does not close a brace");
  EXPECT_EQ(mistake_in("a}"), "pipeline 'a}' closes a brace twice");
}

TEST(Pipeline, OptionValuesAreChecked) {
  const auto graph = small_graph();
  EXPECT_THROW(run_pipeline(*graph, parse_pipeline("fold-constants{max-bytes=many}")), Error);
  EXPECT_THROW(run_pipeline(*graph, parse_pipeline("simplify{layout=maybe}")), Error);
}

TEST(Pipeline, StopsAfterAndDisables) {
  PipelineOptions options;
  options.stop_after = 1;
  auto graph = small_graph();
  auto timings = run_pipeline(*graph, parse_pipeline("decompose,dead-code"), options);
  ASSERT_EQ(timings.size(), 1u);
  EXPECT_EQ(timings[0].pass, "decompose");
  EXPECT_TRUE(timings[0].changed);
  EXPECT_EQ(timings[0].nodes, 2u);

  options = {};
  options.disabled = {"decompose"};
  graph = small_graph();
  timings = run_pipeline(*graph, parse_pipeline("decompose,dead-code"), options);
  ASSERT_EQ(timings.size(), 1u);
  EXPECT_EQ(timings[0].pass, "dead-code");

  options.disabled = {"decomposed"};
  EXPECT_THROW(run_pipeline(*graph, parse_pipeline("decompose"), options), Error);
}

struct Recorder : PassObserver {
  std::string log;
  void before(const PassStep& step, const Graph&) override {
    log += std::string(step.pass->name) + "(";
  }
  void after(const PassStep&, const Graph& g, const PassTiming&) override {
    log += std::to_string(g.size()) + ")";
  }
};

TEST(Pipeline, ObserverSeesEachPass) {
  Recorder recorder;
  PipelineOptions options;
  options.observer = &recorder;
  const auto graph = small_graph();
  run_pipeline(*graph, parse_pipeline("decompose,dead-code"), options);
  EXPECT_EQ(recorder.log, "decompose(2)dead-code(1)");
}

bool break_graph(Graph& graph, PassContext&) {
  graph.output(0)->set_type({DType::f32, {Dim(7)}});
  return true;
}

TEST(Pipeline, VerifierNamesThePassThatBroke) {
  static constexpr Pass kBreak[] = {{"break", "breaks the graph", {}, break_graph}};
  register_passes(kBreak);
  PipelineOptions options;
  options.verify = true;
  const auto graph = small_graph();
  try {
    run_pipeline(*graph, parse_pipeline("decompose,break"), options);
    FAIL() << "no error";
  } catch (const Error& e) {  // not InternalError: it is no pass of Tintype
    EXPECT_EQ(std::string(e.what()).find("pass 'break' left a broken graph: act (relu): result 0"),
              0u)
        << e.what();
  }
}

bool throwing_pass(Graph&, PassContext&) { throw std::out_of_range("item 7"); }

TEST(Pipeline, WhatAnAddedPassThrowsNamesIt) {
  static constexpr Pass kThrow[] = {{"throw", "throws", {}, throwing_pass}};
  register_passes(kThrow);
  const auto graph = small_graph();
  try {
    run_pipeline(*graph, parse_pipeline("throw"));
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "pass 'throw' failed: item 7");
  }
}

std::vector<std::string> explanations(const std::string& text, const std::string& pipeline) {
  std::vector<std::string> list;
  PipelineOptions options;
  options.explain = [&list](const Explanation& e) {
    list.push_back(std::string(e.pass) + (e.matched ? " + " : " - ") + e.origin + ": " + e.reason);
  };
  run_pipeline(*parse_graph(text), parse_pipeline(pipeline), options);
  return list;
}

TEST(Explain, BatchNormSaysWhyItStays) {
  const std::string head = R"(graph "g"(%x: f32[N,1,4,4]) {
    %w = constant() {value = f32[1,1,1,1](2.0)}
    %p = constant() {value = f32[1](1.0)}
    %0 = Conv(%x, %w)  // head/conv
    %1 = BatchNormalization(%0, %p, %p, %p, %p)  // head/bn
)";
  EXPECT_EQ(explanations(head + "return %1 as \"y\" }", "fold-batch-norm"),
            std::vector<std::string>{"fold-batch-norm + head/bn: folded into head/conv"});
  EXPECT_EQ(
      explanations(head + "%2 = Add(%0, %1)  // aux/Add\nreturn %2 as \"y\" }", "fold-batch-norm"),
      std::vector<std::string>{"fold-batch-norm - head/bn: not folded: its input head/conv has 2 "
                               "users (head/bn, aux/Add)"});
}

TEST(Explain, ConstantsSayWhyTheyStay) {
  const auto list = explanations(R"(graph "g"(%x: f32[4,4]) {
    %0 = constant() {value = f32[](1.0)}
    %1 = broadcast(%0) {shape = <4,4>}  // fill
    %2 = add(%x, %1)
    return %2 as "y" })",
                                 "fold-constants{max-bytes=10}");
  EXPECT_EQ(list,
            std::vector<std::string>{"fold-constants - fill: broadcast stays: folding it grows 4 "
                                     "bytes to 64, more than max-bytes=10"});
}

/// Without those about nodes of another name.
std::vector<std::string> about(const std::string& node, const std::vector<std::string>& all) {
  std::vector<std::string> list;
  for (const std::string& line : all)
    if (line.find(" " + node + ": ") != std::string::npos) list.push_back(line);
  return list;
}

TEST(Explain, SimplifySaysWhatEachRuleLacks) {
  using Lines = std::vector<std::string>;
  const auto list = explanations(R"(graph "g"(%x: f32[N,4], %z: f32[4,N]) {
    %0 = transpose(%x) {perm = [1, 0]}  // t1
    %1 = relu(%0)  // act
    %2 = transpose(%1) {perm = [1, 0]}  // t2
    %3 = constant() {value = f32[](1.0)}
    %4 = mul(%x, %3)  // one
    %5 = constant() {value = f32[](2.0)}
    %6 = mul(%4, %5)  // two
    return %2 as "y", %6 as "z" })",
                                 "simplify");
  EXPECT_EQ(about("one", list), Lines{"simplify + one: x * 1 = x"});
  EXPECT_EQ(about("two", list),
            (Lines{"simplify - two: not x * 1 = x: no operand is 1",
                   "simplify - two: not f(x, c ... c) = f(x, c): no operand is a constant of equal "
                   "elements with axes",
                   "simplify - two: not f(x, broadcast(y)) = f(x, y): no operand is a broadcast"}));
  EXPECT_EQ(about("t2", list),
            (Lines{"simplify - t2: not transpose(x) by the identity = x: it moves axes",
                   "simplify - t2: not transpose(transpose(x, p), q) = transpose(x, p[q]): its "
                   "operand is act (relu), no transpose",
                   "simplify - t2: not transpose(x) that moves axes of extent 1 only = reshape(x): "
                   "it moves axes whose extents are not 1",
                   "simplify - t2: not transpose(reshape(transpose(x))) = reshape(transpose(x)): "
                   "its operand is act (relu), no reshape"}));
}

TEST(Explain, UpdatesSayWhatTheyWaitFor) {
  EXPECT_EQ(explanations(
                R"(graph "g"(%x: f32[2], state %w: f32[2](1.0, 2.0), state %v: f32[2](3.0, 4.0)) {
    %0 = mul(%x, %w)  // forward
    %1 = sub(%v, %0)  // update of v
    %2 = sub(%w, %x)  // update of w
    %3 = neg(%0)  // result
    return %2 next "w", %1 next "v", %3 as "y" })",
                "hoist-updates"),
            (std::vector<std::string>{"hoist-updates - update of v: has to stay behind forward",
                                      "hoist-updates - update of w: has to stay behind forward"}));
  EXPECT_EQ(explanations(R"(graph "g"(%x: f32[2], state %v: f32[2](3.0, 4.0)) {
    %0 = mul(%x, %v)  // forward
    %1 = neg(%0)  // result
    %2 = sub(%v, %0)  // update of v
    return %2 next "v", %1 as "y" })",
                         "hoist-updates"),
            std::vector<std::string>{"hoist-updates + update of v: moves up, behind forward"});
}

TEST(Explain, StatesSayWhyTheyKeepTheirOrder) {
  const std::string head = R"(graph "g"(state %w: f32[2,3](1, 2, 3, 4, 5, 6)) {
    %0 = transpose(%w) {perm = [1, 0]}  // read
)";
  EXPECT_EQ(explanations(head + "return %0 as \"y\", %w next \"w\" }", "layout-states"),
            std::vector<std::string>{"layout-states + read: state 'w' kept as it is read"});
  EXPECT_EQ(explanations(head + R"(%1 = transpose(%w) {perm = [0, 1]}  // as it is
    return %0 as "y", %1 as "z", %w next "w" })",
                         "layout-states"),
            std::vector<std::string>{
                "layout-states - read: state 'w' stays: its transposes do not agree on one order"});
}

TEST(Explain, SimplifyNamesWhoElseUsesAnOperand) {
  const auto list = explanations(R"(graph "g"(%x: f32[N,8,8,2], %w: f32[3,3,2,2]) {
    %0 = conv(%x, %w) {window = [3, 3], filters = 2}  // conv
    %1 = slice(%0) {starts = <0,1,1,0>, sizes = <N,4,4,2>, steps = [1, 1, 1, 1]}  // crop
    %2 = relu(%0)  // act
    return %1 as "y", %2 as "z" })",
                                 "simplify");
  EXPECT_EQ(about("crop", list)[0],
            "simplify - crop: not pad(conv(x, w), -c) = conv(pad(x, -c), w), where a pad below 0 "
            "or a slice crops: conv has 2 users (crop, act)");
}

TEST(Explain, RecomputationSaysWhyItKeepsWhatItKeeps) {
  using Lines = std::vector<std::string>;
  const std::string graph = R"(graph "g"(%x: f32[2,64], %w: f32[64,64]) {
    %0 = dot(%x, %w)  // fc1
    %1 = exp(%0)  // exp1
    %2 = reduce_sum(%1) {axes = [1]}  // sum
    %3 = dot(%1, %w)  // fc2
    %4 = exp(%3)  // exp2
    %5 = mul(%4, %2)  // grad:exp2
    %6 = mul(%5, %3)  // grad:fc2
    %7 = mul(%6, %1)  // grad:exp1
    %8 = mul(%7, %0)  // grad:fc1
    return %8 as "y" })";
  EXPECT_EQ(explanations(graph, "recompute"),
            (Lines{"recompute - fc1: kept: it is small beside what it is made of",
                   "recompute + exp1: computed again for the backward pass",
                   "recompute - sum: kept: it is small beside what it is made of",
                   "recompute - fc2: kept: it is small beside what it is made of",
                   "recompute + exp2: computed again for the backward pass"}));
  EXPECT_EQ(explanations(graph, "recompute{bytes=10000}").front(),
            "recompute - fc1: kept: buffers take 2568 bytes, within bytes=10000");
  const std::string deep = R"(graph "g"(%x: f32[8]) {
    %0 = sin(%x)  // a
    %1 = cos(%0)  // b
    %2 = sin(%1)  // c
    %3 = cos(%2)  // d
    %4 = sin(%3)  // e
    %5 = cos(%4)  // f
    %6 = neg(%5)  // grad:loss
    %7 = mul(%6, %4)  // grad:f
    %8 = mul(%7, %3)  // grad:e
    %9 = mul(%8, %2)  // grad:d
    %10 = mul(%9, %1)  // grad:c
    %11 = mul(%10, %0)  // grad:b
    return %11 as "y" })";
  const Lines cut = explanations(deep, "recompute{segments=2}");
  EXPECT_EQ(about("b", cut), Lines{"recompute + b: computed again for the backward pass"});
  EXPECT_EQ(about("c", cut), Lines{"recompute - c: kept: other segments start from it"});
  EXPECT_EQ(about("f", cut),
            Lines{"recompute - f: kept: the backward pass begins with its segment"});
  EXPECT_EQ(explanations(R"(graph "g"(%x: f32[8]) {
    %0 = sin(%x)  // a
    %1 = neg(%0)  // grad:loss
    %2 = mul(%1, %0)  // grad:a
    return %2 as "y" })",
                         "recompute"),
            Lines{"recompute - a: kept: no plan saves enough of the 64 bytes"});
}

// Explaining must not change what is explained.
TEST(Explain, LeavesTheGraphAlone) {
  const std::string text = R"(graph "g"(%x: f32[N,8,8,2], %w: f32[3,3,2,2]) {
    %0 = conv(%x, %w) {window = [3, 3], filters = 2, strides = [2, 2]}  // conv
    %1 = slice(%0) {starts = <0,1,1,0>, sizes = <N,2,2,2>, steps = [1, 1, 1, 1]}  // crop
    return %1 as "y" })";
  const auto quiet = parse_graph(text), explained = parse_graph(text);
  PipelineOptions options;
  options.explain = [](const Explanation&) {};
  run_pipeline(*quiet, parse_pipeline("simplify"));
  run_pipeline(*explained, parse_pipeline("simplify"), options);
  EXPECT_EQ(print(*quiet), print(*explained));
}

TEST(Explain, DeadCodeAndDecomposeSayWhatTheyDid) {
  EXPECT_EQ(
      explanations(R"(graph "g"(%x: f32[N,3]) {
    %0 = neg(%x)  // unused
    %1 = Relu(%x)  // act
    return %1 as "y" })",
                   "decompose,dead-code"),
      (std::vector<std::string>{"decompose + act: Relu becomes simpler ops",
                                "dead-code + unused: neg left out: nobody uses its results"}));
}

}  // namespace

}  // namespace tintype::test
