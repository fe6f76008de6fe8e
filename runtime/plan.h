// A Program bound to values of its symbols: every size, address and choice, but no memory.
#pragma once

#include "runtime/attributes.h"
#include "runtime/program.h"
#include "runtime/status.h"

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace tintype {

/// How the steps are spread over streams of the CUDA device.
struct PlannedLanes {
  /// A step that no other one spans, with the steps that it spans.
  struct Part {
    int32_t first_step = 0;
    int32_t lane = 0;
    std::vector<int32_t> waits;  ///< events that have to happen before
    int32_t event = -1;          ///< that is recorded behind it, or -1
  };
  int32_t count = 1;             ///< of lanes; with 1, all that follows is empty
  std::vector<Part> parts;       ///< in the order of the steps
  std::vector<int32_t> part_of;  ///< per step
  bool forks = false;            ///< event 0 is recorded on lane 0 before everything
  std::vector<int32_t> joins;    ///< events that lane 0 waits for in the end
  int32_t events = 0;
  size_t waits = 0;             ///< of lanes for each other, joins included
  size_t bytes_on_one = 0;      ///< what the arena on the device would have with one lane
  double seconds_of_one = 0;    ///< what a run is reckoned to take with one lane,
  double seconds_of_lanes = 0;  ///< and with these: rough figures, to decide by

  /// The lane of a step.
  int32_t lane_of(size_t step) const {
    return count == 1 ? 0 : parts[static_cast<size_t>(part_of[step])].lane;
  }
};

/// Immutable, shared by all sessions that run the same extents.
struct Plan {
  std::vector<int64_t> symbols;  ///< what this plan is for
  std::vector<int64_t> values;   ///< of all expressions
  std::vector<std::vector<int64_t>> input_dims, output_dims;
  std::vector<size_t> arena_offsets;   ///< per storage, 0 for those outside the arena
  size_t arena_bytes = 0;              ///< planned size of the arena
  size_t device_bytes = 0;             ///< planned size of the arena on the CUDA device
  size_t unplanned_bytes = 0;          ///< its size without sharing
  std::vector<int32_t> alternatives;   ///< per step: the alternative taken, -1 for other kinds
  std::vector<Attributes> attributes;  ///< per step: attributes of host ops, evaluated
  PlannedLanes lanes;

  int64_t value(ExprId id) const { return values[static_cast<size_t>(id)]; }
};

/// Binds a validated program. Fails with invalid_argument when the extents violate a constraint, or
/// make a tensor negative or too large; with `internal` when a view leaves its storage. Steps on
/// the CUDA device are spread over `streams` lanes at most.
Result<std::shared_ptr<const Plan>> make_plan(const Program& program,
                                              std::span<const int64_t> symbols,
                                              int32_t streams = 1);

/// The most recently used plans of a program, for as many streams as cuda_streams() says.
/// Thread-safe.
class PlanCache {
 public:
  explicit PlanCache(std::shared_ptr<const Program> program) : program_(std::move(program)) {}
  Result<std::shared_ptr<const Plan>> get(std::span<const int64_t> symbols);

  static constexpr size_t kCapacity = 32;

 private:
  const std::shared_ptr<const Program> program_;
  std::mutex mutex_;
  std::list<std::shared_ptr<const Plan>> recent_;  ///< most recent first
};

}  // namespace tintype
