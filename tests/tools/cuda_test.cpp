// Commands with --target cuda from outside: on the stand-in for a driver, and without any driver.
#include "frontend/graph/graph_builder.h"
#include "frontend/onnx/export.h"
#include "tests/tools/train_fixture.h"

#include <dlfcn.h>
#include <gmock/gmock.h>

namespace tintype {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class CudaCommand : public TrainCommand {
 protected:
  CudaCommand() {
    GraphBuilder g("small");
    auto x = g.input("image", f32("N", 1, 12, 12));
    g.output("scores", x.avg_pool2d({.kernel = 4}).flatten().linear({.units = 3}));
    export_onnx(*g.take(), path("m.onnx"));
  }
  /// `tintype ARGUMENTS` with the stand-in in the driver's place.
  static Outcome on_stand_in(const std::string& arguments) {
    return run_shell(kOnStandIn + TINTYPE_PROGRAM + " " + arguments);
  }
  /// `tintype-check ARGUMENTS` with it.
  static Outcome check(const std::string& arguments) {
    return run_shell(kOnStandIn + TINTYPE_PROGRAM + "-check " + arguments);
  }
  inline static const std::string kOnStandIn =
      std::string("LD_LIBRARY_PATH=") + TINTYPE_STAND_IN_DIR + " ";
  std::string training(const std::string& output) const {
    return "train " + path("m.onnx") + data() + "--optimizer sgd,lr=0.1,momentum=0.9 --batch 16 " +
           "--validation-split 0.2 --json --force -o " + path(output);
  }
};

double last_loss(const Outcome& o) {
  return report_in(o)["history"].back()["validation"]["loss"].get<double>();
}

TEST_F(CudaCommand, TrainsOnTheDeviceAsOnTheHost) {
  const Outcome host = tintype(training("host") + " --epochs 3");
  ASSERT_EQ(host.code, 0) << host.text;
  const Outcome device = on_stand_in(training("device") + " --target cuda --epochs 2");
  ASSERT_EQ(device.code, 0) << device.text;
  // The run goes on where it was, on either side.
  for (const std::string target : {"cuda,sm_90", "host"}) {
    const std::string run = path("resumed on " + target);
    fs::copy(path("device"), run, fs::copy_options::recursive);
    const Outcome more =
        on_stand_in("train --resume '" + run + "' --epochs 3 --json --target " + target);
    ASSERT_EQ(more.code, 0) << more.text;
    EXPECT_NEAR(last_loss(more), last_loss(host), 1e-5) << target;
  }
  const Outcome scores = on_stand_in("evaluate " + path("host") + " --target cuda --json");
  ASSERT_EQ(scores.code, 0) << scores.text;
}

TEST_F(CudaCommand, CompilesAndRunsProgramsWithStates) {
  ASSERT_EQ(tintype(training("run") + " --epochs 1 --save-step " + path("step.ir")).code, 0);
  const Outcome compiled =
      tintype("compile " + path("step.ir") + " --target cuda -o " + path("step.tt"));
  ASSERT_EQ(compiled.code, 0) << compiled.text;
  const Outcome ran = on_stand_in("run " + path("step.tt") + " --dim N=4");
  EXPECT_EQ(ran.code, 0) << ran.text;
  EXPECT_THAT(ran.text, HasSubstr("loss: f32[]"));
}

TEST_F(CudaCommand, BundlesCasesThatTheRunnerChecks) {
  ASSERT_EQ(tintype(training("run") + " --epochs 1 --save-step " + path("step.ir")).code, 0);
  ASSERT_TRUE(save_npy(Tensor::scalar(0.1f), path("rate.npy")).ok());
  const Outcome step = tintype("bundle " + path("step.ir") + " --target cuda --dim N=4 --runs 3 " +
                               "--input learning_rate=" + path("rate.npy") + " -o " + path("step"));
  ASSERT_EQ(step.code, 0) << step.text;
  const Outcome network = tintype("bundle " + path("m.onnx") + " --target cuda,sm_90 -o " +
                                  path("network") + " --coarse-weights");
  ASSERT_EQ(network.code, 0) << network.text;
  const Outcome both = check("check " + path("step") + " " + path("network"));
  EXPECT_EQ(both.code, 0) << both.text;
  EXPECT_THAT(both.text, Not(HasSubstr("failed")));
  const Outcome times = check("bench --seconds 0.01 --batch 2 " + path("network"));
  EXPECT_EQ(times.code, 0) << times.text;
  EXPECT_GT(report_in(times)["median_ms"].get<double>(), 0);
  EXPECT_THAT(check("device").text, HasSubstr("stand-in"));
}

TEST_F(CudaCommand, TheRunnerFindsWrongResults) {
  ASSERT_EQ(tintype("bundle " + path("m.onnx") + " --target cuda --dim N=2 -o " + path("c")).code,
            0);
  const std::string text = bytes_of(path("c/case.txt"));
  std::string data = bytes_of(path("c/data.bin"));
  ASSERT_EQ(data.size(), 4u * 2 * 3);  // the scores of two images
  data[7] = static_cast<char>(data[7] ^ 0x40);
  std::ofstream(path("c/data.bin"), std::ios::binary) << data;
  const Outcome wrong = check("check " + path("c"));
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.text, AllOf(HasSubstr("\"failed\""), HasSubstr("0/scores: element 1 is")));
  std::ofstream(path("c/data.bin"), std::ios::binary) << "short";
  EXPECT_THAT(check("check " + path("c")).text, HasSubstr("too short"));
  std::ofstream(path("c/case.txt")) << text << "expect nothing\n";
  EXPECT_THAT(check("check " + path("c")).text, HasSubstr("line 4: 'expect nothing'"));
  const Outcome loose = check("check --tolerance 1e-3x " + path("c"));
  EXPECT_EQ(loose.code, 2);
  EXPECT_THAT(loose.text, HasSubstr("--tolerance: expected a number of at least 0, got '1e-3x'"));
  EXPECT_EQ(check("chekc " + path("c")).code, 2);
}

// The C library is all that the runner asks for.
TEST_F(CudaCommand, TheRunnerStandsAlone) {
  const Outcome libraries = run_shell(std::string("ldd ") + TINTYPE_PROGRAM + "-check");
  ASSERT_EQ(libraries.code, 0) << libraries.text;
  for (const char* library :
       {"stdc++", "gcc_s", "Halide", "tintype.so", "LLVM", "onnx", "protobuf"})
    EXPECT_THAT(libraries.text, Not(HasSubstr(library)));
}

TEST_F(CudaCommand, LibrariesAreFoundByNameOrReplaced) {
  GraphBuilder g("net");
  auto x = g.input("image", f32("N", 3, 12, 12));
  g.output(
      "scores",
      x.conv2d({.filters = 8, .kernel = 3, .padding = 1}).relu().flatten().linear({.units = 3}));
  export_onnx(*g.take(), path("net.onnx"));
  const std::string program = path("net.tt");
  const Outcome compiled = tintype("compile " + path("net.onnx") +
                                   " --target cuda --libraries always,f32 -o " + program);
  ASSERT_EQ(compiled.code, 0) << compiled.text;
  const std::string run = "run " + program + " --dim N=2 --output " + path("y");
  const auto with = [&](const std::string& environment, const std::string& command) {
    return run_shell(environment + "LD_LIBRARY_PATH=" + TINTYPE_STAND_IN_LIBRARIES_DIR + ":" +
                     TINTYPE_STAND_IN_DIR + " " + TINTYPE_PROGRAM + " " + command);
  };
  const Outcome found = with("", run);
  ASSERT_EQ(found.code, 0) << found.text;
  EXPECT_THAT(found.text,
              AllOf(HasSubstr("cuBLASLt: 1 of 1 steps\n"), HasSubstr("cuDNN: 1 of 1 steps\n")));
  const std::string results = bytes_of(path("y.npy"));
  const Outcome off = with("TINTYPE_CUDA_LIBRARIES=0 ", run);
  ASSERT_EQ(off.code, 0) << off.text;
  EXPECT_THAT(off.text, HasSubstr("cuDNN: 0 of 1 steps; the others are kernels "
                                  "(TINTYPE_CUDA_LIBRARIES is 0)"));
  EXPECT_EQ(bytes_of(path("y.npy")).size(), results.size());
  const Outcome profile = with("", "profile " + program + " --dim N=2");
  ASSERT_EQ(profile.code, 0) << profile.text;
  EXPECT_THAT(profile.text,
              AllOf(HasSubstr("cuBLASLt"), HasSubstr("cuDNN"), Not(HasSubstr("implicit gemm"))));
  const Outcome explained =
      tintype("opt " + path("net.onnx") + " --target cuda --dim N=64 --passes default --explain " +
              "select-algorithms");
  EXPECT_THAT(explained.text, AllOf(HasSubstr("cuDNN in TF32: "), HasSubstr("cuBLASLt in TF32: ")));
}

TEST_F(CudaCommand, SaysWhichLibraryIsMissing) {
  if (void* driver = dlopen("libcuda.so.1", RTLD_LAZY)) {
    dlclose(driver);
    GTEST_SKIP() << "this computer has the driver";
  }
  const Outcome o = tintype(training("run") + " --target cuda --epochs 1");
  EXPECT_NE(o.code, 0);
  EXPECT_THAT(o.text, AllOf(HasSubstr("epoch 1, step 1"), HasSubstr("libcuda.so.1"),
                            HasSubstr("install NVIDIA's driver"), Not(HasSubstr("terminate"))));
  EXPECT_FALSE(fs::exists(path("run/checkpoint.ttc")));
}

}  // namespace
}  // namespace tintype
