// Learning-rate schedules: host-side functions of time. The rate is an input of the training
// program, so a schedule never causes a compilation.
//
// Formulas and defaults are those of torch.optim.lr_scheduler in PyTorch 2.15, class in each
// comment; t counts steps or epochs, as RateSchedule's unit says, r is the optimizer's learning
// rate.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tintype {

/// r
struct ConstantRate {
  static constexpr std::string_view kName = "constant";
  template <typename V>
  void fields(V&) {}
};

/// r gamma^floor(t / every) (StepLR)
struct StepRate {
  static constexpr std::string_view kName = "step";
  int64_t every = 30;
  double gamma = 0.1;
  template <typename V>
  void fields(V& visit) {
    visit("every", every);
    visit("gamma", gamma);
  }
};

/// r gamma^(number of milestones <= t) (MultiStepLR)
struct MultiStepRate {
  static constexpr std::string_view kName = "multi_step";
  std::vector<int64_t> milestones = {};
  double gamma = 0.1;
  template <typename V>
  void fields(V& visit) {
    visit("milestones", milestones);
    visit("gamma", gamma);
  }
};

/// r gamma^t (ExponentialLR)
struct ExponentialRate {
  static constexpr std::string_view kName = "exponential";
  double gamma = 0.95;
  template <typename V>
  void fields(V& visit) {
    visit("gamma", gamma);
  }
};

/// floor + (r - floor) (1 + cos(pi t / period)) / 2 (CosineAnnealingLR; period is T_max, floor
/// eta_min). period 0 stands for what is left of the run. The rate stays at the floor after one
/// period.
struct CosineRate {
  static constexpr std::string_view kName = "cosine";
  int64_t period = 0;
  double floor = 0;
  template <typename V>
  void fields(V& visit) {
    visit("period", period);
    visit("floor", floor);
  }
};

/// r (1 - min(t, period) / period)^power (PolynomialLR). period 0 stands for what is left of the
/// run.
struct PolynomialRate {
  static constexpr std::string_view kName = "polynomial";
  int64_t period = 0;
  double power = 1;
  template <typename V>
  void fields(V& visit) {
    visit("period", period);
    visit("power", power);
  }
};

/// r factor^(number of plateaus): a plateau is `patience` epochs without an improvement of the
/// metric by more than `threshold` (relative, or absolute), after which `cooldown` epochs do not
/// count. The rate never falls below min_rate, nor changes by less than eps (ReduceLROnPlateau)
struct PlateauRate {
  static constexpr std::string_view kName = "plateau";
  double factor = 0.1;
  int64_t patience = 10;
  double threshold = 1e-4;
  bool absolute = false;
  bool maximize = false;
  int64_t cooldown = 0;
  double min_rate = 0;
  double eps = 1e-8;
  template <typename V>
  void fields(V& visit) {
    visit("factor", factor);
    visit("patience", patience);
    visit("threshold", threshold);
    visit("absolute", absolute);
    visit("maximize", maximize);
    visit("cooldown", cooldown);
    visit("min_rate", min_rate);
    visit("eps", eps);
  }
};

using Decay = std::variant<ConstantRate, StepRate, MultiStepRate, ExponentialRate, CosineRate,
                           PolynomialRate, PlateauRate>;

/// A linear warm-up, then a decay whose time starts when the warm-up ends (LinearLR with end factor
/// 1, then the decay, joined by SequentialLR).
struct Schedule {
  int64_t warmup = 0;              ///< length, in the schedule's unit
  double warmup_factor = 1.0 / 3;  ///< of r at t = 0
  Decay decay = ConstantRate{};
  bool per_step = false;  ///< t counts steps instead of epochs

  /// "cosine,period=90", after "warmup,length=500,factor=0.01+" if wanted; a leading "step:" or
  /// "epoch:" gives the unit. Throws Error for unknown names, keys and values out of range.
  static Schedule parse(std::string_view text);
  std::string text() const;
};

/// The learning rate over a run: what a Schedule makes of time and metrics.
class LearningRate {
 public:
  /// `length` is the run's number of units (steps or epochs), for decays whose period is 0.
  LearningRate(Schedule schedule, double rate, int64_t length);

  /// The rate of the step that is to be done, `epoch` and `step` counted from 0.
  double at(int64_t epoch, int64_t step) const;
  /// Tells the metric after an epoch; only plateaus listen. NaN counts as no improvement.
  void epoch_done(double metric);
  const Schedule& schedule() const { return schedule_; }

  /// What epoch_done remembers, for checkpoints: reduced rate, best metric, bad epochs, cooldown.
  std::vector<double> memory() const;
  void restore(const std::vector<double>& memory);

 private:
  double decayed(double t) const;

  Schedule schedule_;
  double rate_;
  int64_t period_;
  double best_;
  int64_t bad_epochs_ = 0, cooldown_ = 0;
  double reduced_;
};

}  // namespace tintype
