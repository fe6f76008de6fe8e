// Checkpoints, pictures and the trained model of a run.
#include "tools/train_results.h"

#include "frontend/data/checkpoint.h"
#include "frontend/data/json.h"
#include "frontend/data/safetensors.h"
#include "frontend/onnx/export.h"
#include "frontend/plot/plots.h"
#include "frontend/train/parameters.h"
#include "ir/diagnostic.h"
#include "tools/classification.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <optional>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpoint = "checkpoint.ttc";

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
    out.add(scores);
  }
  out.truth.resize(out.predicted.size());
  return out;
}

bool is_picture(const std::vector<int64_t>& dims) {
  return dims.size() == 3 && (dims[0] == 1 || dims[0] == 3);
}

Tensor sample_of(const Tensor& batch, int64_t index) {
  std::vector<int64_t> dims(batch.dims().begin() + 1, batch.dims().end());
  Tensor one = Tensor::empty(batch.dtype(), dims);
  if (one.bytes() > 0)
    std::memcpy(one.mutable_data(),
                static_cast<const std::byte*>(batch.data()) +
                    static_cast<size_t>(index) * one.bytes(),
                one.bytes());
  return one;
}

/// Rows of inputs, and below each what the model makes of them, in the inputs' range of values.
/// Nothing when they are no pictures.
std::optional<Image> reconstructions(Trainer& trainer, const TrainingData& data,
                                     const DataArguments& a) {
  constexpr int64_t kColumns = 12, kPictures = 24;
  const auto batches =
      data.validation ? data.validation_batches(trainer, a) : data.batches(trainer, a, 1);
  std::optional<Batch> batch = batches->next();
  const std::string name = trainer.model().inputs()[0]->name();
  if (!batch || !is_picture(sample_of(batch->at(name), 0).dims())) return std::nullopt;
  const Tensor inputs = batch->at(name);
  for (const TargetInput& t : trainer.program().targets) batch->erase(t.name);
  const Tensor outputs = trainer.predict(*batch).at(trainer.model().output_name(0));
  if (outputs.dims() != inputs.dims() || inputs.dtype() != DType::f32) return std::nullopt;
  const auto [low, high] = std::ranges::minmax(inputs.values<float>());
  const int64_t count = std::min(kPictures, inputs.dims()[0]);
  std::vector<Image> pictures;
  for (int64_t first = 0; first < count; first += kColumns)
    for (const Tensor* row : {&inputs, &outputs})
      for (int64_t i = first; i < std::min(first + kColumns, count); ++i)
        pictures.push_back(checked(tensor_picture(sample_of(*row, i), static_cast<double>(low),
                                                  static_cast<double>(high))));
  return checked(picture_grid(pictures, static_cast<int>(std::min(kColumns, count)), /*group=*/2));
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

std::string checkpoint_name(int64_t epoch) { return fmt::format("checkpoint-{:04}.ttc", epoch); }

/// By epoch.
std::map<int64_t, fs::path> kept_checkpoints(const std::string& folder) {
  std::map<int64_t, fs::path> kept;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const size_t dash = name.find('-');
    const int64_t epoch = dash == std::string::npos ? 0 : std::atoll(name.substr(dash + 1).c_str());
    if (name == checkpoint_name(epoch)) kept[epoch] = entry.path();
  }
  return kept;
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
  export_onnx(*trainer.trained(), file("model.onnx"));
}

void RunFolder::save_parameters(const TrainingGraph& program) const {
  using Json = nlohmann::ordered_json;
  Json trained = Json::array(), others = Json::array();
  for (const TrainedParameter& p : program.parameters) {
    Json row = {{"name", p.name}, {"shape", p.dims}};
    if (!p.frozen && p.used) {
      trained.push_back(std::move(row));
      continue;
    }
    row["why"] = p.frozen ? "frozen" : "the loss does not depend on it";
    others.push_back(std::move(row));
  }
  for (const UntrainedConstant& c : program.untrained)
    others.push_back({{"name", c.name}, {"shape", c.dims}, {"why", text_of(c.why)}});
  const Json all = {{"trained", std::move(trained)}, {"not trained", std::move(others)}};
  throw_unless(save_text(json_text(all), file("parameters.json")));
}

void RunFolder::keep_checkpoint(int64_t epoch, int64_t count) const {
  const std::string kept = file(checkpoint_name(epoch));
  std::error_code error;
  fs::remove(kept, error);
  // A link costs nothing: saving the next checkpoint leaves the file alone that has two names.
  fs::create_hard_link(file(kCheckpoint), kept, error);
  if (error) fs::copy_file(file(kCheckpoint), kept, fs::copy_options::overwrite_existing, error);
  if (error) throw Error(kept + ": cannot be written: " + error.message());
  for (const auto& [number, path] : kept_checkpoints(path_))
    if (number <= epoch - count || number > epoch) fs::remove(path, error);
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
  throw_unless(save_safetensors({weights_of(*trainer.trained()), {}}, file("weights.safetensors")));
  if (const auto filters = first_filters(trainer))
    throw_unless(save_png(*filters, file("filters.png")));
  if (data.reconstruct)
    if (const auto picture = reconstructions(trainer, data, arguments))
      throw_unless(save_png(*picture, file("reconstructions.png")));
  if (data.validation == nullptr || data.reconstruct) return;
  const Classified c = classify_validation(trainer, data, arguments, data.validation->size());
  if (!c.predicted.empty())
    save_classification(path_, c, *data.validation, /*mistakes_first=*/false);
}

std::string text_pictures(Trainer& trainer, const TrainingData& data,
                          const DataArguments& arguments, int64_t count) {
  if (data.validation == nullptr || data.reconstruct || !has_pictures(*data.validation)) return "";
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
