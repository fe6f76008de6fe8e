// Schedules in closed form, and the memory of plateaus.
#include "frontend/train/schedules.h"

#include "frontend/train/spec.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tintype {

namespace {

struct Warmup {
  static constexpr std::string_view kName = "warmup";
  int64_t length = 1;
  double factor = 1.0 / 3;
  template <typename V>
  void fields(V& visit) {
    visit("length", length);
    visit("factor", factor);
  }
};

double factor(const ConstantRate&, double, int64_t) { return 1; }

double factor(const StepRate& o, double t, int64_t) {
  return std::pow(o.gamma, std::floor(t / static_cast<double>(o.every)));
}

double factor(const MultiStepRate& o, double t, int64_t) {
  const auto passed = std::count_if(o.milestones.begin(), o.milestones.end(),
                                    [t](int64_t m) { return static_cast<double>(m) <= t; });
  return std::pow(o.gamma, static_cast<double>(passed));
}

double factor(const ExponentialRate& o, double t, int64_t) { return std::pow(o.gamma, t); }

double factor(const CosineRate&, double t, int64_t period) {
  return 0.5 * (1 + std::cos(std::numbers::pi * std::min(t / static_cast<double>(period), 1.0)));
}

double factor(const PolynomialRate& o, double t, int64_t period) {
  return std::pow(1 - std::min(t / static_cast<double>(period), 1.0), o.power);
}

double factor(const PlateauRate&, double, int64_t) { return 1; }

int64_t own_period(const Decay& decay) {
  return std::visit(
      [](const auto& o) -> int64_t {
        if constexpr (requires { o.period; }) return o.period;
        else return 0;
      },
      decay);
}

void check(const Schedule& s) {
  const auto require = [&](bool good, std::string_view what) {
    if (!good) throw Error("schedule '" + s.text() + "': " + std::string(what));
  };
  require(s.warmup >= 0, "the length of the warm-up must not be negative");
  require(s.warmup_factor > 0 && s.warmup_factor <= 1, "the warm-up's factor must be in (0, 1]");
  require(own_period(s.decay) >= 0, "period must not be negative");
  if (const auto* o = std::get_if<StepRate>(&s.decay))
    require(o->every > 0, "every must be positive");
  if (const auto* o = std::get_if<PlateauRate>(&s.decay)) {
    require(o->factor > 0 && o->factor < 1, "factor must be in (0, 1)");
    require(!s.per_step, "plateaus count epochs");
  }
}

}  // namespace

Schedule Schedule::parse(std::string_view text) {
  Schedule s;
  for (const std::string_view unit : {"step:", "epoch:"})
    if (text.starts_with(unit)) {
      s.per_step = unit == "step:";
      text.remove_prefix(unit.size());
    }
  if (text.starts_with(Warmup::kName)) {
    const size_t end = std::min(text.find('+'), text.size());
    const Warmup w =
        std::get<Warmup>(read_spec<std::variant<Warmup>>(text.substr(0, end), "schedule"));
    s.warmup = w.length;
    s.warmup_factor = w.factor;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!text.empty()) s.decay = read_spec<Decay>(text, "schedule");
  check(s);
  return s;
}

std::string Schedule::text() const {
  std::string out = per_step ? "step:" : "epoch:";
  if (warmup > 0)
    out +=
        write_spec(std::variant<Warmup>(Warmup{.length = warmup, .factor = warmup_factor})) + "+";
  return out + write_spec(decay);
}

LearningRate::LearningRate(Schedule schedule, double rate, int64_t length)
    : schedule_(std::move(schedule)), rate_(rate), reduced_(rate) {
  check(schedule_);
  period_ = own_period(schedule_.decay);
  if (period_ == 0) period_ = std::max<int64_t>(length - schedule_.warmup, 1);
  const auto* plateau = std::get_if<PlateauRate>(&schedule_.decay);
  const double infinity = std::numeric_limits<double>::infinity();
  best_ = plateau != nullptr && plateau->maximize ? -infinity : infinity;
}

double LearningRate::decayed(double t) const {
  const double f =
      std::visit([&](const auto& o) { return factor(o, t, period_); }, schedule_.decay);
  if (const auto* cosine = std::get_if<CosineRate>(&schedule_.decay))
    return cosine->floor + (rate_ - cosine->floor) * f;
  return reduced_ * f;
}

double LearningRate::at(int64_t epoch, int64_t step) const {
  const int64_t t = schedule_.per_step ? step : epoch;
  if (t >= schedule_.warmup) return decayed(static_cast<double>(t - schedule_.warmup));
  const double progress = static_cast<double>(t) / static_cast<double>(schedule_.warmup);
  return reduced_ * (schedule_.warmup_factor + (1 - schedule_.warmup_factor) * progress);
}

void LearningRate::epoch_done(double metric) {
  const auto* o = std::get_if<PlateauRate>(&schedule_.decay);
  if (o == nullptr) return;
  const double margin = o->absolute ? o->threshold : o->threshold * std::abs(best_);
  const bool better = std::isinf(best_) ? !std::isnan(metric)
                      : o->maximize     ? metric > best_ + margin
                                        : metric < best_ - margin;
  if (better) {
    best_ = metric;
    bad_epochs_ = 0;
  } else {
    ++bad_epochs_;
  }
  if (cooldown_ > 0) {
    --cooldown_;
    bad_epochs_ = 0;
  }
  if (bad_epochs_ <= o->patience) return;
  const double lower = std::max(reduced_ * o->factor, o->min_rate);
  if (reduced_ - lower > o->eps) reduced_ = lower;
  cooldown_ = o->cooldown;
  bad_epochs_ = 0;
}

std::vector<double> LearningRate::memory() const {
  return {reduced_, best_, static_cast<double>(bad_epochs_), static_cast<double>(cooldown_)};
}

void LearningRate::restore(const std::vector<double>& memory) {
  if (memory.size() != 4)
    throw Error("checkpoint: the learning rate's memory has " + std::to_string(memory.size()) +
                " numbers, expected 4");
  reduced_ = memory[0];
  best_ = memory[1];
  bad_epochs_ = static_cast<int64_t>(memory[2]);
  cooldown_ = static_cast<int64_t>(memory[3]);
}

}  // namespace tintype
