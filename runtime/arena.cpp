// Greedy-by-size arena planning.
#include "runtime/arena.h"

#include "runtime/memory.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace tintype {

namespace {

struct Placed {
  size_t begin, end;
  size_t buffer;
};

// The start of the tightest gap of at least `bytes` among those alive at the same time, which are
// sorted by begin; behind all of them when no gap is wide enough.
size_t find_gap(const std::vector<Placed>& placed, size_t buffer, size_t bytes,
                const Together& together) {
  size_t best = SIZE_MAX, best_width = SIZE_MAX, end = 0;
  for (const Placed& p : placed) {
    if (!together(p.buffer, buffer)) continue;
    if (p.begin > end) {
      const size_t width = p.begin - end;
      if (width >= bytes && width < best_width) {
        best = end;
        best_width = width;
      }
    }
    end = std::max(end, p.end);
  }
  return best == SIZE_MAX ? end : best;
}

}  // namespace

ArenaPlan plan_arena(std::span<const Lifetime> buffers) {
  return plan_arena(buffers, [buffers](size_t a, size_t b) {
    return buffers[a].last >= buffers[b].first && buffers[b].last >= buffers[a].first;
  });
}

ArenaPlan plan_arena(std::span<const Lifetime> buffers, const Together& together) {
  ArenaPlan plan;
  plan.offsets.assign(buffers.size(), 0);
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b;
  });
  std::vector<Placed> placed;
  placed.reserve(buffers.size());
  for (size_t i : order) {
    const size_t bytes = round_up(buffers[i].bytes, kBufferAlignment);
    if (bytes == 0) continue;
    const size_t begin = find_gap(placed, i, bytes, together);
    plan.offsets[i] = begin;
    plan.bytes = std::max(plan.bytes, begin + bytes);
    plan.unplanned += bytes;
    const Placed entry{begin, begin + bytes, i};
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), entry,
                         [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
        entry);
  }
  return plan;
}

size_t arena_lower_bound(std::span<const Lifetime> buffers) {
  std::map<int32_t, int64_t> change;
  for (const Lifetime& b : buffers) {
    const auto bytes = static_cast<int64_t>(round_up(b.bytes, kBufferAlignment));
    change[b.first] += bytes;
    change[b.last + 1] -= bytes;
  }
  int64_t live = 0, most = 0;
  for (const auto& [step, delta] : change) {
    live += delta;
    most = std::max(most, live);
  }
  return static_cast<size_t>(most);
}

}  // namespace tintype
