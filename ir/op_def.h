// The record that describes an op once for everybody: parser, printer, verifier, importer, builder,
// passes, docs and the coverage report read it.
#pragma once

#include "ir/attr.h"
#include "ir/type.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

class Builder;
class Node;
class Value;

/// What passes and codegen may assume about an op. Passes ask traits, never op names.
enum Trait : uint32_t {
  kPointwise = 1u << 0,  ///< each result element depends on the operands' elements at its own
                         ///< index, operands broadcast by numpy's rules
  kCommutative = 1u << 1,
  kReduction = 1u << 2,    ///< reduces the axes in attribute `axes`, keeping them with extent 1
  kContraction = 1u << 3,  ///< conv, dot: multiply-accumulate over a reduction domain
  kWindow = 1u << 4,       ///< reduces a sliding window over the spatial axes
  kView = 1u << 5,      ///< moves no data: result elements are operand elements, at other indices
  kMovement = 1u << 6,  ///< copies elements, computes nothing
  kOnnx = 1u << 7,      ///< ONNX-level: has `decompose`, no definition in codegen
  kHostOnly = 1u << 8,  ///< evaluated by a host op, never by a kernel
  kImpure = 1u << 9,    ///< must not be merged or folded (random numbers)
  kPrepack = 1u << 10,  ///< rearranges weights once, when constant
  kKernel = 1u << 11,   ///< a kernel of its own, not fused with others
  kTileTransform = 1u << 12,  ///< linear map of every tile, with a schedule of its own
  kControl = 1u << 13,        ///< runs its bodies any number of times
};

enum class AttrKind : uint8_t {
  integer,
  number,
  string,
  integers,
  numbers,
  strings,
  tensor,
  dtype,
  dims
};
std::string_view name_of(AttrKind kind);

struct AttrDef {
  std::string_view name;
  AttrKind kind;
  bool required = false;
};

/// Everything known about a node at inference time; results are what infer fills in.
struct InferContext {
  const Node& node;
  std::vector<TensorType>& results;

  const TensorType& type(int operand) const;
  bool has(int operand) const;
  /// Symbolic content of a small integer operand, or null.
  const std::vector<Dim>* content(int operand) const;
  const AttrMap& attrs() const;
  /// Throws Error naming the node and its origin.
  [[noreturn]] void fail(const std::string& message) const;
  /// Same extent, or throws; an unprovable equality becomes a run-time constraint of the graph.
  Dim unify(const Dim& a, const Dim& b, const std::string& what) const;
};

/// Rewrites a node into core ops at the builder's insertion point. `operands` holds null for absent
/// optional inputs. Returns one value per result (null for results nobody can use).
using DecomposeFunction = std::vector<Value*> (*)(Builder&, const Node&);
using InferFunction = void (*)(InferContext&);
/// d loss / d operand for each operand of a node, from d loss / d result for each result (null
/// where the loss does not depend on it; at least one is there). Null entries stand for zero;
/// entries of operands that are not floats are ignored.
using GradientFunction = std::vector<Value*> (*)(Builder&, const Node&,
                                                 const std::vector<Value*>& result_gradients);
/// The gradient of ops that are constant wherever they are continuous: zero for every operand.
std::vector<Value*> zero_gradient(Builder&, const Node&, const std::vector<Value*>&);
/// Elements of the (single, small, integer) result as extents, or nothing.
using ContentFunction = std::optional<std::vector<Dim>> (*)(const Node&);

struct OpDef {
  std::string_view name;
  /// Operand count allowed; max_operands -1 means any number.
  int min_operands = 0, max_operands = 0;
  int min_results = 1, max_results = 1;
  std::span<const AttrDef> attrs = {};
  uint32_t traits = 0;
  InferFunction infer = nullptr;             ///< core ops
  ContentFunction content = nullptr;         ///< core ops that shape arithmetic uses
  DecomposeFunction decompose = nullptr;     ///< ONNX-level ops
  GradientFunction gradient = nullptr;       ///< core ops, unless not_differentiable says why not
  std::string_view not_differentiable = {};  ///< the reason, for core ops without a gradient
  std::string_view doc;

  bool has(uint32_t trait) const { return (traits & trait) != 0; }
  bool is_core() const { return !has(kOnnx); }
};

/// The record for a name, or null.
const OpDef* find_op(std::string_view name);
/// The record for a name; InternalError when there is none.
const OpDef& op(std::string_view name);
/// All records: core first, then ONNX-level, each by name.
std::vector<const OpDef*> all_ops();

}  // namespace tintype
