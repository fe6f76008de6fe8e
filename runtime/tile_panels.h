// What the stages of tile products share: scratch memory, buffers, panels of weights, and the loops
// over them.
#pragma once

#include "runtime/scratch.h"
#include "runtime/tile_block.h"

#include <HalideRuntime.h>
#include <algorithm>
#include <cstdint>

namespace tintype::tiles {

/// The loops of this computer.
const TileLoops& loops();

inline int64_t round_up(int64_t n, int64_t m) { return (n + m - 1) / m * m; }

/// Scratch memory of a call.
class Block {
 public:
  explicit Block(int64_t bytes) : data_(scratch_allocate(static_cast<size_t>(bytes))) {}
  ~Block() {
    if (data_ != nullptr) scratch_free(data_);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
};

/// Elements of a packed panel per row and term.
constexpr int64_t kPanelRow = kTileColumns;

/// Rows that lie an odd number of lines apart spread over all sets of a cache.
inline int64_t spread(int64_t elements) {
  constexpr int64_t kLine = 32;
  const int64_t lines = (elements + kLine - 1) / kLine;
  return (lines | 1) * kLine;
}

struct Offsets {
  explicit Offsets(int64_t count) : block(8 * count) {}
  int64_t* data() const { return block.as<int64_t>(); }
  Block block;
};

/// One step of a panel, from row `k` on.
void pack_step(const TileWeights& w, int64_t k, int64_t depth, int columns, int terms,
               uint16_t* to);

/// The weights of a call: packed ones, or others, some steps of which are packed at a time.
class Panels {
 public:
  /// `count` packed panels, `stride` elements from each other.
  Panels(const uint16_t* packed, int64_t stride, int64_t count)
      : packed_(packed), stride_(stride), count_(count) {}
  /// Below each other: matrices of `depth` rows, `apart` elements from each other.
  Panels(const TileWeights& w, int64_t apart, int64_t depth, int64_t columns, int terms)
      : count_((columns + kTileColumns - 1) / kTileColumns), w_(w), apart_(apart), depth_(depth),
        columns_(columns), terms_(terms), steps_((depth + kTileDepth - 1) / kTileDepth) {}

  int64_t count() const { return count_; }
  /// Of all panels, those filled up included where they are packed.
  int64_t columns() const { return packed_ != nullptr ? count_ * kTileColumns : columns_; }
  bool packed() const { return packed_ != nullptr; }
  const uint16_t* panel(int64_t index) const { return packed_ + index * stride_; }

  /// Packs `count` steps of a panel from `step` on.
  void pack(int64_t index, int64_t step, int64_t count, uint16_t* to) const {
    const int64_t first = index * kTileColumns;
    const auto columns = static_cast<int>(std::min<int64_t>(columns_ - first, kTileColumns));
    for (int64_t s = step; s < step + count; ++s, to += kTileDepth * kPanelRow * terms_) {
      TileWeights w = w_;
      w.data += s / steps_ * apart_ + first * w.column;
      pack_step(w, s % steps_ * kTileDepth, depth_, columns, terms_, to);
    }
  }

 private:
  const uint16_t* packed_ = nullptr;
  int64_t stride_ = 0, count_ = 0;
  TileWeights w_{};
  int64_t apart_ = 0, depth_ = 0, columns_ = 0;
  int terms_ = 0;
  int64_t steps_ = 0;  ///< of a group
};

/// The unit is set up on this thread as long as one of these exists.
class UnitInUse {
 public:
  UnitInUse() { loops().begin(); }
  ~UnitInUse() { loops().end(); }
  UnitInUse(const UnitInUse&) = delete;
  UnitInUse& operator=(const UnitInUse&) = delete;
};

// ---- buffers --------------------------------------------------------------------------------

inline int64_t min_of(const halide_buffer_t& b, int d) { return b.dim[d].min; }
inline int64_t extent_of(const halide_buffer_t& b, int d) { return b.dim[d].extent; }
inline int64_t stride_of(const halide_buffer_t& b, int d) { return b.dim[d].stride; }
inline int64_t end_of(const halide_buffer_t& b, int d) { return min_of(b, d) + extent_of(b, d); }
inline float* floats(const halide_buffer_t& b) { return reinterpret_cast<float*>(b.host); }
/// Elements are bf16, else f32.
inline bool is_bf16(const halide_buffer_t& b) { return b.type.bits == 16; }
inline bool asks(const halide_buffer_t& b) { return b.host == nullptr; }

/// The element of a buffer at the start of dimension 0, at a place in the others.
template <typename T>
inline const T* line_of(const halide_buffer_t& b, const int64_t* place) {
  const T* p = reinterpret_cast<const T*>(b.host) - min_of(b, 0) * stride_of(b, 0);
  for (int d = 1; d < b.dimensions; ++d) p += (place[d] - min_of(b, d)) * stride_of(b, d);
  return p;
}

inline bool is_empty(const halide_buffer_t& b) {
  for (int d = 0; d < b.dimensions; ++d)
    if (extent_of(b, d) <= 0) return true;
  return false;
}

inline bool is_packed(const halide_buffer_t& w) { return is_bf16(w); }

/// A buffer that asks for a part of an operand.
inline void need(halide_buffer_t& b, int d, int64_t min, int64_t extent) {
  b.dim[d].min = static_cast<int32_t>(min);
  b.dim[d].extent = static_cast<int32_t>(extent);
}

/// Calls with every place of the dimensions from `first` on.
template <typename F>
inline int for_each_place(const halide_buffer_t& out, int first, int64_t* place, F f) {
  if (first >= out.dimensions) return f();
  const int64_t begin = min_of(out, first);
  for (int64_t i = 0; i < extent_of(out, first); ++i) {
    place[first] = begin + i;
    if (const int error = for_each_place(out, first + 1, place, f); error != 0) return error;
  }
  return 0;
}

/// The panels that a result asks for, of those that exist. A result is [column, row, panel, ...], a
/// panel's rows below each other: kernels read it from the caches and put it where it belongs. They
/// may ask for rows and panels that do not exist, which they then do not read.
inline int64_t end_panel(const halide_buffer_t& out, int64_t panels) {
  return std::min(end_of(out, 2), panels);
}

/// Where the sums of a panel begin, for the place in dimensions from the third on.
inline float* sums_of(const halide_buffer_t& out, int64_t panel, const int64_t* place) {
  float* p = floats(out) + (panel - min_of(out, 2)) * stride_of(out, 2);
  for (int d = 3; d < out.dimensions; ++d) p += (place[d] - min_of(out, d)) * stride_of(out, d);
  return p;
}

inline int wanted_columns(int64_t columns, int64_t panel) {
  return static_cast<int>(std::min<int64_t>(columns - panel * kTileColumns, kTileColumns));
}

/// All panels of a block of rows.
int multiply_panels(TileBlock b, const Panels& panels, int64_t steps, const int64_t* place,
                    const halide_buffer_t& out);

}  // namespace tintype::tiles
