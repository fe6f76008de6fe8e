// Tile products on AMX. Compiled for CPUs that have it, so it includes nothing whose inline
// functions other files use as well.
#include "runtime/tile_block.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)

#include <immintrin.h>

namespace tintype {

namespace {

// Tiles 0 to 3 are sums (rows 0-15 and 16-31 by columns 0-15 and 16-31), 4 and 5 rows of the left
// side, 6 and 7 columns of the panel.
struct alignas(64) TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};

/// Written out in memory: GCC knows that the instruction reads the first eight bytes, not all.
constexpr TileShapes kWholeTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

constexpr int64_t kTile = 16 * 32;  ///< elements of a tile of the panel

template <bool Lower, bool Right>
inline __attribute__((always_inline)) void step_products() {
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (Right) _tile_dpbf16ps(1, 4, 7);
  if constexpr (Lower) _tile_dpbf16ps(2, 5, 6);
  if constexpr (Lower && Right) _tile_dpbf16ps(3, 5, 7);
}

/// What a series of steps fetches meanwhile, into the second-level cache.
struct Ahead {
  const char* at;
  int64_t lines, per_step;

  void fetch() {
    for (int64_t i = 0; i < per_step && lines > 0; ++i, --lines, at += 64)
      _mm_prefetch(at, _MM_HINT_T1);
  }
};

/// Up to 32 rows from `row` on.
template <bool Lower, bool Right, int Terms>
void multiply_rows(const TileBlock& b, int64_t row, Ahead& ahead) {
  const auto left_bytes = static_cast<size_t>(2 * b.left_row);
  constexpr size_t sum_bytes = 4 * kTileColumns;
  float* sums = b.sums + row * kTileColumns;
  float* lower_sums = sums + 16 * kTileColumns;
  if (b.accumulate) {
    _tile_loadd(0, sums, sum_bytes);
    if constexpr (Right) _tile_loadd(1, sums + 16, sum_bytes);
    if constexpr (Lower) _tile_loadd(2, lower_sums, sum_bytes);
    if constexpr (Lower && Right) _tile_loadd(3, lower_sums + 16, sum_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const int64_t first = row * b.left_row, second = first + 16 * b.left_row;
  const uint16_t* panel = b.panel;
  for (int64_t s = 0; s < b.steps; ++s, panel += 2 * kTile * Terms) {
    const int64_t at = b.offsets[s];
    ahead.fetch();
#pragma GCC unroll 3
    for (int right = 0; right < Terms; ++right) {
      _tile_loadd(6, panel + 2 * kTile * right, 64);
      if constexpr (Right) _tile_loadd(7, panel + 2 * kTile * right + kTile, 64);
#pragma GCC unroll 3
      for (int left = 0; left < Terms - right; ++left) {
        _tile_loadd(4, b.left[left] + first + at, left_bytes);
        if constexpr (Lower) _tile_loadd(5, b.left[left] + second + at, left_bytes);
        step_products<Lower, Right>();
      }
    }
  }
  _tile_stored(0, sums, sum_bytes);
  if constexpr (Right) _tile_stored(1, sums + 16, sum_bytes);
  if constexpr (Lower) _tile_stored(2, lower_sums, sum_bytes);
  if constexpr (Lower && Right) _tile_stored(3, lower_sums + 16, sum_bytes);
}

/// Tiles of the left side and of the sums with as many rows as are left, at most 32.
void set_rows(int64_t rows) {
  TileShapes shapes = kWholeTiles;
  const auto upper = static_cast<uint8_t>(rows < 16 ? rows : 16);
  const auto lower = static_cast<uint8_t>(rows > 16 ? rows - 16 : 16);
  shapes.rows[0] = shapes.rows[1] = shapes.rows[4] = upper;
  shapes.rows[2] = shapes.rows[3] = shapes.rows[5] = lower;
  // The builtin tells GCC 12 of the first eight bytes alone.
  asm volatile("ldtilecfg %0" : : "m"(shapes));
}

template <bool Right, int Terms>
void multiply_all(const TileBlock& b) {
  Ahead ahead{b.next, b.next_bytes / 64, 0};
  const int64_t passes = (b.rows + 31) / 32 * b.steps;
  ahead.per_step = passes > 0 ? (ahead.lines + passes - 1) / passes : 0;
  int64_t row = 0;
  for (; row + 32 <= b.rows; row += 32) multiply_rows<true, Right, Terms>(b, row, ahead);
  const int64_t left = b.rows - row;
  if (left == 0) return;
  const bool fewer = b.exact && left % 16 != 0;
  if (fewer) set_rows(left);
  if (left > 16) multiply_rows<true, Right, Terms>(b, row, ahead);
  else multiply_rows<false, Right, Terms>(b, row, ahead);
  if (fewer) _tile_loadconfig(&kWholeTiles);
}

template <int Terms>
void multiply_columns(const TileBlock& b) {
  if (b.columns > 16) multiply_all<true, Terms>(b);
  else multiply_all<false, Terms>(b);
}

void multiply(const TileBlock& b) {
  if (b.terms == 1) multiply_columns<1>(b);
  else if (b.terms == 2) multiply_columns<2>(b);
  else multiply_columns<3>(b);
}

void begin() { _tile_loadconfig(&kWholeTiles); }
void end() { _tile_release(); }

/// What a term of 16 numbers takes away from them.
inline __attribute__((always_inline)) __m512 widened(__m256i term) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(term), 16));
}

inline __attribute__((always_inline)) __m256i narrowed(__m512 x) {
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
}

void split(const float* x, int64_t count, int terms, uint16_t* const* to) {
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    __m512 low = _mm512_loadu_ps(x + i), high = _mm512_loadu_ps(x + i + 16);
    for (int t = 0; t < terms; ++t) {
      const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
      _mm512_storeu_si512(to[t] + i, both);
      if (t + 1 == terms) break;
      low = _mm512_sub_ps(low, widened(_mm512_castsi512_si256(both)));
      high = _mm512_sub_ps(high, widened(_mm512_extracti64x4_epi64(both, 1)));
    }
  }
  for (; i < count; i += 16) {
    const int64_t left = count - i;
    const auto some = static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
    __m512 rest = _mm512_maskz_loadu_ps(some, x + i);
    for (int t = 0; t < terms; ++t) {
      const __m256i term = narrowed(rest);
      _mm256_mask_storeu_epi16(to[t] + i, some, term);
      rest = _mm512_sub_ps(rest, widened(term));
    }
  }
}

/// Row i of 16 by 16 words becomes column i.
inline __attribute__((always_inline)) void transpose(__m512i* r) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88);
    a[i + 4] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
    a[i + 8] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88);
    a[i + 12] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0xdd);
  }
}

/// The terms of two vectors as pairs of 16 bits, and what is left of them.
inline __attribute__((always_inline)) __m512i next_pairs(__m512& even, __m512& odd) {
  const __m512 x = widened(narrowed(even)), y = widened(narrowed(odd));
  even = _mm512_sub_ps(even, x);
  odd = _mm512_sub_ps(odd, y);
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(x), 16), _mm512_castps_si512(y));
}

inline __attribute__((always_inline)) __mmask16 first(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

void split_pair(const float* even, const float* odd, int terms, uint16_t* to, int64_t apart) {
  __m512 a = _mm512_loadu_ps(even), b = _mm512_loadu_ps(odd);
  for (int t = 0; t < terms; ++t) _mm512_storeu_si512(to + t * apart, next_pairs(a, b));
}

void split_columns(const float* const* x, int64_t offset, int64_t step, int rows, int64_t count,
                   int terms, uint16_t* const* to, int64_t to_row) {
  const __mmask16 some = first(rows);
  const __m512i lanes =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(static_cast<int>(step)));
  const auto load = [&](int64_t k) {
    if (k >= count) return _mm512_setzero_ps();
    if (step == 1) return _mm512_maskz_loadu_ps(some, x[k] + offset);
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), some, lanes, x[k] + offset, 4);
  };
  for (int64_t k = 0; k < count; k += kTileDepth) {
    __m512 even[16], odd[16];
    for (int64_t i = 0; i < 16; ++i) {
      even[i] = load(k + 2 * i);
      odd[i] = load(k + 2 * i + 1);
    }
    for (int t = 0; t < terms; ++t) {
      __m512i pairs[16];
      for (int i = 0; i < 16; ++i) pairs[i] = next_pairs(even[i], odd[i]);
      transpose(pairs);
      for (int r = 0; r < rows; ++r) _mm512_storeu_si512(to[t] + r * to_row + k, pairs[r]);
    }
  }
}

void split_tile(const float* x, int64_t step, int columns, int depth, int terms, uint16_t* to,
                int64_t apart) {
  __m512i pairs[kMostTerms][16];
  const __mmask16 low = first(depth), high = first(depth - 16);
  for (int c = 0; c < 16; ++c) {
    const bool inside = c < columns;
    __m512 a = inside ? _mm512_maskz_loadu_ps(low, x + c * step) : _mm512_setzero_ps();
    __m512 b = inside ? _mm512_maskz_loadu_ps(high, x + c * step + 16) : _mm512_setzero_ps();
    for (int t = 0; t < terms; ++t) {
      pairs[t][c] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a));
      a = _mm512_sub_ps(a, widened(_mm512_castsi512_si256(pairs[t][c])));
      b = _mm512_sub_ps(b, widened(_mm512_extracti64x4_epi64(pairs[t][c], 1)));
    }
  }
  for (int t = 0; t < terms; ++t) {
    transpose(pairs[t]);
    for (int p = 0; p < 16; ++p) _mm512_storeu_si512(to + t * apart + 32 * p, pairs[t][p]);
  }
}

void copy_runs(const uint16_t* from, int64_t from_step, int64_t count, int64_t elements,
               uint16_t* to, int64_t to_step) {
  const int64_t whole = elements / kTileDepth * kTileDepth;
  const auto some = static_cast<__mmask32>((uint32_t{1} << (elements - whole)) - 1);
  for (int64_t i = 0; i < count; ++i, from += from_step, to += to_step) {
    for (int64_t k = 0; k < whole; k += kTileDepth)
      _mm512_storeu_si512(to + k, _mm512_loadu_si512(from + k));
    if (whole < elements)
      _mm512_storeu_si512(to + whole, _mm512_maskz_loadu_epi16(some, from + whole));
  }
}

}  // namespace

const TileLoops* amx_tile_loops() {
  static constexpr TileLoops loops = {begin,      end,           multiply,   split,
                                      split_pair, split_columns, split_tile, copy_runs};
  return &loops;
}

}  // namespace tintype

#else

namespace tintype {
const TileLoops* amx_tile_loops() { return nullptr; }
}  // namespace tintype

#endif
