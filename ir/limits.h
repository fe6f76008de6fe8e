// How much a model may ask of the compiler before it is refused.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tintype {

/// Every limit that is hit is an Error that names the limit and the node. The defaults leave room
/// for any model that a person exported on purpose.
struct Limits {
  int64_t nodes = 1'000'000;              ///< after functions are inlined
  int depth = 64;                         ///< functions in functions, branches in branches
  int rank = 16;                          ///< extents per tensor
  size_t folded_bytes = size_t{1} << 31;  ///< one tensor made by constant folding
};

}  // namespace tintype
