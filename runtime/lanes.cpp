// Lanes by list scheduling; waits by vector clocks.
#include "runtime/lanes.h"

#include <algorithm>
#include <map>

namespace tintype {

namespace {

/// From the end of work on one lane to the beginning of what waits for it on another one.
constexpr double kCrossing = 2e-6;

/// What was touched in a space and is not wholly overwritten since.
struct Touched {
  int32_t work;
  const MemoryUse* use;
};

bool conflict(const MemoryUse& a, const MemoryUse& b) {
  if (!a.write && !b.write) return false;
  if (a.storage == b.storage) return may_overlap(a.box, b.box);
  return !a.box.empty() && !b.box.empty() && a.place + a.box.begin < b.place + b.box.end &&
         b.place + b.box.begin < a.place + a.box.end;
}

bool overwrites(const MemoryUse& a, const MemoryUse& b) {
  if (!a.write) return false;
  if (a.storage == b.storage) return covers(a.box, b.box);
  return a.box.dense() && a.place + a.box.begin <= b.place + b.box.begin &&
         b.place + b.box.end <= a.place + a.box.end;
}

class Scheduler {
 public:
  Scheduler(std::span<const LaneWork> work, std::span<const std::vector<int32_t>> after,
            int32_t most)
      : work_(work), after_(after), ready_(static_cast<size_t>(std::max(most, 1)), 0.0) {
    plan_.lane.resize(work.size());
    plan_.start.resize(work.size());
    plan_.finish.resize(work.size());
  }

  /// Where work could begin on a lane.
  double start_on(size_t w, int32_t lane) const {
    double start = ready_[static_cast<size_t>(lane)];
    if (work_[w].after_all) return std::max(host_, *std::max_element(ready_.begin(), ready_.end()));
    for (int32_t d : after_[w]) {
      const auto before = static_cast<size_t>(d);
      const bool here = plan_.lane[before] == lane || work_[before].on_host;
      start = std::max(start, plan_.finish[before] + (here ? 0 : kCrossing));
    }
    return std::max(start, host_);
  }

  void place(size_t w, int32_t lane) {
    plan_.lane[w] = lane;
    plan_.start[w] = start_on(w, lane);
    plan_.finish[w] = plan_.start[w] + work_[w].seconds;
    if (work_[w].after_all) host_ = plan_.start[w];
    if (work_[w].on_host) host_ = plan_.finish[w];
    else ready_[static_cast<size_t>(lane)] = plan_.finish[w];
    plan_.lanes = std::max(plan_.lanes, lane + 1);
    plan_.seconds = std::max(plan_.seconds, plan_.finish[w]);
    busy_ += work_[w].busy;
  }

  /// The lane of the work that is done last of those that `w` waits for; -1: it waits for none.
  int32_t critical(size_t w) const {
    int32_t lane = -1;
    double latest = -1;
    for (int32_t d : after_[w]) {
      const auto before = static_cast<size_t>(d);
      if (work_[before].on_host || plan_.finish[before] <= latest) continue;
      latest = plan_.finish[before];
      lane = plan_.lane[before];
    }
    return lane;
  }

  int32_t best_lane(size_t w) const {
    if (work_[w].on_host || work_[w].after_all) return 0;
    const int32_t tried = std::min(plan_.lanes + 1, static_cast<int32_t>(ready_.size()));
    int32_t best = std::max(critical(w), 0);
    double start = start_on(w, best);
    for (int32_t lane = 0; lane < tried; ++lane)
      if (start_on(w, lane) < start) {
        best = lane;
        start = start_on(w, lane);
      }
    return best;
  }

  /// The device does not do more than all of it can, however many lanes there are.
  LaneSchedule take() {
    plan_.seconds = std::max(plan_.seconds, busy_);
    return std::move(plan_);
  }

 private:
  std::span<const LaneWork> work_;
  std::span<const std::vector<int32_t>> after_;
  LaneSchedule plan_;
  std::vector<double> ready_;  ///< per lane: when its latest work is done
  double host_ = 0;            ///< until when the host has waited
  double busy_ = 0;
};

/// How much of each lane is known to be done, as numbers of its work.
using Clock = std::vector<int32_t>;

void merge(Clock& to, const Clock& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], from[i]);
}

class Orderer {
 public:
  Orderer(std::span<const LaneWork> work, std::span<const int32_t> lane)
      : work_(work), lane_(lane), number_(work.size()), done_(work.size()) {
    int32_t lanes = 1;
    for (int32_t l : lane) lanes = std::max(lanes, l + 1);
    const auto count = static_cast<size_t>(lanes);
    issued_.assign(count, 0);
    last_.assign(count, -1);
    host_.assign(count, 0);
    behind_.assign(count, Clock(count, 0));
    order_.waits.resize(work.size());
  }

  void add(size_t w, std::vector<int32_t> after) {
    if (work_[w].after_all || work_[w].on_host) host_ = issued_;
    if (work_[w].on_host) return;
    const auto lane = static_cast<size_t>(lane_[w]);
    Clock& clock = behind_[lane];
    merge(clock, host_);
    // The latest first: waiting for it may spare waiting for the others.
    std::sort(after.begin(), after.end(), std::greater<>());
    for (int32_t d : after) wait(order_.waits[w], clock, static_cast<size_t>(d));
    if (lane != 0 && last_[lane] < 0 && order_.waits[w].empty()) {
      order_.waits[w].push_back(LaneOrder::kStart);
      order_.forks = true;
    }
    number_[w] = clock[lane] = ++issued_[lane];
    last_[lane] = static_cast<int32_t>(w);
    done_[w] = clock;
  }

  LaneOrder finish() {
    std::vector<int32_t> ends(last_.begin() + 1, last_.end());
    std::sort(ends.begin(), ends.end(), std::greater<>());
    merge(behind_[0], host_);
    for (int32_t end : ends)
      if (end >= 0) wait(order_.joins, behind_[0], static_cast<size_t>(end));
    return std::move(order_);
  }

 private:
  void wait(std::vector<int32_t>& list, Clock& clock, size_t d) {
    if (work_[d].on_host || clock[static_cast<size_t>(lane_[d])] >= number_[d]) return;
    list.push_back(static_cast<int32_t>(d));
    merge(clock, done_[d]);
  }

  std::span<const LaneWork> work_;
  std::span<const int32_t> lane_;
  LaneOrder order_;
  std::vector<int32_t> number_;  ///< of work on its lane, from 1
  std::vector<Clock> done_;      ///< what is done when the work is
  Clock issued_, host_;          ///< host_: what it has waited for
  std::vector<int32_t> last_;    ///< work of a lane
  std::vector<Clock> behind_;    ///< per lane: what its next work comes behind
};

}  // namespace

std::vector<std::vector<int32_t>> dependences(std::span<const LaneWork> work, bool placed) {
  std::vector<std::vector<int32_t>> after(work.size());
  std::map<std::pair<int32_t, int32_t>, std::vector<Touched>> spaces;
  for (size_t w = 0; w < work.size(); ++w) {
    const auto touched_before = [&](const MemoryUse& use) -> std::vector<Touched>& {
      return spaces[{use.space, placed ? -1 : use.storage}];
    };
    for (const MemoryUse& use : work[w].uses) {
      std::vector<Touched>& before = touched_before(use);
      for (const Touched& t : before)
        if (conflict(*t.use, use)) after[w].push_back(t.work);
      std::erase_if(before, [&](const Touched& t) { return overwrites(use, *t.use); });
    }
    for (const MemoryUse& use : work[w].uses)
      touched_before(use).push_back({static_cast<int32_t>(w), &use});
    std::sort(after[w].begin(), after[w].end());
    after[w].erase(std::unique(after[w].begin(), after[w].end()), after[w].end());
  }
  return after;
}

LaneSchedule choose_lanes(std::span<const LaneWork> work,
                          std::span<const std::vector<int32_t>> after, int32_t most) {
  Scheduler scheduler(work, after, most);
  for (size_t w = 0; w < work.size(); ++w) scheduler.place(w, scheduler.best_lane(w));
  return scheduler.take();
}

LaneSchedule reckon_lanes(std::span<const LaneWork> work,
                          std::span<const std::vector<int32_t>> after,
                          std::span<const int32_t> lane) {
  int32_t lanes = 1;
  for (int32_t l : lane) lanes = std::max(lanes, l + 1);
  Scheduler scheduler(work, after, lanes);
  for (size_t w = 0; w < work.size(); ++w) scheduler.place(w, lane[w]);
  return scheduler.take();
}

size_t LaneOrder::count() const {
  size_t n = joins.size();
  for (const std::vector<int32_t>& list : waits) n += list.size();
  return n;
}

LaneOrder order_lanes(std::span<const LaneWork> work, std::span<const std::vector<int32_t>> after,
                      std::span<const int32_t> lane) {
  Orderer orderer(work, lane);
  for (size_t w = 0; w < work.size(); ++w) orderer.add(w, after[w]);
  return orderer.finish();
}

}  // namespace tintype
