// The lowering pass that turns loops over the elements of tiles into operations of a matrix unit.
#pragma once

#include <Halide.h>
#include <memory>
#include <string>

namespace tintype::matrix {

/// Names of the loops that a schedule leaves for the pass, from the inside: over the columns and
/// positions of a tile, the steps of its sum, the tiles along the sum.
inline constexpr const char* kColumnLoop = "tile_column";
inline constexpr const char* kRowLoop = "tile_row";
inline constexpr const char* kDepthLoop = "tile_depth";
inline constexpr const char* kStepLoop = "tile_step";

/// Loops of the update of `sums` become: zeros in tile registers; per step the tiles of both sides
/// loaded, multiplied and added; sums stored to the Func's memory. Halide 21 has a pass of its own,
/// which recognises few forms of index (vectors of a whole tile, in one order of additions) and
/// refuses the pipeline elsewhere; this one reads bases and strides off scalar loops. Conversions
/// of 32 elements to bf16 become the processor's instruction, which takes denormals for zeros, as
/// the matrix unit does.
std::unique_ptr<Halide::Internal::IRMutator> tiles(std::string sums);

}  // namespace tintype::matrix
