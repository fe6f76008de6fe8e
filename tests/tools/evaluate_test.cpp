// tintype evaluate from outside: runs, checkpoints and models, alone and averaged.
#include "frontend/data/checkpoint.h"
#include "frontend/data/npy.h"
#include "frontend/onnx/import.h"
#include "frontend/train/parameters.h"
#include "tests/tools/train_fixture.h"
#include "tools/driver/data_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <map>
#include <memory>

namespace tintype {
namespace {

using testing::HasSubstr;

class EvaluateCommand : public TrainCommand {
 protected:
  /// Trains the MLP, and returns what it scored in the end.
  nlohmann::json train_run(const std::string& name, const std::string& options) {
    const Outcome o = train("mlp" + data() + "--json -o " + path(name) + " " + options);
    EXPECT_EQ(o.code, 0) << o.text;
    return report_in(o)["history"].back()["validation"];
  }
  nlohmann::json evaluate(const std::string& arguments) {
    const Outcome o = tintype("evaluate " + arguments + " --json");
    EXPECT_EQ(o.code, 0) << o.text;
    return report_in(o);
  }
  std::string message(const std::string& arguments, int code = 1) {
    const Outcome o = tintype("evaluate " + arguments);
    EXPECT_EQ(o.code, code) << o.text;
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << o.text;
    return o.text;
  }
};

const std::string kOptions = "--optimizer sgd,lr=0.02 --validation-split 0.3 --normalize ";

TEST_F(EvaluateCommand, ARunHasTheScoresOfItsLastEpoch) {
  const nlohmann::json want =
      train_run("run", kOptions + "standard --epochs 3 --augment pad=1,crop=10");
  const nlohmann::json got = evaluate(path("run"));
  EXPECT_EQ(got["samples"], 18);
  EXPECT_EQ(got["averaged"]["accuracy"], want["accuracy"]);
  EXPECT_NEAR(got["averaged"]["loss"].get<double>(), want["loss"].get<double>(), 1e-6);
  EXPECT_EQ(got["models"][0]["scores"], got["averaged"]);
  ASSERT_EQ(got["confusion"].size(), 3u);
  int64_t samples = 0;
  for (const auto& c : got["classes"]) samples += c["samples"].get<int64_t>();
  EXPECT_EQ(samples, 18);
  const Outcome text = tintype("evaluate " + path("run"));
  EXPECT_THAT(text.text, HasSubstr("precision  recall     f1"));
}

TEST_F(EvaluateCommand, CheckpointsOfARunAreAveraged) {
  train_run("run", kOptions + "standard --epochs 5 --keep-checkpoints 3");
  EXPECT_FALSE(fs::exists(path("run/checkpoint-0002.ttc")));
  std::string list;
  for (const int epoch : {3, 4, 5}) list += path(fmt::format("run/checkpoint-{:04}.ttc ", epoch));
  const nlohmann::json all = evaluate(list + "-o " + path("report"));
  ASSERT_EQ(all["models"].size(), 3u);
  // The last checkpoint is the run's model.
  const nlohmann::json last = evaluate(path("run"));
  EXPECT_EQ(all["models"][2]["scores"], last["averaged"]);
  EXPECT_NE(all["models"][0]["scores"], all["models"][2]["scores"]);
  // The loss of mean probabilities is below the mean of the losses (Jensen), above the least.
  double mean = 0;
  for (const auto& m : all["models"]) mean += m["scores"]["loss"].get<double>() / 3;
  EXPECT_LT(all["averaged"]["loss"].get<double>(), mean);
  const Tensor p = load_npy(path("report/predictions.npy")).value();
  ASSERT_EQ(p.dims(), (std::vector<int64_t>{18, 3}));
  for (size_t row = 0; row < 18; ++row)
    EXPECT_NEAR(p.values<float>()[3 * row] + p.values<float>()[3 * row + 1] +
                    p.values<float>()[3 * row + 2],
                1, 1e-5);
  for (const char* file : {"evaluation.json", "confusion.svg", "predictions.svg"})
    EXPECT_GT(fs::file_size(path(std::string("report/") + file)), 100u) << file;
}

TEST_F(EvaluateCommand, WeightsOfCheckpointsAreAveraged) {
  train_run("run", kOptions + "standard --epochs 4 --keep-checkpoints 2");
  const std::string third = path("run/checkpoint-0003.ttc"),
                    fourth = path("run/checkpoint-0004.ttc");
  const nlohmann::json mean =
      evaluate(third + " " + fourth + " --average-weights -o " + path("mean"));
  ASSERT_EQ(mean["models"].size(), 1u);
  EXPECT_THAT(mean["models"][0]["model"].get<std::string>(), HasSubstr(fourth));
  const auto weights = [&](const std::string& file) {
    std::map<std::string, Tensor> by_name;
    const std::unique_ptr<Graph> graph = import_onnx(file);
    for (const Parameter& p : find_parameters(*graph))
      by_name.emplace(p.value->name(), *p.value->constant());
    return by_name;
  };
  const auto a = load_checkpoint(third).value().tensors,
             b = load_checkpoint(fourth).value().tensors;
  const auto got = weights(path("mean/model.onnx"));
  EXPECT_EQ(got.size(), weights(path("run/model.onnx")).size());
  for (const auto& [name, t] : got)
    for (size_t i = 0; i < static_cast<size_t>(t.size()); ++i)
      ASSERT_EQ(t.values<float>()[i],
                static_cast<float>(
                    (a.at(name).values<float>()[i] + double{b.at(name).values<float>()[i]}) / 2))
          << name << " " << i;
  // What was kept is a model like any other, with the same scores.
  EXPECT_EQ(evaluate(path("mean") + data() + "--validation-split 0.3")["averaged"],
            mean["averaged"]);
}

TEST_F(EvaluateCommand, RunsThatPreprocessDifferentlyAreAveraged) {
  train_run("a", kOptions + "standard --epochs 3");
  train_run("b", "--epochs 2 --resize 8 --validation-split 0.3 --seed 1");
  const nlohmann::json both = evaluate(path("a") + " " + path("b") + data());
  EXPECT_EQ(both["samples"], 60);
  ASSERT_EQ(both["models"].size(), 2u);
  EXPECT_GT(both["averaged"]["accuracy"].get<double>(), 0.5);
}

TEST_F(EvaluateCommand, AveragedWeightsCountInCheckpointsToo) {
  train_run("run", kOptions + "standard --epochs 3 --average ema,decay=0.9");
  EXPECT_EQ(evaluate(path("run"))["averaged"], evaluate(path("run/checkpoint.ttc"))["averaged"]);
}

TEST_F(EvaluateCommand, ASeedThatIsTheDefaultIsNoDifference) {
  train_run("a", kOptions + "standard --epochs 1");
  train_run("b", kOptions + "standard --epochs 1 --seed 1");
  EXPECT_EQ(evaluate(path("a") + " " + path("b"))["models"].size(), 2u);
}

TEST_F(EvaluateCommand, AModelOfItsOwnNeedsData) {
  train_run("run", kOptions + "unit --epochs 3");
  fs::copy_file(path("run/model.onnx"), path("alone.onnx"));
  EXPECT_EQ(evaluate(path("alone.onnx") + data())["averaged"],
            evaluate(path("run") + data())["averaged"]);
  EXPECT_THAT(message(path("alone.onnx")), HasSubstr("which data? give --data"));
}

TEST_F(EvaluateCommand, MistakesAreOneLine) {
  train_run("a", kOptions + "standard --epochs 3");
  train_run("b", kOptions + "standard --epochs 3 --seed 2");
  EXPECT_THAT(message(path("a") + " " + path("b")), HasSubstr("validated with different data"));
  EXPECT_THAT(message(path("nowhere.onnx")), HasSubstr("nowhere.onnx"));
  EXPECT_THAT(message(path("nowhere.ttc")), HasSubstr("cannot be opened"));
  EXPECT_THAT(message(folder_), HasSubstr("is no folder of a training run"));
  EXPECT_THAT(message(path("a") + " --loss mes", 2), HasSubstr("did you mean 'mse'?"));
  EXPECT_THAT(message(path("a") + " --loss mse"), HasSubstr("target"));
  EXPECT_THAT(message(path("a") + " --average-weights"), HasSubstr("one model alone has no mean"));
  train_run("c", kOptions + "unit --epochs 1");
  EXPECT_THAT(message(path("a") + " " + path("c") + data() + "--average-weights"),
              HasSubstr("prepared differently"));
  const Outcome other = train("lenet5" + data() + "--epochs 1 -o " + path("d"));
  EXPECT_EQ(other.code, 0) << other.text;
  for (const char* run : {"b", "d"}) fs::remove(path(std::string(run) + "/inputs.json"));
  EXPECT_THAT(message(path("b") + " " + path("d") + data() + "--average-weights"),
              HasSubstr("--average-weights: tensor '"));
  fs::resize_file(path("a/checkpoint.ttc"), 1000);
  EXPECT_THAT(message(path("a/checkpoint.ttc")), HasSubstr("checkpoint.ttc: "));
  std::ofstream(path("b/inputs.json")) << "{";
  EXPECT_THAT(message(path("b")), HasSubstr("inputs.json: "));
  std::ofstream(path("file")) << "in the way";
  EXPECT_THAT(message(path("a") + " -o " + path("file/report")), HasSubstr("cannot be made"));
}

}  // namespace
}  // namespace tintype
