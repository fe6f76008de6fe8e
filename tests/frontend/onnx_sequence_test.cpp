// Sequences and optionals: what becomes of them while a model is imported.
#include "frontend/onnx/import.h"
#include "ir/diagnostic.h"
#include "tests/frontend/model_writer.h"
#include "tests/support/evaluate.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tintype::test {
namespace {

Message floats_of(const Extents& extents) { return sequence_type(tensor_type(kFloat, extents)); }

int64_t count_of(const Graph& graph, std::string_view op) {
  return std::count_if(graph.nodes().begin(), graph.nodes().end(),
                       [&](const auto& n) { return n->is(op); });
}

std::vector<float> elements(const Tensor& t) {
  return {t.values<float>().begin(), t.values<float>().end()};
}

/// a, b, c in a sequence, changed by `nodes` into one called "s", then concatenated.
std::string changed(std::vector<Message> nodes, std::vector<Message> initializers = {}) {
  nodes.insert(nodes.begin(), node("SequenceConstruct", {"a", "b", "c"}, {"abc"}));
  nodes.push_back(node("ConcatFromSequence", {"s"}, {"y"}, {attribute("axis", int64_t{0})}));
  return model(
      {.nodes = nodes,
       .initializers = initializers,
       .inputs = {value("a", kFloat, {1}), value("b", kFloat, {2}), value("c", kFloat, {1})},
       .outputs = {value("y", kFloat, {""})}});
}

std::vector<float> result_of_changed(const std::string& bytes) {
  const auto g = import_onnx(view(bytes));
  return elements(evaluate(*g, {Tensor::from<float>({1}, {1}), Tensor::from<float>({2}, {2, 3}),
                                Tensor::from<float>({1}, {4})})[0]);
}

TEST(OnnxSequence, InsertsAndErasesAtPositionsOfEitherSign) {
  const auto number = [](int64_t p) { return std::vector<Message>{int64s("p", {}, {p})}; };
  const auto insert = [&](int64_t p) {
    return changed({node("SequenceInsert", {"abc", "b", "p"}, {"s"})}, number(p));
  };
  EXPECT_EQ(result_of_changed(insert(0)), (std::vector<float>{2, 3, 1, 2, 3, 4}));
  EXPECT_EQ(result_of_changed(insert(3)), (std::vector<float>{1, 2, 3, 4, 2, 3}));
  EXPECT_EQ(result_of_changed(insert(-1)), (std::vector<float>{1, 2, 3, 2, 3, 4}));
  const auto erase = [&](int64_t p) {
    return changed({node("SequenceErase", {"abc", "p"}, {"s"})}, number(p));
  };
  EXPECT_EQ(result_of_changed(erase(0)), (std::vector<float>{2, 3, 4}));
  EXPECT_EQ(result_of_changed(erase(-2)), (std::vector<float>{1, 4}));
  EXPECT_EQ(result_of_changed(changed({node("SequenceErase", {"abc"}, {"s"})})),
            (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(import_error(insert(4)),
            "model.onnx:SequenceInsert_1 (SequenceInsert-11): position 4 is outside of a sequence "
            "of 3 tensors");
  EXPECT_EQ(import_error(erase(3)),
            "model.onnx:SequenceErase_1 (SequenceErase-11): position 3 is outside of a sequence of "
            "3 tensors");
  EXPECT_EQ(import_error(erase(-4)),
            "model.onnx:SequenceErase_1 (SequenceErase-11): position -4 is outside of a sequence "
            "of 3 tensors");
}

TEST(OnnxSequence, RefusesWhatDoesNotFit) {
  EXPECT_EQ(
      import_error(changed({node("SequenceInsert", {"abc", "i"}, {"s"})}, {int64s("i", {1}, {1})})),
      "model.onnx:SequenceInsert_1 (SequenceInsert-11): a sequence of f32 tensors cannot "
      "hold i64[1]");
  EXPECT_EQ(
      import_error(changed({node("SequenceErase", {"a"}, {"s"})})),
      "model.onnx:SequenceErase_1 (SequenceErase-11): input 0 must be a sequence, got f32[1]");
  EXPECT_EQ(import_error(changed({node("Relu", {"abc"}, {"s"})})),
            "model.onnx:Relu_1 (Relu-14): input 0 must be a tensor, got a sequence of 3 tensors");
  EXPECT_EQ(import_error(changed({node("SequenceEmpty", {}, {"s"})})),
            "model.onnx:ConcatFromSequence_2 (ConcatFromSequence-11): an empty sequence cannot be "
            "concatenated");
}

/// y = the element of a sequence of a and b at position `p`, an input.
std::string picked(const Extents& a, const Extents& b) {
  return model({.nodes = {node("SequenceConstruct", {"a", "b"}, {"s"}),
                          node("SequenceAt", {"s", "p"}, {"y"})},
                .inputs = {value("a", kFloat, a), value("b", kFloat, b), value("p", kInt64, {})},
                .outputs = {value("y", kFloat, {""})}});
}

TEST(OnnxSequence, ElementsAlikeAreGatheredWhereARunBringsThePosition) {
  const auto g = import_onnx(view(picked({2}, {2})));
  for (const int64_t p : {0, 1, -1, -2}) {
    const auto y = evaluate(*g, {Tensor::from<float>({2}, {1, 2}), Tensor::from<float>({2}, {3, 4}),
                                 Tensor::scalar<int64_t>(p)});
    EXPECT_EQ(elements(y[0]),
              p == 0 || p == -2 ? (std::vector<float>{1, 2}) : (std::vector<float>{3, 4}));
  }
  EXPECT_EQ(
      import_error(picked({2}, {3})),
      "model.onnx:SequenceAt_1 (SequenceAt-11): the position in a sequence must be known when "
      "compiling; it depends on input 'p': give its value with --known-input");
}

/// s = [], then n times: s = s + [x[trip]]; y = s stacked.
std::string grown_in_a_loop(const Message& count) {
  const Message body = graph(
      {.nodes = {node("Identity", {"on"}, {"still"}), node("Gather", {"x", "trip"}, {"row"}),
                 node("SequenceInsert", {"s", "row"}, {"more"})},
       .inputs = {value("trip", kInt64, {}), value("on", kBool, {}), value("s", floats_of({3}))},
       .outputs = {value("still", kBool, {}), value("more", floats_of({3}))}});
  GraphParts parts = {
      .nodes = {node("SequenceEmpty", {}, {"none"}),
                node("Loop", {"n", "", "none"}, {"rows"}, {graph_attribute("body", body)}),
                node("ConcatFromSequence", {"rows"}, {"y"},
                     {attribute("axis", int64_t{0}), attribute("new_axis", int64_t{1})}),
                node("SequenceLength", {"rows"}, {"length"})},
      .inputs = {value("x", kFloat, {4, 3})},
      .outputs = {value("y", kFloat, {"", 3}), value("length", kInt64, {})}};
  if (count.bytes().empty()) parts.inputs.push_back(value("n", kInt64, {}));
  else parts.initializers.push_back(count);
  return model(parts);
}

TEST(OnnxSequence, LoopsThatGrowListsAreWrittenOut) {
  const std::string bytes = grown_in_a_loop(int64s("n", {}, {3}));
  const auto g = import_onnx(view(bytes));
  const Tensor x = random_inputs(*g, {})[0];
  const auto y = evaluate(*g, {x});
  EXPECT_EQ(y[0].dims(), (std::vector<int64_t>{3, 3}));
  std::vector<float> first_rows = elements(x);
  first_rows.resize(9);
  EXPECT_EQ(elements(y[0]), first_rows);
  EXPECT_EQ(*y[1].values<int64_t>().data(), 3);
  EXPECT_EQ(
      import_error(grown_in_a_loop({})),
      "model.onnx:Loop_1 (Loop-16): its trip count decides the extent of its outputs and must "
      "be known when compiling; it depends on input 'n': give its value with --known-input");
}

// s = [a, b], n times: s = [b, a + b].
TEST(OnnxSequence, LoopsThatKeepTheLengthStayLoops) {
  const Message body = graph(
      {.nodes = {node("Identity", {"on"}, {"still"}), node("SequenceAt", {"s", "zero"}, {"first"}),
                 node("SequenceAt", {"s", "one"}, {"second"}),
                 node("Add", {"first", "second"}, {"sum"}),
                 node("SequenceConstruct", {"second", "sum"}, {"next"})},
       .initializers = {int64s("zero", {}, {0}), int64s("one", {}, {1})},
       .inputs = {value("trip", kInt64, {}), value("on", kBool, {}), value("s", floats_of({2}))},
       .outputs = {value("still", kBool, {}), value("next", floats_of({2}))}});
  const std::string bytes =
      model({.nodes = {node("SequenceConstruct", {"a", "b"}, {"ab"}),
                       node("Loop", {"n", "", "ab"}, {"last"}, {graph_attribute("body", body)})},
             .inputs = {value("a", kFloat, {2}), value("b", kFloat, {2}), value("n", kInt64, {})},
             .outputs = {value("last", floats_of({2}))}});
  const auto g = import_onnx(view(bytes));
  EXPECT_EQ(count_of(*g, "loop"), 1);
  ASSERT_EQ(g->output_count(), 2u);
  EXPECT_EQ(g->output_name(0), "last[0]");
  EXPECT_EQ(g->output_name(1), "last[1]");
  const auto y = evaluate(*g, {Tensor::from<float>({2}, {0, 1}), Tensor::from<float>({2}, {1, 1}),
                               Tensor::scalar<int64_t>(5)});
  EXPECT_EQ(elements(y[0]), (std::vector<float>{5, 8}));
  EXPECT_EQ(elements(y[1]), (std::vector<float>{8, 13}));
}

std::string branches(const std::vector<std::string>& then, const std::vector<std::string>& other) {
  const auto branch = [](const std::vector<std::string>& names) {
    return graph({.nodes = {names.empty() ? node("SequenceEmpty", {}, {"list"})
                                          : node("SequenceConstruct", names, {"list"})},
                  .outputs = {value("list", floats_of({2}))}});
  };
  return model(
      {.nodes = {node("If", {"on"}, {"s"},
                      {graph_attribute("then_branch", branch(then)),
                       graph_attribute("else_branch", branch(other))})},
       .inputs = {value("on", kBool, {}), value("a", kFloat, {2}), value("b", kFloat, {2})},
       .outputs = {value("s", floats_of({2}))}});
}

TEST(OnnxSequence, BranchesOfOneLengthStayBranches) {
  const auto g = import_onnx(view(branches({"a", "b"}, {"b", "a"})));
  EXPECT_EQ(count_of(*g, "if"), 1);
  const Tensor a = Tensor::from<float>({2}, {1, 2}), b = Tensor::from<float>({2}, {3, 4});
  for (const bool on : {false, true}) {
    Tensor condition = Tensor::zeros(DType::boolean, {});
    *static_cast<uint8_t*>(condition.mutable_data()) = on ? 1 : 0;
    const auto s = evaluate(*g, {condition, a, b});
    ASSERT_EQ(s.size(), 2u);
    EXPECT_EQ(elements(s[0]), elements(on ? a : b));
    EXPECT_EQ(elements(s[1]), elements(on ? b : a));
  }
  EXPECT_EQ(
      import_error(branches({"a", "b"}, {"a"})),
      "model.onnx:If_0 (If-16): its condition decides the length of a sequence, or whether an "
      "optional has a value, and must be known when compiling; it depends on input 'on': give "
      "its value with --known-input");
}

TEST(OnnxSequence, InputsAreInputsPerElement) {
  const std::string bytes =
      model({.nodes = {node("SequenceAt", {"s", "one"}, {"y"}),
                       node("SequenceErase", {"s", "one"}, {"rest"})},
             .initializers = {int64s("one", {}, {1})},
             .inputs = {value("s", floats_of({"N", 2}))},
             .outputs = {value("y", kFloat, {"", 2}), value("rest", floats_of({"", 2}))}});
  EXPECT_EQ(import_error(bytes),
            "model.onnx: input 's' is a sequence, whose length must be known when compiling: give "
            "it with --input-length s=NUMBER");
  ImportOptions options;
  options.input_lengths["s"] = 3;
  options.input_shapes["s[1]"] = {5, 2};
  const auto g = import_onnx(view(bytes), options);
  ASSERT_EQ(g->inputs().size(), 3u);
  EXPECT_EQ(g->inputs()[0]->type().text(), "f32[N,2]");
  EXPECT_EQ(g->inputs()[2]->name(), "s[2]");
  EXPECT_EQ(g->output(0)->type().text(), "f32[5,2]");
  ASSERT_EQ(g->output_count(), 3u);
  EXPECT_EQ(g->output_name(2), "rest[1]");
  options.input_shapes["s[3]"] = {5, 2};
  EXPECT_EQ(import_error(bytes, options),
            "model.onnx: the model has no input 's[3]' (did you mean 's[0]'?)");
  options.input_shapes.clear();
  options.input_lengths["t"] = 1;
  EXPECT_EQ(import_error(bytes, options),
            "model.onnx: the model has no sequence or optional as input 't' (did you mean 's'?)");
  options.input_lengths = {{"s", -2}};
  EXPECT_EQ(import_error(bytes, options), "model.onnx: input 's' cannot have -2 elements");
}

// y = x where x has a value, else zeros.
TEST(OnnxSequence, OptionalInputsArePresentOrAbsent) {
  const Message get = graph(
      {.nodes = {node("OptionalGetElement", {"x"}, {"v"})}, .outputs = {value("v", kFloat, {2})}});
  const Message none =
      graph({.nodes = {node("Identity", {"zeros"}, {"z"})}, .outputs = {value("z", kFloat, {2})}});
  const std::string bytes = model(
      {.nodes = {node("OptionalHasElement", {"x"}, {"has"}),
                 node("If", {"has"}, {"y"},
                      {graph_attribute("then_branch", get), graph_attribute("else_branch", none)})},
       .initializers = {floats("zeros", {2}, {0, 0})},
       .inputs = {value("x", optional_type(tensor_type(kFloat, {2})))},
       .outputs = {value("y", kFloat, {2})}},
      {.opset = 18});
  EXPECT_EQ(import_error(bytes),
            "model.onnx: input 'x' is an optional, whose presence must be known when compiling: "
            "give it with --input-length x=1, or =none without a value");
  ImportOptions options;
  options.input_lengths["x"] = 1;
  const auto present = import_onnx(view(bytes), options);
  ASSERT_EQ(present->inputs().size(), 1u);
  EXPECT_EQ(present->inputs()[0]->name(), "x");
  EXPECT_EQ(elements(evaluate(*present, {Tensor::from<float>({2}, {5, 6})})[0]),
            (std::vector<float>{5, 6}));
  options.input_lengths["x"] = ImportOptions::kAbsent;
  const auto absent = import_onnx(view(bytes), options);
  EXPECT_TRUE(absent->inputs().empty());
  EXPECT_EQ(elements(evaluate(*absent, {})[0]), (std::vector<float>{0, 0}));
  options.input_lengths["x"] = 2;
  EXPECT_EQ(import_error(bytes, options), "model.onnx: input 'x' cannot have 2 elements");
}

std::string split(const std::vector<Message>& attributes, const Message* sizes, const Extents& x) {
  std::vector<std::string> inputs = {"x"};
  GraphParts parts = {.inputs = {value("x", kFloat, x)}, .outputs = {value("s", floats_of({""}))}};
  if (sizes != nullptr) {
    inputs.emplace_back("sizes");
    parts.initializers.push_back(*sizes);
  }
  parts.nodes.push_back(node("SplitToSequence", inputs, {"s"}, attributes));
  return model(parts);
}

TEST(OnnxSequence, Splits) {
  const auto types = [](const std::string& bytes) {
    std::vector<std::string> list;
    const auto g = import_onnx(view(bytes));
    for (size_t i = 0; i < g->output_count(); ++i) list.push_back(g->output(i)->type().text());
    return list;
  };
  using Types = std::vector<std::string>;
  EXPECT_EQ(types(split({}, nullptr, {2, 3})), (Types{"f32[1,3]", "f32[1,3]"}));
  EXPECT_EQ(types(split({attribute("axis", int64_t{-1}), attribute("keepdims", int64_t{0})},
                        nullptr, {2, 3})),
            (Types{"f32[2]", "f32[2]", "f32[2]"}));
  const Message two = int64s("sizes", {}, {2}), list = int64s("sizes", {3}, {0, 4, 1}),
                zero = int64s("sizes", {}, {0}), wrong = int64s("sizes", {2}, {1, 1});
  EXPECT_EQ(types(split({}, &two, {5, 3})), (Types{"f32[2,3]", "f32[2,3]", "f32[1,3]"}));
  EXPECT_EQ(types(split({}, &list, {5})), (Types{"f32[0]", "f32[4]", "f32[1]"}));
  const std::string place = "model.onnx:SplitToSequence_0 (SplitToSequence-11): ";
  EXPECT_EQ(import_error(split({}, &zero, {5})), place + "the split must be positive, got 0");
  EXPECT_EQ(import_error(split({}, &wrong, {5})),
            place + "the sizes add up to 2, the extent of axis 0 is 5");
  EXPECT_EQ(import_error(split({}, nullptr, {int64_t{1} << 40})),
            place + "a sequence of 1099511627776 tensors is longer than 65536");
  EXPECT_EQ(import_error(split({}, nullptr, {"N"})),
            place + "extent N of axis 0 decides the length of a sequence and must be known when "
                    "compiling; give the shape of the model's input with --shape");
}

}  // namespace
}  // namespace tintype::test
