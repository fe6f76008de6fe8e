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

/// One step of a panel, from row `k` on.
void pack_step(const TileWeights& w, int64_t k, int64_t depth, int columns, int terms,
               uint16_t* to) {
  const TileLoops& run = loops();
  constexpr int64_t kTile = 16 * kTileDepth;
  const bool along = w.row == 1 && w.column != 1 && (w.group >= depth || w.group % kTileDepth == 0);
  float rows[2][16];
  for (int tile = 0; tile < 2; ++tile, to += kTile) {
    const int some = std::clamp(columns - 16 * tile, 0, 16);
    if (along) {
      run.split_tile(w.at(k) + 16 * tile * w.column, w.column, some,
                     static_cast<int>(std::min<int64_t>(kTileDepth, depth - k)), terms, to,
                     2 * kTile);
      continue;
    }
    for (int pair = 0; pair < kTileDepth; pair += 2) {
      const float* from[2];
      for (int i = 0; i < 2; ++i) {
        const int64_t row = k + pair + i;
        const float* at = row < depth ? w.at(row) + 16 * tile * w.column : nullptr;
        from[i] = rows[i];
        if (at != nullptr && some == 16 && w.column == 1) from[i] = at;
        else
          for (int c = 0; c < 16; ++c)
            rows[i][c] = at != nullptr && c < some ? at[c * w.column] : 0.0f;
      }
      run.split_pair(from[0], from[1], terms, to + 16 * pair, 2 * kTile);
    }
  }
}

void pack_panel(const TileWeights& w, int64_t depth, int columns, int terms, uint16_t* panel) {
  for (int64_t k = 0; k < depth; k += kTileDepth)
    pack_step(w, k, depth, columns, terms, panel + k * kPanelRow * terms);
}

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

int wanted_columns(int64_t columns, int64_t panel) {
  return static_cast<int>(std::min<int64_t>(columns - panel * kTileColumns, kTileColumns));
}

/// Weights that are not packed: some steps of all panels at a time, so that their rows are read
/// about as they lie, and are used while they are in the first-level cache.
int multiply_unpacked(TileBlock b, const Panels& panels, int64_t steps, const int64_t* place,
                      const halide_buffer_t& out) {
  constexpr int64_t kSteps = 4;
  const Block block(2 * kSteps * kTileDepth * kPanelRow * b.terms);
  if (block.as<uint16_t>() == nullptr) return halide_error_code_out_of_memory;
  const UnitInUse unit;
  const int64_t end = end_panel(out, panels.count());
  b.panel = block.as<uint16_t>();
  for (int64_t s = 0; s < steps; s += kSteps, b.offsets += kSteps) {
    b.steps = std::min(kSteps, steps - s);
    b.accumulate = s > 0;
    for (int64_t p = min_of(out, 2); p < end; ++p) {
      panels.pack(p, s, b.steps, block.as<uint16_t>());
      b.sums = sums_of(out, p, place);
      b.columns = wanted_columns(panels.columns(), p);
      loops().multiply(b);
    }
  }
  return 0;
}

/// All panels of a block of rows.
int multiply_panels(TileBlock b, const Panels& panels, int64_t steps, const int64_t* place,
                    const halide_buffer_t& out) {
  if (!panels.packed()) return multiply_unpacked(b, panels, steps, place, out);
  const UnitInUse unit;
  const int64_t end = end_panel(out, panels.count());
  for (int64_t p = min_of(out, 2); p < end; ++p) {
    b.panel = panels.panel(p);
    b.sums = sums_of(out, p, place);
    b.columns = wanted_columns(panels.columns(), p);
    multiply_panel(b, steps, p + 1 == end);
  }
  return 0;
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
  return Panels(TileWeights{floats(w) + offset, stride_of(w, 1), stride_of(w, 0), depth}, 0, depth,
                extent_of(w, 0), terms);
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
  int64_t width, height, stride_x, stride_y, dilation, line;
  TileRows form;

  bool written_out() const { return form != TileRows::places; }
};

/// Places along a dimension of x of a window that spans so much.
int64_t places(const halide_buffer_t& x, int d, int64_t stride, int64_t span) {
  return end_of(x, d) < span ? 0 : (end_of(x, d) - span) / stride + 1;
}

/// Lines of images as terms.
class LineSplitter {
 public:
  LineSplitter(const halide_buffer_t& x, int64_t width, int terms)
      : x_(x), channels_(extent_of(x, 0)), width_(width), terms_(terms),
        gathered_(4 * width * channels_) {}

  bool ready() const { return gathered_.as<float>() != nullptr; }
  void split(const int64_t* place, uint16_t* const* to) const {
    const float* from = line_of(x_, place);
    const int64_t channel = stride_of(x_, 0), column = stride_of(x_, 1);
    if (channel != 1 || column != channels_) {  // channels of other places lie between, or planes
      auto* gathered = gathered_.as<float>();
      for (int64_t c = 0; c < channels_; ++c)
        for (int64_t i = 0; i < width_; ++i)
          gathered[i * channels_ + c] = from[i * column + c * channel];
      from = gathered;
    }
    loops().split(from, width_ * channels_, terms_, to);
  }

 private:
  const halide_buffer_t& x_;
  int64_t channels_, width_;
  int terms_;
  Block gathered_;
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
    const int64_t all = places(x, 1, w.stride_x, w.width);
    columns_ = planar_ ? all : std::min(end_, all) - first_column_;
    rows_ = 1;
    if (planar_)
      rows_ = std::min((end_ + w.line - 1) / w.line,
                       places(x, 2, w.stride_y, (w.height - 1) * w.dilation + 1)) -
              first_line_;
    width_ = (columns_ - 1) * w.stride_x + w.width;
    lines_ = (rows_ - 1) * w.stride_y + (w.height - 1) * w.dilation + 1;
    run_ = round_up(w.width * channels_, kTileDepth);
    row_ = w.written_out() ? spread(run_) : channels_;
    line_ = w.written_out() ? columns_ * row_ : width_ * channels_;
    per_rest_ = (lines_ + w.stride_y - 1) / w.stride_y;
    // Tiles read whole steps: behind the last element, too.
    const int64_t stored = w.written_out() ? w.stride_y * per_rest_ * line_ : lines_ * line_;
    elements_ = round_up(stored + kTileDepth, kTileDepth);
    const int64_t more = kTileRows * row_;
    if (empty()) return;
    block_.emplace(2 * (terms * elements_ + more));
    splitter_.emplace(x, width_, terms);
    if (w.written_out()) line_block_.emplace(2 * terms * line_elements());
  }

  bool empty() const { return columns_ <= 0 || rows_ <= 0; }
  bool ready() const {
    return block_->as<uint16_t>() != nullptr && splitter_->ready() &&
           (!line_block_ || line_block_->as<uint16_t>() != nullptr);
  }
  const uint16_t* term(int t) const { return block_->as<uint16_t>() + t * elements_; }
  int64_t row() const { return row_; }
  int64_t rows() const { return (rows_ - 1) * (w_.written_out() ? columns_ : width_) + columns_; }
  int64_t steps() const { return run_ / kTileDepth * w_.height; }
  /// Where step `s` of a row lies.
  int64_t offset(int64_t s) const {
    const int64_t steps = run_ / kTileDepth, y = s / steps * w_.dilation,
                  within = s % steps * kTileDepth;
    return (w_.written_out() ? y % w_.stride_y * per_rest_ + y / w_.stride_y : y) * line_ + within;
  }

  void read(int64_t image) const {
    const int last = x_.dimensions - 1;
    int64_t place[4] = {0, first_column_ * w_.stride_x, 0, 0};
    place[last] = image;
    for (int64_t y = 0; y < lines_; ++y) {
      if (planar_) place[2] = first_line_ * w_.stride_y + y;
      uint16_t* to[kMostTerms];
      for (int t = 0; t < terms_; ++t) to[t] = w_.written_out() ? line(t) : at(t, y * line_);
      splitter_->split(place, to);
      if (!w_.written_out()) continue;
      for (int t = 0; t < terms_; ++t) {
        std::memset(to[t] + width_ * channels_, 0, 2 * kTileDepth);
        loops().copy_runs(to[t], w_.stride_x * channels_, columns_, run_ / kTileDepth,
                          at(t, (y % w_.stride_y * per_rest_ + y / w_.stride_y) * line_), row_);
      }
    }
    if (w_.written_out()) return;
    const int64_t used = lines_ * line_;
    for (int t = 0; t < terms_; ++t)
      std::memset(at(t, used), 0, 2 * static_cast<size_t>(elements_ - used));
  }

 private:
  int64_t line_elements() const { return round_up(width_ * channels_ + kTileDepth, kTileDepth); }
  uint16_t* line(int t) const { return line_block_->as<uint16_t>() + t * line_elements(); }
  uint16_t* at(int t, int64_t i) const { return block_->as<uint16_t>() + t * elements_ + i; }

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
  std::optional<Block> block_, line_block_;
  std::optional<LineSplitter> splitter_;
};

/// Whole windows of small images, row after row.
class WindowTerms {
 public:
  WindowTerms(const halide_buffer_t& x, const halide_buffer_t& out, const Window& w, int terms)
      : x_(x), w_(w), terms_(terms), channels_(extent_of(x, 0)), width_(extent_of(x, 1)),
        height_(extent_of(x, 2)),
        per_image_(places(x, 1, w.stride_x, w.width) *
                   places(x, 2, w.stride_y, (w.height - 1) * w.dilation + 1)),
        first_(min_of(out, 1)),
        rows_(std::min(extent_of(out, 1), per_image_ * extent_of(x, 3) - first_)),
        run_(round_up(w.width * channels_, kTileDepth)), row_(spread(w.height * run_)),
        line_(round_up(width_ * channels_ + kTileDepth, kTileDepth)), splitter_(x, width_, terms) {
    if (rows_ <= 0) return;
    block_.emplace(2 * (terms * rows_ + kTileRows) * row_);
    image_.emplace(2 * terms * height_ * line_);
  }

  bool empty() const { return rows_ <= 0; }
  bool ready() const {
    return block_->as<uint16_t>() != nullptr && image_->as<uint16_t>() != nullptr &&
           splitter_.ready();
  }
  const uint16_t* term(int t) const { return block_->as<uint16_t>() + t * rows_ * row_; }
  int64_t row() const { return row_; }
  int64_t rows() const { return rows_; }
  int64_t steps() const { return w_.height * run_ / kTileDepth; }
  int64_t offset(int64_t s) const { return s * kTileDepth; }

  void read() const {
    const int64_t end = first_ + rows_;
    for (int64_t n = first_ / per_image_; n * per_image_ < end; ++n) {
      read_image(n);
      for (int64_t p = std::max(first_, n * per_image_); p < std::min(end, (n + 1) * per_image_);) {
        const int64_t y = p % per_image_ / w_.line, x = p % w_.line;
        const int64_t count = std::min(w_.line - x, end - p);
        write_out(x, y, count, p - first_);
        p += count;
      }
    }
  }

 private:
  uint16_t* line(int t, int64_t y) const {
    return image_->as<uint16_t>() + (t * height_ + y) * line_;
  }

  void read_image(int64_t n) const {
    int64_t place[4] = {0, 0, 0, n};
    for (; place[2] < height_; ++place[2]) {
      uint16_t* to[kMostTerms];
      for (int t = 0; t < terms_; ++t) {
        to[t] = line(t, place[2]);
        std::memset(to[t] + width_ * channels_, 0,
                    2 * static_cast<size_t>(line_ - width_ * channels_));
      }
      splitter_.split(place, to);
    }
  }

  void write_out(int64_t x, int64_t y, int64_t count, int64_t row) const {
    for (int t = 0; t < terms_; ++t)
      for (int64_t k = 0; k < w_.height; ++k)
        loops().copy_runs(line(t, y * w_.stride_y + k * w_.dilation) + x * w_.stride_x * channels_,
                          w_.stride_x * channels_, count, run_ / kTileDepth,
                          block_->as<uint16_t>() + (t * rows_ + row) * row_ + k * run_, row_);
  }

  const halide_buffer_t& x_;
  Window w_;
  int terms_;
  int64_t channels_, width_, height_, per_image_, first_, rows_, run_, row_, line_;
  LineSplitter splitter_;
  std::optional<Block> block_, image_;
};

Panels window_weights(const halide_buffer_t& x, const halide_buffer_t& w, const Window& window,
                      int terms) {
  const int last = x.dimensions - 1;
  if (is_packed(w))
    return Panels(reinterpret_cast<const uint16_t*>(w.host), stride_of(w, last),
                  extent_of(w, last));
  const int64_t channels = extent_of(x, 0);
  return Panels(TileWeights{floats(w), stride_of(w, 1), stride_of(w, 0), channels, stride_of(w, 2)},
                last == 3 ? stride_of(w, 3) : 0, window.width * channels, extent_of(w, 0), terms);
}

/// `read` fills the left side for an image.
template <typename Left, typename Read>
int multiply_windows(const Left& left, const Panels& panels, int terms, const halide_buffer_t& out,
                     Read read) {
  if (left.empty()) return 0;
  const Offsets offsets(left.steps());
  if (!left.ready() || offsets.data() == nullptr) return halide_error_code_out_of_memory;
  for (int64_t s = 0; s < left.steps(); ++s) offsets.data()[s] = left.offset(s);
  TileBlock b{};
  for (int t = 0; t < terms; ++t) b.left[t] = left.term(t);
  b.left_row = left.row();
  b.offsets = offsets.data();
  b.rows = left.rows();
  b.terms = terms;
  int64_t place[16] = {0};
  return for_each_place(out, 3, place, [&] {
    read(place[3]);
    return multiply_panels(b, panels, left.steps(), place, out);
  });
}

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
    return multiply_panels(left.block(), *panels, left.steps(), place, *out);
  });
}

int tintype_tile_conv(halide_buffer_t* x, halide_buffer_t* w, int32_t width, int32_t height,
                      int32_t stride_x, int32_t stride_y, int32_t dilation, int32_t line,
                      int32_t form, int32_t terms, halide_buffer_t* out) {
  const Window window{
      width, height, stride_x, stride_y, dilation, line, static_cast<TileRows>(form)};
  if (asks(*x) || asks(*out)) {
    // Operands of kernels exist as a whole; a stage of a kernel is asked for all of it.
    if (asks(*x))
      for (int d = 0; d < x->dimensions; ++d) need(*x, d, 0, extent_of(*x, d));
    return 0;
  }
  if (is_empty(*out)) return 0;
  const Panels panels = window_weights(*x, *w, window, terms);
  if (window.form == TileRows::windows) {
    const WindowTerms left(*x, *out, window, terms);
    return multiply_windows(left, panels, terms, *out, [&](int64_t) { left.read(); });
  }
  const ImageTerms left(*x, *out, window, terms);
  return multiply_windows(left, panels, terms, *out, [&](int64_t image) { left.read(image); });
}

int tintype_tile_pack(halide_buffer_t* w, int32_t column, int32_t row, int32_t group, int32_t stack,
                      int32_t terms, halide_buffer_t* out) {
  const int last = out->dimensions - 1;
  if (asks(*w) || asks(*out)) {
    if (!asks(*w)) return 0;
    for (int d = 0; d < w->dimensions; ++d) need(*w, d, 0, extent_of(*w, d));
    return 0;
  }
  const int64_t rows = extent_of(*w, row);
  const int64_t depth = rows * (group < 0 ? 1 : extent_of(*w, group));
  // Step by step, so that rows of w are read as they lie.
  int64_t place[4] = {0};
  const int64_t stacks = last == 3 ? extent_of(*out, 2) : 1;
  for (int64_t i = 0; i < stacks; ++i) {
    if (last == 3) place[2] = min_of(*out, 2) + i;
    for (int64_t k = min_of(*out, 1); k < std::min(end_of(*out, 1), depth); k += kTileDepth)
      for (int64_t p = min_of(*out, last); p < end_of(*out, last); ++p) {
        const int64_t first = p * kTileColumns;
        const auto columns =
            static_cast<int>(std::min<int64_t>(extent_of(*w, column) - first, kTileColumns));
        if (columns <= 0) break;
        const float* from = floats(*w) + first * stride_of(*w, column) +
                            (stack < 0 ? 0 : place[2] * stride_of(*w, stack));
        auto* to = reinterpret_cast<uint16_t*>(out->host) +
                   (k - min_of(*out, 1)) * stride_of(*out, 1) +
                   (p - min_of(*out, last)) * stride_of(*out, last) +
                   (last == 3 ? i * stride_of(*out, 2) : 0);
        pack_step({from, stride_of(*w, row), stride_of(*w, column), rows,
                   group < 0 ? 0 : stride_of(*w, group)},
                  k, depth, columns, terms, to);
      }
  }
  return 0;
}

}  // extern "C"
