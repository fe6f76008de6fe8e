// Ops that are added: in text, in ONNX models, in place of model-local functions; and records that
// are refused.
#include "frontend/onnx/export.h"
#include "frontend/onnx/import.h"
#include "ir/builder.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "tests/frontend/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>
#include <unistd.h>

namespace tintype::test {
namespace {

using ::testing::HasSubstr;

std::vector<Value*> twice(Builder& b, const Node& n) {
  return {b.with_scalar("mul", n.operand(0), n.attrs().number("factor", 2.0))};
}

constexpr AttrDef kFactor[] = {{"factor", AttrKind::number}};

constexpr OpDef kOps[] = {
    {.name = "test::Scale",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kFactor,
     .traits = kOnnx,
     .decompose = twice,
     .doc = "x * factor"},
    {.name = "test::Host",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kHostOnly,
     .infer = infer_like_first,
     .not_differentiable = "a test",
     .doc = "x"},
};

std::string text_of(const Graph& g) {
  PrintOptions options;
  options.origins = false;
  return print(g, options);
}

TEST(CustomOps, ModelsCallThemByDomainAndName) {
  register_ops(kOps);
  register_ops(kOps);  // the same table again is no conflict
  const std::string bytes =
      model({.nodes = {node("test::Scale", {"x"}, {"s"}, {attribute("factor", 3.0f)}),
                       node("test::Host", {"s"}, {"y"})},
             .inputs = {value("x", kFloat, {"N", 3})},
             .outputs = {value("y", kFloat, {"N", 3})}},
            {.other_opsets = {{"test", 1}}});
  const auto g = import_onnx(view(bytes));
  const std::string text = text_of(*g);
  EXPECT_THAT(text, HasSubstr("%0 = test::Scale(%x) {factor = 3.0} : f32[N,3]\n"
                              "  %1 = test::Host(%0) : f32[N,3]\n"));
  EXPECT_EQ(text_of(*parse_graph(text)), text);
  const std::string path = (std::filesystem::temp_directory_path() /
                            ("tintype-custom-" + std::to_string(getpid()) + ".onnx"))
                               .string();
  export_onnx(*g, path);
  EXPECT_EQ(text_of(*import_onnx(path)), text);
  std::filesystem::remove(path);
  EXPECT_THAT(import_error(model({.nodes = {node("test::Scales", {"x"}, {"y"})},
                                  .inputs = {value("x", kFloat, {1})},
                                  .outputs = {value("y", kFloat, {1})}},
                                 {.other_opsets = {{"test", 1}}})),
              HasSubstr("load a plugin that has it"));
}

TEST(CustomOps, AFunctionOfTheirNameIsKeptAsACall) {
  register_ops(kOps);
  const Message kept = function("test", "Host", {"a"}, {"b"}, {node("Relu", {"a"}, {"b"})}, 17);
  const Message inlined = function("test", "Other", {"a"}, {"b"}, {node("Relu", {"a"}, {"b"})}, 17);
  const auto g = import_onnx(
      view(model({.nodes = {node("test::Host", {"x"}, {"h"}), node("test::Other", {"h"}, {"y"})},
                  .inputs = {value("x", kFloat, {2})},
                  .outputs = {value("y", kFloat, {2})}},
                 {.functions = {kept, inlined}, .other_opsets = {{"test", 1}}})));
  EXPECT_THAT(text_of(*g), HasSubstr("%0 = test::Host(%x) : f32[2]\n  %1 = Relu(%0) : f32[2]\n"));
}

std::string refusal(const OpDef& def) {
  try {
    register_ops(std::span<const OpDef>(&def, 1));
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

TEST(CustomOps, IncompleteRecordsAreRefused) {
  static const OpDef no_domain = {.name = "Scale", .traits = kOnnx, .decompose = twice, .doc = ""};
  static const OpDef nothing = {.name = "test::Nothing", .doc = ""};
  static const OpDef no_trait = {.name = "test::Untraited", .decompose = twice, .doc = ""};
  static const OpDef no_kind = {.name = "test::Kind", .infer = infer_like_first, .doc = ""};
  static const OpDef no_gradient = {
      .name = "test::Slope", .traits = kPointwise, .infer = infer_like_first, .doc = ""};
  static const OpDef counts = {.name = "test::Counts",
                               .min_operands = 2,
                               .max_operands = 1,
                               .traits = kOnnx,
                               .decompose = twice,
                               .doc = ""};
  static const OpDef taken = {
      .name = "test::Scale", .traits = kOnnx, .decompose = twice, .doc = ""};
  register_ops(kOps);
  EXPECT_THAT(refusal(no_domain), HasSubstr("its name must be domain::Name"));
  EXPECT_THAT(refusal(nothing), HasSubstr("either a decomposition or inference"));
  EXPECT_THAT(refusal(no_trait), HasSubstr("the trait kOnnx"));
  EXPECT_THAT(refusal(no_kind), HasSubstr("kPointwise, kKernel or kHostOnly"));
  EXPECT_THAT(refusal(no_gradient), HasSubstr("either a gradient or a reason"));
  EXPECT_THAT(refusal(counts), HasSubstr("it takes 2 to 1 operands"));
  EXPECT_THAT(refusal(taken), HasSubstr("there are two ops named 'test::Scale'"));
}

// ---- functions of records that do what they must not ----

constexpr OpDef kWrongOps[] = {
    {.name = "test::Throws",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kHostOnly,
     .infer = [](InferContext&) { throw std::runtime_error("no idea"); },
     .not_differentiable = "a test",
     .doc = ""},
    {.name = "test::ThrowsANumber",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kOnnx,
     .decompose = [](Builder&, const Node&) -> std::vector<Value*> { throw 42; },
     .doc = ""},
    {.name = "test::Untyped",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kHostOnly,
     .infer = [](InferContext&) {},
     .not_differentiable = "a test",
     .doc = ""},
};

TEST(CustomOps, WhatTheirFunctionsThrowNamesTheOp) {
  register_ops(kWrongOps);
  Graph g("wrong");
  Value* x = g.add_input("x", {DType::f32, {3}});
  Builder b(g);
  b.set_origins({"here"});
  const auto made = [&](std::string_view op) -> std::string {
    try {
      b.make(op, {x});
    } catch (const Error& e) {
      return e.what();
    }
    return "made";
  };
  EXPECT_EQ(made("test::Throws"), "here (test::Throws): the op's inference failed: no idea");
  EXPECT_EQ(made("test::ThrowsANumber"),
            "here (test::ThrowsANumber): the op's decomposition failed: "
            "it throws what is no std::exception");
  EXPECT_EQ(made("test::Untyped"),
            "here (test::Untyped): the op's inference gives result 0 no element type");
}

}  // namespace
}  // namespace tintype::test
