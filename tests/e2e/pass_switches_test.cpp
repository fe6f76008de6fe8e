// Every built-in pass left out in turn changes no result, and the whole pipeline run a second time
// changes nothing at all: on the zoo, on training steps, and on the official suite's operators.
// Graphs are evaluated on the host, so that what differs is the work of passes alone.
#include "frontend/train/training_graph.h"
#include "frontend/zoo/zoo.h"
#include "ir/builder.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pass_manager.h"
#include "passes/passes.h"
#include "tests/support/evaluate.h"
#include "tests/support/onnx_suite.h"
#include "tools/driver/pipeline.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <set>
#include <sstream>

namespace tintype::test {
namespace {

namespace fs = std::filesystem;

/// All that a model may meet on its way to kernels.
PassPipeline whole_pipeline() {
  CompileOptions options;
  options.hints = {{"N", 2}};
  PassPipeline pipeline = parse_pipeline("recognize");
  for (PassStep& step : pipeline_for(options)) pipeline.push_back(std::move(step));
  return pipeline;
}

std::string text_of_graph(const Graph& graph, TensorTable& tensors) {
  PrintOptions options;
  options.tensors = &tensors;
  return print(graph, options);
}

/// The first line that differs, as it is in both texts.
std::string first_difference(const std::string& before, const std::string& after) {
  std::istringstream a(before), b(after);
  std::string left, right;
  do {
    if (!std::getline(a, left)) left = "(the end)";
    if (!std::getline(b, right)) right = "(the end)";
  } while (left == right);
  return "\n" + left + "\nbecomes\n" + right;
}

/// A state's value as it is known outside the graph.
Tensor without_layout(const Tensor& t, const std::vector<int64_t>& layout) {
  if (layout.empty()) return t;
  std::vector<int64_t> perm(layout.size());
  for (size_t i = 0; i < layout.size(); ++i)
    perm[static_cast<size_t>(layout[i])] = static_cast<int64_t>(i);
  Graph graph;
  Builder b(graph);
  Value* x = graph.add_input("x", {t.dtype(), Shape(t.dims().begin(), t.dims().end())});
  graph.add_output("y", b.transpose(x, perm));
  return evaluate(graph, {t})[0];
}

/// One graph, and what it gives before any pass.
class Switches {
 public:
  Switches(const Graph& graph, std::vector<Tensor> inputs, double tolerance)
      : graph_(graph), inputs_(std::move(inputs)), tolerance_(tolerance) {
    for (size_t i = 0; i < inputs_.size(); ++i)
      for (size_t k = 0; k < inputs_[i].dims().size(); ++k)
        if (const auto name = graph.inputs()[i]->shape()[k].symbol_name())
          symbols_.emplace(*name, inputs_[i].dims()[k]);
    want_ = results(graph);
  }

  /// "" or what is wrong. Adds the passes that do something to `seen`.
  std::string problem(std::set<std::string>& seen) const {
    const std::unique_ptr<Graph> graph = graph_.clone();
    std::set<std::string> active;
    PipelineOptions options;
    options.verify = true;
    for (const PassTiming& t : run_pipeline(*graph, whole_pipeline(), options))
      if (t.changed) active.emplace(t.pass);
    seen.insert(active.begin(), active.end());
    if (std::string p = compare(*graph); !p.empty()) return p;
    if (std::string p = second_run(*graph); !p.empty()) return p;
    for (const std::string& pass : active) {
      const std::unique_ptr<Graph> copy = graph_.clone();
      PipelineOptions without = options;
      without.disabled = {pass};
      try {
        run_pipeline(*copy, whole_pipeline(), without);
        if (std::string p = compare(*copy); !p.empty()) return "without " + pass + ": " + p;
      } catch (const std::exception& e) {
        return "without " + pass + ": " + e.what();
      }
    }
    return "";
  }

 private:
  std::vector<Tensor> results(const Graph& graph) const {
    std::vector<Tensor> inputs = inputs_;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (const State* s = graph.state_of(graph.inputs()[i].get())) inputs[i] = s->initial;
    std::vector<Tensor> values = evaluate(graph, inputs, symbols_);
    for (const State& s : graph.states()) {
      Tensor& next = values[static_cast<size_t>(s.next)];
      next = without_layout(next, s.layout);
    }
    return values;
  }

  std::string compare(const Graph& graph) const {
    const std::vector<Tensor> got = results(graph);
    for (size_t i = 0; i < want_.size(); ++i) {
      const DType t = want_[i].dtype();
      const double step = t == DType::bf16 ? 1.0 / 128 : t == DType::f16 ? 1.0 / 512 : tolerance_;
      const std::string d = difference(got[i], want_[i], step);
      if (!d.empty()) return "output '" + graph.output_name(i) + "', " + d;
    }
    return "";
  }

  static std::string second_run(Graph& graph) {
    TensorTable first, second;
    const std::string once = text_of_graph(graph, first);
    TensorTable again;
    if (const std::string back = text_of_graph(*parse_graph(once, first), again); back != once)
      return "parsed and printed again" + first_difference(once, back);
    std::string changed;
    for (const PassTiming& t : run_pipeline(graph, whole_pipeline()))
      if (t.changed) changed += " " + std::string(t.pass);
    const std::string twice = text_of_graph(graph, second);
    if (once != twice)
      return "a second run changes the graph, by" + changed + first_difference(once, twice);
    if (!changed.empty()) return "a second run changes and undoes something, by" + changed;
    for (const auto& [name, t] : first)
      if (std::memcmp(t.data(), second.at(name).data(), t.bytes()) != 0)
        return "a second run changes constant " + name;
    return "";
  }

  const Graph& graph_;
  std::vector<Tensor> inputs_;
  double tolerance_;
  Symbols symbols_;
  std::vector<Tensor> want_;
};

/// Extents of an example: as small as the network takes without losing a layer's work.
std::vector<int64_t> small_input(std::string_view name) {
  if (name.starts_with("alexnet")) return {3, 67, 67};
  if (name == "inception-v3") return {3, 91, 91};
  if (name == "googlenet" || name == "inception-v2") return {3, 64, 64};
  if (name.starts_with("resnet") || name.starts_with("vgg")) return {3, 32, 32};
  return {};
}

// The rounding that the default mode allows: 1e-4 of the scale of an output.
constexpr double kTolerance = 1e-4;

class ZooSwitches : public testing::TestWithParam<size_t> {};

TEST_P(ZooSwitches, AnyPassMayBeLeftOut) {
  const std::string_view name = zoo()[GetParam()].name;
  const auto graph = build_zoo_network(name, {.input = small_input(name), .classes = 10})->take();
  std::set<std::string> seen;
  const std::vector<Tensor> inputs = random_inputs(*graph, {{"N", 2}});
  EXPECT_EQ(Switches(*graph, inputs, kTolerance).problem(seen), "") << name;
  EXPECT_GT(seen.size(), 3u);
}

std::string zoo_name(const testing::TestParamInfo<size_t>& info) {
  std::string name(zoo()[info.param].name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Networks, ZooSwitches, testing::Range(size_t{0}, zoo().size()), zoo_name);

class TrainingSwitches : public testing::TestWithParam<const char*> {};

TEST_P(TrainingSwitches, AnyPassMayBeLeftOut) {
  const std::string name = GetParam();
  auto model = build_zoo_network(name, {.input = small_input(name), .classes = 3})->take();
  const TrainingGraph t =
      make_training_graph(std::move(model), {.optimizer = Sgd{.momentum = 0.9}});
  std::set<std::string> seen;
  // Normalised over two examples, activations are little more than their signs, and gradients of
  // what stands before depend on the last bit of all.
  const std::vector<Tensor> inputs = random_inputs(*t.graph, {{"N", 8}});
  EXPECT_EQ(Switches(*t.graph, inputs, kTolerance).problem(seen), "");
  EXPECT_TRUE(seen.contains("layout-states") || name == "mlp");
}

INSTANTIATE_TEST_SUITE_P(Networks, TrainingSwitches, testing::Values("mlp", "lenet5", "resnet18"),
                         [](const auto& tested) { return std::string(tested.param); });

/// The cases of a kind in parts, so that each is a test of some seconds.
struct SuitePart {
  const char* kind;
  size_t part = 0, parts = 1;
};

class SuiteSwitches : public testing::TestWithParam<SuitePart> {};

TEST_P(SuiteSwitches, AnyPassMayBeLeftOut) {
  const auto [kind, part, parts] = GetParam();
  const std::vector<fs::path> folders = suite_cases(kind);
  if (folders.empty()) GTEST_SKIP() << "run `make suite` first";
  std::set<std::string> seen;
  size_t checked = 0;
  for (size_t i = part; i < folders.size(); i += parts) {
    const SuiteCase c = load_case(folders[i]);
    if (c.graph == nullptr) continue;
    std::string problem;
    try {
      // Random numbers are drawn by node: leaving out a pass draws others.
      if (is_random(*c.graph)) continue;
      problem = Switches(*c.graph, c.inputs, 1e-3).problem(seen);
    } catch (const std::exception& e) {
      problem = e.what();
    }
    EXPECT_EQ(problem, "") << folders[i].filename();
    ++checked;
  }
  EXPECT_GT(checked, 0u);
  EXPECT_GE(seen.size(), 8u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SuiteSwitches,
                         testing::Values(SuitePart{"node", 0, 4}, SuitePart{"node", 1, 4},
                                         SuitePart{"node", 2, 4}, SuitePart{"node", 3, 4},
                                         SuitePart{"pytorch-operator"},
                                         SuitePart{"pytorch-converted"}),
                         [](const auto& tested) {
                           std::string name = tested.param.kind + std::to_string(tested.param.part);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace tintype::test
