// What importing decides about loops: which become nodes, which are written out, what it asks for.
#include "frontend/onnx/import.h"
#include "ir/diagnostic.h"
#include "ir/ops/control.h"
#include "tests/frontend/model_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tintype::test {
namespace {

int64_t count_of(const Graph& graph, std::string_view op) {
  return std::count_if(graph.nodes().begin(), graph.nodes().end(),
                       [&](const auto& n) { return n->is(op); });
}

/// The inputs whose values import asks for, one after the other, until it is content.
std::vector<std::string> wanted_inputs(const std::string& bytes, ImportOptions options,
                                       const std::map<std::string, Tensor>& values,
                                       std::unique_ptr<Graph>& graph) {
  std::vector<std::string> asked;
  while (graph == nullptr) {
    try {
      graph = import_onnx(view(bytes), options);
    } catch (const NeedsInputValue& e) {
      asked.push_back(e.input());
      if (!options.known_inputs.emplace(e.input(), values.at(e.input())).second) throw;
    }
  }
  std::sort(asked.begin(), asked.end());
  return asked;
}

/// y = all slices x[i], i < ceil(a / b), as the body of ONNX's Range counts.
GraphParts loop_counted_in_floats() {
  const Message body =
      graph({.nodes = {node("Identity", {"on"}, {"still"}), node("Relu", {"x"}, {"slice"})},
             .inputs = {value("trip", kInt64, {}), value("on", kBool, {})},
             .outputs = {value("still", kBool, {}), value("slice", kFloat, {3})}});
  return {.nodes = {node("Div", {"a", "b"}, {"q"}), node("Ceil", {"q"}, {"c"}),
                    node("Cast", {"c"}, {"n"}, {attribute("to", int64_t{kInt64})}),
                    node("Cast", {"c"}, {"on"}, {attribute("to", int64_t{kBool})}),
                    node("Loop", {"n", "on"}, {"y"}, {graph_attribute("body", body)})},
          .inputs = {value("x", kFloat, {3}), value("a", kFloat, {}), value("b", kFloat, {})},
          .outputs = {value("y", kFloat, {"", 3})}};
}

TEST(OnnxControl, TripCountsMayBeComputedFromKnownInputs) {
  const std::string bytes = model(loop_counted_in_floats());
  std::unique_ptr<Graph> g;
  const auto asked =
      wanted_inputs(bytes, {}, {{"a", Tensor::scalar(7.0f)}, {"b", Tensor::scalar(2.0f)}}, g);
  EXPECT_EQ(asked, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(g->output(0)->type().text(), "f32[4,3]");
  EXPECT_EQ(count_of(*g, "scan"), 1);
  ImportOptions none;
  none.known_inputs = {{"a", Tensor::scalar(0.0f)}, {"b", Tensor::scalar(2.0f)}};
  EXPECT_EQ(import_onnx(view(bytes), none)->output(0)->type().text(), "f32[0,3]");
}

// The state doubles on every trip, as long as a condition on the number of the trip holds.
TEST(OnnxControl, ConditionsThatAreKnownOnEveryTripUnroll) {
  const Message body = graph(
      {.nodes = {node("Less", {"trip", "last"}, {"still"}),
                 node("Concat", {"s", "s"}, {"twice"}, {attribute("axis", int64_t{0})})},
       .inputs = {value("trip", kInt64, {}), value("on", kBool, {}), value("s", kFloat, {""})},
       .outputs = {value("still", kBool, {}), value("twice", kFloat, {""})}});
  const GraphParts parts = {
      .nodes = {node("Loop", {"most", "", "x"}, {"y"}, {graph_attribute("body", body)})},
      .initializers = {int64s("most", {}, {100}), int64s("last", {}, {2})},
      .inputs = {value("x", kFloat, {3})},
      .outputs = {value("y", kFloat, {""})}};
  const std::string bytes = model(parts);
  const auto g = import_onnx(view(bytes));
  EXPECT_EQ(g->output(0)->type().text(), "f32[24]");  // trips 0, 1 and 2
  EXPECT_EQ(count_of(*g, "loop") + count_of(*g, "scan"), 0);
}

TEST(OnnxControl, ConditionsOfUnrolledLoopsAreAskedFor) {
  const Message body =
      graph({.nodes = {node("Identity", {"on"}, {"still"}), node("Relu", {"x"}, {"slice"})},
             .inputs = {value("trip", kInt64, {}), value("on", kBool, {})},
             .outputs = {value("still", kBool, {}), value("slice", kFloat, {3})}});
  const GraphParts parts = {
      .nodes = {node("Not", {"off"}, {"go"}),
                node("Loop", {"n", "go"}, {"y"}, {graph_attribute("body", body)})},
      .initializers = {int64s("n", {}, {4})},
      .inputs = {value("x", kFloat, {3}), value("off", kBool, {})},
      .outputs = {value("y", kFloat, {"", 3})}};
  const std::string bytes = model(parts);
  EXPECT_EQ(import_error(bytes),
            "model.onnx:Loop_1 (Loop-16): its condition decides the shapes of its outputs and must "
            "be known when compiling; it depends on input 'off': give its value with "
            "--known-input");
  for (const bool off : {false, true}) {
    ImportOptions options;
    Tensor value = Tensor::zeros(DType::boolean, {});
    *static_cast<uint8_t*>(value.mutable_data()) = off ? 1 : 0;
    options.known_inputs["off"] = value;
    EXPECT_EQ(import_onnx(view(bytes), options)->output(0)->type().text(),
              off ? "f32[0,3]" : "f32[4,3]");
  }
}

// Scan of opset 8 has a batch axis in front of everything: a scan over it, with one over time
// inside.
TEST(OnnxControl, ScansOfOpset8RunOverBatches) {
  const Message body = graph({.nodes = {node("Add", {"s", "x"}, {"t"}), node("Neg", {"t"}, {"z"})},
                              .inputs = {value("s", kFloat, {2}), value("x", kFloat, {2})},
                              .outputs = {value("t", kFloat, {2}), value("z", kFloat, {2})}});
  const Message scan =
      node("Scan", {"", "h", "v"}, {"last", "y"},
           {graph_attribute("body", body), attribute("num_scan_inputs", int64_t{1})});
  GraphParts parts = {.nodes = {scan},
                      .inputs = {value("h", kFloat, {3, 2}), value("v", kFloat, {3, 5, 2})},
                      .outputs = {value("last", kFloat, {3, 2}), value("y", kFloat, {3, 5, 2})}};
  const std::string bytes = model(parts, {.opset = 8});
  const auto g = import_onnx(view(bytes));
  EXPECT_EQ(g->output(0)->type().text(), "f32[3,2]");
  EXPECT_EQ(g->output(1)->type().text(), "f32[3,5,2]");
  ASSERT_EQ(count_of(*g, "scan"), 1);
  for (const auto& n : g->nodes())
    if (n->is("scan")) {
      EXPECT_TRUE(ScanView(*n).trips.is(3));
      EXPECT_EQ(count_of(*n->body(), "scan"), 1);
    }
}

}  // namespace
}  // namespace tintype::test
