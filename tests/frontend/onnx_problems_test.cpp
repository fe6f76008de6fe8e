// One mistake per model, and the message that it gets.
#include "frontend/onnx/import.h"
#include "tests/frontend/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

GraphParts one(const Message& n, const Extents& extents = {3}) {
  return {
      .nodes = {n}, .inputs = {value("x", kFloat, extents)}, .outputs = {value("y", kFloat, {""})}};
}

TEST(OnnxProblems, UnknownOperatorsGetTheNearestName) {
  EXPECT_EQ(import_error(model(one(node("Rleu", {"x"}, {"y"}, {}, "act")))),
            "model.onnx:act (Rleu-17): unknown operator (did you mean 'Relu'?)");
  EXPECT_EQ(
      import_error(model(one(node("Gelu", {"x"}, {"y"})), {.opset = 13})),
      "model.onnx:Gelu_0 (Gelu-13): operator does not exist in opset 13; it came with opset 20");
  EXPECT_EQ(
      import_error(model(one(node("acme::Fancy", {"x"}, {"y"})), {.other_opsets = {{"acme", 1}}})),
      "model.onnx:Fancy_0 (acme::Fancy-1): unknown operator; inline it as a model-local function "
      "of the same domain and name, or load a plugin that has it with --plugin");
  EXPECT_THAT(import_error(model(one(node("com.microsoft::FusedConv", {"x"}, {"y"})),
                                 {.other_opsets = {{"com.microsoft", 1}}})),
              StartsWith("model.onnx:FusedConv_0 (com.microsoft::FusedConv-1): operator of ONNX "
                         "Runtime, which its optimizer or quantizer wrote; give the model that"));
}

TEST(OnnxProblems, AllAreCollected) {
  const GraphParts parts{.nodes = {node("Rleu", {"x"}, {"a"}, {}, "first"),
                                   node("Relu", {"a"}, {"b"}, {}, "behind"),
                                   node("MatMul", {"x", "x"}, {"c"}, {}, "second"),
                                   node("Relu", {"x"}, {"d"}, {}, "sound"),
                                   node("Add", {"b", "d"}, {"y"}, {}, "last")},
                         .inputs = {value("x", kFloat, {2, 3}), value("t", kString, {2})},
                         .outputs = {value("y", kFloat, {2, 3})}};
  const ImportReport report = import_onnx_collect(view(model(parts)));
  EXPECT_EQ(report.graph, nullptr);
  EXPECT_THAT(report.problems,
              ElementsAre("model.onnx: input 't': element type STRING is not supported",
                          StartsWith("model.onnx:first (Rleu-17): unknown operator"),
                          StartsWith("model.onnx:second (MatMul-13): ")));
}

TEST(OnnxProblems, Versions) {
  const GraphParts parts = one(node("Relu", {"x"}, {"y"}));
  EXPECT_THAT(import_error(model(parts, {.opset = 99})), HasSubstr("opset 99 is newer than 28"));
  EXPECT_THAT(import_error(model(parts, {.opset = 0})), HasSubstr("opset 0 does not exist"));
  EXPECT_THAT(import_error(model(parts, {.opset = -3})), HasSubstr("opset -3 does not exist"));
  EXPECT_THAT(import_error(model(parts, {.ir_version = 99})), HasSubstr("IR version 99 is newer"));
  EXPECT_THAT(import_error(model(parts, {.other_opsets = {{"ai.onnx", 12}}})),
              HasSubstr("two versions of the default operator set, 17 and 12"));
}

TEST(OnnxProblems, Interface) {
  GraphParts parts = one(node("Relu", {"x"}, {"y"}));
  parts.inputs = {value("x", kFloat8, {3})};
  EXPECT_THAT(import_error(model(parts)),
              HasSubstr("input 'x': element type FLOAT8E4M3FN is not supported"));
  parts.inputs = {value("x", kFloat, {-7})};
  EXPECT_THAT(import_error(model(parts)), HasSubstr("input 'x' has extent -7"));
  parts.inputs = {value("x", kFloat, Extents(17, int64_t{1}))};
  EXPECT_THAT(import_error(model(parts)), HasSubstr("has 17 extents, at most 16 are allowed"));
  const Message nested = sequence_type(sequence_type(tensor_type(kFloat, {3})));
  parts.inputs = {value("x", nested)};
  EXPECT_THAT(import_error(model(parts)),
              HasSubstr("input 'x' is neither a tensor nor a sequence of tensors"));
  parts.inputs = {
      Message().text(1, "x").message(2, Message().message(1, Message().integer(1, kFloat)))};
  EXPECT_THAT(import_error(model(parts)), HasSubstr("input 'x' has no shape"));
  parts = one(node("Relu", {"x"}, {"z"}));
  EXPECT_THAT(import_error(model(parts)), HasSubstr("output 'y'"));
  parts = one(node("Relu", {"x"}, {"y"}));
  parts.outputs.clear();
  EXPECT_THAT(import_error(model(parts)), HasSubstr("the graph has no outputs"));
}

TEST(OnnxProblems, GraphStructure) {
  GraphParts parts = one(node("Relu", {"z"}, {"y"}));
  parts.nodes.push_back(node("Relu", {"y"}, {"z"}));
  EXPECT_THAT(import_error(model(parts)), HasSubstr("invalid model")) << "cycle";
  parts = one(node("Relu", {"y"}, {"y"}));
  EXPECT_THAT(import_error(model(parts)), HasSubstr("invalid model")) << "self-loop";
  parts = one(node("Relu", {"x"}, {"y"}));
  parts.nodes.push_back(node("Neg", {"x"}, {"y"}));
  EXPECT_THAT(import_error(model(parts)), HasSubstr("invalid model")) << "two definitions";
  parts = one(node("Relu", {"x"}, {"y"}));
  parts.inputs.push_back(parts.inputs[0]);
  EXPECT_THAT(import_error(model(parts)), HasSubstr("'x'")) << "two inputs";
  EXPECT_NE(import_error(model(one(node("Relu", {}, {"y"})))), "") << "no inputs";
  EXPECT_NE(import_error(model(one(node("Relu", {"x"}, {})))), "") << "no outputs";
  EXPECT_NE(import_error(model(one(node("Relu", {""}, {"y"})))), "") << "required input absent";
  EXPECT_NE(import_error(model({})), "") << "empty graph";
}

TEST(OnnxProblems, Attributes) {
  const auto softmax = [](const Message& axis) {
    return import_error(model(one(node("Softmax", {"x"}, {"y"}, {axis}))));
  };
  EXPECT_NE(softmax(attribute("axis", "one")), "");
  EXPECT_NE(softmax(attribute("axis", 1.0f)), "");
  EXPECT_NE(softmax(attribute("no_such", int64_t{1})), "");
  EXPECT_NE(softmax(Message().text(1, "axis").integer(20, 99)), "");
  EXPECT_NE(softmax(Message().text(1, "axis")), "");
  EXPECT_THAT(softmax(attribute("axis", int64_t{1})), HasSubstr("axis 1"));
  EXPECT_THAT(softmax(attribute("axis", int64_t{-2})), HasSubstr("axis -2"));
  EXPECT_THAT(softmax(attribute("axis", INT64_MIN)), HasSubstr("axis -9223372036854775808"));
  EXPECT_NE(import_error(
                model(one(node("Softmax", {"x"}, {"y"},
                               {attribute("axis", int64_t{0}), attribute("axis", int64_t{0})})))),
            "");
  EXPECT_EQ(softmax(attribute("axis", int64_t{-1})), "");
}

std::string initializer_error(const Message& tensor, int type = kFloat) {
  return import_error(model({.nodes = {node("Identity", {"w"}, {"y"})},
                             .initializers = {tensor},
                             .outputs = {value("y", type, {""})}}));
}

TEST(OnnxProblems, TensorData) {
  const std::string kilobyte(1028, 'x');
  for (const size_t size : {size_t{0}, size_t{3}, size_t{13}, size_t{1028}})
    EXPECT_THAT(initializer_error(tensor("w", kFloat, {3}, kilobyte.substr(0, size))),
                HasSubstr("w"))
        << size;
  EXPECT_NE(initializer_error(tensor("w", kFloat, {-1}, "abcd")), "");
  EXPECT_NE(initializer_error(tensor("w", kFloat, {(int64_t{1} << 62) + 2}, "abcd")), "");
  EXPECT_NE(initializer_error(tensor("w", kFloat, {int64_t{1} << 32, int64_t{1} << 32}, "abcd")),
            "");
  EXPECT_NE(initializer_error(tensor("w", kFloat, {4194305, 4194305, 211106198978564}, kilobyte)),
            "");
  EXPECT_NE(initializer_error(tensor("w", kFloat, {0, INT64_MIN}, "")), "");
  EXPECT_NE(initializer_error(floats("w", {1}, {1}).text(4, raw_bytes<float>({1}))), "")
      << "raw and typed";
  EXPECT_NE(initializer_error(tensor("w", kFloat8, {1}, "a"), kFloat8), "");
  EXPECT_NE(initializer_error(tensor("w", 999, {1}, "a"), 999), "");
  EXPECT_NE(initializer_error(
                floats("w", {300}, std::vector<float>(300)).message(3, Message().integer(1, 0))),
            "");
  Message huge =
      Message().integer(1, int64_t{1} << 40).integer(2, kInt8).text(8, "w").text(5, kilobyte);
  EXPECT_THAT(initializer_error(huge, kInt8), HasSubstr("found at most"))
      << "refused before allocating";
  EXPECT_THAT(initializer_error(
                  Message().integer(1, 1).integer(2, kInt8).text(8, "w").integer(5, 300), kInt8),
              HasSubstr("300 does not fit i8"));
}

TEST(OnnxProblems, SparseInitializers) {
  std::string bytes = model(one(node("Relu", {"x"}, {"y"})));
  bytes += Message().message(7, Message().message(15, Message())).bytes();
  EXPECT_THAT(import_error(bytes), HasSubstr("sparse initializers are not supported"));
}

TEST(OnnxProblems, DuplicateWeights) {
  const std::vector<float> many(1000);
  GraphParts parts = one(node("Relu", {"w"}, {"y"}));
  parts.initializers = {floats("w", {1000}, many), floats("w", {1000}, many)};
  EXPECT_THAT(import_error(model(parts)),
              HasSubstr("two initializers or constants are called 'w'"));
}

TEST(OnnxProblems, BranchesThatDiffer) {
  const Message flat =
      graph({.nodes = {node("Relu", {"x"}, {"t"})}, .outputs = {value("t", kFloat, {3})}});
  const Message column =
      graph({.nodes = {node("Flatten", {"x"}, {"e"})}, .outputs = {value("e", kFloat, {3, 1})}});
  GraphParts parts =
      one(node("If", {"c"}, {"y"},
               {graph_attribute("then_branch", flat), graph_attribute("else_branch", column)}));
  parts.inputs.push_back(value("c", kBool, {}));
  EXPECT_EQ(import_error(model(parts)),
            "model.onnx:If_0 (If-16): output of the two branches 0 must agree, got f32[3] and "
            "f32[3,1]");
}

TEST(OnnxProblems, LoopsOfUnknownLength) {
  const Message body =
      graph({.nodes = {node("Identity", {"on"}, {"still"}), node("Relu", {"x"}, {"slice"})},
             .inputs = {value("trip", kInt64, {}), value("on", kBool, {})},
             .outputs = {value("still", kBool, {}), value("slice", kFloat, {3})}});
  GraphParts parts = one(node("Loop", {"n", ""}, {"y"}, {graph_attribute("body", body)}));
  parts.inputs.push_back(value("n", kInt64, {}));
  EXPECT_EQ(
      import_error(model(parts)),
      "model.onnx:Loop_0 (Loop-16): its trip count decides the extent of its outputs and must "
      "be known when compiling; it depends on input 'n': give its value with --known-input");
}

std::string with_functions(const std::vector<Message>& functions,
                           const std::string& called = "f::F0") {
  return import_error(
      model(one(node(called, {"x"}, {"y"})), {.functions = functions, .other_opsets = {{"f", 1}}}));
}

TEST(OnnxProblems, RecursiveFunctions) {
  EXPECT_THAT(
      with_functions({function("f", "F0", {"a"}, {"b"}, {node("f::F0", {"a"}, {"b"})}, 17)}),
      HasSubstr("'F0' calls itself"));
  EXPECT_THAT(
      with_functions({function("f", "F0", {"a"}, {"b"}, {node("f::F1", {"a"}, {"b"})}, 17),
                      function("f", "F1", {"a"}, {"b"}, {node("f::F0", {"a"}, {"b"})}, 17)}),
      HasSubstr("calls itself"));
  const Message inner =
      graph({.nodes = {node("f::F0", {"a"}, {"t"})}, .outputs = {value("t", kFloat, {3})}});
  EXPECT_THAT(with_functions({function(
                  "f", "F0", {"a"}, {"b"},
                  {node("If", {"a"}, {"b"}, {graph_attribute("then_branch", inner)})}, 17)}),
              HasSubstr("calls itself"));
}

TEST(OnnxProblems, FunctionsThatGrowExponentially) {
  std::vector<Message> functions;
  for (int i = 0; i < 40; ++i) {
    const std::string next = "f::F" + std::to_string(i + 1);
    functions.push_back(function("f", "F" + std::to_string(i), {"a"}, {"b"},
                                 {node(next, {"a"}, {"t"}), node(next, {"t"}, {"b"})}, 17));
  }
  functions.push_back(function("f", "F40", {"a"}, {"b"}, {node("Relu", {"a"}, {"b"})}, 17));
  EXPECT_THAT(with_functions(functions),
              HasSubstr("more than 1000000 nodes once its functions are inlined"));
}

TEST(OnnxProblems, FunctionsNestedTooDeep) {
  std::vector<Message> functions;
  functions.reserve(501);
  for (int i = 0; i < 500; ++i)
    functions.push_back(function("f", "F" + std::to_string(i), {"a"}, {"b"},
                                 {node("f::F" + std::to_string(i + 1), {"a"}, {"b"})}, 17));
  functions.push_back(function("f", "F500", {"a"}, {"b"}, {node("Relu", {"a"}, {"b"})}, 17));
  EXPECT_THAT(with_functions(functions), HasSubstr("nested more than 64 deep"));
}

TEST(OnnxProblems, BranchesNestedTooDeep) {
  for (const int depth : {20, 33, 1000, 4000}) {
    Message body =
        graph({.nodes = {node("Relu", {"x"}, {"t"})}, .outputs = {value("t", kFloat, {3})}});
    for (int i = 0; i < depth; ++i)
      body = graph({.nodes = {node("If", {"c"}, {"t" + std::to_string(i)},
                                   {graph_attribute("then_branch", body),
                                    graph_attribute("else_branch", Message())})},
                    .outputs = {value("t" + std::to_string(i), kFloat, {3})}});
    GraphParts parts = one(
        node("If", {"c"}, {"y"},
             {graph_attribute("then_branch", body), graph_attribute("else_branch", Message())}));
    parts.initializers = {tensor("c", kBool, {}, "\x01")};
    EXPECT_NE(import_error(model(parts)), "") << depth;
  }
}

TEST(OnnxProblems, NamesNeverBreakTheMessage) {
  const std::string evil = "a\nb\x01%n*/\"" + std::string(1, '\0') + std::string(1 << 20, 'z');
  const std::string message = import_error(model(one(node("Rleu", {"x"}, {"y"}, {}, evil))));
  EXPECT_LT(message.size(), 600u);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(message.find('\0'), std::string::npos);
}

}  // namespace
}  // namespace tintype::test
