// Allocation, sharing and naming of host tensors.
#include "runtime/tensor.h"

#include "runtime/memory.h"

#include <cstring>
#include <new>
#include <stdexcept>
#include <sys/mman.h>

namespace tintype {

namespace {

/// Pages that nobody has written to yet: they read as zeros and take no memory.
std::shared_ptr<void> untouched_pages(size_t bytes) {
  void* block = mmap(nullptr, bytes + kReadableBeyond, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw std::bad_alloc();
  return {block, [bytes](void* p) { munmap(p, bytes + kReadableBeyond); }};
}

std::shared_ptr<void> allocate(size_t bytes) {
  void* block = allocate_aligned(bytes);
  if (block == nullptr) throw std::bad_alloc();
  return {block, [](void* p) { free_aligned(p); }};
}

size_t checked_bytes(const Tensor& t) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<size_t>(t.size()), size_of(t.dtype()), &bytes))
    throw std::length_error("byte count overflows in " + t.type_string());
  return bytes;
}

/// "[1,3]"
std::string text_of(std::span<const int64_t> dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i != 0) s += ',';
    s += std::to_string(dims[i]);
  }
  return s + ']';
}

}  // namespace

int64_t element_count(std::span<const int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) {
    if (d < 0) throw std::length_error("negative extent in " + text_of(dims));
    if (__builtin_mul_overflow(count, d, &count))
      throw std::length_error("element count overflows in " + text_of(dims));
  }
  return count;
}

std::string type_string(DType dtype, std::span<const int64_t> dims) {
  return std::string(name_of(dtype)) + text_of(dims);
}

Tensor Tensor::empty(DType dtype, std::vector<int64_t> dims) {
  Tensor t = borrow(dtype, std::move(dims), nullptr, nullptr);
  std::shared_ptr<void> storage = allocate(checked_bytes(t));
  t.data_ = storage.get();
  t.owner_ = std::move(storage);
  return t;
}

Tensor Tensor::zeros(DType dtype, std::vector<int64_t> dims) {
  constexpr size_t kLarge = size_t{2} << 20;
  Tensor t = borrow(dtype, std::move(dims), nullptr, nullptr);
  const size_t bytes = checked_bytes(t);
  std::shared_ptr<void> storage = bytes < kLarge ? allocate(bytes) : untouched_pages(bytes);
  if (bytes < kLarge) std::memset(storage.get(), 0, bytes);
  t.data_ = storage.get();
  t.owner_ = std::move(storage);
  return t;
}

Tensor Tensor::borrow(DType dtype, std::vector<int64_t> dims, const void* data,
                      std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.size_ = element_count(dims);
  t.dims_ = std::move(dims);
  t.data_ = data;
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::reshaped(std::vector<int64_t> dims) const {
  if (element_count(dims) != size_)
    throw std::length_error("cannot view " + type_string() + " as " +
                            tintype::type_string(dtype_, dims));
  Tensor t = *this;
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty(dtype_, dims_);
  if (bytes() != 0) std::memcpy(t.mutable_data(), data_, bytes());
  return t;
}

std::string Tensor::type_string() const { return tintype::type_string(dtype_, dims_); }

}  // namespace tintype
