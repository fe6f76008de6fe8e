// Long-term dependencies: recall the first symbol of a sequence after a delay full of noise.
//
//   build/release/examples/delayed_recall
//   build/release/examples/delayed_recall --delays 10,50,100 --steps 400
//
// Hochreiter 1991 and Bengio et al. 1994 showed why plain recurrent networks fail at this: the
// gradient shrinks with every step that it goes back. One picture shows its norm step by step
// before training, the other what the three kinds of cells have learned for each delay.
//
// Gates alone are not enough for long delays: the gate that keeps the state has to start so far
// open that something is left after the delay, and the one that lets the input in so far closed
// that the noise does not drown it. Their biases are log(delay) and -log(delay), as Tallec &
// Ollivier 2018 (Can recurrent neural networks warp time?) derive; GRU's update gate does both.
#include "examples/sequences/common/example.h"
#include "frontend/graph/recurrent.h"
#include "frontend/plot/plots.h"
#include "frontend/train/losses.h"
#include "ir/diagnostic.h"
#include "passes/autodiff.h"
#include "passes/pass_manager.h"
#include "passes/passes.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <random>

namespace {

using namespace tintype;

constexpr int64_t kClasses = 4, kNoise = 4, kSymbols = kClasses + kNoise;
constexpr const char* kCells[] = {"rnn", "gru", "lstm"};

struct Options {
  std::vector<int64_t> delays = {10, 20, 50, 100, 200, 500};
  int64_t units = 32, batch = 32, steps = 300;
  double learning_rate = 5e-3;
  uint64_t seed = 1;
};

/// Symbols as one-hot vectors: the first is the class, the others are noise.
Batch make_examples(int64_t count, int64_t steps, uint64_t seed) {
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

/// New sequences for every step of training.
class Sequences : public BatchSource {
 public:
  Sequences(int64_t batches, int64_t batch, int64_t steps, uint64_t seed)
      : batches_(batches), batch_(batch), steps_(steps), seed_(seed) {}
  int64_t size() const override { return batches_ * batch_; }
  int64_t batches() const override { return batches_; }
  void start(int64_t epoch, int64_t batch) override {
    epoch_ = epoch;
    at_ = batch;
  }
  std::optional<Batch> next() override {
    if (at_ == batches_) return std::nullopt;
    std::seed_seq mixed{seed_, static_cast<uint64_t>(epoch_), static_cast<uint64_t>(at_++)};
    return make_examples(batch_, steps_, std::mt19937_64(mixed)());
  }

 private:
  int64_t batches_, batch_, steps_, epoch_ = 0, at_ = 0;
  uint64_t seed_;
};

std::unique_ptr<Graph> make_model(const Options& o, const std::string& cell, int64_t steps) {
  GraphBuilder g(cell, {.seed = o.seed});
  const Variable x = g.input("x", f32("N", steps, kSymbols));
  const double span = std::log(static_cast<double>(steps));
  const Recurrent options = {
      .name = "cell", .units = o.units, .forget_bias = span, .input_bias = -span};
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
  Sequences training(o.steps, o.batch, steps, o.seed);
  trainer.fit(training, nullptr, {.epochs = 1});
  Sequences fresh(8, 64, steps, o.seed + 1);
  return trainer.evaluate(fresh).at("accuracy");
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

void run(const examples::Example& example, Options& o) {
  o.seed = example.seed();
  if (o.delays.empty() || *std::min_element(o.delays.begin(), o.delays.end()) < 1)
    throw Error("--delays needs positive numbers");
  const int64_t longest = *std::max_element(o.delays.begin(), o.delays.end());
  std::vector<Line> accuracy, gradient;
  std::vector<std::pair<std::string, double>> results;
  for (const std::string cell : kCells) {
    gradient.push_back(gradient_by_step(o, cell, std::min<int64_t>(100, longest) + 1));
    // How much less of the gradient arrives at the first symbol than at the last one.
    results.emplace_back(cell + "_gradient_ratio", gradient.back().points.front().second /
                                                       gradient.back().points.back().second);
    Line line{cell, {}};
    for (const int64_t delay : o.delays) {
      const double score = learn(o, cell, delay + 1);
      line.points.emplace_back(static_cast<double>(delay), score);
      results.emplace_back(fmt::format("{}_{}", cell, delay), score);
      fmt::print(stderr, "{:4}  delay {:3}  accuracy {:5.1f} %\n", cell, delay, 100 * score);
    }
    accuracy.push_back(std::move(line));
  }
  example.picture(lines_svg(accuracy, {.title = "recall after a delay",
                                       .x_label = "delay (steps)",
                                       .y_label = "accuracy",
                                       .log_x = true}),
                  "accuracy.svg");
  example.picture(lines_svg(gradient, {.title = "gradient of the loss by step, before training",
                                       .x_label = "step",
                                       .y_label = "norm",
                                       .log_y = true}),
                  "gradient.svg");
  example.result(results);
}

}  // namespace

int main(int argc, char** argv) {
  examples::Example example("Plain, gated and LSTM cells learn to remember over a delay",
                            "delayed_recall");
  Options o;
  CLI::App& app = example.options();
  app.add_option("--delays", o.delays, "steps between the symbol and the question")->delimiter(',');
  app.add_option("--units", o.units, "of the cells")->capture_default_str();
  app.add_option("--batch", o.batch, "sequences per step of training")->capture_default_str();
  app.add_option("--steps", o.steps, "steps of training")->capture_default_str();
  app.add_option("--learning-rate", o.learning_rate, "of Adam")->capture_default_str();
  return example.run(argc, argv, [&] { run(example, o); });
}
