// Networks as PyTorch's exporters write them: what is trained of them, and how.
#include "frontend/onnx/export.h"
#include "frontend/onnx/import.h"
#include "frontend/train/parameters.h"
#include "ir/diagnostic.h"
#include "tests/train/fixture.h"
#include "tools/driver/trainer.h"

#include <cmath>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

std::string file(const std::string& name) {
  return std::string(TINTYPE_TEST_DIR) + "/exported/" + name + ".onnx";
}

std::vector<std::string> trained_in(const Graph& graph) {
  std::vector<std::string> names;
  for (const Parameter& p : find_parameters(graph)) names.push_back(p.value->name());
  return names;
}

std::vector<std::string> untrained_in(const Graph& graph) {
  std::vector<std::string> names;
  for (const UntrainedConstant& c : find_untrained(graph)) names.push_back(c.name);
  return names;
}

TrainerOptions options_for(const std::string& freeze = "") {
  return {.training = {.optimizer = Sgd{.lr = 0.1}, .freeze = freeze}, .diagnostics_every = 0};
}

/// All samples in every step: the score of an epoch is the loss of its step.
std::vector<double> train(Trainer& trainer, const std::string& network) {
  const nlohmann::json about = fixture("exported").at(network);
  const auto dims = about.at("shape").get<std::vector<int64_t>>();
  const auto labels = about.at("target").get<std::vector<int64_t>>();
  const auto data = batches_of(
      {{"x", floats(about.at("x"), dims)}, {"target", Tensor::from<int64_t>({dims[0]}, labels)}},
      {.batch = dims[0]});
  std::vector<double> losses;
  for (const HistoryRow& row : trainer.fit(*data, nullptr, {.epochs = 30}))
    losses.push_back(row.training.at("loss"));
  return losses;
}

void expect_pytorchs_losses(Trainer& trainer, const std::string& network) {
  const auto want = fixture("exported").at(network).at("losses").get<std::vector<double>>();
  const std::vector<double> got = train(trainer, network);
  ASSERT_EQ(got.size(), want.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(got[i] - want[i]) / want[i]);
  EXPECT_LT(worst, 1e-5) << network;
}

struct Case {
  const char* network;
  const char* exporter;
  const char* freeze = "";
};

class ExportedNetwork : public testing::TestWithParam<Case> {};

// With constants of formulas trained, too, losses are off by 29 % (group norm), 11 % (factors) and
// 4e-5 (transformer).
TEST_P(ExportedNetwork, TrainsAsInPyTorch) {
  const std::string name = std::string(GetParam().network) + "_" + GetParam().exporter;
  Trainer trainer(import_onnx(file(name)), options_for(GetParam().freeze));
  expect_pytorchs_losses(trainer, GetParam().network);
}

// The older exporter's file does not say that "mean" and "std" were buffers.
INSTANTIATE_TEST_SUITE_P(
    All, ExportedNetwork,
    testing::Values(Case{"group_norm", "torchscript"}, Case{"group_norm", "dynamo"},
                    Case{"transformer", "torchscript"}, Case{"transformer", "dynamo"},
                    Case{"factors", "torchscript", "^(mean|std)$"}, Case{"factors", "dynamo"},
                    Case{"batch_norm", "torchscript"}),
    [](const auto& about) {
      return std::string(about.param.network) + "_" + about.param.exporter;
    });

TEST(Exported, NumbersOfTheCodeAreNotTrained) {
  const auto script = import_onnx(file("factors_torchscript"));
  EXPECT_THAT(trained_in(*script), UnorderedElementsAre("scale", "mean", "std", "first.weight",
                                                        "first.bias", "last.weight", "last.bias"));
  EXPECT_THAT(untrained_in(*script), ElementsAre("/Constant_output_0", "/Constant_1_output_0"));
  EXPECT_THAT(make_training_graph(script->clone(), {}).notes,
              ElementsAre("not trained (part of a formula, not a parameter): "
                          "'/Constant_output_0' and 1 more",
                          "trained, though applied to the input as a normalisation would be: "
                          "'mean', 'std'; --freeze '^(mean|std)$' keeps what is one"));
}

TEST(Exported, TheNewerExporterTellsBuffersAndWhatItComputed) {
  const auto factors = import_onnx(file("factors_dynamo"));
  EXPECT_THAT(trained_in(*factors), UnorderedElementsAre("scale", "first.weight", "first.bias",
                                                         "last.weight", "last.bias"));
  EXPECT_THAT(untrained_in(*factors), UnorderedElementsAre("mean", "std", "clone", "clone_1"));
  const auto norm = import_onnx(file("group_norm_dynamo"));
  EXPECT_THAT(trained_in(*norm), UnorderedElementsAre("conv.weight", "conv.bias", "val_21",
                                                      "val_23", "fc.weight", "fc.bias"));
}

TEST(Exported, WhatIsTrainedStaysTheSameInTheTrainedModel) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "tintype-exported-test.onnx").string();
  for (const char* name : {"factors_torchscript", "factors_dynamo", "group_norm_torchscript",
                           "group_norm_dynamo", "transformer_dynamo"}) {
    const auto before = import_onnx(file(name));
    export_onnx(*before, path);
    const auto after = import_onnx(path);
    EXPECT_THAT(trained_in(*after), testing::UnorderedElementsAreArray(trained_in(*before)))
        << name;
    EXPECT_THAT(untrained_in(*after), testing::UnorderedElementsAreArray(untrained_in(*before)))
        << name;
  }
  std::filesystem::remove(path);
}

// It had the statistics of the batch as further results, which a model in inference mode has not.
TEST(Exported, BatchNormalisationOfATrainingModeModelIsExportedForInference) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "tintype-batch-norm-test.onnx").string();
  Trainer trainer(import_onnx(file("batch_norm_torchscript")), options_for());
  train(trainer, "batch_norm");
  export_onnx(*trainer.trained(), path);
  const auto graph = import_onnx(path);
  for (const auto& n : graph->nodes())
    if (n->is("BatchNormalization")) {
      EXPECT_EQ(n->result_count(), 1);
      EXPECT_FALSE(n->attrs().has("training_mode"));
    }
  std::filesystem::remove(path);
  // Frozen, it is one as well.
  Trainer frozen(import_onnx(file("batch_norm_torchscript")), options_for("^norm"));
  EXPECT_LT(train(frozen, "batch_norm").back(), 1);
}

}  // namespace
}  // namespace tintype::test
