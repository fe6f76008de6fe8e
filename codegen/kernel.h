// A kernel to be compiled: a region of core ops, how its buffers look, and how to schedule it.
#pragma once

#include "codegen/machine.h"
#include "ir/graph.h"
#include "runtime/dtype.h"
#include "runtime/tile_product.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

/// What is fixed about a buffer at compile time; extents and other strides are run-time values.
struct BufferSpec {
  DType dtype = DType::undefined;
  std::vector<bool> unit;  ///< per dim, outermost first: the extent is 1
  bool dense = true;       ///< the innermost stride is 1
  bool across = false;     ///< the one before it is: a transposed matrix
  /// The address and all other strides are multiples of 16 bytes: vectors may be loaded.
  bool aligned = false;
};

/// An amount of either sign as `more` - `less`: kernels are told amounts as extents of a buffer,
/// which cannot be negative.
struct SignedAmount {
  Dim more, less;
};
SignedAmount signed_amount(const Dim& d);

/// Loop structures; each has one function in codegen/schedule/.
enum class ScheduleKind : uint8_t {
  reference,                ///< loops as written, no fusion of loops, no vectors: the oracle
  elementwise,              ///< every result element on its own
  contraction,              ///< dot and conv with a register tile of rows x vectors
  amx,                      ///< dot and conv by tiles of bf16 terms, in calls of the runtime
  tiled,                    ///< products on a device, panels of both sides in shared memory
  attention,                ///< two dots with a softmax between them
  cell,                     ///< dot with several matrices, whose slices meet in several results
  depthwise,                ///< conv with one input channel per filter
  window,                   ///< sliding-window reduction
  pack,                     ///< panels of weights, a vector across each
  rows,                     ///< reductions over axes, and what follows them, per remaining index
  scatter,                  ///< sums at computed places
  window_max_gradient,      ///< sums over the windows that chose a place
  weight_gradient,          ///< weight gradient of conv with a register tile of rows x vectors
  winograd_points,          ///< tiles of images or weights to points
  winograd_output,          ///< points to tiles of an image
  winograd_weight_adjoint,  ///< points to weights
  winograd_conv,            ///< all steps of a convolution, a run of tiles at a time
  added,                    ///< the definition and schedule of a plugin
};
std::string_view name_of(ScheduleKind kind);

/// How output channels end that do not fill the last panel of a tile, or the last vector.
enum class PanelTail : uint8_t {
  whole,   ///< there are none
  padded,  ///< computed in whole vectors, from zero-filled weights or from whatever lies behind the
           ///< operand, and not stored
  masked,  ///< neither loaded nor stored
  shifted,  ///< the last panel overlaps the one before; at least one panel of channels exists
};

/// What a block of a device computes of a product, [positions, columns], and how. Positions are all
/// dims of the result but the last, or of the weights, where those are the result.
struct BlockTile {
  int columns = 0, positions = 0;  ///< of the block; no tile where they are 0
  int depth = 8;                   ///< steps of the sum whose panels are in shared memory at once
  int thread_columns = 4, thread_positions = 8;
  int splits = 1;  ///< parts of the sum that different blocks add up, in a kernel of their own
  int left_vector = 1, right_vector = 1;  ///< elements loaded at once; they are neighbours
  bool left_across = false;               ///< of the left side: positions, not steps of the sum
  bool store_vectors = false;             ///< the result's columns are stored four at a time
  int channels = 0;                       ///< of the left side where they are known

  int lanes() const { return columns / thread_columns; }
  int groups() const { return positions / thread_positions; }
  int threads() const { return lanes() * groups(); }
};

/// Everything that decides the machine code, hence the cache key, apart from the Machine.
struct KernelSpec {
  std::string name;                   ///< "conv_relu"
  std::shared_ptr<const Graph> body;  ///< inputs and outputs are the kernel's buffers, in order
  std::vector<BufferSpec> inputs, outputs;
  /// Extents in attributes of the body that are passed at run time, in an extra last input buffer
  /// whose extents they are.
  std::vector<Dim> scalars;
  ScheduleKind schedule = ScheduleKind::elementwise;
  int rows = 1;  ///< register tile: output positions; with AMX, positions or lines of a task
  int vectors =
      1;  ///< register tile: vectors of output channels; with AMX, panels of a task, 0: all
  PanelTail tail = PanelTail::whole;
  int depth_multiple = 1;         ///< the reduced channel count is a multiple of this
  int run = 1;                    ///< of a Winograd convolution: tiles along an image line per task
  int channels = 0, filters = 0;  ///< of a Winograd convolution: addresses are constant distances
  int prefetch = 0;               ///< lines of weights to fetch ahead per step of the reduction
  int tasks = 1;             ///< of a cell: pieces that its hidden units or sequences divide into
  bool split_rows = false;   ///< of a cell: its sequences, not its hidden units
  bool gates_apart = false;  ///< of a cell: the sums of one gate at a time are in registers
  int depth_block = 0;  ///< of a product: steps of the sum that all tiles of a task take in turn
  TileRows tile_rows = TileRows::places;  ///< of a convolution with AMX
  bool guarded_rows = false;  ///< the last tile of a product leaves out rows that there are not
  int lanes = 0;              ///< f32 elements per vector; 0: as many as the machine has
  bool cuda = false;          ///< runs on the machine's CUDA device
  BlockTile block;            ///< of a tiled product

  /// Canonical text: equal texts mean equal machine code on one machine.
  std::string text() const;
};

/// Compiles to an ELF object that exports `symbol` and `symbol_argv`, needs only the halide_*
/// hooks, libc and libm. Thread-safe; throws InternalError when Halide refuses.
std::vector<char> compile_kernel(const KernelSpec& spec, const Machine& machine,
                                 const std::string& symbol);

}  // namespace tintype
