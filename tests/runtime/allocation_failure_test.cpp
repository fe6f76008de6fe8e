// Makes every single allocation fail in turn: each must end in a Status, and the model must give
// the right answer afterwards.
#include "program_fixture.h"

#include "runtime/thread_pool.h"

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <new>
#include <unistd.h>

namespace {

// Allocations of this thread until one fails; negative: none does.
thread_local long countdown = -1;

void* allocate(size_t bytes) {
  if (countdown == 0) {
    countdown = -1;
    throw std::bad_alloc();
  }
  if (countdown > 0) --countdown;
  void* p = std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// GCC takes free for the wrong partner of operator new once it has inlined one of the two.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new[](size_t bytes) { return allocate(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return allocate(bytes);
  } catch (...) {
    return nullptr;
  }
}
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace tintype::testing {
namespace {

/// Calls f with the first, second, ... allocation failing until it succeeds without a failure.
/// Returns how many times it failed.
template <typename F>
int fail_every_allocation(const F& f) {
  for (int n = 0;; ++n) {
    countdown = n;
    const Status status = f();
    const bool reached = countdown == -1;
    countdown = -1;
    if (!reached) {
      EXPECT_TRUE(status.ok()) << status.message();
      return n;
    }
    // Some failures are harmless (a worker thread less, say); all others say what happened.
    if (!status.ok()) {
      EXPECT_EQ(status.code(), StatusCode::out_of_memory) << status.message();
    }
    if (n > 100000) return n;
  }
}

// Everything that runs at the bottom: arena, host ops, strided copies, outputs that are copied.
ProgramBuilder build_program() {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0), two = b.constant(2), one = b.constant(1);
  const ViewId x = b.input("x", DType::f32, {n, two}), y = b.output("y", DType::f32, {n, two});
  const ViewId c = b.constant_tensor(Tensor::from<float>({2}, {10, 20}));
  const ViewId s = b.buffer(DType::f32, {n, two}, 0, 1);
  b.host_step("add", {x, c}, {s});
  b.plain_step(Step::Kind::copy, {s}, {y});
  b.program.outputs.push_back({"column", DType::f32, {n}, b.view(y, one, {n}, {two})});
  return b;
}

void expect_right(const Model& model) {
  const Result<std::vector<Tensor>> y =
      model.run({{"x", Tensor::from<float>({2, 2}, {1, 2, 3, 4})}});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(y.value()[0].values<float>()[3], 24);
  EXPECT_EQ(y.value()[1].values<float>()[1], 24);
}

TEST(AllocationFailure, CreateAndRun) {
  const auto program = std::make_shared<Program>(build_program().program);
  Model model;
  const auto create = [&] {
    Result<Model> made = Model::create(program, nullptr);
    if (!made.ok()) return made.status();
    model = std::move(made).value();
    return Status();
  };
  EXPECT_GT(fail_every_allocation(create), 3);
  const std::vector<Tensor> inputs = {Tensor::from<float>({2, 2}, {1, 2, 3, 4})};
  const auto run = [&] { return model.run(inputs).status(); };
  EXPECT_GT(fail_every_allocation(run), 20);
  expect_right(model);
  // Another shape, so that binding fails half-way with earlier bindings in place.
  const std::vector<Tensor> longer = {Tensor::zeros(DType::f32, {5, 2})};
  EXPECT_GT(fail_every_allocation([&] { return model.run(longer).status(); }), 20);
  expect_right(model);
  const std::map<std::string, Tensor> wrong = {{"z", inputs[0]}};
  int refused = 0;
  for (int n = 0; n < 50; ++n) {
    countdown = n;
    refused += model.run(wrong).ok() ? 0 : 1;
    countdown = -1;
  }
  EXPECT_EQ(refused, 50);
}

TEST(AllocationFailure, SaveAndLoad) {
  const std::string folder = ::testing::TempDir() + "/allocation" + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/model.tt";
  const Program program = build_program().program;
  EXPECT_GT(fail_every_allocation([&] { return save_program(program, {}, path); }), 10);
  Model model;
  const auto load = [&] {
    Result<Model> made = Model::load(path);
    if (!made.ok()) return made.status();
    model = std::move(made).value();
    return Status();
  };
  EXPECT_GT(fail_every_allocation(load), 10);
  expect_right(model);
  const auto entries = std::filesystem::directory_iterator(folder);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);  // no temporary file is left
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tintype::testing
