// What a product costs on a CUDA device, and the tile that costs least. Figures are those of data
// sheets (A100, H100 and their like), in proportion to each other; nothing is measured.
#pragma once

#include "codegen/kernel.h"
#include "ir/graph.h"

#include <functional>
#include <string>

namespace tintype {

/// A sum over `depth` for each of batch * positions * columns results, in multiply-adds of f32.
struct ProductExtents {
  int64_t batch = 1, positions = 1, columns = 1, depth = 1;
  int64_t left_elements = 0;  ///< of the left side in memory: windows overlap
  bool left_vectors = true;   ///< which is loaded four steps of the sum at a time
  double operand_bytes = 4;   ///< of an element of either side
};

/// The extents of a dot, conv or conv_weight_gradient; symbols as the hint says.
ProductExtents product_extents(const Node& n, const std::function<int64_t(const Dim&)>& hint);

/// Parts of a long sum that the kernel which adds them up loads together.
constexpr int kPartsTogether = 8;

/// Estimated microseconds of a kernel, and what limits it.
struct CudaCost {
  double microseconds = 0;
  const char* limit = "";
};

CudaCost tile_cost(const ProductExtents& p, const BlockTile& t, int capability);

/// "implicit gemm 128x64, 4 parts": what profiles call a kernel of a dot, conv or weight gradient.
std::string tile_name(const Node& anchor, const BlockTile& t);

/// Reading and writing that many bytes in a kernel of its own, in microseconds.
double transfer_cost(double bytes, int capability);

/// The cheapest tile; of `columns` columns where that is not 0.
BlockTile pick_block_tile(const ProductExtents& p, int columns, int capability);

}  // namespace tintype
