// Products of matrices on a unit that multiplies tiles of bf16: Intel's AMX.
//
// An f32 number is the sum of bf16 terms, each the rounded rest of those before: one leaves an
// error of 2^-9, two of 2^-18, three none that f32 could tell. A product of two such sums keeps the
// products of terms i and j with i + j < terms, added up in f32: with two terms it is off by at
// most 3 * 2^-18 of |a| |b|, with three by less than f32's own rounding. An infinity, or what
// rounds to one, becomes NaN; numbers below 2^-126 count as 0. After Henry, Tang, Heinecke:
// Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations
// (ARITH 2019).
//
// Packed weights w[K, N] are panels of kTileColumns columns, a panel one step of kTileDepth rows
// after the other, a step one term after the other, a term two tiles of 16 columns, a tile its rows
// in pairs: [panel][step][term][tile][pair][column][2]. What lies outside w is 0.
#pragma once

#include <cstdint>

struct halide_buffer_t;

namespace tintype {

inline constexpr int kTileRows = 16, kTileColumns = 32, kTileDepth = 32, kMostTerms = 3;

/// Whether this CPU has the unit and the operating system lets this process use it, which the first
/// call asks for. Thread-safe.
bool has_tile_unit();

/// What rows of the left side of a convolution are. Place (x, y) of a result is y * line + x.
enum class TileRows : int32_t {
  /// Places of the image, `line` its width: those between two lines of the result are no results.
  /// For strides of 1 and channels in multiples of kTileDepth.
  places,
  /// A line of a window written out, `line` the width of the result.
  lines,
  /// Windows written out, `line` as before, one image after the other: out has no N.
  windows,
};

/// A matrix of weights by its distances in elements: from one row and one column to the next, and,
/// where rows come in groups, from one group of them to the next.
struct TileWeights {
  const float* data;
  int64_t row, column;
  int64_t group, group_step = 0;  ///< `group` rows lie `row` apart

  const float* at(int64_t r) const { return data + r / group * group_step + r % group * row; }
};

/// One panel of the weights w[depth, columns], columns <= kTileColumns, to `panel`, which takes
/// depth, rounded up to steps, * kTileColumns * terms elements.
void pack_tile_panel(const TileWeights& w, int64_t depth, int columns, int terms, uint16_t* panel);

/// Packed elements of w[depth, columns].
int64_t packed_tile_elements(int64_t depth, int64_t columns, int terms);

}  // namespace tintype

// Stages of kernels. Buffers are Halide's, innermost dimension first; 0 is returned, or a halide
// error code when there is no memory. Left sides are f32, or with one term bf16, which is read in
// place where its rows fill whole steps. Weights are packed where they are 16-bit, else f32, taken
// apart in every call. Results are [column, row, panel, ...] with all kTileColumns columns of a
// panel, and room for rows up to a multiple of kTileRows, which may be written. Thread-safe for
// distinct results.
extern "C" {

/// out[column, M, panel, ...] = a[K, M, ...] w[N, K, ...], or packed w[columns, rows, ..., panels];
/// of a stack of one matrix all places have that.
int tintype_tile_dot(halide_buffer_t* a, halide_buffer_t* w, int32_t terms, halide_buffer_t* out);

/// out[column, place, panel, N]: the valid convolution of x[C, X, N] or x[C, X, Y, N] with
/// w[F, C, X(, Y)], or with packed w[columns, rows, (Y,) panels], whose rows are a window's row of
/// channels. `form` is one of TileRows; windows are dense along X in all forms but `places`.
int tintype_tile_conv(halide_buffer_t* x, halide_buffer_t* w, int32_t width, int32_t height,
                      int32_t stride_x, int32_t stride_y, int32_t dilation_x, int32_t dilation_y,
                      int32_t line, int32_t form, int32_t terms, halide_buffer_t* out);

/// The packed form [columns, rows, panels] of a matrix, or [columns, rows, stack, panels] of a
/// stack. The arguments say which dimensions of w are which; rows may be of two, `row` the inner
/// one, or `group` is -1, as is the stack's where there is none.
int tintype_tile_pack(halide_buffer_t* w, int32_t column, int32_t row, int32_t group, int32_t stack,
                      int32_t terms, halide_buffer_t* out);
}
