// Boxes of bytes against sets of bytes.
#include "runtime/byte_box.h"

#include <gtest/gtest.h>
#include <random>
#include <set>
#include <string>

namespace tintype {
namespace {

using Extents = std::vector<int64_t>;

std::set<int64_t> bytes_of(int64_t offset, const Extents& extents, const Extents& strides,
                           int64_t element) {
  std::set<int64_t> starts = {offset};
  for (size_t i = 0; i < extents.size(); ++i) {
    std::set<int64_t> next;
    for (int64_t at : starts)
      for (int64_t k = 0; k < extents[i]; ++k) next.insert(at + k * strides[i]);
    starts = next;
  }
  std::set<int64_t> bytes;
  for (int64_t at : starts)
    for (int64_t k = 0; k < element; ++k) bytes.insert(at * element + k);
  return bytes;
}

bool share(const std::set<int64_t>& a, const std::set<int64_t>& b) {
  for (int64_t x : a)
    if (b.count(x) != 0) return true;
  return false;
}

TEST(ByteBox, JoinsAxesThatFollowEachOther) {
  const ByteBox box = byte_box(2, Extents{3, 4, 5}, Extents{20, 5, 1}, 4);
  EXPECT_TRUE(box.dense());
  EXPECT_EQ(box.begin, 8);
  EXPECT_EQ(box.end, 8 + 3 * 4 * 5 * 4);
}

TEST(ByteBox, KnowsEmptyReversedAndRepeatedAxes) {
  EXPECT_TRUE(byte_box(3, Extents{4, 0}, Extents{1, 4}, 4).empty());
  const ByteBox back = byte_box(9, Extents{10}, Extents{-1}, 1);
  EXPECT_EQ(back.begin, 0);
  EXPECT_EQ(back.end, 10);
  EXPECT_TRUE(back.dense());
  const ByteBox same = byte_box(1, Extents{1000}, Extents{0}, 2);
  EXPECT_EQ(same.end - same.begin, 2);
}

// The parts of a concatenation along the channels lie between each other.
TEST(ByteBox, TellsChannelsApart) {
  const auto part = [](int64_t first, int64_t count) {
    return byte_box(first, Extents{2, 7, 7, count}, Extents{7 * 7 * 12, 7 * 12, 12, 1}, 4);
  };
  EXPECT_FALSE(may_overlap(part(0, 4), part(4, 8)));
  EXPECT_FALSE(may_overlap(part(4, 8), part(0, 4)));
  EXPECT_TRUE(may_overlap(part(0, 5), part(4, 8)));
  EXPECT_TRUE(may_overlap(part(0, 12), part(4, 8)));
  EXPECT_TRUE(covers(part(0, 12), part(4, 8)));
  EXPECT_FALSE(covers(part(4, 8), part(4, 8)));
}

// The inside of a padded picture, and the four strips around it.
TEST(ByteBox, TellsMarginsApart) {
  const Extents strides = {10 * 12 * 3, 12 * 3, 3, 1};
  const auto part = [&](int64_t y, int64_t x, int64_t rows, int64_t columns) {
    return byte_box((y * 12 + x) * 3, Extents{2, rows, columns, 3}, strides, 4);
  };
  const ByteBox inside = part(1, 1, 8, 10);
  for (const ByteBox& strip :
       {part(0, 0, 1, 12), part(9, 0, 1, 12), part(1, 0, 8, 1), part(1, 11, 8, 1)}) {
    EXPECT_FALSE(may_overlap(inside, strip));
    EXPECT_TRUE(may_overlap(part(0, 0, 10, 12), strip));
  }
}

// Never "apart" for two that share a byte, and exact for parts of one tensor.
TEST(ByteBox, AgreesWithSetsOfBytes) {
  std::mt19937 random(1);
  const auto number = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  int shared = 0, apart = 0;
  for (int round = 0; round < 4000; ++round) {
    const Extents whole = {number(1, 3), number(1, 4), number(1, 4), number(1, 5)};
    Extents strides(4, 1);
    for (size_t i = 3; i-- > 0;) strides[i] = strides[i + 1] * whole[i + 1];
    const int64_t element = number(1, 4);
    const bool cut = round % 2 == 0;  // else strides of all kinds
    ByteBox boxes[2];
    std::set<int64_t> bytes[2];
    for (int k = 0; k < 2; ++k) {
      int64_t offset = 0;
      Extents extents(4), steps = strides;
      for (size_t i = 0; i < 4; ++i) {
        const int64_t first = number(0, whole[i] - 1);
        extents[i] = number(1, whole[i] - first);
        offset += first * strides[i];
        if (!cut) steps[i] = number(0, 9);
      }
      boxes[k] = byte_box(offset, extents, steps, element);
      bytes[k] = bytes_of(offset, extents, steps, element);
      EXPECT_EQ(boxes[k].begin, *bytes[k].begin());
      EXPECT_EQ(boxes[k].end, *bytes[k].rbegin() + 1);
      const bool dense = boxes[k].end - boxes[k].begin == static_cast<int64_t>(bytes[k].size());
      if (cut || boxes[k].dense()) {
        EXPECT_EQ(boxes[k].dense(), dense) << "round " << round;
      }
    }
    const bool both = share(bytes[0], bytes[1]);
    if (both) {
      EXPECT_TRUE(may_overlap(boxes[0], boxes[1])) << "round " << round;
    } else if (cut) {
      EXPECT_FALSE(may_overlap(boxes[0], boxes[1])) << "round " << round;
    }
    EXPECT_EQ(may_overlap(boxes[0], boxes[1]), may_overlap(boxes[1], boxes[0]));
    ++(both ? shared : apart);
  }
  EXPECT_GT(shared, 500);
  EXPECT_GT(apart, 500);
}

}  // namespace
}  // namespace tintype
