// Planning of one block of memory for many buffers with known lifetimes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace tintype {

/// A buffer that needs an address from step `first` to step `last`, both included.
struct Lifetime {
  size_t bytes = 0;
  int32_t first = 0, last = 0;
};

struct ArenaPlan {
  std::vector<size_t> offsets;  ///< one per buffer, multiples of kBufferAlignment
  size_t bytes = 0;             ///< size of the block
  size_t unplanned = 0;         ///< what the buffers need without sharing
};

/// True when two buffers, given by their numbers, must not share bytes.
using Together = std::function<bool(size_t, size_t)>;

/// Places buffers so that those with overlapping lifetimes do not overlap in memory. Greedy:
/// largest first, each into the tightest gap between those already placed. Deterministic. Sizes
/// must be small enough that their sum does not overflow.
ArenaPlan plan_arena(std::span<const Lifetime> buffers);
/// The same where more than lifetimes keeps buffers apart.
ArenaPlan plan_arena(std::span<const Lifetime> buffers, const Together& together);

/// Largest sum of live bytes over all steps: no plan can be smaller.
size_t arena_lower_bound(std::span<const Lifetime> buffers);

}  // namespace tintype
