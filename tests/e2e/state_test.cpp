// Programs whose states outlive runs: updated in place where that is safe, beside where it is not.
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "tests/support/states.h"

#include <filesystem>
#include <functional>
#include <gtest/gtest.h>
#include <unistd.h>

namespace tintype {
namespace {

using test::accumulate;
using test::Floats;
using test::floats;
using test::run;
using test::session;
using test::state;

Tensor vector(const Floats& values) {
  return Tensor::from<float>({static_cast<int64_t>(values.size())}, values);
}

CompiledModel compiled(const std::function<void(Graph&, Builder&)>& make) {
  auto graph = std::make_unique<Graph>("states");
  Builder b(*graph);
  make(*graph, b);
  return compile_graph(std::move(graph));
}

int copies(const CompiledModel& m) {
  int count = 0;
  for (const Step& s : m.model.program().steps) count += s.kind == Step::Kind::copy ? 1 : 0;
  return count;
}

TEST(State, AccumulatesInPlace) {
  const CompiledModel m = compiled(accumulate);
  EXPECT_EQ(copies(m), 0);
  EXPECT_EQ(m.model.program().inputs.size(), 1u);
  EXPECT_EQ(m.model.program().outputs.size(), 1u);
  Session s = session(m);
  for (int i = 1; i <= 3; ++i) {
    const auto out = run(s, {{"x", vector({1, 2, 3})}});
    const auto n = static_cast<float>(i);
    EXPECT_EQ(state(s, "sum"), (Floats{n, 2 * n, 3 * n}));
    EXPECT_EQ(floats(out.at(0)), (Floats{2 * n, 4 * n, 6 * n}));
  }
  ASSERT_TRUE(s.states()->set("sum", vector({10, 10, 10})).ok());
  run(s, {{"x", vector({1, 1, 1})}});
  EXPECT_EQ(state(s, "sum"), (Floats{11, 11, 11}));
}

TEST(State, SessionsAreIndependentUnlessTheyShareAStore) {
  const CompiledModel m = compiled(accumulate);
  Session a = session(m), b = session(m), c = session(m, a.states());
  run(a, {{"x", vector({1, 1, 1})}});
  EXPECT_EQ(state(b, "sum"), (Floats{0, 0, 0}));
  run(c, {{"x", vector({1, 1, 1})}});
  EXPECT_EQ(state(a, "sum"), (Floats{2, 2, 2}));
}

TEST(State, SwappedStates) {
  const CompiledModel m = compiled([](Graph& g, Builder&) {
    Value* a = g.add_state("a", vector({1, 2}));
    Value* b = g.add_state("b", vector({3, 4}));
    g.set_next(a, b);
    g.set_next(b, a);
  });
  Session s = session(m);
  run(s, {});
  EXPECT_EQ(state(s, "a"), (Floats{3, 4}));
  EXPECT_EQ(state(s, "b"), (Floats{1, 2}));
}

// The old value is read after the new one could have been written, in every way there is.
TEST(State, OldValuesThatAreStillNeeded) {
  const CompiledModel m = compiled([](Graph& g, Builder& b) {
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
    Value* row = g.add_state("row", matrix({1, 2, 3, 4}));
    g.set_next(row, b.add(row, b.slice_axis(row, 0, Dim(0), Dim(1))));
  });
  Session s = session(m);
  const auto out = run(s, {{"x", Tensor::from<float>({2, 2}, {2, 0, 0, 2})}});
  EXPECT_EQ(state(s, "mirrored"), (Floats{2, 5, 5, 8}));
  EXPECT_EQ(state(s, "product"), (Floats{2, 2, 0, 2}));
  EXPECT_EQ(state(s, "read_later"), (Floats{2, 0, 0, 8}));
  EXPECT_EQ(floats(out.at(0)), (Floats{2, 4, 24, 32}));
  EXPECT_EQ(floats(out.at(1)), (Floats{1, 2, 3, 4}));
  EXPECT_EQ(state(s, "shown"), (Floats{3, 2, 3, 6}));
  EXPECT_EQ(state(s, "row"), (Floats{2, 4, 4, 6}));
}

TEST(State, Mistakes) {
  const CompiledModel m = compiled(accumulate);
  const auto direct = m.model.run({{"x", vector({1, 1, 1})}});
  ASSERT_FALSE(direct.ok());
  EXPECT_NE(direct.status().message().find("Session"), std::string::npos)
      << direct.status().message();
  Session s = session(m);
  EXPECT_NE(s.states()->get("summ").status().message().find("did you mean 'sum'"),
            std::string::npos);
  EXPECT_FALSE(s.states()->set("sum", vector({1})).ok());
  EXPECT_EQ(s.states()->set("sum", Tensor::borrow(DType::f32, {3}, nullptr, nullptr)).message(),
            "state 'sum': the data pointer of the new value is null");
  const Session moved = std::move(s);
  const std::string gone = "the session was moved from: create another";
  EXPECT_EQ(s.run({{"x", vector({1, 1, 1})}}).status().message(), gone);
  EXPECT_EQ(s.run(std::span<const Tensor>()).status().message(), gone);
  EXPECT_EQ(s.profile({}, 1).status().message(), gone);
  const CompiledModel other = compiled([](Graph& g, Builder&) { g.add_state("sum", vector({1})); });
  EXPECT_FALSE(Session::create(other.model, moved.states()).ok());
  Graph g("twice");
  g.add_state("a", vector({1}));
  EXPECT_THROW(g.add_state("a", vector({1})), Error);
  EXPECT_THROW(g.set_next(g.inputs()[0].get(), g.add_input("x", {DType::f32, {Dim(2)}})), Error);
}

TEST(State, ProgramsInFilesKeepThem) {
  const std::string path = ::testing::TempDir() + "/states" + std::to_string(getpid()) + ".tt";
  const CompiledModel m = compiled([](Graph& g, Builder& b) {
    Value* s = g.add_state("s", vector({1, 2}));
    g.set_next(s, b.add(s, s));
  });
  save_model(m, path);
  Result<Model> loaded = Model::load(path);
  EXPECT_THROW(save_model(open_model(path), path + "2"), Error);
  std::filesystem::remove(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_THROW(save_model(m, "/nowhere/model.tt"), Error);
  EXPECT_THROW(compile_graph(nullptr), Error);
  Result<Session> s = Session::create(loaded.value());
  ASSERT_TRUE(s.ok());
  ASSERT_TRUE(s.value().run(std::map<std::string, Tensor>()).ok());
  EXPECT_EQ(state(s.value(), "s"), (Floats{2, 4}));
}

TEST(State, TextParsesBack) {
  Graph g("text");
  Builder b(g);
  accumulate(g, b);
  g.add_state("weights of \"layer\"", vector(Floats(20, 1.5f)));
  std::map<std::string, Tensor> tensors;
  PrintOptions options;
  options.tensors = &tensors;
  const std::string text = print(g, options);
  const auto back = parse_graph(text, tensors);
  ASSERT_EQ(back->states().size(), 2u);
  std::map<std::string, Tensor> again;
  options.tensors = &again;
  EXPECT_EQ(print(*back, options), text);
  EXPECT_EQ(print(*back->clone(), {}), print(g));
  EXPECT_THROW(parse_graph("graph \"g\"(state %s: f32[1](1.0)) {\n  return nothing\n}\n"), Error);
  EXPECT_THROW(parse_graph("graph \"g\"(%s: f32[1]) {\n  return %s next \"s\"\n}\n"), Error);
}

// The update of a product of gradients: its kernel replaces weights and momentum, whatever their
// extents do to its tiles, and whether or not the old weights are read before.
class UpdateOfProduct : public testing::TestWithParam<std::tuple<int, int, int>> {};

TEST_P(UpdateOfProduct, IsThatOfTheArithmetic) {
  const auto [rows, depth, columns] = GetParam();
  const CompiledModel m = compiled([&](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim(depth), Dim(rows)}});
    Value* dy = g.add_input("dy", {DType::f32, {Dim(depth), Dim(columns)}});
    const std::vector<int64_t> dims = {rows, columns};
    Value* w = g.add_state("w", Tensor::zeros(DType::f32, dims));
    Value* v = g.add_state("v", Tensor::zeros(DType::f32, dims));
    g.add_output("y", b.make("dot", {x, w}));
    Value* gradient = b.make("dot", {b.transpose(x, {1, 0}), dy});
    Value* next = b.add(b.mul(v, b.scalar(0.5, DType::f32)), gradient);
    g.set_next(v, next);
    g.set_next(w, b.sub(w, b.mul(next, b.scalar(0.25, DType::f32))));
  });
  if (rows % 4 == 0 && columns % 16 == 0) {
    EXPECT_LE(copies(m), 1) << "more than making the left side dense";
  }
  // Small integers: sums are exact in any order.
  Floats x, dy, w(static_cast<size_t>(rows * columns)), v(w.size());
  for (int i = 0; i < depth * rows; ++i) x.push_back(static_cast<float>(i % 7 - 3));
  for (int i = 0; i < depth * columns; ++i) dy.push_back(static_cast<float>(i % 5 - 2));
  Session s = session(m);
  for (int step = 0; step < 3; ++step) {
    run(s, {{"x", Tensor::from<float>({depth, rows}, x)},
            {"dy", Tensor::from<float>({depth, columns}, dy)}});
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) {
        float sum = 0;
        for (int k = 0; k < depth; ++k)
          sum += x[static_cast<size_t>(k * rows + r)] * dy[static_cast<size_t>(k * columns + c)];
        const auto at = static_cast<size_t>(r * columns + c);
        v[at] = 0.5f * v[at] + sum;
        w[at] -= 0.25f * v[at];
      }
    ASSERT_EQ(state(s, "v"), v) << "step " << step;
    ASSERT_EQ(state(s, "w"), w) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Extents, UpdateOfProduct,
                         testing::Values(std::tuple(1, 3, 1), std::tuple(784, 8, 64),
                                         std::tuple(13, 5, 32), std::tuple(16, 4, 10),
                                         std::tuple(7, 1, 48), std::tuple(40, 300, 80),
                                         std::tuple(12, 64, 128), std::tuple(5, 2, 17),
                                         std::tuple(50, 700, 64), std::tuple(128, 517, 32)));

/// The update of a convolution's weights, whatever makes the gradient.
void update_of_conv(Graph& g, Builder& b, int channels, int filters) {
  const Dim c(channels), f(filters);
  Value* x = g.add_input("x", {DType::f32, {Dim(2), Dim(6), Dim(5), c}});
  Value* dy = g.add_input("dy", {DType::f32, {Dim(2), Dim(4), Dim(3), f}});
  const std::vector<int64_t> dims = {3, 3, channels, filters};
  Value* w = g.add_state("w", Tensor::zeros(DType::f32, dims));
  Value* v = g.add_state("v", Tensor::zeros(DType::f32, dims));
  const std::vector<int64_t> window = {3, 3};
  g.add_output("y", b.make("conv", {x, w}, {{"window", window}, {"filters", int64_t{filters}}}));
  Value* gradient = b.make("conv_weight_gradient", {x, dy}, {{"window", window}});
  Value* next = b.add(b.mul(v, b.scalar(0.5, DType::f32)), gradient);
  g.set_next(v, next);
  g.set_next(w, b.sub(w, b.mul(next, b.scalar(0.25, DType::f32))));
}

// The same as the unfused program for small integers, whose sums are exact in any order.
TEST(State, UpdatesOfConvolutionsAreThoseOfTheReference) {
  for (const auto& [channels, filters] :
       {std::pair(8, 32), std::pair(6, 16), std::pair(7, 48), std::pair(5, 20), std::pair(16, 3)}) {
    const auto make = [&, c = channels, f = filters](bool reference) {
      auto graph = std::make_unique<Graph>("update");
      Builder b(*graph);
      update_of_conv(*graph, b, c, f);
      CompileOptions options;
      options.reference = reference;
      return compile_graph(std::move(graph), options);
    };
    const CompiledModel fused = make(false), plain = make(true);
    if (channels == 8) {
      EXPECT_EQ(copies(fused), 0);
    }
    Floats x, dy;
    for (int i = 0; i < 60 * channels; ++i) x.push_back(static_cast<float>(i % 7 - 3));
    for (int i = 0; i < 24 * filters; ++i) dy.push_back(static_cast<float>(i % 5 - 2));
    Session s = session(fused), t = session(plain);
    const std::map<std::string, Tensor> inputs = {
        {"x", Tensor::from<float>({2, 6, 5, channels}, x)},
        {"dy", Tensor::from<float>({2, 4, 3, filters}, dy)}};
    for (int step = 0; step < 3; ++step) {
      EXPECT_EQ(floats(run(s, inputs).at(0)), floats(run(t, inputs).at(0))) << "step " << step;
      ASSERT_EQ(state(s, "v"), state(t, "v")) << channels << " channels, step " << step;
      ASSERT_EQ(state(s, "w"), state(t, "w")) << channels << " channels, step " << step;
    }
  }
}

// A product updates states of another shape where they lie.
TEST(State, UpdatesInTheShapeOfTheProduct) {
  const CompiledModel m = compiled([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim(24), Dim(5)}});
    Value* dy = g.add_input("dy", {DType::f32, {Dim(5), Dim(32)}});
    Value* w = g.add_state("w", Tensor::zeros(DType::f32, {3, 8, 32}));
    Value* v = g.add_state("v", Tensor::zeros(DType::f32, {3, 8, 32}));
    g.add_output("old", b.reduce("reduce_sum", w, {0, 1, 2}));
    Value* gradient = b.reshape(b.make("dot", {x, dy}), {3, 8, 32});
    Value* next = b.add(v, gradient);
    g.set_next(v, next);
    g.set_next(w, b.sub(w, next));
  });
  EXPECT_EQ(copies(m), 0);
  const Floats ones(24 * 5, 1), twos(5 * 32, 2);
  Session s = session(m);
  float v = 0, w = 0;
  for (int step = 0; step < 3; ++step) {
    const auto out = run(
        s, {{"x", Tensor::from<float>({24, 5}, ones)}, {"dy", Tensor::from<float>({5, 32}, twos)}});
    EXPECT_EQ(floats(out.at(0)), Floats{w * 24 * 32});
    v += 10;
    w -= v;
    EXPECT_EQ(state(s, "v"), Floats(24 * 32, v));
    EXPECT_EQ(state(s, "w"), Floats(24 * 32, w));
  }
}

}  // namespace
}  // namespace tintype
