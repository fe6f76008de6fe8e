// Memory that kernels ask for while they run: recycled per thread, so that a steady state never
// enters the C library's allocator.
#pragma once

#include <cstddef>

namespace tintype {

/// Kernel scratch, aligned to 128 bytes; at least 64 bytes before and after it may be read. Null
/// when there is no memory. Freed blocks stay with the thread that frees them, at most
/// kScratchBlocks of them and kScratchBytes in all.
void* scratch_allocate(size_t bytes);
void scratch_free(void* block);

inline constexpr int kScratchBlocks = 16;
inline constexpr size_t kScratchBytes = size_t{256} << 20;

/// Bytes the current thread keeps for reuse; for tests and reports.
size_t scratch_cached_bytes();

}  // namespace tintype
