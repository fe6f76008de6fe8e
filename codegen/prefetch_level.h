// The cache level that prefetches of a kernel fetch into.
#pragma once

#include <vector>

namespace tintype {

/// Turns the prefetches in a kernel's x86-64 object into those for the second-level cache
/// (prefetcht1). Halide writes every prefetch as a non-temporal one, and AMD's processors drop
/// lines fetched so when they leave the first-level cache: a panel of weights larger than that is
/// then read from memory twice. Besides, what is under way to the first level takes up the places
/// that loads of the panel in use need. Objects of other processors, and what is no object, stay as
/// they are.
void fetch_into_second_level(std::vector<char>& object);

}  // namespace tintype
