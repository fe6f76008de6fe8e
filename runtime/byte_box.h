// Which bytes of a block a strided view is made of, and whether two views have some in common.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tintype {

/// The bytes at begin + the sum of number * stride over the axes, each number below its extent.
struct ByteBox {
  struct Axis {
    int64_t stride, extent;
  };
  int64_t begin = 0, end = 0;  ///< the first byte, and one past the last; equal when there are none
  std::vector<Axis> axes;      ///< longest stride first, no two that could be one

  bool empty() const { return begin == end; }
  /// True when there is nothing between its bytes.
  bool dense() const { return axes.size() == 1 && axes[0].stride == 1; }
};

/// Of elements of `element` bytes at the offset and strides, which count elements; strides may be
/// negative or zero.
ByteBox byte_box(int64_t offset, std::span<const int64_t> extents, std::span<const int64_t> strides,
                 int64_t element);

/// False when the two have no byte in common. True otherwise, and for a few pairs whose strides do
/// not fit together: of two parts of one tensor, however it is cut, the answer is exact.
bool may_overlap(const ByteBox& a, const ByteBox& b);

/// True when every byte of `inner` is one of `outer`; false for all but dense outer ones.
inline bool covers(const ByteBox& outer, const ByteBox& inner) {
  return inner.empty() || (outer.dense() && outer.begin <= inner.begin && inner.end <= outer.end);
}

}  // namespace tintype
