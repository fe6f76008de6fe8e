// What the host does for a CUDA device: opening, copying, recording, giving back, and failing.
#include "codegen/shared_object.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/driver.h"
#include "tests/cuda/fixture.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>

namespace tintype {
namespace {

using cuda_test::compiled;
using cuda_test::gives_back;
using cuda_test::inputs_of;
using cuda_test::weights;
using testing::AllOf;
using testing::HasSubstr;

/// A convolution with margins, a pool, a dense layer and a softmax.
void small_network(Graph& g, Builder& b) {
  Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), Dim(3), Dim(6), Dim(6)}});
  Value* y = b.make("Conv", {b.make("Tanh", {x}), weights(b, {4, 3, 3, 3}, 1)},
                    {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  y = b.make(
      "MaxPool", {b.make("Relu", {y})},
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  y = b.make("Gemm", {b.make("Flatten", {y}), weights(b, {36, 5}, 2), weights(b, {5}, 3)});
  g.add_output("y", b.make("Softmax", {y}));
}

std::vector<Tensor> run(const Model& model, const std::vector<Tensor>& inputs) {
  auto result = model.run(std::span<const Tensor>(inputs));
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? std::move(result).value() : std::vector<Tensor>();
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dims() == b.dims() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

TEST(CudaDriver, SaysWhichLibraryIsMissing) {
  const Result<CudaDriver> none = load_cuda_driver("libnot-there.so.1");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), StatusCode::unsupported);
  EXPECT_THAT(none.status().message(),
              AllOf(HasSubstr("libnot-there.so.1 cannot be loaded"), HasSubstr("NVIDIA's driver")));
}

TEST(CudaDriver, SaysWhichFunctionIsMissing) {
  const Result<CudaDriver> other = load_cuda_driver("libm.so.6");
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.status().message(), HasSubstr("libm.so.6 has no function cuInit"));
}

// The machine at hand may have a GPU; without one the run, not the compilation, says what is
// missing.
TEST(CudaDriver, ModelsCompileWithoutOne) {
  const CompiledModel m = compiled(small_network, "cuda");
  EXPECT_GT(m.report.codegen.kernels, 3);
  if (load_cuda_driver("libcuda.so.1").ok()) GTEST_SKIP() << "this machine has a driver";
  const auto inputs = inputs_of(m.model.program(), {{"N", 1}});
  const auto result = m.model.run(std::span<const Tensor>(inputs));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::unsupported);
  EXPECT_THAT(result.status().message(), HasSubstr("libcuda.so.1"));
}

TEST(CudaRuntime, CopiesConstantsOnceAndReplaysAGraph) {
  CudaStandIn device;
  const CompiledModel m = compiled(small_network, "cuda");
  const auto inputs = inputs_of(m.model.program(), {{"N", 2}});
  const Tensor first = run(m.model, inputs)[0];
  const size_t kernels = device.count("cuLaunchKernel");
  EXPECT_GT(kernels, 3u);
  device.forget_calls();
  EXPECT_TRUE(same_bits(run(m.model, inputs)[0], first));  // records
  EXPECT_EQ(device.count("cuLaunchKernel"), kernels);
  EXPECT_EQ(device.count("cuMemAlloc_v2"), 0u);
  EXPECT_EQ(device.count("cuModuleLoadDataEx"), 0u);
  device.forget_calls();
  EXPECT_TRUE(same_bits(run(m.model, inputs)[0], first));  // replays
  const std::vector<std::string> whole = {"cuCtxSetCurrent", "cuGraphLaunch",
                                          "cuStreamSynchronize"};
  EXPECT_EQ(device.calls(), whole);
  // Other inputs go through the same graph.
  std::vector<Tensor> others = {inputs[0].clone()};
  for (float& v : others[0].mutable_values<float>()) v = -v;
  const Tensor replayed = run(m.model, others)[0];
  EXPECT_FALSE(same_bits(replayed, first));
  const CompiledModel again = compiled(small_network, "cuda");
  EXPECT_TRUE(same_bits(run(again.model, others)[0], replayed));
  EXPECT_EQ(device.problem(), "");
}

TEST(CudaRuntime, RunsFromAFile) {
  CudaStandIn device;
  const CompiledModel m = compiled(small_network, "cuda");
  const auto inputs = inputs_of(m.model.program(), {{"N", 2}});
  const std::vector<char> code = link_shared_object(m.objects, m.model.program().target);
  const std::string path = testing::TempDir() + "/cuda_model.tt";
  ASSERT_TRUE(
      save_program(m.model.program(), std::as_bytes(std::span<const char>(code)), path).ok());
  const Result<Model> loaded = Model::load(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_TRUE(same_bits(run(loaded.value(), inputs)[0], run(m.model, inputs)[0]));
  std::remove(path.c_str());
}

TEST(CudaRuntime, OneModelRunsManyShapesInTurn) {
  CudaStandIn device;
  const CompiledModel m = compiled(small_network, "cuda");
  std::map<int64_t, Tensor> known;
  for (int round = 0; round < 3; ++round)
    for (int64_t n : {1, 3, 2}) {
      const Tensor y = run(m.model, inputs_of(m.model.program(), {{"N", n}}))[0];
      EXPECT_EQ(y.dims(), (std::vector<int64_t>{n, 5}));
      const auto [it, fresh] = known.emplace(n, y);
      EXPECT_TRUE(fresh || same_bits(it->second, y));
    }
  EXPECT_EQ(device.problem(), "");
}

TEST(CudaRuntime, ThreadsShareModelAndDevice) {
  CudaStandIn device;
  {
    const CompiledModel m = compiled(small_network, "cuda");
    const auto inputs = inputs_of(m.model.program(), {{"N", 1}});
    const Tensor want = run(m.model, inputs)[0];
    std::vector<std::thread> threads;
    std::vector<int> same(3);
    for (size_t t = 0; t < same.size(); ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 4; ++i) same[t] += same_bits(run(m.model, inputs)[0], want) ? 1 : 0;
      });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(same, (std::vector<int>{4, 4, 4}));
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

TEST(CudaRuntime, ReportsAndLimitsMemory) {
  CudaStandIn device;
  const CompiledModel m = compiled(small_network, "cuda");
  const auto inputs = inputs_of(m.model.program(), {{"N", 1}});
  const auto report = m.model.memory(inputs);
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report.value().device_arena, 4u * 3 * 6 * 6);
  EXPECT_GT(report.value().device_constants, 4u * (36 * 5 + 5));
  run(m.model, inputs);
  EXPECT_GE(device.bytes_on_device(),
            report.value().device_arena + report.value().device_constants);
}

TEST(CudaRuntime, KeepsToTheLimitOfTheEnvironment) {
  CudaStandIn device;
  setenv("TINTYPE_CUDA_MEMORY", "1", 1);  // megabyte
  const CompiledModel m = compiled(
      [](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), Dim(1024)}});
        g.add_output("y", b.make("Exp", {x}));
      },
      "cuda");
  const auto run_with = [&](int64_t n) {
    const auto inputs = inputs_of(m.model.program(), {{"N", n}});
    return m.model.run(std::span<const Tensor>(inputs)).status();
  };
  EXPECT_TRUE(run_with(16).ok());
  const Status refused = run_with(1024);
  unsetenv("TINTYPE_CUDA_MEMORY");
  EXPECT_EQ(refused.code(), StatusCode::out_of_memory);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr("'test'"), HasSubstr("limit of 1000000")));
}

TEST(CudaRuntime, RefusesDevicesThatAreTooOld) {
  CudaStandIn::Settings old;
  old.capability = 75;
  CudaStandIn device(old);
  const CompiledModel m = compiled(small_network, "cuda,sm_90");
  const auto inputs = inputs_of(m.model.program(), {{"N", 1}});
  const auto result = m.model.run(std::span<const Tensor>(inputs));
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.status().message(),
              AllOf(HasSubstr("compiled for sm_90"), HasSubstr("--target cuda,sm_75")));
}

TEST(CudaRuntime, SaysThatThereIsNoDevice) {
  CudaStandIn::Settings none;
  none.devices = 0;
  CudaStandIn device(none);
  const CompiledModel m = compiled(small_network, "cuda");
  const auto inputs = inputs_of(m.model.program(), {{"N", 1}});
  const auto result = m.model.run(std::span<const Tensor>(inputs));
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.status().message(), HasSubstr("finds no device"));
}

TEST(CudaRuntime, NamesTheNodeOfAFailingCall) {
  CudaStandIn device;
  for (const char* function : {"cuModuleLoadDataEx", "cuModuleGetFunction", "cuLaunchKernel"}) {
    const CompiledModel m = compiled(
        [](Graph& g, Builder& b) {
          Value* x = g.add_input("x", {DType::f32, {8}});
          b.set_origins({"the_exponential"});
          g.add_output("y", b.make("Exp", {x}));
        },
        "cuda");
    const auto inputs = inputs_of(m.model.program(), {});
    device.fail_next(function);
    const auto result = m.model.run(std::span<const Tensor>(inputs));
    ASSERT_FALSE(result.ok()) << function;
    EXPECT_THAT(result.status().message(),
                AllOf(HasSubstr("the_exponential"), HasSubstr(function),
                      HasSubstr("CUDA_ERROR_UNKNOWN (said the stand-in)")));
    EXPECT_TRUE(m.model.run(std::span<const Tensor>(inputs)).ok());
  }
}

// Every call of the driver fails once, in a run of its own: the run says so or has the right
// result, the next one works, and nothing stays behind.
TEST(CudaRuntime, SurvivesTheFailureOfAnyCall) {
  const auto network = [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 3, 5, 5}});
    Value* y = b.make("Conv", {b.make("Tanh", {x}), weights(b, {4, 3, 3, 3}, 1)},
                      {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    g.add_output("y", b.make("ReduceSum", {y, b.constant(Tensor::from<int64_t>({1}, {3}))}));
    g.add_output("x", x);
  };
  std::vector<Tensor> want;
  size_t calls = 0;
  {
    CudaStandIn device;
    {
      const CompiledModel m = compiled(network, "cuda");
      for (int i = 0; i < 3; ++i) want = run(m.model, inputs_of(m.model.program(), {}));
    }
    calls = device.calls().size();
  }
  ASSERT_GT(calls, 40u);
  size_t reported = 0;
  for (size_t call = 0; call < calls; ++call) {
    CudaStandIn device;
    std::string failed;
    {
      const CompiledModel m = compiled(network, "cuda");
      const auto inputs = inputs_of(m.model.program(), {});
      device.fail_call(call);
      for (int i = 0; i < 3; ++i) {
        const auto got = m.model.run(std::span<const Tensor>(inputs));
        if (!got.ok()) {
          failed = got.status().message();
          EXPECT_THAT(failed, HasSubstr("CUDA_ERROR_UNKNOWN"));
          EXPECT_THAT(failed, HasSubstr("cu"));
          ++reported;
        } else {
          for (size_t k = 0; k < want.size(); ++k)
            EXPECT_TRUE(same_bits(got.value()[k], want[k])) << "call " << call << ", run " << i;
        }
      }
      device.fail_nothing();
      const auto after = m.model.run(std::span<const Tensor>(inputs));
      ASSERT_TRUE(after.ok()) << "call " << call << ": " << after.status().message();
      EXPECT_TRUE(same_bits(after.value()[0], want[0]));
      // Of the calls that give everything back, one may have to fail.
      if (call >= device.calls().size()) device.fail_call(call - device.calls().size());
    }
    EXPECT_EQ(device.problem(), "") << "call " << call << " " << device.calls()[call];
    if (gives_back(device.calls()[call]) || device.calls()[call] == "cuCtxSetCurrent") continue;
    EXPECT_EQ(device.leaks(), "") << "call " << call << " " << device.calls()[call];
  }
  EXPECT_GT(reported, calls / 2);
}

}  // namespace
}  // namespace tintype
