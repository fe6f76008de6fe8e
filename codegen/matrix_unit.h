// The tiles of a matrix unit, AMX for bf16: 16 positions by 32 steps of the sum, times 32 steps by
// 16 columns, added to 16 by 16 sums of f32. Steps of the right side lie in pairs.
#pragma once

namespace tintype {

inline constexpr int kMatrixRows = 16;     ///< positions of a tile
inline constexpr int kMatrixColumns = 16;  ///< columns of a tile
inline constexpr int kMatrixDepth = 32;    ///< steps of the sum of a tile

}  // namespace tintype
