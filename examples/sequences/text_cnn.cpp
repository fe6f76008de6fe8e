// A 1-D convolutional network tells languages apart by 64 characters of text.
//
//   build/release/examples/text_cnn                       # the files of this project
//   build/release/examples/text_cnn --root DIR --kinds .cpp,.py,.md
//
// Every kind of file is a class; pieces of four fifths of the files train, the others validate. The
// network is that of Kim 2014 (Convolutional Neural Networks for Sentence Classification) on
// characters: filters of several widths over embeddings, the largest response of each over time.
#include "examples/sequences/common/example.h"
#include "frontend/graph/recurrent.h"
#include "frontend/plot/plots.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>

namespace {

using namespace tintype;
namespace fs = std::filesystem;

constexpr int64_t kCharacters = 128, kLength = 64;

struct Options {
  std::string root = ".";
  std::vector<std::string> kinds = {".cpp", ".py", ".md", ".ir"};
  int64_t pieces = 800, epochs = 10, batch = 32;
  uint64_t seed = 1;
};

std::vector<fs::path> files_of(const Options& o, const std::string& kind) {
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(o.root); it != fs::end(it); ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && (name == "build" || name[0] == '.')) it.disable_recursion_pending();
    else if (it->is_regular_file() && it->path().extension() == kind) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  if (files.size() < 2) throw Error(fmt::format("{} has fewer than two {} files", o.root, kind));
  return files;
}

struct Examples {
  std::vector<int64_t> characters, labels;
  void add(const std::string& text, size_t at, int64_t label) {
    for (size_t i = 0; i < kLength; ++i)
      characters.push_back(static_cast<unsigned char>(text[at + i]) % kCharacters);
    labels.push_back(label);
  }
  std::map<std::string, Tensor> tensors() const {
    const auto count = static_cast<int64_t>(labels.size());
    return {{"characters", Tensor::from<int64_t>({count, kLength}, characters)},
            {"target", Tensor::from<int64_t>({count}, labels)}};
  }
};

/// Pieces of the files of a kind, evenly spread; the last fifth of each file validates, so that no
/// single file decides.
void collect(const Options& o, int64_t label, Examples& training, Examples& validation) {
  std::string text[2];
  for (const fs::path& path : files_of(o, o.kinds[static_cast<size_t>(label)])) {
    std::ifstream file(path, std::ios::binary);
    const std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const size_t seen = all.size() / 5 * 4;
    text[0] += all.substr(0, seen);
    text[1] += all.substr(seen);
  }
  for (int part = 0; part < 2; ++part) {
    const auto count = static_cast<size_t>(part == 0 ? o.pieces : o.pieces / 4);
    if (text[part].size() < 2 * kLength)
      throw Error(fmt::format("{} has too little text in {} files", o.root,
                              o.kinds[static_cast<size_t>(label)]));
    const size_t room = text[part].size() - kLength;
    for (size_t i = 0; i < count; ++i)
      (part == 0 ? training : validation).add(text[part], i * room / count, label);
  }
}

std::unique_ptr<Graph> make_model(const Options& o) {
  GraphBuilder g("text_cnn", {.seed = o.seed});
  const Variable ids = g.input("characters", {DType::i64, {Dim::symbol("N"), kLength}});
  const Variable x = ids.embedding({.name = "embedding", .count = kCharacters, .width = 16});
  std::vector<Variable> features;
  for (int64_t width : {3, 5, 7})
    features.push_back(max_over_time(
        x.conv1d({.name = fmt::format("conv{}", width), .filters = 32, .kernel = width}).relu()));
  const Variable all = g.concat(features).dropout(0.3);
  g.output("scores", all.linear({.name = "output", .units = static_cast<int64_t>(o.kinds.size())}));
  return g.take();
}

void run(const examples::Example& example, Options& o) {
  o.seed = example.seed();
  Examples training, validation;
  for (size_t k = 0; k < o.kinds.size(); ++k)
    collect(o, static_cast<int64_t>(k), training, validation);
  TrainerOptions options;
  options.training.optimizer = Adam{.lr = 2e-3};
  options.training.seed = o.seed;
  Trainer trainer(make_model(o), options);
  const auto data =
      batches_of(training.tensors(), {.batch = o.batch, .shuffle = true, .seed = o.seed});
  const auto held = batches_of(validation.tensors(), {.batch = o.batch});
  const HistoryRow last = trainer.fit(*data, held.get(), example.watched(o.epochs)).back();
  example.picture(curves_svg(trainer.history(), {.title = "kinds of files"}), "curves.svg");
  example.result({{"loss", last.training.at("loss")},
                  {"validation_accuracy", last.validation.at("accuracy")},
                  {"chance", 1.0 / static_cast<double>(o.kinds.size())}});
}

}  // namespace

int main(int argc, char** argv) {
  examples::Example example("Tells kinds of files apart by 64 characters", "text_cnn");
  Options o;
  CLI::App& app = example.options();
  app.add_option("--root", o.root, "folder with files")->capture_default_str();
  app.add_option("--kinds", o.kinds, "endings, each a class")->delimiter(',');
  app.add_option("--pieces", o.pieces, "pieces of text per kind")->capture_default_str();
  app.add_option("--epochs", o.epochs, "times to see them")->capture_default_str();
  return example.run(argc, argv, [&] { run(example, o); });
}
