// A checkpoint has weights alone: the model beside it says what they are weights of.
#include "tools/trained_model.h"

#include "frontend/data/checkpoint.h"
#include "frontend/data/json.h"
#include "frontend/plot/history.h"
#include "frontend/train/parameters.h"
#include "frontend/train/training_graph.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "tools/driver/graph_file.h"
#include "tools/driver/training_progress.h"

#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kModel = "model.onnx";
constexpr const char* kInputs = "inputs.json";

std::string in_folder(const std::string& folder, const char* name) {
  return (fs::path(folder) / name).string();
}

/// Names of the model's own states: not those that training keeps beside them.
bool is_weight(const std::string& name) {
  return name != "step" && name != "seed" && !name.starts_with("optimizer/") &&
         !name.starts_with("average/") && !name.starts_with("best/");
}

/// The model with the weights of a checkpoint.
std::unique_ptr<Graph> with_weights(const Graph& model, const std::string& path) {
  Result<Checkpoint> checkpoint = load_checkpoint(path);
  if (!checkpoint.ok()) throw Error(checkpoint.status().message());
  const auto& tensors = checkpoint.value().tensors;
  const bool averaged = TrainingProgress::from_json(checkpoint.value().metadata).averaged > 0;
  std::set<std::string> taken;
  const auto value = [&](const std::string& name) -> std::optional<Tensor> {
    auto found = averaged ? tensors.find("average/" + name) : tensors.end();
    if (found == tensors.end()) found = tensors.find(name);
    if (found == tensors.end()) return std::nullopt;
    taken.insert(name);
    return found->second;
  };
  std::unique_ptr<Graph> graph = export_trained(model, value);
  for (const auto& [name, tensor] : tensors)
    if (is_weight(name) && taken.count(name) == 0)
      throw Error(fmt::format("'{}', which is not in the {} beside it", name, kModel));
  return graph;
}

TrainedModel load_run(const std::string& path, const std::string& folder) {
  TrainedModel m = {path, nullptr, std::nullopt, folder};
  const std::string model = in_folder(folder, kModel);
  if (!fs::exists(model))
    throw Error(fmt::format("'{}' is no folder of a training run: it has no {}", folder, kModel));
  m.graph = import_for_training(model);
  if (fs::exists(in_folder(folder, kInputs)))
    m.inputs = load_input_spec(in_folder(folder, kInputs));
  return m;
}

}  // namespace

std::unique_ptr<Graph> import_for_training(const std::string& path) {
  ImportOptions options;
  std::unique_ptr<Graph> graph = load_graph(path, options);
  if (is_graph_text(path)) return graph;  // whose extents are what its author means
  for (const auto& v : graph->inputs()) {
    if (v->rank() == 0 || !v->shape()[0].is_static()) continue;
    Shape shape = v->shape();
    shape[0] = Dim::symbol("N");
    options.input_shapes[v->name()] = std::move(shape);
  }
  return options.input_shapes.empty() ? std::move(graph) : load_graph(path, options);
}

InputSpec input_spec(const DataArguments& a, const TrainingData& data, const std::string& loss) {
  InputSpec spec = {a.table,
                    a.resize,
                    "",
                    data.normalization.text(),
                    loss,
                    data.training->class_names(),
                    data.input_names,
                    data.target_name};
  const Augmentation& g = data.augmentation;
  if (g.crop > 0) spec.augment = fmt::format("pad={},crop={}", g.pad, g.crop);
  return spec;
}

void save_input_spec(const InputSpec& s, const std::string& path) {
  const Json j = {{"table", s.table},         {"resize", s.resize}, {"augment", s.augment},
                  {"normalize", s.normalize}, {"loss", s.loss},     {"classes", s.classes},
                  {"columns", s.columns},     {"target", s.target}};
  const Status saved = save_text(json_text(j), path);
  if (!saved.ok()) throw Error(saved.message());
}

InputSpec load_input_spec(const std::string& path) {
  std::ifstream file = open_text(path);
  try {
    const Json j = parse_json<Json>(file);
    const auto text = [&](const char* key) { return j.at(key).get<std::string>(); };
    return {text("table"),
            text("resize"),
            text("augment"),
            text("normalize"),
            text("loss"),
            j.at("classes").get<std::vector<std::string>>(),
            j.value("columns", std::vector<std::string>()),
            j.value("target", std::string())};
  } catch (const Json::exception& e) {
    throw Error(path + ": " + fault_of(e));
  }
}

TrainedModel load_trained(const std::string& path) {
  if (fs::is_directory(path)) return load_run(path, path);
  if (!path.ends_with(".ttc")) return {path, import_for_training(path), std::nullopt, ""};
  if (!fs::exists(path)) throw Error(path + ": cannot be opened");
  const fs::path parent = fs::path(path).parent_path();
  TrainedModel m = load_run(path, parent.empty() ? "." : parent.string());
  try {
    m.graph = with_weights(*m.graph, path);
  } catch (const Error& e) {
    const std::string what = e.what();
    throw Error(what.starts_with(path) ? what : path + ": " + what);
  }
  return m;
}

TrainedModel average_weights(std::vector<TrainedModel> models) {
  const auto refuse = [](const std::string& why) {
    throw Error("evaluate --average-weights: " + why);
  };
  if (models.size() < 2) refuse("one model alone has no mean; name the checkpoints to average");
  std::vector<std::map<std::string, Tensor>> weights;
  std::string names;
  for (const TrainedModel& m : models) {
    if (m.inputs != models[0].inputs)
      refuse(fmt::format("'{}' and '{}' were trained on inputs that were prepared differently; "
                         "compare the inputs.json beside them",
                         models[0].path, m.path));
    weights.push_back(weights_of(*m.graph));
    names += (names.empty() ? "" : ", ") + m.path;
  }
  const Result<std::map<std::string, Tensor>> mean = average_checkpoints(weights);
  if (!mean.ok()) refuse(mean.status().message());
  TrainedModel result = std::move(models[0]);
  result.path = fmt::format("mean weights of {}", names);
  result.graph = export_trained(*result.graph, [&](const std::string& name) {
    const auto found = mean.value().find(name);
    return found == mean.value().end() ? std::nullopt : std::optional(found->second);
  });
  return result;
}

}  // namespace tintype::cli
