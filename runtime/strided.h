// Copies and fills of strided multi-dimensional memory, in parallel when large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tintype {

/// Most dimensions a strided copy or fill can have once extents of 1 are dropped.
inline constexpr size_t kMaxStridedRank = 32;

/// to[i] = from[i] for all indices below `extents`. Strides count elements of `element` bytes (1,
/// 2, 4 or 8), outermost first like the extents; they may be negative, and zero in `from_strides`.
/// The pointers address index zero. Source and destination must not overlap.
void strided_copy(std::span<const int64_t> extents, void* to, std::span<const int64_t> to_strides,
                  const void* from, std::span<const int64_t> from_strides, size_t element);

/// to[i] = the element at `value`, for all indices below `extents`.
void strided_fill(std::span<const int64_t> extents, void* to, std::span<const int64_t> to_strides,
                  const void* value, size_t element);

/// True when the elements lie row-major without gaps (extents of 1 may have any stride).
bool is_dense(std::span<const int64_t> extents, std::span<const int64_t> strides);

}  // namespace tintype
