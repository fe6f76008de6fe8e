// The cost model of products on CUDA devices.
#include "codegen/block_tiles.h"

#include "codegen/library_steps.h"
#include "runtime/cuda/driver.h"

#include <algorithm>
#include <cmath>

namespace tintype {

namespace {

/// A device as far as products are concerned.
struct Device {
  double processors;     ///< multiprocessors
  double tf32;           ///< multiply-adds of its tensor cores, per processor and cycle
  double half;           ///< the same of operands in bf16 or f16, sums in f32
  double multiply_adds;  ///< of f32, per processor and cycle
  double gigahertz;
  double memory_gbs, cache_gbs;  ///< main memory, second-level cache
  double shared_bytes;           ///< per processor
};

Device device_of(int capability) {
  if (capability >= 90) return {132, 1024, 2048, 128, 1.6, 3000, 5500, 228e3};  // H100
  if (capability >= 86) return {84, 256, 512, 128, 1.7, 800, 2500, 100e3};
  if (capability >= 80) return {108, 512, 1024, 64, 1.4, 1500, 4000, 164e3};  // A100
  return {72, 64, 512, 64, 1.5, 600, 1500, 64e3};
}

constexpr double kWarp = 32, kLatency = 600;  // cycles until a load from far away is there
constexpr double kLaunch = 2.5;               // microseconds
constexpr int kMostParts = 256;

/// Columns, positions of a block, and those of a thread.
struct Candidate {
  int columns, positions, thread_columns, thread_positions;
};
constexpr Candidate kCandidates[] = {
    {128, 128, 8, 8}, {128, 64, 4, 8}, {128, 32, 4, 4}, {128, 16, 4, 2}, {128, 8, 4, 1},
    {64, 128, 4, 8},  {64, 64, 4, 8},  {64, 64, 4, 4},  {64, 32, 4, 4},  {64, 8, 4, 1},
    {32, 128, 4, 8},  {32, 64, 4, 8},  {32, 32, 4, 4},  {32, 16, 4, 2},  {32, 8, 4, 1},
    {16, 128, 4, 8},  {16, 64, 4, 4},  {16, 32, 4, 2},  {8, 256, 4, 8},  {8, 128, 4, 8},
    {8, 64, 4, 4}};

double up(double a, double b) { return std::ceil(a / b); }

/// Blocks that a processor holds at once.
double resident(const BlockTile& t, const Device& d) {
  const double sums = t.thread_columns * t.thread_positions;
  const double registers = sums >= 64 ? kCudaRegisters : sums >= 32 ? 112 : 72;
  const double shared = 2.0 * 4 * t.depth * (t.columns + t.positions);
  const double most = std::min(
      {2048.0 / t.threads(), 65536 / (registers * t.threads()), d.shared_bytes / shared, 32.0});
  return std::max(1.0, std::floor(most));
}

/// Cycles that a processor needs for a step of the sum of one block.
double step_cycles(const BlockTile& t, const Device& d) {
  const double warps = t.threads() / kWarp;
  const double arithmetic = t.columns * t.positions / d.multiply_adds;
  // Per step a thread reads vectors of its columns, which differ among `lanes`, and a quarter of a
  // vector for each position, which all lanes share.
  const double across = std::max(1.0, std::min(kWarp, double(t.lanes())) / 8);
  const double shared = warps * (t.thread_columns / 4.0 * across + t.thread_positions / 4.0);
  // Copying: about twenty instructions per vector, of which 128 start per cycle.
  const double copies =
      (t.columns / double(t.right_vector) + t.positions / double(t.left_vector)) * 20 / 128;
  return std::max(arithmetic, shared) + copies + 40.0 / t.depth;
}

std::vector<BlockTile> tiles_of(const ProductExtents& p, int columns) {
  std::vector<BlockTile> list;
  for (const Candidate& c : kCandidates) {
    if (columns > 0 && c.columns != columns) continue;
    BlockTile t;
    t.columns = c.columns;
    t.positions = c.positions;
    t.thread_columns = c.thread_columns;
    t.thread_positions = c.thread_positions;
    const int sums = c.thread_columns * c.thread_positions;
    // Single elements take registers for where each of them lies.
    if (sums >= 64 && !p.left_vectors) continue;
    // What a thread copies of the next panels waits in registers, and where each of it lies.
    constexpr int kMostCopies = 40, kMostSingle = 16;
    const auto copies = [&](int steps) {
      return p.left_vectors ? (c.columns + c.positions) * steps : c.positions * steps;
    };
    const int most = (p.left_vectors ? kMostCopies : kMostSingle) * t.threads();
    t.depth = sums >= 64 || copies(16) > most ? 8 : 16;
    if (copies(t.depth) > most) continue;
    t.left_vector = p.left_vectors ? 4 : 1;
    t.right_vector = 4;
    for (t.splits = 1; t.splits <= kMostParts; t.splits *= 2)
      if (t.splits == 1 || p.depth >= int64_t{4} * t.depth * t.splits) list.push_back(t);
  }
  return list;
}

int64_t window_size(const Node& n) {
  int64_t size = 1;
  for (const int64_t k : n.attrs().integers("window")) size *= k;
  return size;
}

}  // namespace

ProductExtents product_extents(const Node& n, const std::function<int64_t(const Dim&)>& hint) {
  const auto all = [&](const Shape& s, size_t begin, size_t end) {
    int64_t p = 1;
    for (size_t i = begin; i < end; ++i) p *= std::max<int64_t>(1, hint(s[i]));
    return p;
  };
  const Shape& out = n.result()->shape();
  const Shape& a = n.operand(0)->shape();
  const Shape& b = n.operand(1)->shape();
  ProductExtents p;
  p.columns = hint(out.back());
  p.positions = all(out, 0, out.size() - 1);
  p.left_elements = all(a, 0, a.size());
  p.operand_bytes = static_cast<double>(size_of(n.operand(0)->dtype()));
  p.left_vectors =
      !n.is("conv_weight_gradient") && a.back().is_static() && a.back().value() % 4 == 0;
  if (n.is("conv_weight_gradient")) {
    p.depth = all(b, 0, b.size() - 1);
  } else if (n.is("conv")) {
    p.depth = hint(a.back()) / n.attrs().integer("group", 1) * window_size(n);
  } else {
    p.depth = hint(a.back());
    const size_t matrix = n.attrs().integer("block") > 0 ? 3 : 2;
    if (b.size() > matrix && all(b, 0, b.size() - matrix) > 1) {
      p.batch = all(out, 0, out.size() - 2);
      p.positions /= p.batch;
    }
  }
  return p;
}

double transfer_cost(double bytes, int capability) {
  const Device d = device_of(capability);
  // What fits the second-level cache with room to spare is found there by the next kernel.
  constexpr double kFits = 16e6;
  return kLaunch + bytes / ((bytes < kFits ? d.cache_gbs / 2 : d.memory_gbs) * 1e3);
}

CudaCost tile_cost(const ProductExtents& p, const BlockTile& t, int capability) {
  const Device d = device_of(capability);
  const double column_blocks = up(double(p.columns), t.columns);
  const double blocks =
      column_blocks * up(double(p.positions), t.positions) * double(p.batch) * t.splits;
  const double chunks = up(double(p.depth), double(t.depth) * t.splits);
  // A processor works on a few blocks at once: none is faster than its loads are.
  const double mine = up(blocks, d.processors), together = std::min(mine, resident(t, d));
  const double chunk = std::max(together * t.depth * step_cycles(t, d), kLatency);
  const double arithmetic =
      up(mine, together) * ((chunks + 1) * chunk + 2 * kLatency) / (d.gigahertz * 1e3);
  const double results = double(p.batch * p.positions * p.columns);
  const double matrix = double(p.batch * p.depth * p.columns);
  const double bytes =
      p.operand_bytes * (double(p.left_elements) + matrix) + 4 * results * t.splits;
  const double copied = p.operand_bytes * blocks * chunks * t.depth * (t.columns + t.positions);
  const double memory = bytes / (d.memory_gbs * 1e3), cache = copied / (d.cache_gbs * 1e3);
  const double most = std::max({arithmetic, memory, cache});
  // Of tiles that take the same time, the one that computes least beside the result.
  const double idle = 0.02 * blocks * t.columns * t.positions * chunks * t.depth /
                      (d.processors * d.multiply_adds * d.gigahertz * 1e3);
  // A thread adds the parts of a result, and has loads of kPartsTogether on their way.
  const double adding = t.splits > 1
                            ? transfer_cost(4 * results * (t.splits + 1), capability) +
                                  up(t.splits, kPartsTogether) * kLatency / (d.gigahertz * 1e3)
                            : 0;
  return {most + idle + adding + kLaunch, most == arithmetic ? "arithmetic"
                                          : most == memory   ? "memory"
                                                             : "cache"};
}

std::string tile_name(const Node& anchor, const BlockTile& t) {
  std::string name = anchor.is("dot")    ? "gemm "
                     : anchor.is("conv") ? "implicit gemm "
                                         : "weight gradient gemm ";
  name += std::to_string(t.positions) + "x" + std::to_string(t.columns);
  return t.splits > 1 ? name + ", " + std::to_string(t.splits) + " parts" : name;
}

namespace {

/// A library's tiles, and the share of a processor's rate that each reaches in f32, and with tensor
/// cores, which have to be fed faster.
struct LibraryTile {
  double columns, positions, share, tf32_share;
};
constexpr LibraryTile kLibraryTiles[] = {
    {256, 128, 0.90, 0.80}, {128, 128, 0.90, 0.70}, {128, 64, 0.85, 0.55}, {64, 64, 0.75, 0.40}};

}  // namespace

CudaCost library_cost(const ProductExtents& p, LibraryMath math, int capability) {
  const Device d = device_of(capability);
  // Looking at arguments, and a launch that our graph does not merge with its neighbours.
  constexpr double kCall = 1.0;
  const double results = double(p.batch * p.positions * p.columns);
  const double bytes =
      p.operand_bytes * (double(p.left_elements) + double(p.batch * p.depth * p.columns)) +
      4 * results;
  const double cores = math == LibraryMath::half ? d.half : d.tf32;
  const double memory = bytes / (d.memory_gbs * 1e3);
  CudaCost best{1e30, ""};
  for (const LibraryTile& t : kLibraryTiles)
    for (double splits = 1; splits <= 16; splits *= 2) {
      if (splits > 1 && double(p.depth) < 128 * splits) break;
      const double rate =
          math == LibraryMath::f32 ? d.multiply_adds * t.share : cores * t.tf32_share;
      const double blocks = up(double(p.columns), t.columns) *
                            up(double(p.positions), t.positions) * double(p.batch) * splits;
      const double cycles = t.columns * t.positions * up(double(p.depth), splits) / rate;
      const double arithmetic =
          (up(blocks, d.processors) * cycles + 3 * kLatency) / (d.gigahertz * 1e3);
      const double adding =
          splits > 1 ? 4 * results * (splits + 1) / (d.memory_gbs * 1e3) + kLaunch : 0;
      const double most = std::max(arithmetic, memory) + adding + kLaunch + kCall;
      if (most < best.microseconds) best = {most, memory > arithmetic ? "memory" : "arithmetic"};
    }
  return best;
}

BlockTile pick_block_tile(const ProductExtents& p, int columns, int capability) {
  BlockTile best;
  double least = 1e30;
  for (const BlockTile& t : tiles_of(p, columns)) {
    const double cost = tile_cost(p, t, capability).microseconds;
    if (cost >= least) continue;
    least = cost;
    best = t;
  }
  return best;
}

}  // namespace tintype
