// Whole pipelines: the second run changes nothing, and text holds every stage.
#include "frontend/zoo/zoo.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/pass_manager.h"
#include "tests/passes/case_file.h"
#include "tests/support/evaluate.h"
#include "tests/support/random_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tintype::test {

namespace {

namespace fs = std::filesystem;

constexpr const char* kPipeline = "fold-batch-norm,canonical,finish";

/// The text, and its constants beside it.
std::string text_of(const Graph& graph, TensorTable& tensors) {
  PrintOptions options;
  options.tensors = &tensors;
  return print(graph, options);
}

void expect_round_trip(const Graph& graph, const std::string& what) {
  TensorTable tensors, again;
  const std::string text = text_of(graph, tensors);
  const std::unique_ptr<Graph> back = parse_graph(text, tensors);
  EXPECT_EQ(find_problem(*back), "") << what;
  EXPECT_EQ(text_of(*back, again), text) << what;
  ASSERT_EQ(again.size(), tensors.size()) << what;
  for (const auto& [name, t] : tensors) {
    ASSERT_TRUE(again.count(name) != 0) << what << ": " << name;
    EXPECT_TRUE(t.bytes() == 0 || std::memcmp(t.data(), again[name].data(), t.bytes()) == 0)
        << what << ": " << name;
  }
}

TEST(Text, RandomGraphsRoundTripAtEveryStage) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    const auto graph = random_network(seed, seed % 2 == 0 ? DType::f32 : DType::f64);
    const std::string what = "seed " + std::to_string(seed);
    expect_round_trip(*graph, what);
    run_pipeline(*graph, parse_pipeline("decompose"));
    expect_round_trip(*graph, what + ", decomposed");
    run_pipeline(*graph, parse_pipeline(kPipeline));
    expect_round_trip(*graph, what + ", in regions");
    if (::testing::Test::HasFailure()) break;
  }
}

std::vector<std::string> files_below(const std::string& folder, const std::string& extension) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == extension) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(text).str();
}

TEST(Text, EveryTestFileAndExampleRoundTrips) {
  size_t graphs = 0;
  for (const std::string& file : files_below(TINTYPE_TEST_DIR, ".ir"))
    for (const PassCase& c : read_cases(file))
      for (const std::string& text : {c.before, c.after})
        if (!text.empty()) {
          expect_round_trip(*parse_graph(text), file + ": " + c.name);
          ++graphs;
        }
  for (const std::string& file : files_below(TINTYPE_SOURCE_DIR "/examples", ".ir")) {
    const std::string text = read_file(file);
    if (text.find("acme::") != std::string::npos) continue;  // needs its plugin
    expect_round_trip(*parse_graph(text), file);
    ++graphs;
  }
  EXPECT_GT(graphs, 50u);
}

/// Names of the pipeline's passes, each once.
std::vector<std::string> passes_of(const char* pipeline) {
  std::vector<std::string> names;
  for (const PassStep& step : parse_pipeline(pipeline))
    if (std::find(names.begin(), names.end(), step.pass->name) == names.end())
      names.emplace_back(step.pass->name);
  return names;
}

TEST(Pipeline, ResultsDoNotDependOnAnySinglePass) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const auto graph = random_network(seed, DType::f64);
    const Symbols symbols = small_symbols(*graph);
    const std::vector<Tensor> inputs = random_inputs(*graph, symbols, seed);
    const std::vector<Tensor> want = evaluate(*graph, inputs, symbols);
    for (const std::string& pass : passes_of(kPipeline)) {
      const auto copy = graph->clone();
      PipelineOptions options;
      options.verify = true;
      options.disabled = {pass};
      run_pipeline(*copy, parse_pipeline(kPipeline), options);
      const std::vector<Tensor> got = evaluate(*copy, inputs, symbols);
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_EQ(difference(got[i], want[i], 1e-9), "") << "seed " << seed << " without " << pass;
    }
  }
}

class ZooPipeline : public ::testing::TestWithParam<const char*> {};

TEST_P(ZooPipeline, ASecondRunChangesNothing) {
  const auto graph = build_zoo_network(GetParam())->take();
  run_pipeline(*graph, parse_pipeline(kPipeline));
  TensorTable first, second;
  const std::string once = text_of(*graph, first);
  for (const PassTiming& t : run_pipeline(*graph, parse_pipeline(kPipeline)))
    EXPECT_FALSE(t.changed) << t.pass;
  EXPECT_EQ(text_of(*graph, second), once);
}

// Networks without the hundreds of megabytes that dense layers of VGG and AlexNet take.
INSTANTIATE_TEST_SUITE_P(Networks, ZooPipeline,
                         ::testing::Values("mlp", "lenet5", "googlenet", "inception-v3", "resnet18",
                                           "resnet50-v2"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace

}  // namespace tintype::test
