// Random numbers that depend on what they are for, not on who drew before: any thread can make
// those of any sample.
#pragma once

#include "runtime/philox.h"

#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace tintype {

/// The stream of numbers of one (seed, purpose, epoch, item).
class RandomDraws {
 public:
  enum Purpose : uint32_t { kOrder = 1, kAugment = 2 };

  /// Epoch and item enter with 64 bits each; seed and purpose make the key of Philox.
  RandomDraws(uint64_t seed, Purpose purpose, uint64_t epoch, uint64_t item)
      : key_(stream_key(seed, purpose, epoch)),
        item_{static_cast<uint32_t>(item), static_cast<uint32_t>(item >> 32)} {}

  uint32_t word() {
    if (used_ == block_.size()) {
      const auto low = static_cast<uint32_t>(next_), high = static_cast<uint32_t>(next_ >> 32);
      block_ = philox::words({low, high, item_[0], item_[1]}, key_);
      ++next_;
      used_ = 0;
    }
    return block_[used_++];
  }
  /// Uniform in [0, 1), a multiple of 2^-32.
  double unit() { return word() * 0x1p-32; }
  double uniform(double low, double high) { return low + unit() * (high - low); }
  /// Uniform in [0, count). The bias is below count / 2^64.
  uint64_t below(uint64_t count) {
    const uint64_t high = word();
    const uint64_t bits = high << 32 | word();
    return static_cast<uint64_t>((Wide{bits} * count) >> 64);
  }
  /// Two independent standard normal numbers (Box & Muller 1958).
  std::pair<double, double> normals() {
    const double radius = std::sqrt(-2 * std::log(1 - unit()));
    const double angle = 2 * std::numbers::pi * unit();
    return {radius * std::cos(angle), radius * std::sin(angle)};
  }

 private:
  __extension__ using Wide = unsigned __int128;

  /// Philox has 128 bits of counter and 64 of key; epoch and purpose are mixed into the key by
  /// Philox itself, so that streams of nearby seeds and epochs have nothing in common.
  static philox::Key stream_key(uint64_t seed, Purpose purpose, uint64_t epoch) {
    const philox::Block mixed = philox::words(
        {static_cast<uint32_t>(epoch), static_cast<uint32_t>(epoch >> 32), purpose, 0},
        {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    return {mixed[0], mixed[1]};
  }

  philox::Key key_;
  uint32_t item_[2];
  uint64_t next_ = 0;
  philox::Block block_{};
  size_t used_ = block_.size();
};

/// Fisher & Yates, the same on every machine (std::shuffle differs between libraries).
inline void shuffle(std::vector<int64_t>& order, RandomDraws draws) {
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
}

}  // namespace tintype
