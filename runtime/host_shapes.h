// Small helpers of host ops on dims, strides and axes.
#pragma once

#include "runtime/attributes.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tintype {

/// Row-major strides in elements.
inline std::vector<int64_t> dense_strides(std::span<const int64_t> dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

/// Product of dims [begin, end).
inline int64_t count_between(std::span<const int64_t> dims, size_t begin, size_t end) {
  int64_t n = 1;
  for (size_t i = begin; i < end; ++i) n *= dims[i];
  return n;
}

/// An axis attribute as an index; negative ones count from the back. Nothing when out of range.
inline std::optional<size_t> find_axis(int64_t axis, int rank) {
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return std::nullopt;
  return static_cast<size_t>(axis);
}

inline Status axis_out_of_range(int64_t axis, const Tensor& x) {
  return invalid_argument("axis " + std::to_string(axis) + " is out of range for " +
                          x.type_string());
}

inline Status wrong_length(const char* attribute, size_t found, size_t expected) {
  return invalid_argument("attribute '" + std::string(attribute) + "' has " +
                          std::to_string(found) + " entries, expected " + std::to_string(expected));
}

/// An integer list with one entry per axis; `count` times the fallback when the attribute is
/// absent.
inline std::vector<int64_t> per_axis(const Attributes& attributes, const char* name, size_t count,
                                     int64_t fallback) {
  std::vector<int64_t> list = attributes.integers(name);
  if (list.empty()) list.assign(count, fallback);
  return list;
}

/// The three extents around an axis: elements before it, on it, and after it.
struct AxisSplit {
  int64_t outer, extent, inner;
};
inline AxisSplit split_at(std::span<const int64_t> dims, size_t axis) {
  return {count_between(dims, 0, axis), dims[axis], count_between(dims, axis + 1, dims.size())};
}

/// Whether windows at so many positions stay within an axis.
inline bool windows_fit(int64_t extent, int64_t positions, int64_t window, int64_t stride,
                        int64_t dilation) {
  if (window < 1 || stride < 1 || dilation < 1) return false;
  int64_t last = 0, reach = 0;
  return positions <= 0 || (!__builtin_mul_overflow(positions - 1, stride, &last) &&
                            !__builtin_mul_overflow(window - 1, dilation, &reach) &&
                            !__builtin_add_overflow(last, reach, &reach) && reach < extent);
}

/// Checks the dims that inference gave a result; a mismatch is a defect of whoever made the call.
inline Status expect_dims(const Tensor& out, std::span<const int64_t> dims) {
  if (std::equal(dims.begin(), dims.end(), out.dims().begin(), out.dims().end())) return {};
  return {StatusCode::internal,
          "the result is " + out.type_string() + ", expected " + type_string(out.dtype(), dims)};
}

/// Elements of an i32 or i64 tensor; nothing for other element types.
std::optional<std::vector<int64_t>> read_integers(const Tensor& t);

/// Indices into axes with `extents` (one extent for all, or one per position in a tuple), with
/// negative ones counted from the back.
Result<std::vector<int64_t>> checked_indices(const Tensor& t, std::span<const int64_t> extents);

/// Steps through all indices below dims in row-major order, keeping a linear offset per stride
/// list.
class Odometer {
 public:
  Odometer(std::span<const int64_t> dims, std::span<const int64_t> strides)
      : dims_(dims), strides_(strides), index_(dims.size(), 0) {}
  int64_t offset() const { return offset_; }
  int64_t index(size_t axis) const { return index_[axis]; }
  void next() {
    for (size_t i = dims_.size(); i-- > 0;) {
      offset_ += strides_[i];
      if (++index_[i] < dims_[i]) return;
      offset_ -= dims_[i] * strides_[i];
      index_[i] = 0;
    }
  }
  /// Moves to the n-th index.
  void seek(int64_t n) {
    offset_ = 0;
    for (size_t i = dims_.size(); i-- > 0;) {
      index_[i] = dims_[i] == 0 ? 0 : n % dims_[i];
      n = dims_[i] == 0 ? 0 : n / dims_[i];
      offset_ += index_[i] * strides_[i];
    }
  }

 private:
  std::span<const int64_t> dims_, strides_;
  std::vector<int64_t> index_;
  int64_t offset_ = 0;
};

}  // namespace tintype
