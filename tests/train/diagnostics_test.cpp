// Networks that are sick on purpose: training says what is wrong with each, and nothing of a
// healthy one.
#include "frontend/graph/graph_builder.h"
#include "tests/train/networks.h"
#include "tools/driver/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::UnorderedElementsAre;

/// The history of one epoch on 24 examples of 20 inputs and 5 classes.
HistoryRow train(std::unique_ptr<Graph> model, const Optimizer& optimizer = Sgd{.lr = 1e-3}) {
  TrainerOptions options;
  options.training.optimizer = optimizer;
  options.diagnostics_every = 1;
  Trainer trainer(std::move(model), options);
  const auto data = batches_of(make_examples("mlp", 24), {.batch = 8});
  return trainer.fit(*data, nullptr, {.epochs = 1})[0];
}

Variable input(GraphBuilder& g) { return g.input("x", f32("N", 20)); }

std::unique_ptr<Graph> finish(GraphBuilder& g, const Variable& x) {
  g.output("y", x.linear({.name = "head", .units = 5}));
  return g.take();
}

TEST(Diagnostics, FindNothingWrongWithAHealthyNetwork) {
  EXPECT_THAT(train(make_network("mlp")).warnings, IsEmpty());
}

TEST(Diagnostics, WarnOfDeadUnits) {
  GraphBuilder g("dead");
  auto x = input(g).linear({.name = "fc", .units = 8, .bias_init = init::constant(-100)});
  EXPECT_THAT(train(finish(g, x.relu("gate"))).warnings,
              Contains(HasSubstr("100 % of the units of gate are dead")));
}

TEST(Diagnostics, WarnOfSaturatedUnits) {
  for (const bool sigmoid : {true, false}) {
    GraphBuilder g("saturated");
    auto x = input(g).linear({.name = "fc", .units = 8, .weight_init = init::normal(50)});
    x = sigmoid ? x.sigmoid("gate") : x.tanh("gate");
    EXPECT_THAT(train(finish(g, x)).warnings,
                Contains(testing::MatchesRegex("[0-9]+ % of the outputs of gate are saturated.*")));
  }
}

TEST(Diagnostics, WarnOfUnitsThatStayIdentical) {
  GraphBuilder g("equal");
  auto x = input(g).linear({.name = "equal", .units = 6, .weight_init = init::constant(0.1)});
  g.output("y", x.linear({.name = "head", .units = 5, .weight_init = init::constant(0.1)}));
  EXPECT_THAT(train(g.take()).warnings,
              Contains(HasSubstr("100 % of the units of equal.weight are identical")));
}

TEST(Diagnostics, WarnOfLargeUpdates) {
  EXPECT_THAT(train(make_network("mlp"), Adam{.lr = 0.1}).warnings,
              Contains(testing::MatchesRegex("one step changes fc1.weight by [0-9]+ % of its norm; "
                                             "a lower learning rate helps most often")));
}

TEST(Diagnostics, WarnOfExplodingGradients) {
  GraphBuilder g("exploding");
  auto x = input(g);
  for (int i = 0; i < 6; ++i) x = x.linear({.units = 20, .weight_init = init::normal(3)});
  EXPECT_THAT(train(finish(g, x), Sgd{.lr = 1e-12}).warnings,
              Contains(testing::MatchesRegex("the gradient of fc1.weight has norm .*explodes.*")));
}

TEST(Diagnostics, WarnOfGradientsThatVanishOnTheWayBack) {
  GraphBuilder g("vanishing");
  auto x = input(g);
  for (int i = 0; i < 12; ++i) x = x.linear({.units = 20}).sigmoid();
  EXPECT_THAT(train(finish(g, x)).warnings,
              Contains(HasSubstr("gradients vanish on the way back: that of fc1.weight")));
}

TEST(Diagnostics, WarnWhenAllGradientsVanish) {
  GraphBuilder g("lost");
  auto x = input(g).linear({.name = "fc", .units = 8, .bias_init = init::constant(-100)}).relu();
  g.output("y",
           x.linear({.name = "head", .units = 5})
               .relu()
               .linear({.name = "last", .units = 5, .bias = false, .weight_init = init::zeros()}));
  EXPECT_THAT(train(g.take()).warnings, Contains(HasSubstr("all gradients vanish")));
}

TEST(Diagnostics, StandInTheHistoryByLayer) {
  const HistoryRow row = train(make_network("mlp"));
  EXPECT_THAT(row.diagnostics,
              UnorderedElementsAre(Key("activation_rms"), Key("gradient_norm"), Key("update_ratio"),
                                   Key("saturated"), Key("dead")));
  EXPECT_THAT(row.diagnostics.at("update_ratio"),
              UnorderedElementsAre(Key("fc1.weight"), Key("fc2.weight"), Key("fc3.weight")));
  EXPECT_THAT(row.diagnostics.at("gradient_norm"), Contains(Key("fc1.bias")));
  EXPECT_THAT(row.diagnostics.at("activation_rms"), Contains(Key("fc1")));
  for (const auto& [kind, values] : row.diagnostics)
    for (const auto& [name, value] : values) {
      EXPECT_GE(value, 0) << kind << " of " << name;
      EXPECT_LT(value, 100) << kind << " of " << name;
    }
  EXPECT_THAT(history_json({row}), HasSubstr("\"activation_rms\""));
  EXPECT_THAT(history_json({HistoryRow{}}), Not(HasSubstr("diagnostics")));
}

}  // namespace
}  // namespace tintype::test
