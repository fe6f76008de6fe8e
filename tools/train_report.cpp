// The bar is redrawn at most ten times a second.
#include "tools/train_report.h"

#include <algorithm>
#include <fmt/format.h>
#include <unistd.h>

namespace tintype::cli {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

std::string text_of(const Scores& scores) {
  std::string text;
  const auto add = [&](const std::string& name, double value) {
    if (!text.empty()) text += "  ";
    const bool share = name == "accuracy" || name.starts_with("top");
    text += share ? fmt::format("{} {:.1f} %", name, 100 * value)
                  : fmt::format("{} {:.4g}", name, value);
  };
  if (const auto loss = scores.find("loss"); loss != scores.end()) add("loss", loss->second);
  for (const auto& [name, value] : scores)
    if (name != "loss") add(name, value);
  return text;
}

TrainReport::TrainReport(int64_t epochs, bool verbose)
    : epochs_(epochs), terminal_(isatty(STDERR_FILENO) != 0), verbose_(verbose),
      start_(Clock::now()), drawn_(start_) {}

void TrainReport::clear() const {
  if (terminal_) fmt::print(stderr, "\r\033[K");
}

std::string TrainReport::status(int64_t epoch, const Scores& scores) const {
  return fmt::format("epoch {}/{}", epoch + 1, epochs_) + "  " + text_of(scores);
}

void TrainReport::step(const StepReport& r) {
  if (!terminal_) return;
  const int64_t done = r.epoch * r.batches + r.batch + 1;
  if (first_ < 0) first_ = done - 1;
  examples_ += r.size / std::max<int64_t>(r.batches, 1);
  if (seconds_since(drawn_) < 0.1) return;
  drawn_ = Clock::now();
  const double elapsed = seconds_since(start_);
  const auto steps = static_cast<double>(done - first_);
  const double left = elapsed / steps * static_cast<double>(epochs_ * r.batches - done);
  const double share = static_cast<double>(r.batch + 1) / static_cast<double>(r.batches);
  fmt::print(stderr, "\r\033[Kepoch {}/{} {} {:3.0f}%  {}  {} samples/s  {} left", r.epoch + 1,
             epochs_, progress_bar(share), 100 * share, text_of(r.scores),
             grouped(std::llround(static_cast<double>(examples_) / elapsed)), clock_text(left));
  std::fflush(stderr);
}

void TrainReport::epoch(const HistoryRow& r) {
  clear();
  if (terminal_ || verbose_) {
    std::string line = status(r.epoch, r.training);
    if (!r.validation.empty()) line += "  validation: " + text_of(r.validation);
    fmt::print(stderr, "{}  {:.1f} s\n", line, r.seconds);
  }
  constexpr size_t kShown = 4;
  for (size_t i = 0; i < std::min(r.warnings.size(), kShown); ++i)
    fmt::print(stderr, "warning: epoch {}: {}\n", r.epoch + 1, r.warnings[i]);
  if (r.warnings.size() > kShown)
    fmt::print(stderr, "warning: epoch {}: {} more warnings; the history has them\n", r.epoch + 1,
               r.warnings.size() - kShown);
}

}  // namespace tintype::cli
