// Per-thread cache of freed scratch blocks, searched from the most recently freed.
#include "runtime/scratch.h"

#include "runtime/memory.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace tintype {

namespace {

// Every block starts with its size, and the caller's part follows at the next alignment boundary.
constexpr size_t kAlignment = 128;
constexpr size_t kTail = 64;

struct Header {
  size_t bytes;  ///< of the whole block
};

// Sizes are rounded to one of four steps per power of two, so that a slightly different extent
// finds the block of the run before.
size_t block_size(size_t bytes) {
  const size_t whole = std::max<size_t>(bytes + kAlignment + kTail, 4096);
  return round_up(whole, std::bit_floor(whole) / 4);
}

class Cache {
 public:
  Cache() = default;
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  ~Cache() {
    while (count_ > 0) free_aligned(remove(count_ - 1));
    closed_ = true;
  }

  Header* take(size_t bytes) {
    for (int i = count_ - 1; i >= 0; --i)
      if (blocks_[i]->bytes >= bytes && blocks_[i]->bytes / 4 <= bytes) return remove(i);
    return nullptr;
  }

  void put(Header* block) {
    if (closed_ || block->bytes > kScratchBytes) return free_aligned(block);
    while (count_ == kScratchBlocks || bytes_ + block->bytes > kScratchBytes)
      free_aligned(remove(0));  // the one that has gone unused for longest
    blocks_[count_++] = block;
    bytes_ += block->bytes;
  }

  size_t bytes() const { return bytes_; }

 private:
  Header* remove(int i) {
    Header* block = blocks_[i];
    std::copy(blocks_ + i + 1, blocks_ + count_, blocks_ + i);
    --count_;
    bytes_ -= block->bytes;
    return block;
  }

  Header* blocks_[kScratchBlocks] = {};
  int count_ = 0;
  size_t bytes_ = 0;
  bool closed_ = false;  ///< the thread is ending
};

thread_local Cache cache;

}  // namespace

void* scratch_allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  const size_t whole = block_size(bytes);
  Header* block = cache.take(whole);
  if (block == nullptr) {
    block = static_cast<Header*>(allocate_aligned(whole, kAlignment));
    if (block == nullptr) return nullptr;
    block->bytes = whole;
  }
  return reinterpret_cast<std::byte*>(block) + kAlignment;
}

void scratch_free(void* block) {
  if (block == nullptr) return;
  cache.put(reinterpret_cast<Header*>(static_cast<std::byte*>(block) - kAlignment));
}

size_t scratch_cached_bytes() { return cache.bytes(); }

}  // namespace tintype
