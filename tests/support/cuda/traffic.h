// What kernels move, counted as a GPU's profiler counts it: while their PTX is interpreted,
// accesses of a warp's threads by the same instruction are one request.
//
// A request to global memory costs the sectors of 32 bytes that it touches, one to shared memory as
// many passes as there are words in the bank that is asked for most. What it would cost at best,
// were its bytes side by side, is counted beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

namespace tintype::ptx {

/// Sums over the blocks that were looked at.
struct KernelTraffic {
  uint64_t launches = 0, blocks = 0, blocks_seen = 0;
  uint64_t instructions = 0;     ///< of warps
  uint64_t longest = 0;          ///< instructions of the warp that has most
  uint64_t multiply_adds = 0;    ///< of threads
  uint64_t global_requests = 0;  ///< of warps
  uint64_t sectors = 0, least_sectors = 0;
  uint64_t block_sectors = 0;  ///< that differ within a block: what its first-level cache fetches
  uint64_t shared_requests = 0;
  uint64_t passes = 0, least_passes = 0;
  uint64_t local_accesses = 0;  ///< of threads, to memory of their own
};

class Traffic {
 public:
  /// Looks at so many blocks of each launch, at even distances; at all with 0. With `only_those`
  /// the others do not run, and what kernels compute is not to be relied upon.
  explicit Traffic(size_t blocks = 0, bool only_those = false) : most_(blocks), only_(only_those) {}

  bool leaves_out() const { return only_; }
  /// By name and extents: "_kernel_out_s0 16x8x1 blocks of 32x4x1".
  const std::map<std::string, KernelTraffic>& kernels() const { return kernels_; }
  /// A line per kernel, those that an H100 would need longest for first.
  std::string table() const;

  // For the interpreter.
  void begin_launch(const std::string& kernel, const unsigned blocks[3], const unsigned threads[3]);
  /// False: the block need not run.
  bool begin_block(size_t block, size_t threads);
  void instruction(size_t thread, bool multiply_add);
  enum class Memory : uint8_t { global, shared, local };
  void access(size_t thread, size_t line, Memory memory, uint64_t address, size_t bytes);
  void end_of_interval();  ///< all threads are at a barrier
  void end_block();

 private:
  struct Access {
    uint32_t line;
    Memory memory;
    uint8_t bytes;
    uint64_t address;
  };
  struct Thread {
    uint64_t instructions = 0;
    std::vector<Access> accesses;
  };
  void count_request(const std::vector<Access>& of_warp);

  const size_t most_;
  const bool only_;
  bool looking_ = false;
  size_t stride_ = 1;
  KernelTraffic* now_ = nullptr;
  std::vector<Thread> threads_;
  std::unordered_set<uint64_t> seen_;  ///< sectors of the block
  std::map<std::string, KernelTraffic> kernels_;
};

}  // namespace tintype::ptx
