// Host tensor: a dtype, static dims and contiguous row-major elements, owned or borrowed.
#pragma once

#include "runtime/dtype.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tintype {

/// Contiguous row-major tensor. Copying shares the elements (reference counted); `clone` copies
/// them. Reading from many threads is safe; writing follows the usual rules for shared data.
class Tensor {
 public:
  Tensor() = default;

  /// New uninitialised elements, 64-byte aligned. Throws std::bad_alloc, or std::length_error when
  /// the byte count overflows.
  static Tensor empty(DType dtype, std::vector<int64_t> dims);
  static Tensor zeros(DType dtype, std::vector<int64_t> dims);
  /// Elements that live elsewhere; `owner` (may be null) is kept alive by every copy.
  static Tensor borrow(DType dtype, std::vector<int64_t> dims, const void* data,
                       std::shared_ptr<const void> owner);
  template <typename T>
  static Tensor from(std::vector<int64_t> dims, std::span<const T> values);
  template <typename T>
  static Tensor from(std::vector<int64_t> dims, std::initializer_list<T> values) {
    return from<T>(std::move(dims), std::span<const T>(values.begin(), values.size()));
  }
  template <typename T>
  static Tensor scalar(T value) {
    return from<T>({}, std::span<const T>(&value, 1));
  }

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  int rank() const { return static_cast<int>(dims_.size()); }
  /// Number of elements; 1 for rank 0.
  int64_t size() const { return size_; }
  size_t bytes() const { return static_cast<size_t>(size_) * size_of(dtype_); }
  bool defined() const { return dtype_ != DType::undefined; }

  const void* data() const { return data_; }
  void* mutable_data() { return const_cast<void*>(data_); }
  /// The elements as T, which has to be the C++ type of dtype(), with uint16_t for f16 and bf16 and
  /// bool for booleans: nothing checks that.
  template <typename T>
  std::span<const T> values() const {
    return {static_cast<const T*>(data_), static_cast<size_t>(size_)};
  }
  template <typename T>
  std::span<T> mutable_values() {
    return {static_cast<T*>(mutable_data()), static_cast<size_t>(size_)};
  }
  const std::shared_ptr<const void>& owner() const { return owner_; }
  /// Makes a borrowed tensor read other elements of the same dtype and dims; drops the owner.
  void repoint(const void* data) {
    data_ = data;
    owner_.reset();
  }

  /// Same elements under other dims of equal element count.
  Tensor reshaped(std::vector<int64_t> dims) const;
  Tensor clone() const;
  /// "f32[1,3,224,224]"
  std::string type_string() const;

 private:
  DType dtype_ = DType::undefined;
  std::vector<int64_t> dims_;
  int64_t size_ = 0;
  const void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

/// Product of dims with overflow check; throws std::length_error on overflow or a negative dim.
int64_t element_count(std::span<const int64_t> dims);
/// "f32[1,3]" for a dtype and dims.
std::string type_string(DType dtype, std::span<const int64_t> dims);

template <typename T>
Tensor Tensor::from(std::vector<int64_t> dims, std::span<const T> values) {
  Tensor t = empty(dtype_of<T>, std::move(dims));
  std::span<T> out = t.mutable_values<T>();
  for (size_t i = 0; i < out.size() && i < values.size(); ++i) out[i] = values[i];
  return t;
}

}  // namespace tintype
