// Layers for sequences: shapes, parameters, messages for mistakes.
#include "frontend/graph/recurrent.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace tintype {
namespace {

using testing::HasSubstr;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::string shape(const Variable& v) { return text_of(v.shape()); }

TEST(RecurrentLayers, StacksBothWays) {
  GraphBuilder g("stack");
  const auto x = g.input("x", f32("N", "T", 5));
  const RecurrentResult r =
      x.lstm({.name = "lstm", .units = 7, .layers = 2, .bidirectional = true, .dropout = 0.2});
  EXPECT_EQ(shape(r.y), "[N,T,14]");
  EXPECT_EQ(shape(r.h), "[4,N,7]");
  EXPECT_EQ(shape(*r.c), "[4,N,7]");
  // torch.nn.LSTM(5, 7, 2, bidirectional=True) has as many.
  EXPECT_EQ(g.layers().back().parameters, 2 * (28 * (5 + 7) + 56) + 2 * (28 * (14 + 7) + 56));
  g.output("y", r.y);
  verify(*g.take());
}

TEST(RecurrentLayers, GruAndRnn) {
  GraphBuilder g("kinds");
  const auto x = g.input("x", f32("N", "T", 5));
  const RecurrentResult gru = x.gru({.units = 3});
  EXPECT_EQ(shape(gru.y), "[N,T,3]");
  EXPECT_FALSE(gru.c.has_value());
  EXPECT_EQ(gru.y.value()->name(), "gru1");
  const RecurrentResult rnn = x.rnn({.units = 4, .reverse = true, .activation = "Relu"});
  EXPECT_EQ(shape(last_step(rnn.y)), "[N,4]");
}

TEST(RecurrentLayers, ForgetGatesStartOpen) {
  GraphBuilder g("bias");
  const auto x = g.input("x", f32("N", "T", 2));
  x.lstm({.name = "lstm", .units = 2, .forget_bias = 10});
  for (const auto& n : g.graph().nodes()) {
    if (n->result()->name() != "lstm.bias_l0") continue;
    const auto b = n->result()->constant()->values<float>();
    ASSERT_EQ(b.size(), 16u);
    for (size_t i = 0; i < 16; ++i) EXPECT_EQ(b[i] > 5, i == 4 || i == 5) << i;
  }
}

TEST(RecurrentLayers, InputGatesStartClosed) {
  GraphBuilder g("bias");
  const auto x = g.input("x", f32("N", "T", 2));
  x.lstm({.name = "lstm", .units = 2, .input_bias = -10});
  for (const auto& n : g.graph().nodes()) {
    if (n->result()->name() != "lstm.bias_l0") continue;
    const auto b = n->result()->constant()->values<float>();
    for (size_t i = 0; i < 16; ++i) EXPECT_EQ(b[i] < -5, i < 2) << i;
  }
}

TEST(RecurrentLayers, UpdateGatesStartClosed) {
  GraphBuilder g("bias");
  const auto x = g.input("x", f32("N", "T", 2));
  x.gru({.name = "gru", .units = 2, .bidirectional = true, .forget_bias = 10});
  for (const auto& n : g.graph().nodes()) {
    if (n->result()->name() != "gru.bias_l0") continue;
    const auto b = n->result()->constant()->values<float>();
    ASSERT_EQ(b.size(), 24u);
    for (size_t i = 0; i < 24; ++i) EXPECT_EQ(b[i] > 5, i % 12 < 2) << i;
  }
}

TEST(RecurrentLayers, TimeIsTheMiddleAxis) {
  GraphBuilder g("time");
  const auto ids = g.input("ids", {DType::i64, {Dim::symbol("N"), 12}});
  const auto x = ids.embedding({.count = 9, .width = 6});
  EXPECT_EQ(shape(x), "[N,12,6]");
  EXPECT_EQ(shape(x.conv1d({.filters = 4, .kernel = 3, .stride = 2, .padding = 1})), "[N,6,4]");
  EXPECT_EQ(shape(x.max_pool1d({.kernel = 3})), "[N,4,6]");
  EXPECT_EQ(shape(x.avg_pool1d({.kernel = 2, .stride = 1})), "[N,11,6]");
  EXPECT_EQ(shape(mean_over_time(x)), "[N,6]");
  EXPECT_EQ(shape(max_over_time(x)), "[N,6]");
  EXPECT_EQ(shape(attend(last_step(x), x)), "[N,6]");
}

TEST(RecurrentLayers, MistakesAreNamed) {
  GraphBuilder g("mistakes");
  const auto x = g.input("x", f32("N", "T", 5));
  const auto flat = g.input("flat", f32("N", 5));
  EXPECT_THAT(message_of([&] { x.lstm({.name = "a"}); }),
              HasSubstr("a: expected a positive number of units, got 0"));
  EXPECT_THAT(message_of([&] { flat.gru({.name = "b", .units = 2}); }),
              HasSubstr("b: expected an input of rank 3 with a known number of features"));
  EXPECT_THAT(
      message_of([&] { x.rnn({.name = "c", .units = 2, .bidirectional = true, .reverse = true}); }),
      HasSubstr("c: bidirectional and reverse exclude each other"));
  EXPECT_THAT(message_of([&] { x.rnn({.name = "d", .units = 2, .activation = "Tan"}); }),
              HasSubstr("there is no activation 'Tan' (did you mean 'tanh'?)"));
  EXPECT_THAT(message_of([&] { x.embedding({.name = "e", .count = 3, .width = 2}); }),
              HasSubstr("e: expected ids (i64 or i32), got f32[N,T,5]"));
  EXPECT_THAT(message_of([&] { g.set_next(x, x); }), HasSubstr("'x' is no state"));
}

}  // namespace
}  // namespace tintype
