// A 1-D convolutional network hears which digit was spoken.
//
//   build/release/examples/spoken_digits
//   build/release/examples/spoken_digits --utterances 200 --epochs 20
//
// The words are synthetic (common/speech.h says how); every utterance has a speaker of its own, so
// validation is on voices that training never heard. The network reads the samples as they are, as
// that of Dai et al. 2017 (Very deep convolutional neural networks for raw waveforms): long filters
// with a stride, which learn to be a filter bank, then short filters and pooling, then a mean over
// time.
#include "examples/sequences/common/example.h"
#include "examples/sequences/common/speech.h"
#include "frontend/graph/recurrent.h"
#include "frontend/plot/plots.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <fmt/format.h>

namespace {

using namespace tintype;

constexpr int64_t kDigits = 10;

struct Options {
  int64_t utterances = 200, epochs = 12, batch = 32;
  uint64_t seed = 1;
};

/// So many utterances of every digit.
std::map<std::string, Tensor> make_examples(int64_t utterances, uint64_t seed) {
  const int64_t count = utterances * kDigits;
  Tensor x = Tensor::empty(DType::f32, {count, examples::kSamples, 1});
  Tensor y = Tensor::empty(DType::i64, {count});
  for (int64_t i = 0; i < count; ++i) {
    const auto digit = static_cast<int>(i % kDigits);
    const std::vector<float> samples =
        examples::speak(digit, seed * 1000003 + static_cast<uint64_t>(i));
    std::copy(samples.begin(), samples.end(),
              x.mutable_values<float>().begin() + i * examples::kSamples);
    y.mutable_values<int64_t>()[static_cast<size_t>(i)] = digit;
  }
  return {{"sound", x}, {"target", y}};
}

std::unique_ptr<Graph> make_model(const Options& o) {
  GraphBuilder g("spoken_digits", {.seed = o.seed});
  Variable x = g.input("sound", f32("N", examples::kSamples, 1));
  x = x.conv1d({.name = "filter_bank", .filters = 32, .kernel = 64, .stride = 8}).relu();
  x = x.max_pool1d({.kernel = 4});
  x = x.conv1d({.name = "conv2", .filters = 48, .kernel = 5}).relu().max_pool1d({.kernel = 4});
  x = x.conv1d({.name = "conv3", .filters = 64, .kernel = 5}).relu().max_pool1d({.kernel = 4});
  x = x.conv1d({.name = "conv4", .filters = 64, .kernel = 3}).relu();
  g.output("scores", mean_over_time(x).dropout(0.2).linear({.name = "output", .units = kDigits}));
  return g.take();
}

/// What the network says of every utterance, counted by truth and prediction.
std::vector<int64_t> confusion(Trainer& trainer, const std::map<std::string, Tensor>& data) {
  std::vector<int64_t> counts(kDigits * kDigits, 0);
  const Tensor scores = trainer.predict({{"sound", data.at("sound")}}).at("scores");
  const auto values = scores.values<float>();
  const auto labels = data.at("target").values<int64_t>();
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto row = values.subspan(i * kDigits, kDigits);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    ++counts[static_cast<size_t>(labels[i] * kDigits + best)];
  }
  return counts;
}

/// One utterance of some digits, below each other.
std::string waveforms(uint64_t seed) {
  std::vector<Line> lines;
  for (const int digit : {0, 2, 6, 9}) {
    Line line{fmt::format("\"{}\"", digit), {}};
    const std::vector<float> samples = examples::speak(digit, seed);
    for (size_t i = 0; i < samples.size(); i += 2)
      line.points.emplace_back(static_cast<double>(i) / examples::kSampleRate,
                               static_cast<double>(samples[i]) -
                                   8.0 * static_cast<double>(lines.size()));
    lines.push_back(std::move(line));
  }
  return lines_svg(lines, {.title = "synthetic digits", .x_label = "seconds", .y_label = ""});
}

void run(const examples::Example& example, Options& o) {
  o.seed = example.seed();
  const auto training = make_examples(o.utterances, o.seed);
  const auto validation = make_examples(std::max<int64_t>(o.utterances / 4, 1), o.seed + 1000);
  TrainerOptions options;
  options.training.optimizer = Adam{.lr = 2e-3};
  options.training.seed = o.seed;
  options.schedule = Schedule::parse("cosine");
  Trainer trainer(make_model(o), options);
  const auto data = batches_of(training, {.batch = o.batch, .shuffle = true, .seed = o.seed});
  const auto held = batches_of(validation, {.batch = o.batch});
  const HistoryRow last = trainer.fit(*data, held.get(), example.watched(o.epochs)).back();
  example.picture(waveforms(o.seed), "waveforms.svg");
  example.picture(curves_svg(trainer.history(), {.title = "spoken digits"}), "curves.svg");
  const Result<std::string> matrix =
      confusion_svg(confusion(trainer, validation), {}, "spoken digits, new speakers");
  if (!matrix.ok()) throw Error(matrix.status().message());
  example.picture(matrix.value(), "confusion.svg");
  example.result({{"loss", last.training.at("loss")},
                  {"validation_accuracy", last.validation.at("accuracy")},
                  {"chance", 1.0 / kDigits}});
}

}  // namespace

int main(int argc, char** argv) {
  examples::Example example("Hears which digit was spoken", "spoken_digits");
  Options o;
  CLI::App& app = example.options();
  app.add_option("--utterances", o.utterances, "of each digit to train on")->capture_default_str();
  app.add_option("--epochs", o.epochs, "times to hear them")->capture_default_str();
  return example.run(argc, argv, [&] { run(example, o); });
}
