// Composes the definitions of a region's ops into one Halide pipeline, without a schedule.
#pragma once

#include "codegen/kernel.h"

#include <Halide.h>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

/// A reduction inside a region.
struct Anchor {
  const Node* node = nullptr;
  Halide::Func func;              ///< pure initialisation and one update
  std::vector<Halide::Var> vars;  ///< of the Func, innermost first
  Halide::RDom domain;
  /// Of the second update of gate_products. Where one of its updates reaches some gates only, they
  /// are the second dimension of its domain; else all are the Func's last variable.
  Halide::RDom second = {};
};

/// A product on a device, in tiles: see define_tiled.
struct TiledProduct {
  /// Panels: element of a vector, vector, position (or, not along_depth, step), chunk, slice.
  Halide::Func left, right;
  Halide::Func place;  ///< where a position lies, undefined where that is its number
  Halide::Func sums;   ///< column, position, slice
  Halide::Func part;   ///< the same, where the sum has parts
  Halide::RDom depth, places;
  bool along_depth = true;  ///< vectors of the left side lie along the sum, not the positions
  bool slices = false;      ///< a dim for batches and parts of the sum
  bool has_place = false;
};

/// A pipeline ready to be scheduled. Dimensions are innermost first, as Halide counts.
struct Composition {
  std::vector<Halide::Argument> arguments;  ///< input buffers, in the order of the kernel
  std::vector<Halide::ImageParam> inputs;
  std::vector<Halide::Func> outputs;
  std::vector<Halide::Var> vars;       ///< of the outputs
  std::vector<Anchor> anchors;         ///< in topological order
  std::vector<Halide::Func> stages;    ///< values worth storing once per row
  std::vector<Halide::Func> partials;  ///< lane-wise partial sums of `rows` kernels
  std::optional<TiledProduct> tiled;
  const Node* added = nullptr;  ///< the op of a plugin that `outputs` and `stages` are
  /// The kernel sums per channel: the partials are one sum per index of the outermost axis.
  bool channel_sums = false;
};

Composition compose(const KernelSpec& spec, const Machine& machine);

/// The scalar definition of a pointwise op. Operands already have the arithmetic type; 16-bit
/// floats arrive as f32. Throws Error for an op without definition.
Halide::Expr define_pointwise(const Node& node, const std::vector<Halide::Expr>& operands);
/// The definition of a node with calls of libm replaced by those of the device's library.
Halide::Expr device_functions(const Node& node, const Halide::Expr& e);
/// True when the op costs more to compute again than to store.
bool is_expensive(const Node& node);
/// True when define_pointwise knows the op.
bool has_pointwise_definition(std::string_view op_name);
/// What tells the code of one added definition from that of another; "" for built-in ops.
std::string definition_identity(std::string_view op_name);

/// Element type as Halide names it; boolean is a one-bit unsigned integer stored in a byte.
Halide::Type halide_type(DType dtype);
/// The type that arithmetic on this element type uses.
Halide::Type arithmetic_type(DType dtype);
/// A tensor of one element as a constant of its arithmetic type.
Halide::Expr literal(const Tensor& t);

}  // namespace tintype
