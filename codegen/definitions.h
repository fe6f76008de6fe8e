// Definitions in Halide of ops that plugins add. The only public header that needs Halide.h.
#pragma once

#include "ir/graph.h"

#include <Halide.h>
#include <string_view>
#include <vector>

namespace tintype {

/// One element of the result of a pointwise op from the operands' elements. These arrive in the
/// type that arithmetic uses: 16-bit floats as f32, all others as they are.
using PointwiseDefinition = Halide::Expr (*)(const Node& node,
                                             const std::vector<Halide::Expr>& operands);

/// Gives an added op (register_ops, ir/custom_ops.h) with the trait kPointwise its definition.
/// Kernels fuse it with their neighbours and schedule it like built-in ops. The kernel cache tells
/// builds of the plugin apart. Throws Error when the op has another definition. Thread-safe.
void register_definition(std::string_view op_name, PointwiseDefinition define);

/// What a kernel of an op's own is defined from. The arguments of Funcs count from the innermost
/// axis, as Halide does; axes count from the outermost one, as models do. Kernels are generic in
/// all extents: those that are not 1 are known when the kernel runs.
struct KernelOperands {
  const Node& node;
  /// One per operand, undefined for absent ones. Elements are as the tensor has them: definitions
  /// cast 16-bit floats themselves. Reading outside the extents is an error at run time; Halide's
  /// BoundaryConditions, given the extents, make borders.
  std::vector<Halide::Func> elements;
  std::vector<std::vector<Halide::Expr>> extents;  ///< by operand and axis
};

struct KernelFuncs {
  /// One per result of the op, of its rank and element type; with update definitions if need be.
  std::vector<Halide::Func> results;
  /// Others that the schedule wants to see.
  std::vector<Halide::Func> stages = {};
};

/// An op with a kernel of its own: reductions, windows, several results.
struct KernelDefinition {
  KernelFuncs (*define)(const KernelOperands& operands);
  /// Decides loops; never what is computed. `lanes` is how many f32 fill a vector. All results are
  /// outputs of one pipeline. Null: results and whatever has update definitions are computed one
  /// after the other, vectors along the innermost axis, outer axes on all threads.
  void (*schedule)(const Node& node, const KernelFuncs& funcs, int lanes) = nullptr;
  /// Multiplications and additions may be contracted, and infinities and NaNs be taken not to
  /// occur, where that is faster.
  bool fast_math = false;
};

/// The same as register_definition for ops with the trait kKernel.
void register_kernel(std::string_view op_name, const KernelDefinition& definition);

}  // namespace tintype
