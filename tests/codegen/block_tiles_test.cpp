// What the cost model of products on a CUDA device takes for shapes whose best tile is beyond
// doubt.
#include "codegen/block_tiles.h"

#include <gtest/gtest.h>

namespace tintype {
namespace {

constexpr int kDevices[] = {75, 80, 86, 90};

TEST(BlockTiles, LargeProductsTakeTheLargestTile) {
  const ProductExtents p = {1, 4096, 4096, 4096, 4096 * 4096};
  for (const int device : {80, 90}) {
    const BlockTile t = pick_block_tile(p, 0, device);
    EXPECT_EQ(t.positions, 128) << device;
    EXPECT_EQ(t.columns, 128) << device;
    EXPECT_STREQ(tile_cost(p, t, device).limit, "arithmetic");
  }
}

TEST(BlockTiles, OneRowIsALongSumInParts) {
  const ProductExtents p = {1, 1, 1000, 2048, 2048};
  for (const int device : kDevices) {
    const BlockTile t = pick_block_tile(p, 0, device);
    EXPECT_EQ(t.positions, 8) << device;
    EXPECT_GT(t.splits, 1) << device;
  }
}

TEST(BlockTiles, WeightGradientsOfLargeImagesAreInParts) {
  for (const int device : kDevices)
    EXPECT_GE(pick_block_tile({1, 576, 64, 100352, 6422528, false}, 0, device).splits, 8) << device;
}

TEST(BlockTiles, PartsAreNeverShorterThanAFewSteps) {
  for (const int64_t depth : {16, 40, 200, 5000}) {
    const BlockTile t = pick_block_tile({1, 1, 64, depth, depth}, 0, 90);
    EXPECT_GE(depth, t.splits > 1 ? 4 * t.depth * t.splits : 1);
  }
}

TEST(BlockTiles, PanelsThatArePackedKeepTheirWidth) {
  for (const int columns : {8, 16, 32, 64, 128})
    EXPECT_EQ(pick_block_tile({1, 300, 100, 64, 300 * 64}, columns, 90).columns, columns);
}

TEST(BlockTiles, FewColumnsTakeNarrowTiles) {
  const ProductExtents p = {1, 400000, 6, 150, 400000 * 25};
  for (const int device : kDevices) EXPECT_EQ(pick_block_tile(p, 0, device).columns, 8) << device;
}

TEST(BlockTiles, FewLongSumsAreSpreadOverTheDevice) {
  for (const int device : kDevices)
    EXPECT_GE(pick_block_tile({1, 25, 6, 73728, 100352, false}, 0, device).splits, 64) << device;
}

TEST(BlockTiles, TimeGrowsWithTheWork) {
  double before = 0;
  for (const int64_t rows : {64, 1024, 16384, 262144}) {
    const ProductExtents p = {1, rows, 256, 2304, rows * 256};
    const double now = tile_cost(p, pick_block_tile(p, 0, 80), 80).microseconds;
    EXPECT_GT(now, before);
    before = now;
  }
}

TEST(BlockTiles, ThreadsFillWarps) {
  for (const int64_t rows : {1, 20, 40, 100, 1000, 100000})
    for (const int64_t columns : {10, 64, 100, 1000}) {
      const BlockTile t = pick_block_tile({1, rows, columns, 512, rows * 512}, 0, 80);
      EXPECT_EQ(t.threads() % 32, 0);
      EXPECT_LE(t.threads(), 256);
      EXPECT_EQ(t.columns % t.thread_columns, 0);
      EXPECT_EQ(t.depth % 4, 0);
    }
}

}  // namespace
}  // namespace tintype
