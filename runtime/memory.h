// Aligned memory for tensors, arenas and kernel scratch; big blocks ask for huge pages.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace tintype {

/// Alignment of every tensor, constant and planned buffer, in bytes: one cache line, one AVX-512
/// register.
inline constexpr size_t kBufferAlignment = 64;

/// Bytes behind every block of allocate_aligned that may be read, though they mean nothing: kernels
/// load whole vectors where fewer channels remain, and drop what they made of the rest.
inline constexpr size_t kReadableBeyond = 64;

constexpr size_t round_up(size_t bytes, size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

/// At least `bytes` + kReadableBeyond uninitialised bytes aligned to `alignment` (a power of two),
/// or null when there is no memory. Blocks of 2 MiB and more are aligned to huge pages and advised
/// to use them: weights and activations are streamed once per run, and page walks cost 10-25 % on
/// multi-megabyte buffers.
void* allocate_aligned(size_t bytes, size_t alignment = kBufferAlignment);
/// Frees what allocate_aligned returned; null is allowed.
void free_aligned(void* block);

/// Owns one aligned block.
class AlignedBlock {
 public:
  AlignedBlock() = default;
  /// Null `data()` when there is no memory.
  explicit AlignedBlock(size_t bytes) : data_(allocate_aligned(bytes)), bytes_(data_ ? bytes : 0) {}
  std::byte* data() const { return static_cast<std::byte*>(data_.get()); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* p) const { free_aligned(p); }
  };
  std::unique_ptr<void, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace tintype
