// The executor through the public Model: binding, memory, steps, ports and errors.
#include "program_fixture.h"

#include "runtime/halide_errors.h"
#include "runtime/host_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <stdexcept>
#include <thread>

namespace tintype::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

int add_kernel(void** argv) {
  for_each_element(buffer_of(argv, 1), buffer_of(argv, 2), buffer_of(argv, 3),
                   [](float a, float b, float& out) { out = a + b; });
  return 0;
}

int mul_kernel(void** argv) {
  for_each_element(buffer_of(argv, 1), buffer_of(argv, 2), buffer_of(argv, 3),
                   [](float a, float b, float& out) { out = a * b; });
  return 0;
}

// Squares in parallel: the outer dimension is the loop.
int square_kernel(void** argv) {
  return halide_do_par_for(
      context_of(argv),
      [](void*, int row, uint8_t* closure) {
        void** args = reinterpret_cast<void**>(closure);
        halide_buffer_t &in = buffer_of(args, 1), &out = buffer_of(args, 2);
        for (int i = 0; i < in.dim[0].extent; ++i) {
          const int pos[] = {i, row};
          const float x = *reinterpret_cast<float*>(in.address_of(pos));
          *reinterpret_cast<float*>(out.address_of(pos)) = x * x;
        }
        return 0;
      },
      0, buffer_of(argv, 1).dim[1].extent, reinterpret_cast<uint8_t*>(argv));
}

int failing_kernel(void** argv) {
  return halide_error_bad_dimensions(context_of(argv), "buffer x", 2, 4);
}

Tensor iota(std::vector<int64_t> dims, float start = 0) {
  Tensor t = Tensor::empty(DType::f32, std::move(dims));
  std::iota(t.mutable_values<float>().begin(), t.mutable_values<float>().end(), start);
  return t;
}

std::vector<float> floats(const Tensor& t) {
  return {t.values<float>().begin(), t.values<float>().end()};
}

// y = (x + c)^2 + x over [N, 3], through two planned buffers.
ProgramBuilder square_program() {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0), three = b.constant(3);
  const ViewId x = b.input("x", DType::f32, {n, three});
  const ViewId y = b.output("y", DType::f32, {n, three});
  const ViewId c = b.constant_tensor(Tensor::from<float>({3}, {1, 2, 3}));
  const ViewId rows = b.view(c, b.constant(0), {n, three}, {b.constant(0), b.constant(1)});
  const ViewId s = b.buffer(DType::f32, {n, three}, 0, 1);
  const ViewId q = b.buffer(DType::f32, {n, three}, 1, 2);
  const int32_t add = b.kernel("add"), square = b.kernel("square");
  b.kernel_step(add, {x, rows, s});
  b.kernel_step(square, {s, q}).flops = b.op(ExtentExpr::Kind::mul, n, three);
  b.kernel_step(add, {q, x, y});
  return b;
}

const std::map<std::string, KernelFunction, std::less<>> kKernels = {{"add", add_kernel},
                                                                     {"mul", mul_kernel},
                                                                     {"square", square_kernel},
                                                                     {"failing", failing_kernel}};

std::vector<float> expected_square(const Tensor& x) {
  std::vector<float> y;
  for (int64_t i = 0; i < x.size(); ++i) {
    const float v = x.values<float>()[static_cast<size_t>(i)];
    const float s = v + static_cast<float>(i % 3 + 1);
    y.push_back(s * s + v);
  }
  return y;
}

TEST(Executor, RunsAFlatListOfKernelsForAnyExtent) {
  Result<Model> model = square_program().model(kKernels);
  ASSERT_TRUE(model.ok()) << model.status().message();
  for (int64_t n : {2, 1, 5, 2, 100, 0, 5}) {
    const Tensor x = iota({n, 3}, static_cast<float>(n));
    Result<std::vector<Tensor>> y = model.value().run({{"x", x}});
    ASSERT_TRUE(y.ok()) << y.status().message();
    ASSERT_EQ(y.value().size(), 1u);
    EXPECT_EQ(y.value()[0].type_string(), type_string(DType::f32, std::vector<int64_t>{n, 3}));
    EXPECT_EQ(floats(y.value()[0]), expected_square(x));
  }
}

// Programs for other processors can be made and saved, but running one would end in a signal.
TEST(Executor, RefusesKernelsOfOtherProcessors) {
  ProgramBuilder b = square_program();
  b.program.target = "mips-64-linux";
  Result<Model> model = b.model(kKernels);
  ASSERT_TRUE(model.ok()) << model.status().message();
  const Status status = model.value().run({{"x", iota({2, 3})}}).status();
  EXPECT_EQ(status.code(), StatusCode::unsupported);
  EXPECT_THAT(status.message(), HasSubstr("compiled for mips-64-linux"));
}

TEST(Executor, KeepsResultsOfEarlierRuns) {
  Model model = square_program().model(kKernels).value();
  const Tensor a = iota({2, 3}), b = iota({2, 3}, 50);
  const Tensor first = model.run({{"x", a}}).value()[0];
  const Tensor second = model.run({{"x", b}}).value()[0];
  EXPECT_EQ(floats(first), expected_square(a));
  EXPECT_EQ(floats(second), expected_square(b));
}

TEST(Executor, ManyExtentsThroughBoundedCaches) {
  Model model = square_program().model(kKernels).value();
  for (int round = 0; round < 3; ++round)
    for (int64_t n = 0; n < 80; ++n) {
      const Tensor x = iota({n, 3});
      ASSERT_EQ(floats(model.run({{"x", x}}).value()[0]), expected_square(x));
    }
}

TEST(Executor, EightThreadsShareOneModel) {
  const Model model = square_program().model(kKernels).value();
  std::vector<std::thread> threads;
  threads.reserve(8);
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const Tensor x = iota({1 + (t * 7 + i) % 40, 3}, static_cast<float>(t));
        const Result<std::vector<Tensor>> y = model.run({{"x", x}}, {.threads = 1 + i % 4});
        if (!y.ok() || floats(y.value()[0]) != expected_square(x)) ++wrong;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Executor, ReportsPlannedMemory) {
  Model model = square_program().model(kKernels).value();
  const Tensor x = iota({32, 3});
  const MemoryReport report = model.memory(std::span(&x, 1)).value();
  EXPECT_EQ(report.arena, 2 * 32 * 3 * 4u);  // both buffers live in step 1
  EXPECT_EQ(report.unplanned, 2 * 32 * 3 * 4u);
  EXPECT_EQ(report.constants, 12u);
}

TEST(Executor, ProfilesEveryStep) {
  Model model = square_program().model(kKernels).value();
  const Tensor x = iota({32, 3});
  const std::vector<StepTime> times = model.profile(std::span(&x, 1), 3).value();
  ASSERT_EQ(times.size(), 3u);
  EXPECT_EQ(times[1].step, 1);
  EXPECT_EQ(times[1].kernel, 1);
  EXPECT_EQ(times[1].flops, 96);
  for (const StepTime& t : times) EXPECT_GT(t.milliseconds, 0);
}

TEST(Executor, ChoosesTheFirstAlternativeThatHolds) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0);
  const ViewId x = b.input("x", DType::f32, {n}), y = b.output("y", DType::f32, {n});
  const int32_t add = b.kernel("add"), mul = b.kernel("mul");
  Step& step = b.kernel_step(add, {x, x, y});
  step.alternatives.insert(step.alternatives.begin(),
                           {b.op(ExtentExpr::Kind::less, n, b.constant(4)), mul, {x, x, y}});
  Model model = b.model(kKernels).value();
  EXPECT_THAT(floats(model.run({{"x", iota({3}, 3)}}).value()[0]), ElementsAre(9, 16, 25));
  EXPECT_THAT(floats(model.run({{"x", iota({4}, 3)}}).value()[0]), ElementsAre(6, 8, 10, 12));
}

TEST(Executor, FillsAndCopiesStridedViews) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0), two = b.constant(2), one = b.constant(1);
  const ExprId wide = b.op(ExtentExpr::Kind::add, n, two);
  const ViewId x = b.input("x", DType::f32, {n});
  const ViewId y = b.output("y", DType::f32, {wide});
  const ViewId ends = b.view(y, b.constant(0), {two}, {b.op(ExtentExpr::Kind::add, n, one)});
  const ViewId middle = b.view(y, one, {n}, {one});
  const ViewId reversed = b.view(x, b.op(ExtentExpr::Kind::sub, n, one), {n}, {b.constant(-1)});
  b.plain_step(Step::Kind::fill, {}, {ends}).fill = -7;
  b.plain_step(Step::Kind::copy, {reversed}, {middle});
  Model model = b.model().value();
  EXPECT_THAT(floats(model.run({{"x", iota({3}, 1)}}).value()[0]), ElementsAre(-7, 3, 2, 1, -7));
}

TEST(Executor, RunsHostOpsOnContiguousViews) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0);
  const ViewId x = b.input("x", DType::f32, {n}), y = b.output("y", DType::f32, {n});
  const ViewId t = b.buffer(DType::f32, {n}, 0, 1);
  b.host_step("identity", {x}, {t});
  b.host_step("identity", {t}, {y});
  Model model = b.model().value();
  for (int64_t n_value : {4, 9, 4})
    EXPECT_EQ(floats(model.run({{"x", iota({n_value})}}).value()[0]), floats(iota({n_value})));
}

TEST(Executor, OutputsMayBeInputsConstantsOrBuffers) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0), two = b.constant(2), one = b.constant(1);
  const ViewId x = b.input("x", DType::f32, {n, two});
  const ViewId c = b.constant_tensor(Tensor::from<float>({2}, {5, 6}));
  const ViewId t = b.buffer(DType::f32, {n, two}, 0, 0);
  b.plain_step(Step::Kind::copy, {x}, {t});
  const ViewId transposed = b.view(t, b.constant(0), {two, n}, {one, two});
  b.program.outputs = {{"same", DType::f32, {n, two}, x},
                       {"constant", DType::f32, {two}, c},
                       {"transposed", DType::f32, {two, n}, transposed}};
  Model model = b.model().value();
  std::vector<float> memory = {1, 2, 3, 4};
  const Tensor input = Tensor::borrow(DType::f32, {2, 2}, memory.data(), nullptr);
  const std::vector<Tensor> out = model.run({{"x", input}}).value();
  memory.assign(4, 0);  // results do not depend on the caller's memory
  EXPECT_THAT(floats(out[0]), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(floats(out[1]), ElementsAre(5, 6));
  EXPECT_THAT(floats(out[2]), ElementsAre(1, 3, 2, 4));
}

TEST(Executor, OutputsMayLieInTheMemoryOfOtherOutputs) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0), two = b.constant(2), one = b.constant(1);
  const ViewId x = b.input("x", DType::f32, {n, two});
  const ViewId all = b.output("all", DType::f32, {n, two});
  b.plain_step(Step::Kind::copy, {x}, {all});
  const ViewId second = b.view(all, one, {n}, {two});
  b.program.outputs.push_back({"second", DType::f32, {n}, second});
  b.program.outputs.push_back({"twin", DType::f32, {n, two}, all});
  Model model = b.model().value();
  const std::vector<Tensor> out = model.run({{"x", iota({2, 2})}}).value();
  EXPECT_THAT(floats(out[0]), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(floats(out[1]), ElementsAre(1, 3));
  EXPECT_THAT(floats(out[2]), ElementsAre(0, 1, 2, 3));
}

TEST(Executor, TakesUnalignedInputs) {
  Model model = square_program().model(kKernels).value();
  std::vector<std::byte> memory(2 * 3 * 4 + 1);
  const Tensor x = iota({2, 3});
  std::memcpy(memory.data() + 1, x.data(), x.bytes());
  const Tensor odd = Tensor::borrow(DType::f32, {2, 3}, memory.data() + 1, nullptr);
  EXPECT_EQ(floats(model.run({{"x", odd}}).value()[0]), expected_square(x));
}

std::string message_of(const Result<std::vector<Tensor>>& result, StatusCode code) {
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), code);
  return result.status().message();
}

TEST(ExecutorErrors, NameTheInputAndBothTypes) {
  Model model = square_program().model(kKernels).value();
  const auto run = [&](const std::map<std::string, Tensor>& inputs) {
    return message_of(model.run(inputs), StatusCode::invalid_argument);
  };
  EXPECT_EQ(run({}), "missing input 'x'");
  EXPECT_EQ(run({{"X", iota({2, 3})}}), "unknown input 'X'; did you mean 'x'?");
  EXPECT_EQ(run({{"image", iota({2, 3})}}), "unknown input 'image'; inputs are 'x'");
  EXPECT_EQ(run({{"x", iota({2, 4})}}), "input 'x': expected f32[N,3], got f32[2,4]");
  EXPECT_EQ(run({{"x", iota({2})}}), "input 'x': expected f32[N,3], got f32[2]");
  EXPECT_EQ(run({{"x", Tensor::zeros(DType::i64, {2, 3})}}),
            "input 'x': expected f32[N,3], got i64[2,3]");
  EXPECT_EQ(run({{"x", Tensor()}}), "input 'x': expected f32[N,3], got nothing");
  EXPECT_EQ(message_of(model.run(std::span<const Tensor>()), StatusCode::invalid_argument),
            "expected 1 inputs, got 0");
}

TEST(ExecutorErrors, SymbolsMustAgree) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0);
  const ExprId half = b.op(ExtentExpr::Kind::floor_div, n, b.constant(2));
  const ViewId x = b.input("x", DType::f32, {n});
  b.input("y", DType::f32, {n});
  b.input("z", DType::f32, {half});
  const ViewId out = b.output("out", DType::f32, {n});
  b.kernel_step(b.kernel("add"), {x, x, out});
  b.program.constraints.push_back({n, b.constant(6), "Reshape_3: element count changes"});
  Model model = b.model(kKernels).value();
  const auto run = [&](int64_t y, int64_t z, int64_t length) {
    const std::vector<Tensor> in = {iota({length}), iota({y}), iota({z})};
    return message_of(model.run(in), StatusCode::invalid_argument);
  };
  EXPECT_EQ(run(5, 3, 6),
            "input 'y': expected f32[N], got f32[5] (N is 6, from axis 0 of input 'x')");
  EXPECT_EQ(run(6, 4, 6), "input 'z': expected f32[N/2], got f32[4] (f32[3] for N=6)");
  EXPECT_EQ(run(7, 3, 7), "Reshape_3: element count changes: N is 7, 6 is 6 for N=7");
  EXPECT_TRUE(model.run(std::vector<Tensor>{iota({6}), iota({6}), iota({3})}).ok());
}

TEST(ExecutorErrors, KernelFailureNamesStepAndOrigin) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0);
  const ViewId x = b.input("x", DType::f32, {n}), y = b.output("y", DType::f32, {n});
  b.kernel_step(b.kernel("failing"), {x, y});
  Model model = b.model(kKernels).value();
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(message_of(model.run({{"x", iota({2})}}), StatusCode::internal),
              "step 'failing' (from node_0): kernel 'failing' failed: buffer x has 2 dimensions, "
              "expected 4 (code -43)");
}

TEST(ExecutorErrors, AbsurdSizesAreRefused) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0);
  const ViewId x = b.input("x", DType::f32, {n, b.constant(0)});
  const ExprId cube = b.product({n, n, n});
  const ViewId t = b.buffer(DType::f32, {cube}, 0, 0);
  b.plain_step(Step::Kind::fill, {}, {t});
  b.program.outputs = {{"y", DType::f32, {n, b.constant(0)}, x}};
  Model model = b.model().value();
  const auto run = [&](int64_t extent) {
    return model.run({{"x", Tensor::empty(DType::f32, {extent, 0})}});
  };
  EXPECT_TRUE(run(10).ok());
  EXPECT_THAT(message_of(run(int64_t{1} << 15), StatusCode::invalid_argument),
              HasSubstr("bytes is needed for N=32768"));
  EXPECT_THAT(message_of(run(int64_t{1} << 40), StatusCode::invalid_argument),
              HasSubstr("overflows or divides by zero for N="));
  EXPECT_TRUE(run(10).ok());
}

TEST(ExecutorErrors, TensorsBeyondWhatKernelsIndexAreRefused) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0);
  const ViewId x = b.input("x", DType::u8, {n}), y = b.output("y", DType::u8, {n});
  b.kernel_step(b.kernel("add"), {x, x, y});
  Model model = b.model(kKernels).value();
  const uint8_t byte = 0;
  const Tensor huge = Tensor::borrow(DType::u8, {int64_t{1} << 32}, &byte, nullptr);
  EXPECT_THAT(message_of(model.run({{"x", huge}}), StatusCode::unsupported),
              HasSubstr("more than 2^31 elements for N=4294967296"));
}

TEST(ExecutorErrors, AnEmptyModelSaysSo) {
  const Model model;
  EXPECT_EQ(message_of(model.run(std::span<const Tensor>()), StatusCode::invalid_argument),
            "the model is empty: load or create one first");
  EXPECT_TRUE(model.program().inputs.empty());
}

Status throwing_op(const HostCall&) { throw std::runtime_error("not today"); }
Status throwing_a_number(const HostCall&) { throw 42; }

TEST(ExecutorErrors, WhatHostOpsThrowNamesTheStep) {
  static constexpr HostOp kOps[] = {{"test::Throw", throwing_op},
                                    {"test::ThrowNumber", throwing_a_number}};
  ASSERT_TRUE(register_host_ops(kOps).ok());
  const auto message = [](const char* op) {
    ProgramBuilder b;
    const ExprId n = b.symbol("N", 0, 0);
    const ViewId x = b.input("x", DType::f32, {n}), y = b.output("y", DType::f32, {n});
    b.host_step(op, {x}, {y});
    return message_of(b.model().value().run({{"x", iota({3})}}), StatusCode::internal);
  };
  EXPECT_EQ(message("test::Throw"), "step 'plain': not today");
  EXPECT_EQ(message("test::ThrowNumber"), "step 'plain': it throws what is no std::exception");
}

TEST(Validate, RefusesBrokenPrograms) {
  const auto broken = [](auto change) {
    ProgramBuilder b = square_program();
    change(b.program);
    const Result<Model> m = b.model(kKernels);
    EXPECT_FALSE(m.ok());
    return m.status().message();
  };
  const std::string head = "invalid program 'test': ";
  EXPECT_EQ(broken([](Program& p) { p.views[0].storage = 99; }),
            head + "view 0: storage out of range");
  EXPECT_EQ(broken([](Program& p) { p.steps[2].alternatives[0].arguments[0] = -1; }),
            head + "step 2: view out of range");
  EXPECT_EQ(broken([](Program& p) {
              p.expressions[3].a = 3;
              p.expressions[3].kind = ExtentExpr::Kind::add;
            }),
            head + "expression 3: operand is not an earlier expression");
  EXPECT_EQ(broken([](Program& p) { p.storages[3].last_step = 0; }),
            head + "step 1: uses a storage outside its lifetime");
  EXPECT_EQ(broken([](Program& p) { p.steps[1].alternatives.clear(); }),
            head + "step 1: the last alternative must be unconditional");
  EXPECT_EQ(broken([](Program& p) { p.steps[0].alternatives[0].outputs = 4; }),
            head + "step 0: a kernel has fewer arguments than inputs and outputs");
  EXPECT_EQ(broken([](Program& p) { p.steps[2].alternatives[0].outputs = 2; }),
            head + "step 2: writes to a constant or an input");
  EXPECT_EQ(broken([](Program& p) { p.symbols[0].axis = 2; }),
            head + "symbol 0: axis out of range");
  EXPECT_EQ(broken([](Program& p) {
              p.steps[0].kind = Step::Kind::host;
              p.steps[0].host_op = "frobnicate";
            }),
            head + "step 0: no host op 'frobnicate'");
  EXPECT_EQ(broken([](Program& p) { p.kernels[0].symbol = "gone"; }), "no kernel 'gone'");
}

TEST(Validate, ViewsMayNotLeaveTheirStorage) {
  ProgramBuilder b = square_program();
  b.program.views[0].offset = b.constant(1);
  Model model = b.model(kKernels).value();
  EXPECT_EQ(message_of(model.run({{"x", iota({2, 3})}}), StatusCode::internal),
            "program 'test': view 0 leaves its storage of 24 bytes for N=2");
}

}  // namespace
}  // namespace tintype::testing
