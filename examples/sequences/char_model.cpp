// A character language model: an LSTM learns a text, then writes one of its own.
//
//   build/release/examples/char_model                       # the project's README
//   build/release/examples/char_model --text book.txt --epochs 40 --sample 500
//
// The text is cut into `--streams` parts that are read side by side, `--steps` characters at a
// time. The states at the end of a step are where the next one begins, so gradients go back
// `--steps` characters and the memory further: truncated back-propagation through time. Writing
// uses the same network with one stream and one character at a time.
#include "examples/sequences/common/example.h"
#include "frontend/graph/recurrent.h"
#include "frontend/plot/plots.h"
#include "ir/diagnostic.h"

#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <random>

namespace {

using namespace tintype;

struct Options {
  std::string text = "README.md";
  int64_t units = 128, streams = 16, steps = 48, epochs = 60, sample = 300;
  double temperature = 0.7;
  uint64_t seed = 1;
};

/// The characters that occur, and the text in their numbers.
struct Corpus {
  std::vector<char> characters;
  std::vector<int64_t> ids;
};

Corpus read_corpus(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path + ": cannot be read");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Corpus c;
  std::map<char, int64_t> numbers;
  for (char ch : text) numbers.emplace(ch, 0);
  for (auto& [ch, number] : numbers) {
    number = static_cast<int64_t>(c.characters.size());
    c.characters.push_back(ch);
  }
  for (char ch : text) c.ids.push_back(numbers.at(ch));
  return c;
}

/// Characters in, a score for every character that may come next out; states go on.
std::unique_ptr<Graph> make_model(const Options& o, int64_t characters, int64_t streams,
                                  int64_t steps) {
  GraphBuilder g("char_model", {.seed = o.seed});
  const Variable ids = g.input("characters", {DType::i64, {streams, steps}});
  const Variable h = g.state("h", Tensor::zeros(DType::f32, {1, streams, o.units}));
  const Variable c = g.state("c", Tensor::zeros(DType::f32, {1, streams, o.units}));
  const Variable x = ids.embedding({.name = "embedding", .count = characters, .width = 32});
  const RecurrentResult r =
      x.lstm({.name = "lstm", .units = o.units, .forget_bias = 1, .h = h, .c = c});
  g.set_next(h, r.h);
  g.set_next(c, *r.c);
  const Variable scores =
      r.y.conv1d({.name = "output", .filters = characters, .weight_init = init::xavier_uniform()});
  g.output("scores", scores.transpose({0, 2, 1}));  // the loss wants classes on axis 1
  return g.take();
}

/// Row b * streams + s: characters [b * steps, (b + 1) * steps) of stream s, and those that follow.
std::map<std::string, Tensor> examples_of(const Corpus& corpus, const Options& o) {
  const int64_t length = (static_cast<int64_t>(corpus.ids.size()) - 1) / o.streams;
  const int64_t batches = length / o.steps;
  if (batches < 1)
    throw Error(fmt::format("{}: {} characters are too few for {} streams of {} steps", o.text,
                            corpus.ids.size(), o.streams, o.steps));
  const std::vector<int64_t> dims = {batches * o.streams, o.steps};
  Tensor x = Tensor::empty(DType::i64, dims), y = Tensor::empty(DType::i64, dims);
  for (int64_t row = 0; row < dims[0]; ++row)
    for (int64_t t = 0; t < o.steps; ++t) {
      const int64_t at = row % o.streams * length + row / o.streams * o.steps + t;
      const auto place = static_cast<size_t>(row * o.steps + t);
      x.mutable_values<int64_t>()[place] = corpus.ids[static_cast<size_t>(at)];
      y.mutable_values<int64_t>()[place] = corpus.ids[static_cast<size_t>(at) + 1];
    }
  return {{"characters", x}, {"target", y}};
}

class Writer {
 public:
  Writer(const Options& o, const Corpus& corpus, const std::map<std::string, Tensor>& weights)
      : o_(o), corpus_(corpus), random_(o.seed) {
    const auto characters = static_cast<int64_t>(corpus.characters.size());
    const auto graph = make_model(o, characters, 1, 1);
    compiled_ = compile_graph(export_trained(*graph, [&](const std::string& name) {
      const auto it = weights.find(name);
      return it == weights.end() ? std::nullopt : std::optional(it->second);
    }));
    Result<Session> session = Session::create(compiled_.model);
    if (!session.ok()) throw Error(session.status().message());
    session_ = std::make_unique<Session>(std::move(session).value());
  }

  std::string write(int64_t count) {
    std::string text;
    int64_t id = corpus_.ids[0];
    for (int64_t i = 0; i < count; ++i) {
      id = next(id);
      text += corpus_.characters[static_cast<size_t>(id)];
    }
    return text;
  }

 private:
  /// One step of the network; the next character is drawn from softmax(scores / temperature).
  int64_t next(int64_t id) {
    const std::vector<Tensor> inputs = {Tensor::from<int64_t>({1, 1}, {id})};
    auto scores = session_->run(std::span<const Tensor>(inputs));
    if (!scores.ok()) throw Error(scores.status().message());
    std::vector<double> weights;
    for (float s : scores.value()[0].values<float>())
      weights.push_back(std::exp(static_cast<double>(s) / o_.temperature));
    return std::discrete_distribution<int64_t>(weights.begin(), weights.end())(random_);
  }

  const Options& o_;
  const Corpus& corpus_;
  std::mt19937_64 random_;
  CompiledModel compiled_;
  std::unique_ptr<Session> session_;
};

void run(const examples::Example& example, Options& o) {
  o.seed = example.seed();
  const Corpus corpus = read_corpus(o.text);
  const auto characters = static_cast<int64_t>(corpus.characters.size());
  fmt::print("{}: {} characters, {} different ones\n", o.text, corpus.ids.size(), characters);
  Trainer trainer(make_model(o, characters, o.streams, o.steps),
                  {.training = {.optimizer = Adam{.lr = 3e-3},
                                .clipping = {.global_norm = 1.0},
                                .seed = o.seed}});
  const auto data = batches_of(examples_of(corpus, o), {.batch = o.streams});
  const double loss =
      trainer.fit(*data, nullptr, example.watched(o.epochs)).back().training.at("loss");
  example.picture(curves_svg(trainer.history(), {.title = "character model of " + o.text}),
                  "curves.svg");
  const std::string text = Writer(o, corpus, trainer.weights()).write(o.sample);
  fmt::print("\n{}\n\n", text);
  example.result({{"loss", loss},
                  {"bits_per_character", loss / std::log(2.0)},
                  {"uniform_bits", std::log2(static_cast<double>(characters))},
                  {"written", static_cast<double>(text.size())}});
}

}  // namespace

int main(int argc, char** argv) {
  examples::Example example("Trains a character language model and lets it write", "char_model");
  Options o;
  CLI::App& app = example.options();
  app.add_option("--text", o.text, "what to learn")->capture_default_str();
  app.add_option("--units", o.units, "LSTM units")->capture_default_str();
  app.add_option("--streams", o.streams, "parts of the text read side by side")
      ->capture_default_str();
  app.add_option("--steps", o.steps, "characters that gradients go back")->capture_default_str();
  app.add_option("--epochs", o.epochs, "times to read the text")->capture_default_str();
  app.add_option("--sample", o.sample, "characters to write")->capture_default_str();
  app.add_option("--temperature", o.temperature, "below 1: safer choices")->capture_default_str();
  return example.run(argc, argv, [&] { run(example, o); });
}
