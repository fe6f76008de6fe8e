// Graph, Node, Value: the IR's data structure.
//
// A Graph owns its Nodes in a topological order that is kept by construction. Values track their
// uses, so replacing all uses costs O(uses). Iteration is by order, never by pointer value. Not
// thread-safe; distinct graphs are independent.
#pragma once

#include "ir/attr.h"
#include "ir/op_def.h"
#include "ir/type.h"

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tintype {

class Graph;
class Node;

/// One operand slot of a node.
struct Use {
  Node* node;
  int operand;
};

/// A tensor in the graph: a graph input (def == null) or a result of a node.
class Value {
 public:
  Node* def() const { return def_; }
  /// Position among the results of def(), or among the graph's inputs.
  int index() const { return index_; }
  const TensorType& type() const { return type_; }
  void set_type(TensorType type) { type_ = std::move(type); }
  DType dtype() const { return type_.dtype; }
  const Shape& shape() const { return type_.shape; }
  int rank() const { return type_.rank(); }
  /// Name in the source model, or empty.
  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  const std::vector<Use>& uses() const { return uses_; }
  /// Number of graph outputs that are this value.
  int output_uses() const { return output_uses_; }
  bool has_one_use() const { return uses_.size() + static_cast<size_t>(output_uses_) == 1; }
  /// Elements as extents, known for small integer tensors that describe shapes.
  const std::optional<std::vector<Dim>>& content() const { return content_; }
  void set_content(std::optional<std::vector<Dim>> c) { content_ = std::move(c); }
  /// The tensor, when def() is a constant; else null.
  const Tensor* constant() const;

 private:
  friend class Node;
  friend class Graph;
  Node* def_ = nullptr;
  int index_ = 0;
  TensorType type_;
  std::string name_;
  std::vector<Use> uses_;
  int output_uses_ = 0;
  std::optional<std::vector<Dim>> content_;
};

/// An operation. Created by Graph::create or a Builder, destroyed by Graph::erase.
class Node {
 public:
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const OpDef& op() const { return *op_; }
  std::string_view name() const { return op_->name; }
  bool is(std::string_view op_name) const { return op_->name == op_name; }
  Graph& graph() const { return *graph_; }

  int operand_count() const { return static_cast<int>(operands_.size()); }
  /// Null for an absent optional operand, and beyond the last one.
  Value* operand(int i) const {
    return i < operand_count() ? operands_[static_cast<size_t>(i)].value : nullptr;
  }
  std::vector<Value*> operands() const;
  void set_operand(int i, Value* value);
  void add_operand(Value* value);
  /// Removes an operand; those behind it move up.
  void erase_operand(int i);

  int result_count() const { return static_cast<int>(results_.size()); }
  Value* result(int i = 0) const { return results_[static_cast<size_t>(i)].get(); }

  /// A further result behind the others, for ops whose bodies grow.
  Value* add_result(TensorType type);
  /// Removes a result without uses; those behind it move up.
  void erase_result(int i);

  const AttrMap& attrs() const { return attrs_; }
  AttrMap& attrs() { return attrs_; }

  /// Names of the model's nodes (or graph-API calls) this node came from, without repeats.
  const std::vector<std::string>& origins() const { return origins_; }
  void set_origins(std::vector<std::string> origins) { origins_ = std::move(origins); }
  void add_origins(const std::vector<std::string>& more);
  /// Origins joined by ", ", or the op name when there are none.
  std::string where() const;

  /// Graphs inside the node: one for a region, a scan or a loop, two for an `if`. They see the
  /// values of the graph around them only as operands. Null beyond the last one.
  Graph* body(int i = 0) const {
    return i < body_count() ? bodies_[static_cast<size_t>(i)].get() : nullptr;
  }
  int body_count() const { return static_cast<int>(bodies_.size()); }
  void add_body(std::unique_ptr<Graph> body);

 private:
  friend class Graph;
  friend class Value;
  struct Operand {
    Value* value = nullptr;
    size_t use = 0;  ///< index in value->uses_, for O(1) removal
  };
  Node() = default;
  void link(int i, Value* value);
  void unlink(int i);

  const OpDef* op_ = nullptr;
  Graph* graph_ = nullptr;
  std::vector<Operand> operands_;
  std::vector<std::unique_ptr<Value>> results_;
  AttrMap attrs_;
  std::vector<std::string> origins_;
  std::vector<std::unique_ptr<Graph>> bodies_;
  std::list<std::unique_ptr<Node>>::iterator position_;
};

/// A tensor that outlives a run: parameters in training, running statistics, what a stream carries
/// from step to step. To passes it is an input and an output like others; whoever runs the graph
/// keeps the tensor, hands it in as the input and replaces it by the output.
struct State {
  Value* current = nullptr;  ///< the graph input that is its value when a run starts
  int next = 0;              ///< the graph output that is its value when the run ends
  Tensor initial;
  /// Axis i of the tensor is axis layout[i] of what the state's name stands for to everybody
  /// outside the graph; empty: they are the same.
  std::vector<int64_t> layout = {};
};

/// A condition on symbols that inference could not prove; checked when a program is bound.
struct DimConstraint {
  Dim left, right;
  std::string message;
};

class Graph {
 public:
  explicit Graph(std::string name = "") : name_(std::move(name)) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph();

  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }

  Value* add_input(std::string name, TensorType type);
  const std::vector<std::unique_ptr<Value>>& inputs() const { return inputs_; }
  /// Moves an input to another position; those between shift by one.
  void move_input(size_t from, size_t to);
  /// Removes an input without uses that is no state.
  void erase_input(size_t i);

  void add_output(std::string name, Value* value);
  void set_output(int i, Value* value);
  /// Removes an output that is not the next value of a state.
  void erase_output(size_t i);
  size_t output_count() const { return outputs_.size(); }
  Value* output(size_t i) const { return outputs_[i].second; }
  const std::string& output_name(size_t i) const { return outputs_[i].first; }

  /// A state that does not change until set_next is called. The name must be new among the inputs.
  Value* add_state(std::string name, Tensor initial);
  /// Pairs an input with the output that is its next value, of the same static type as `initial`.
  void make_state(Value* input, int output, Tensor initial, std::vector<int64_t> layout = {});
  /// Makes `next`, of the same type, the value of the state at the end of a run.
  void set_next(const Value* state, Value* next);
  const std::vector<State>& states() const { return states_; }
  /// Gives a state another order of axes: `initial` and the type of its current value change; the
  /// caller rewires its uses and its next value.
  void set_layout(const Value* state, Tensor initial, std::vector<int64_t> layout);
  /// The state whose current value (a graph input) this is, or null.
  const State* state_of(const Value* input) const;
  /// True when the output is the next value of a state.
  bool is_next(int output) const;

  /// Nodes in topological order.
  const std::list<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  /// Snapshot of the nodes, safe against insertion and erasure of others while iterating.
  std::vector<Node*> node_list() const;
  size_t size() const { return nodes_.size(); }

  /// New node before `before` (null: at the end), with `result_count` untyped results.
  Node* create(const OpDef& op, std::vector<Value*> operands, AttrMap attrs, int result_count,
               Node* before = nullptr);
  /// Moves a node before another one; the caller keeps topological order.
  void move_before(Node* node, Node* before);
  void replace_all_uses(Value* from, Value* to);
  /// Removes a node whose results have no uses.
  void erase(Node* node);
  /// The node after this one in order, or null.
  Node* next(Node* node) const;
  /// Restores topological order after arbitrary rewiring (stable).
  void sort();

  std::vector<DimConstraint>& constraints() { return constraints_; }
  const std::vector<DimConstraint>& constraints() const { return constraints_; }
  /// Records `left == right` unless it is evident or already known.
  void require_equal(const Dim& left, const Dim& right, const std::string& message);

  /// A symbol name not used yet, starting with `stem`.
  std::string fresh_symbol(const std::string& stem);
  void reserve_symbol(const std::string& name) { symbols_.insert(name); }

  /// Deep copy; values keep their order, names and contents. Constants stay shared.
  std::unique_ptr<Graph> clone() const;

 private:
  std::string name_;
  std::vector<std::unique_ptr<Value>> inputs_;
  std::vector<std::pair<std::string, Value*>> outputs_;
  std::list<std::unique_ptr<Node>> nodes_;
  std::vector<State> states_;
  std::vector<DimConstraint> constraints_;
  std::set<std::string> symbols_;
};

}  // namespace tintype
