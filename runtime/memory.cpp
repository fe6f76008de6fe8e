// Aligned allocation on top of the C library, with huge pages for big blocks.
#include "runtime/memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <sys/mman.h>

namespace tintype {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

void* allocate_aligned(size_t bytes, size_t alignment) {
  if (bytes > SIZE_MAX - 2 * kHugePage) return nullptr;
  const bool big = bytes >= kHugePage;
  if (big) alignment = std::max(alignment, kHugePage);
  const size_t rounded = std::max(round_up(bytes, alignment), alignment);
  void* block = std::aligned_alloc(alignment, rounded);
  if (block != nullptr && big) madvise(block, rounded, MADV_HUGEPAGE);
  return block;
}

void free_aligned(void* block) { std::free(block); }

}  // namespace tintype
