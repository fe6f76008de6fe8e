// Recomputation: the same bits from less memory.
#include "frontend/graph/graph_builder.h"
#include "frontend/graph/recurrent.h"
#include "frontend/zoo/zoo.h"
#include "tests/train/networks.h"
#include "tools/driver/trainer.h"

#include <cstring>
#include <gtest/gtest.h>
#include <limits>

namespace tintype::test {
namespace {

/// Many layers of all kinds that keep something for the backward pass; dropout must draw the same
/// numbers again.
std::unique_ptr<Graph> deep_network() {
  GraphBuilder g("deep");
  auto x = g.input("x", f32("N", 4, 12, 12));
  for (int i = 0; i < 32; ++i) {
    const Variable y =
        x.conv2d({.filters = 4, .kernel = 3, .padding = 1, .bias = false}).batch_norm().relu();
    x = y.conv2d({.filters = 4, .kernel = 3, .padding = 1}).tanh().dropout(0.2).add(x);
  }
  x = x.avg_pool2d({.kernel = 2}).flatten();
  for (int i = 0; i < 4; ++i) x = x.linear({.units = 48}).sigmoid();
  g.output("y", x.linear({.units = 5}));
  return g.take();
}

struct Outcome {
  std::map<std::string, Tensor> states;
  std::vector<double> losses;
  CompileReport report;
  size_t step_bytes = 0;
};

constexpr int64_t kBatch = 16;

Outcome train(std::unique_ptr<Graph> model, const std::vector<int64_t>& dims,
              const std::optional<RecomputeOptions>& how, int threads = 0) {
  TrainerOptions options;
  options.training.optimizer = Sgd{.lr = 0.05, .momentum = 0.9};
  options.compile.batch = kBatch;
  options.compile.recompute = how;
  options.threads = threads;
  Trainer trainer(std::move(model), options);
  std::vector<int64_t> all = dims;
  all.insert(all.begin(), 2 * kBatch);
  Tensor labels = Tensor::empty(DType::i64, {2 * kBatch});
  for (int64_t i = 0; i < labels.size(); ++i)
    labels.mutable_values<int64_t>()[static_cast<size_t>(i)] = i % 5;
  const std::string input = trainer.model().inputs()[0]->name();
  const auto data =
      batches_of({{input, uniform_tensor(7, all, -1, 1)}, {"target", labels}}, {.batch = kBatch});
  Outcome run;
  trainer.fit(*data, nullptr, {.epochs = 2, .on_step = [&](const StepReport& r) {
                                 run.losses.push_back(r.scores.at("loss"));
                                 return true;
                               }});
  run.states = trainer.states().snapshot().value();
  run.report = trainer.compile_report();
  data->start(0, 0);
  run.step_bytes = trainer.step_bytes(*data->next());
  return run;
}

void expect_same_bits(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.losses, b.losses);
  ASSERT_EQ(a.states.size(), b.states.size());
  for (const auto& [name, t] : a.states)
    EXPECT_EQ(std::memcmp(t.data(), b.states.at(name).data(), t.bytes()), 0) << name;
}

TEST(Recompute, ADeepNetworkNeedsAFractionOfTheMemoryForTheSameBits) {
  const Outcome kept = train(deep_network(), {4, 12, 12}, std::nullopt);
  EXPECT_FALSE(kept.report.recompute);
  const Outcome again = train(deep_network(), {4, 12, 12}, RecomputeOptions{});
  ASSERT_TRUE(again.report.recompute);
  const RecomputeReport& r = *again.report.recompute;
  EXPECT_GT(r.steps, 20);
  EXPECT_LT(r.arena_after * 5, r.arena_before * 2);
  EXPECT_EQ(kept.step_bytes - again.step_bytes, r.arena_before - r.arena_after);
  expect_same_bits(kept, again);
  expect_same_bits(kept, train(deep_network(), {4, 12, 12}, RecomputeOptions{}, 1));
}

TEST(Recompute, AskedForLessItComputesLess) {
  const auto recomputed = [](int64_t bytes) {
    return *train(deep_network(), {4, 12, 12}, RecomputeOptions{.bytes = bytes}).report.recompute;
  };
  const RecomputeReport least = recomputed(0);
  const auto middle = static_cast<int64_t>((least.arena_before + least.arena_after) / 2);
  const RecomputeReport half = recomputed(middle);
  EXPECT_GT(half.steps, 0);
  EXPECT_GT(half.arena_after, least.arena_after);
  EXPECT_LE(half.arena_after, static_cast<size_t>(middle) * 21 / 20);
  const RecomputeReport none = recomputed(int64_t{1} << 40);
  EXPECT_EQ(none.steps, 0);
  EXPECT_EQ(none.arena_after, none.arena_before);
  // A wish that can not be granted gets the least there is.
  EXPECT_EQ(recomputed(1).arena_after, least.arena_after);
}

TEST(Recompute, SegmentsCanBeGiven) {
  const Outcome kept = train(deep_network(), {4, 12, 12}, std::nullopt);
  size_t before = std::numeric_limits<size_t>::max();
  for (const int64_t segments : {2, 4}) {
    const Outcome run = train(deep_network(), {4, 12, 12}, RecomputeOptions{.segments = segments});
    const RecomputeReport& r = *run.report.recompute;
    EXPECT_LT(r.arena_after, r.arena_before) << segments;
    EXPECT_LT(r.arena_after, before);
    before = r.arena_after;
    expect_same_bits(kept, run);
  }
}

/// 64 steps, of which only the last output counts.
std::unique_ptr<Graph> long_sequence() {
  GraphBuilder g("long");
  const auto x = g.input("x", f32("N", 64, 6));
  g.output("y", last_step(x.lstm({.units = 16}).y).linear({.units = 5}));
  return g.take();
}

// Loops are cut into as many segments as asked for, and stay whole where they fit: then no bit
// changes.
TEST(Recompute, WishesReachLoops) {
  const auto with = [](const std::optional<RecomputeOptions>& how) {
    return train(long_sequence(), {64, 6}, how);
  };
  const Outcome whole = with(std::nullopt);
  const Outcome fits = with(RecomputeOptions{.bytes = int64_t{1} << 40});
  expect_same_bits(whole, fits);
  EXPECT_EQ(whole.step_bytes, fits.step_bytes);
  const Outcome two = with(RecomputeOptions{.segments = 2});
  const Outcome least = with(RecomputeOptions{});
  const Outcome small = with(RecomputeOptions{.bytes = 1});
  EXPECT_LT(two.step_bytes, whole.step_bytes);
  EXPECT_LT(least.step_bytes, two.step_bytes);
  EXPECT_EQ(small.step_bytes, least.step_bytes);
  for (size_t i = 0; i < whole.losses.size(); ++i)
    EXPECT_NEAR(two.losses[i], whole.losses[i], 1e-5 * whole.losses[i]);
}

TEST(Recompute, ResidualNetworksKeepTheirBits) {
  const auto model = [] {
    return build_zoo_network("resnet18", {.input = {3, 32, 32}, .classes = 5})->take();
  };
  const Outcome kept = train(model(), {3, 32, 32}, std::nullopt);
  const Outcome again = train(model(), {3, 32, 32}, RecomputeOptions{});
  EXPECT_GT(again.report.recompute->steps, 0);
  EXPECT_LT(again.report.recompute->arena_after, again.report.recompute->arena_before);
  expect_same_bits(kept, again);
}

}  // namespace
}  // namespace tintype::test
