// States of programs on a device: where they lie, when they cross, and their values, on the
// stand-in.
#include "tests/cuda/fixture.h"
#include "tests/support/states.h"

#include <cstdio>

namespace tintype {
namespace {

using test::accumulate;
using test::Floats;
using test::floats;
using test::run;
using test::session;
using test::state;

using cuda_test::compiled;
using cuda_test::weights;
using testing::AllOf;
using testing::HasSubstr;

Tensor vector(const Floats& values) {
  return Tensor::from<float>({static_cast<int64_t>(values.size())}, values);
}

/// The sides of the states, by name.
std::map<std::string, bool> sides(const CompiledModel& m) {
  const Program& p = m.model.program();
  std::map<std::string, bool> on_device;
  for (const Storage& s : p.storages)
    if (s.kind == Storage::Kind::state)
      on_device[p.states[static_cast<size_t>(s.value)].name] = s.device;
  return on_device;
}

TEST(CudaStates, AccumulateInPlaceOnTheDevice) {
  CudaStandIn device;
  {
    const CompiledModel m = compiled(accumulate, "cuda");
    EXPECT_TRUE(sides(m).at("sum"));
    Session s = session(m);
    for (int i = 1; i <= 4; ++i) {  // the last ones are replays
      const auto out = run(s, {{"x", vector({1, 2, 3})}});
      const auto n = static_cast<float>(i);
      EXPECT_EQ(floats(out.at(0)), (Floats{2 * n, 4 * n, 6 * n}));
    }
    EXPECT_EQ(state(s, "sum"), (Floats{4, 8, 12}));
    ASSERT_TRUE(s.states()->set("sum", vector({10, 10, 10})).ok());
    EXPECT_EQ(state(s, "sum"), (Floats{10, 10, 10}));
    run(s, {{"x", vector({1, 1, 1})}});
    EXPECT_EQ(s.states()->snapshot().value().at("sum").values<float>()[0], 11);
    EXPECT_EQ(device.count("cuMemcpyHtoD_v2"), 2u);
    EXPECT_EQ(device.count("cuMemcpyHtoDAsync_v2"), 2u);  // x, run and recorded
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

// Programs for the host and for the device take turns at one store.
TEST(CudaStates, ProgramsOfBothSidesShareAStore) {
  CudaStandIn device;
  {
    const CompiledModel there = compiled(accumulate, "cuda"), here = compiled(accumulate, "host");
    Session a = session(there), b = session(here, a.states()), c = session(there, a.states());
    for (Session* s : {&a, &b, &c, &a, &a, &b}) run(*s, {{"x", vector({1, 2, 3})}});
    EXPECT_EQ(state(c, "sum"), (Floats{6, 12, 18}));
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

/// Sorting has no kernel: what it updates stays on the host, the rest on the device.
void on_both_sides(Graph& g, Builder& b) {
  Value* x = g.add_input("x", {DType::f32, {Dim(4)}});
  Value* best = g.add_state("best", vector({0, 0}));
  Value* scale = g.add_state("scale", vector({2}));  // read, not updated
  Value* total = g.add_state("total", vector({0, 0, 0, 0}));
  Value* all = b.make("Concat", {b.make("Mul", {x, scale}), best}, {{"axis", int64_t{0}}});
  Value* two = b.constant(Tensor::from<int64_t>({1}, {2}));
  g.set_next(best, b.create("TopK", {all, two}, {}, 2)->result(0));
  g.set_next(scale, scale);
  Value* sum = b.make("Add", {total, b.make("Tanh", {x})});
  g.set_next(total, sum);
  g.add_output("y", b.make("Add", {sum, scale}));
}

TEST(CudaStates, LieWhereTheirUpdateRuns) {
  std::vector<std::map<std::string, Tensor>> ends;
  CudaStandIn device;
  for (const char* target : {"host", "host,cuda"}) {
    const CompiledModel m = compiled(on_both_sides, target);
    const std::map<std::string, bool> on_device = {
        {"best", false}, {"scale", ends.size() == 1}, {"total", ends.size() == 1}};
    EXPECT_EQ(sides(m), on_device);
    Session s = session(m);
    for (float i = 0; i < 4; ++i) run(s, {{"x", vector({i, -i, 2, 0.5f * i})}});
    ends.push_back(s.states()->snapshot().value());
  }
  for (const auto& [name, t] : ends[0])
    EXPECT_LE(compare_tensors(ends[1].at(name), t, 0, 0).max_error, 1e-6) << name;
  EXPECT_EQ(device.problem(), "");
}

// The old value is read after the new one could have been written, in every way there is.
TEST(CudaStates, OldValuesThatAreStillNeeded) {
  const auto make = [](Graph& g, Builder& b) {
    const TensorType square = {DType::f32, {Dim(2), Dim(2)}};
    Value* x = g.add_input("x", square);
    const auto matrix = [](const Floats& v) { return Tensor::from<float>({2, 2}, v); };
    Value* mirrored = g.add_state("mirrored", matrix({1, 2, 3, 4}));
    g.set_next(mirrored, b.add(mirrored, b.transpose(mirrored, {1, 0})));
    Value* product = g.add_state("product", matrix({1, 1, 0, 1}));
    g.set_next(product, b.make("dot", {product, x}));
    Value* read_later = g.add_state("read_later", matrix({1, 2, 3, 4}));
    Value* next = b.mul(read_later, x);
    g.set_next(read_later, next);
    g.add_output("both", b.make("dot", {next, read_later}));
    Value* shown = g.add_state("shown", matrix({1, 2, 3, 4}));
    g.set_next(shown, b.add(shown, x));
    g.add_output("old", shown);
    Value* one = g.add_state("one", matrix({1, 2, 3, 4}));  // swapped with the other
    Value* other = g.add_state("other", matrix({5, 6, 7, 8}));
    g.set_next(one, other);
    g.set_next(other, one);
    // Two states that one kernel updates, each from both.
    Value* a = g.add_state("a", matrix({1, 2, 3, 4}));
    Value* c = g.add_state("c", matrix({4, 3, 2, 1}));
    g.set_next(a, b.add(b.mul(a, x), c));
    g.set_next(c, b.sub(b.mul(c, x), a));
  };
  CudaStandIn device;
  std::vector<std::map<std::string, Tensor>> ends;
  std::vector<Floats> outputs;
  for (const char* target : {"host", "cuda"}) {
    const CompiledModel m = compiled(make, target);
    Session s = session(m);
    for (int i = 0; i < 3; ++i) {
      const auto out = run(s, {{"x", Tensor::from<float>({2, 2}, {2, 0.5, 0, 2})}});
      for (const Tensor& t : out) outputs.push_back(floats(t));
    }
    ends.push_back(s.states()->snapshot().value());
  }
  for (const auto& [name, t] : ends[0]) EXPECT_EQ(floats(ends[1].at(name)), floats(t)) << name;
  ASSERT_EQ(outputs.size(), 12u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(outputs[i], outputs[i + 6]) << i;
  EXPECT_EQ(device.problem(), "");
}

// A recurrent network as a stream: its states go on from call to call.
TEST(CudaStates, StreamsOfSegments) {
  const auto make = [](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {5, 2, 7}});
    Value* h = g.add_state("h", Tensor::zeros(DType::f32, {1, 2, 9}));
    Value* c = g.add_state("c", Tensor::zeros(DType::f32, {1, 2, 9}));
    Node* lstm = b.create("LSTM",
                          {x, weights(b, {1, 36, 7}, 1), weights(b, {1, 36, 9}, 2),
                           weights(b, {1, 72}, 3), nullptr, h, c},
                          {{"hidden_size", int64_t{9}}}, 3);
    g.add_output("y", lstm->result(0));
    g.set_next(h, lstm->result(1));
    g.set_next(c, lstm->result(2));
  };
  CudaStandIn device;
  std::vector<std::vector<Tensor>> results;
  for (const char* target : {"host", "cuda"}) {
    const CompiledModel m = compiled(make, target);
    Session s = session(m);
    const auto inputs = cuda_test::inputs_of(m.model.program(), {});
    for (int i = 0; i < 3; ++i) results.push_back(s.run(std::span<const Tensor>(inputs)).value());
  }
  for (size_t i = 0; i < 3; ++i)
    EXPECT_LE(compare_tensors(results[i + 3][0], results[i][0], 0, 0).max_error, 1e-5) << i;
  EXPECT_EQ(device.problem(), "");
}

TEST(CudaStates, ReportMemoryAndName) {
  CudaStandIn device;
  const CompiledModel m = compiled(accumulate, "cuda");
  const auto inputs = cuda_test::inputs_of(m.model.program(), {});
  EXPECT_EQ(m.model.memory(std::span<const Tensor>(inputs)).value().device_states, 12u);
  Session s = session(m);
  run(s, {{"x", vector({1, 1, 1})}});
  device.fail_next("cuMemcpyDtoH_v2");
  EXPECT_THAT(s.states()->get("sum").status().message(),
              AllOf(HasSubstr("state 'sum'"), HasSubstr("CUDA_ERROR_UNKNOWN")));
  EXPECT_EQ(state(s, "sum"), (Floats{1, 1, 1}));
}

}  // namespace
}  // namespace tintype
