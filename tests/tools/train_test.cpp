// tintype train from outside: files in, a model that runs out.
#include "frontend/data/npy.h"
#include "tools/driver/data_files.h"
#include "tools/driver/driver.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>

namespace tintype {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Outcome {
  int code = -1;
  std::string text;  ///< standard output and error together
};

Outcome train(const std::string& arguments) {
  Outcome o;
  FILE* pipe = popen((std::string(TINTYPE_PROGRAM) + " train " + arguments + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
    o.text.append(buffer.data(), n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return o;
}

/// The JSON after what may have been said on standard error.
nlohmann::json report_in(const Outcome& o) {
  return nlohmann::json::parse(o.text.substr(std::min(o.text.find('{'), o.text.size())));
}

/// A folder with images u8[60,1,12,12] of three classes, each with a bright third, and their
/// labels.
class TrainCommand : public testing::Test {
 protected:
  TrainCommand() {
    std::string pattern = (fs::temp_directory_path() / "tintype-train-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    Tensor images = Tensor::empty(DType::u8, {60, 1, 12, 12});
    Tensor labels = Tensor::empty(DType::i32, {60});
    for (size_t i = 0; i < 60; ++i) {
      labels.mutable_values<int32_t>()[i] = static_cast<int32_t>(i % 3);
      for (size_t p = 0; p < 144; ++p)
        images.mutable_values<uint8_t>()[i * 144 + p] =
            static_cast<uint8_t>((p / 48 == i % 3 ? 200 : 20) + (i * p) % 17);
    }
    EXPECT_TRUE(save_npy(images, path("x.npy")).ok());
    EXPECT_TRUE(save_npy(labels, path("y.npy")).ok());
  }
  ~TrainCommand() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string data() const { return " --data " + path("x.npy") + " " + path("y.npy") + " "; }

  std::string folder_;
};

TEST_F(TrainCommand, FitsAZooNetworkToTheDataAndWritesAModel) {
  const Outcome o = train("mlp" + data() +
                          "--epochs 6 --batch 16 --optimizer adam,lr=3e-4 --validation-split 0.2 "
                          "--json -o " +
                          path("run"));
  ASSERT_EQ(o.code, 0) << o.text;
  const nlohmann::json report = report_in(o);
  ASSERT_EQ(report["history"].size(), 6u);
  EXPECT_LT(report["history"][5]["training"]["loss"], report["history"][0]["training"]["loss"]);
  EXPECT_GT(report["history"][5]["validation"]["accuracy"].get<double>(), 0.9);
  const CompileOptions options;
  const CompiledModel m = compile_model(path("run/model.onnx"), options);
  const auto y = m.model.run(
      std::map<std::string, Tensor>{{"image", Tensor::zeros(DType::f32, {5, 1, 12, 12})}});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(y.value()[0].dims(), (std::vector<int64_t>{5, 3}));
}

TEST_F(TrainCommand, ContinuesFromAnOnnxModelWithPartsFrozen) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("first")).code, 0);
  const Outcome o = train(path("first/model.onnx") + " --data image=" + path("x.npy") + " target=" +
                          path("y.npy") + " --freeze '^fc1' --epochs 2 -v -o " + path("second"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("and 74,240 frozen ones"));
  EXPECT_THAT(o.text, HasSubstr("epoch 2/2  loss "));
}

TEST_F(TrainCommand, ReadsOptionsFromJsonAndTheCommandLineWins) {
  std::ofstream(path("c.json")) << R"({"model": "mlp", "data": [")" << path("x.npy") << R"(", ")"
                                << path("y.npy")
                                << R"("], "epochs": 5, "batch": 30, "json": true, "output": ")"
                                << path("run") << "\"}";
  const Outcome o = train("--config " + path("c.json") + " --epochs 2");
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(report_in(o)["history"].size(), 2u);
}

TEST_F(TrainCommand, MistakesAreOneLine) {
  const auto expect = [&](const std::string& arguments, const std::string& part) {
    const Outcome o = train(arguments);
    EXPECT_EQ(o.code, 1) << o.text;
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << o.text;
    EXPECT_THAT(o.text, HasSubstr(part));
  };
  expect("mlp", "which data?");
  expect(data(), "which model?");
  expect("mpl" + data(), "no network 'mpl' in the zoo");
  expect("mlp --data " + path("x.npy"), "no file for 'target'");
  expect("mlp" + data() + "--optimizer adma", "did you mean 'adam'?");
  expect("mlp" + data() + "--clip globl=1", "no option 'globl'");
  expect("mlp" + data() + "--average mean", "--average expects ema");
  expect("mlp" + data() + "--validation-split 2", "expects a number between 0 and 1");
  expect("mlp" + data() + "--early-stopping acuracy --json -o " + path("r"),
         "did you mean 'accuracy'?");
  expect("lenet5 --data " + path("x.npy") + " " + path("x.npy"), "'target'");
  std::ofstream(path("bad.json")) << R"({"epoch": 3})";
  expect("--config " + path("bad.json"), "there is no option 'epoch' (did you mean 'epochs'?)");
}

}  // namespace
}  // namespace tintype
