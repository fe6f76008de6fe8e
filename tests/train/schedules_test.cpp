// Schedules against the rates of torch.optim.lr_scheduler.
#include "frontend/train/schedules.h"
#include "ir/diagnostic.h"
#include "tests/train/fixture.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tintype::test {
namespace {

TEST(Schedules, HaveTheRatesOfPyTorch) {
  const nlohmann::json all = fixture("schedules");
  const auto metrics = all["metrics"].get<std::vector<double>>();
  for (const auto& j : all["cases"]) {
    for (const bool per_step : {false, true}) {
      const auto text = j["spec"].get<std::string>();
      if (per_step && text.find("plateau") != std::string::npos) continue;
      const Schedule schedule = Schedule::parse((per_step ? "step:" : "") + text);
      LearningRate rate(schedule, j["rate"].get<double>(), 20);
      for (size_t t = 0; t < j["rates"].size(); ++t) {
        const auto now = static_cast<int64_t>(t);
        const double want = j["rates"][t].get<double>();
        EXPECT_NEAR(rate.at(per_step ? 0 : now, per_step ? now : 1000), want, 1e-9)
            << text << " at " << t;
        rate.epoch_done(metrics[t]);
      }
    }
  }
}

TEST(Schedules, PlateausContinueFromMemory) {
  const Schedule schedule = Schedule::parse("plateau,patience=1,cooldown=1,factor=0.5");
  LearningRate whole(schedule, 1, 20);
  LearningRate first(schedule, 1, 20);
  for (int i = 0; i < 4; ++i) {
    whole.epoch_done(1);
    first.epoch_done(1);
  }
  LearningRate second(schedule, 1, 20);
  second.restore(first.memory());
  for (int i = 4; i < 20; ++i) {
    whole.epoch_done(1);
    second.epoch_done(1);
    EXPECT_EQ(whole.at(i, 0), second.at(i, 0));
  }
  EXPECT_LT(whole.at(20, 0), 0.1);
  EXPECT_THROW(second.restore({1.0}), Error);
}

TEST(Schedules, PeriodsLeftOutLastForTheRun) {
  const LearningRate cosine(Schedule::parse("warmup,length=2+cosine"), 1, 12);
  EXPECT_NEAR(cosine.at(7, 0), 0.5, 1e-12);
  EXPECT_NEAR(cosine.at(12, 0), 0, 1e-12);
}

TEST(Schedules, TextReadsBack) {
  for (const char* text :
       {"epoch:constant", "step:warmup,length=5,factor=0.2+cosine,period=9,floor=0.1",
        "epoch:multi_step,milestones=3:7,gamma=0.1"})
    EXPECT_EQ(Schedule::parse(text).text(), text);
  EXPECT_THROW(Schedule::parse("cosine,period=-1"), Error);
  EXPECT_THROW(Schedule::parse("step:plateau"), Error);
  EXPECT_THROW(Schedule::parse("plateau,factor=2"), Error);
  EXPECT_THROW(Schedule::parse("warmup,length=5,factor=0"), Error);
  EXPECT_THROW(Schedule::parse("saw"), Error);
}

}  // namespace
}  // namespace tintype::test
