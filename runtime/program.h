// The executable form of a model: plain data, independent of how it was compiled.
//
// A Program names symbols (unknown extents), a table of extent expressions over them, storages
// (memory), views (strided tensors inside a storage) and a flat list of steps. Nothing in it refers
// to ops, ONNX, Halide or LLVM; kernels are indices into a table that a KernelLibrary resolves.
#pragma once

#include "runtime/attributes.h"
#include "runtime/dtype.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tintype {

/// Index into Program::expressions.
using ExprId = int32_t;
/// Index into Program::views; kNoView for an absent optional operand of a host op.
using ViewId = int32_t;
inline constexpr ViewId kNoView = -1;

/// One integer expression. Operands refer to earlier entries, so one pass in order evaluates all.
struct ExtentExpr {
  enum class Kind : uint8_t {
    constant,  ///< value
    symbol,    ///< value = index of the symbol
    add,
    sub,
    mul,
    floor_div,  ///< rounds towards minus infinity; division by zero is an invalid_argument Status
    ceil_div,
    mod,  ///< sign of the divisor
    min,
    max,
    equal,  ///< 1 or 0
    less,   ///< 1 or 0
  };
  Kind kind = Kind::constant;
  int64_t value = 0;
  ExprId a = 0, b = 0;
};

/// An extent known only when inputs arrive. It is read from the first input axis that is exactly
/// this symbol; every other mention is checked against it.
struct Symbol {
  std::string name;
  int32_t input = 0;
  int32_t axis = 0;
};

/// An input or output of the model.
struct Port {
  std::string name;
  DType dtype = DType::undefined;
  std::vector<ExprId> dims;
  ViewId view = kNoView;
};

/// A run-time condition that must hold for a set of symbol values, checked when binding.
struct Constraint {
  ExprId left = 0, right = 0;  ///< must be equal
  std::string message;         ///< names the node and what has to agree
};

/// A tensor that outlives a run: steps read it and leave its next value in it. Each Session has its
/// own, which starts as `initial`.
struct StateVariable {
  std::string name;  ///< unique among the states
  Tensor initial;
  /// Axis i of the memory is axis layout[i] of the tensor that a StateStore shows; empty: the same.
  std::vector<int64_t> layout = {};
};

struct Storage {
  enum class Kind : uint8_t {
    arena,     ///< planned: [first_step, last_step] may overlap only with disjoint address ranges
    constant,  ///< value = index into Program::constants
    input,     ///< value = index into Program::inputs; memory of the caller
    output,    ///< value = index into Program::outputs; memory of the result
    state,     ///< value = index into Program::states; memory of the session
  };
  Kind kind = Kind::arena;
  int32_t value = 0;
  ExprId bytes = 0;
  int32_t first_step = 0, last_step = 0;  ///< arena only: first write and last read
};

/// A strided tensor inside a storage. Offset and strides count elements; extents and strides are
/// outermost first. Offsets are never negative.
struct View {
  int32_t storage = 0;
  DType dtype = DType::undefined;
  ExprId offset = 0;
  std::vector<ExprId> extents, strides;
};

/// What a kernel is: the symbol to call and the text it was compiled from.
struct KernelInfo {
  std::string symbol;     ///< exported function `int symbol_argv(void **)`
  std::string name;       ///< readable, "conv_relu"
  std::string algorithm;  ///< "direct", "winograd-f4" ...
};

struct Step {
  enum class Kind : uint8_t {
    kernel,  ///< call the first alternative whose condition holds
    host,    ///< evaluate a host op on contiguous views
    fill,    ///< set every element of each output view to `fill` (margins)
    copy,    ///< strided copy of inputs[0] to outputs[0], same dtype and extents
  };
  /// One way to do a kernel step. The last alternative has no condition.
  struct Alternative {
    ExprId condition = -1;          ///< holds when it evaluates to non-zero; -1 always
    int32_t kernel = 0;             ///< index into Program::kernels
    std::vector<ViewId> arguments;  ///< inputs then outputs, in the kernel's order
  };
  Kind kind = Kind::kernel;
  std::vector<Alternative> alternatives;
  std::string host_op;
  Attributes attributes;
  /// Attributes that depend on symbols, evaluated into integer lists when binding.
  std::vector<std::pair<std::string, std::vector<ExprId>>> extent_attributes;
  std::vector<ViewId> inputs, outputs;
  double fill = 0.0;
  std::string name;    ///< readable, for profiles: "conv_relu 3x3 64->64"
  std::string origin;  ///< names of the model's nodes this step came from, comma separated
  ExprId flops = -1;   ///< multiply-adds * 2 of the mathematical operation; -1 when not counted
};

struct Program {
  std::string model_name;
  /// What the kernels were compiled for, as a Halide target string; empty when there are none.
  std::string target;
  std::vector<Symbol> symbols;
  std::vector<ExtentExpr> expressions;
  std::vector<Port> inputs, outputs;
  std::vector<Constraint> constraints;
  std::vector<Tensor> constants;
  std::vector<StateVariable> states;
  std::vector<Storage> storages;
  std::vector<View> views;
  std::vector<KernelInfo> kernels;
  std::vector<Step> steps;
};

}  // namespace tintype
