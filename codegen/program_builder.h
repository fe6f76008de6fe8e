// Builds the tables of a Program: extent expressions, storages, views, steps.
#pragma once

#include "ir/dim.h"
#include "ir/graph.h"
#include "runtime/program.h"

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace tintype {

/// Where a value lives: a strided window of a storage. Offset and strides count elements.
struct Placement {
  int32_t storage = -1;
  Dim offset;
  Shape strides;
  std::vector<int32_t> motions = {};  ///< of the loops around it, as in View
};

/// Row-major strides of a shape.
Shape dense_strides(const Shape& shape);
/// True when the placement is row-major without gaps, whatever its offset.
bool is_dense(const Placement& p, const Shape& shape);

class ProgramBuilder {
 public:
  explicit ProgramBuilder(Program& program) : program_(&program) {}

  /// Declares a symbol read from an axis of an input.
  void add_symbol(const std::string& name, int32_t input, int32_t axis);
  bool has_symbol(const std::string& name) const { return symbols_.count(name) != 0; }
  ExprId expression(const Dim& d);
  std::vector<ExprId> expressions(const Shape& shape);
  /// 1 when a >= b.
  ExprId at_least(const Dim& a, const Dim& b);
  int32_t storage(Storage::Kind kind, int32_t value, const Dim& bytes);
  ViewId view(DType dtype, const Placement& p, const Shape& extents);
  Program& program() { return *program_; }

  /// New arena storages lie on the CUDA device.
  bool on_device = false;

 private:
  ExprId push(ExtentExpr e);
  ExprId binary(ExtentExpr::Kind kind, ExprId a, ExprId b);

  Program* program_;
  std::unordered_map<std::string, int32_t> symbols_;
  std::unordered_map<std::string, ExprId> by_text_;
  std::map<std::tuple<int, int64_t, ExprId, ExprId>, ExprId> interned_;
  std::map<std::string, ViewId> views_;
};

}  // namespace tintype
