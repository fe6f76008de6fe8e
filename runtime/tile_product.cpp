// Products of matrices by tiles of bf16, and the packing of weights: stages of kernels.
#include "runtime/tile_product.h"

#include "runtime/tile_panels.h"

#include <cstring>
#include <optional>

namespace tintype::tiles {

namespace {

template <typename T>
struct Matrix {
  const T* data;
  int64_t row, column;  ///< elements from one to the next
};

/// A matrix's rows of bf16 to [row][stride], as split_rows.
void copy_rows(const Matrix<uint16_t>& a, int64_t rows, int64_t depth, int64_t stride,
               uint16_t* to) {
  const int64_t whole = round_up(depth, kTileDepth);
  for (int64_t r = 0; r < rows; ++r, to += stride) {
    const uint16_t* from = a.data + r * a.row;
    if (a.column == 1) std::memcpy(to, from, 2 * static_cast<size_t>(depth));
    else
      for (int64_t k = 0; k < depth; ++k) to[k] = from[k * a.column];
    std::memset(to + depth, 0, 2 * static_cast<size_t>(whole - depth));
  }
}

/// A matrix's rows, `depth` neighbours or not, to terms: [term][row][stride].
void split_rows(const Matrix<float>& a, int64_t rows, int64_t depth, int64_t stride, int terms,
                uint16_t* to) {
  constexpr int64_t kAtOnce = 256;
  float gathered[kAtOnce];
  const int64_t whole = round_up(depth, kTileDepth);
  if (a.column != 1 && a.row == 1) {
    const float* columns[kAtOnce];
    for (int64_t k = 0; k < depth; k += kAtOnce) {
      const int64_t some = std::min(kAtOnce, depth - k);
      for (int64_t i = 0; i < some; ++i) columns[i] = a.data + (k + i) * a.column;
      for (int64_t r = 0; r < rows; r += kTileRows) {
        uint16_t* at[kMostTerms];
        for (int t = 0; t < terms; ++t) at[t] = to + (t * rows + r) * stride + k;
        loops().split_columns(columns, r, 1,
                              static_cast<int>(std::min<int64_t>(kTileRows, rows - r)), some, terms,
                              at, stride);
      }
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

/// Rows of one matrix of a stack as terms. Rows of bf16 that fill whole steps are read in place.
class MatrixTerms {
 public:
  /// `rows` of them from `first` on.
  MatrixTerms(const halide_buffer_t& a, int64_t first, int64_t rows, int terms)
      : a_(a), first_(first), rows_(rows), depth_(extent_of(a, 0)), stride_(spread(depth_)),
        terms_(terms), in_place_(is_bf16(a) && stride_of(a, 0) == 1 && depth_ % kTileDepth == 0),
        block_(in_place_ ? 1 : 2 * (terms * rows + kTileRows) * stride_), offsets_(steps()) {
    for (int64_t s = 0; ready() && s < steps(); ++s) offsets_.data()[s] = s * kTileDepth;
  }

  bool ready() const { return block_.as<uint16_t>() != nullptr && offsets_.data() != nullptr; }
  int64_t steps() const { return (depth_ + kTileDepth - 1) / kTileDepth; }
  /// The matrix at places of a's dimensions from the second on.
  void read(int64_t* place) {
    place[1] = first_;
    const int64_t row = stride_of(a_, 1), column = stride_of(a_, 0);
    auto* to = block_.as<uint16_t>();
    if (in_place_) left_ = line_of<uint16_t>(a_, place);
    else if (is_bf16(a_))
      copy_rows({line_of<uint16_t>(a_, place), row, column}, rows_, depth_, stride_, to);
    else split_rows({line_of<float>(a_, place), row, column}, rows_, depth_, stride_, terms_, to);
  }
  TileBlock block() const {
    TileBlock b{};
    const uint16_t* left = in_place_ ? left_ : block_.as<uint16_t>();
    for (int t = 0; t < terms_; ++t) b.left[t] = left + t * rows_ * stride_;
    b.left_row = in_place_ ? stride_of(a_, 1) : stride_;
    b.exact = in_place_;
    b.offsets = offsets_.data();
    b.rows = rows_;
    b.terms = terms_;
    return b;
  }

 private:
  const halide_buffer_t& a_;
  int64_t first_, rows_, depth_, stride_;
  int terms_;
  bool in_place_;
  const uint16_t* left_ = nullptr;
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

}  // namespace

}  // namespace tintype::tiles

using namespace tintype;
using namespace tintype::tiles;

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
  MatrixTerms left(*a, min_of(*out, 1), rows, terms);
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
