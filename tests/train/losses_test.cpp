// Losses against the values that PyTorch gives, and what they refuse.
#include "frontend/train/losses.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"
#include "passes/autodiff.h"
#include "tests/support/evaluate.h"
#include "tests/train/fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {
namespace {

struct Case {
  explicit Case(const nlohmann::json& j)
      : dims(j["dims"].get<std::vector<int64_t>>()), x(floats(j["x"], dims)) {
    const auto target_dims = j["t_dims"].get<std::vector<int64_t>>();
    t = j["labels"].get<bool>()
            ? Tensor::from<int64_t>(target_dims, j["t"].get<std::vector<int64_t>>())
            : floats(j["t"], target_dims);
    reduction = j["reduction"] == "sum" ? LossReduction::sum : LossReduction::mean;
  }

  /// A graph with inputs x and t whose first axis is symbolic; returns the prediction.
  Value* build(Graph& graph, const Loss& loss) const {
    Shape shape(dims.begin(), dims.end());
    if (shape.size() > 1) shape[0] = Dim::symbol("N");
    Value* prediction = graph.add_input("x", {DType::f32, shape});
    Value* target = graph.add_input("t", target_type(loss, prediction->type()));
    Builder b(graph);
    graph.add_output("loss", add_loss(b, loss, prediction, target, reduction));
    verify(graph);
    return prediction;
  }

  std::vector<int64_t> dims;
  Tensor x, t;
  LossReduction reduction;
};

TEST(Losses, HaveTheValuesOfPyTorch) {
  int count = 0;
  for (const auto& j : fixture("losses")) {
    const Case c(j);
    Graph graph;
    c.build(graph, parse_loss(j["spec"].get<std::string>()));
    const Tensor got = evaluate(graph, {c.x, c.t})[0];
    EXPECT_EQ(difference(got, floats(nlohmann::json::array({j["value"]}), {}), 2e-6), "")
        << j["spec"] << " " << j["reduction"] << " x " << c.x.type_string();
    ++count;
  }
  EXPECT_GT(count, 50);
}

TEST(Losses, HaveTheGradientsOfPyTorch) {
  for (const auto& j : fixture("losses")) {
    const Case c(j);
    Graph graph;
    Value* x = c.build(graph, parse_loss(j["spec"].get<std::string>()));
    graph.add_output("gradient", gradients(graph, graph.output(0), std::vector<Value*>{x})[0]);
    const Tensor got = evaluate(graph, {c.x, c.t})[1];
    EXPECT_EQ(difference(got, floats(j["gradient"], c.dims), 2e-6), "")
        << j["spec"] << " " << j["reduction"] << " x " << c.x.type_string();
  }
}

TEST(Losses, TextReadsBack) {
  for (const char* text : {"cross_entropy,label_smoothing=0.1,ignore_index=-100,probabilities=0",
                           "huber,delta=0.5", "multi_margin,p=2,margin=1", "mse"})
    EXPECT_EQ(text_of(parse_loss(text)), text);
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Losses, MistakesNameWhatWasMeant) {
  const auto parse = [](const char* text) { return message_of([=] { parse_loss(text); }); };
  EXPECT_THAT(parse("crossentropy"), testing::HasSubstr("did you mean 'cross_entropy'?"));
  EXPECT_THAT(parse("huber,detla=1"), testing::HasSubstr("did you mean 'delta'?"));
  EXPECT_THAT(parse("huber,delta=x"), testing::HasSubstr("delta expects a number, got 'x'"));
  EXPECT_THAT(parse("huber,delta"), testing::HasSubstr("expected KEY=VALUE, got 'delta'"));
  EXPECT_THAT(parse("huber,delta=1,delta=2"), testing::HasSubstr("'delta' is given twice"));
  EXPECT_THAT(parse("cross_entropy,label_smoothing=1.5"), testing::HasSubstr("out of range"));
  EXPECT_THAT(parse(""), testing::HasSubstr("expected NAME"));
}

TEST(Losses, RefuseTargetsOfAnotherShape) {
  Graph graph;
  Builder b(graph);
  Value* x = graph.add_input("x", {DType::f32, {Dim::symbol("N"), Dim(10)}});
  Value* t = graph.add_input("t", {DType::f32, {Dim::symbol("N"), Dim(10)}});
  EXPECT_EQ(
      message_of([&] { add_loss(b, CrossEntropy{}, x, t); }),
      "loss 'cross_entropy,label_smoothing=0,probabilities=0': for a prediction f32[N,10] the "
      "target is i64[N], got f32[N,10]");
}

}  // namespace
}  // namespace tintype::test
