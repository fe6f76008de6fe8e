// Schemes by name, and weights of whole models drawn anew.
#include "frontend/graph/recurrent.h"
#include "frontend/train/initialization.h"
#include "frontend/train/parameters.h"
#include "frontend/zoo/zoo.h"
#include "ir/diagnostic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

namespace tintype::test {
namespace {

using testing::HasSubstr;

double mean_square(const Tensor& t) {
  double sum = 0;
  for (const float v : t.values<float>()) sum += static_cast<double>(v) * static_cast<double>(v);
  return sum / static_cast<double>(t.size());
}

/// One weight of each kind, large enough for its variance to be seen.
std::unique_ptr<Graph> make_model() {
  GraphBuilder g("kinds");
  Variable x = g.input("x", f32("N", 24, 16, 16));
  x = x.conv2d({.name = "conv", .filters = 60, .kernel = 3});
  x = x.conv_transpose2d({.name = "back", .filters = 40, .kernel = 3}).relu();
  x = x.reshape({0, 40, -1}).transpose({0, 2, 1});
  x = x.lstm({.name = "lstm", .units = 50, .bidirectional = true}).y;
  x = last_step(x).matmul(g.parameter("product.weight", {100, 70}, init::ones()));
  g.output("y", x.linear({.name = "fc", .units = 90, .bias_init = init::constant(7)}));
  return g.take();
}

TEST(Initialization, CountsTheTermsOfEachKindOfWeight) {
  const auto graph = make_model();
  initialize_weights(*graph, parse_initializer("lecun_normal,gain=2"), 3);
  const auto w = weights_of(*graph);
  const std::map<std::string, double> fan_in = {
      {"conv.weight", 24 * 9},   {"back.weight", 60 * 9}, {"lstm.weight_ih_l0", 40},
      {"lstm.weight_hh_l0", 50}, {"product.weight", 100}, {"fc.weight", 70}};
  for (const auto& [name, fan] : fan_in)
    EXPECT_NEAR(mean_square(w.at(name)) * fan / 4, 1, 0.06) << name;
  // What is no weight stays.
  EXPECT_EQ(w.at("fc.bias").values<float>()[3], 7);
  EXPECT_LE(mean_square(w.at("lstm.bias_l0")), 1.0 / 50);
  initialize_weights(*graph, parse_initializer("xavier_uniform"), 3);
  EXPECT_NEAR(mean_square(weights_of(*graph).at("fc.weight")) * (70 + 90) / 2, 1, 0.06);
  EXPECT_NEAR(mean_square(weights_of(*graph).at("conv.weight")) * 9 * (24 + 60) / 2, 1, 0.06);
}

TEST(Initialization, IsAFunctionOfTheSeed) {
  const auto draw = [](uint64_t seed) {
    const auto graph = build_zoo_network("lenet5", {.seed = 1})->take();
    initialize_weights(*graph, parse_initializer("he_normal"), seed);
    return weights_of(*graph).at("c3.weight").values<float>()[11];
  };
  EXPECT_EQ(draw(5), draw(5));
  EXPECT_NE(draw(5), draw(6));
}

TEST(Initialization, EverySchemeHasItsNameAndItsDefaults) {
  const auto first = [](const char* text) {
    return initialize(parse_initializer(text), {64, 64}, 64, 64, 1, "w").values<float>()[0];
  };
  EXPECT_EQ(first("zeros"), 0);
  EXPECT_EQ(first("ones"), 1);
  EXPECT_EQ(first("constant,value=-2"), -2);
  const auto variance = [](const char* text) {
    return mean_square(initialize(parse_initializer(text), {200, 300}, 300, 200, 1, "w"));
  };
  EXPECT_NEAR(variance("uniform"), 1.0 / 3, 0.01);  // over [0, 1)
  EXPECT_NEAR(variance("uniform,low=-1"), 1.0 / 3, 0.01);
  EXPECT_NEAR(variance("normal"), 1, 0.02);
  EXPECT_NEAR(variance("normal,mean=3,std=0.1"), 9.01, 0.02);
  for (const char* name : {"xavier_uniform", "xavier_normal"})
    EXPECT_NEAR(variance(name) * 250, 1, 0.03) << name;
  for (const char* name : {"he_uniform", "he_normal"})
    EXPECT_NEAR(variance(name) * 150, 1, 0.03) << name;
  for (const char* name : {"lecun_uniform", "lecun_normal"})
    EXPECT_NEAR(variance(name) * 300, 1, 0.03) << name;
  EXPECT_NEAR(variance("orthogonal,gain=3") * 300 / 9, 1, 1e-3);
}

TEST(Initialization, MistakesAreNamed) {
  const auto message = [](const char* text) -> std::string {
    try {
      parse_initializer(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(message("he_norm"),
              HasSubstr("no initialisation 'he_norm' (did you mean 'he_normal'?)"));
  EXPECT_THAT(message("normal,deviation=1"), HasSubstr("'normal' has no option 'deviation'"));
  EXPECT_THAT(message("constant,value=x"), HasSubstr("value expects a number, got 'x'"));
}

}  // namespace
}  // namespace tintype::test
