// Broadcasting rules from before opset 7, the batches of Scan-8, and where Resize-10 looks.
#include "frontend/onnx/legacy.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>

namespace tintype {

namespace {

/// Until opset 7, a vector of slopes belonged to the channels (axis 1); now it would belong to the
/// innermost axis.
Value* slopes_of_channels(Builder& b, Value* slopes, int rank) {
  std::vector<int64_t> dims(static_cast<size_t>(rank) - 1, 1);
  dims[0] = -1;
  const auto count = static_cast<int64_t>(dims.size());
  return b.make("Reshape", {slopes, b.constant(Tensor::from<int64_t>({count}, dims))});
}

/// Until opset 10, Resize and Upsample divided the index by the scale, and took the element before
/// that place where they enlarged and the one behind it where they shrank.
void count_from_corners(const std::vector<Value*>& operands, AttrMap& attrs) {
  attrs.set("coordinate_transformation_mode", std::string("asymmetric"));
  const Tensor* scales =
      operands.size() > 2 && operands[2] != nullptr ? operands[2]->constant() : nullptr;
  if (scales == nullptr || scales->dtype() != DType::f32) return;  // refused by Resize itself
  const auto s = scales->values<float>();
  const bool shrinks = std::any_of(s.begin(), s.end(), [](float v) { return v < 1; });
  const bool enlarges = std::any_of(s.begin(), s.end(), [](float v) { return v > 1; });
  if (shrinks && enlarges && attrs.string("mode", "nearest") == "nearest")
    throw Error("one axis is enlarged and another shrunk, which is not supported in opset 10 and "
                "before: use two nodes, or a newer opset");
  attrs.set("nearest_mode", std::string(shrinks ? "ceil" : "floor"));
}

/// The same node in a graph of its own, whose inputs and outputs have names that nothing else has.
onnx::GraphProto over_time(const onnx::NodeProto& scan) {
  onnx::GraphProto body;
  body.set_name(scan.name() + "_sequence");
  onnx::NodeProto& inner = *body.add_node();
  inner = scan;
  const auto rename = [&](auto& names, auto& formal, const char* kind) {
    for (int i = 0; i < names.size(); ++i) {
      names[i] = scan.name() + kind + std::to_string(i);
      formal.Add()->set_name(names[i]);
    }
  };
  rename(*inner.mutable_input(), *body.mutable_input(), ":input");
  rename(*inner.mutable_output(), *body.mutable_output(), ":output");
  return body;
}

}  // namespace

void separate_batches(onnx::GraphProto& graph) {
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (auto& a : *node.mutable_attribute())
      if (a.has_g()) separate_batches(*a.mutable_g());
    if (node.op_type() != "Scan" || !node.domain().empty()) continue;
    onnx::GraphProto body = over_time(node);
    node.clear_attribute();
    auto* graph_attribute = node.add_attribute();
    graph_attribute->set_name("body");
    graph_attribute->set_type(onnx::AttributeProto::GRAPH);
    *graph_attribute->mutable_g() = std::move(body);
    auto* scanned = node.add_attribute();
    scanned->set_name("num_scan_inputs");
    scanned->set_type(onnx::AttributeProto::INT);
    scanned->set_i(node.input_size());
  }
}

void adapt_node(Builder& b, std::string_view op_type, int opset, std::vector<Value*>& operands,
                AttrMap& attrs) {
  if (op_type == "Resize" && opset <= 10) count_from_corners(operands, attrs);
  if (op_type != "PRelu" || opset >= 7 || operands.size() != 2) return;
  if (operands[0] == nullptr || operands[1] == nullptr) return;
  if (operands[1]->rank() == 1 && operands[0]->rank() > 2 && !operands[1]->shape()[0].is(1))
    operands[1] = slopes_of_channels(b, operands[1], operands[0]->rank());
}

}  // namespace tintype
