// Checkpoints, pictures and the trained model of a run.
#include "tools/train_results.h"

#include "frontend/data/checkpoint.h"
#include "frontend/data/safetensors.h"
#include "frontend/onnx/export.h"
#include "frontend/plot/plots.h"
#include "ir/diagnostic.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpoint = "checkpoint.ttc";
constexpr int64_t kPictures = 24;

void throw_unless(const Status& status) {
  if (!status.ok()) throw Error(status.message());
}

template <typename T>
T checked(Result<T> result) {
  if (!result.ok()) throw Error(result.status().message());
  return std::move(result).value();
}

DataCursor position(const TrainingData& data, const DataArguments& a, uint64_t seed) {
  return {0, 0, data.training->size(), a.batch, seed, true};
}

/// What the model says of the validation samples.
struct Classified {
  std::vector<int64_t> truth, predicted;
  std::vector<double> confidence;
  int64_t classes = 0;
};

/// Softmax of the row's largest entry, or the entry itself where the row is a distribution already.
double confidence_of(std::span<const double> row, size_t best) {
  double sum = 0, exponentials = 0;
  bool positive = true;
  for (const double v : row) {
    sum += v;
    positive = positive && v >= 0;
    exponentials += std::exp(v - row[best]);
  }
  return positive && std::abs(sum - 1) < 1e-3 ? row[best] : 1 / exponentials;
}

void classify(const Tensor& scores, Classified& out) {
  const int64_t classes = scores.dims()[1];
  std::vector<double> row(static_cast<size_t>(classes));
  for (int64_t i = 0; i < scores.dims()[0]; ++i) {
    for (int64_t c = 0; c < classes; ++c)
      row[static_cast<size_t>(c)] = element_as_double(scores, i * classes + c);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    out.predicted.push_back(best);
    out.confidence.push_back(confidence_of(row, static_cast<size_t>(best)));
  }
}

/// Empty when there is nothing to classify, or the model's first output is no row of scores.
/// At most `limit` samples.
Classified classify_validation(Trainer& trainer, const TrainingData& data, const DataArguments& a,
                               int64_t limit) {
  Classified out;
  if (data.validation == nullptr || trainer.model().output_count() == 0) return out;
  out.truth = data.validation->labels();
  const auto batches = data.validation_batches(trainer, a);
  const std::string first = trainer.model().output_name(0);
  while (static_cast<int64_t>(out.predicted.size()) < limit) {
    std::optional<Batch> batch = batches->next();
    if (!batch) break;
    for (const TargetInput& t : trainer.program().targets) batch->erase(t.name);
    const Tensor scores = trainer.predict(*batch).at(first);
    if (out.truth.empty() || scores.rank() != 2 || scores.dims()[1] < 2) return {};
    out.classes = scores.dims()[1];
    classify(scores, out);
  }
  out.truth.resize(out.predicted.size());
  return out;
}

bool has_pictures(const Dataset& dataset) {
  const Field& f = dataset.fields()[0];
  return f.dims.size() == 3 && (f.dims[0] == 1 || f.dims[0] == 3) &&
         (f.dtype == DType::u8 || f.dtype == DType::f32);
}

Tensor input_of(const Dataset& dataset, int64_t index) {
  std::vector<Tensor> sample;
  std::vector<std::byte*> places;
  for (const Field& f : dataset.fields()) {
    sample.push_back(Tensor::empty(f.dtype, f.dims));
    places.push_back(static_cast<std::byte*>(sample.back().mutable_data()));
  }
  throw_unless(dataset.read(index, places));
  return sample[0];
}

std::string class_name(const Dataset& dataset, int64_t number) {
  const auto& names = dataset.class_names();
  const auto at = static_cast<size_t>(number);
  return at < names.size() ? names[at] : std::to_string(number);
}

/// Weights of the first parameter that can be drawn as filters.
std::optional<Image> first_filters(const Trainer& trainer) {
  const auto weights = trainer.weights();
  for (const TrainedParameter& p : trainer.program().parameters) {
    const auto found = weights.find(p.name);
    if (found == weights.end() || found->second.rank() < 2) continue;
    const Result<Image> picture = filters_picture(found->second);
    return picture.ok() ? std::optional(picture.value()) : std::nullopt;
  }
  return std::nullopt;
}

void save_classification(const RunFolder& folder, const Classified& c, const Dataset& dataset) {
  std::vector<int64_t> counts(static_cast<size_t>(c.classes * c.classes));
  int64_t right = 0;
  for (size_t i = 0; i < c.predicted.size(); ++i) {
    ++counts[static_cast<size_t>(c.truth[i] * c.classes + c.predicted[i])];
    right += c.truth[i] == c.predicted[i] ? 1 : 0;
  }
  std::vector<std::string> names = dataset.class_names();
  if (static_cast<int64_t>(names.size()) != c.classes) names.clear();
  const std::string title =
      fmt::format("{} of {} validation samples right", right, c.predicted.size());
  if (c.classes <= 100)
    throw_unless(
        save_text(checked(confusion_svg(counts, names, title)), folder.file("confusion.svg")));
  if (!has_pictures(dataset)) return;
  std::vector<Prediction> shown;
  for (int64_t i = 0; i < std::min(kPictures, dataset.size()); ++i) {
    const auto at = static_cast<size_t>(i);
    shown.push_back({checked(tensor_picture(input_of(dataset, i))),
                     class_name(dataset, c.predicted[at]), class_name(dataset, c.truth[at]),
                     c.confidence[at]});
  }
  throw_unless(save_text(checked(predictions_svg(shown, title)), folder.file("predictions.svg")));
}

/// Lines of a picture, two rows of pixels to a line, since characters are twice as high as wide.
std::vector<std::string> drawn(const Image& image) {
  constexpr std::string_view kShades = " .:-=+*#%@";
  std::vector<std::string> lines;
  for (int y = 0; y < image.height; y += 2) {
    std::string line;
    for (int x = 0; x < image.width; ++x) {
      int sum = 0, count = 0;
      for (int row = y; row < std::min(y + 2, image.height); ++row)
        for (int c = 0; c < image.channels; ++c, ++count)
          sum += image.pixels[static_cast<size_t>((row * image.width + x) * image.channels + c)];
      line += kShades[static_cast<size_t>(sum / count) * kShades.size() / 256];
    }
    lines.push_back(line);
  }
  return lines;
}

}  // namespace

bool RunFolder::has_run() const { return fs::exists(file(kCheckpoint)); }

void RunFolder::save_progress(const Trainer& trainer, const TrainingData& data,
                              const DataArguments& arguments, uint64_t seed,
                              const std::vector<HistoryRow>& history) const {
  Snapshot snapshot = trainer.snapshot();
  Checkpoint c;
  c.tensors = std::move(snapshot.tensors);
  c.step = trainer.steps();
  c.seed = seed;
  c.cursor = position(data, arguments, seed);
  c.metadata = std::move(snapshot.progress);
  throw_unless(save_checkpoint(c, file(kCheckpoint)));
  throw_unless(save_text(history_csv(history), file("history.csv")));
  throw_unless(save_text(history_json(history), file("history.json")));
  throw_unless(save_text(curves_svg(history), file("curves.svg")));
}

void RunFolder::restore(Trainer& trainer, const TrainingData& data, const DataArguments& arguments,
                        uint64_t seed) const {
  Checkpoint c = checked(load_checkpoint(file(kCheckpoint)));
  const DataCursor now = position(data, arguments, seed);
  if (c.cursor != now)
    throw Error(fmt::format("{}: the run has {} samples in batches of {} with seed {}; this data "
                            "is {} samples in batches of {} with seed {}",
                            file(kCheckpoint), c.cursor.size, c.cursor.batch_size, c.cursor.seed,
                            now.size, now.batch_size, now.seed));
  try {
    trainer.restore({std::move(c.tensors), c.metadata});
  } catch (const Error& e) {
    throw Error(file(kCheckpoint) + ": " + e.what());
  }
}

void RunFolder::save_results(Trainer& trainer, const TrainingData& data,
                             const DataArguments& arguments) const {
  export_onnx(*trainer.trained(), file("model.onnx"));
  throw_unless(save_safetensors({trainer.weights(), {}}, file("weights.safetensors")));
  if (const auto filters = first_filters(trainer))
    throw_unless(save_png(*filters, file("filters.png")));
  if (data.validation == nullptr) return;
  const Classified c = classify_validation(trainer, data, arguments, data.validation->size());
  if (!c.predicted.empty()) save_classification(*this, c, *data.validation);
}

std::string text_pictures(Trainer& trainer, const TrainingData& data,
                          const DataArguments& arguments, int64_t count) {
  if (data.validation == nullptr || !has_pictures(*data.validation)) return "";
  const Classified c = classify_validation(trainer, data, arguments, count);
  const auto shown = std::min<size_t>(static_cast<size_t>(count), c.predicted.size());
  std::vector<std::string> lines;
  std::string captions;
  for (size_t i = 0; i < shown; ++i) {
    const Dataset& dataset = *data.validation;
    const std::vector<std::string> picture =
        drawn(checked(tensor_picture(input_of(dataset, static_cast<int64_t>(i)))));
    const size_t width = std::max<size_t>(picture.empty() ? 0 : picture[0].size(), 16) + 2;
    lines.resize(std::max(lines.size(), picture.size()));
    for (size_t l = 0; l < picture.size(); ++l)
      lines[l] += fmt::format("{:<{}}", picture[l], width);
    const bool right = c.predicted[i] == c.truth[i];
    captions +=
        fmt::format("{:<{}}",
                    class_name(dataset, c.predicted[i]) +
                        (right ? ", right" : ", wrong: is " + class_name(dataset, c.truth[i])),
                    width);
  }
  std::string text;
  for (std::string& line : lines) text += line + "\n";
  return shown == 0 ? "" : text + captions + "\n";
}

}  // namespace tintype::cli
