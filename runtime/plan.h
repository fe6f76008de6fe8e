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

  int64_t value(ExprId id) const { return values[static_cast<size_t>(id)]; }
};

/// Binds a validated program. Fails with invalid_argument when the extents violate a constraint, or
/// make a tensor negative or too large; with `internal` when a view leaves its storage.
Result<std::shared_ptr<const Plan>> make_plan(const Program& program,
                                              std::span<const int64_t> symbols);

/// The most recently used plans of a program. Thread-safe.
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
