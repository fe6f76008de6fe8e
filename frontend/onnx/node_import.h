// Turns nodes of a prepared model into IR nodes.
#pragma once

#include "frontend/onnx/model_proto.h"
#include "frontend/onnx/model_value.h"
#include "frontend/onnx/skeleton.h"
#include "ir/graph.h"

#include <onnx/onnx_pb.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace tintype {

/// Names visible at some place of a model: values computed so far, weights not used yet, and the
/// names of the enclosing scope.
struct Scope {
  const Scope* outer = nullptr;
  std::unordered_map<std::string, ModelValue> values;
  std::unordered_map<std::string, const onnx::TensorProto*> initializers;
  std::set<std::string> poisoned;  ///< results of nodes that have a problem already
  /// Set where the body of a control node begins: values of the outer scopes become its inputs.
  struct BodyImport* body = nullptr;

  bool is_poisoned(const std::string& name) const;
};

/// The body of a scan, loop or `if` while its nodes are imported.
struct BodyImport {
  std::unique_ptr<Graph> graph;
  Graph* outer = nullptr;
  /// Values of the outer graph that the body reads by name; each is an input behind the others.
  std::vector<Value*> captures;
};

/// Attributes of a node as the IR knows them. Throws Error.
AttrMap import_attributes(const onnx::NodeProto& node, const Limits& limits);

/// Where problems go; returns when the import shall go on with the other nodes.
using ProblemHandler = std::function<void(const std::string& message)>;

class NodeImporter {
 public:
  NodeImporter(Graph& graph, const PreparedModel& prepared, const Skeleton& skeleton,
               std::shared_ptr<const void> owner, ExternalData& external, const Limits& limits,
               ProblemHandler problem)
      : graph_(&graph), prepared_(prepared), skeleton_(skeleton), owner_(std::move(owner)),
        external_(external), limits_(limits), problem_(std::move(problem)) {}

  /// The nodes of a graph or a function body, in order.
  void import_nodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes, Scope& scope,
                    int depth);
  /// What a name stands for; nothing when it depends on a node that has a problem. Throws Error.
  ModelValue find(Scope& scope, const std::string& name);

 private:
  struct Place {  ///< what a node is called in messages and origins
    std::string origin;
    std::string label;
  };

  Place place_of(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes, int index) const;
  void import_node(const onnx::NodeProto& node, const Place& place, Scope& scope, int depth);
  void import_constant(const onnx::NodeProto& node, Scope& scope);
  // control_import.cpp
  void import_if(const onnx::NodeProto& node, Value* condition, Scope& scope, int depth);
  void import_scan(const onnx::NodeProto& node, const std::vector<Value*>& operands, Scope& scope,
                   int depth);
  void import_loop(const onnx::NodeProto& node, std::vector<ModelValue> operands, Scope& scope,
                   int depth);
  bool import_rolled_loop(const onnx::NodeProto& node, const std::vector<ModelValue>& operands,
                          Scope& scope, int depth);
  /// Throws NeedsInputValue for a model input that `v` is computed from, else Error.
  [[noreturn]] void needs_value(const Value* v, const Scope& scope, const std::string& message);
  void unroll_loop(const onnx::NodeProto& node, const std::vector<ModelValue>& operands,
                   int64_t trips, Scope& scope, int depth);
  void inline_branch(const onnx::NodeProto& node, const onnx::GraphProto& branch, Scope& scope,
                     int depth);
  /// Imports the nodes of a graph whose formal inputs are bound in `inner`; the outputs in order.
  std::vector<ModelValue> import_graph(const onnx::GraphProto& proto, Scope& inner, int depth);
  ModelValue capture(Scope& scope, const std::string& name);
  template <typename Work>
  void inside(BodyImport& body, Work&& work);
  void import_record(const onnx::NodeProto& node, const OpDef& def, std::vector<Value*> operands,
                     Scope& scope);
  bool import_function(const onnx::NodeProto& node, const std::vector<ModelValue>& operands,
                       Scope& scope, int depth);
  void bind(Scope& scope, const onnx::NodeProto& node, int index, const ModelValue& value);
  // sequence_import.cpp
  struct SequenceNode;
  /// False when the node is none that makes or reads sequences and optionals.
  bool import_sequence_op(const onnx::NodeProto& node, const std::vector<ModelValue>& operands,
                          Scope& scope);
  static ModelValue sequence_construct(SequenceNode& n);
  static ModelValue sequence_empty(SequenceNode& n);
  static ModelValue sequence_at(SequenceNode& n);
  static ModelValue sequence_insert(SequenceNode& n);
  static ModelValue sequence_erase(SequenceNode& n);
  static ModelValue sequence_length(SequenceNode& n);
  static ModelValue split_to_sequence(SequenceNode& n);
  static ModelValue concat_from_sequence(SequenceNode& n);
  static ModelValue optional_of(SequenceNode& n);
  static ModelValue optional_has_element(SequenceNode& n);
  static ModelValue optional_get_element(SequenceNode& n);
  /// The tensors of operands; throws Error for a sequence or an absent optional.
  static Value* tensor_operand(const ModelValue& v, size_t index);
  static std::vector<Value*> tensor_operands(const std::vector<ModelValue>& operands);
  Value* weight(const std::string& name, const TensorRecord& record,
                const std::shared_ptr<const void>& owner);

  Graph* graph_;  ///< the main graph, or the body that is being imported
  const PreparedModel& prepared_;
  const Skeleton& skeleton_;
  std::shared_ptr<const void> owner_;
  ExternalData& external_;
  const Limits& limits_;
  ProblemHandler problem_;
  std::unordered_map<std::string, Value*> weights_;
  std::vector<std::string> origins_;  ///< of the node being imported
  int64_t imported_ = 0;
};

/// The TypeProto of a value, symbols as dim_param.
onnx::TypeProto type_proto(const TensorType& type);

}  // namespace tintype
