// From steps to work for lanes, and back.
#include "runtime/plan_lanes.h"

#include "runtime/lanes.h"

#include <algorithm>
#include <limits>
#include <map>

namespace tintype {

namespace {

// Of the order of an A100: what counts is how much of a step's time another step can use. That is
// the time in which few blocks run: launching, the first loads, the last blocks.
constexpr double kFlopsPerSecond = 15e12, kBytesPerSecond = 1.5e12;
constexpr double kShortestStep = 5e-6;
constexpr double kTransferBytesPerSecond = 20e9, kShortestTransfer = 10e-6;
/// What lanes have to save to be worth their events: a part of the run.
constexpr double kLeastGain = 0.05;
/// What the arena may grow by, as a part of it, or bytes, where that is more: workspaces of
/// libraries are a megabyte and up, whatever the extents. Beyond, steps wait for memory.
constexpr double kMostGrowth = 0.25, kLittleGrowth = 16 << 20;

// Spaces: the arenas, then each state, input and output.
constexpr int32_t kDeviceArena = 0, kHostArena = 1, kFirstOther = 2;

/// The memory that steps touch, and the time that they are reckoned to take.
class WorkReader {
 public:
  WorkReader(const Program& program, const Plan& plan) : p_(program), plan_(plan) {
    std::map<std::pair<Storage::Kind, int32_t>, int32_t> others;
    for (size_t i = 0; i < p_.storages.size(); ++i) {
      const Storage& s = p_.storages[i];
      const auto id = static_cast<int32_t>(i);
      if (s.kind == Storage::Kind::arena) {
        homes_.push_back({s.device ? kDeviceArena : kHostArena, id});
        continue;
      }
      // All storages of one state or port are one memory.
      const auto [it, fresh] = others.emplace(std::pair(s.kind, s.value), id);
      homes_.push_back({kFirstOther + it->second, it->second});
    }
  }

  /// The step with what it spans; `end`: one past the last.
  LaneWork read(size_t step, size_t& end) {
    work_ = {};
    const Step& s = p_.steps[step];
    end = step + 1;
    if (spans_steps(s.kind))
      end += static_cast<size_t>(s.control.span) + static_cast<size_t>(s.control.otherwise);
    const Step::Control& c = s.control;
    const bool asks = c.trip_count != kNoView || c.condition != kNoView || c.trip != kNoView;
    work_.on_host = !spans_steps(s.kind) && !runs_on_device(step);
    work_.after_all = work_.on_host || (s.kind != Step::Kind::library && asks);
    add_steps(step, end, 1);
    return std::move(work_);
  }

 private:
  struct Home {
    int32_t space, storage;
  };

  bool is_on_device(ViewId id) const {
    return p_.storages[static_cast<size_t>(p_.views[static_cast<size_t>(id)].storage)].device;
  }

  const Step::Alternative& chosen(size_t step) const {
    return p_.steps[step].alternatives[static_cast<size_t>(plan_.alternatives[step])];
  }

  bool runs_on_device(size_t step) const {
    const Step& s = p_.steps[step];
    if (s.kind == Step::Kind::kernel)
      return !chosen(step).arguments.empty() && is_on_device(chosen(step).arguments.front());
    return s.kind == Step::Kind::copy && (is_on_device(s.inputs[0]) || is_on_device(s.outputs[0]));
  }

  void add_steps(size_t begin, size_t end, double times) {
    for (size_t i = begin; i < end;) {
      const Step& s = p_.steps[i];
      const Step::Control& c = s.control;
      add_uses(i);
      const size_t then = i + 1, other = then + static_cast<size_t>(c.span);
      const size_t behind = other + static_cast<size_t>(c.otherwise);
      if (!spans_steps(s.kind)) {
        add_time(i, times);
        i = then;
        continue;
      }
      double trips = times;
      if (s.kind == Step::Kind::loop && c.trips >= 0)
        trips *= static_cast<double>(std::max<int64_t>(plan_.value(c.trips), 0));
      if (s.kind == Step::Kind::library) add_time(i, times);
      add_steps(then, other, trips);
      // Of two ways, the first is what a run is reckoned to go.
      const double seconds = work_.seconds, busy = work_.busy;
      add_steps(other, behind, trips);
      work_.seconds = seconds;
      work_.busy = busy;
      i = behind;
    }
  }

  void add_uses(size_t step) {
    const Step& s = p_.steps[step];
    moved_ = 0;
    crosses_ = false;
    if (s.kind == Step::Kind::kernel) {
      const Step::Alternative& a = chosen(step);
      const size_t count = a.arguments.size(), written = static_cast<size_t>(a.outputs);
      for (size_t k = 0; k < count; ++k) {
        const bool known = a.outputs > 0, read = k < static_cast<size_t>(a.inputs);
        if (known && !read && k + written < count) continue;  // it gives its extents alone
        add(a.arguments[k], !known || k + written >= count);
      }
      return;
    }
    for (ViewId v : s.inputs) add(v, false);
    for (ViewId v : s.outputs) add(v, true);
    for (ViewId v : {s.control.trip_count, s.control.condition}) add(v, false);
    add(s.control.trip, true);
    for (const auto& [first, second] : s.control.rings) {
      add(first, true);
      add(second, false);
    }
    if (s.kind == Step::Kind::library) moved_ -= bytes(s.outputs[1]);  // a workspace
    crosses_ =
        s.kind == Step::Kind::copy && is_on_device(s.inputs[0]) != is_on_device(s.outputs[0]);
  }

  double bytes(ViewId id) const {
    const View& v = p_.views[static_cast<size_t>(id)];
    auto n = static_cast<double>(size_of(v.dtype));
    for (ExprId e : v.extents) n *= static_cast<double>(plan_.value(e));
    return n;
  }

  void add(ViewId id, bool write) {
    if (id == kNoView) return;
    const View& v = p_.views[static_cast<size_t>(id)];
    const auto element = static_cast<int64_t>(size_of(v.dtype));
    std::vector<int64_t> extents, strides;
    for (size_t i = 0; i < v.extents.size(); ++i) {
      extents.push_back(plan_.value(v.extents[i]));
      strides.push_back(plan_.value(v.strides[i]));
    }
    moved_ += bytes(id);
    if (p_.storages[static_cast<size_t>(v.storage)].kind == Storage::Kind::constant) return;
    for (int32_t m : v.motions) {
      const Motion& motion = p_.motions[static_cast<size_t>(m)];
      const ExprId trips = p_.steps[static_cast<size_t>(motion.loop)].control.trips;
      extents.push_back(motion.ring > 0 ? motion.ring : plan_.value(trips));
      strides.push_back(plan_.value(motion.stride));
    }
    const Home& home = homes_[static_cast<size_t>(v.storage)];
    work_.uses.push_back({home.space, home.storage, 0,
                          byte_box(plan_.value(v.offset), extents, strides, element), write});
  }

  void add_time(size_t step, double times) {
    const Step& s = p_.steps[step];
    if (crosses_) {
      work_.seconds += times * (kShortestTransfer + moved_ / 2 / kTransferBytesPerSecond);
      return;
    }
    // What steps in loops compute is counted for all trips.
    const double flops = s.flops < 0 ? 0 : static_cast<double>(plan_.value(s.flops));
    const double busy = std::max(flops / kFlopsPerSecond, times * moved_ / kBytesPerSecond);
    work_.busy += busy;
    work_.seconds += std::max(times * kShortestStep, busy);
  }

  const Program& p_;
  const Plan& plan_;
  std::vector<Home> homes_;
  LaneWork work_;
  double moved_ = 0;      ///< bytes, of the latest step
  bool crosses_ = false;  ///< it copies between host and device
};

class DevicePlanner {
 public:
  DevicePlanner(const Program& program, std::span<const Lifetime> buffers, Plan& plan)
      : p_(program), buffers_(buffers), plan_(plan) {}

  void plan(int32_t streams) {
    ArenaPlan arena = plan_arena(buffers_);
    plan_.lanes.bytes_on_one = arena.bytes;
    if (streams > 1) spread(streams, arena);
    take(arena);
  }

 private:
  void take(const ArenaPlan& arena) {
    plan_.device_bytes = arena.bytes;
    for (size_t i = 0; i < p_.storages.size(); ++i)
      if (p_.storages[i].device) plan_.arena_offsets[i] = arena.offsets[i];
  }

  void spread(int32_t streams, ArenaPlan& arena) {
    read_work();
    const auto needs = dependences(work_, false);
    const double one = choose_lanes(work_, needs, 1).seconds;
    const LaneSchedule wanted = choose_lanes(work_, needs, streams);
    if (wanted.lanes == 1 || wanted.seconds > one * (1 - kLeastGain)) return;
    // Steps wait for the memory that a program with one lane would give them, or there is memory
    // for all that is reckoned to run at once, where that gains time and does not take too much.
    const Way tight = way(wanted, arena);
    const ArenaPlan wide = plan_arena(buffers_, together(wanted, needs));
    const auto now = static_cast<double>(arena.bytes);
    const bool fits =
        static_cast<double>(wide.bytes) <= now + std::max(now * kMostGrowth, kLittleGrowth);
    const Way roomy = fits ? way(wanted, wide) : tight;
    const bool grows = roomy.seconds <= tight.seconds * (1 - kLeastGain);
    const Way& best = grows ? roomy : tight;
    if (best.seconds > one * (1 - kLeastGain)) return;
    if (grows) arena = wide;
    plan_.lanes.seconds_of_one = one;
    plan_.lanes.seconds_of_lanes = best.seconds;
    keep(wanted, order_lanes(work_, best.after, wanted.lane));
  }

  /// What waits for what with buffers at the places of `arena`, and how long that takes.
  struct Way {
    std::vector<std::vector<int32_t>> after;
    double seconds = 0;
  };
  Way way(const LaneSchedule& schedule, const ArenaPlan& arena) {
    for (LaneWork& w : work_)
      for (MemoryUse& use : w.uses) {
        const auto s = static_cast<size_t>(use.storage);
        if (use.space == kDeviceArena) use.place = static_cast<int64_t>(arena.offsets[s]);
        if (use.space == kHostArena) use.place = static_cast<int64_t>(plan_.arena_offsets[s]);
      }
    Way w;
    w.after = dependences(work_, true);
    w.seconds = reckon_lanes(work_, w.after, schedule.lane).seconds;
    return w;
  }

  void read_work() {
    WorkReader reader(p_, plan_);
    for (size_t i = 0, end = 0; i < p_.steps.size(); i = end) {
      first_.push_back(static_cast<int32_t>(i));
      work_.push_back(reader.read(i, end));
    }
  }

  /// Buffers may share bytes when all that uses the one comes before all that uses the other, in
  /// the program and on the clock of the schedule.
  Together together(const LaneSchedule& schedule,
                    const std::vector<std::vector<int32_t>>& needs) const {
    const std::vector<double> start = late_starts(schedule, needs);
    constexpr double kNever = std::numeric_limits<double>::infinity();
    std::vector<double> from(buffers_.size(), kNever), until(buffers_.size(), -kNever);
    for (size_t w = 0; w < work_.size(); ++w)
      for (const MemoryUse& use : work_[w].uses) {
        if (use.space != kDeviceArena) continue;
        const auto s = static_cast<size_t>(use.storage);
        from[s] = std::min(from[s], start[w]);
        until[s] = std::max(until[s], schedule.finish[w]);
      }
    const auto before = [buffers = buffers_, from, until](size_t a, size_t b) {
      return buffers[a].last < buffers[b].first && until[a] <= from[b];
    };
    return [before](size_t a, size_t b) { return !before(a, b) && !before(b, a); };
  }

  /// When work has to begin. What waits for nothing (margins that are filled, inputs) would begin
  /// at once, and keep memory that nobody reads yet; it has time until it is first waited for.
  std::vector<double> late_starts(const LaneSchedule& schedule,
                                  const std::vector<std::vector<int32_t>>& needs) const {
    std::vector<double> latest(work_.size(), std::numeric_limits<double>::infinity());
    for (size_t w = 0; w < work_.size(); ++w)
      for (int32_t d : needs[w])
        latest[static_cast<size_t>(d)] =
            std::min(latest[static_cast<size_t>(d)], schedule.start[w]);
    std::vector<double> start = schedule.start;
    for (size_t w = 0; w < work_.size(); ++w)
      if (needs[w].empty() && latest[w] < std::numeric_limits<double>::infinity())
        start[w] = std::max(start[w], latest[w] - work_[w].seconds);
    return start;
  }

  void keep(const LaneSchedule& schedule, const LaneOrder& order) {
    PlannedLanes& lanes = plan_.lanes;
    lanes.count = schedule.lanes;
    lanes.forks = order.forks;
    lanes.events = order.forks ? 1 : 0;
    lanes.waits = order.count();
    std::vector<int32_t> event(work_.size(), -1);
    const auto event_of = [&](int32_t w) {
      if (w == LaneOrder::kStart) return 0;
      int32_t& e = event[static_cast<size_t>(w)];
      if (e < 0) e = lanes.events++;
      return e;
    };
    for (size_t w = 0; w < work_.size(); ++w) {
      PlannedLanes::Part& part = lanes.parts.emplace_back();
      part.first_step = first_[w];
      part.lane = schedule.lane[w];
      for (int32_t d : order.waits[w]) part.waits.push_back(event_of(d));
    }
    for (int32_t d : order.joins) lanes.joins.push_back(event_of(d));
    for (size_t w = 0; w < work_.size(); ++w) lanes.parts[w].event = event[w];
    for (size_t w = 0; w < work_.size(); ++w) {
      const auto end = static_cast<size_t>(w + 1 < work_.size() ? first_[w + 1] : p_.steps.size());
      lanes.part_of.resize(end, static_cast<int32_t>(w));
    }
  }

  const Program& p_;
  std::span<const Lifetime> buffers_;
  Plan& plan_;
  std::vector<LaneWork> work_;
  std::vector<int32_t> first_;  ///< per work: its first step
};

}  // namespace

bool uses_device(const Program& program) {
  return std::any_of(program.storages.begin(), program.storages.end(),
                     [](const Storage& s) { return s.device; });
}

void plan_device(const Program& program, std::span<const Lifetime> buffers, int32_t streams,
                 Plan& plan) {
  DevicePlanner(program, buffers, plan).plan(uses_device(program) ? streams : 1);
}

}  // namespace tintype
