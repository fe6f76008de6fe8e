// scan, loop and if in terms of Scan, Loop and If, whose bodies read outer values by name.
#include "frontend/onnx/export_body.h"
#include "frontend/onnx/node_import.h"
#include "ir/ops/control.h"

namespace tintype {

namespace {

void add_graph(onnx::NodeProto& node, const char* name, onnx::GraphProto graph) {
  onnx::AttributeProto& a = *node.add_attribute();
  a.set_name(name);
  a.set_type(onnx::AttributeProto::GRAPH);
  *a.mutable_g() = std::move(graph);
}

std::vector<std::string> results(const BodyExporter& b) {
  std::vector<std::string> names;
  for (int i = 0; i < b.node().result_count(); ++i) names.push_back(b.result(i));
  return names;
}

/// A formal input in front of those that a body has, or behind them.
void add_formal(onnx::GraphProto& graph, const std::string& name, const TensorType& type, int at) {
  auto& inputs = *graph.mutable_input();
  auto* input = inputs.Add();
  input->set_name(name);
  *input->mutable_type() = type_proto(type);
  for (int i = inputs.size() - 1; i > at; --i) inputs.SwapElements(i, i - 1);
}

void export_scan(BodyExporter& b) {
  const ScanView scan(b.node());
  std::map<size_t, std::string> bound;
  std::vector<std::string> inputs;
  for (int i = 0; i < b.node().operand_count(); ++i) {
    if (i < scan.first_invariant()) inputs.push_back(b.operand(i));
    else bound[static_cast<size_t>(i)] = b.operand(i);
  }
  onnx::GraphProto body = b.subgraph(scan.body(), bound);
  int64_t scanned = scan.scanned;
  if (scanned == 0) {  // Scan takes the number of its trips from what it scans
    inputs.push_back(b.emit("ConstantOfShape", {b.extents({scan.trips})}));
    add_formal(body, b.fresh("unused"), {DType::f32, {}}, body.input_size());
    scanned = 1;
  }
  AttrMap attrs = {{"num_scan_inputs", scanned}};
  if (scan.reverse) {
    attrs.set("scan_input_directions", std::vector<int64_t>(static_cast<size_t>(scanned), 1));
    if (scan.outputs() > 0)
      attrs.set("scan_output_directions",
                std::vector<int64_t>(static_cast<size_t>(scan.outputs()), 1));
  }
  add_graph(b.emit_node("Scan", "", inputs, results(b), attrs), "body", std::move(body));
}

void export_loop(BodyExporter& b) {
  const LoopView loop(b.node());
  std::map<size_t, std::string> bound;
  std::vector<std::string> inputs;
  for (int i = 0; i < b.node().operand_count(); ++i) {
    if (i < LoopView::kStates + loop.states) inputs.push_back(b.operand(i));
    else bound[static_cast<size_t>(i - 1)] = b.operand(i);
  }
  onnx::GraphProto body = b.subgraph(loop.body(), bound);
  add_formal(body, b.fresh("condition"), {DType::boolean, {}}, 1);
  add_graph(b.emit_node("Loop", "", inputs, results(b), {}), "body", std::move(body));
}

void export_if(BodyExporter& b) {
  std::map<size_t, std::string> bound;
  for (int i = 1; i < b.node().operand_count(); ++i)
    bound[static_cast<size_t>(i - 1)] = b.operand(i);
  onnx::GraphProto then = b.subgraph(*b.node().body(0), bound);
  onnx::GraphProto otherwise = b.subgraph(*b.node().body(1), bound);
  onnx::NodeProto& node = b.emit_node("If", "", {b.operand(0)}, results(b), {});
  add_graph(node, "then_branch", std::move(then));
  add_graph(node, "else_branch", std::move(otherwise));
}

}  // namespace

void export_control(BodyExporter& b) {
  if (b.node().is("scan")) export_scan(b);
  else if (b.node().is("loop")) export_loop(b);
  else export_if(b);
}

}  // namespace tintype
