// Convolutions by tiles of bf16: a stage of kernels.
#include "runtime/tile_product.h"

#include "runtime/tile_panels.h"

#include <cstring>
#include <optional>

namespace tintype::tiles {

namespace {

struct Window {
  int64_t width, height, stride_x, stride_y, dilation_x, dilation_y, line;
  TileRows form;

  int64_t span_x() const { return (width - 1) * dilation_x + 1; }
  int64_t span_y() const { return (height - 1) * dilation_y + 1; }

  bool written_out() const { return form != TileRows::places; }
};

/// Places along a dimension of x of a window that spans so much.
int64_t places(const halide_buffer_t& x, int d, int64_t stride, int64_t span) {
  return end_of(x, d) < span ? 0 : (end_of(x, d) - span) / stride + 1;
}

/// Lines of images as terms, or as they are where they are bf16.
class LineSplitter {
 public:
  LineSplitter(const halide_buffer_t& x, int64_t width, int terms)
      : x_(x), channels_(extent_of(x, 0)), width_(width), terms_(terms),
        gathered_(4 * width * channels_) {}

  bool ready() const { return gathered_.as<float>() != nullptr; }
  void split(const int64_t* place, uint16_t* const* to) const {
    const int64_t count = width_ * channels_;
    if (is_bf16(x_))
      std::memcpy(to[0], neighbours<uint16_t>(place), 2 * static_cast<size_t>(count));
    else loops().split(neighbours<float>(place), count, terms_, to);
  }

 private:
  template <typename T>
  const T* neighbours(const int64_t* place) const {
    const T* from = line_of<T>(x_, place);
    const int64_t channel = stride_of(x_, 0), column = stride_of(x_, 1);
    if (channel == 1 && column == channels_) return from;
    // Channels of other places lie between, or planes.
    T* gathered = gathered_.as<T>();
    for (int64_t c = 0; c < channels_; ++c)
      for (int64_t i = 0; i < width_; ++i)
        gathered[i * channels_ + c] = from[i * column + c * channel];
    return gathered;
  }

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
/// Nothing is copied where the image itself is the left side already, in bf16.
class ImageTerms {
 public:
  ImageTerms(const halide_buffer_t& x, const halide_buffer_t& out, const Window& w, int terms)
      : x_(x), w_(w), terms_(terms), planar_(x.dimensions == 4), channels_(extent_of(x, 0)),
        first_line_(planar_ ? min_of(out, 1) / w.line : 0),
        first_column_(planar_ ? 0 : min_of(out, 1)), end_(min_of(out, 1) + extent_of(out, 1)) {
    const int64_t all = places(x, 1, w.stride_x, w.span_x());
    columns_ = planar_ ? all : std::min(end_, all) - first_column_;
    rows_ = 1;
    if (planar_)
      rows_ = std::min((end_ + w.line - 1) / w.line, places(x, 2, w.stride_y, w.span_y())) -
              first_line_;
    width_ = (columns_ - 1) * w.stride_x + w.span_x();
    lines_ = (rows_ - 1) * w.stride_y + w.span_y();
    run_ = round_up(w.width * channels_, kTileDepth);
    row_ = w.written_out() ? spread(run_) : channels_;
    line_ = w.written_out() ? columns_ * row_ : width_ * channels_;
    per_rest_ = (lines_ + w.stride_y - 1) / w.stride_y;
    in_place_ = is_bf16(x) && !w.written_out() && stride_of(x, 0) == 1 &&
                (!planar_ || stride_of(x, 2) == width_ * stride_of(x, 1));
    if (in_place_) {
      row_ = stride_of(x, 1);
      line_ = width_ * row_;
      return;
    }
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
    return in_place_ || (block_->as<uint16_t>() != nullptr && splitter_->ready() &&
                         (!line_block_ || line_block_->as<uint16_t>() != nullptr));
  }
  bool in_place() const { return in_place_; }
  const uint16_t* term(int t) const { return in_place_ ? image_ : at(t, 0); }
  int64_t row() const { return row_; }
  int64_t rows() const { return (rows_ - 1) * (w_.written_out() ? columns_ : width_) + columns_; }
  int64_t steps() const { return run_ / kTileDepth * w_.height; }
  /// Where step `s` of a row lies.
  int64_t offset(int64_t s) const {
    const int64_t steps = run_ / kTileDepth, y = s / steps * w_.dilation_y,
                  within = s % steps * kTileDepth;
    if (w_.written_out()) return (y % w_.stride_y * per_rest_ + y / w_.stride_y) * line_ + within;
    return y * line_ + within / channels_ * w_.dilation_x * row_ + within % channels_;
  }

  void read(int64_t image) {
    const int last = x_.dimensions - 1;
    int64_t place[4] = {0, first_column_ * w_.stride_x, 0, 0};
    place[last] = image;
    if (in_place_) {
      place[2] = first_line_;
      image_ = line_of<uint16_t>(x_, place);
      return;
    }
    for (int64_t y = 0; y < lines_; ++y) {
      if (planar_) place[2] = first_line_ * w_.stride_y + y;
      uint16_t* to[kMostTerms];
      for (int t = 0; t < terms_; ++t) to[t] = w_.written_out() ? line(t) : at(t, y * line_);
      splitter_->split(place, to);
      if (!w_.written_out()) continue;
      for (int t = 0; t < terms_; ++t)
        loops().copy_runs(to[t], w_.stride_x * channels_, columns_, w_.width * channels_,
                          at(t, (y % w_.stride_y * per_rest_ + y / w_.stride_y) * line_), row_);
    }
    if (w_.written_out()) return;
    const int64_t used = lines_ * line_;
    for (int t = 0; t < terms_; ++t)
      std::memset(at(t, used), 0, 2 * static_cast<size_t>(elements_ - used));
  }

 private:
  int64_t line_elements() const { return round_up(width_ * channels_, kTileDepth); }
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
  bool in_place_ = false;
  const uint16_t* image_ = nullptr;  ///< the part of it, in place
  std::optional<Block> block_, line_block_;
  std::optional<LineSplitter> splitter_;
};

/// Whole windows of small images, row after row.
class WindowTerms {
 public:
  WindowTerms(const halide_buffer_t& x, const halide_buffer_t& out, const Window& w, int terms)
      : x_(x), w_(w), terms_(terms), channels_(extent_of(x, 0)), width_(extent_of(x, 1)),
        height_(extent_of(x, 2)),
        per_image_(places(x, 1, w.stride_x, w.width) * places(x, 2, w.stride_y, w.span_y())),
        first_(min_of(out, 1)),
        rows_(std::min(extent_of(out, 1), per_image_ * extent_of(x, 3) - first_)),
        run_(round_up(w.width * channels_, kTileDepth)), row_(spread(w.height * run_)),
        line_(round_up(width_ * channels_, kTileDepth)), splitter_(x, width_, terms) {
    if (rows_ <= 0) return;
    block_.emplace(2 * (terms * rows_ + kTileRows) * row_);
    image_.emplace(2 * terms * height_ * line_);
  }

  bool empty() const { return rows_ <= 0; }
  bool in_place() const { return false; }
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
      for (int t = 0; t < terms_; ++t) to[t] = line(t, place[2]);
      splitter_.split(place, to);
    }
  }

  void write_out(int64_t x, int64_t y, int64_t count, int64_t row) const {
    for (int t = 0; t < terms_; ++t)
      for (int64_t k = 0; k < w_.height; ++k)
        loops().copy_runs(line(t, y * w_.stride_y + k * w_.dilation_y) +
                              x * w_.stride_x * channels_,
                          w_.stride_x * channels_, count, w_.width * channels_,
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
int multiply_windows(Left& left, const Panels& panels, int terms, const halide_buffer_t& out,
                     Read read) {
  if (left.empty()) return 0;
  const Offsets offsets(left.steps());
  if (!left.ready() || offsets.data() == nullptr) return halide_error_code_out_of_memory;
  for (int64_t s = 0; s < left.steps(); ++s) offsets.data()[s] = left.offset(s);
  TileBlock b{};
  b.exact = left.in_place();
  b.left_row = left.row();
  b.offsets = offsets.data();
  b.rows = left.rows();
  b.terms = terms;
  int64_t place[16] = {0};
  return for_each_place(out, 3, place, [&] {
    read(place[3]);
    for (int t = 0; t < terms; ++t) b.left[t] = left.term(t);
    return multiply_panels(b, panels, left.steps(), place, out);
  });
}

}  // namespace

}  // namespace tintype::tiles

using namespace tintype;
using namespace tintype::tiles;

extern "C" {

int tintype_tile_conv(halide_buffer_t* x, halide_buffer_t* w, int32_t width, int32_t height,
                      int32_t stride_x, int32_t stride_y, int32_t dilation_x, int32_t dilation_y,
                      int32_t line, int32_t form, int32_t terms, halide_buffer_t* out) {
  const Window window{width,      height,     stride_x, stride_y,
                      dilation_x, dilation_y, line,     static_cast<TileRows>(form)};
  if (asks(*x) || asks(*out)) {
    // Operands of kernels exist as a whole; a stage of a kernel is asked for all of it.
    if (asks(*x))
      for (int d = 0; d < x->dimensions; ++d) need(*x, d, 0, extent_of(*x, d));
    return 0;
  }
  if (is_empty(*out)) return 0;
  const Panels panels = window_weights(*x, *w, window, terms);
  if (window.form == TileRows::windows) {
    WindowTerms left(*x, *out, window, terms);
    return multiply_windows(left, panels, terms, *out, [&](int64_t) { left.read(); });
  }
  ImageTerms left(*x, *out, window, terms);
  return multiply_windows(left, panels, terms, *out, [&](int64_t image) { left.read(image); });
}

}  // extern "C"
