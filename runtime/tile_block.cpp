// Tile products on any CPU.
#include "runtime/tile_block.h"

#include <cstring>

namespace tintype {

namespace {

uint32_t bits_of(float x) {
  uint32_t b;
  std::memcpy(&b, &x, sizeof b);
  return b;
}

float from_bf16(uint16_t h) {
  const uint32_t b = uint32_t{h} << 16;
  float x;
  std::memcpy(&x, &b, sizeof x);
  return x;
}

/// To the nearest, ties to even; a NaN stays one.
uint16_t to_bf16(float x) {
  const uint32_t b = bits_of(x);
  if ((b & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((b >> 16) | 0x40U);
  return static_cast<uint16_t>((b + 0x7fffU + ((b >> 16) & 1U)) >> 16);
}

void split(const float* x, int64_t count, int terms, uint16_t* const* to) {
  for (int64_t i = 0; i < count; ++i) {
    float rest = x[i];
    for (int t = 0; t < terms; ++t) {
      to[t][i] = to_bf16(rest);
      rest -= from_bf16(to[t][i]);
    }
  }
}

void split_pair(const float* even, const float* odd, int terms, uint16_t* to, int64_t apart) {
  for (int c = 0; c < 16; ++c) {
    float rest[2] = {even[c], odd[c]};
    for (int t = 0; t < terms; ++t)
      for (int i = 0; i < 2; ++i) {
        uint16_t& at = to[t * apart + 2 * c + i];
        at = to_bf16(rest[i]);
        rest[i] -= from_bf16(at);
      }
  }
}

/// One step of one pair of terms, as the unit adds it up: two products at a time.
void add_step(const uint16_t* left, const uint16_t* right, int columns, float* sums) {
  for (int pair = 0; pair < kTileDepth / 2; ++pair)
    for (int i = 0; i < 2; ++i) {
      const float x = from_bf16(left[2 * pair + i]);
      for (int c = 0; c < columns; ++c)
        sums[c] += x * from_bf16(right[(c / 16) * 512 + pair * 32 + 2 * (c % 16) + i]);
    }
}

void multiply(const TileBlock& b) {
  const int columns = b.columns > 16 ? kTileColumns : 16;
  for (int64_t r = 0; r < b.rows; ++r) {
    float* sums = b.sums + r * kTileColumns;
    if (!b.accumulate) std::memset(sums, 0, sizeof(float) * static_cast<size_t>(columns));
    for (int64_t s = 0; s < b.steps; ++s)
      for (int right = 0; right < b.terms; ++right)
        for (int left = 0; left + right < b.terms; ++left)
          add_step(b.left[left] + r * b.left_row + b.offsets[s],
                   b.panel + (s * b.terms + right) * kTileDepth * kTileColumns, columns, sums);
  }
}

void split_columns(const float* const* x, int64_t offset, int64_t step, int rows, int64_t count,
                   int terms, uint16_t* const* to, int64_t to_row) {
  const int64_t whole = (count + kTileDepth - 1) / kTileDepth * kTileDepth;
  const float zero = 0.0f;
  for (int64_t k = 0; k < whole; ++k)
    for (int r = 0; r < rows; ++r) {
      uint16_t* at[kMostTerms];
      for (int t = 0; t < terms; ++t) at[t] = to[t] + r * to_row + k;
      split(k < count ? x[k] + offset + r * step : &zero, 1, terms, at);
    }
}

void split_tile(const float* x, int64_t step, int columns, int depth, int terms, uint16_t* to,
                int64_t apart) {
  for (int k = 0; k < kTileDepth; k += 2) {
    float pair[2][16] = {};
    for (int i = 0; i < 2; ++i)
      for (int c = 0; c < columns && k + i < depth; ++c) pair[i][c] = x[c * step + k + i];
    split_pair(pair[0], pair[1], terms, to + 16 * k, apart);
  }
}

void copy_runs(const uint16_t* from, int64_t from_step, int64_t count, int64_t elements,
               uint16_t* to, int64_t to_step) {
  const int64_t whole = (elements + kTileDepth - 1) / kTileDepth * kTileDepth;
  for (int64_t i = 0; i < count; ++i, from += from_step, to += to_step) {
    std::memcpy(to, from, sizeof(uint16_t) * static_cast<size_t>(elements));
    std::memset(to + elements, 0, sizeof(uint16_t) * static_cast<size_t>(whole - elements));
  }
}

}  // namespace

const TileLoops& portable_tile_loops() {
  static const TileLoops loops = {[] {},      [] {},         multiply,   split,
                                  split_pair, split_columns, split_tile, copy_runs};
  return loops;
}

}  // namespace tintype
