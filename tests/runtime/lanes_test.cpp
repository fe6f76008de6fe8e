// Lanes: what runs beside what, and what has to wait.
#include "runtime/lanes.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <set>

namespace tintype {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// All of a storage of 64 bytes.
MemoryUse use(int32_t storage, bool write) {
  return {0, storage, storage * 64,
          byte_box(0, std::vector<int64_t>{64}, std::vector<int64_t>{1}, 1), write};
}

LaneWork work(const std::vector<int32_t>& reads, const std::vector<int32_t>& writes,
              double microseconds = 10) {
  LaneWork w;
  for (int32_t s : reads) w.uses.push_back(use(s, false));
  for (int32_t s : writes) w.uses.push_back(use(s, true));
  w.seconds = microseconds * 1e-6;
  return w;
}

LaneWork on_host(const std::vector<int32_t>& reads, const std::vector<int32_t>& writes) {
  LaneWork w = work(reads, writes);
  w.on_host = w.after_all = true;
  return w;
}

struct Planned {
  std::vector<std::vector<int32_t>> after;
  LaneSchedule schedule;
  LaneOrder order;
};

Planned plan(const std::vector<LaneWork>& list, int32_t most) {
  Planned p;
  p.after = dependences(list, true);
  p.schedule = choose_lanes(list, p.after, most);
  p.order = order_lanes(list, p.after, p.schedule.lane);
  return p;
}

TEST(Lanes, AChainStaysOnOne) {
  const Planned p = plan({work({}, {0}), work({0}, {1}), work({1}, {2})}, 4);
  EXPECT_EQ(p.schedule.lanes, 1);
  EXPECT_EQ(p.order.count(), 0u);
  EXPECT_NEAR(p.schedule.seconds, 30e-6, 1e-9);
}

TEST(Lanes, BranchesPartAndMeet) {
  // 0 -> 1 -> 2 and 0 -> 3 -> 4, then 5 reads both.
  const Planned p = plan({work({}, {0}), work({0}, {1}), work({1}, {2}), work({0}, {3}),
                          work({3}, {4}), work({2, 4}, {5})},
                         4);
  EXPECT_EQ(p.schedule.lanes, 2);
  EXPECT_THAT(p.schedule.lane, ElementsAre(0, 0, 0, 1, 1, testing::_));
  EXPECT_THAT(p.order.waits[3], ElementsAre(0));
  EXPECT_THAT(p.order.waits[1], IsEmpty());
  EXPECT_EQ(p.order.count(), p.schedule.lane[5] == 0 ? 2u : 3u);
  EXPECT_LT(p.schedule.seconds, 50e-6);
}

TEST(Lanes, KeepToTheMostThatMayBe) {
  std::vector<LaneWork> list;
  for (int32_t i = 0; i < 20; ++i) list.push_back(work({}, {i}));
  for (int32_t most = 1; most <= 8; ++most) {
    const Planned p = plan(list, most);
    EXPECT_EQ(p.schedule.lanes, most);
    // Every other lane begins behind lane 0, and is waited for.
    EXPECT_EQ(p.order.count(), 2 * static_cast<size_t>(most - 1));
    EXPECT_EQ(p.order.forks, most > 1);
  }
}

TEST(Lanes, WhatIsTooShortStaysWithWhatItReads) {
  const Planned p = plan({work({}, {0}), work({0}, {1}, 1), work({0}, {2}, 1)}, 4);
  EXPECT_EQ(p.schedule.lanes, 1);
}

TEST(Lanes, DoNotWaitForWhatAWaitImplies) {
  // 3 reads what 0, 1 and 2 make; 2 is behind both others already.
  const std::vector<LaneWork> list = {work({}, {0}), work({0}, {1}), work({1}, {2}),
                                      work({0, 1, 2}, {3})};
  const std::vector<int32_t> lanes = {0, 1, 1, 0};
  const LaneOrder order = order_lanes(list, dependences(list, true), lanes);
  EXPECT_THAT(order.waits[1], ElementsAre(0));
  EXPECT_THAT(order.waits[3], ElementsAre(2));
  EXPECT_THAT(order.joins, IsEmpty());
}

TEST(Lanes, PartsOfOneTensorAreWrittenSideBySide) {
  const auto part = [](int64_t first) {
    LaneWork w = work({}, {}, 10);
    w.uses.push_back({0, 9, 0,
                      byte_box(first, std::vector<int64_t>{5, 4}, std::vector<int64_t>{8, 1}, 4),
                      true});
    return w;
  };
  const std::vector<LaneWork> list = {part(0), part(4), part(2)};
  EXPECT_THAT(dependences(list, true), ElementsAre(IsEmpty(), IsEmpty(), ElementsAre(0, 1)));
}

TEST(Lanes, MemoryThatIsUsedAgainIsWaitedFor) {
  std::vector<LaneWork> list = {work({}, {0}), work({0}, {1}), work({}, {2}), work({2}, {3})};
  EXPECT_THAT(dependences(list, true)[2], IsEmpty());
  for (LaneWork& w : list)
    for (MemoryUse& u : w.uses)
      if (u.storage == 2) u.place = 32;  // half of storage 0, half of storage 1
  EXPECT_THAT(dependences(list, true)[2], ElementsAre(0, 1));
  EXPECT_THAT(dependences(list, false)[2], IsEmpty());
}

TEST(Lanes, NothingWaitsForWhatTheHostHasWaitedFor) {
  const std::vector<LaneWork> list = {work({}, {0}), work({}, {1}), on_host({0, 1}, {2}),
                                      work({0, 1, 2}, {3}), work({1, 2}, {4})};
  const Planned p = plan(list, 4);
  EXPECT_GT(p.schedule.lanes, 1);
  EXPECT_THAT(p.order.waits[3], IsEmpty());
  EXPECT_THAT(p.order.waits[4], IsEmpty());
}

// ---- random work ---------------------------------------------------------------------------

std::set<int64_t> bytes_of(const MemoryUse& u) {
  std::set<int64_t> bytes = {u.place + u.box.begin};
  for (const ByteBox::Axis& axis : u.box.axes) {
    std::set<int64_t> next;
    for (int64_t at : bytes)
      for (int64_t k = 0; k < axis.extent; ++k) next.insert(at + k * axis.stride);
    bytes = next;
  }
  return u.box.empty() ? std::set<int64_t>() : bytes;
}

struct Touched {
  std::set<std::pair<int32_t, int64_t>> read, written;
};

Touched touched(const LaneWork& w) {
  Touched t;
  for (const MemoryUse& u : w.uses)
    for (int64_t b : bytes_of(u)) (u.write ? t.written : t.read).emplace(u.space, b);
  return t;
}

bool meet(const std::set<std::pair<int32_t, int64_t>>& a,
          const std::set<std::pair<int32_t, int64_t>>& b) {
  return std::any_of(a.begin(), a.end(), [&](const auto& x) { return b.count(x) != 0; });
}

bool conflict(const Touched& a, const Touched& b) {
  return meet(a.written, b.written) || meet(a.written, b.read) || meet(a.read, b.written);
}

/// before[j][i]: work i is done when work j begins, by streams, events and waits of the host alone.
/// One more row: what is done at the end of lane 0. `without`: a wait to leave out.
std::vector<std::vector<bool>> closure(const std::vector<LaneWork>& list,
                                       const std::vector<int32_t>& lane, const LaneOrder& order,
                                       std::pair<size_t, int32_t> without = {SIZE_MAX, 0}) {
  const size_t n = list.size();
  std::vector<std::vector<bool>> before(n + 1, std::vector<bool>(n, false));
  std::vector<bool> host(n, false);
  std::vector<int32_t> last(9, -1);
  const auto behind = [&](size_t j, size_t i) {
    before[j][i] = true;
    for (size_t k = 0; k < i; ++k)
      if (before[i][k]) before[j][k] = true;
  };
  for (size_t j = 0; j <= n; ++j) {
    if (j < n && list[j].after_all)
      std::fill(host.begin(), host.begin() + static_cast<long>(j), true);
    for (size_t i = 0; i < j; ++i)
      if (host[i] || list[i].on_host) before[j][i] = true;
    if (j < n && list[j].on_host) continue;
    const auto here = static_cast<size_t>(j < n ? lane[j] : 0);
    if (last[here] >= 0) behind(j, static_cast<size_t>(last[here]));
    for (int32_t d : j < n ? order.waits[j] : order.joins)
      if (d >= 0 && std::pair(j, d) != without) behind(j, static_cast<size_t>(d));
    if (j < n) last[here] = static_cast<int32_t>(j);
  }
  return before;
}

std::vector<LaneWork> random_work(std::mt19937& random) {
  const auto number = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  // Storages of 24 bytes: some share bytes, some lie in another space.
  const auto storages = static_cast<int32_t>(number(2, 12));
  std::vector<MemoryUse> homes;
  for (int32_t s = 0; s < storages; ++s)
    homes.push_back({static_cast<int32_t>(number(0, 1)), s, number(0, storages) * 12, {}, false});
  const bool with_host = number(0, 3) == 0;
  std::vector<LaneWork> list(static_cast<size_t>(number(1, 40)));
  for (LaneWork& w : list) {
    for (int64_t k = number(0, 4); k > 0; --k) {
      MemoryUse u = homes[static_cast<size_t>(number(0, storages - 1))];
      const int64_t first = number(0, 3), count = number(0, 4 - first);
      u.box =
          byte_box(first, std::vector<int64_t>{number(1, 6), count}, std::vector<int64_t>{4, 1}, 1);
      u.write = number(0, 2) == 0;
      w.uses.push_back(u);
    }
    w.seconds = static_cast<double>(number(0, 20)) * 1e-6;
    w.busy = w.seconds * static_cast<double>(number(0, 2)) / 4;
    w.after_all = with_host && number(0, 9) == 0;
    w.on_host = w.after_all && number(0, 1) == 0;
  }
  return list;
}

// The oracle: every two that touch a byte, one of them writing, are ordered by streams and events.
TEST(Lanes, RandomWorkIsOrderedWhereItHasToBe) {
  std::mt19937 random(7);
  size_t pairs = 0, waits = 0;
  for (int round = 0; round < 1500; ++round) {
    const std::vector<LaneWork> list = random_work(random);
    const int32_t most = 1 + round % 8;
    const Planned p = plan(list, most);
    ASSERT_LE(p.schedule.lanes, most);
    const auto before = closure(list, p.schedule.lane, p.order);
    std::vector<Touched> all;
    for (const LaneWork& w : list) all.push_back(touched(w));
    for (size_t j = 0; j < list.size(); ++j)
      for (size_t i = 0; i < j; ++i)
        if (conflict(all[i], all[j])) {
          ++pairs;
          ASSERT_TRUE(before[j][i]) << "round " << round << ": " << i << " and " << j;
        }
    // Lane 0 ends it, and no wait is for nothing.
    std::set<int32_t> begun = {0};
    for (size_t j = 0; j < list.size(); ++j) {
      const bool last_of_lane0 = before[list.size()][j];
      ASSERT_TRUE(list[j].on_host || last_of_lane0) << "round " << round << ": " << j;
      if (!list[j].on_host && begun.insert(p.schedule.lane[j]).second) {
        ASSERT_FALSE(p.order.waits[j].empty());
      }
      for (int32_t d : p.order.waits[j]) {
        if (d == LaneOrder::kStart) continue;
        ++waits;
        ASSERT_LT(d, static_cast<int32_t>(j));
        ASSERT_NE(p.schedule.lane[static_cast<size_t>(d)], p.schedule.lane[j]);
        ASSERT_FALSE(closure(list, p.schedule.lane, p.order, {j, d})[j][static_cast<size_t>(d)])
            << "round " << round << ": " << j << " waits for " << d << " for nothing";
      }
    }
  }
  EXPECT_GT(pairs, 20000u);
  EXPECT_GT(waits, 2000u);
}

// Lanes that somebody else chose are ordered as well.
TEST(Lanes, RandomLanesAreOrderedWhereTheyHaveToBe) {
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    const std::vector<LaneWork> list = random_work(random);
    const auto after = dependences(list, true);
    std::vector<int32_t> lane(list.size());
    for (size_t i = 0; i < list.size(); ++i)
      if (!list[i].after_all) lane[i] = static_cast<int32_t>(random() % 5);
    const LaneOrder order = order_lanes(list, after, lane);
    const auto before = closure(list, lane, order);
    for (size_t j = 0; j < list.size(); ++j)
      for (size_t i = 0; i < j; ++i)
        if (conflict(touched(list[i]), touched(list[j]))) {
          ASSERT_TRUE(before[j][i]) << "round " << round << ": " << i << " and " << j;
        }
  }
}

}  // namespace
}  // namespace tintype
