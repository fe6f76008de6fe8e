// The counter of what kernels move: requests whose cost is known.
#include "tests/support/cuda/traffic.h"

#include <gtest/gtest.h>

namespace tintype::ptx {
namespace {

constexpr unsigned kOne[3] = {1, 1, 1}, kWarp[3] = {32, 1, 1};

/// One block of a warp, whose threads access memory `stride` bytes apart, twice.
KernelTraffic moved(Traffic::Memory memory, size_t stride, size_t bytes) {
  Traffic t;
  t.begin_launch("f", kOne, kWarp);
  t.begin_block(0, 32);
  for (size_t i = 0; i < 32; ++i)
    for (int times = 0; times < 2; ++times) t.access(i, 7, memory, 4096 + i * stride, bytes);
  t.end_block();
  return t.kernels().begin()->second;
}

TEST(Traffic, NeighboursShareSectors) {
  const KernelTraffic k = moved(Traffic::Memory::global, 4, 4);
  EXPECT_EQ(k.global_requests, 2u);
  EXPECT_EQ(k.sectors, 8u);
  EXPECT_EQ(k.least_sectors, 8u);
  EXPECT_EQ(k.block_sectors, 4u);
}

TEST(Traffic, DistantAccessesTakeASectorEach) {
  const KernelTraffic k = moved(Traffic::Memory::global, 256, 4);
  EXPECT_EQ(k.sectors, 64u);
  EXPECT_EQ(k.least_sectors, 8u);
}

TEST(Traffic, ABankGivesOneWordAtATime) {
  EXPECT_EQ(moved(Traffic::Memory::shared, 4, 4).passes, 2u);
  EXPECT_EQ(moved(Traffic::Memory::shared, 128, 4).passes, 64u);
  EXPECT_EQ(moved(Traffic::Memory::shared, 0, 16).passes, 2u);  // all ask for the same
  const KernelTraffic vectors = moved(Traffic::Memory::shared, 16, 16);
  EXPECT_EQ(vectors.passes, 8u);
  EXPECT_EQ(vectors.least_passes, 8u);
}

TEST(Traffic, BlocksAreLeftOutEvenly) {
  Traffic t(2, true);
  const unsigned five[3] = {5, 1, 1};
  t.begin_launch("f", five, kWarp);
  std::string seen;
  for (size_t block = 0; block < 5; ++block) seen += t.begin_block(block, 32) ? "x" : "-";
  EXPECT_EQ(seen, "x--x-");
  const KernelTraffic& k = t.kernels().at("f 5x1x1 blocks of 32x1x1");
  EXPECT_EQ(k.blocks, 5u);
  EXPECT_EQ(k.blocks_seen, 2u);
}

TEST(Traffic, AWarpTakesAsLongAsItsLongestThread) {
  Traffic t;
  t.begin_launch("f", kOne, kWarp);
  t.begin_block(0, 32);
  t.instruction(0, false);
  for (int i = 0; i < 3; ++i) t.instruction(5, true);
  t.end_block();
  const KernelTraffic& k = t.kernels().begin()->second;
  EXPECT_EQ(k.instructions, 3u);
  EXPECT_EQ(k.multiply_adds, 3u);
}

}  // namespace
}  // namespace tintype::ptx
