// The innermost loops of tile products: once for AMX, once for any CPU.
#pragma once

#include "runtime/tile_product.h"

#include <cstddef>
#include <cstdint>

namespace tintype {

/// sums[rows, kTileColumns] (+)= left[rows, steps * kTileDepth] panel[steps * kTileDepth, columns].
struct TileBlock {
  const uint16_t* left[kMostTerms];  ///< per term: row 0
  int64_t left_row;                  ///< elements between rows
  const int64_t* offsets;            ///< per step: elements from the start of a row
  int64_t steps;
  const uint16_t* panel;
  float* sums;
  int64_t rows;  ///< rounded up to kTileRows, they may be read and written
  int columns;   ///< of which results are wanted; with 16 and fewer, the others are not written
  int terms;
  bool exact;        ///< rows of the left side from `rows` on must not be read
  bool accumulate;   ///< starts from what `sums` holds
  const char* next;  ///< what is read after this, to be fetched meanwhile
  int64_t next_bytes;
};

/// The loops that a CPU runs.
struct TileLoops {
  /// Around a series of multiply, on one thread.
  void (*begin)();
  void (*end)();
  void (*multiply)(const TileBlock& block);
  /// `count` neighbours to their terms.
  void (*split)(const float* x, int64_t count, int terms, uint16_t* const* to);
  /// Two rows of 16 columns, neighbours in memory, to pairs; per term, `apart` elements on.
  void (*split_pair)(const float* even, const float* odd, int terms, uint16_t* to, int64_t apart);
  /// Columns by their addresses: of `rows` <= 16 rows, the numbers x[k][offset + row * step],
  /// `count` of them, to to[term][row * to_row + k], filled up with 0 to whole steps.
  void (*split_columns)(const float* const* x, int64_t offset, int64_t step, int rows,
                        int64_t count, int terms, uint16_t* const* to, int64_t to_row);
  /// A tile of the panel from weights whose depth lies side by side: x[column * step + k], as
  /// split_pair would make it of `columns` <= 16 and `depth` <= 32.
  void (*split_tile)(const float* x, int64_t step, int columns, int depth, int terms, uint16_t* to,
                     int64_t apart);
  /// `count` runs of `elements`, from places `from_step` apart to `to_step`, filled up with 0 to
  /// whole steps.
  void (*copy_runs)(const uint16_t* from, int64_t from_step, int64_t count, int64_t elements,
                    uint16_t* to, int64_t to_step);
};

/// Those for any CPU, which round as AMX does except for numbers below 2^-126.
const TileLoops& portable_tile_loops();
/// Those for AMX, null where the compiler had none. May only run where has_tile_unit().
const TileLoops* amx_tile_loops();

}  // namespace tintype
