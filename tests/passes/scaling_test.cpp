// Twice as large a graph is twice as much work for every pass. Work is counted in allocations, of
// which searches make one for about everything they look at; a clock would be no judge.
#include "ir/builder.h"
#include "passes/pass_manager.h"

#include <cstdlib>
#include <functional>
#include <gtest/gtest.h>
#include <new>

namespace {

thread_local size_t allocations = 0;

void* allocate(size_t bytes) {
  ++allocations;
  void* p = std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// GCC takes free for the wrong partner of operator new once it has inlined one of the two.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new[](size_t bytes) { return allocate(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace tintype::test {

namespace {

using Make = std::function<Value*(Builder& b, Value* x, Value* z, int nodes)>;

/// Ops of different kinds that depend on each other.
Value* chain(Builder& b, Value* x, Value* z, int nodes) {
  for (int i = 0; i < nodes; ++i) {
    if (i % 64 == 2) x = b.make("Softmax", {x});
    else if (i % 2 == 1) x = b.make(i % 4 == 1 ? "Mul" : "Add", {x, z});
    else x = b.make(i % 4 == 0 ? "Tanh" : "Sigmoid", {x});
  }
  return x;
}

/// Branches that begin at one value, and a tree that adds them up.
Value* wide(Builder& b, Value* x, Value*, int nodes) {
  Value* stem = b.make("Tanh", {x});
  std::vector<Value*> ends;
  for (int i = 0; i < nodes / 8; ++i) {
    Value* y = b.make("Mul", {stem, b.scalar(i + 1, DType::f32)});
    y = b.make("Sigmoid", {b.make("Softmax", {y})});
    ends.push_back(b.make("Mul", {b.make("Exp", {b.make("Neg", {y})}), stem}));
  }
  for (size_t i = 0; i + 1 < ends.size(); i += 2)
    ends.push_back(b.make("Add", {ends[i], ends[i + 1]}));
  return ends.back();
}

/// Down and back up again, where the value of each level is added.
Value* ladder(Builder& b, Value* x, Value* z, int nodes) {
  std::vector<Value*> levels;
  for (int i = 0; i < nodes / 6; ++i) {
    x = b.make(i % 8 == 0 ? "Softmax" : "Tanh", {b.make("Mul", {x, z})});
    levels.push_back(x);
    x = b.make("Sigmoid", {x});
  }
  for (; !levels.empty(); levels.pop_back())
    x = b.make("Exp", {b.make("Add", {b.make("Neg", {x}), levels.back()})});
  return x;
}

/// The same thing over and over, each with an origin of its own.
Value* repeated(Builder& b, Value* x, Value*, int nodes) {
  std::vector<Value*> all;
  for (int i = 0; i < nodes; ++i) {
    b.set_origins({"n" + std::to_string(i)});
    all.push_back(b.make("Tanh", {x}));
  }
  return b.make("Concat", all, {{"axis", int64_t{0}}});
}

/// Many constants that are equal, and integers that describe shapes.
Value* reshaped(Builder& b, Value* x, Value* z, int nodes) {
  for (int i = 0; i < nodes / 4; ++i) {
    Value* shape = b.constant(Tensor::from<int64_t>({2}, {-1, 8 << (i % 3)}));
    x = b.make("Relu", {b.make("Reshape", {x, shape})});
  }
  return b.make("Add",
                {b.make("Reshape", {x, b.constant(Tensor::from<int64_t>({2}, {-1, 8}))}), z});
}

struct Counter : PassObserver {
  std::vector<std::pair<std::string, size_t>> passes;
  void before(const PassStep&, const Graph&) override { allocations = 0; }
  void after(const PassStep& step, const Graph&, const PassTiming&) override {
    const size_t made = allocations;
    passes.emplace_back(step.pass->name, made);
  }
};

std::vector<std::pair<std::string, size_t>> work_on(const Make& make, int nodes) {
  Graph graph("scaling");
  Builder b(graph);
  Value* x = graph.add_input("x", {DType::f32, {Dim::symbol("N"), Dim(8)}});
  Value* z = graph.add_input("z", {DType::f32, {Dim(8)}});
  graph.add_output("y", make(b, x, z, nodes));
  Counter counter;
  PipelineOptions options;
  options.observer = &counter;
  run_pipeline(graph, parse_pipeline("canonical,finish"), options);
  return counter.passes;
}

struct Kind {
  const char* name;
  Make make;
};

class Scaling : public testing::TestWithParam<Kind> {};

TEST_P(Scaling, IsLinear) {
  const auto small = work_on(GetParam().make, 2000), large = work_on(GetParam().make, 4000);
  ASSERT_EQ(small.size(), large.size());
  for (size_t i = 0; i < small.size(); ++i)
    EXPECT_LE(large[i].second, small[i].second * 21 / 10 + 100)
        << small[i].first << " made " << small[i].second << " allocations for half the nodes";
}

INSTANTIATE_TEST_SUITE_P(Shapes, Scaling,
                         testing::Values(Kind{"chain", chain}, Kind{"wide", wide},
                                         Kind{"ladder", ladder}, Kind{"repeated", repeated},
                                         Kind{"reshaped", reshaped}),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace

}  // namespace tintype::test
