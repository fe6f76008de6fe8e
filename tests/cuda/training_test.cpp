// Training on the stand-in for a device: the same states as on the CPU after several steps, kept on
// the device between them, and no checkpoint lost to a failing driver.
#include "frontend/graph/graph_builder.h"
#include "frontend/graph/recurrent.h"
#include "ir/diagnostic.h"
#include "tests/cuda/fixture.h"
#include "tools/driver/trainer.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace tintype {
namespace {

using testing::HasSubstr;

using Network = std::unique_ptr<Graph> (*)();
using Tensors = std::map<std::string, Tensor>;

std::unique_ptr<Graph> mlp() {
  GraphBuilder g("mlp");
  auto x = g.input("x", f32("N", 20));
  x = x.linear({.units = 32, .bias = false})
          .batch_norm()
          .relu()
          .dropout(0.3)
          .linear({.units = 16})
          .tanh();
  g.output("y", x.linear({.units = 5}));
  return g.take();
}

std::unique_ptr<Graph> cnn() {
  GraphBuilder g("cnn");
  auto x = g.input("x", f32("N", 2, 12, 12));
  x = x.conv2d({.filters = 6, .kernel = 3, .padding = 1, .bias = false}).batch_norm().relu();
  const auto half = x.max_pool2d({.kernel = 3, .stride = 2, .padding = 1});
  x = half.conv2d({.filters = 6, .kernel = 3, .padding = 1}).add(half).relu();
  x = x.conv2d({.filters = 8, .kernel = 3, .stride = 2}).relu().avg_pool2d({.kernel = 2});
  g.output("y", x.flatten().linear({.units = 4}));
  return g.take();
}

std::unique_ptr<Graph> lstm() {
  GraphBuilder g("lstm");
  const auto x = g.input("x", f32("N", 5, 6));
  g.output("y", last_step(x.lstm({.units = 8}).y).linear({.units = 3}));
  return g.take();
}

std::unique_ptr<Graph> words() {
  GraphBuilder g("words");
  const auto x = g.input("x", {DType::i64, {Dim::symbol("N"), Dim(7)}});
  g.output("y", x.embedding({.count = 11, .width = 6}).flatten().linear({.units = 3}));
  return g.take();
}

/// Inputs at random, classes in turn.
std::unique_ptr<BatchSource> examples(const std::vector<int64_t>& dims, int64_t classes,
                                      DType dtype = DType::f32) {
  std::vector<int64_t> all = dims;
  all.insert(all.begin(), 12);
  Tensor x = random_tensor(DType::f32, all, 5);
  if (dtype == DType::f32) {
    for (float& v : x.mutable_values<float>()) v = 2 * v - 1;
  } else {
    Tensor ids = Tensor::empty(DType::i64, all);
    for (int64_t i = 0; i < ids.size(); ++i)
      ids.mutable_values<int64_t>()[static_cast<size_t>(i)] = (i * 7) % 11;
    x = ids;
  }
  Tensor labels = Tensor::empty(DType::i64, {12});
  for (int64_t i = 0; i < 12; ++i)
    labels.mutable_values<int64_t>()[static_cast<size_t>(i)] = i % classes;
  return batches_of({{"x", x}, {"target", labels}}, {.batch = 4});
}

Trainer trainer_for(Network network, const Optimizer& optimizer, const std::string& target,
                    TrainerOptions options = {}) {
  options.training.optimizer = optimizer;
  options.compile.target = target;
  options.compile.batch = 4;
  return Trainer(network(), options);
}

void expect_close(const Tensors& got, const Tensors& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, t] : want) {
    const Comparison c = compare_tensors(got.at(name), t, 0, 0);
    EXPECT_LE(c.max_error, 1e-4 * std::max(c.scale, 1e-2)) << name << ": " << c.message;
  }
}

bool same_bits(const Tensors& a, const Tensors& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const auto& entry) {
           const auto other = b.find(entry.first);
           return other != b.end() && other->second.bytes() == entry.second.bytes() &&
                  std::memcmp(entry.second.data(), other->second.data(), entry.second.bytes()) == 0;
         });
}

/// Two epochs of three steps, validation behind each; all states, and predictions after it.
void expect_same_training(Network network, const Optimizer& optimizer,
                          const std::vector<int64_t>& dims, int64_t classes,
                          DType dtype = DType::f32, const TrainerOptions& options = {},
                          const std::string& target = "cuda") {
  const auto train = [&](const std::string& on, Scores& scores) {
    Trainer trainer = trainer_for(network, optimizer, on, options);
    const auto data = examples(dims, classes, dtype), validation = examples(dims, classes, dtype);
    const auto& rows = trainer.fit(*data, validation.get(), {.epochs = 2});
    scores = rows.back().validation;
    return trainer.snapshot().tensors;
  };
  Scores want_scores, got_scores;
  const Tensors want = train("host", want_scores);
  CudaStandIn device;
  const Tensors got = train(target, got_scores);
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
  expect_close(got, want);
  EXPECT_NEAR(got_scores.at("loss"), want_scores.at("loss"), 1e-5);
}

const Optimizer kMomentum = Sgd{.lr = 0.1, .momentum = 0.9};
const Optimizer kAdam = Adam{.lr = 0.01};

TEST(CudaTraining, Mlp) {
  expect_same_training(mlp, kMomentum, {20}, 5);
  expect_same_training(mlp, kAdam, {20}, 5, DType::f32,
                       {.averaging = {.ema_decay = 0.9}, .diagnostics_every = 1});
}

TEST(CudaTraining, SmallCnn) {
  expect_same_training(cnn, kMomentum, {2, 12, 12}, 4);
  expect_same_training(cnn, kAdam, {2, 12, 12}, 4);
}

TEST(CudaTraining, Recurrent) {
  expect_same_training(lstm, kMomentum, {5, 6}, 3);
  expect_same_training(lstm, kAdam, {5, 6}, 3);
}

TEST(CudaTraining, GradientsByIndex) { expect_same_training(words, kAdam, {7}, 3, DType::i64); }

TEST(CudaTraining, SplitWithTheHost) {
  expect_same_training(cnn, kAdam, {2, 12, 12}, 4, DType::f32, {}, "host,cuda");
}

// Between steps, batches and results cross, nothing else; at the end of an epoch, weights come to
// be looked at.
TEST(CudaTraining, KeepsStatesOnTheDevice) {
  CudaStandIn device;
  const auto fetched = [&] { return device.count("cuMemcpyDtoH_v2"); };
  {
    Trainer trainer = trainer_for(mlp, kAdam, "cuda");
    const auto data = examples({20}, 5);
    std::vector<size_t> up, down, states;
    trainer.fit(*data, nullptr, {.epochs = 2, .on_step = [&](const StepReport&) {
                                   up.push_back(device.count("cuMemcpyHtoDAsync_v2"));
                                   down.push_back(device.count("cuMemcpyDtoHAsync_v2"));
                                   states.push_back(fetched());
                                   return true;
                                 }});
    ASSERT_EQ(up.size(), 6u);
    // The second run is recorded, the ones behind it replay: no call of a copy of their own.
    EXPECT_EQ(up[2], up[5]);
    EXPECT_EQ(down[2], down[5]);
    EXPECT_GT(device.count("cuGraphLaunch"), 3u);
    const size_t weights = trainer.program().parameters.size(), trained = fetched();
    EXPECT_EQ(states[2], 0u);
    EXPECT_EQ(states[3], states[5]);
    EXPECT_LE(trained, 2 * trainer.states().names().size());
    EXPECT_GE(trained, 2 * weights);
    trainer.snapshot();
    // The host has what it looked at.
    EXPECT_EQ(fetched() - trained, trainer.states().names().size() - trained / 2);
    const size_t all = fetched();
    trainer.snapshot();
    EXPECT_EQ(fetched(), all);
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

TEST(CudaTraining, CheckpointsMoveBetweenHostAndDevice) {
  CudaStandIn device;
  const auto run = [](const std::string& first, const std::string& then) {
    const auto data = examples({20}, 5);
    Trainer a = trainer_for(mlp, kAdam, first), b = trainer_for(mlp, kAdam, then);
    a.fit(*data, nullptr, {.epochs = 1});
    b.restore(a.snapshot());
    b.fit(*data, nullptr, {.epochs = 2});
    return b.snapshot().tensors;
  };
  const Tensors want = run("host", "host");
  expect_close(run("cuda", "host"), want);
  expect_close(run("host", "cuda"), want);
  EXPECT_TRUE(same_bits(run("cuda", "cuda"), run("cuda", "cuda")));
  EXPECT_EQ(device.problem(), "");
}

// Every call of the driver fails once in a run of its own: either nothing is told and the states
// are right, or an Error is, and the checkpoint of the epoch before goes on to the same end.
TEST(CudaTraining, LosesNoCheckpointToAFailingCall) {
  const auto small = +[]() {
    GraphBuilder g("small");
    auto x = g.input("x", f32("N", 3));
    g.output("y", x.linear({.units = 2}));
    return g.take();
  };
  struct Run {
    Tensors states;
    std::string failure;
  };
  const auto train = [&](const std::function<void()>& begins) {
    Run run;
    Trainer trainer = trainer_for(small, kMomentum, "cuda");
    const auto data = examples({3}, 2);
    Snapshot checkpoint = trainer.snapshot();
    const FitOptions fit = {.epochs = 2, .on_epoch = [&](const HistoryRow&) {
                              checkpoint = trainer.snapshot();
                              return true;
                            }};
    const auto states_at_the_end = [&] {
      trainer.fit(*data, nullptr, fit);
      return trainer.snapshot().tensors;
    };
    begins();
    try {
      run.states = states_at_the_end();
    } catch (const Error& e) {
      run.failure = e.what();
      trainer.restore(checkpoint);
      run.states = states_at_the_end();
    }
    return run;
  };
  Tensors want;
  size_t calls = 0;
  {
    CudaStandIn device;
    want = train([] {}).states;
    calls = device.calls().size();
  }
  ASSERT_GT(calls, 60u);
  size_t reported = 0;
  for (size_t call = 0; call < calls; ++call) {
    CudaStandIn device;
    const Run run = train([&] { device.fail_call(call); });
    EXPECT_TRUE(same_bits(run.states, want)) << "call " << call << " " << device.calls()[call];
    EXPECT_EQ(device.problem(), "") << "call " << call << " " << device.calls()[call];
    if (run.failure.empty()) continue;
    ++reported;
    EXPECT_THAT(run.failure, HasSubstr("CUDA_ERROR_UNKNOWN")) << device.calls()[call];
  }
  EXPECT_GT(reported, calls / 2);
}

}  // namespace
}  // namespace tintype
