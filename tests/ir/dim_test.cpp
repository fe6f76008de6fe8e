// Extents: canonical form, arithmetic, bounds, text. Values are checked against plain integer
// arithmetic on sampled symbols.
#include "ir/dim.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tintype::test {

namespace {

const Dim n = Dim::symbol("N");
const Dim h = Dim::symbol("H");

int64_t value(const Dim& d, int64_t at_n, int64_t at_h) {
  const auto v = d.evaluate(
      [&](std::string_view name) -> std::optional<int64_t> { return name == "N" ? at_n : at_h; });
  return v.value();
}

int64_t floor_quotient(int64_t a, int64_t b) {
  return static_cast<int64_t>(std::floor(static_cast<double>(a) / static_cast<double>(b)));
}

TEST(Dim, EqualExpressionsHaveOneForm) {
  EXPECT_EQ(n + h, h + n);
  EXPECT_EQ((n + Dim(1)) * (h + Dim(2)), n * h + Dim(2) * n + h + Dim(2));
  EXPECT_EQ(n - n, Dim(0));
  EXPECT_EQ(min(n, h), min(h, n));
  EXPECT_FALSE(n == h);
}

TEST(Dim, FloorDivisionCancelsMultiples) {
  EXPECT_EQ(floor_div(n * Dim(768) * Dim(196), n * Dim(768)), Dim(196));
  EXPECT_EQ(floor_div(Dim(4) * n, Dim(2)), Dim(2) * n);
  EXPECT_EQ(floor_div(Dim(7), Dim(2)), Dim(3));
  EXPECT_EQ(floor_div(Dim(-7), Dim(2)), Dim(-4));
  EXPECT_THROW(floor_div(n, Dim(0)), std::domain_error);
}

TEST(Dim, TheSmallestIntegerHasNoQuotientByMinusOne) {
  const Dim smallest(std::numeric_limits<int64_t>::min());
  EXPECT_THROW(floor_div(smallest, Dim(-1)), std::overflow_error);
  EXPECT_THROW(floor_div(smallest * n, Dim(-1) * n), std::overflow_error);
  EXPECT_EQ(floor_div(Dim(6) * n, Dim(-1) * n), Dim(-6));
}

// Thirty factors of two terms have a thousand million terms together.
TEST(Dim, ProductsOfManySumsAreRefused) {
  Dim product = 1;
  std::string text = "1";
  const auto grow = [&] {
    for (int i = 0; i < 30; ++i)
      product = product * (Dim::symbol("a" + std::to_string(i)) + Dim::symbol("b"));
  };
  EXPECT_THROW(grow(), std::overflow_error);
  for (int i = 0; i < 30; ++i) text += "*(a" + std::to_string(i) + "+b)";
  EXPECT_FALSE(parse_dim(text).has_value());
}

// Each of these is twice as long as the one before.
TEST(Dim, ExtentsThatDoubleAreRefused) {
  const auto grow = [] {
    Dim d = n;
    for (int i = 0; i < 64; ++i) d = floor_div(d + h, d + Dim(1));
  };
  EXPECT_THROW(grow(), std::overflow_error);
}

TEST(Dim, ValuesAgreeWithIntegerArithmetic) {
  for (int64_t a = 0; a < 12; ++a)
    for (int64_t b = 1; b < 8; ++b) {
      EXPECT_EQ(value(floor_div(n * Dim(3) - h, Dim(4)), a, b), floor_quotient(3 * a - b, 4));
      EXPECT_EQ(value(ceil_div(n, h), a, b), floor_quotient(a + b - 1, b));
      EXPECT_EQ(value(mod(n + Dim(5), h), a, b), (a + 5) - b * floor_quotient(a + 5, b));
      EXPECT_EQ(value(max(n - h, Dim(0)), a, b), std::max<int64_t>(a - b, 0));
      EXPECT_EQ(value(round_up(n, Dim(8)), a, b), floor_quotient(a + 7, 8) * 8);
    }
}

TEST(Dim, BoundsAreFound) {
  EXPECT_EQ(n.lower_bound(), 0);
  EXPECT_EQ((n * Dim(2) + Dim(3)).lower_bound(), 3);
  EXPECT_TRUE(provably_le(n, n + h));
  EXPECT_FALSE(provably_le(n + Dim(1), n));
  EXPECT_FALSE(provably_le(n, h));
}

TEST(Dim, TextParsesBack) {
  for (const Dim& d : {Dim(0), Dim(-3), n, n * Dim(2) + Dim(1), floor_div(h + Dim(5), Dim(2)),
                       min(n, h) - Dim(4), max(floor_div(n, h), Dim(1)) * n, n * n - h}) {
    const auto back = parse_dim(d.text());
    ASSERT_TRUE(back.has_value()) << d.text();
    EXPECT_EQ(*back, d) << d.text();
  }
  EXPECT_EQ(parse_dim("(H + 2*1 - 3)/2 + 1"), floor_div(h - Dim(1), Dim(2)) + Dim(1));
  EXPECT_FALSE(parse_dim("N +").has_value());
  EXPECT_FALSE(parse_dim("floordiv(N)").has_value());
  EXPECT_FALSE(parse_dim("").has_value());
}

}  // namespace

}  // namespace tintype::test
