// Helpers that ONNX-level decompositions share.
#pragma once

#include "ir/ops/tables.h"

#include <string>
#include <vector>

namespace tintype::ops {

using Values = std::vector<Value*>;

/// Element type for a code of TensorProto.DataType; throws Error for one that is not supported.
DType dtype_of_onnx(const Node& n, int64_t code);
/// Rank-0 tensor of `dtype` holding an extent: a constant when static.
Value* extent_scalar(Builder& b, const Dim& extent, DType dtype);
/// Permutation that moves axis 1 (channels) last: N,C,spatial -> N,spatial,C; and its inverse.
std::vector<int64_t> channels_last(int rank);
std::vector<int64_t> channels_first(int rank);
/// Reshape of a per-channel vector so that it broadcasts against N,C,spatial of this rank; fails
/// for `n` where it is none.
Value* per_channel(Builder& b, const Node& n, Value* v, int rank);
/// Sorted, non-negative, unique axes.
std::vector<int64_t> normalized_axes(const Node& n, std::vector<int64_t> axes, int rank);
/// sum over axes / count
Value* reduce_mean(Builder& b, Value* x, const std::vector<int64_t>& axes);
/// Smallest value of a dtype (minus infinity for floats), as a scalar.
Value* lowest(Builder& b, DType dtype);
Value* highest(Builder& b, DType dtype);
/// The shape without the given (sorted) axes.
Shape without_axes(const Shape& shape, const std::vector<int64_t>& axes);
/// x^p for a constant p; square roots where they are exact for the exponent.
Value* power(Builder& b, Value* x, double p);

/// Largest number of nodes that stand for one another in a loop that is written out.
inline constexpr int64_t kMostWrittenOut = 4096;

bool all_positive(const std::vector<int64_t>& list);

/// Elements from the first to the last that a window reads along an axis.
Dim reach_of(int64_t window, int64_t dilation);

/// A sliding window as ONNX describes it, resolved against an input N,C,spatial.
struct Window {
  std::vector<int64_t> kernel, strides, dilations;
  Shape before, after;  ///< padding per spatial axis, with what ceil_mode adds
  Shape extra;          ///< part of `after` that ceil_mode added
  bool padded() const;
};
/// `kernel` comes from the attribute kernel_shape, or from the weights for convolutions.
Window resolve_window(const Node& n, const Shape& input, std::vector<int64_t> kernel);
/// Pads spatial axes of a channels-last tensor.
Value* pad_spatial(Builder& b, Value* x, const Window& w, Value* value);

/// The record of an ONNX op that decomposes.
constexpr OpDef onnx_op(std::string_view name, int min_operands, int max_operands,
                        DecomposeFunction decompose, std::span<const AttrDef> attrs = {},
                        int results = 1) {
  return {.name = name,
          .min_operands = min_operands,
          .max_operands = max_operands,
          .max_results = results,
          .attrs = attrs,
          .traits = kOnnx,
          .decompose = decompose,
          .doc = ""};
}
constexpr OpDef onnx_op(std::string_view name, int min_operands, int max_operands,
                        DecomposeFunction decompose, std::string_view doc,
                        std::span<const AttrDef> attrs = {}) {
  OpDef def = onnx_op(name, min_operands, max_operands, decompose, attrs);
  def.doc = doc;
  return def;
}

}  // namespace tintype::ops
