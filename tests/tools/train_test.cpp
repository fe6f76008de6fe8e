// tintype train from outside: files in, a model that runs out.
#include "frontend/data/npy.h"
#include "tools/driver/data_files.h"
#include "tools/driver/driver.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

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

TEST_F(TrainCommand, ReadsOptionsFromToml) {
  std::ofstream(path("c.toml")) << "# a run\nmodel = \"mlp\"\ndata = [\"" << path("x.npy")
                                << "\", \"" << path("y.npy")
                                << "\"]\nepochs = 3\njson = true\noptimizer = \"sgd,lr=0.1\"\n"
                                << "output = \"" << path("run") << "\"\n";
  const Outcome o = train("--config " + path("c.toml"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(report_in(o)["history"].size(), 3u);
  EXPECT_EQ(report_in(o)["history"][0]["learning_rate"], 0.1);
  std::ofstream(path("bad.toml")) << "[train]\nepochs = 3\n";
  EXPECT_THAT(train("--config " + path("bad.toml")).text, HasSubstr("section 'train'"));
  std::ofstream(path("worse.toml")) << "epoch = 3\n";
  EXPECT_THAT(train("--config " + path("worse.toml")).text, HasSubstr("did you mean 'epochs'?"));
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

const std::string kDigits = std::string(TINTYPE_SOURCE_DIR) + "/examples/data/digits";

// The figures of the documentation, on real images and one seed.
TEST_F(TrainCommand, LearnsHandwrittenDigits) {
  const Outcome mlp = train("mlp --data " + kDigits +
                            " --validation-split 0.2 --epochs 20 --json -o " + path("mlp"));
  ASSERT_EQ(mlp.code, 0) << mlp.text;
  EXPECT_GE(report_in(mlp)["history"][19]["validation"]["accuracy"].get<double>(), 0.96);
  const Outcome lenet = train("lenet5 --data " + kDigits +
                              " --resize 28 --validation-split 0.2 --augment "
                              "shift=1,rotate=8,scale=0.1 --epochs 12 --optimizer adam,lr=2e-3 "
                              "--schedule cosine --show 3 -o " +
                              path("lenet"));
  ASSERT_EQ(lenet.code, 0) << lenet.text;
  EXPECT_THAT(lenet.text, HasSubstr("1,438 samples of u8[1,28,28], 359 for validation"));
  EXPECT_THAT(lenet.text, HasSubstr(", right"));
  const nlohmann::json history = nlohmann::json::parse(bytes_of(path("lenet/history.json")));
  EXPECT_GE(history.back()["validation"]["accuracy"].get<double>(), 0.97);
  for (const char* file : {"history.csv", "curves.svg", "confusion.svg", "predictions.svg",
                           "filters.png", "model.onnx", "weights.safetensors", "checkpoint.ttc"})
    EXPECT_GT(fs::file_size(path(std::string("lenet/") + file)), 100u) << file;
}

TEST_F(TrainCommand, AResumedRunEqualsOneThatNeverStopped) {
  const std::string run = "mlp" + data() +
                          "--validation-split 0.2 --batch 7 --augment shift=1,noise=0.1 "
                          "--optimizer sgd,lr=0.05,momentum=0.9 --schedule warmup,length=2+step,"
                          "every=2 --average ema,decay=0.9 --seed 5 ";
  ASSERT_EQ(train(run + "--epochs 5 -o " + path("whole")).code, 0);
  const Outcome first = train(run + "--epochs 2 --threads 1 -o " + path("parts"));
  ASSERT_EQ(first.code, 0) << first.text;
  const Outcome rest = train("--epochs 5 --resume " + path("parts"));
  ASSERT_EQ(rest.code, 0) << rest.text;
  EXPECT_EQ(bytes_of(path("whole/weights.safetensors")),
            bytes_of(path("parts/weights.safetensors")));
  EXPECT_EQ(bytes_of(path("whole/model.onnx")), bytes_of(path("parts/model.onnx")));
}

/// Starts the program, waits until `file` has `lines` lines, and kills it without warning.
void kill_when_written(const std::vector<std::string>& arguments, const std::string& file,
                       int64_t lines) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stdout);
    std::freopen("/dev/null", "w", stderr);
    execv(TINTYPE_PROGRAM, argv.data());
    std::_Exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    const std::string text = bytes_of(file);
    if (std::count(text.begin(), text.end(), '\n') >= lines) kill(child, SIGKILL);
  }
  ASSERT_TRUE(WIFSIGNALED(status)) << "the run ended before it was killed: " << WEXITSTATUS(status);
}

TEST_F(TrainCommand, RunsThatAreKilledGoOnWithTheSameBits) {
  const std::vector<std::string> run = {"tintype",   "train",   "mlp",     "--data", kDigits,
                                        "--augment", "shift=1", "--batch", "50"};
  std::string line;
  for (size_t i = 2; i < run.size(); ++i) line += run[i] + " ";
  ASSERT_EQ(train(line + "--epochs 30 -o " + path("whole")).code, 0);
  std::vector<std::string> killed = run;
  killed.insert(killed.end(), {"--epochs", "10000", "-o", path("parts")});
  kill_when_written(killed, path("parts/history.csv"), 4);
  killed = {"tintype", "train", "--resume", path("parts"), "--epochs", "10000"};
  kill_when_written(killed, path("parts/history.csv"), 9);
  ASSERT_LT(std::ranges::count(bytes_of(path("parts/history.csv")), '\n'), 30);
  const Outcome rest = train("--resume " + path("parts") + " --epochs 30");
  ASSERT_EQ(rest.code, 0) << rest.text;
  EXPECT_EQ(bytes_of(path("whole/weights.safetensors")),
            bytes_of(path("parts/weights.safetensors")));
}

TEST_F(TrainCommand, ARunIsReplacedOnlyOnRequest) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("run")).code, 0);
  const std::string before = bytes_of(path("run/checkpoint.ttc"));
  const Outcome again = train("mlp" + data() + "--epochs 1 --seed 2 -o " + path("run"));
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.text, HasSubstr("holds a training run; continue it with --resume"));
  EXPECT_EQ(bytes_of(path("run/checkpoint.ttc")), before);
  EXPECT_EQ(train("mlp" + data() + "--epochs 1 --seed 2 --force -o " + path("run")).code, 0);
  EXPECT_NE(bytes_of(path("run/checkpoint.ttc")), before);
}

TEST_F(TrainCommand, ADamagedOrForeignCheckpointIsRefused) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("run")).code, 0);
  const Outcome foreign = train("--resume " + path("run") + " --batch 5 --epochs 2");
  EXPECT_EQ(foreign.code, 1);
  EXPECT_THAT(foreign.text, HasSubstr("60 samples in batches of 32 with seed 1; this data is 60 "
                                      "samples in batches of 5"));
  const Outcome other = train("--resume " + path("run") + " --optimizer sgd --epochs 2");
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.text, HasSubstr("is of another run"));
  fs::resize_file(path("run/checkpoint.ttc"), fs::file_size(path("run/checkpoint.ttc")) / 2);
  const Outcome cut = train("--resume " + path("run") + " --epochs 2");
  EXPECT_EQ(cut.code, 1);
  EXPECT_THAT(cut.text, HasSubstr("checkpoint.ttc: "));
  EXPECT_THAT(train("--resume " + path("nowhere")).text, HasSubstr("there is no training run in"));
}

TEST_F(TrainCommand, StartsFromWeightsInSafetensors) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 3 -o " + path("first")).code, 0);
  const Outcome o = train("mlp" + data() + "--epochs 1 --seed 9 --optimizer sgd,lr=0 --weights " +
                          path("first/weights.safetensors") + " -o " + path("second"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(bytes_of(path("first/weights.safetensors")),
            bytes_of(path("second/weights.safetensors")));
  const Outcome wrong = train("lenet5" + data() + "--resize 28 --epochs 1 --weights " +
                              path("first/weights.safetensors") + " -o " + path("third"));
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.text, HasSubstr("first/weights.safetensors: weights: "));
}

TEST_F(TrainCommand, ReadsTablesWithClassesAndWithValues) {
  std::ofstream classes(path("c.csv")), values(path("v.csv"));
  classes << "width,height,kind\n";
  values << "a,b,sum\n";
  for (int i = 0; i < 40; ++i) {
    classes << i % 2 * 3 + 0.01 * i << "," << i % 7 << "," << (i % 2 == 0 ? "small" : "large")
            << "\n";
    values << i % 5 << "," << i % 3 << "," << i % 5 + 0.5 * (i % 3) << "\n";
  }
  classes.close();
  values.close();
  const Outcome c =
      train("mlp --data " + path("c.csv") +
            " --normalize standard --validation-split 0.25 --epochs 30 --json -o " + path("c"));
  ASSERT_EQ(c.code, 0) << c.text;
  EXPECT_GE(report_in(c)["history"][29]["validation"]["accuracy"].get<double>(), 0.9);
  EXPECT_THAT(bytes_of(path("c/confusion.svg")), HasSubstr("large"));
  const Outcome wrong =
      train("mlp --data " + path("v.csv") + " --table label=total -o " + path("v"));
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.text, HasSubstr("total"));
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
  expect("mlp --data " + path("x.npy"), "has no targets; give a second file for 'target'");
  expect("mlp --data " + path("nowhere"), "cannot read '" + path("nowhere") + "'");
  expect("mlp" + data() + "--augment turn=3", "there is no 'turn'");
  expect("mlp" + data() + "--augment crop=20", "--augment");
  expect("mlp" + data() + "--resize 0", "--resize expects extents");
  expect("mlp" + data() + "--validation-split 0.2 --validation " + path("x.npy"),
         "exclude each other");
  expect("mlp --data x=" + path("x.npy"), "there is no input 'x'");
  expect("mlp --data image=" + path("x.npy"), "no file for 'target'");
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
