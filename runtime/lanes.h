// Which work of a program may run beside which, on a few lanes: streams of a CUDA device.
//
// Work is listed in the order of the program. Each lane does its work in that order; work that
// needs what another lane does waits for it. What needs what is read off the memory that work
// touches, so an order found here is right wherever buffers lie.
#pragma once

#include "runtime/byte_box.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tintype {

/// Bytes that a piece of work reads or writes.
struct MemoryUse {
  int32_t space = 0;    ///< memory with addresses of its own; no byte belongs to two spaces
  int32_t storage = 0;  ///< a buffer in it, whose bytes `box` counts
  int64_t place = 0;    ///< where the storage begins in its space
  ByteBox box;
  bool write = false;
};

/// Steps that stay together on one lane.
struct LaneWork {
  std::vector<MemoryUse> uses;
  double seconds = 0;  ///< that it is reckoned to take alone
  double busy = 0;     ///< of these, what the whole device is needed for: nothing runs beside it
  bool after_all = false;  ///< begins when everything before it is done, and the host has waited
  bool on_host = false;    ///< is on no lane: done when the next work is asked for
};

/// Per work, the earlier work that it must not overtake: two touch a byte, and one of them writes
/// it. Work that is behind such a one anyway, by way of a third, is left out where that is cheap to
/// see. `placed`: storages of one space may share bytes; else each is memory of its own.
std::vector<std::vector<int32_t>> dependences(std::span<const LaneWork> work, bool placed);

/// When work is reckoned to run, and where.
struct LaneSchedule {
  int32_t lanes = 1;  ///< that have work
  std::vector<int32_t> lane;
  std::vector<double> start, finish;
  double seconds = 0;  ///< of all of it
};

/// Gives each work, in order, the lane where it can begin first: as a rule that of the work it
/// waits longest for, another one where that lane has gone on. At most `most` lanes, all of them
/// lane 0 where `most` is 1.
LaneSchedule choose_lanes(std::span<const LaneWork> work,
                          std::span<const std::vector<int32_t>> after, int32_t most);
/// The same for lanes that are chosen already.
LaneSchedule reckon_lanes(std::span<const LaneWork> work,
                          std::span<const std::vector<int32_t>> after,
                          std::span<const int32_t> lane);

/// What each lane waits for. Lane 0 begins and ends all of it: every other lane begins behind it
/// and is waited for at the end, as recording a CUDA graph wants it.
struct LaneOrder {
  static constexpr int32_t kStart = -1;     ///< lane 0, before its first work
  std::vector<std::vector<int32_t>> waits;  ///< per work: work on other lanes, or kStart
  std::vector<int32_t> joins;               ///< what lane 0 waits for behind its last work
  bool forks = false;                       ///< some work waits for kStart
  size_t count() const;                     ///< of all waits, joins included
};

/// The fewest waits that keep the order `after`: none for what waits made earlier imply.
LaneOrder order_lanes(std::span<const LaneWork> work, std::span<const std::vector<int32_t>> after,
                      std::span<const int32_t> lane);

}  // namespace tintype
