// Strided copies: normalise the loop nest, then copy rows, transpose tiles or go element by
// element.
#include "runtime/strided.h"

#include "runtime/thread_pool.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace tintype {

namespace {

struct Dim {
  int64_t extent, to, from;
};

// A loop nest of at most kMaxStridedRank dimensions, outermost first.
struct Nest {
  Dim dims[kMaxStridedRank];
  int rank = 0;
  bool empty = false;
};

// Falling destination stride, equal ones in their order. By insertion: few, and without allocating.
void sort_by_destination(Dim* dims, int rank) {
  for (int i = 1; i < rank; ++i)
    for (int j = i; j > 0 && std::abs(dims[j - 1].to) < std::abs(dims[j].to); --j)
      std::swap(dims[j - 1], dims[j]);
}

// Drops extents of 1, orders dimensions by falling destination stride and merges those that are
// contiguous in both operands.
Nest normalise(std::span<const int64_t> extents, std::span<const int64_t> to,
               std::span<const int64_t> from) {
  Nest n;
  for (size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] <= 0) n.empty = true;
    if (extents[i] > 1 && n.rank < static_cast<int>(kMaxStridedRank))
      n.dims[n.rank++] = {extents[i], to[i], from.empty() ? 0 : from[i]};
  }
  sort_by_destination(n.dims, n.rank);
  int kept = 0;
  for (int i = 0; i < n.rank; ++i) {
    const Dim& d = n.dims[i];
    if (kept > 0) {
      Dim& outer = n.dims[kept - 1];
      if (outer.to == d.to * d.extent && outer.from == d.from * d.extent) {
        outer = {outer.extent * d.extent, d.to, d.from};
        continue;
      }
    }
    n.dims[kept++] = d;
  }
  n.rank = kept;
  if (n.rank == 0) n.dims[n.rank++] = {1, 1, 1};
  return n;
}

// Calls body(to offset, from offset) for every index of dims [0, rank) whose flat number lies in
// [begin, end).
template <typename Body>
void walk(const Dim* dims, int rank, int64_t begin, int64_t end, const Body& body) {
  int64_t index[kMaxStridedRank] = {};
  int64_t to = 0, from = 0, rest = begin;
  for (int i = rank - 1; i >= 0; --i) {
    index[i] = rest % dims[i].extent;
    rest /= dims[i].extent;
    to += index[i] * dims[i].to;
    from += index[i] * dims[i].from;
  }
  for (int64_t n = begin; n < end; ++n) {
    body(to, from);
    for (int i = rank - 1; i >= 0; --i) {
      to += dims[i].to;
      from += dims[i].from;
      if (++index[i] < dims[i].extent) break;
      to -= index[i] * dims[i].to;
      from -= index[i] * dims[i].from;
      index[i] = 0;
    }
  }
}

int64_t count_of(const Dim* dims, int rank) {
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= dims[i].extent;
  return n;
}

// Pieces below this many bytes are not worth another thread; a row, however short, takes as long as
// copying this many.
constexpr int64_t kGrainBytes = 64 << 10, kRowBytes = 128;

// Runs body over the outer dimensions, of which each index moves `inner` elements of T.
template <typename T, typename Body>
void for_outer(const Dim* dims, int rank, int64_t inner, const Body& body) {
  const int64_t bytes = std::max<int64_t>(kRowBytes, inner * static_cast<int64_t>(sizeof(T)));
  parallel_for(count_of(dims, rank), std::max<int64_t>(1, kGrainBytes / bytes),
               [&](int64_t begin, int64_t end) { walk(dims, rank, begin, end, body); });
}

// Splits a single long row so that several threads can share it.
Nest split_row(Nest n) {
  constexpr int64_t kRow = 1 << 16;
  if (n.rank != 1 || n.dims[0].extent < 2 * kRow) return n;
  const Dim row = n.dims[0];
  n.dims[0] = {row.extent / kRow, row.to * kRow, row.from * kRow};
  n.dims[1] = {kRow, row.to, row.from};
  n.rank = 2;
  return n;
}

template <typename T>
void copy_row(T* to, int64_t to_stride, const T* from, int64_t from_stride, int64_t count) {
  if (to_stride == 1 && from_stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
  } else if (to_stride == 1 && from_stride == 0) {
    std::fill_n(to, count, *from);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * to_stride] = from[i * from_stride];
  }
}

/// Four elements of 4 bytes in a register; their bits alone matter.
using Four = uint32_t __attribute__((vector_size(16)));

Four load_four(const uint32_t* p) {
  Four v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

void store_four(uint32_t* p, Four v) { std::memcpy(p, &v, sizeof v); }

/// to[j][i] = from[i][j] for 4 x 4 elements.
void transpose_four(uint32_t* to, int64_t to_stride, const uint32_t* from, int64_t from_stride) {
  const Four a = load_four(from), b = load_four(from + from_stride),
             c = load_four(from + 2 * from_stride), d = load_four(from + 3 * from_stride);
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
             ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
             cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
             cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store_four(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
  store_four(to + to_stride, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
  store_four(to + 2 * to_stride, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
  store_four(to + 3 * to_stride, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

// to is contiguous along `inner`, from along `across`: copy tiles that fit the first-level cache,
// four destination rows at a time so that every line read is used at once.
template <typename T>
void copy_tile(T* to, const T* from, int64_t inner, int64_t from_inner, int64_t across,
               int64_t to_across) {
  int64_t j = 0;
  for (; j + 4 <= across; j += 4) {
    int64_t i = 0;
    if constexpr (sizeof(T) == 4)
      for (; i + 4 <= inner; i += 4)
        transpose_four(to + j * to_across + i, to_across, from + i * from_inner + j, from_inner);
    T *r0 = to + j * to_across, *r1 = r0 + to_across, *r2 = r1 + to_across, *r3 = r2 + to_across;
    const T* source = from + i * from_inner + j;
    for (; i < inner; ++i, source += from_inner) {
      r0[i] = source[0];
      r1[i] = source[1];
      r2[i] = source[2];
      r3[i] = source[3];
    }
  }
  for (; j < across; ++j) copy_row(to + j * to_across, 1, from + j, from_inner, inner);
}

// The dimension along which the source is contiguous, or -1 when tiling would not pay.
int transposed_dim(const Nest& n) {
  const Dim& inner = n.dims[n.rank - 1];
  if (inner.to != 1 || inner.from == 1 || inner.from == 0) return -1;
  for (int i = 0; i + 1 < n.rank; ++i)
    if (n.dims[i].from == 1 && n.dims[i].extent >= 4) return i;
  return -1;
}

template <typename T>
void copy_transposed(Nest n, int across_dim, T* to, const T* from) {
  constexpr int64_t kTile = 64;
  const Dim inner = n.dims[n.rank - 1], across = n.dims[across_dim];
  // The outer loops: every other dimension, then tiles of the two.
  std::copy(n.dims + across_dim + 1, n.dims + n.rank - 1, n.dims + across_dim);
  const int rank = n.rank - 2;
  const int64_t tiles_inner = (inner.extent + kTile - 1) / kTile;
  const int64_t tiles_across = (across.extent + kTile - 1) / kTile;
  const int64_t tiles = tiles_inner * tiles_across;
  const int64_t tile_bytes = kTile * kTile * static_cast<int64_t>(sizeof(T));
  parallel_for(count_of(n.dims, rank) * tiles, std::max<int64_t>(1, kGrainBytes / tile_bytes),
               [&](int64_t begin, int64_t end) {
                 for (int64_t k = begin; k < end; ++k) {
                   const int64_t i = k % tiles_inner * kTile;
                   const int64_t j = k / tiles_inner % tiles_across * kTile;
                   walk(n.dims, rank, k / tiles, k / tiles + 1, [&](int64_t t, int64_t f) {
                     copy_tile(to + t + i + j * across.to, from + f + i * inner.from + j,
                               std::min(kTile, inner.extent - i), inner.from,
                               std::min(kTile, across.extent - j), across.to);
                   });
                 }
               });
}

template <typename T>
void copy_nest(const Nest& nest, T* to, const T* from) {
  if (const int across = transposed_dim(nest); across >= 0)
    return copy_transposed(nest, across, to, from);
  const Nest n = split_row(nest);
  const Dim inner = n.dims[n.rank - 1];
  for_outer<T>(n.dims, n.rank - 1, inner.extent, [&](int64_t t, int64_t f) {
    copy_row(to + t, inner.to, from + f, inner.from, inner.extent);
  });
  if (n.rank != nest.rank) {  // what the split left over
    const Dim row = nest.dims[0];
    const int64_t done = n.dims[0].extent * inner.extent;
    copy_row(to + done * row.to, row.to, from + done * row.from, row.from, row.extent - done);
  }
}

template <typename F>
void with_element(size_t element, const F& f) {
  switch (element) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    default: return f(uint64_t{});
  }
}

}  // namespace

void strided_copy(std::span<const int64_t> extents, void* to, std::span<const int64_t> to_strides,
                  const void* from, std::span<const int64_t> from_strides, size_t element) {
  const Nest nest = normalise(extents, to_strides, from_strides);
  if (nest.empty) return;
  with_element(element, [&]<typename T>(T) {
    copy_nest(nest, static_cast<T*>(to), static_cast<const T*>(from));
  });
}

void strided_fill(std::span<const int64_t> extents, void* to, std::span<const int64_t> to_strides,
                  const void* value, size_t element) {
  const Nest nest = normalise(extents, to_strides, {});
  if (nest.empty) return;
  with_element(element, [&]<typename T>(T) {
    T v;
    std::memcpy(&v, value, sizeof v);
    copy_nest(nest, static_cast<T*>(to), &v);
  });
}

bool is_dense(std::span<const int64_t> extents, std::span<const int64_t> strides) {
  if (std::find(extents.begin(), extents.end(), 0) != extents.end()) return true;
  int64_t expected = 1;
  for (size_t i = extents.size(); i-- > 0;) {
    if (extents[i] != 1 && strides[i] != expected) return false;
    expected *= extents[i];
  }
  return true;
}

}  // namespace tintype
