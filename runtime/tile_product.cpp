// Products by tiles of bf16: what a call of a kernel computes, panel by panel.
#include "runtime/tile_product.h"

#include "runtime/cpu_features.h"
#include "runtime/scratch.h"
#include "runtime/tile_block.h"

#include <HalideRuntime.h>
#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tintype {

namespace {

bool find_tile_unit() {
#if defined(__x86_64__) && defined(__linux__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTiles = 1u << 24, kBf16Tiles = 1u << 22, kBf16Vectors = 1u << 5;
  if (amx_tile_loops() == nullptr || !cpu_has("avx512_sapphirerapids")) return false;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTiles) == 0 || (d & kBf16Tiles) == 0)
    return false;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a & kBf16Vectors) == 0) return false;
  // Linux gives a process the registers of tiles when it asks for them.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

const TileLoops& loops() {
  static const TileLoops& found = has_tile_unit() ? *amx_tile_loops() : portable_tile_loops();
  return found;
}

int64_t round_up(int64_t n, int64_t m) { return (n + m - 1) / m * m; }

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

void pack_panel(const TileWeights& w, int64_t depth, int columns, int terms, uint16_t* panel) {
  const TileLoops& run = loops();
  constexpr int64_t kTile = 16 * kTileDepth;
  if (w.row == 1 && w.column != 1 && w.group >= depth) {
    for (int64_t k = 0; k < depth; k += kTileDepth)
      for (int tile = 0; tile < 2; ++tile)
        run.split_tile(w.data + k + 16 * tile * w.column, w.column,
                       std::clamp(columns - 16 * tile, 0, 16),
                       static_cast<int>(std::min<int64_t>(kTileDepth, depth - k)), terms,
                       panel + k * kPanelRow * terms + tile * kTile, 2 * kTile);
    return;
  }
  float rows[2][16];
  for (int64_t k = 0; k < round_up(depth, kTileDepth); k += 2)
    for (int tile = 0; tile < 2; ++tile) {
      uint16_t* to = panel + k / kTileDepth * kTileDepth * kPanelRow * terms + tile * kTile +
                     k % kTileDepth / 2 * 32;
      const int some = std::clamp(columns - 16 * tile, 0, 16);
      const float* pair[2];
      for (int i = 0; i < 2; ++i) {
        const bool inside = k + i < depth;
        const float* from = inside ? w.at(k + i) + 16 * tile * w.column : nullptr;
        pair[i] = rows[i];
        if (inside && some == 16 && w.column == 1) pair[i] = from;
        else
          for (int c = 0; c < 16; ++c) rows[i][c] = inside && c < some ? from[c * w.column] : 0.0f;
      }
      run.split_pair(pair[0], pair[1], terms, to, kTile * 2);
    }
}

/// The weights of a call, panel by panel.
class Panels {
 public:
  /// `count` packed ones, a panel `stride` elements from the next.
  Panels(const uint16_t* packed, int64_t stride, int64_t count)
      : packed_(packed), stride_(stride), count_(count) {}
  /// Others: `groups` matrices, `apart` elements from each other, become packed below each other.
  Panels(const TileWeights& w, int64_t groups, int64_t apart, int64_t depth, int64_t columns,
         int terms)
      : count_((columns + kTileColumns - 1) / kTileColumns), w_(w), groups_(groups), apart_(apart),
        depth_(depth), columns_(columns), terms_(terms),
        block_(
            std::make_unique<Block>(2 * groups * round_up(depth, kTileDepth) * kPanelRow * terms)) {
  }

  bool ready() const { return packed_ != nullptr || block_->as<uint16_t>() != nullptr; }
  int64_t count() const { return count_; }
  /// Of all panels, those filled up included where they are packed.
  int64_t columns() const { return packed_ != nullptr ? count_ * kTileColumns : columns_; }
  bool adjacent() const { return packed_ != nullptr; }

  const uint16_t* panel(int64_t index) const {
    if (packed_ != nullptr) return packed_ + index * stride_;
    auto* to = block_->as<uint16_t>();
    const int64_t first = index * kTileColumns;
    for (int64_t g = 0; g < groups_; ++g) {
      TileWeights w = w_;
      w.data += g * apart_ + first * w.column;
      pack_panel(w, depth_, static_cast<int>(std::min<int64_t>(columns_ - first, kTileColumns)),
                 terms_, to + g * round_up(depth_, kTileDepth) * kPanelRow * terms_);
    }
    return to;
  }

 private:
  const uint16_t* packed_ = nullptr;
  int64_t stride_ = 0, count_ = 0;
  TileWeights w_{};
  int64_t groups_ = 0, apart_ = 0, depth_ = 0, columns_ = 0;
  int terms_ = 0;
  std::unique_ptr<Block> block_;
};

/// Steps of a panel that stay in the first-level cache while all rows use them, and the next ones
/// are fetched.
int64_t steps_at_once(int64_t rows, int terms) {
  const int64_t bytes = rows <= 32 ? 32 << 10 : 16 << 10;
  return std::max<int64_t>(1, bytes / (2 * kTileDepth * kPanelRow * terms));
}

/// One panel's sums of b.rows rows. The next panel lies behind this one, if there is one.
void multiply_panel(TileBlock b, int64_t steps, bool last) {
  const int64_t chunk = steps_at_once(b.rows, b.terms);
  const int64_t step = kTileDepth * kPanelRow * b.terms;
  b.accumulate = false;
  for (int64_t s = 0; s < steps; s += chunk) {
    b.steps = std::min(chunk, steps - s);
    const int64_t left = last ? steps - s - b.steps : chunk;
    b.next = reinterpret_cast<const char*>(b.panel + b.steps * step);
    b.next_bytes = 2 * step * std::min(chunk, left);
    loops().multiply(b);
    b.panel += b.steps * step;
    b.offsets += b.steps;
    b.accumulate = true;
  }
}

/// The unit is set up on this thread as long as one of these exists.
class UnitInUse {
 public:
  UnitInUse() { loops().begin(); }
  ~UnitInUse() { loops().end(); }
  UnitInUse(const UnitInUse&) = delete;
  UnitInUse& operator=(const UnitInUse&) = delete;
};

int64_t min_of(const halide_buffer_t& b, int d) { return b.dim[d].min; }
int64_t extent_of(const halide_buffer_t& b, int d) { return b.dim[d].extent; }
int64_t stride_of(const halide_buffer_t& b, int d) { return b.dim[d].stride; }
int64_t end_of(const halide_buffer_t& b, int d) { return min_of(b, d) + extent_of(b, d); }
float* floats(const halide_buffer_t& b) { return reinterpret_cast<float*>(b.host); }
bool asks(const halide_buffer_t& b) { return b.host == nullptr; }

/// The element of a buffer at the start of dimension 0, at a place in the others.
float* line_of(const halide_buffer_t& b, const int64_t* place) {
  float* p = floats(b) - min_of(b, 0) * stride_of(b, 0);
  for (int d = 1; d < b.dimensions; ++d) p += (place[d] - min_of(b, d)) * stride_of(b, d);
  return p;
}

bool is_empty(const halide_buffer_t& b) {
  for (int d = 0; d < b.dimensions; ++d)
    if (extent_of(b, d) <= 0) return true;
  return false;
}

bool is_packed(const halide_buffer_t& w) { return w.type.bits == 16; }

struct Matrix {
  const float* data;
  int64_t row, column;  ///< elements from one to the next
};

/// A matrix's rows, `depth` neighbours or not, to terms: [term][row][stride].
void split_rows(const Matrix& a, int64_t rows, int64_t depth, int64_t stride, int terms,
                uint16_t* to) {
  constexpr int64_t kAtOnce = 256;
  float gathered[kAtOnce];
  const int64_t whole = round_up(depth, kTileDepth);
  if (a.column != 1 && a.row == 1) {
    for (int64_t r = 0; r < rows; r += kTileRows) {
      uint16_t* at[kMostTerms];
      for (int t = 0; t < terms; ++t) at[t] = to + (t * rows + r) * stride;
      loops().split_columns(a.data + r, a.column,
                            static_cast<int>(std::min<int64_t>(kTileRows, rows - r)), depth, terms,
                            at, stride);
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    uint16_t* at[kMostTerms];
    for (int t = 0; t < terms; ++t) at[t] = to + (t * rows + r) * stride;
    for (int64_t k = 0; k < depth; k += kAtOnce) {
      const int64_t some = a.column == 1 ? depth : std::min(kAtOnce, depth - k);
      const float* from = a.data + r * a.row + k * a.column;
      if (a.column != 1) {
        for (int64_t i = 0; i < some; ++i) gathered[i] = from[i * a.column];
        from = gathered;
      }
      uint16_t* part[kMostTerms];
      for (int t = 0; t < terms; ++t) part[t] = at[t] + k;
      loops().split(from, some, terms, part);
      if (a.column == 1) break;
    }
    for (int t = 0; t < terms; ++t)
      std::memset(at[t] + depth, 0, 2 * static_cast<size_t>(whole - depth));
  }
}

/// Rows that lie an odd number of lines apart spread over all sets of a cache.
int64_t spread(int64_t elements) {
  constexpr int64_t kLine = 32;
  const int64_t lines = (elements + kLine - 1) / kLine;
  return (lines | 1) * kLine;
}

struct Offsets {
  explicit Offsets(int64_t count) : block(8 * count) {}
  int64_t* data() const { return block.as<int64_t>(); }
  Block block;
};

// A result is [column, row, panel, ...], a panel's rows below each other: kernels read it from the
// caches and put it where it belongs. They may ask for rows and panels that do not exist, which
// they then do not read.

int64_t end_panel(const halide_buffer_t& out, int64_t panels) {
  return std::min(end_of(out, 2), panels);
}

/// Where the sums of a panel begin, for the stack's place in dimensions from the third on.
float* sums_of(const halide_buffer_t& out, int64_t panel, const int64_t* place) {
  float* p = floats(out) + (panel - min_of(out, 2)) * stride_of(out, 2);
  for (int d = 3; d < out.dimensions; ++d) p += (place[d] - min_of(out, d)) * stride_of(out, d);
  return p;
}

/// All panels of a block of rows; `columns` of the whole product.
void multiply_panels(TileBlock b, const Panels& panels, int64_t steps, int64_t columns,
                     const int64_t* place, const halide_buffer_t& out) {
  const UnitInUse unit;
  const int64_t end = end_panel(out, panels.count());
  for (int64_t p = min_of(out, 2); p < end; ++p) {
    b.panel = panels.panel(p);
    b.sums = sums_of(out, p, place);
    b.columns = static_cast<int>(std::min<int64_t>(columns - p * kTileColumns, kTileColumns));
    multiply_panel(b, steps, p + 1 == end || !panels.adjacent());
  }
}

// ---- dot ------------------------------------------------------------------------------------

/// Rows of one matrix of a stack as terms.
class MatrixTerms {
 public:
  /// `rows` of them from `first` on.
  MatrixTerms(const halide_buffer_t& a, int64_t first, int64_t rows, int terms)
      : a_(a), first_(first), rows_(rows), depth_(extent_of(a, 0)), stride_(spread(depth_)),
        terms_(terms), block_(2 * (terms * rows + kTileRows) * stride_), offsets_(steps()) {
    for (int64_t s = 0; ready() && s < steps(); ++s) offsets_.data()[s] = s * kTileDepth;
  }

  bool ready() const { return block_.as<uint16_t>() != nullptr && offsets_.data() != nullptr; }
  int64_t steps() const { return (depth_ + kTileDepth - 1) / kTileDepth; }
  /// The matrix at places of a's dimensions from the second on.
  void read(int64_t* place) const {
    place[1] = first_;
    split_rows({line_of(a_, place), stride_of(a_, 1), stride_of(a_, 0)}, rows_, depth_, stride_,
               terms_, block_.as<uint16_t>());
  }
  TileBlock block() const {
    TileBlock b{};
    for (int t = 0; t < terms_; ++t) b.left[t] = block_.as<uint16_t>() + t * rows_ * stride_;
    b.left_row = stride_;
    b.offsets = offsets_.data();
    b.rows = rows_;
    b.terms = terms_;
    return b;
  }

 private:
  const halide_buffer_t& a_;
  int64_t first_, rows_, depth_, stride_;
  int terms_;
  Block block_;
  Offsets offsets_;
};

/// Where a stack of matrices has the one for a place in the dimensions of a result.
int64_t in_stack(const halide_buffer_t& b, int d, const int64_t* place) {
  return extent_of(b, d) == 1 ? min_of(b, d) : place[d + 1];
}

bool is_stack(const halide_buffer_t& b, int first, int end) {
  for (int d = first; d < end; ++d)
    if (extent_of(b, d) > 1) return true;
  return false;
}

/// The weights of a product at a place of the result, [N, K, ...] or [columns, rows, ..., panels].
Panels weights_at(const halide_buffer_t& w, const int64_t* place, int64_t depth, int terms) {
  int64_t offset = 0;
  const int end = is_packed(w) ? w.dimensions - 1 : w.dimensions;
  for (int d = 2; d < end; ++d) offset += (in_stack(w, d, place) - min_of(w, d)) * stride_of(w, d);
  if (is_packed(w))
    return Panels(reinterpret_cast<const uint16_t*>(w.host) + offset, stride_of(w, end),
                  extent_of(w, end));
  return Panels(TileWeights{floats(w) + offset, stride_of(w, 1), stride_of(w, 0), depth}, 1, 0,
                depth, extent_of(w, 0), terms);
}

/// Calls with every place of the dimensions from `first` on.
template <typename F>
int for_each_place(const halide_buffer_t& out, int first, int64_t* place, F f) {
  if (first >= out.dimensions) return f();
  const int64_t begin = min_of(out, first);
  for (int64_t i = 0; i < extent_of(out, first); ++i) {
    place[first] = begin + i;
    if (const int error = for_each_place(out, first + 1, place, f); error != 0) return error;
  }
  return 0;
}

// ---- conv -----------------------------------------------------------------------------------

struct Window {
  int64_t width, height, stride_x, stride_y, dilation;
  int64_t line;      ///< rows of the sums between two lines of the result
  bool written_out;  ///< a window's lines are copied next to each other, row by row
};

/// The part of an image that some lines of the result need, as terms.
///
/// Channels in whole steps and strides of 1: the image itself is the left side. Rows of the sums
/// are its places, line after line, those between the lines of the result included. Else every line
/// of a window is written out, at a multiple of whole steps from the next; lines of the image whose
/// numbers have the same rest by the stride lie together, so that rows are exactly the results.
class ImageTerms {
 public:
  ImageTerms(const halide_buffer_t& x, const halide_buffer_t& out, const Window& w, int terms)
      : x_(x), w_(w), terms_(terms), planar_(x.dimensions == 4), channels_(extent_of(x, 0)),
        first_line_(planar_ ? min_of(out, 1) / w.line : 0),
        first_column_(planar_ ? 0 : min_of(out, 1)), end_(min_of(out, 1) + extent_of(out, 1)) {
    const int64_t all = places(1, w.stride_x, w.width);
    columns_ = planar_ ? all : std::min(end_, all) - first_column_;
    rows_ = 1;
    if (planar_)
      rows_ = std::min((end_ + w.line - 1) / w.line,
                       places(2, w.stride_y, (w.height - 1) * w.dilation + 1)) -
              first_line_;
    width_ = (columns_ - 1) * w.stride_x + w.width;
    lines_ = (rows_ - 1) * w.stride_y + (w.height - 1) * w.dilation + 1;
    run_ = round_up(w.width * channels_, kTileDepth);
    row_ = w.written_out ? spread(run_) : channels_;
    line_ = w.written_out ? columns_ * row_ : width_ * channels_;
    per_rest_ = (lines_ + w.stride_y - 1) / w.stride_y;
    // Tiles read whole steps: behind the last element, too.
    const int64_t stored = w.written_out ? w.stride_y * per_rest_ * line_ : lines_ * line_;
    elements_ = round_up(stored + kTileDepth, kTileDepth);
    const int64_t more = kTileRows * row_;
    if (empty()) return;
    block_.emplace(2 * (terms * elements_ + more));
    gathered_.emplace(4 * width_ * channels_);
    if (w.written_out) line_block_.emplace(2 * terms * line_elements());
  }

  bool empty() const { return columns_ <= 0 || rows_ <= 0; }
  bool ready() const {
    return block_->as<uint16_t>() != nullptr && gathered_->as<float>() != nullptr &&
           (!line_block_ || line_block_->as<uint16_t>() != nullptr);
  }
  const uint16_t* term(int t) const { return block_->as<uint16_t>() + t * elements_; }
  int64_t row() const { return row_; }
  int64_t rows() const { return (rows_ - 1) * (w_.written_out ? columns_ : width_) + columns_; }
  int64_t steps() const { return run_ / kTileDepth * w_.height; }
  /// Where step `s` of a row lies.
  int64_t offset(int64_t s) const {
    const int64_t steps = run_ / kTileDepth, y = s / steps * w_.dilation,
                  within = s % steps * kTileDepth;
    return (w_.written_out ? y % w_.stride_y * per_rest_ + y / w_.stride_y : y) * line_ + within;
  }

  void read(int64_t image) const {
    const int last = x_.dimensions - 1;
    int64_t place[4] = {0, first_column_ * w_.stride_x, 0, 0};
    place[last] = image;
    for (int64_t y = 0; y < lines_; ++y) {
      if (planar_) place[2] = first_line_ * w_.stride_y + y;
      uint16_t* to[kMostTerms];
      for (int t = 0; t < terms_; ++t) to[t] = w_.written_out ? line(t) : at(t, y * line_);
      split_line(line_of(x_, place), to);
      if (!w_.written_out) continue;
      for (int t = 0; t < terms_; ++t) {
        std::memset(to[t] + width_ * channels_, 0, 2 * kTileDepth);
        loops().copy_runs(to[t], w_.stride_x * channels_, columns_, run_ / kTileDepth,
                          at(t, (y % w_.stride_y * per_rest_ + y / w_.stride_y) * line_), row_);
      }
    }
    if (w_.written_out) return;
    const int64_t used = lines_ * line_;
    for (int t = 0; t < terms_; ++t)
      std::memset(at(t, used), 0, 2 * static_cast<size_t>(elements_ - used));
  }

 private:
  int64_t places(int d, int64_t stride, int64_t span) const {
    return end_of(x_, d) < span ? 0 : (end_of(x_, d) - span) / stride + 1;
  }
  int64_t line_elements() const { return round_up(width_ * channels_ + kTileDepth, kTileDepth); }
  uint16_t* line(int t) const { return line_block_->as<uint16_t>() + t * line_elements(); }
  uint16_t* at(int t, int64_t i) const { return block_->as<uint16_t>() + t * elements_ + i; }

  void split_line(const float* from, uint16_t* const* to) const {
    const int64_t channel = stride_of(x_, 0), column = stride_of(x_, 1);
    if (channel != 1 || column != channels_) {  // channels of other places lie between, or planes
      auto* gathered = gathered_->as<float>();
      for (int64_t c = 0; c < channels_; ++c)
        for (int64_t i = 0; i < width_; ++i)
          gathered[i * channels_ + c] = from[i * column + c * channel];
      from = gathered;
    }
    loops().split(from, width_ * channels_, terms_, to);
  }

  const halide_buffer_t& x_;
  Window w_;
  int terms_;
  bool planar_;
  int64_t channels_, first_line_, first_column_, end_;
  int64_t columns_ = 0, rows_ = 0;  ///< of the result
  int64_t width_ = 0, lines_ = 0;   ///< of the image
  int64_t run_ = 0;                 ///< elements of a window's line, in whole steps
  int64_t row_ = 0, line_ = 0;      ///< elements from row to row of the left side, line to line
  int64_t per_rest_ = 0;            ///< lines of the image with the same rest
  int64_t elements_ = 0;            ///< of a term
  std::optional<Block> block_, line_block_, gathered_;
};

void need(halide_buffer_t& b, int d, int64_t min, int64_t extent) {
  b.dim[d].min = static_cast<int32_t>(min);
  b.dim[d].extent = static_cast<int32_t>(extent);
}

}  // namespace

bool has_tile_unit() {
  static const bool found = find_tile_unit();
  return found;
}

int64_t packed_tile_elements(int64_t depth, int64_t columns, int terms) {
  return round_up(depth, kTileDepth) * round_up(columns, kTileColumns) * terms;
}

void pack_tile_panel(const TileWeights& w, int64_t depth, int columns, int terms, uint16_t* panel) {
  pack_panel(w, depth, columns, terms, panel);
}

}  // namespace tintype

using namespace tintype;

extern "C" {

int tintype_tile_dot(halide_buffer_t* a, halide_buffer_t* w, int32_t terms, halide_buffer_t* out) {
  if (asks(*a) || asks(*out)) {
    if (!asks(*a)) return 0;
    need(*a, 0, 0, extent_of(*a, 0));
    need(*a, 1, min_of(*out, 1), extent_of(*out, 1));
    for (int d = 2; d < a->dimensions; ++d)
      need(*a, d, min_of(*out, d + 1), extent_of(*out, d + 1));
    return 0;
  }
  if (is_empty(*out)) return 0;
  const int64_t rows = std::min(extent_of(*out, 1), end_of(*a, 1) - min_of(*out, 1));
  if (rows <= 0) return 0;
  const bool lefts = is_stack(*a, 2, a->dimensions),
             rights = is_stack(*w, 2, is_packed(*w) ? w->dimensions - 1 : w->dimensions);
  const int64_t depth = extent_of(*a, 0);
  const MatrixTerms left(*a, min_of(*out, 1), rows, terms);
  if (!left.ready()) return halide_error_code_out_of_memory;
  int64_t place[16] = {0};
  for (int d = 3; d < out->dimensions; ++d) place[d] = min_of(*out, d);
  std::optional<Panels> panels;
  bool read = false;
  return for_each_place(*out, 3, place, [&] {
    if (!read || lefts) {
      int64_t at[16] = {0};
      for (int d = 2; d < a->dimensions; ++d) at[d] = in_stack(*a, d, place);
      left.read(at);
      read = true;
    }
    if (!panels || rights) panels.emplace(weights_at(*w, place, depth, terms));
    if (!panels->ready()) return static_cast<int>(halide_error_code_out_of_memory);
    multiply_panels(left.block(), *panels, left.steps(), panels->columns(), place, *out);
    return 0;
  });
}

int tintype_tile_conv(halide_buffer_t* x, halide_buffer_t* w, int32_t width, int32_t height,
                      int32_t stride_x, int32_t stride_y, int32_t dilation, int32_t line,
                      int32_t written_out, int32_t terms, halide_buffer_t* out) {
  const Window window{width, height, stride_x, stride_y, dilation, line, written_out != 0};
  const int last = x->dimensions - 1;
  if (asks(*x) || asks(*out)) {
    // Operands of kernels exist as a whole; only a stage of a kernel would have to be told.
    if (!asks(*x)) return 0;
    need(*x, 1, 0, (int64_t{line} - 1) * stride_x + width);
    if (last == 3) {
      const int64_t first = min_of(*out, 1) / line,
                    lines = (min_of(*out, 1) + extent_of(*out, 1) + line - 1) / line - first;
      need(*x, 2, first * stride_y, (lines - 1) * stride_y + (height - 1) * dilation + 1);
    }
    need(*x, last, min_of(*out, 3), extent_of(*out, 3));
    return 0;
  }
  if (is_empty(*out)) return 0;
  const int64_t channels = extent_of(*x, 0);
  const int64_t columns = is_packed(*w) ? extent_of(*w, last) * kTileColumns : extent_of(*w, 0);
  const TileWeights rows{floats(*w), stride_of(*w, 1), stride_of(*w, 0), channels,
                         stride_of(*w, 2)};
  const Panels panels = is_packed(*w) ? Panels(reinterpret_cast<const uint16_t*>(w->host),
                                               stride_of(*w, last), extent_of(*w, last))
                                      : Panels(rows, height, last == 3 ? stride_of(*w, 3) : 0,
                                               width * channels, columns, terms);
  const ImageTerms image(*x, *out, window, terms);
  if (image.empty()) return 0;
  const Offsets offsets(image.steps());
  if (!panels.ready() || !image.ready() || offsets.data() == nullptr)
    return halide_error_code_out_of_memory;
  for (int64_t s = 0; s < image.steps(); ++s) offsets.data()[s] = image.offset(s);
  TileBlock b{};
  for (int t = 0; t < terms; ++t) b.left[t] = image.term(t);
  b.left_row = image.row();
  b.offsets = offsets.data();
  b.rows = image.rows();
  b.terms = terms;
  int64_t place[16] = {0};
  return for_each_place(*out, 3, place, [&] {
    image.read(place[3]);
    multiply_panels(b, panels, image.steps(), columns, place, *out);
    return 0;
  });
}

int tintype_tile_pack(halide_buffer_t* w, int32_t column, int32_t row, int32_t terms,
                      halide_buffer_t* out) {
  const int last = out->dimensions - 1;
  if (asks(*w) || asks(*out)) {
    if (!asks(*w)) return 0;
    for (int d = 0; d < w->dimensions; ++d) need(*w, d, 0, extent_of(*w, d));
    return 0;
  }
  // With a stack of matrices: its dimension of w, the third of the result.
  const int stack = w->dimensions == 3 ? 3 - column - row : -1;
  int64_t place[4] = {0};
  return for_each_place(*out, 2, place, [&] {
    const int64_t first = place[last] * kTileColumns;
    const auto columns =
        static_cast<int>(std::min<int64_t>(extent_of(*w, column) - first, kTileColumns));
    if (columns <= 0) return 0;
    const float* from = floats(*w) + first * stride_of(*w, column) +
                        (stack < 0 ? 0 : place[2] * stride_of(*w, stack));
    auto* to = reinterpret_cast<uint16_t*>(out->host);
    for (int d = 2; d <= last; ++d) to += (place[d] - min_of(*out, d)) * stride_of(*out, d);
    const int64_t depth = extent_of(*w, row);
    pack_panel({from, stride_of(*w, row), stride_of(*w, column), depth}, depth, columns, terms, to);
    return 0;
  });
}

}  // extern "C"
