// Averaged predictions against their definition, and scores against those of a Trainer.
#include "frontend/graph/graph_builder.h"
#include "ir/diagnostic.h"
#include "tests/support/evaluate.h"
#include "tests/train/networks.h"
#include "tools/driver/ensemble.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {
namespace {

using testing::HasSubstr;

TEST(AveragePredictions, AreMeansOfProbabilities) {
  const std::vector<Tensor> logits = {Tensor::from<float>({1, 3}, {1, 2, 300}),
                                      Tensor::from<float>({1, 3}, {5, 0, -1})};
  const Loss loss = CrossEntropy{};
  const Tensor mean = probabilities_of(average_predictions(logits, loss), loss);
  const Tensor second = probabilities_of(logits[1], loss);
  for (size_t c = 0; c < 3; ++c)
    EXPECT_NEAR(mean.values<float>()[c],
                ((c == 2 ? 1.0 : 0.0) + static_cast<double>(second.values<float>()[c])) / 2, 1e-6)
        << c;
  // Only a class that no model gives any probability has a score of -infinity.
  for (const float v : average_predictions(logits, loss).values<float>())
    EXPECT_TRUE(std::isfinite(v));
}

TEST(AveragePredictions, KeepTheFormOfTheLoss) {
  const std::vector<Tensor> odds = {Tensor::from<float>({2}, {0, 1000}),
                                    Tensor::from<float>({2}, {3, -2})};
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const Tensor p =
      probabilities_of(average_predictions(odds, BinaryCrossEntropy{}), BinaryCrossEntropy{});
  EXPECT_NEAR(p.values<float>()[0], (0.5 + sigmoid(3)) / 2, 1e-6);
  EXPECT_NEAR(p.values<float>()[1], (1 + sigmoid(-2)) / 2, 1e-6);
  const std::vector<Tensor> logs = {Tensor::from<float>({2}, {std::log(0.2f), std::log(0.8f)}),
                                    Tensor::from<float>({2}, {std::log(0.6f), std::log(0.4f)})};
  const Tensor q = average_predictions(logs, NegativeLogLikelihood{});
  EXPECT_NEAR(std::exp(q.values<float>()[0]), 0.4, 1e-6);
  EXPECT_NEAR(std::exp(q.values<float>()[1]), 0.6, 1e-6);
  const Tensor plain = average_predictions(odds, MeanSquaredError{});
  EXPECT_EQ(difference(plain, Tensor::from<float>({2}, {1.5f, 499}), 1e-6), "");
}

std::unique_ptr<BatchSource> examples(int64_t batch) {
  return batches_of(make_examples("mlp", 22), {.batch = batch});
}

TEST(Ensemble, OfOneModelHasTheScoresOfATrainer) {
  Trainer trainer(make_network("mlp"), {});
  std::vector<std::unique_ptr<Graph>> models;
  models.push_back(make_network("mlp"));
  Ensemble ensemble(std::move(models), {});
  const auto data = examples(8);
  BatchSource* source = data.get();
  const Evaluation e = ensemble.evaluate({&source, 1});
  const Scores want = trainer.evaluate(*examples(22));
  EXPECT_NEAR(e.together.at("loss"), want.at("loss"), 1e-6);
  EXPECT_EQ(e.together.at("accuracy"), want.at("accuracy"));
  EXPECT_EQ(e.members[0], e.together);
}

/// The network with other weights, and a Softmax at its end if asked for.
std::unique_ptr<Graph> variant(uint64_t seed, bool softmax) {
  GraphBuilder g("variant", {.seed = seed});
  const Variable x = g.input("x", f32("N", 20)).linear({.units = 12}).tanh().linear({.units = 5});
  g.output("y", softmax ? x.softmax() : x);
  return g.take();
}

TEST(Ensemble, AveragesModelsThatEndInSoftmaxWithThoseThatDoNot) {
  std::vector<std::unique_ptr<Graph>> models;
  for (const uint64_t seed : {1, 2, 3}) models.push_back(variant(seed, seed == 2));
  Ensemble ensemble(std::move(models), {});
  EXPECT_EQ(ensemble.size(), 3u);
  const auto data = examples(22);
  BatchSource* source = data.get();
  Tensor mean;
  const Evaluation e = ensemble.evaluate({&source, 1}, [&](const Tensor& p) { mean = p; });
  // The definition, from each model's own predictions.
  const auto batch = make_examples("mlp", 22);
  std::vector<double> expected(22 * 5);
  for (const uint64_t seed : {1, 2, 3}) {
    const CompiledModel m = compile_graph(variant(seed, true));
    const Tensor p = m.model.run(Batch{{"x", batch.at("x")}}).value()[0];
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] += static_cast<double>(p.values<float>()[i]) / 3;
  }
  double loss = 0;
  for (size_t row = 0; row < 22; ++row)
    loss -=
        std::log(
            expected[row * 5 + static_cast<size_t>(batch.at("target").values<int64_t>()[row])]) /
        22;
  const Tensor got = probabilities_of(mean, CrossEntropy{});
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got.values<float>()[i], expected[i], 1e-6);
  EXPECT_NEAR(e.together.at("loss"), loss, 1e-5);
  const std::vector<Batch> inputs = {{{"x", batch.at("x")}}};
  EXPECT_EQ(difference(ensemble.predict(inputs), mean, 0), "");
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Ensemble, MistakesAreExplained) {
  EXPECT_THAT(message_of([] { Ensemble({}, {}); }), HasSubstr("no model"));
  std::vector<std::unique_ptr<Graph>> models;
  models.push_back(make_network("mlp"));
  models.push_back(make_network("normed"));
  EXPECT_THAT(message_of([&] { Ensemble(std::move(models), {}); }),
              HasSubstr("the first predicts f32[N,5], 'normed' predicts f32[N,3]"));
  models.clear();
  models.push_back(make_network("mlp"));
  Ensemble one(std::move(models), {});
  auto wrong = make_examples("mlp", 8);
  wrong["target"].mutable_values<int64_t>()[3] = 5;
  const auto data = batches_of(wrong, {});
  BatchSource* source = data.get();
  EXPECT_THAT(message_of([&] { one.evaluate({&source, 1}); }), HasSubstr("has the label 5"));
  const auto none = batches_of(make_examples("mlp", 0), {});
  source = none.get();
  EXPECT_THAT(message_of([&] { one.evaluate({&source, 1}); }), HasSubstr("no examples"));
  EXPECT_THAT(message_of([&] { one.predict(std::vector<Batch>(1)); }),
              HasSubstr("nothing for input 'x'"));
}

}  // namespace
}  // namespace tintype::test
