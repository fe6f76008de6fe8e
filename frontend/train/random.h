// Random bits as graph fragments: counter-based, so that every element of every step has its own
// number, whatever the order or the threads.
#pragma once

#include "ir/builder.h"

#include <cstdint>
#include <string_view>

namespace tintype {

/// u32 words of Philox2x32-10 (Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3)
/// with counter (c0, c1) and key, all u32 and broadcast against each other: the first word of each
/// pair.
Value* add_philox(Builder& b, Value* c0, Value* c1, Value* key);

/// Where the numbers of a training program come from.
struct RandomSource {
  Value* seed;  ///< u32 scalar
  Value* step;  ///< i64 scalar
};

/// bool of the given shape, each element true with probability `probability` (to 2^-32), from
/// counter (row-major index, step) and a key made of the seed and `stream`, a name unique in the
/// program.
Value* add_bernoulli(Builder& b, const RandomSource& source, std::string_view stream,
                     const Shape& shape, double probability);

}  // namespace tintype
