// Runs all cases in data/*.ir: the text after the pipeline must be the expected one, and both
// graphs must compute the same. TINTYPE_BLESS=1 writes the expected texts instead.
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/pass_manager.h"
#include "passes/pattern_file.h"
#include "tests/passes/case_file.h"
#include "tests/support/evaluate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace tintype::test {

namespace {

/// Cases mention the patterns of patterns/*.pat like any other pass.
void load_test_patterns() {
  for (const auto& entry : std::filesystem::directory_iterator(TINTYPE_TEST_DIR "/patterns"))
    load_patterns(entry.path().string());
}

std::vector<PassCase> all_cases() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(TINTYPE_TEST_DIR "/data"))
    if (entry.path().extension() == ".ir") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  std::vector<PassCase> all;
  for (const std::string& f : files)
    for (PassCase& c : read_cases(f)) all.push_back(std::move(c));
  return all;
}

void bless(const PassCase& done, const std::string& before, const std::string& after) {
  std::vector<PassCase> cases = read_cases(done.file);
  for (PassCase& c : cases) {
    if (c.name != done.name) continue;
    c.before = before;
    c.after = after;
  }
  write_cases(done.file, cases);
}

/// All constants of the cases are part of the text.
std::string full_text(const Graph& graph) {
  PrintOptions options;
  options.inline_elements = 1000;
  return print(graph, options);
}

class PassCaseTest : public ::testing::TestWithParam<PassCase> {};

TEST_P(PassCaseTest, RewritesAsExpected) {
  const PassCase& c = GetParam();
  load_test_patterns();
  const std::unique_ptr<Graph> graph = parse_graph(c.before);
  ASSERT_EQ(find_problem(*graph), "");
  const std::string before = full_text(*graph);
  const Symbols symbols = small_symbols(*graph);
  const std::vector<Tensor> inputs = random_inputs(*graph, symbols);
  const std::vector<Tensor> want = evaluate(*graph, inputs, symbols);

  PipelineOptions options;
  options.verify = true;
  run_pipeline(*graph, parse_pipeline(c.pipeline), options);
  const std::string after = full_text(*graph);

  const std::vector<Tensor> got = evaluate(*graph, inputs, symbols);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(difference(got[i], want[i], 1e-5), "");

  if (std::getenv("TINTYPE_BLESS") != nullptr) return bless(c, before, after);
  EXPECT_EQ(before, c.before) << "the case is not in canonical form";
  EXPECT_EQ(after, c.unchanged() ? c.before : c.after);
}

std::string name_of_case(const ::testing::TestParamInfo<PassCase>& info) {
  return std::filesystem::path(info.param.file).stem().string() + "_" + info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Data, PassCaseTest, ::testing::ValuesIn(all_cases()), name_of_case);

}  // namespace

}  // namespace tintype::test
