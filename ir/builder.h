// Checked construction of nodes: infers types, copies origins, keeps an insertion point.
#pragma once

#include "ir/graph.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

/// Creates nodes before an insertion point (null: at the end of the graph). Every method throws
/// Error when operands, results or attributes do not fit the op. Shapes are outermost first.
class Builder {
 public:
  explicit Builder(Graph& graph, Node* before = nullptr) : graph_(&graph), before_(before) {}

  Graph& graph() const { return *graph_; }
  void set_insertion_point(Node* before) { before_ = before; }
  /// Nodes created from now on carry these origins.
  void set_origins(std::vector<std::string> origins) { origins_ = std::move(origins); }
  const std::vector<std::string>& origins() const { return origins_; }

  /// Any op; results are typed by its record's inference.
  Node* create(std::string_view op_name, std::vector<Value*> operands, AttrMap attrs = {},
               int result_count = 1, std::vector<std::unique_ptr<Graph>> bodies = {});
  /// The same, returning the first result.
  Value* make(std::string_view op_name, std::vector<Value*> operands, AttrMap attrs = {}) {
    return create(op_name, std::move(operands), std::move(attrs))->result();
  }

  Value* constant(Tensor value);
  /// Rank-0 constant of the given dtype.
  Value* scalar(double value, DType dtype);
  /// int64 vector from extents: a constant when all are static, else a `dims` node.
  Value* dims(const Shape& extents);

  // Pointwise, with numpy broadcasting.
  Value* add(Value* a, Value* b) { return make("add", {a, b}); }
  Value* sub(Value* a, Value* b) { return make("sub", {a, b}); }
  Value* mul(Value* a, Value* b) { return make("mul", {a, b}); }
  Value* div(Value* a, Value* b) { return make("div", {a, b}); }
  Value* max(Value* a, Value* b) { return make("max", {a, b}); }
  Value* min(Value* a, Value* b) { return make("min", {a, b}); }
  Value* pow(Value* a, Value* b) { return make("pow", {a, b}); }
  Value* unary(std::string_view op_name, Value* x) { return make(op_name, {x}); }
  Value* exp(Value* x) { return make("exp", {x}); }
  Value* log(Value* x) { return make("log", {x}); }
  Value* neg(Value* x) { return make("neg", {x}); }
  Value* compare(std::string_view op_name, Value* a, Value* b) { return make(op_name, {a, b}); }
  Value* select(Value* c, Value* a, Value* b) { return make("select", {c, a, b}); }
  /// No node when the dtype is already right.
  Value* cast(Value* x, DType to);
  /// Pointwise with a scalar of x's dtype.
  Value* with_scalar(std::string_view op_name, Value* x, double scalar_value) {
    return make(op_name, {x, scalar(scalar_value, x->dtype())});
  }

  // Movement. Each returns its operand when there is nothing to do.
  Value* reshape(Value* x, Shape shape);
  Value* transpose(Value* x, std::vector<int64_t> perm);
  Value* broadcast(Value* x, Shape shape);
  /// result extent i = sizes[i]; element i of axis = starts + i * steps
  Value* slice(Value* x, Shape starts, Shape sizes, std::vector<int64_t> steps);
  /// One axis: [start, start + size).
  Value* slice_axis(Value* x, int axis, const Dim& start, const Dim& size, int64_t step = 1);
  /// mode: constant (value, default 0), reflect, edge, wrap. Negative amounts crop.
  Value* pad(Value* x, Shape before, Shape after, Value* value = nullptr,
             const std::string& mode = "constant");
  Value* concat(std::vector<Value*> xs, int axis);

  /// Reductions keep reduced axes with extent 1.
  Value* reduce(std::string_view op_name, Value* x, std::vector<int64_t> axes);

 private:
  Graph* graph_;
  Node* before_;
  std::vector<std::string> origins_;
};

/// Infers result types (and contents) of a core node from its record; throws Error.
void infer_node(Node& node);
/// numpy broadcasting of two shapes; throws Error mentioning `where`. Extents that are not provably
/// equal become a constraint of `graph`.
Shape broadcast_shapes(Graph& graph, const Shape& a, const Shape& b, const std::string& where);
/// Negative axis counted from the end; Error when outside [-rank, rank).
int normalize_axis(int64_t axis, int rank, const std::string& where);

}  // namespace tintype
