// Optimizers step by step against PyTorch.
#include "frontend/train/optimizers.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"
#include "tests/support/evaluate.h"
#include "tests/train/fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {
namespace {

/// One update of a parameter f32[2,2] with the gradient as input.
std::unique_ptr<Graph> update_graph(const Optimizer& optimizer, const Tensor& start) {
  auto graph = std::make_unique<Graph>("update");
  Builder b(*graph);
  Value* gradient = graph->add_input("gradient", {DType::f32, {2, 2}});
  Value* rate = graph->add_input("rate", {DType::f32, {}});
  Value* done = graph->add_state("step", Tensor::scalar<int64_t>(0));
  Value* step = b.add(done, b.scalar(1, DType::i64));
  graph->set_next(done, step);
  Value* p = graph->add_state("p", start);
  const UpdateContext context = {b, rate, step};
  graph->set_next(p, add_update(context, optimizer, "p", p, gradient));
  verify(*graph);
  return graph;
}

/// Runs the graph with its states in place of the inputs that hold them.
class HostSession {
 public:
  explicit HostSession(const Graph& graph) : graph_(graph) {
    for (const State& s : graph.states()) values_[s.current->name()] = s.initial.clone();
  }
  void run(const std::map<std::string, Tensor>& inputs) {
    std::vector<Tensor> all;
    for (const auto& v : graph_.inputs())
      all.push_back(inputs.count(v->name()) != 0 ? inputs.at(v->name()) : values_.at(v->name()));
    const std::vector<Tensor> results = evaluate(graph_, all);
    for (const State& s : graph_.states())
      values_[s.current->name()] = results[static_cast<size_t>(s.next)];
  }
  const Tensor& state(const std::string& name) const { return values_.at(name); }

 private:
  const Graph& graph_;
  std::map<std::string, Tensor> values_;
};

TEST(Optimizers, FollowPyTorchStepByStep) {
  const nlohmann::json all = fixture("optimizers");
  for (const auto& j : all["cases"]) {
    const Optimizer optimizer = parse_optimizer(j["spec"].get<std::string>());
    const auto graph = update_graph(optimizer, floats(all["start"], {2, 2}));
    HostSession session(*graph);
    const Tensor rate = Tensor::scalar(static_cast<float>(learning_rate(optimizer)));
    for (size_t i = 0; i < j["steps"].size(); ++i) {
      session.run({{"gradient", floats(all["gradients"][i], {2, 2})}, {"rate", rate}});
      ASSERT_EQ(difference(session.state("p"), floats(j["steps"][i], {2, 2}), 3e-6), "")
          << j["spec"] << " step " << i + 1;
    }
    EXPECT_EQ(session.state("step").values<int64_t>()[0], 24);
  }
}

TEST(Optimizers, TakeEachStepsRateFromTheInput) {
  const auto graph = update_graph(Sgd{}, Tensor::zeros(DType::f32, {2, 2}));
  HostSession session(*graph);
  const Tensor ones = Tensor::from<float>({2, 2}, {1, 1, 1, 1});
  session.run({{"gradient", ones}, {"rate", Tensor::scalar(0.5f)}});
  session.run({{"gradient", ones}, {"rate", Tensor::scalar(0.25f)}});
  EXPECT_EQ(session.state("p").values<float>()[3], -0.75f);
}

TEST(Optimizers, MistakesAreExplained) {
  const auto message = [](const char* text) -> std::string {
    try {
      parse_optimizer(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(message("adma"), testing::HasSubstr("did you mean 'adam'?"));
  EXPECT_THAT(message("adam,momentum=0.9"), testing::HasSubstr("no option 'momentum'"));
  EXPECT_THAT(message("adam,beta1=1"), testing::HasSubstr("must be in [0, 1)"));
  EXPECT_THAT(message("sgd,nesterov=1"), testing::HasSubstr("nesterov needs a momentum"));
  EXPECT_THAT(message("sgd,lr=-1"), testing::HasSubstr("lr must not be negative"));
  EXPECT_EQ(text_of(parse_optimizer("rprop,lr=0.5")),
            "rprop,lr=0.5,eta_minus=0.5,eta_plus=1.2,step_min=1e-06,step_max=50");
}

}  // namespace
}  // namespace tintype::test
