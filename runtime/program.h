// The executable form of a model: plain data, independent of how it was compiled.
//
// A Program names symbols (unknown extents), a table of extent expressions over them, storages
// (memory), views (strided tensors inside a storage) and a flat list of steps; loops and branches
// span the steps behind them. Nothing in it refers
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

/// Elements of an input say places on an axis of `extent`, counted from its end where negative.
struct IndexUse {
  ExprId extent = 0;
  std::string where;  ///< the node that looks there
};

/// An input or output of the model.
struct Port {
  std::string name;
  DType dtype = DType::undefined;
  std::vector<ExprId> dims;
  ViewId view = kNoView;
  std::vector<IndexUse> indices = {};  ///< of inputs of i32 and i64: checked before each run
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
  /// Memory of the CUDA device: an arena of its own, copies of constants, states that stay there
  /// from run to run. A state lies on one side as far as a program is concerned. A kernel step
  /// whose arguments lie there runs there; a copy step from one side to the other is a transfer, of
  /// dense views.
  bool device = false;
};

/// How a view moves with the trips of a loop: on trip k it lies `place` * stride elements behind
/// where its offset says, with place = (k + phase) % ring, or k when ring is 0.
struct Motion {
  int32_t loop = 0;  ///< index of the loop's step
  ExprId stride = 0;
  int32_t phase = 0, ring = 0;
};

/// A strided tensor inside a storage. Offset and strides count elements; extents and strides are
/// outermost first. Offsets are never negative.
struct View {
  int32_t storage = 0;
  DType dtype = DType::undefined;
  ExprId offset = 0;
  std::vector<ExprId> extents, strides;
  std::vector<int32_t> motions = {};  ///< into Program::motions, outermost loop first
};

/// What a kernel is: the symbol to call and the text it was compiled from.
struct KernelInfo {
  std::string symbol;     ///< exported function `int symbol_argv(void **)`
  std::string name;       ///< readable, "conv_relu"
  std::string algorithm;  ///< "direct", "winograd-f4" ...
};

/// What a library step computes, in f32, or with left and right in one type of 16 bits and sums in
/// f32; all memory is on the device. Of 16-bit operands the result of a product is f32, that of a
/// convolution or gradient has their type, and convolutions have no epilogue.
///
/// inputs: left, right, bias or kNoView, residual or kNoView; outputs: result, workspace (bytes).
///   product: result[B,M,N] = f(left[B,M,K] right[B,K,N] + residual[B,M,N] + bias[N]), where B may
///   be 1 in an operand; the convolution of left[N,H,W,C] with right[F,rows,columns,C/group] to
///   result[N,P,Q,F], likewise; weight_gradient: result[F,rows,columns,C/group], the gradient of
///   the weights for left[N,H,W,C] and the gradient right[N,P,Q,F].
struct LibraryCall {
  enum class Kind : uint8_t { product, convolution, weight_gradient };
  Kind kind = Kind::product;
  bool tf32 = false;  ///< operands may be rounded to 10 bits of fraction; else arithmetic is f32
  bool relu = false;  ///< f is max(x, 0), else the identity
  std::vector<int64_t> padding, strides, dilations;  ///< of convolutions, by axis
  int64_t group = 1;
};

struct Step {
  enum class Kind : uint8_t {
    kernel,   ///< call the first alternative whose condition holds
    host,     ///< evaluate a host op on contiguous views
    fill,     ///< set every element of each output view to `fill` (margins)
    copy,     ///< strided copy of inputs[0] to outputs[0], same dtype and extents
    loop,     ///< run the `span` steps behind this one on every trip
    branch,   ///< run the `span` steps behind this one, or the `otherwise` steps behind those
    library,  ///< call a library and run the `span` steps behind this one; where it is not there or
              ///< cannot do this, run the `otherwise` steps behind those instead
  };
  /// What loops and branches decide by. The steps they (and library steps) run come right behind
  /// them, nested ones included; a loop or branch inside another lies inside it as a whole.
  struct Control {
    int32_t span = 0, otherwise = 0;
    ExprId trips = -1;  ///< of a loop; -1: as many as trip_count and condition allow
    /// i64 scalar: trips at most, less than one counts as none. Absent: no limit.
    ViewId trip_count = kNoView;
    /// bool scalar: read before every trip, or once by a branch. Absent: it holds.
    ViewId condition = kNoView;
    ViewId trip = kNoView;  ///< i64 scalar that is set to the number of the trip, or absent
    /// Rings of two: when the number of trips was odd, the second view is copied to the first.
    std::vector<std::pair<ViewId, ViewId>> rings = {};
  };
  /// One way to do a kernel step. The last alternative has no condition.
  struct Alternative {
    ExprId condition = -1;          ///< holds when it evaluates to non-zero; -1 always
    int32_t kernel = 0;             ///< index into Program::kernels
    std::vector<ViewId> arguments;  ///< inputs then outputs, in the kernel's order
    /// How many of the first arguments are read, and of the last ones written. Of one between them
    /// a kernel sees the extents alone. No outputs: all arguments may be written.
    int32_t inputs = 0, outputs = 0;
  };
  Kind kind = Kind::kernel;
  std::vector<Alternative> alternatives;
  std::string host_op;
  Attributes attributes;
  /// Attributes that depend on symbols, evaluated into integer lists when binding.
  std::vector<std::pair<std::string, std::vector<ExprId>>> extent_attributes;
  std::vector<ViewId> inputs, outputs;
  double fill = 0.0;
  Control control;
  LibraryCall library;
  std::string name;    ///< readable, for profiles: "conv_relu 3x3 64->64"
  std::string origin;  ///< names of the model's nodes this step came from, comma separated
  ExprId flops = -1;   ///< multiply-adds * 2 of the mathematical operation; -1 when not counted
};

/// True for the kinds of steps that run steps behind them.
constexpr bool spans_steps(Step::Kind kind) {
  return kind == Step::Kind::loop || kind == Step::Kind::branch || kind == Step::Kind::library;
}

struct Program {
  std::string model_name;
  /// What the kernels were compiled for, as a Halide target string, with "-cuda-sm_80" behind it
  /// when some run on a CUDA device; empty when there are none.
  std::string target;
  std::vector<Symbol> symbols;
  std::vector<ExtentExpr> expressions;
  std::vector<Port> inputs, outputs;
  std::vector<Constraint> constraints;
  std::vector<Tensor> constants;
  std::vector<StateVariable> states;
  std::vector<Storage> storages;
  std::vector<Motion> motions;
  std::vector<View> views;
  std::vector<KernelInfo> kernels;
  std::vector<Step> steps;
};

}  // namespace tintype
