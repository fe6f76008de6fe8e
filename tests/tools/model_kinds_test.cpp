// Which files the subcommands take as models, and what they say of all others.
#include "train_fixture.h"

#include <gmock/gmock.h>

namespace tintype {
namespace {

using testing::HasSubstr;

/// A perceptron that a person wrote, with its weights in the text.
constexpr const char* kNet =
    "\ngraph \"net\"(%x: f32[N,2]) {\n"
    "  %w = constant() {value = f32[2,3](0.5, -0.25, 0.125, 0.0625, 1, -1)} : f32[2,3]\n"
    "  %0 = MatMul(%x, %w)  // scores\n"
    "  return %0 as \"y\"\n}\n";

class ModelKinds : public TrainCommand {
 protected:
  ModelKinds() {
    write("net.ir", kNet);
    Tensor points = Tensor::empty(DType::f32, {12, 2}), classes = Tensor::empty(DType::i64, {12});
    for (size_t i = 0; i < 12; ++i) {
      points.mutable_values<float>()[2 * i] = static_cast<float>(i % 3);
      points.mutable_values<float>()[2 * i + 1] = static_cast<float>(i) / 12;
      classes.mutable_values<int64_t>()[i] = static_cast<int64_t>(i % 3);
    }
    EXPECT_TRUE(save_npy(points, path("points.npy")).ok());
    EXPECT_TRUE(save_npy(classes, path("classes.npy")).ok());
  }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  static void expect(const std::string& arguments, int code, const std::string& part) {
    const Outcome o = tintype(arguments);
    EXPECT_EQ(o.code, code) << arguments << "\n" << o.text;
    EXPECT_THAT(o.text, HasSubstr(part)) << arguments;
  }
};

TEST_F(ModelKinds, ATextIsTakenWhereAModelIs) {
  expect("check " + path("net.ir"), 0,
         "net.ir  text, 1 nodes, 6 parameters (0.0 MB), input x: f32[N,2]");
  const Outcome report = tintype("check --json " + path("net.ir"));
  EXPECT_EQ(report.code, 0) << report.text;
  EXPECT_EQ(report_in(report)["parameters"], 6);
  EXPECT_TRUE(report_in(report)["opset"].is_null());
  expect("gradcheck " + path("net.ir"), 0, "2 of 2 agree");
  expect("evaluate " + path("net.ir") + " --data " + path("points.npy") + " " + path("classes.npy"),
         0, "12 samples");
}

// Weights are constants with names, as a text has them for those that lie beside it.
TEST_F(ModelKinds, ATextIsTrained) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("first")).code, 0);
  ASSERT_EQ(
      tintype("opt " + path("first/model.onnx") + " --passes dead-code -o " + path("mlp.ir")).code,
      0);
  expect("train " + path("mlp.ir") + data() + "--epochs 2 -o " + path("run"), 0, "mlp.ir: ");
  expect("train --resume " + path("run") + " --epochs 3 -v", 0, "epoch 3/3");
  expect("evaluate " + path("run") + data(), 0, "60 samples");
}

TEST_F(ModelKinds, AMistakeInATextIsNamedWithItsLine) {
  write("bad.ir", "graph \"net\"(%x: f32[N,2]) {\n  %0 = Rleu(%x)\n  return %0 as \"y\"\n}\n");
  for (const std::string command : {"check ", "gradcheck ", "run ", "show "})
    expect(command + path("bad.ir"), 1, "bad.ir:line 2: ");
}

TEST_F(ModelKinds, WhatIsNoModelIsDescribed) {
  const std::pair<const char*, const char*> files[] = {
      {"a,b\n1,2\n", "it is a text that starts with 'a,b'; that of a graph starts with 'graph"},
      {"grap \"x\"(", "it is a text that starts with 'grap \"x\"('"},
      {"\xff\xd8\xff\xe0 jpeg", "it is a JPEG image"},
      {"\x89PNG\r\n\x1a\n", "it is a PNG image"},
      {"PK\x03\x04 zip", "it is a zip archive"},
      {"\x93NUMPY\x01", "it is a NumPy array"},
      {"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"}};
  for (const auto& [content, kind] : files) {
    write("file", content);
    for (const std::string command : {"run ", "check ", "gradcheck ", "show ", "evaluate "}) {
      const std::string arguments = command + path("file") + (command == "evaluate " ? data() : "");
      expect(arguments, 1, path("file") + ": not an ONNX model or the text of a graph: " + kind);
    }
    const Outcome piped = run_shell(std::string(TINTYPE_PROGRAM) + " opt - < " + path("file"));
    EXPECT_THAT(piped.text, HasSubstr("standard input: not an ONNX model or the text of a graph: " +
                                      std::string(kind)));
  }
}

// A damaged model stays one: nothing is said of images.
TEST_F(ModelKinds, ADamagedModelIsNotDescribed) {
  const std::string model = path("lenet5.onnx");
  ASSERT_EQ(tintype("zoo lenet5 -o " + model).code, 0);
  fs::resize_file(model, fs::file_size(model) / 2);
  expect("check " + model, 1, "lenet5.onnx: not an ONNX model: ");
}

TEST_F(ModelKinds, ACompiledProgramHoldsNoGraph) {
  const std::string program = path("net.tt");
  ASSERT_EQ(tintype("compile " + path("net.ir") + " -o " + program).code, 0);
  for (const std::string& command :
       std::vector<std::string>{"show ", "opt ", "check ", "gradcheck ", "reduce ",
                                "compile -o " + path("other.tt") + " "})
    expect(command + program, 1,
           "it is a compiled program, which holds no graph any more; give "
           "the model that it was compiled from");
  EXPECT_FALSE(fs::exists(path("other.tt")));
  for (const char* command : {"run", "bench", "profile"})
    expect(std::string(command) + " --help", 0, "or a compiled .tt file");
  for (const char* command : {"show", "opt", "compile", "tune", "reduce", "bundle"}) {
    const Outcome help = tintype(std::string(command) + " --help");
    EXPECT_EQ(help.text.find("compiled .tt file"), std::string::npos) << help.text;
  }
}

TEST_F(ModelKinds, WhatACompiledProgramCannotFollowIsRefused) {
  const std::string program = path("net.tt");
  ASSERT_EQ(tintype("compile " + path("net.ir") + " -o " + program).code, 0);
  for (const char* option :
       {"--math strict", "--target cuda", "--passes default", "--shape x=3x2", "--reference",
        "--libraries never", "--known-input x=x.npy", "--disable-pass simplify", "--tuning none"}) {
    const std::string name = std::string(option).substr(0, std::string(option).find(' '));
    for (const std::string command : {"run ", "bench --seconds 0 ", "profile --runs 1 "})
      expect(command + program + " " + option, 2,
             "net.tt: is compiled already, so that " + name + " changes nothing");
  }
  for (const char* option : {"--dim N=3", "--threads 1", "--no-cache", "--seed 2"})
    expect("run " + program + " " + option, 0, "y: f32[");
}

TEST_F(ModelKinds, AGivenShapeBindsTheSymbolsOfAllInputs) {
  write("twins.ir", "graph \"twins\"(%ids: f32[N,S], %mask: f32[N,S]) {\n"
                    "  %0 = Add(%ids, %mask)\n  return %0 as \"y\"\n}\n");
  ASSERT_EQ(
      tintype("opt " + path("twins.ir") + " --passes dead-code -o " + path("twins.onnx")).code, 0);
  expect("run " + path("twins.onnx") + " --shape ids=2x7", 0, "y: f32[2,7]");
  expect("run " + path("twins.onnx") + " --shape ids=axb --dim a=3 --dim b=2", 0, "y: f32[3,2]");
}

TEST_F(ModelKinds, OnlyJsonGoesWhereItWasAskedFor) {
  const std::string folder = std::string(TINTYPE_ONNX_SUITE) + "/node/test_add";
  fs::create_directory(path("none"));
  const Outcome o = run_shell(std::string(TINTYPE_PROGRAM) + " verify --json - " + folder + " " +
                              path("none") + " 2>/dev/null");
  EXPECT_EQ(o.code, 1) << o.text;
  const auto rows = nlohmann::json::parse(o.text);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["outcome"], "passed");
  write("base.json", "{\"median_ms\": 1e9}");
  const Outcome bench =
      run_shell(std::string(TINTYPE_PROGRAM) + " bench " + path("net.ir") +
                " --seconds 0 --json - --baseline " + path("base.json") + " 2>/dev/null");
  EXPECT_EQ(bench.code, 0) << bench.text;
  EXPECT_TRUE(nlohmann::json::parse(bench.text).contains("median_ms"));
}

}  // namespace
}  // namespace tintype
