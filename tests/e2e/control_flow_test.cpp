// Loops and branches, compiled, against the evaluation of the same graphs op by op.
#include "ir/parse.h"
#include "ir/verify.h"
#include "tests/support/evaluate.h"
#include "tools/driver/driver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace tintype::test {

namespace {

std::vector<Tensor> run(const Model& m, const std::vector<Tensor>& inputs, int threads = 0) {
  RunOptions options;
  options.threads = threads;
  auto results = m.run(std::span<const Tensor>(inputs), options);
  if (!results.ok()) ADD_FAILURE() << results.status().message();
  return results.ok() ? std::move(results).value() : std::vector<Tensor>();
}

/// Fused, as the reference program, and evaluated: all the same. Twice, since a run may not depend
/// on what the one before left behind.
void expect_same(const std::string& text, const std::vector<std::vector<Tensor>>& inputs) {
  const auto graph = parse_graph(text);
  ASSERT_EQ(find_problem(*graph), "");
  CompileOptions reference;
  reference.reference = true;
  const CompiledModel fused = compile_graph(graph->clone()),
                      plain = compile_graph(graph->clone(), reference);
  for (const std::vector<Tensor>& in : inputs) {
    const std::vector<Tensor> want = evaluate(*graph, in);
    for (const CompiledModel* m : {&fused, &plain, &fused}) {
      const std::vector<Tensor> got = run(m->model, in);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(difference(got[i], want[i], 1e-5), "");
    }
    const std::vector<Tensor> one = run(fused.model, in, 1), many = run(fused.model, in, 4);
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_EQ(std::memcmp(one[i].data(), many[i].data(), one[i].bytes()), 0);
  }
}

Tensor values(const std::vector<int64_t>& dims, uint64_t seed = 1) {
  Graph g;
  g.add_input("x", {DType::f32, Shape(dims.begin(), dims.end())});
  return random_inputs(g, {}, seed)[0];
}

Tensor number(int64_t v) { return Tensor::scalar<int64_t>(v); }

Tensor truth(bool v) {
  Tensor t = Tensor::zeros(DType::boolean, {});
  *static_cast<uint8_t*>(t.mutable_data()) = v ? 1 : 0;
  return t;
}

TEST(ControlFlow, ScanForwardsAndBackwards) {
  for (const char* direction : {"", "reverse = 1, "}) {
    const std::string text = std::string(R"(graph "g"(%h: f32[N,3], %x: f32[T,N,3]) {
  %0, %1, %2 = scan(%h, %x) {)") +
                             direction + R"(scanned = 1, states = 1, trips = <T>}
    graph "step"(%h: f32[N,3], %x: f32[N,3]) {
      %3 = add(%h, %x)
      %4 = tanh(%3)
      %5 = exp(%x)
      return %4 as "h", %4 as "y", %5 as "z"
    }
  return %0 as "h", %1 as "y", %2 as "z"
})";
    expect_same(text, {{values({2, 3}), values({5, 2, 3}, 2)},
                       {values({4, 3}), values({1, 4, 3}, 2)},
                       {values({2, 3}), values({0, 2, 3}, 2)}});
  }
}

// The state of the outer loop is an invariant of the inner one, whose results are stacked by both.
TEST(ControlFlow, ScansNest) {
  expect_same(R"(graph "g"(%h: f32[3], %x: f32[T,S,3]) {
  %0, %1 = scan(%h, %x) {scanned = 1, states = 1, trips = <T>}
    graph "outer"(%h: f32[3], %x: f32[S,3]) {
      %2, %3 = scan(%h, %x, %h) {reverse = 1, scanned = 1, states = 1, trips = <S>}
        graph "inner"(%s: f32[3], %x: f32[3], %h: f32[3]) {
          %4 = mul(%s, %x)
          %5 = add(%4, %h)
          %6 = tanh(%5)
          return %6 as "s", %4 as "y"
        }
      return %2 as "h", %3 as "y"
    }
  return %0 as "h", %1 as "y"
})",
              {{values({3}), values({4, 5, 3}, 2)}, {values({3}), values({3, 2, 3}, 2)}});
}

// States trade places; a host op works on slices that move.
TEST(ControlFlow, StatesSwapAndHostOpsFollow) {
  expect_same(R"(graph "g"(%a: f32[4], %b: f32[4], %x: f32[T,4]) {
  %0, %1, %2, %3 = scan(%a, %b, %x) {scanned = 1, states = 2, trips = <T>}
    graph "step"(%a: f32[4], %b: f32[4], %x: f32[4]) {
      %4 = cumsum(%x) {axis = 0}
      %5 = add(%b, %4)
      return %b as "a", %5 as "b", %a as "y", %4 as "sums"
    }
  return %0 as "a", %1 as "b", %2 as "y", %3 as "sums"
})",
              {{values({4}), values({4}, 2), values({5, 4}, 3)},
               {values({4}), values({4}, 2), values({6, 4}, 3)}});
}

int copies_named(const Model& m, const std::string& name) {
  const auto& steps = m.program().steps;
  return static_cast<int>(std::count_if(steps.begin(), steps.end(), [&](const Step& s) {
    return s.kind == Step::Kind::copy && s.name.find(name) != std::string::npos;
  }));
}

// What training saves of a state is where the state lies, whatever reads it afterwards.
TEST(ControlFlow, SavedStatesAreNotCopied) {
  for (const char* direction : {"", "reverse = 1, "}) {
    const std::string text = std::string(R"(graph "g"(%h: f32[N,16], %c: f32[16], %x: f32[T,N,16]) {
  %0, %1, %2, %3, %4 = scan(%h, %c, %x) {)") +
                             direction + R"(scanned = 1, states = 2, trips = <T>}
    graph "step"(%h: f32[N,16], %c: f32[16], %x: f32[N,16]) {
      %5 = add(%h, %x)
      %6 = add(%5, %c)
      %7 = tanh(%6)
      %8 = exp(%c)
      %9 = neg(%8)
      return %7 as "h", %9 as "c", %h as "saved", %x as "x", %c as "saved"
    }
  %10 = exp(%2)
  %11 = reshape(%4) {shape = <16*T>}
  %12 = neg(%11)
  return %0 as "h", %1 as "c", %10 as "hs", %12 as "cs", %3 as "xs"
})";
    std::vector<std::vector<Tensor>> inputs;
    for (const int64_t trips : {0, 1, 2, 5})
      inputs.push_back({values({3, 16}), values({16}, 2), values({trips, 3, 16}, 3)});
    expect_same(text, inputs);
    EXPECT_EQ(copies_named(compile_graph(parse_graph(text)).model, "saved"), 0) << direction;
  }
}

// One place serves one result: the second is a copy, and so is what has to lie elsewhere.
TEST(ControlFlow, StatesAreSavedTwiceAndForTheCaller) {
  expect_same(R"(graph "g"(%a: f32[16], %b: f32[16], %x: f32[T,16]) {
  %0, %1, %2, %3, %4 = scan(%a, %b, %x) {scanned = 1, states = 2, trips = <T>}
    graph "step"(%a: f32[16], %b: f32[16], %x: f32[16]) {
      %5 = add(%b, %x)
      return %b as "a", %5 as "b", %a as "saved", %a as "saved", %b as "saved"
    }
  %6 = exp(%2)
  %7 = neg(%3)
  return %0 as "a", %1 as "b", %6 as "y", %7 as "z", %4 as "caller"
})",
              {{values({16}), values({16}, 2), values({5, 16}, 3)},
               {values({16}), values({16}, 2), values({0, 16}, 3)}});
  expect_same(R"(graph "g"(%h: f32[16], %x: f32[T,S,16]) {
  %0, %1 = scan(%h, %x) {scanned = 1, states = 1, trips = <T>}
    graph "outer"(%h: f32[16], %x: f32[S,16]) {
      %2, %3 = scan(%h, %x) {reverse = 1, scanned = 1, states = 1, trips = <S>}
        graph "inner"(%s: f32[16], %x: f32[16]) {
          %4 = mul(%s, %x)
          %5 = tanh(%4)
          return %5 as "s", %s as "saved"
        }
      %6 = exp(%3)
      return %2 as "h", %6 as "y"
    }
  %7 = neg(%1)
  return %0 as "h", %7 as "y"
})",
              {{values({16}), values({4, 5, 16}, 2)}, {values({16}), values({3, 1, 16}, 2)}});
}

TEST(ControlFlow, LoopsCountAndStop) {
  const char* text = R"(graph "g"(%n: i64[], %on: bool[], %x: f32[3]) {
  %0, %1 = loop(%n, %on, %x, %x) {states = 2}
    graph "body"(%trip: i64[], %a: f32[3], %b: f32[3]) {
      %2 = add(%a, %b)
      %3 = constant() {value = i64[](6)}
      %4 = lt(%trip, %3)
      return %4 as "on", %b as "a", %2 as "b"
    }
  return %0 as "a", %1 as "b"
})";
  std::vector<std::vector<Tensor>> inputs;
  for (int64_t n : {0, 1, 2, 5, 100, -3}) inputs.push_back({number(n), truth(true), values({3})});
  inputs.push_back({number(4), truth(false), values({3})});
  expect_same(text, inputs);
}

TEST(ControlFlow, LoopsWithoutACount) {
  expect_same(R"(graph "g"(%x: f32[]) {
  %0 = loop(none, none, %x) {states = 1}
    graph "body"(%trip: i64[], %a: f32[]) {
      %1 = add(%a, %a)
      %2 = constant() {value = f32[](100.0)}
      %3 = abs(%1)
      %4 = lt(%3, %2)
      return %4 as "on", %1 as "a"
    }
  return %0 as "y"
})",
              {{Tensor::scalar(0.75f)}, {Tensor::scalar(-3.0f)}, {Tensor::scalar(200.0f)}});
}

TEST(ControlFlow, BranchesInLoopsAndLoopsInBranches) {
  expect_same(R"(graph "g"(%c: bool[], %x: f32[T,2]) {
  %0 = constant() {value = f32[2](0.5, -0.5)}
  %1 = if(%c, %x, %0)
    graph "then"(%x: f32[T,2], %h: f32[2]) {
      %2 = scan(%h, %x) {scanned = 1, states = 1, trips = <T>}
        graph "step"(%h: f32[2], %x: f32[2]) {
          %3 = constant() {value = f32[](0.0)}
          %4 = reduce_sum(%x) {axes = [0]}
          %5 = reshape(%4) {shape = <>}
          %6 = gt(%5, %3)
          %7 = if(%6, %h, %x)
            graph "then"(%h: f32[2], %x: f32[2]) {
              %8 = add(%h, %x)
              return %8 as "y"
            }
            graph "else"(%h: f32[2], %x: f32[2]) {
              %9 = mul(%h, %x)
              return %9 as "y"
            }
          return %7 as "h"
        }
      return %2 as "y"
    }
    graph "else"(%x: f32[T,2], %h: f32[2]) {
      return %h as "y"
    }
  return %1 as "y"
})",
              {{truth(true), values({5, 2})}, {truth(false), values({5, 2})}});
}

// Many steps in the memory of few: what a trip needs is used again by the next.
TEST(ControlFlow, LongScansNeedNoMoreMemory) {
  const auto graph = parse_graph(R"(graph "g"(%h: f32[1,64], %w: f32[64,64], %x: f32[T,1]) {
  %0 = scan(%h, %x, %w) {scanned = 1, states = 1, trips = <T>}
    graph "step"(%h: f32[1,64], %x: f32[1], %w: f32[64,64]) {
      %1 = dot(%h, %w)
      %2 = add(%1, %x)
      %3 = tanh(%2)
      return %3 as "h"
    }
  return %0 as "h"
})");
  const CompiledModel m = compile_graph(graph->clone());
  const auto memory = [&](int64_t steps) {
    const std::vector<Tensor> inputs = {values({1, 64}), values({64, 64}, 2),
                                        values({steps, 1}, 3)};
    return m.model.memory(inputs).value().arena;
  };
  EXPECT_EQ(memory(10), memory(100000));
}

}  // namespace

}  // namespace tintype::test
