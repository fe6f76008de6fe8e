// Programs on a device, bound: which steps run beside each other, and what that does to the arena.
#include "program_fixture.h"

#include "runtime/plan.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Kernels on the device, over buffers of it.
class DeviceProgram : public ProgramBuilder {
 public:
  DeviceProgram() { kernel_ = kernel("k"); }

  /// A buffer of `kilobytes`, alive from step `first` to step `last`.
  ViewId on_device(int64_t kilobytes, int32_t first, int32_t last) {
    const ViewId v = buffer(DType::f32, {constant(kilobytes * 256)}, first, last);
    program.storages.back().device = true;
    return v;
  }
  Step& step(const std::vector<ViewId>& reads, ViewId writes) {
    std::vector<ViewId> arguments = reads;
    arguments.push_back(writes);
    Step& s = kernel_step(kernel_, arguments);
    s.alternatives[0].inputs = static_cast<int32_t>(reads.size());
    s.alternatives[0].outputs = 1;
    return s;
  }
  std::shared_ptr<const Plan> plan(int32_t streams) const {
    const auto made = make_plan(program, {}, streams);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return made.value();
  }

 private:
  int32_t kernel_ = 0;
};

/// True when the part of a step waits for that of another one.
bool waits_for_step(const Plan& plan, size_t step, size_t other) {
  const std::vector<int32_t>& waits = plan.lanes.parts[step].waits;
  return std::find(waits.begin(), waits.end(), plan.lanes.parts[other].event) != waits.end();
}

/// 0: a -> 1: b -> 2: c, and 0: a -> 3: d -> 4: e; 5 reads c and e. The branches could use the
/// same bytes for b and d, one after the other.
DeviceProgram branches(int64_t kilobytes) {
  DeviceProgram p;
  const ViewId a = p.on_device(1, 0, 3), b = p.on_device(kilobytes, 1, 2), c = p.on_device(1, 2, 5),
               d = p.on_device(kilobytes, 3, 4), e = p.on_device(1, 4, 5), y = p.on_device(1, 5, 5);
  p.step({}, a);
  p.step({a}, b);
  p.step({b}, c);
  p.step({a}, d);
  p.step({d}, e);
  p.step({c, e}, y);
  return p;
}

TEST(PlanLanes, OneStreamIsAsItWas) {
  const auto plan = branches(1).plan(1);
  EXPECT_EQ(plan->lanes.count, 1);
  EXPECT_THAT(plan->lanes.parts, IsEmpty());
  EXPECT_EQ(plan->lanes.lane_of(3), 0);
  EXPECT_EQ(plan->device_bytes, plan->lanes.bytes_on_one);
}

TEST(PlanLanes, BranchesThatShareNoMemoryRunTogether) {
  const auto plan = branches(1).plan(4);
  EXPECT_EQ(plan->lanes.count, 2);
  EXPECT_NE(plan->lanes.lane_of(1), plan->lanes.lane_of(3));
  EXPECT_EQ(plan->lanes.lane_of(1), plan->lanes.lane_of(2));
  EXPECT_EQ(plan->lanes.lane_of(3), plan->lanes.lane_of(4));
  EXPECT_LT(plan->lanes.seconds_of_lanes, plan->lanes.seconds_of_one);
}

// Little memory more for a branch that runs beside the other one, but not half as much again: then
// the second branch waits until the first has read its buffer.
TEST(PlanLanes, MemoryGrowsALittleOrStepsWait) {
  DeviceProgram small = branches(1);
  const ViewId large = small.on_device(64, 0, 5);  // beside which b and d are little
  small.step({}, large);
  for (Storage& s : small.program.storages) s.last_step = std::max(s.last_step, s.first_step);
  small.program.storages.back().first_step = 6;
  small.program.storages.back().last_step = 6;
  const auto roomy = small.plan(4);
  EXPECT_GT(roomy->lanes.count, 1);
  EXPECT_FALSE(waits_for_step(*roomy, 3, 2));
  const auto tight = branches(64000).plan(4);
  EXPECT_EQ(tight->device_bytes, tight->lanes.bytes_on_one);
  if (tight->lanes.count > 1) {
    EXPECT_TRUE(waits_for_step(*tight, 3, 2));
  }
}

// Two that only read a tensor may be two that write it, as far as anybody knows.
TEST(PlanLanes, KernelsThatDoNotSayWhatTheyWriteStayInOrder) {
  DeviceProgram p = branches(1);
  EXPECT_FALSE(waits_for_step(*p.plan(4), 3, 1));
  for (Step& s : p.program.steps) s.alternatives[0].inputs = s.alternatives[0].outputs = 0;
  const auto plan = p.plan(4);
  EXPECT_TRUE(plan->lanes.lane_of(1) == plan->lanes.lane_of(3) || waits_for_step(*plan, 3, 1));
}

// An argument between inputs and outputs gives extents: it is no memory.
TEST(PlanLanes, ExtentsAreNotRead) {
  DeviceProgram p = branches(1);
  const ViewId all = p.program.steps[1].alternatives[0].arguments[1];
  for (size_t i : {3, 4}) {
    std::vector<ViewId>& list = p.program.steps[i].alternatives[0].arguments;
    list.insert(list.begin() + 1, all);
  }
  p.program.storages[static_cast<size_t>(p.program.views[static_cast<size_t>(all)].storage)]
      .last_step = 4;
  EXPECT_EQ(p.plan(4)->lanes.count, 2);
}

TEST(PlanLanes, ALoopIsOnePart) {
  DeviceProgram p;
  const ExprId trips = p.constant(50);
  const ViewId a = p.on_device(1, 0, 2), b = p.on_device(1, 0, 2), c = p.on_device(1, 3, 6),
               y = p.on_device(1, 6, 6);
  p.plain_step(Step::Kind::loop, {}, {}).control = {.span = 2, .trips = trips};
  p.step({b}, a);
  p.step({a}, b);
  const ViewId d = p.on_device(1, 3, 6);
  p.plain_step(Step::Kind::loop, {}, {}).control = {.span = 2, .trips = trips};
  p.step({d}, c);
  p.step({c}, d);
  for (size_t i : {0, 1}) {  // both live as long as the program
    p.program.storages[i].last_step = 6;
  }
  p.step({a, c}, y);
  const auto plan = p.plan(4);
  ASSERT_EQ(plan->lanes.count, 2);
  EXPECT_EQ(plan->lanes.parts.size(), 3u);
  EXPECT_THAT(plan->lanes.part_of, ElementsAre(0, 0, 0, 1, 1, 1, 2));
  EXPECT_NE(plan->lanes.parts[0].lane, plan->lanes.parts[1].lane);
}

}  // namespace
}  // namespace tintype::testing
