// Whatever algorithm a tuning record names, results are those of the reference.
#include "codegen/algorithm_choice.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "tests/support/programs.h"
#include "tools/driver/compare.h"
#include "tools/driver/driver.h"
#include "tools/driver/pipeline.h"
#include "tools/driver/tuner.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

namespace tintype {
namespace {

using test::ConvCase;
using test::Make;
using test::weights;

class Tuned : public testing::Test {
 protected:
  Tuned()
      : file_(std::filesystem::temp_directory_path() / ("tuning-" + std::to_string(getpid()))) {}
  ~Tuned() override { std::filesystem::remove(file_); }

  std::string file_;
};

struct Found {
  std::vector<Decision> decisions;
  TuningSetting setting;
};

/// What select-algorithms decides in a graph.
Found decisions_in(const Make& make) {
  const auto graph = test::built(make);
  const CompileOptions options;
  const PassPipeline pipeline = pipeline_for(options);
  const auto select = std::find_if(pipeline.begin(), pipeline.end(), [](const PassStep& s) {
    return s.pass->name == "select-algorithms";
  });
  run_pipeline(*graph, PassPipeline(pipeline.begin(), select));
  Found found;
  SelectAlgorithmsOptions o = select_options(PassContext(*select->pass, select->options, nullptr));
  o.decided = [&found](const Decision& d) { found.decisions.push_back(d); };
  select_algorithms(*graph, o);
  found.setting = tuning_setting(o, 0);
  return found;
}

/// Of each family the first width of panels and the last one.
std::vector<Algorithm> ends_of_families(const std::vector<Algorithm>& candidates) {
  std::vector<Algorithm> ends;
  for (const Algorithm& a : candidates) {
    const auto same = [&a](const Algorithm& b) { return a.same_family(b); };
    if (std::count_if(ends.begin(), ends.end(), same) < 2) ends.push_back(a);
    else *std::find_if(ends.rbegin(), ends.rend(), same) = a;
  }
  return ends;
}

/// Compiles with the candidates of every decision. Returns the algorithms that were taken.
std::set<std::string> expect_all_the_same(const Make& make, const std::string& file) {
  CompileOptions options;
  options.reference = true;
  const CompiledModel reference = compile_graph(test::built(make), options);
  options.reference = false;
  options.tuning = file;
  const std::vector<Tensor> inputs = test::inputs_of(reference.model.program(), {});
  const auto want = reference.model.run(std::span<const Tensor>(inputs));
  EXPECT_TRUE(want.ok()) << want.status().message();
  const Found found = decisions_in(make);
  std::set<std::string> taken;
  for (const Decision& d : found.decisions)
    for (const Algorithm& a : ends_of_families(d.candidates)) {
      TuningFile tuning;
      tuning.merge(found.setting, {{d.key, {.choice = a, .reckoned = d.reckoned}}});
      save_tuning(tuning, file);
      const CompiledModel tuned = compile_graph(test::built(make), options);
      EXPECT_EQ(tuned.report.tuning_problem, "");
      const auto got = tuned.model.run(std::span<const Tensor>(inputs));
      RunOptions single;
      single.threads = 1;
      const auto alone = tuned.model.run(std::span<const Tensor>(inputs), single);
      EXPECT_TRUE(got.ok() && alone.ok()) << d.key << ": " << a.text();
      if (!got.ok() || !alone.ok() || !want.ok()) continue;
      for (size_t i = 0; i < want.value().size(); ++i) {
        const Tensor& g = got.value()[i];
        const Comparison c = compare_tensors(g, want.value()[i], 0, 0);
        EXPECT_LE(c.max_error, 1e-4 * std::max(c.scale, 1e-3))
            << d.key << ": " << a.text() << ": " << c.message;
        EXPECT_EQ(std::memcmp(g.data(), alone.value()[i].data(), g.bytes()), 0)
            << d.key << ": " << a.text() << ": 1 thread differs from many";
      }
      taken.insert(a.text().substr(0, a.text().find_last_of(' ')));
    }
  return taken;
}

TEST_F(Tuned, EveryAlgorithmOfAConvolutionGivesItsResults) {
  std::set<std::string> taken;
  for (const ConvCase& c : {
           ConvCase{1, 32, 13, 11, 40, 3, 3, 1, 1, 1, 1},  // partial tiles and panels
           ConvCase{2, 20, 9, 30, 72, 3, 3, 1, 1, 1, 1},   // channels between vectors
           ConvCase{1, 16, 14, 13, 48, 5, 5, 1, 2, 1, 1},
           ConvCase{1, 64, 7, 7, 80, 1, 1, 1, 0, 1, 1},  // merged positions
           ConvCase{1, 17, 9, 9, 33, 1, 1, 2, 0, 1, 1},
           ConvCase{1, 24, 15, 15, 40, 3, 3, 2, 1, 1, 1},
           ConvCase{1, 64, 9, 9, 64, 3, 3, 1, 1, 1, 2},  // panels within groups
           ConvCase{1, 3, 40, 40, 6, 5, 5, 1, 2, 1, 1},  // several positions as one
       })
    taken.merge(expect_all_the_same(test::conv_with_epilogue(c), file_));
  taken.merge(expect_all_the_same(
      [](Graph& g, Builder& b) {  // an image of 2 x 2 between zeros
        Value* x = b.unary("sin", g.add_input("x", {DType::f32, {3, 2, 2, 16}}));
        const Shape margin = {0, 1, 1, 0};
        g.add_output("y", b.make("conv", {b.pad(x, margin, margin), weights(b, {3, 3, 16, 32}, 6)},
                                 {{"window", std::vector<int64_t>{3, 3}},
                                  {"strides", std::vector<int64_t>{1, 1}},
                                  {"filters", int64_t{32}}}));
      },
      file_));
  for (const char* a : {"plain", "packed", "winograd f2", "winograd f4", "winograd f2 zero margins",
                        "winograd fused f2", "winograd fused f4", "patches", "wide"})
    EXPECT_EQ(taken.count(a), 1u) << a << " was not tried";
}

TEST_F(Tuned, EveryAlgorithmOfAProductGivesItsResults) {
  for (const int64_t rows : {1, 5, 33})
    for (const bool constant : {true, false})
      expect_all_the_same(
          [&](Graph& g, Builder& b) {
            Value* x = g.add_input("x", {DType::f32, {rows, 67}});
            Value* w =
                constant ? weights(b, {67, 131}, 3) : g.add_input("w", {DType::f32, {67, 131}});
            g.add_output("y", b.make("Relu", {b.make("MatMul", {x, w})}));
          },
          file_);
}

TEST_F(Tuned, ALoopOfCellsTakesAnyPanels) {
  const auto taken = expect_all_the_same(
      [](Graph& g, Builder& b) {
        constexpr int64_t kUnits = 37, kInputs = 19;
        Value* x = g.add_input("x", {DType::f32, {4, 3, kInputs}});
        Value* y = b.make(
            "LSTM",
            {x, weights(b, {1, 4 * kUnits, kInputs}, 4), weights(b, {1, 4 * kUnits, kUnits}, 5)},
            {{"hidden_size", kUnits}});
        g.add_output("y", y);
      },
      file_);
  EXPECT_EQ(taken.count("packed"), 1u);
}

Make two_layers() {
  return [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), 16, 20, 20}});
    Value* y = x;
    for (const uint64_t i : {1, 2})
      y = b.make("Relu", {b.make("Conv", {y, weights(b, {16, 16, 3, 3}, i)},
                                 {{"pads", std::vector<int64_t>{1, 1, 1, 1}}})});
    g.add_output("y", y);
  };
}

TEST_F(Tuned, TuningReportsWhatItMeasured) {
  TuneOptions options;
  options.seconds = 600;
  options.inputs = [](const Model& m) { return test::inputs_of(m.program(), {{"N", 1}}); };
  const TuneReport report = tune(test::built(two_layers()), options);
  auto layers = static_cast<size_t>(report.too_short);
  for (const TunedNode& n : report.nodes) {
    EXPECT_TRUE(n.measured);
    EXPECT_GT(n.untuned_ms, 0);
    EXPECT_GE(n.candidates, 6);
    layers += n.names.size();
    for (const std::string& name : n.names) EXPECT_EQ(name.find('\x1f'), std::string::npos);
    EXPECT_GT(n.ms, 0);
    EXPECT_EQ(report.choices.count(n.key), 1u);
  }
  EXPECT_EQ(layers, 2u);
  EXPECT_GT(report.tuned_ms, 0);
  // What is known is not measured again: the untuned program, and one to check the winners.
  options.known = [&](const TuningSetting& s) {
    EXPECT_TRUE(s == report.setting);
    return report.choices;
  };
  const TuneReport again = tune(test::built(two_layers()), options);
  EXPECT_LE(again.programs, 2);
  EXPECT_EQ(again.choices.size(), report.choices.size());
}

TEST_F(Tuned, StoppingAtOnceChangesNothing) {
  TuneOptions options;
  options.stop = [] { return true; };
  options.inputs = [](const Model& m) { return test::inputs_of(m.program(), {{"N", 1}}); };
  const TuneReport report = tune(test::built(two_layers()), options);
  EXPECT_TRUE(report.interrupted);
  EXPECT_TRUE(report.choices.empty());
  EXPECT_EQ(report.programs, 1);
}

TEST_F(Tuned, AMistakeIsToldWithoutMarksOfTheTuner) {
  TuneOptions options;
  options.inputs = [](const Model&) -> std::vector<Tensor> { throw Error("conv, \x1ftune12, y"); };
  try {
    tune(test::built(two_layers()), options);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "conv, y");
  }
}

}  // namespace
}  // namespace tintype
