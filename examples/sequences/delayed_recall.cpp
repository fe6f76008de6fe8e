// Long-term dependencies: recall the first symbol of a sequence after a delay full of noise.
//
//   build/release/examples/delayed_recall
//   build/release/examples/delayed_recall --delays 10,50,100 --steps 400
//
// Hochreiter 1991 and Bengio et al. 1994 showed why plain recurrent networks fail at this: the
// gradient shrinks with every step that it goes back. The second picture shows its norm step by
// step before training; the first what the three kinds of cells have learned for each delay.
#include "frontend/graph/recurrent.h"
#include "frontend/plot/plots.h"
#include "frontend/train/losses.h"
#include "ir/diagnostic.h"
#include "passes/autodiff.h"
#include "passes/pass_manager.h"
#include "passes/passes.h"
#include "tools/driver/trainer.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <random>

namespace {

using namespace tintype;

constexpr int64_t kClasses = 4, kNoise = 4, kSymbols = kClasses + kNoise;
constexpr const char* kCells[] = {"rnn", "gru", "lstm"};

struct Options {
  std::string folder = "build/delayed_recall";
  std::vector<int64_t> delays = {10, 20, 50, 100, 200, 500};
  int64_t units = 32, batch = 32, steps = 300;
  double learning_rate = 5e-3;
  uint64_t seed = 1;
};

/// Symbols as one-hot vectors: the first is the class, the others are noise.
std::map<std::string, Tensor> make_examples(int64_t count, int64_t steps, uint64_t seed) {
  std::mt19937_64 random(seed);
  Tensor x = Tensor::zeros(DType::f32, {count, steps, kSymbols});
  Tensor y = Tensor::empty(DType::i64, {count});
  for (int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<int64_t>(random() % kClasses);
    y.mutable_values<int64_t>()[static_cast<size_t>(i)] = label;
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t symbol = t == 0 ? label : kClasses + static_cast<int64_t>(random() % kNoise);
      x.mutable_values<float>()[static_cast<size_t>((i * steps + t) * kSymbols + symbol)] = 1;
    }
  }
  return {{"x", x}, {"target", y}};
}

std::unique_ptr<Graph> make_model(const Options& o, const std::string& cell, int64_t steps) {
  GraphBuilder g(cell, {.seed = o.seed});
  const Variable x = g.input("x", f32("N", steps, kSymbols));
  // A forget gate that starts open lets the gradient pass from the beginning.
  const Recurrent options = {.name = "cell", .units = o.units, .forget_bias = 2};
  const RecurrentResult r = cell == "rnn"   ? x.rnn(options)
                            : cell == "gru" ? x.gru(options)
                                            : x.lstm(options);
  g.output("scores", last_step(r.y).linear({.name = "output", .units = kClasses}));
  return g.take();
}

/// Accuracy on new sequences after some steps of training.
double learn(const Options& o, const std::string& cell, int64_t steps) {
  Trainer trainer(make_model(o, cell, steps),
                  {.training = {.optimizer = Adam{.lr = o.learning_rate},
                                .clipping = {.global_norm = 1.0},
                                .seed = o.seed}});
  const auto training =
      batches_of(make_examples(o.batch * o.steps, steps, o.seed), {.batch = o.batch});
  trainer.fit(*training, nullptr, {.epochs = 1});
  const auto fresh = batches_of(make_examples(256, steps, o.seed + 1), {.batch = 64});
  return trainer.evaluate(*fresh).at("accuracy");
}

/// |d loss / d x_t| for every t, of the network before training.
Line gradient_by_step(const Options& o, const std::string& cell, int64_t steps) {
  auto graph = make_model(o, cell, steps);
  PassContext context;
  decompose(*graph, context);
  Value* x = graph->inputs()[0].get();
  Value* target = graph->add_input("target", {DType::i64, {Dim::symbol("N")}});
  Builder b(*graph);
  Value* loss = add_loss(b, CrossEntropy{}, graph->output(0), target);
  run_pipeline(*graph, parse_pipeline("decompose"));
  graph->set_output(0, gradients(*graph, loss, std::span(&x, 1))[0]);
  const CompiledModel m = compile_graph(std::move(graph));
  auto result = m.model.run(make_examples(o.batch, steps, o.seed));
  if (!result.ok()) throw Error(result.status().message());
  const auto values = result.value()[0].values<float>();
  Line line{cell, {}};
  for (int64_t t = 0; t < steps; ++t) {
    double squares = 0;
    for (int64_t i = 0; i < o.batch; ++i)
      for (int64_t k = 0; k < kSymbols; ++k) {
        const double v =
            static_cast<double>(values[static_cast<size_t>((i * steps + t) * kSymbols + k)]);
        squares += v * v;
      }
    line.points.emplace_back(static_cast<double>(t), std::sqrt(squares));
  }
  return line;
}

void save(const std::string& svg, const std::string& path) {
  const Status saved = save_text(svg, path);
  if (!saved.ok()) throw Error(saved.message());
  fmt::print("picture: {}\n", path);
}

void run(const Options& o) {
  std::filesystem::create_directories(o.folder);
  std::vector<Line> accuracy, gradient;
  for (const char* cell : kCells) {
    Line line{cell, {}};
    for (int64_t delay : o.delays) {
      const double score = learn(o, cell, delay + 1);
      line.points.emplace_back(static_cast<double>(delay), score);
      fmt::print("{:4}  delay {:3}  accuracy {:.3f}\n", cell, delay, score);
      std::fflush(stdout);
    }
    accuracy.push_back(std::move(line));
    gradient.push_back(gradient_by_step(o, cell, std::min<int64_t>(100, o.delays.back()) + 1));
  }
  save(lines_svg(accuracy, {.title = "recall after a delay",
                            .x_label = "delay (steps)",
                            .y_label = "accuracy",
                            .log_x = true}),
       o.folder + "/accuracy.svg");
  save(lines_svg(gradient, {.title = "gradient of the loss by step, before training",
                            .x_label = "step",
                            .y_label = "norm",
                            .log_y = true}),
       o.folder + "/gradient.svg");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Plain, gated and LSTM cells learn to remember over a delay");
  Options o;
  app.add_option("--delays", o.delays, "steps between the symbol and the question")->delimiter(',');
  app.add_option("--units", o.units, "of the cells")->capture_default_str();
  app.add_option("--batch", o.batch, "sequences per step of training")->capture_default_str();
  app.add_option("--steps", o.steps, "steps of training")->capture_default_str();
  app.add_option("--learning-rate", o.learning_rate, "of Adam")->capture_default_str();
  app.add_option("--seed", o.seed, "of weights and data")->capture_default_str();
  app.add_option("-o,--output", o.folder, "folder for the pictures")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    run(o);
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
  return 0;
}
