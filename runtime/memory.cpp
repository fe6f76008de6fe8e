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
  void* block = nullptr;
  if (posix_memalign(&block, alignment, bytes + kReadableBeyond) != 0) return nullptr;
  // The end that does not fill a huge page gets small ones: half a huge page per block adds up.
  if (big) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return block;
}

void free_aligned(void* block) { std::free(block); }

}  // namespace tintype
