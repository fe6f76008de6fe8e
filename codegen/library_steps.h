// What of a graph NVIDIA's libraries can do, and what that costs.
#pragma once

#include "codegen/block_tiles.h"
#include "ir/graph.h"

namespace tintype {

/// What follows a product or a convolution and can be done with it: a sum with a row of numbers,
/// one with a tensor of its shape, max(x, 0).
struct LibraryEpilogue {
  const Value *bias = nullptr, *residual = nullptr;
  bool relu = false;
  const Value* result = nullptr;  ///< what comes out
  size_t nodes = 0;               ///< that it takes the place of
};

/// The longest one behind a value.
LibraryEpilogue library_epilogue(const Value* v);

/// True for a dot, conv or conv_weight_gradient with a result in f32 that a library has a function
/// for: products
/// of a matrix with another or with a stack, convolutions in one or two dimensions, with fixed
/// channels and no or large groups.
bool suits_library(const Node& n);

/// A convolution that is the product of all positions with one matrix.
bool is_pointwise_conv(const Node& n);

/// What a library multiplies with: plain units, or tensor cores with operands rounded to TF32, or
/// given in 16 bits.
enum class LibraryMath : uint8_t { f32, tf32, half };

/// Estimated cost of a library's product, or of a convolution as an implicit product.
CudaCost library_cost(const ProductExtents& p, LibraryMath math, int capability);

}  // namespace tintype
