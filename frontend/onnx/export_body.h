// Turns the nodes of a graph, or of a region's body, into NodeProtos.
#pragma once

#include "ir/graph.h"

#include <onnx/onnx_pb.h>

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace tintype {

inline constexpr const char* kTintypeDomain = "tintype";

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// What bodies add to the model beside their nodes.
struct ExportedModel {
  onnx::ModelProto proto;
  std::vector<NamedTensor> weights;  ///< initializers of the main graph, not in `proto`
  std::set<std::string> functions;   ///< names taken
  std::set<std::string> domains;     ///< of nodes in functions
  bool has_own_ops = false;          ///< of the domain "tintype"
};

using NodeProtos = google::protobuf::RepeatedPtrField<onnx::NodeProto>;
using ValueInfos = google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>;

/// Exports one graph: the main one, whose constants become initializers, or the body of a region or
/// a control op, whose constants become `Constant` nodes.
class BodyExporter {
 public:
  BodyExporter(const Graph& graph, ExportedModel& model, NodeProtos& nodes, ValueInfos& infos,
               bool is_main);
  void run();
  /// The body of a control op as a graph that reads input i of the body under the name bound[i] of
  /// this graph; the other inputs are its own.
  onnx::GraphProto subgraph(const Graph& body, const std::map<size_t, std::string>& bound);

  /// Name of a graph output in the exported model.
  const std::string& output_name(size_t i) const { return outputs_[i]; }
  const std::string& input_name(size_t i) const { return names_.at(graph_.inputs()[i].get()); }

  // For the translations of core ops: each adds nodes for the node being exported.
  std::string operand(int i) const;
  std::string result(int i = 0) const { return names_.at(node_->result(i)); }
  /// Adds a node with one output, which gets a new name unless one is given.
  std::string emit(const std::string& op, std::vector<std::string> inputs,
                   const AttrMap& attrs = {}, std::string output = "");
  onnx::NodeProto& emit_node(const std::string& op, const std::string& domain,
                             std::vector<std::string> inputs,
                             const std::vector<std::string>& outputs, const AttrMap& attrs);
  std::string constant(const Tensor& value, const std::string& name = "");
  std::string int64s(const std::vector<int64_t>& values);
  /// int64[1] tensor holding an extent.
  std::string extent(const Dim& d);
  /// int64 vector of extents.
  std::string extents(const Shape& shape);
  const Node& node() const { return *node_; }
  /// A value name not used yet.
  std::string fresh(const std::string& stem);

 private:
  void name_values();
  void export_node(const Node& node);
  void export_region(const Node& node);
  void export_outputs();
  void describe(const std::string& name, const TensorType& type, bool has_type);
  void describe_source(const Node& constant);
  std::string symbol(const std::string& name);
  std::string atom(const DimAtom& a);

  const Graph& graph_;
  ExportedModel& model_;
  NodeProtos& nodes_;
  ValueInfos& infos_;
  const bool is_main_;
  const BodyExporter* outer_ = nullptr;  ///< whose names a subgraph sees
  const Node* node_ = nullptr;
  std::unordered_map<const Value*, std::string> names_;
  std::vector<std::string> outputs_;
  std::set<std::string> taken_;
  std::set<std::string> node_names_;
  std::map<std::string, std::string> extents_;  ///< by text of the extent
};

/// Writes a core op with counterparts in ONNX; false when it has none.
bool export_core_op(BodyExporter& body);
/// Writes scan, loop and if as Scan, Loop and If.
void export_control(BodyExporter& body);
/// Writes a Split into a number of parts as one into parts of known sizes, which every opset
/// understands; false when the node is none or the sizes are symbolic.
bool export_split(BodyExporter& body);

void export_attributes(const AttrMap& attrs, onnx::NodeProto& node);
onnx::TensorProto tensor_proto(const Tensor& tensor, const std::string& name);

}  // namespace tintype
