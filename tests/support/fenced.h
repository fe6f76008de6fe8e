// Tensors between pages that may not be touched: a kernel that reads outside of one crashes instead
// of passing by luck.
#pragma once

#include "runtime/tensor.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>

namespace tintype::test {

enum class Fence { before, after };

/// A copy of `t` that starts right behind an unreadable page, or ends right in front of one.
inline Tensor fenced(const Tensor& t, Fence side) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t inside = (t.bytes() + page - 1) / page * page, whole = inside + 2 * page;
  void* block = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) std::abort();
  const std::shared_ptr<void> owner(block, [whole](void* p) { munmap(p, whole); });
  auto* first = static_cast<std::byte*>(block) + page;
  if (mprotect(first, inside, PROT_READ | PROT_WRITE) != 0) std::abort();
  std::byte* data = side == Fence::before ? first : first + (inside - t.bytes());
  std::memcpy(data, t.data(), t.bytes());
  return Tensor::borrow(t.dtype(), t.dims(), data, owner);
}

}  // namespace tintype::test
