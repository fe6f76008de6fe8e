// Programs on several streams: the bits of one stream, no races, nothing lost when a call fails.
#include "codegen/lower.h"
#include "frontend/graph/graph_builder.h"
#include "frontend/train/training_graph.h"
#include "frontend/zoo/zoo.h"
#include "runtime/plan.h"
#include "tests/cuda/fixture.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace tintype {
namespace {

using cuda_test::compiled;
using cuda_test::gives_back;
using cuda_test::inputs_of;
using cuda_test::weights;
using test::Dims;
using test::Make;
using testing::AllOf;
using testing::HasSubstr;

/// TINTYPE_CUDA_STREAMS as long as it lives.
class Streams {
 public:
  explicit Streams(const std::string& number) { setenv("TINTYPE_CUDA_STREAMS", number.c_str(), 1); }
  ~Streams() { unsetenv("TINTYPE_CUDA_STREAMS"); }
};

Value* conv(Builder& b, Value* x, int64_t from, int64_t to, int64_t window, uint64_t seed) {
  const int64_t pad = window / 2;
  return b.make("Relu", {b.make("Conv", {x, weights(b, {to, from, window, window}, seed)},
                                {{"pads", std::vector<int64_t>{pad, pad, pad, pad}}})});
}

/// Two blocks of four branches that meet in a concatenation.
void inception(Graph& g, Builder& b) {
  Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), Dim(8), Dim(6), Dim(6)}});
  for (uint64_t block = 0; block < 2; ++block) {
    const int64_t from = block == 0 ? 8 : 22;
    const uint64_t seed = 10 * block;
    Value* pooled = b.make(
        "MaxPool", {x},
        {{"kernel_shape", std::vector<int64_t>{3, 3}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    x = b.make("Concat",
               {conv(b, x, from, 5, 1, seed + 1),
                conv(b, conv(b, x, from, 4, 1, seed + 2), 4, 7, 3, seed + 3),
                conv(b, conv(b, x, from, 3, 1, seed + 4), 3, 4, 5, seed + 5),
                conv(b, pooled, from, 6, 1, seed + 6)},
               {{"axis", int64_t{1}}});
  }
  g.add_output("y", b.make("GlobalAveragePool", {x}));
}

/// Two chains that have nothing in common.
void two_chains(Graph& g, Builder& b) {
  for (const char* name : {"x", "z"}) {
    Value* v = g.add_input(name, {DType::f32, {4, 16}});
    for (uint64_t i = 0; i < 3; ++i)
      v = b.make("Tanh", {b.make("MatMul", {v, weights(b, {16, 16}, i)})});
    g.add_output(std::string(name) + "_out", v);
  }
}

std::vector<Tensor> run(const Model& model, const std::vector<Tensor>& inputs) {
  auto result = model.run(std::span<const Tensor>(inputs));
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? std::move(result).value() : std::vector<Tensor>();
}

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  bool same = a.size() == b.size();
  for (size_t i = 0; same && i < a.size(); ++i)
    same = a[i].dims() == b[i].dims() && std::memcmp(a[i].data(), b[i].data(), a[i].bytes()) == 0;
  return same;
}

/// The same bits with 1, 2, 4 and 8 streams, first, recorded and replayed; how many streams of 8
/// it takes.
int32_t expect_same_bits(const Make& make, const Dims& dims = {},
                         const std::string& target = "cuda") {
  std::vector<Tensor> want;
  int32_t streams = 0;
  for (const char* number : {"1", "2", "4", "8"}) {
    const Streams set(number);
    CudaStandIn device;
    {
      const CompiledModel m = compiled(make, target);
      const auto inputs = inputs_of(m.model.program(), dims);
      if (want.empty()) want = run(m.model, inputs);
      for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(same_bits(run(m.model, inputs), want)) << number << " streams, run " << i;
      const auto profile = m.model.profile(std::span<const Tensor>(inputs), 1);
      EXPECT_TRUE(profile.ok()) << profile.status().message();
      streams = m.model.streams(std::span<const Tensor>(inputs)).value().streams;
      EXPECT_LE(streams, std::atoi(number));
      EXPECT_EQ(device.count("cuStreamCreate"), static_cast<size_t>(streams));
      EXPECT_EQ(device.count("cuEventCreate") > 0, streams > 1);
    }
    EXPECT_EQ(device.problem(), "") << number << " streams";
    EXPECT_EQ(device.leaks(), "") << number << " streams";
  }
  return streams;
}

TEST(CudaLanes, BranchesGiveTheSameBits) { EXPECT_GT(expect_same_bits(inception, {{"N", 2}}), 2); }

TEST(CudaLanes, ChainsThatNeverMeet) { EXPECT_EQ(expect_same_bits(two_chains), 2); }

TEST(CudaLanes, AChainHasOneStreamAndNoEvents) {
  EXPECT_EQ(expect_same_bits([](Graph& g, Builder& b) {
              Value* v = g.add_input("x", {DType::f32, {4, 16}});
              for (uint64_t i = 0; i < 4; ++i)
                v = b.make("Softmax", {b.make("MatMul", {v, weights(b, {16, 16}, i)})});
              g.add_output("y", v);
            }),
            1);
}

TEST(CudaLanes, StepsOfTheHostBetweenBranches) {
  EXPECT_GT(expect_same_bits(
                [](Graph& g, Builder& b) {
                  Value* x = g.add_input("x", {DType::f32, {8, 16}});
                  const auto branch = [&](uint64_t seed) {
                    Value* v = x;
                    for (uint64_t i = 0; i < 2; ++i)
                      v = b.make("Tanh", {b.make("MatMul", {v, weights(b, {16, 16}, seed + i)})});
                    return v;
                  };
                  Value* k = b.constant(Tensor::from<int64_t>({1}, {5}));
                  Node* top = b.create("TopK", {branch(1), k}, {}, 2);
                  g.add_output("top", b.make("Exp", {top->result(0)}));
                  g.add_output("sum", b.make("Add", {branch(10), branch(20)}));
                },
                {}, "host,cuda"),
            1);
}

TEST(CudaLanes, RecordsAllStreamsInOneGraph) {
  CudaStandIn device;
  const CompiledModel m = compiled(inception, "cuda");
  const auto inputs = inputs_of(m.model.program(), {{"N", 1}});
  run(m.model, inputs);
  const size_t waits = m.model.streams(std::span<const Tensor>(inputs)).value().waits;
  EXPECT_EQ(device.count("cuStreamWaitEvent"), waits);
  device.forget_calls();
  run(m.model, inputs);  // records
  EXPECT_EQ(device.count("cuStreamWaitEvent"), waits);
  EXPECT_EQ(device.count("cuStreamCreate") + device.count("cuEventCreate"), 0u);
  EXPECT_EQ(device.count("cuStreamSynchronize"), 1u);
  device.forget_calls();
  run(m.model, inputs);  // replays
  const std::vector<std::string> whole = {"cuCtxSetCurrent", "cuGraphLaunch",
                                          "cuStreamSynchronize"};
  EXPECT_EQ(device.calls(), whole);
  EXPECT_EQ(device.problem(), "");
}

TEST(CudaLanes, SayWhatIsWrongWithTheirNumber) {
  CudaStandIn device;
  for (const char* number : {"0", "9", "many"}) {
    const Streams set(number);
    const CompiledModel m = compiled(two_chains, "cuda");
    const auto result = m.model.run(std::span<const Tensor>(inputs_of(m.model.program(), {})));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), StatusCode::invalid_argument);
    EXPECT_THAT(result.status().message(),
                AllOf(HasSubstr("TINTYPE_CUDA_STREAMS"), HasSubstr(number)));
  }
}

TEST(CudaLanes, ProgramsOfTheHostDoNotAsk) {
  const Streams set("many");
  const CompiledModel m = compiled(two_chains, "");
  EXPECT_TRUE(m.model.run(std::span<const Tensor>(inputs_of(m.model.program(), {}))).ok());
}

// Libraries: a handle of cuDNN per stream that calls it, workspaces apart, results as with one.
TEST(CudaLanes, LibrariesHaveAHandlePerStream) {
  std::vector<Tensor> want;
  for (const char* number : {"1", "4"}) {
    const Streams set(number);
    CudaStandIn::Settings settings;
    settings.libraries = true;
    CudaStandIn device(settings);
    {
      CompileOptions options;
      options.target = "cuda";
      options.libraries = Libraries::always;
      options.math = MathMode::strict;
      const CompiledModel m = compile_graph(cuda_test::built(inception), options);
      const auto inputs = inputs_of(m.model.program(), {{"N", 1}});
      if (want.empty()) want = run(m.model, inputs);
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(run(m.model, inputs), want));
      const bool several = m.model.streams(std::span<const Tensor>(inputs)).value().streams > 1;
      EXPECT_EQ(several, std::string(number) == "4");
      EXPECT_EQ(device.count("cudnnCreate") > 1, several);
      EXPECT_LE(device.count("cublasLtCreate"), 1u);
    }
    EXPECT_EQ(device.problem(), "");
    EXPECT_EQ(device.leaks(), "");
  }
}

// Every call of the driver fails once, in a run of its own, as in runtime_test.cpp.
TEST(CudaLanes, SurviveTheFailureOfAnyCall) {
  std::vector<Tensor> want;
  size_t calls = 0;
  {
    CudaStandIn device;
    {
      const CompiledModel m = compiled(two_chains, "cuda");
      for (int i = 0; i < 3; ++i) want = run(m.model, inputs_of(m.model.program(), {}));
      EXPECT_GT(device.count("cuEventRecord"), 1u);
    }
    calls = device.calls().size();
  }
  size_t reported = 0;
  for (size_t call = 0; call < calls; ++call) {
    CudaStandIn device;
    std::string failed;
    {
      const CompiledModel m = compiled(two_chains, "cuda");
      const auto inputs = inputs_of(m.model.program(), {});
      device.fail_call(call);
      for (int i = 0; i < 3; ++i) {
        const auto got = m.model.run(std::span<const Tensor>(inputs));
        if (got.ok()) {
          EXPECT_TRUE(same_bits(got.value(), want)) << "call " << call << ", run " << i;
          continue;
        }
        EXPECT_THAT(got.status().message(), HasSubstr("CUDA_ERROR_UNKNOWN"));
        ++reported;
      }
      device.fail_nothing();
      for (int i = 0; i < 2; ++i) {
        const auto after = m.model.run(std::span<const Tensor>(inputs));
        ASSERT_TRUE(after.ok()) << "call " << call << ": " << after.status().message();
        EXPECT_TRUE(same_bits(after.value(), want));
      }
    }
    EXPECT_EQ(device.problem(), "") << "call " << call << " " << device.calls()[call];
    if (gives_back(device.calls()[call]) || device.calls()[call] == "cuCtxSetCurrent") continue;
    EXPECT_EQ(device.leaks(), "") << "call " << call << " " << device.calls()[call];
  }
  EXPECT_GT(reported, calls / 2);
}

// ---- plans of whole networks, which are lowered and not compiled --------------------------------

struct Planned {
  PlannedLanes lanes;
  size_t bytes = 0;
};

Planned planned(const std::unique_ptr<Graph>& graph, int64_t batch, int32_t streams) {
  CompileOptions options;
  options.target = "cuda";
  options.libraries = Libraries::never;
  options.hints = {{"N", batch}};
  optimize(*graph, options);
  LowerOptions lowering;
  lowering.machine = machine_for("cuda");
  lowering.hints = options.hints;
  const Lowered lowered = lower(*graph, lowering);
  const auto plan = make_plan(lowered.program,
                              std::vector<int64_t>(lowered.program.symbols.size(), batch), streams);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  return plan.ok() ? Planned{plan.value()->lanes, plan.value()->device_bytes} : Planned{};
}

TEST(CudaLanes, WideNetworksAreSpread) {
  for (const char* name : {"googlenet", "resnet18"}) {
    const Planned p = planned(build_zoo_network(name)->take(), 1, 4);
    EXPECT_GT(p.lanes.count, 1) << name;
    EXPECT_LT(p.lanes.seconds_of_lanes, 0.95 * p.lanes.seconds_of_one) << name;
    EXPECT_LE(static_cast<double>(p.bytes), 1.25 * static_cast<double>(p.lanes.bytes_on_one));
    EXPECT_EQ(planned(build_zoo_network(name)->take(), 1, 1).lanes.count, 1) << name;
  }
}

}  // namespace
}  // namespace tintype
