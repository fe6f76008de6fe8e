// What a sound model becomes: types, names, constants, branches, functions, old opsets.
#include "frontend/onnx/import.h"
#include "ir/constant_source.h"
#include "ir/diagnostic.h"
#include "tests/frontend/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::string> ops(const Graph& g) {
  std::vector<std::string> names;
  for (const auto& n : g.nodes())
    if (!n->is("constant")) names.emplace_back(n->name());
  return names;
}

const Node& only(const Graph& g, std::string_view op) {
  for (const auto& n : g.nodes())
    if (n->is(op)) return *n;
  throw std::runtime_error("no node " + std::string(op));
}

GraphParts conv_relu(int64_t channels = 4) {
  return {.nodes = {node("Conv", {"x", "w"}, {"c"},
                         {attribute("pads", std::vector<int64_t>{1, 1, 1, 1})}, "my/conv"),
                    node("Relu", {"c"}, {"y"})},
          .initializers = {floats("w", {channels, 3, 3, 3},
                                  std::vector<float>(static_cast<size_t>(channels) * 27, 0.5f))},
          .inputs = {value("x", kFloat, {"N", 3, "height", 8})},
          .outputs = {value("y", kFloat, {"N", channels, "height", 8})}};
}

TEST(OnnxImport, TypesNamesAndOrigins) {
  const auto g = import_onnx(view(model(conv_relu())));
  ASSERT_EQ(g->inputs().size(), 1u);
  EXPECT_EQ(g->inputs()[0]->name(), "x");
  EXPECT_EQ(g->inputs()[0]->type().text(), "f32[N,3,height,8]");
  ASSERT_EQ(g->output_count(), 1u);
  EXPECT_EQ(g->output_name(0), "y");
  EXPECT_EQ(g->output(0)->type().text(), "f32[N,4,height,8]");
  EXPECT_EQ(ops(*g), (std::vector<std::string>{"Conv", "Relu"}));
  EXPECT_EQ(only(*g, "Conv").origins(), std::vector<std::string>{"my/conv"});
  EXPECT_EQ(only(*g, "Relu").origins(), std::vector<std::string>{"Relu_1"});
  EXPECT_EQ(only(*g, "Conv").result()->name(), "c");
}

TEST(OnnxImport, OutputsNeedNoShape) {
  GraphParts parts = conv_relu();
  // TypeProto.tensor_type with an element type alone.
  parts.outputs = {value("y", Message().message(1, Message().integer(1, kFloat)))};
  EXPECT_EQ(import_onnx(view(model(parts)))->output(0)->type().text(), "f32[N,4,height,8]");
}

TEST(OnnxImport, LargeWeightsStayInTheFile) {
  const std::string bytes = model(conv_relu(64));
  // Memory that the importer does not have to copy, at an odd and at an aligned address.
  for (size_t shift = 0; shift < 4; ++shift) {
    auto owner = std::make_shared<std::vector<uint8_t>>(shift + bytes.size());
    std::copy(bytes.begin(), bytes.end(), owner->begin() + static_cast<int64_t>(shift));
    ModelBytes m{{owner->data() + shift, bytes.size()}, owner, "m", ""};
    const auto g = import_onnx(m);
    const Tensor* w = only(*g, "Conv").operand(1)->constant();
    ASSERT_NE(w, nullptr);
    EXPECT_EQ(w->type_string(), "f32[64,3,3,3]");
    EXPECT_EQ(w->values<float>()[100], 0.5f);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(w->data()) % 4, 0u);
    const auto* p = static_cast<const uint8_t*>(w->data());
    const bool inside = p >= owner->data() && p < owner->data() + owner->size();
    const uint8_t* payload = owner->data() + shift + bytes.find(raw_bytes<float>({0.5f, 0.5f}));
    EXPECT_EQ(inside, reinterpret_cast<uintptr_t>(payload) % 4 == 0);
  }
}

TEST(OnnxImport, EveryOpsetFromSixIsUnderstood) {
  for (int64_t opset = 6; opset <= kNewestOpset; ++opset) {
    const std::string bytes =
        model(conv_relu(64), {.ir_version = opset < 9 ? 3 : 8, .opset = opset});
    const auto g = import_onnx(view(bytes));
    EXPECT_EQ(g->output(0)->type().text(), "f32[N,64,height,8]") << opset;
    EXPECT_NE(only(*g, "Conv").operand(1)->constant(), nullptr) << opset;
  }
}

TEST(OnnxImport, OldSqueezeGetsItsAxesAsInput) {
  const GraphParts parts{.nodes = {node("Squeeze", {"x"}, {"y"},
                                        {attribute("axes", std::vector<int64_t>{1})}, "squeeze")},
                         .inputs = {value("x", kFloat, {2, 1, 3})},
                         .outputs = {value("y", kFloat, {2, 3})}};
  const auto g = import_onnx(view(model(parts, {.opset = 11})));
  EXPECT_EQ(g->output(0)->type().text(), "f32[2,3]");
  EXPECT_EQ(only(*g, "Squeeze").origins(), std::vector<std::string>{"squeeze"});
}

TEST(OnnxImport, SlopesBelongToChannelsBeforeOpsetSeven) {
  const GraphParts parts{.nodes = {node("PRelu", {"x", "s"}, {"y"})},
                         .initializers = {floats("s", {3}, {1, 2, 3})},
                         .inputs = {value("x", kFloat, {2, 3, 5, 5})},
                         .outputs = {value("y", kFloat, {2, 3, 5, 5})}};
  const auto g = import_onnx(view(model(parts, {.ir_version = 3, .opset = 6})));
  EXPECT_EQ(only(*g, "PRelu").operand(1)->type().text(), "f32[3,1,1]");
}

TEST(OnnxImport, SymbolsAreIdentifiersAndStayDistinct) {
  const GraphParts parts{.nodes = {node("Relu", {"x"}, {"y"}), node("Relu", {"z"}, {"w"})},
                         .inputs = {value("x", kFloat, {"a.b", "a_b", "1st", "", -1}),
                                    value("z", kFloat, {"a.b", ""})},
                         .outputs = {value("y", kFloat, {}), value("w", kFloat, {})}};
  const auto g = import_onnx(view(model(parts)));
  const Shape& x = g->inputs()[0]->shape();
  const Shape& z = g->inputs()[1]->shape();
  EXPECT_EQ(x[0], z[0]);
  EXPECT_EQ(x[0].text(), "a_b");
  EXPECT_NE(x[1], x[0]);
  EXPECT_EQ(x[2].text(), "_1st");
  EXPECT_TRUE(x[3].symbol_name().has_value());
  EXPECT_NE(x[3], x[4]);
  EXPECT_NE(x[3], z[1]);
}

GraphParts scaled() {
  return {.nodes = {node("Mul", {"x", "scale"}, {"y"})},
          .initializers = {floats("scale", {1}, {2})},
          .inputs = {value("x", kFloat, {3}), value("scale", kFloat, {"S"})},
          .outputs = {value("y", kFloat, {3})}};
}

TEST(OnnxImport, AnInputWithInitializerIsConstantUnlessOverridden) {
  for (const int64_t ir_version : {3, 8}) {
    const std::string bytes = model(scaled(), {.ir_version = ir_version, .opset = 8});
    const auto constant = import_onnx(view(bytes));
    EXPECT_EQ(constant->inputs().size(), 1u);
    EXPECT_NE(only(*constant, "Mul").operand(1)->constant(), nullptr);
    ImportOptions options;
    options.input_shapes["scale"] = {3};
    const auto open = import_onnx(view(bytes), options);
    ASSERT_EQ(open->inputs().size(), 2u);
    EXPECT_EQ(open->inputs()[1]->type().text(), "f32[3]");
  }
}

TEST(OnnxImport, KnownInputsBecomeConstants) {
  ImportOptions options;
  options.known_inputs["x"] = Tensor::from<float>({3}, {1, 2, 3});
  const auto g = import_onnx(view(model(scaled())), options);
  EXPECT_TRUE(g->inputs().empty());
  options.known_inputs["x"] = Tensor::from<int64_t>({3}, {1, 2, 3});
  EXPECT_THAT(import_error(model(scaled()), options),
              HasSubstr("has element type f32, the given value is i64[3]"));
  options.known_inputs["x"] = Tensor::from<float>({2}, {1, 2});
  EXPECT_THAT(import_error(model(scaled()), options),
              HasSubstr("does not fit the shape of input 'x'"));
  options.known_inputs = {{"X", Tensor::from<float>({3}, {1, 2, 3})}};
  EXPECT_THAT(import_error(model(scaled()), options),
              HasSubstr(": the model has no input 'X' (did you mean 'x'?)"));
}

TEST(OnnxImport, AValueNeededForCompilingNamesTheInput) {
  const GraphParts parts{
      .nodes = {node("Add", {"s", "s"}, {"t"}), node("Reshape", {"x", "t"}, {"y"})},
      .inputs = {value("x", kFloat, {2, 6}), value("s", kInt64, {2})},
      .outputs = {value("y", kFloat, {"", ""})}};
  const std::string bytes = model(parts);
  try {
    import_onnx(view(bytes));
    FAIL() << "expected NeedsInputValue";
  } catch (const NeedsInputValue& e) {
    EXPECT_EQ(e.input(), "s");
    EXPECT_THAT(e.what(), StartsWith("model.onnx:Reshape_1 (Reshape-14): "));
  }
}

TEST(OnnxImport, AbsentOptionalInputs) {
  const GraphParts parts{.nodes = {node("Clip", {"x", "", "high"}, {"y"})},
                         .initializers = {floats("high", {}, {6})},
                         .inputs = {value("x", kFloat, {3})},
                         .outputs = {value("y", kFloat, {3})}};
  const auto g = import_onnx(view(model(parts)));
  EXPECT_EQ(only(*g, "Clip").operand_count(), 3);
  EXPECT_EQ(only(*g, "Clip").operand(1), nullptr);
}

TEST(OnnxImport, ConstantNodesAndInitializersStayApart) {
  const std::vector<float> many(1000, 2);
  const std::string bytes = model(
      {.nodes = {node("Constant", {}, {"a"}, {tensor_attribute("value", floats("", {1000}, many))}),
                 node("Constant", {}, {"b"}, {tensor_attribute("value", floats("", {1}, {1}))}),
                 node("Sum", {"a", "b", "c", "d"}, {"y"})},
       .initializers = {floats("c", {1000}, many), floats("d", {1}, {1})},
       .outputs = {value("y", kFloat, {1000})}});
  const auto g = import_onnx(view(bytes));
  for (const auto& n : g->nodes())
    if (n->is("constant")) {
      const bool literal = n->result()->name() == "a" || n->result()->name() == "b";
      EXPECT_EQ(source_of(*n), literal ? ConstantSource::literal : ConstantSource::initializer)
          << n->result()->name();
    }
}

TEST(OnnxImport, ConstantsInAllTheirForms) {
  const std::vector<float> many(1000, 3.0f);
  const GraphParts parts{
      .nodes = {node("Constant", {}, {"a"}, {tensor_attribute("value", floats("", {1000}, many))}),
                node("Constant", {}, {"b"}, {tensor_attribute("value", floats("", {1}, {1}))}),
                node("Constant", {}, {"c"}, {attribute("value_float", 2.0f)}),
                node("Constant", {}, {"i"}, {attribute("value_ints", std::vector<int64_t>{1000})}),
                node("Expand", {"c", "i"}, {"e"}), node("Sum", {"x", "a", "b", "e"}, {"y"})},
      .inputs = {value("x", kFloat, {1000})},
      .outputs = {value("y", kFloat, {1000}), value("a", kFloat, {1000})}};
  const auto g = import_onnx(view(model(parts)));
  EXPECT_EQ(g->output(0)->type().text(), "f32[1000]");
  ASSERT_NE(g->output(1)->constant(), nullptr);
  EXPECT_EQ(g->output(1)->constant()->values<float>()[999], 3.0f);
}

TEST(OnnxImport, TypedElementLists) {
  const auto message = [](int type, const std::vector<int64_t>& dims) {
    Message m;
    for (int64_t d : dims) m.integer(1, d);
    return m.integer(2, type).text(8, "w");
  };
  std::string packed;
  for (int64_t v : {-1, 0, 127}) wire::append_varint(packed, static_cast<uint64_t>(v));
  const auto imported = [](const Message& tensor, int type) {
    const GraphParts parts{.nodes = {node("Identity", {"w"}, {"y"})},
                           .initializers = {tensor},
                           .outputs = {value("y", type, {""})}};
    const auto g = import_onnx(view(model(parts)));
    return only(*g, "Identity").operand(0)->constant()->clone();
  };
  const Tensor packed_i8 = imported(message(kInt8, {3}).text(5, packed), kInt8);
  EXPECT_EQ(packed_i8.values<int8_t>()[0], -1);
  EXPECT_EQ(packed_i8.values<int8_t>()[2], 127);
  const Tensor unpacked = imported(message(kInt64, {2}).integer(7, 5).integer(7, -6), kInt64);
  EXPECT_EQ(unpacked.values<int64_t>()[1], -6);
  const Tensor f32 = imported(message(kFloat, {2}).text(4, raw_bytes<float>({1.5f, -2})), kFloat);
  EXPECT_EQ(f32.values<float>()[0], 1.5f);
  const Tensor half = imported(message(kFloat16, {1}).integer(5, 0x3c00), kFloat16);
  EXPECT_EQ(f16_to_f32(half.values<uint16_t>()[0]), 1.0f);
  const Tensor flag = imported(tensor("w", kBool, {2}, std::string("\x02\x00", 2)), kBool);
  EXPECT_EQ(static_cast<const uint8_t*>(flag.data())[0], 1);
}

Message branch(std::string_view op, const std::string& in, const std::string& out) {
  return graph({.nodes = {node(op, {in}, {out})}, .outputs = {value(out, kFloat, {3})}});
}

TEST(OnnxImport, ABranchThatIsDecidedIsTaken) {
  for (const bool taken : {true, false}) {
    const GraphParts parts{
        .nodes = {node("If", {"c"}, {"y"},
                       {graph_attribute("then_branch", branch("Relu", "x", "t")),
                        graph_attribute("else_branch", branch("Neg", "x", "e"))})},
        .initializers = {tensor("c", kBool, {}, taken ? "\x01" : std::string(1, '\0'))},
        .inputs = {value("x", kFloat, {3})},
        .outputs = {value("y", kFloat, {3})}};
    const auto g = import_onnx(view(model(parts)));
    EXPECT_EQ(ops(*g), std::vector<std::string>{taken ? "Relu" : "Neg"});
  }
}

TEST(OnnxImport, FunctionsAreInlinedAndConverted) {
  // The function speaks opset 11, where axes were an attribute; the model speaks 17.
  const Message f =
      function("my", "Sq", {"a"}, {"b"},
               {node("Relu", {"a"}, {"t"}),
                node("Squeeze", {"t"}, {"b"}, {attribute_reference("axes", "ax", 7)})},
               11, {"ax"});
  const GraphParts parts{
      .nodes = {node("my::Sq", {"x"}, {"y"}, {attribute("ax", std::vector<int64_t>{0})}, "call")},
      .inputs = {value("x", kFloat, {1, "N"})},
      .outputs = {value("y", kFloat, {"N"})}};
  const std::string bytes = model(parts, {.functions = {f}, .other_opsets = {{"my", 1}}});
  const auto g = import_onnx(view(bytes));
  EXPECT_EQ(ops(*g), (std::vector<std::string>{"Relu", "Squeeze"}));
  EXPECT_EQ(g->output(0)->type().text(), "f32[N]");
}

TEST(OnnxImport, OperatorsThatAreFunctionsExpand) {
  // CenterCropPad has no record; ONNX defines it by others.
  const GraphParts parts{.nodes = {node("CenterCropPad", {"x", "s"}, {"y"}, {}, "crop")},
                         .initializers = {int64s("s", {2}, {4, 9})},
                         .inputs = {value("x", kFloat, {6, 7})},
                         .outputs = {value("y", kFloat, {4, 9})}};
  const auto g = import_onnx(view(model(parts, {.opset = 18})));
  EXPECT_EQ(g->output(0)->type().text(), "f32[4,9]");
  for (const auto& n : g->nodes()) {
    if (n->is("constant")) continue;
    EXPECT_EQ(n->origins(), std::vector<std::string>{"crop"});
  }
}

/// Two inputs of the same symbols, added.
std::string twins() {
  return model({.nodes = {node("Add", {"ids", "mask"}, {"y"})},
                .inputs = {value("ids", kFloat, {"N", "S"}), value("mask", kFloat, {"N", "S"})},
                .outputs = {value("y", kFloat, {"N", "S"})}},
               {.opset = 18});
}

TEST(OnnxImport, AGivenShapeBindsSymbolsOfAllInputs) {
  ImportOptions options;
  options.input_shapes["ids"] = {2, 7};
  auto g = import_onnx(view(twins()), options);
  EXPECT_EQ(g->inputs()[1]->type().text(), "f32[2,7]");
  EXPECT_EQ(g->output(0)->type().text(), "f32[2,7]");
  options.input_shapes["ids"] = {Dim::symbol("a"), Dim::symbol("S")};
  g = import_onnx(view(twins()), options);
  EXPECT_EQ(g->inputs()[1]->type().text(), "f32[a,S]");
  options.input_shapes["ids"] = {Dim::symbol("S"), Dim::symbol("N")};
  g = import_onnx(view(twins()), options);
  EXPECT_EQ(g->inputs()[1]->type().text(), "f32[S,N]");
  options.input_shapes = {{"ids", {2, 7}}, {"mask", {1, 7}}};  // whoever says so means it
  g = import_onnx(view(twins()), options);
  EXPECT_EQ(g->inputs()[1]->type().text(), "f32[1,7]");
}

TEST(OnnxImport, ReportTellsWhatTheModelIs) {
  const ImportReport report = import_onnx_collect(view(model(conv_relu(64))));
  EXPECT_NE(report.graph, nullptr);
  EXPECT_EQ(report.info.opset, 17);
  EXPECT_EQ(report.info.node_count, 2u);
  EXPECT_EQ(report.info.parameter_count, 64 * 27);
  EXPECT_EQ(report.info.parameter_bytes, 64u * 27 * 4);
}

TEST(OnnxImport, ReportOfWeightsThatNoFileCanHold) {
  GraphParts parts = conv_relu(64);
  for (const char* name : {"unread0", "unread1", "unread2"})
    parts.initializers.push_back(
        external_tensor(name, kFloat, {int64_t{1} << 62}, {{"location", "nowhere"}}));
  const ImportReport report = import_onnx_collect(view(model(parts)));
  EXPECT_NE(report.graph, nullptr) << "nothing reads them";
  EXPECT_GE(report.info.parameter_count, int64_t{1} << 62);
}

}  // namespace
}  // namespace tintype::test
