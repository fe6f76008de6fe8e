// What is exported must come back the same through the importer; core ops must come back as
// ONNX operators of the same type.
#include "frontend/onnx/export.h"
#include "frontend/onnx/import.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "tests/frontend/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

namespace tintype::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class OnnxExport : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tintype-export-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name = "m.onnx") const { return (folder_ / name).string(); }
  std::unique_ptr<Graph> round_trip(const Graph& g, int opset) {
    export_onnx(g, path(), {.opset = opset});
    return import_onnx(path());
  }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

std::string network() {
  return model(
      {.nodes = {node("Conv", {"image", "w", "b"}, {"c"},
                      {attribute("strides", std::vector<int64_t>{2, 2}),
                       attribute("auto_pad", "SAME_UPPER")},
                      "stem/conv"),
                 node("Clip", {"c", "", "six"}, {"r"}, {}, "stem/relu6"),
                 node("ReduceMean", {"r"}, {"m"},
                      {attribute("axes", std::vector<int64_t>{2, 3}),
                       attribute("keepdims", int64_t{0})},
                      "pool"),
                 node("LeakyRelu", {"m"}, {"l"}, {attribute("alpha", 0.25f)}, "act"),
                 node("Split", {"l"}, {"left", "right"}, {attribute("axis", int64_t{1})}, "split")},
       .initializers = {floats("w", {64, 3, 3, 3}, std::vector<float>(64 * 27, 0.5f)),
                        floats("b", {64}, std::vector<float>(64, 1.0f)), floats("six", {}, {6})},
       .inputs = {value("image", kFloat, {"N", 3, "height", "width"})},
       .outputs = {value("left", kFloat, {"N", ""}), value("right", kFloat, {"N", ""})}},
      {.opset = 17});
}

std::vector<std::string> describe(const Graph& g) {
  std::vector<std::string> lines;
  for (const auto& v : g.inputs()) lines.push_back("input " + v->name() + " " + v->type().text());
  for (const auto& n : g.nodes()) {
    if (n->is("constant")) continue;
    std::string line = n->where() + ": " + std::string(n->name());
    for (const Value* v : n->operands())
      line += v == nullptr
                  ? " -"
                  : " " + (v->constant() ? "constant" : v->name()) + ":" + v->type().text();
    lines.push_back(line);
  }
  for (size_t i = 0; i < g.output_count(); ++i)
    lines.push_back("output " + g.output_name(i) + " " + g.output(i)->type().text());
  return lines;
}

TEST_F(OnnxExport, ComesBackTheSameInEveryOpset) {
  // In opset 18 and later a Split says its sizes already, so the graphs are the same from there on.
  const auto first = round_trip(*import_onnx(view(network())), 28);
  const auto expected = describe(*first);
  EXPECT_THAT(expected, ::testing::Contains("output left f32[N,32]"));
  for (int opset = 17; opset <= kNewestOpset; ++opset)
    EXPECT_EQ(describe(*round_trip(*first, opset)), expected) << opset;
}

TEST_F(OnnxExport, WeightsAndAttributesAreExact) {
  const auto g = round_trip(*import_onnx(view(network())), 21);
  for (const auto& n : g->nodes()) {
    if (n->is("LeakyRelu")) {
      EXPECT_EQ(n->attrs().number("alpha"), 0.25);
    }
    if (!n->is("Conv")) continue;
    EXPECT_EQ(n->attrs().string("auto_pad"), "SAME_UPPER");
    const Tensor* w = n->operand(1)->constant();
    ASSERT_NE(w, nullptr);
    EXPECT_TRUE(std::ranges::all_of(w->values<float>(), [](float v) { return v == 0.5f; }));
  }
}

TEST_F(OnnxExport, LargeModelsPutWeightsBeside) {
  const auto g = import_onnx(view(network()));
  export_onnx(*g, path(), {.external_above = 1000});
  EXPECT_EQ(files(), 2u);
  EXPECT_GE(fs::file_size(path("m.onnx.data")), 64u * 27 * 4);
  EXPECT_LT(fs::file_size(path()), 4096u);
  const auto back = import_onnx(path());
  for (const auto& n : back->nodes())
    if (n->is("Conv")) {
      EXPECT_EQ(n->operand(1)->constant()->values<float>()[64 * 27 - 1], 0.5f);
    }
}

TEST_F(OnnxExport, AwkwardOutputs) {
  Graph g("g");
  Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N")}});
  Builder b(g);
  Value* y = b.make("Relu", {x});
  Value* unused = b.make("Neg", {y});
  unused->set_name("x");  // taken
  g.add_output("y", y);
  g.add_output("again", y);
  g.add_output("x", x);
  g.add_output("copy", x);
  g.add_output("c", b.constant(Tensor::from<float>({2}, {1, 2})));
  const auto back = round_trip(g, 21);
  ASSERT_EQ(back->output_count(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(back->output_name(i), g.output_name(i));
    EXPECT_EQ(back->output(i)->type(), g.output(i)->type());
  }
}

TEST_F(OnnxExport, Failures) {
  const auto g = import_onnx(view(network()));
  EXPECT_THAT([&] { export_onnx(*g, path(), {.opset = 16}); },
              ThrowsMessage<Error>(HasSubstr("choose 17 to 28")));
  EXPECT_THAT([&] { export_onnx(*g, path(), {.opset = 29}); },
              ThrowsMessage<Error>(HasSubstr("choose 17 to 28")));
  EXPECT_THAT([&] { export_onnx(*g, path("no/such/m.onnx")); },
              ThrowsMessage<Error>(HasSubstr("cannot create")));
  fs::create_directory(path("dir"));
  EXPECT_THAT([&] { export_onnx(*g, path("dir")); },
              ThrowsMessage<Error>(HasSubstr("Is a directory")));
  EXPECT_EQ(files(), 1u) << "temporary files are left behind";
  // RMSNormalization came with opset 23.
  Graph rms("g");
  Builder b(rms);
  Value* x = rms.add_input("x", {DType::f32, {4, 4}});
  rms.add_output(
      "y", b.make("RMSNormalization", {x, b.constant(Tensor::from<float>({4}, {1, 1, 1, 1}))}));
  EXPECT_THAT([&] { export_onnx(rms, path(), {.opset = 22}); },
              ThrowsMessage<Error>(HasSubstr("cannot export in opset 22")));
}

/// Extents for some values of the symbols N and M.
std::vector<int64_t> evaluate(const Shape& shape, int64_t n, int64_t m) {
  std::vector<int64_t> out;
  for (const Dim& d : shape)
    out.push_back(
        d.evaluate([&](std::string_view s) { return std::optional(s == "N" ? n : m); }).value());
  return out;
}

using Make = std::function<Value*(Builder&, Value*)>;

/// A core op on x: f32[N,8,M], and what it is exported to.
struct CoreCase {
  const char* name;
  Make make;
};

const Dim kN = Dim::symbol("N"), kM = Dim::symbol("M");

std::vector<CoreCase> core_cases() {
  const auto ints = [](std::initializer_list<int64_t> v) { return std::vector<int64_t>(v); };
  return {
      {"binary", [](Builder& b, Value* x) { return b.add(b.mul(x, x), b.pow(x, b.max(x, x))); }},
      {"ne", [](Builder& b, Value* x) { return b.compare("ne", x, x); }},
      {"rsqrt", [](Builder& b, Value* x) { return b.unary("rsqrt", x); }},
      {"select", [](Builder& b, Value* x) { return b.select(b.compare("lt", x, x), x, b.neg(x)); }},
      {"cast", [](Builder& b, Value* x) { return b.cast(x, DType::i32); }},
      {"shift",
       [](Builder& b, Value* x) {
         Value* u = b.cast(x, DType::u32);
         return b.make("shift_left", {u, u});
       }},
      {"reshape to one symbol", [](Builder& b, Value* x) { return b.reshape(x, {kN * kM, 4, 2}); }},
      {"reshape to two symbols",
       [](Builder& b, Value* x) { return b.reshape(x, {kM * Dim(2), kN, 4}); }},
      {"transpose", [=](Builder& b, Value* x) { return b.transpose(x, ints({2, 0, 1})); }},
      {"broadcast", [](Builder& b, Value* x) { return b.broadcast(x, {3, kN, 8, kM}); }},
      {"slice",
       [=](Builder& b, Value* x) {
         return b.slice(x, {0, 1, 0}, {kN, 3, floor_div(kM + 1, 2)}, ints({1, 2, 2}));
       }},
      {"slice backwards",
       [=](Builder& b, Value* x) {
         return b.slice(x, {0, 7, kM - 1}, {kN, 4, kM}, ints({1, -2, -1}));
       }},
      {"reverse",
       [=](Builder& b, Value* x) { return b.make("reverse", {x}, {{"axes", ints({0, 2})}}); }},
      {"pad", [](Builder& b,
                 Value* x) { return b.pad(x, {0, 1, kM}, {0, -2, 1}, b.scalar(2, DType::f32)); }},
      {"pad reflect",
       [](Builder& b, Value* x) { return b.pad(x, {0, 1, 0}, {0, 2, 0}, nullptr, "reflect"); }},
      {"dilate",
       [=](Builder& b, Value* x) { return b.make("dilate", {x}, {{"factors", ints({1, 3, 2})}}); }},
      {"concat", [](Builder& b, Value* x) { return b.concat({x, x, x}, 2); }},
      {"iota",
       [](Builder& b, Value* x) {
         Value* i =
             b.make("iota", {},
                    {{"shape", Shape{kN, 1, kM}}, {"axis", int64_t{2}}, {"dtype", DType::f32}});
         return b.add(x, i);
       }},
      {"dims",
       [](Builder& b, Value*) { return b.dims({kN, max(kM, 3), min(kN, kM), 5, mod(kM, 2)}); }},
      {"gather",
       [](Builder& b, Value* x) {
         return b.make("gather", {x, b.constant(Tensor::from<int64_t>({2}, {0, 7}))},
                       {{"axis", int64_t{1}}});
       }},
      {"reduce",
       [=](Builder& b, Value* x) {
         return b.reduce("reduce_sum", b.reduce("reduce_max", x, ints({1})), ints({0, 2}));
       }},
      {"arg", [](Builder& b, Value* x) { return b.make("arg_max", {x}, {{"axis", int64_t{1}}}); }},
      {"cumsum",
       [](Builder& b, Value* x) {
         return b.make("cumsum", {x}, {{"axis", int64_t{1}}, {"reverse", int64_t{1}}});
       }},
      {"bounded",
       [](Builder& b, Value* x) {
         Value* i = b.make("arg_max", {x}, {{"axis", int64_t{1}}});
         return b.make("bounded", {i},
                       {{"low", Shape{0}}, {"high", Shape{8}}, {"what", std::string("index")}});
       }},
      {"top_k",
       [](Builder& b, Value* x) {
         return b.make("top_k", {x}, {{"axis", int64_t{1}}, {"k", int64_t{3}}});
       }},
      {"dot",
       [=](Builder& b, Value* x) { return b.make("dot", {x, b.transpose(x, ints({0, 2, 1}))}); }},
      {"conv",
       [=](Builder& b, Value* x) {
         Value* w = b.constant(Tensor::zeros(DType::f32, {3, 5, 16}));  // x is N, width 8, C 5
         Value* c5 = b.slice_axis(x, 2, 0, 5);
         return b.make("conv", {c5, w},
                       {{"window", ints({3})}, {"filters", int64_t{16}}, {"strides", ints({2})}});
       }},
      {"window max",
       [=](Builder& b, Value* x) {
         return b.make(
             "window_reduce", {x},
             {{"kind", std::string("max")}, {"window", ints({2})}, {"strides", ints({2})}});
       }},
      {"window sum",
       [=](Builder& b, Value* x) {
         return b.make("window_reduce", {x}, {{"kind", std::string("sum")}, {"window", ints({3})}});
       }},
  };
}

TEST_F(OnnxExport, CoreOpsComeBackAsOnnxOperators) {
  for (const CoreCase& c : core_cases()) {
    for (const int opset : {17, 28}) {
      SCOPED_TRACE(std::string(c.name) + ", opset " + std::to_string(opset));
      Graph g("g");
      Value* x = g.add_input("x", {DType::f32, {kN, 8, kM}});
      Builder b(g);
      g.add_output("y", c.make(b, x));
      const auto back = round_trip(g, opset);
      EXPECT_EQ(back->output(0)->dtype(), g.output(0)->dtype());
      for (const int64_t m : {6, 7, 9})
        EXPECT_EQ(evaluate(back->output(0)->shape(), 3, m), evaluate(g.output(0)->shape(), 3, m));
    }
  }
}

TEST_F(OnnxExport, RegionsBecomeFunctions) {
  Graph g("g");
  Value* x = g.add_input("x", {DType::f32, {kN, 8}});
  Value* y = x;
  for (int i = 0; i < 2; ++i) {
    auto body = std::make_unique<Graph>("body");
    Builder inner(*body);
    Value* in = body->add_input("in", {DType::f32, {kN, 8}});
    body->add_output("out", inner.unary("relu", inner.with_scalar("add", in, 1)));
    Node* region = g.create(op("region"), {y}, {{"name", std::string("add_relu")}}, 1);
    region->add_body(std::move(body));
    infer_node(*region);
    y = region->result();
  }
  g.add_output("y", y);
  export_onnx(g, path());
  std::ifstream file(path(), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(bytes.find("add_relu_1"), std::string::npos);
  const auto back = import_onnx(path());  // the importer inlines functions
  std::vector<std::string> names;
  for (const auto& n : back->nodes())
    if (!n->is("constant")) names.emplace_back(n->name());
  EXPECT_EQ(names, (std::vector<std::string>{"Add", "Relu", "Add", "Relu"}));
  EXPECT_EQ(back->output(0)->type().text(), "f32[N,8]");
}

// A region is called after what it computes, which may be an op of ours in the same domain.
TEST_F(OnnxExport, ARegionMayBeNamedLikeAnOp) {
  Graph g("g");
  Value* x = g.add_input("x", {DType::f32, {1, 6, 6, 3}});
  const AttrMap tiles = {{"m", int64_t{2}}, {"window", std::vector<int64_t>{3, 3}}};
  auto body = std::make_unique<Graph>("body");
  Builder inner(*body);
  Value* in = body->add_input("in", x->type());
  body->add_output("out", inner.make("winograd_input", {in}, tiles));
  Node* region = g.create(op("region"), {x}, {{"name", std::string("winograd_input")}}, 1);
  region->add_body(std::move(body));
  infer_node(*region);
  g.add_output("y", region->result());
  export_onnx(g, path());
  std::ifstream file(path(), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(bytes.find("winograd_input_region"), std::string::npos);
}

TEST_F(OnnxExport, OpsWithoutCounterpartKeepTheirName) {
  Graph g("g");
  Value* x = g.add_input("x", {DType::f32, {kN, 8, 3}});
  Builder b(g);
  g.add_output("y", b.make("window_argmax", {x}, {{"window", std::vector<int64_t>{2}}}));
  export_onnx(g, path());
  EXPECT_THAT([&] { import_onnx(path()); },
              ThrowsMessage<Error>(HasSubstr("(tintype::window_argmax-1): unknown operator")));
}

TEST_F(OnnxExport, ASymbolOfNoInputIsRefused) {
  Graph g("g");
  g.add_input("x", {DType::f32, {kN}});
  Builder b(g);
  g.add_output("y", b.dims({Dim::symbol("K"), 2}));
  EXPECT_THAT([&] { export_onnx(g, path()); },
              ThrowsMessage<Error>(HasSubstr("no input has the extent 'K'")));
}

}  // namespace
}  // namespace tintype::test
