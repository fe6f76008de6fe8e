// Products by tiles of bf16 terms against sums in double, in every layout that kernels have; the
// loops of this CPU against those for any CPU, bit by bit.
#include "runtime/tile_product.h"

#include "runtime/dtype.h"
#include "runtime/tile_block.h"
#include "tests/support/fenced.h"

#include <HalideRuntime.h>
#include <array>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace tintype {
namespace {

/// A buffer as kernels hand it over, innermost dimension first.
template <typename T>
class Array {
 public:
  explicit Array(const std::vector<int>& extents, const std::vector<int>& order = {}) {
    b_.dimensions = static_cast<int>(extents.size());
    b_.dim = dims_.data();
    b_.type.bits = 8 * sizeof(T);
    int stride = 1;
    for (size_t i = 0; i < extents.size(); ++i) {
      const size_t d = order.empty() ? i : static_cast<size_t>(order[i]);
      dims_[d] = {0, extents[d], stride, 0};
      stride *= extents[d];
    }
    data_.resize(static_cast<size_t>(stride) + 64);
    b_.host = reinterpret_cast<uint8_t*>(data_.data());
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  halide_buffer_t* get() { return &b_; }
  int extent(int d) const { return dims_[static_cast<size_t>(d)].extent; }
  T& at(const std::vector<int>& place) {
    size_t i = 0;
    for (size_t d = 0; d < place.size(); ++d)
      i += static_cast<size_t>(place[d]) * static_cast<size_t>(dims_[d].stride);
    return data_[i];
  }
  std::vector<T>& data() { return data_; }
  /// Of the places of the buffer, not what lies behind them.
  size_t size() const { return data_.size() - 64; }

 private:
  std::array<halide_dimension_t, 5> dims_{};
  halide_buffer_t b_{};
  std::vector<T> data_;
};

using Floats = Array<float>;
using Packed = Array<uint16_t>;

void randomize(Floats& a, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (float& v : a.data()) v = normal(generator);
}

/// The same rounded to bf16, with nothing that may be read behind it.
class Narrowed {
 public:
  explicit Narrowed(Floats& wide) : b_(*wide.get()) {
    Tensor t = Tensor::empty(DType::bf16, {static_cast<int64_t>(wide.size())});
    for (size_t i = 0; i < wide.size(); ++i)
      t.mutable_values<uint16_t>()[i] = f32_to_bf16(wide.data()[i]);
    t_ = test::fenced(t, test::Fence::after);
    b_.type.bits = 16;
    b_.host = static_cast<uint8_t*>(t_.mutable_data());
  }
  halide_buffer_t* get() { return &b_; }

 private:
  Tensor t_;
  halide_buffer_t b_;
};

int up(int n, int m) { return (n + m - 1) / m * m; }

/// Room for the result's rows up to a multiple of a tile's.
std::vector<int> result_extents(int rows, int columns, int stack) {
  return {kTileColumns, up(rows, kTileRows), (columns + kTileColumns - 1) / kTileColumns, stack};
}

/// What the header promises, of the sum of |a| |b|: products of terms that are left out and terms
/// that are rounded, and f32's own rounding of sums and products.
double bound(int terms, int depth, double magnitude) {
  const double of_terms[] = {0, 2.1 * 0x1p-9, 3.1 * 0x1p-18, 4 * 0x1p-24};
  return magnitude * (of_terms[terms] + 0x1p-24 * (2 + std::sqrt(depth)) * terms) + 1e-30;
}

struct Product {
  int rows, depth, columns, stack;
};

std::string name_of(const Product& p) {
  return std::to_string(p.rows) + "x" + std::to_string(p.depth) + "x" + std::to_string(p.columns) +
         " times " + std::to_string(p.stack);
}

enum class Side { as_rows, as_columns, packed };

void expect_product(const Product& p, int terms, Side left, Side right) {
  SCOPED_TRACE(name_of(p) + ", " + std::to_string(terms) + " terms, left " +
               std::to_string(static_cast<int>(left)) + ", right " +
               std::to_string(static_cast<int>(right)));
  const std::vector<int> swapped = {1, 0, 2};
  Floats a({p.depth, p.rows, 1}, left == Side::as_columns ? swapped : std::vector<int>());
  Floats w({p.columns, p.depth, p.stack}, right == Side::as_columns ? swapped : std::vector<int>());
  randomize(a, 1);
  randomize(w, 2);
  Packed packed({terms * kTileColumns, up(p.depth, kTileDepth), p.stack,
                 (p.columns + kTileColumns - 1) / kTileColumns});
  halide_buffer_t* weights = w.get();
  if (right == Side::packed) {
    ASSERT_EQ(tintype_tile_pack(w.get(), 0, 1, -1, 2, terms, packed.get()), 0);
    weights = packed.get();
  }
  Floats out(result_extents(p.rows, p.columns, p.stack));
  out.get()->dim[1].extent = p.rows;
  ASSERT_EQ(tintype_tile_dot(a.get(), weights, terms, out.get()), 0);
  for (int s = 0; s < p.stack; ++s)
    for (int m = 0; m < p.rows; ++m)
      for (int n = 0; n < p.columns; ++n) {
        double sum = 0, magnitude = 0;
        for (int k = 0; k < p.depth; ++k) {
          const double term = double{a.at({k, m, 0})} * w.at({n, k, s});
          sum += term;
          magnitude += std::abs(term);
        }
        ASSERT_NEAR(out.at({n % kTileColumns, m, n / kTileColumns, s}), sum,
                    bound(terms, p.depth, magnitude))
            << "row " << m << ", column " << n << ", matrix " << s;
      }
  if (terms > 1) return;
  // One term is the number rounded: a left side that is so already gives the same bits.
  Narrowed narrow(a);
  Floats same(result_extents(p.rows, p.columns, p.stack));
  same.get()->dim[1].extent = p.rows;
  ASSERT_EQ(tintype_tile_dot(narrow.get(), weights, 1, same.get()), 0);
  for (int s = 0; s < p.stack; ++s)
    for (int m = 0; m < p.rows; ++m)
      for (int n = 0; n < p.columns; ++n) {
        const std::vector<int> at = {n % kTileColumns, m, n / kTileColumns, s};
        ASSERT_EQ(same.at(at), out.at(at)) << "bf16, row " << m << ", column " << n;
      }
}

TEST(TileProduct, IsTheProductInEveryLayout) {
  for (const Product& p : {Product{1, 1, 1, 1},
                           {16, 32, 32, 1},
                           {17, 33, 31, 1},
                           {31, 64, 16, 1},
                           {33, 31, 65, 1},
                           {49, 100, 40, 1},
                           {8, 40, 33, 4},
                           {70, 300, 70, 1}})
    for (const int terms : {1, 2, 3})
      for (const Side left : {Side::as_rows, Side::as_columns})
        for (const Side right : {Side::as_rows, Side::as_columns, Side::packed})
          expect_product(p, terms, left, right);
}

TEST(TileProduct, SumsOfNothingAreZero) {
  for (const Side right : {Side::as_rows, Side::packed})
    expect_product({3, 0, 5, 1}, 2, Side::as_rows, right);
}

TEST(TileProduct, NothingIsWrittenWhereNothingIsAsked) {
  Floats a({4, 0}), w({5, 4}), out(result_extents(1, 5, 1));
  out.get()->dim[1].extent = 0;
  std::fill(out.data().begin(), out.data().end(), 7.0f);
  ASSERT_EQ(tintype_tile_dot(a.get(), w.get(), 2, out.get()), 0);
  for (const float v : out.data()) EXPECT_EQ(v, 7.0f);
}

TEST(TileProduct, NumbersThatAreNoneReachTheirOwnRowsAlone) {
  Floats a({40, 3}), w({20, 40}), out(result_extents(3, 20, 1));
  out.get()->dim[1].extent = 3;
  randomize(a, 1);
  randomize(w, 2);
  a.at({7, 1}) = std::numeric_limits<float>::quiet_NaN();
  a.at({9, 2}) = std::numeric_limits<float>::infinity();
  ASSERT_EQ(tintype_tile_dot(a.get(), w.get(), 2, out.get()), 0);
  for (int n = 0; n < 20; ++n) {
    EXPECT_TRUE(std::isfinite(out.at({n, 0, 0, 0})));
    EXPECT_TRUE(std::isnan(out.at({n, 1, 0, 0})));
    EXPECT_FALSE(std::isfinite(out.at({n, 2, 0, 0})));  // infinity times a rest of none
  }
}

struct Convolution {
  int images, height, width, channels, filters, kernel_y, kernel_x, stride_y, stride_x, dilation,
      dilation_x = 1;
};

std::string name_of(const Convolution& c) {
  std::string s;
  for (const int i : {c.images, c.height, c.width, c.channels, c.filters, c.kernel_y, c.kernel_x,
                      c.stride_y, c.stride_x, c.dilation, c.dilation_x})
    s += std::to_string(i) + " ";
  return s;
}

double convolved(const Convolution& c, Floats& x, Floats& w, int f, int px, int py, int n,
                 double& magnitude) {
  double sum = 0;
  magnitude = 0;
  for (int ky = 0; ky < c.kernel_y; ++ky)
    for (int kx = 0; kx < c.kernel_x; ++kx)
      for (int k = 0; k < c.channels; ++k) {
        const double term = double{x.at({k, px * c.stride_x + kx * c.dilation_x,
                                         py * c.stride_y + ky * c.dilation, n})} *
                            w.at({f, k, kx, ky});
        sum += term;
        magnitude += std::abs(term);
      }
  return sum;
}

/// The packed weights of all lines of a window.
void pack(const Convolution& c, Floats& w, int terms, Packed& packed) {
  ASSERT_EQ(tintype_tile_pack(w.get(), 0, 1, 2, 3, terms, packed.get()), 0) << name_of(c);
}

void expect_convolution(const Convolution& c, TileRows form, int terms, bool packs, bool planes) {
  SCOPED_TRACE(name_of(c) + "form " + std::to_string(static_cast<int>(form)) + ", " +
               std::to_string(terms) + " terms" + (packs ? ", packed" : "") +
               (planes ? ", planes" : ""));
  const std::vector<int> order = planes ? std::vector<int>{1, 2, 0, 3} : std::vector<int>();
  Floats x({c.channels, c.width, c.height, c.images}, order),
      w({c.filters, c.channels, c.kernel_x, c.kernel_y});
  randomize(x, 3);
  randomize(w, 4);
  const int columns = (c.width - (c.kernel_x - 1) * c.dilation_x - 1) / c.stride_x + 1,
            lines = (c.height - (c.kernel_y - 1) * c.dilation - 1) / c.stride_y + 1,
            line = form == TileRows::places ? c.width : columns;
  const bool windows = form == TileRows::windows;
  const int places = windows ? columns * lines * c.images : (lines - 1) * line + columns;
  Packed packed({terms * kTileColumns, up(c.kernel_x * c.channels, kTileDepth), c.kernel_y,
                 (c.filters + kTileColumns - 1) / kTileColumns});
  if (packs) pack(c, w, terms, packed);
  std::vector<int> extents = result_extents(places, c.filters, c.images);
  if (windows) extents.pop_back();
  Floats out(extents);
  out.get()->dim[1].extent = places;
  ASSERT_EQ(tintype_tile_conv(x.get(), packs ? packed.get() : w.get(), c.kernel_x, c.kernel_y,
                              c.stride_x, c.stride_y, c.dilation_x, c.dilation, line,
                              static_cast<int>(form), terms, out.get()),
            0);
  for (int n = 0; n < c.images; ++n)
    for (int y = 0; y < lines; ++y)
      for (int px = 0; px < columns; ++px)
        for (int f = 0; f < c.filters; ++f) {
          double magnitude = 0;
          const double want = convolved(c, x, w, f, px, y, n, magnitude);
          const int place = windows ? (n * lines + y) * columns + px : y * line + px;
          std::vector<int> at = {f % kTileColumns, place, f / kTileColumns};
          if (!windows) at.push_back(n);
          ASSERT_NEAR(out.at(at), want,
                      bound(terms, c.channels * c.kernel_x * c.kernel_y, magnitude))
              << "filter " << f << " at " << px << ", " << y << " of image " << n;
        }
  if (terms > 1) return;
  Narrowed narrow(x);
  Floats same(extents);
  same.get()->dim[1].extent = places;
  ASSERT_EQ(tintype_tile_conv(narrow.get(), packs ? packed.get() : w.get(), c.kernel_x, c.kernel_y,
                              c.stride_x, c.stride_y, c.dilation_x, c.dilation, line,
                              static_cast<int>(form), 1, same.get()),
            0);
  for (int n = 0; n < (windows ? 1 : c.images); ++n)
    for (int place = 0; place < places; ++place)
      for (int f = 0; f < c.filters; ++f) {
        std::vector<int> at = {f % kTileColumns, place, f / kTileColumns};
        if (!windows) at.push_back(n);
        ASSERT_EQ(same.at(at), out.at(at)) << "bf16, filter " << f << " at place " << place;
      }
}

TEST(TileConvolution, IsTheConvolutionInEveryForm) {
  const Convolution in_place[] = {{1, 6, 7, 32, 33, 3, 3, 1, 1, 1},
                                  {2, 9, 5, 64, 20, 2, 3, 1, 1, 2},
                                  {2, 5, 9, 32, 20, 2, 3, 1, 1, 2, 3}};
  const Convolution others[] = {{2, 9, 11, 3, 40, 5, 3, 2, 2, 1},
                                {1, 13, 9, 5, 16, 3, 3, 3, 1, 2},
                                {3, 4, 4, 48, 32, 3, 3, 1, 1, 1},
                                {2, 7, 7, 20, 5, 1, 1, 2, 2, 1}};
  for (const int terms : {1, 2, 3})
    for (const bool packs : {true, false})
      for (const bool planes : {false, true}) {
        for (const Convolution& c : in_place)
          expect_convolution(c, TileRows::places, terms, packs, planes);
        for (const Convolution& c : others)
          for (const TileRows form : {TileRows::lines, TileRows::windows})
            expect_convolution(c, form, terms, packs, planes);
      }
}

TEST(TileConvolution, APartIsThatPartOfTheWhole) {
  Floats x({32, 8, 10, 1}), w({32, 32, 3, 3});
  randomize(x, 5);
  randomize(w, 6);
  Floats whole(result_extents(7 * 8 + 6, 32, 1)), part(result_extents(2 * 8 + 6, 32, 1));
  whole.get()->dim[1].extent = 7 * 8 + 6;
  part.get()->dim[1] = {3 * 8, 2 * 8 + 6, kTileColumns, 0};  // lines 3 to 5
  for (Floats* out : {&whole, &part})
    ASSERT_EQ(tintype_tile_conv(x.get(), w.get(), 3, 3, 1, 1, 1, 1, 8, 0, 2, out->get()), 0);
  for (int y = 0; y < 3; ++y)
    for (int i = 0; i < 6; ++i)
      for (int c = 0; c < 32; ++c)
        EXPECT_EQ(part.at({c, y * 8 + i, 0, 0}), whole.at({c, (y + 3) * 8 + i, 0, 0}));
}

// 20 channels do not fill a step: what lies behind a window's line must not count.
TEST(TileConvolution, NumbersThatAreNoneReachTheirOwnWindowsAlone) {
  for (const TileRows form : {TileRows::lines, TileRows::windows}) {
    Floats x({20, 8, 8, 1}), w({16, 20, 3, 3});
    randomize(x, 5);
    randomize(w, 6);
    x.at({3, 5, 4, 0}) = std::numeric_limits<float>::quiet_NaN();
    std::vector<int> extents = result_extents(36, 16, 1);
    if (form == TileRows::windows) extents.pop_back();
    Floats out(extents);
    out.get()->dim[1].extent = 36;
    ASSERT_EQ(tintype_tile_conv(x.get(), w.get(), 3, 3, 1, 1, 1, 1, 6, static_cast<int>(form), 2,
                                out.get()),
              0);
    for (int place = 0; place < 36; ++place) {
      const int left = 5 - place % 6, above = 4 - place / 6;
      const bool inside = left >= 0 && left < 3 && above >= 0 && above < 3;
      EXPECT_EQ(std::isnan(out.at({0, place, 0})), inside) << "place " << place;
    }
  }
}

class TileLoopsOfThisCpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_tile_unit()) GTEST_SKIP() << "this CPU has no AMX";
  }
  const TileLoops& any = portable_tile_loops();
  const TileLoops* own = amx_tile_loops();
};

TEST_F(TileLoopsOfThisCpu, TakeNumbersApartAsAnyCpuDoes) {
  std::vector<float> x(4096);
  std::mt19937 generator(7);
  std::normal_distribution<float> normal(0, 1e3f);
  for (float& v : x) v = normal(generator);
  for (const int terms : {1, 2, 3})
    for (const int count : {1, 15, 16, 31, 32, 33, 70}) {
      std::vector<uint16_t> a(3 * 256, 7), b = a;
      uint16_t* to_a[] = {a.data(), a.data() + 256, a.data() + 512};
      uint16_t* to_b[] = {b.data(), b.data() + 256, b.data() + 512};
      any.split(x.data(), count, terms, to_a);
      own->split(x.data(), count, terms, to_b);
      EXPECT_EQ(a, b) << count << " numbers";
      any.split_pair(x.data(), x.data() + 100, terms, a.data(), 256);
      own->split_pair(x.data(), x.data() + 100, terms, b.data(), 256);
      EXPECT_EQ(a, b);
    }
}

TEST_F(TileLoopsOfThisCpu, TakeColumnsAndTilesApartAsAnyCpuDoes) {
  std::vector<float> x(4096);
  std::mt19937 generator(8);
  std::normal_distribution<float> normal;
  for (float& v : x) v = normal(generator);
  std::vector<const float*> columns;
  for (int k = 0; k < 70; ++k) columns.push_back(x.data() + 50 * k);
  for (const int terms : {1, 2, 3})
    for (const int rows : {1, 7, 16})
      for (const int count : {1, 31, 32, 70}) {
        std::vector<uint16_t> a(3 * 16 * 128, 7), b = a;
        uint16_t *to_a[3], *to_b[3];
        for (int t = 0; t < 3; ++t) {
          to_a[t] = a.data() + t * 16 * 128;
          to_b[t] = b.data() + t * 16 * 128;
        }
        for (const int64_t step : {int64_t{1}, int64_t{3}}) {
          any.split_columns(columns.data(), 2, step, rows, count, terms, to_a, 128);
          own->split_columns(columns.data(), 2, step, rows, count, terms, to_b, 128);
          EXPECT_EQ(a, b) << rows << " rows, " << count << " columns";
        }
        any.split_tile(x.data(), 60, rows, std::min(count, 32), terms, a.data(), 1024);
        own->split_tile(x.data(), 60, rows, std::min(count, 32), terms, b.data(), 1024);
        EXPECT_EQ(a, b);
      }
}

}  // namespace
}  // namespace tintype
