// Whole training runs on compiled programs: against PyTorch, and against themselves.
#include "frontend/graph/graph_builder.h"
#include "frontend/train/parameters.h"
#include "ir/diagnostic.h"
#include "tests/support/evaluate.h"
#include "tests/train/fixture.h"
#include "tests/train/networks.h"
#include "tools/driver/trainer.h"

#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

namespace tintype::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kExamples = 24;
constexpr int64_t kBatch = 8;

std::unique_ptr<BatchSource> data_of(const std::string& name, int64_t count = kExamples,
                                     int64_t batch = kBatch, bool shuffle = false) {
  return batches_of(make_examples(name, count), {.batch = batch, .shuffle = shuffle});
}

/// Losses of the first steps; the scores of a step are sums over its epoch so far.
std::vector<double> losses_of(Trainer& trainer, BatchSource& data, size_t steps) {
  std::vector<double> losses;
  double before = 0;
  trainer.fit(data, nullptr, {.epochs = 1000000, .on_step = [&](const StepReport& r) {
                                const double sum =
                                    r.scores.at("loss") * static_cast<double>(r.examples);
                                if (r.batch == 0) before = 0;
                                losses.push_back((sum - before) / static_cast<double>(kBatch));
                                before = sum;
                                return losses.size() < steps;
                              }});
  return losses;
}

void expect_losses(const std::vector<double>& got, const nlohmann::json& want,
                   const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i].get<double>(),
                1e-4 * std::max(std::abs(want[i].get<double>()), 1e-2))
        << what << ", step " << i + 1;
}

bool same_bits(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, t] : a) {
    const auto other = b.find(name);
    if (other == b.end() || other->second.bytes() != t.bytes() ||
        std::memcmp(t.data(), other->second.data(), t.bytes()) != 0)
      return false;
  }
  return true;
}

class LossCurves : public testing::TestWithParam<int> {};

TEST_P(LossCurves, FollowPyTorch) {
  const nlohmann::json j = fixture("training")["losses"][static_cast<size_t>(GetParam())];
  const auto name = j["network"].get<std::string>();
  const Optimizer optimizer = parse_optimizer(j["optimizer"].get<std::string>());
  Trainer trainer(make_network(name), {.training = {.optimizer = optimizer}});
  const auto data = data_of(name);
  expect_losses(losses_of(trainer, *data, j["losses"].size()), j["losses"],
                j["optimizer"].get<std::string>());
}
INSTANTIATE_TEST_SUITE_P(Networks, LossCurves, testing::Range(0, 8));

class ResNetCurves : public testing::TestWithParam<int> {};

TEST_P(ResNetCurves, FollowPyTorch) {
  const nlohmann::json all = fixture("resnet18");
  ASSERT_EQ(all["losses"].size(), 2u);
  const nlohmann::json& j = all["losses"][static_cast<size_t>(GetParam())];
  ASSERT_EQ(j["losses"].size(), 100u);
  const Optimizer optimizer = parse_optimizer(j["optimizer"].get<std::string>());
  TrainerOptions options = {.training = {.optimizer = optimizer}};
  options.compile.batch = kBatch;
  Trainer trainer(make_network("resnet18"), options);
  const auto data = data_of("resnet18");
  expect_losses(losses_of(trainer, *data, j["losses"].size()), j["losses"],
                j["optimizer"].get<std::string>());
}
INSTANTIATE_TEST_SUITE_P(Optimizers, ResNetCurves, testing::Range(0, 2));

// Only extents, such as the divisor of a mean, are left to host ops.
TEST(Trainer, StepsConsistOfKernels) {
  for (const char* name : {"mlp", "lenet", "normed"}) {
    const CompiledModel m = compile_graph(
        make_training_graph(make_network(name), {.optimizer = Sgd{.momentum = 0.9}}).graph);
    for (const Step& s : m.model.program().steps)
      EXPECT_TRUE(s.kind != Step::Kind::host || s.host_op == "dims")
          << name << ": " << s.host_op << " from " << s.origin;
  }
}

TEST(Trainer, UpdatesRunningStatisticsAsPyTorch) {
  const nlohmann::json j = fixture("training");
  Trainer trainer(make_network("normed"), {.training = {.optimizer = Sgd{.lr = 0.05}}});
  const auto data = data_of("normed");
  losses_of(trainer, *data, 5);
  EXPECT_EQ(difference(trainer.states().get("bn1.running_mean").value(),
                       floats(j["running_mean"], {4}), 1e-5),
            "");
  EXPECT_EQ(difference(trainer.states().get("bn1.running_var").value(),
                       floats(j["running_var"], {4}), 1e-5),
            "");
}

TEST(Trainer, ClipsGradientsAsPyTorch) {
  const nlohmann::json all = fixture("training");
  ASSERT_EQ(all["clipped"].size(), 3u);
  for (const auto& j : all["clipped"]) {
    const auto text = j["clip"].get<std::string>();
    const double limit = std::stod(text.substr(text.find('=') + 1));
    Clipping clipping;
    if (text.starts_with("value")) clipping.value = limit;
    else if (text.starts_with("norm")) clipping.norm = limit;
    else clipping.global_norm = limit;
    Trainer trainer(make_network("mlp"),
                    {.training = {.optimizer = Sgd{.lr = 0.5}, .clipping = clipping}});
    const auto data = data_of("mlp");
    expect_losses(losses_of(trainer, *data, j["losses"].size()), j["losses"], text);
  }
}

TEST(Trainer, GroupsHaveTheirOwnRateAndDecay) {
  const nlohmann::json want = fixture("training")["groups"];
  TrainingOptions options = {.optimizer = Sgd{.lr = 0.2, .weight_decay = 0.1}};
  options.groups = {{.pattern = "bias$", .rate_scale = 0.5, .weight_decay = 0.0}};
  Trainer trainer(make_network("mlp"), {.training = options});
  const auto data = data_of("mlp");
  expect_losses(losses_of(trainer, *data, want.size()), want, "groups");
}

TEST(Trainer, ThreadsDoNotChangeABit) {
  std::vector<std::map<std::string, Tensor>> ends;
  for (const int threads : {1, 2, 4}) {
    Trainer trainer(make_network("lenet"), {.threads = threads});
    const auto data = data_of("lenet", 20, 8, true);
    trainer.fit(*data, nullptr, {.epochs = 3});
    ends.push_back(trainer.states().snapshot().value());
  }
  EXPECT_TRUE(same_bits(ends[0], ends[1]));
  EXPECT_TRUE(same_bits(ends[0], ends[2]));
}

/// A model with all that a snapshot must hold: dropout, statistics, averages, best weights, a
/// plateau.
std::unique_ptr<Graph> busy_model() {
  GraphBuilder g("busy");
  auto x = g.input("x", f32("N", 20));
  x = x.linear({.units = 16}).batch_norm().relu().dropout(0.3).linear({.units = 5});
  g.output("y", x);
  return g.take();
}

TrainerOptions busy_options() {
  return {.training = {.optimizer = Adam{.lr = 0.01}},
          .schedule = Schedule::parse("warmup,length=1+plateau,patience=0,threshold=0.5"),
          .averaging = {.ema_decay = 0.9},
          .diagnostics_every = 2};
}

TEST(Trainer, ResumedRunsEqualUninterruptedOnes) {
  const auto validation = data_of("mlp", 11, 4);
  FitOptions fit = {.epochs = 6, .early_stopping = EarlyStopping{.metric = "accuracy"}};
  Trainer whole(busy_model(), busy_options());
  const auto data = data_of("mlp", 20, 8, true);
  const auto history = whole.fit(*data, validation.get(), fit);
  for (const int64_t stop : {1, 3, 7, 12}) {
    Trainer first(busy_model(), busy_options());
    const auto data1 = data_of("mlp", 20, 8, true);
    FitOptions partial = fit;
    int64_t steps = 0;
    partial.on_step = [&](const StepReport&) { return ++steps < stop; };
    first.fit(*data1, validation.get(), partial);
    Trainer second(busy_model(), busy_options());
    second.restore(first.snapshot());
    const auto data2 = data_of("mlp", 20, 8, true);
    const auto resumed = second.fit(*data2, validation.get(), fit);
    EXPECT_TRUE(same_bits(whole.snapshot().tensors, second.snapshot().tensors)) << stop;
    ASSERT_EQ(resumed.size(), history.size());
    for (size_t i = 0; i < history.size(); ++i) {
      EXPECT_EQ(resumed[i].training, history[i].training) << stop << ", epoch " << i;
      EXPECT_EQ(resumed[i].validation, history[i].validation) << stop << ", epoch " << i;
      EXPECT_EQ(resumed[i].learning_rate, history[i].learning_rate) << stop << ", epoch " << i;
    }
  }
}

TEST(Trainer, SeedsDecideDropout) {
  const auto train = [](uint64_t seed) {
    TrainerOptions options = busy_options();
    options.training.seed = seed;
    Trainer trainer(busy_model(), options);
    const auto data = data_of("mlp");
    trainer.fit(*data, nullptr, {.epochs = 2});
    return trainer.states().get("fc1.weight").value();
  };
  const Tensor a = train(1);
  EXPECT_EQ(std::memcmp(a.data(), train(1).data(), a.bytes()), 0);
  EXPECT_NE(std::memcmp(a.data(), train(2).data(), a.bytes()), 0);
}

TEST(Trainer, FrozenParametersKeepTheirBits) {
  TrainingOptions options;
  options.freeze = "^conv1|^bn1";
  Trainer trainer(make_network("normed"), {.training = options});
  const auto data = data_of("normed");
  trainer.fit(*data, nullptr, {.epochs = 3});
  const auto before = make_network("normed");
  const auto after = trainer.trained();
  int same = 0;
  int changed = 0;
  for (auto i = before->nodes().begin(), k = after->nodes().begin(); i != before->nodes().end();
       ++i, ++k) {
    const Tensor* a = (*i)->is("constant") ? (*i)->result()->constant() : nullptr;
    if (a == nullptr || (*i)->result()->name().empty()) continue;
    const Tensor* b = (*k)->result()->constant();
    const bool equal = std::memcmp(a->data(), b->data(), a->bytes()) == 0;
    const std::string& name = (*i)->result()->name();
    EXPECT_EQ(equal, !name.starts_with("fc1")) << name;
    ++(equal ? same : changed);
  }
  EXPECT_EQ(same, 5);
  EXPECT_EQ(changed, 2);
}

// As the discriminator in a generator's program.
TEST(Trainer, ParametersOfRateZeroChangeOnlyWhenTheyAreSet) {
  TrainingOptions options = {.optimizer = AdamW{.lr = 0.01}};
  options.groups = {{.pattern = "^fc2", .rate_scale = 0}};
  Trainer trainer(make_network("mlp"), {.training = options});
  const Tensor first = trainer.weights().at("fc2.weight");
  const Tensor other = Tensor::zeros(first.dtype(), first.dims());
  const auto data = data_of("mlp");
  trainer.fit(*data, nullptr, {.epochs = 2});
  const Tensor second = trainer.weights().at("fc2.weight");
  EXPECT_EQ(std::memcmp(first.data(), second.data(), first.bytes()), 0);
  trainer.set_weights({{"fc2.weight", other}});
  trainer.fit(*data, nullptr, {.epochs = 3});
  const Tensor third = trainer.weights().at("fc2.weight");
  EXPECT_EQ(std::memcmp(other.data(), third.data(), first.bytes()), 0);
}

TEST(Trainer, TrainedModelPredictsWhatTheTrainerDoes) {
  Trainer trainer(busy_model(), busy_options());
  const auto data = data_of("mlp", 20, 8, true);
  trainer.fit(*data, nullptr, {.epochs = 2});
  const Batch x = {{"x", uniform_tensor(9, {5, 20}, -1, 1)}};
  const Tensor expected = trainer.predict(x).at("y");
  const CompiledModel exported = compile_graph(trainer.trained());
  const Tensor got = exported.model.run(x).value()[0];
  EXPECT_EQ(difference(got, expected, 1e-5), "");
}

TEST(Trainer, EvaluationWeighsAPartialLastBatch) {
  Trainer trainer(make_network("mlp"), {});
  const Scores whole = trainer.evaluate(*data_of("mlp", 22, 22));
  const Scores parts = trainer.evaluate(*data_of("mlp", 22, 8));
  EXPECT_NEAR(whole.at("loss"), parts.at("loss"), 1e-6);
  EXPECT_DOUBLE_EQ(whole.at("accuracy"), parts.at("accuracy"));
  EXPECT_GT(whole.at("accuracy"), 0);
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Trainer, NamesTheNodeThatStopsBeingFinite) {
  GraphBuilder g("log");
  auto x = g.input("x", f32("N", 20)).linear({.name = "fc", .units = 5});
  const std::string layer = g.begin("root", "root");
  g.output("y", g.finish(layer, "sqrt", g.node(layer, "Sqrt", {x})));
  Trainer trainer(g.take(), {.training = {.losses = {{.loss = MeanSquaredError{}}}}});
  const auto before = trainer.states().snapshot().value();
  const auto data = batches_of(
      {{"x", uniform_tensor(3, {8, 20}, -1, 1)}, {"target", uniform_tensor(4, {8, 5}, 0, 1)}}, {});
  EXPECT_THAT(message_of([&] { trainer.fit(*data, nullptr, {}); }),
              testing::AllOf(HasSubstr("epoch 1, step 1: the loss is"), HasSubstr("that of root")));
  EXPECT_TRUE(same_bits(before, trainer.states().snapshot().value()));
}

TEST(Trainer, StopsEarlyAndKeepsTheBestWeights) {
  Trainer trainer(make_network("mlp"), {.training = {.optimizer = Sgd{.lr = 0.5}}});
  const auto data = data_of("mlp", 16, 8, true);
  const auto validation =
      data_of("mlp", 24, 24);  // the 8 examples that training does not see decide
  const auto history = trainer.fit(
      *data, validation.get(),
      {.epochs = 200, .early_stopping = EarlyStopping{.metric = "loss", .patience = 5}});
  ASSERT_LT(history.size(), 200u);
  double best = 1e30;
  for (const HistoryRow& e : history) best = std::min(best, e.validation.at("loss"));
  EXPECT_NEAR(trainer.evaluate(*validation).at("loss"), best, 1e-12);
  EXPECT_LT(best, history.back().validation.at("loss"));
}

TEST(Trainer, AveragesWeights) {
  const auto data = data_of("mlp", 24, 8, true);
  const auto weight = [](Trainer& t) { return t.states().get("fc2.weight").value(); };
  const Sgd sgd = {.lr = 0.3};
  for (const bool exponential : {true, false}) {
    const Averaging averaging =
        exponential ? Averaging{.ema_decay = 0.8} : Averaging{.swa_start = 1};
    Trainer trainer(make_network("mlp"), {.training = {.optimizer = sgd}, .averaging = averaging});
    std::vector<double> want;
    int count = 0;
    const auto take = [&](double keep) {
      const Tensor w = weight(trainer);
      want.resize(static_cast<size_t>(w.size()));
      for (size_t i = 0; i < want.size(); ++i)
        want[i] = keep * want[i] + (1 - keep) * static_cast<double>(w.values<float>()[i]);
      ++count;
    };
    FitOptions fit = {.epochs = 4};
    if (exponential)
      fit.on_step = [&](const StepReport&) { return take(count == 0 ? 0 : 0.8), true; };
    else
      fit.on_epoch = [&](const HistoryRow& e) {
        if (e.epoch >= 1) take(count / (count + 1.0));
        return true;
      };
    trainer.fit(*data, nullptr, fit);
    EXPECT_EQ(count, exponential ? 12 : 3);
    const Tensor average = trainer.states().get("average/fc2.weight").value();
    const std::vector<float> expected(want.begin(), want.end());
    EXPECT_EQ(difference(average, Tensor::from<float>(average.dims(), expected), 1e-6), "");
    EXPECT_NE(difference(average, weight(trainer), 1e-4), "");
    // The exported model has the averages.
    const auto trained = trainer.trained();
    for (const auto& n : trained->nodes()) {
      if (!n->is("constant") || n->result()->name() != "fc2.weight") continue;
      EXPECT_EQ(difference(*n->result()->constant(), average, 0), "");
    }
  }
}

// Averaged weights would normalise with the last step's statistics otherwise, which fit others.
TEST(Trainer, RunningStatisticsAreAveragedWithTheWeights) {
  TrainerOptions options = busy_options();
  options.averaging = {.swa_start = 1};
  Trainer trainer(busy_model(), options);
  const auto data = data_of("mlp", 24, 8, true);
  const std::string name = "bn1.running_mean";
  std::vector<double> sum(16);
  FitOptions fit = {.epochs = 4};
  fit.on_epoch = [&](const HistoryRow& e) {
    const Tensor now = trainer.states().get(name).value();
    for (size_t i = 0; e.epoch >= 1 && i < sum.size(); ++i)
      sum[i] += static_cast<double>(now.values<float>()[i]);
    return true;
  };
  trainer.fit(*data, nullptr, fit);
  std::vector<float> mean;
  for (const double s : sum) mean.push_back(static_cast<float>(s / 3));
  const Tensor want = Tensor::from<float>({16}, mean);
  EXPECT_EQ(difference(trainer.weights().at(name), want, 1e-6), "");
  EXPECT_NE(difference(trainer.states().get(name).value(), want, 1e-4), "");
}

// The gradient of l w^2 is 2 l w: the same as a weight decay of 2 l, on weights alone.
TEST(Trainer, SquaredPenaltyEqualsWeightDecayOfWeights) {
  const auto train = [](const TrainingOptions& options) {
    Trainer trainer(make_network("mlp"), {.training = options});
    const auto data = data_of("mlp");
    trainer.fit(*data, nullptr, {.epochs = 4});
    return trainer.states().snapshot().value();
  };
  const auto penalty = train({.optimizer = Sgd{.lr = 0.2}, .l2 = 0.05});
  const auto decay =
      train({.optimizer = Sgd{.lr = 0.2}, .groups = {{.pattern = "weight$", .weight_decay = 0.1}}});
  const auto neither = train({.optimizer = Sgd{.lr = 0.2}});
  for (const auto& [name, value] : penalty)
    EXPECT_EQ(difference(value, decay.at(name), 1e-5), "") << name;
  EXPECT_NE(difference(penalty.at("fc1.weight"), neither.at("fc1.weight"), 1e-3), "");
}

TEST(Trainer, KeepsUnitsWithinTheirMaximalNorm) {
  Trainer trainer(make_network("mlp"),
                  {.training = {.optimizer = Sgd{.lr = 0.5}, .max_norm = 0.4}});
  const auto data = data_of("mlp");
  trainer.fit(*data, nullptr, {.epochs = 2});
  const Tensor w = trainer.states().get("fc1.weight").value();
  for (size_t unit = 0; unit < 32; ++unit) {
    double squares = 0;
    for (size_t i = 0; i < 20; ++i)
      squares += std::pow(static_cast<double>(w.values<float>()[unit * 20 + i]), 2);
    EXPECT_LE(std::sqrt(squares), 0.4 + 1e-6);
  }
}

TEST(Trainer, AddsUpTheLossesOfSeveralOutputs) {
  const auto build = [] {
    GraphBuilder g("heads");
    auto x = g.input("x", f32("N", 20)).linear({.name = "trunk", .units = 8}).tanh();
    g.output("main", x.linear({.name = "main", .units = 5}));
    g.output("extra", x.linear({.name = "extra", .units = 5}));
    return g.take();
  };
  const auto loss_of = [&](std::vector<LossTerm> losses) {
    Trainer trainer(build(), {.training = {.losses = std::move(losses)}});
    return trainer.evaluate(*data_of("mlp")).at("loss");
  };
  const double main = loss_of({{.output = "main"}});
  const double extra = loss_of({{.output = "extra"}});
  EXPECT_NEAR(loss_of({{.output = "main"}, {.output = "extra", .weight = 0.3}}), main + 0.3 * extra,
              1e-6);
  // What only the other head uses is not trained.
  const TrainingGraph t = make_training_graph(build(), {.losses = {{.output = "extra"}}});
  for (const TrainedParameter& p : t.parameters)
    EXPECT_EQ(p.used, !p.name.starts_with("main")) << p.name;
}

// The program that diagnoses reads the output that the loss does not, in an order of axes of its
// own, and both share their states.
TEST(Trainer, ParametersOutsideTheLossStayAsTheyAre) {
  const auto build = [] {
    GraphBuilder g("heads");
    auto x = g.input("x", f32("N", 20)).linear({.name = "trunk", .units = 8}).tanh();
    g.output("main", x.linear({.name = "main", .units = 5}));
    g.output("extra", x.linear({.name = "extra", .units = 3}));
    return g.take();
  };
  const auto before = weights_of(*build());
  Trainer trainer(build(),
                  {.training = {.losses = {{.output = "main"}}}, .averaging = {.ema_decay = 0.5}});
  const auto data = data_of("mlp");
  trainer.fit(*data, data.get(), {.epochs = 2});
  const auto after = weights_of(*trainer.trained());
  for (const auto& [name, value] : before)
    EXPECT_EQ(difference(after.at(name), value, 0).empty(), name.starts_with("extra")) << name;
  const Tensor x = make_examples("mlp", 2).at("x");
  EXPECT_EQ(trainer.predict({{"x", x}}).at("extra").dims(), (std::vector<int64_t>{2, 3}));
  Trainer again(build(),
                {.training = {.losses = {{.output = "main"}}}, .averaging = {.ema_decay = 0.5}});
  again.restore(trainer.snapshot());
  EXPECT_TRUE(same_bits(again.weights(), trainer.weights()));
}

// A rectifier may hide a NaN from the loss, and not from the gradients.
TEST(Trainer, NaNInTheDataChangesNoWeight) {
  GraphBuilder g("hidden");
  g.output("y", g.input("x", f32("N", 20)).relu().linear({.units = 5}));
  Trainer trainer(g.take(), {.diagnostics_every = 0});
  const auto before = trainer.weights();
  auto examples = make_examples("mlp", 8);
  examples["x"].mutable_values<float>()[33] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(message_of([&] { trainer.fit(*batches_of(examples, {}), nullptr, {}); }),
              HasSubstr("epoch 1, step 1: input 'x' of this batch is not finite"));
  EXPECT_TRUE(same_bits(trainer.weights(), before));
}

// The root has a finite value at zero, and no finite slope.
TEST(Trainer, GradientsThatAreNotFiniteAreReported) {
  const auto message = [](const Clipping& clipping, bool unchanged) {
    GraphBuilder g("root");
    auto x = g.input("x", f32("N", 20)).linear({.name = "fc", .units = 4});
    g.output("y", g.node(g.begin("Sqrt", "root"), "Sqrt", {x}));
    Trainer trainer(g.take(), {.training = {.losses = {{.loss = MeanSquaredError{}}},
                                            .optimizer = Sgd{},
                                            .clipping = clipping},
                               .diagnostics_every = 0});
    const auto before = trainer.weights();
    const auto data = batches_of(
        {{"x", Tensor::zeros(DType::f32, {8, 20})}, {"target", Tensor::zeros(DType::f32, {8, 4})}},
        {.batch = 8});
    const std::string text = message_of([&] { trainer.fit(*data, nullptr, {.epochs = 2}); });
    EXPECT_EQ(same_bits(trainer.weights(), before), unchanged);
    return text;
  };
  EXPECT_THAT(message({.global_norm = 1}, true),
              HasSubstr("epoch 1, step 1: the norm of the gradients is"));
  EXPECT_THAT(message({}, false), HasSubstr("is not finite at its end"));
}

TEST(Trainer, MistakesAreExplained) {
  EXPECT_THROW(Trainer(nullptr, {}), Error);
  Trainer trainer(make_network("mlp"), {});
  auto examples = make_examples("mlp", 8);
  examples["target"].mutable_values<int64_t>()[3] = 5;
  EXPECT_THAT(message_of([&] { trainer.fit(*batches_of(examples, {}), nullptr, {}); }),
              HasSubstr("'target' has the label 5, but the model has 5 classes (0 to 4)"));
  examples = make_examples("mlp", 8);
  examples["x"] = make_examples("lenet", 8).at("x");
  EXPECT_THAT(message_of([&] { trainer.fit(*batches_of(examples, {}), nullptr, {}); }),
              HasSubstr("epoch 1, step 1"));
  EXPECT_THAT(message_of([&] {
                batches_of(
                    {{"x", Tensor::zeros(DType::f32, {3})}, {"y", Tensor::zeros(DType::f32, {4})}},
                    {});
              }),
              HasSubstr("'y' has 4 examples, 'x' has 3"));
  const auto empty = data_of("mlp", 0);
  EXPECT_THAT(message_of([&] { trainer.fit(*empty, nullptr, {}); }), HasSubstr("no examples"));
  EXPECT_THAT(message_of([&] { trainer.fit(*data_of("mlp"), empty.get(), {}); }),
              HasSubstr("the validation data has no examples"));
  EXPECT_TRUE(trainer.evaluate(*empty).empty());
  Trainer other(make_network("normed"), {});
  EXPECT_THAT(message_of([&] { other.restore(trainer.snapshot()); }), HasSubstr("of another run"));
}

}  // namespace
}  // namespace tintype::test
