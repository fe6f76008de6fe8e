// Arena planning, strided copies and extent expressions.
#include "runtime/arena.h"
#include "runtime/extents.h"
#include "runtime/memory.h"
#include "runtime/nearest_name.h"
#include "runtime/strided.h"

#include <gtest/gtest.h>
#include <numeric>
#include <random>

namespace tintype::testing {
namespace {

// No two buffers alive at the same time may share a byte.
void expect_disjoint(const std::vector<Lifetime>& buffers, const ArenaPlan& plan) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_EQ(plan.offsets[i] % kBufferAlignment, 0u);
    if (buffers[i].bytes != 0) {
      EXPECT_LE(plan.offsets[i] + buffers[i].bytes, plan.bytes);
    }
    for (size_t j = 0; j < i; ++j) {
      const Lifetime &a = buffers[i], &b = buffers[j];
      if (a.last < b.first || b.last < a.first || a.bytes == 0 || b.bytes == 0) continue;
      EXPECT_TRUE(plan.offsets[i] + a.bytes <= plan.offsets[j] ||
                  plan.offsets[j] + b.bytes <= plan.offsets[i])
          << i << " and " << j;
    }
  }
}

TEST(Arena, AChainNeedsItsLargestPair) {
  std::vector<Lifetime> chain;
  chain.reserve(20);
  for (int i = 0; i < 20; ++i) chain.push_back({1000u * static_cast<size_t>(1 + i % 5), i, i + 1});
  const ArenaPlan plan = plan_arena(chain);
  expect_disjoint(chain, plan);
  EXPECT_EQ(plan.bytes, arena_lower_bound(chain));
}

TEST(Arena, RandomPlansAreValidAndNearTheBound) {
  std::mt19937 random(1);
  double worst = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> buffers;
    for (int i = 0; i < 40; ++i) {
      const int first = static_cast<int>(random() % 30);
      buffers.push_back({random() % 10000, first, first + static_cast<int>(random() % 6)});
    }
    const ArenaPlan plan = plan_arena(buffers);
    expect_disjoint(buffers, plan);
    EXPECT_LE(plan.bytes, plan.unplanned);
    worst = std::max(worst, static_cast<double>(plan.bytes) /
                                static_cast<double>(arena_lower_bound(buffers)));
  }
  EXPECT_LT(worst, 1.4);
}

TEST(Arena, NothingNeedsNothing) {
  EXPECT_EQ(plan_arena({}).bytes, 0u);
  const std::vector<Lifetime> empty(3);
  EXPECT_EQ(plan_arena(empty).bytes, 0u);
}

// The obvious copy.
void copy_slowly(const std::vector<int64_t>& extents, int* to, const std::vector<int64_t>& ts,
                 const int* from, const std::vector<int64_t>& fs, size_t axis = 0) {
  if (axis == extents.size()) {
    *to = *from;
    return;
  }
  for (int64_t i = 0; i < extents[axis]; ++i)
    copy_slowly(extents, to + i * ts[axis], ts, from + i * fs[axis], fs, axis + 1);
}

TEST(Strided, RandomCopiesMatchTheObviousOne) {
  std::mt19937 random(2);
  for (int round = 0; round < 500; ++round) {
    const size_t rank = random() % 5;
    std::vector<int64_t> extents(rank), to(rank), from(rank);
    std::vector<size_t> order(rank);
    std::iota(order.begin(), order.end(), size_t{0});
    int64_t to_size = 1, from_size = 1, from_start = 0;
    for (int64_t& e : extents) e = 1 + static_cast<int64_t>(random() % (round % 10 == 0 ? 90 : 9));
    std::shuffle(order.begin(), order.end(), random);
    for (size_t axis : order) {  // gaps between rows are allowed in the destination
      to[axis] = to_size;
      to_size *= extents[axis] + static_cast<int64_t>(random() % 2);
    }
    std::shuffle(order.begin(), order.end(), random);
    for (size_t axis : order) {
      const auto kind = random() % 6;
      from[axis] = kind == 0 ? 0 : kind == 1 ? -from_size : from_size;
      if (kind == 1) from_start += from_size * (extents[axis] - 1);
      if (kind != 0) from_size *= extents[axis];
    }
    std::vector<int> source(static_cast<size_t>(from_size));
    std::iota(source.begin(), source.end(), 1);
    std::vector<int> actual(static_cast<size_t>(to_size), -1), expected = actual;
    copy_slowly(extents, expected.data(), to, source.data() + from_start, from);
    strided_copy(extents, actual.data(), to, source.data() + from_start, from, sizeof(int));
    ASSERT_EQ(actual, expected) << round;
  }
}

TEST(Strided, AllElementWidths) {
  for (size_t width : {1u, 2u, 4u, 8u}) {
    std::vector<uint8_t> from(12 * width), to(12 * width), expected(12 * width);
    std::iota(from.begin(), from.end(), uint8_t{0});
    for (size_t i = 0; i < 12; ++i)
      for (size_t b = 0; b < width; ++b)
        expected[(i % 4 * 3 + i / 4) * width + b] = from[i * width + b];
    const std::vector<int64_t> extents = {4, 3}, ts = {3, 1}, fs = {1, 4};
    strided_copy(extents, to.data(), ts, from.data(), fs, width);
    EXPECT_EQ(to, expected) << width;
  }
}

TEST(Strided, LongRowsAreSplit) {
  const int64_t n = 1000003;
  std::vector<uint16_t> from(static_cast<size_t>(n)), to(static_cast<size_t>(n));
  std::iota(from.begin(), from.end(), uint16_t{0});
  const std::vector<int64_t> extents = {n}, one = {1};
  strided_copy(extents, to.data(), one, from.data(), one, 2);
  EXPECT_EQ(to, from);
  const uint16_t seven = 7;
  strided_fill(extents, to.data(), one, &seven, 2);
  EXPECT_EQ(std::count(to.begin(), to.end(), 7), n);
}

TEST(Strided, EmptyExtentsTouchNothing) {
  const std::vector<int64_t> extents = {3, 0, 2}, strides = {0, 2, 1};
  strided_copy(extents, nullptr, strides, nullptr, strides, 4);
  strided_fill(extents, nullptr, strides, nullptr, 4);
  EXPECT_TRUE(is_dense(extents, strides));
  EXPECT_FALSE(is_dense(std::vector<int64_t>{2, 3}, std::vector<int64_t>{4, 1}));
  EXPECT_TRUE(is_dense(std::vector<int64_t>{2, 1, 3}, std::vector<int64_t>{3, 99, 1}));
}

struct Arithmetic {
  ExtentExpr::Kind kind;
  int64_t a, b, result;
};

TEST(Extents, Arithmetic) {
  using K = ExtentExpr::Kind;
  for (const Arithmetic& t : std::initializer_list<Arithmetic>{{K::floor_div, 7, 2, 3},
                                                               {K::floor_div, -7, 2, -4},
                                                               {K::floor_div, 7, -2, -4},
                                                               {K::ceil_div, 7, 2, 4},
                                                               {K::ceil_div, -7, 2, -3},
                                                               {K::ceil_div, 6, 2, 3},
                                                               {K::mod, -7, 3, 2},
                                                               {K::mod, 7, -3, -2},
                                                               {K::min, 3, -4, -4},
                                                               {K::max, 3, -4, 3},
                                                               {K::equal, 3, 3, 1},
                                                               {K::less, 3, 3, 0},
                                                               {K::sub, 3, 5, -2}}) {
    Program p;
    p.symbols = {{"A", 0, 0}, {"B", 0, 1}};
    p.expressions = {{K::symbol, 0, 0, 0}, {K::symbol, 1, 0, 0}, {t.kind, 0, 0, 1}};
    EXPECT_EQ(evaluate_expressions(p, std::vector<int64_t>{t.a, t.b}).value()[2], t.result)
        << static_cast<int>(t.kind) << " " << t.a << " " << t.b;
  }
}

TEST(Extents, OverflowAndDivisionByZeroAreErrors) {
  using K = ExtentExpr::Kind;
  const auto evaluate = [](K kind, int64_t a, int64_t b) {
    Program p;
    p.symbols = {{"A", 0, 0}, {"B", 0, 1}};
    p.expressions = {{K::symbol, 0, 0, 0}, {K::symbol, 1, 0, 0}, {kind, 0, 0, 1}};
    return evaluate_expressions(p, std::vector<int64_t>{a, b}).status();
  };
  EXPECT_EQ(evaluate(K::floor_div, 1, 0).message(),
            "extent A/B overflows or divides by zero for A=1, B=0");
  for (K kind : {K::mod, K::ceil_div}) EXPECT_FALSE(evaluate(kind, 1, 0).ok());
  EXPECT_FALSE(evaluate(K::floor_div, INT64_MIN, -1).ok());
  EXPECT_FALSE(evaluate(K::mul, INT64_MAX, 2).ok());
  EXPECT_FALSE(evaluate(K::add, INT64_MAX, 1).ok());
  EXPECT_FALSE(evaluate(K::sub, INT64_MIN, 1).ok());
}

TEST(Extents, TextHasOnlyNeededParentheses) {
  using K = ExtentExpr::Kind;
  Program p;
  p.symbols = {{"H", 0, 0}};
  p.expressions = {{K::symbol, 0, 0, 0},    {K::constant, 2, 0, 0}, {K::add, 0, 0, 1},
                   {K::floor_div, 0, 2, 1}, {K::sub, 0, 3, 2},      {K::max, 0, 4, 1},
                   {K::ceil_div, 0, 0, 1}};
  EXPECT_EQ(format_expression(p, 3), "(H+2)/2");
  EXPECT_EQ(format_expression(p, 4), "(H+2)/2-(H+2)");
  EXPECT_EQ(format_expression(p, 5), "max((H+2)/2-(H+2),2)");
  EXPECT_EQ(format_expression(p, 6), "ceil_div(H,2)");
}

TEST(NearestName, SuggestsOnlyWhatIsClose) {
  const std::vector<std::string> names = {"input_ids", "attention_mask", "x"};
  EXPECT_EQ(nearest_name("inputs_id", names), "input_ids");
  EXPECT_EQ(nearest_name("INPUT_IDS", names), "input_ids");
  EXPECT_EQ(nearest_name("attention", names), "");
  EXPECT_EQ(nearest_name("y", names), "x");
  EXPECT_EQ(nearest_name(std::string(100000, 'a'), names), "");
}

}  // namespace
}  // namespace tintype::testing
