// Round numbers.
#include "frontend/plot/axis.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace tintype {

namespace {

/// The smallest of 1, 2, 5 times a power of ten that is not below `step`.
double round_step(double step) {
  const double power = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= step * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

std::vector<double> log_ticks(const Axis& axis, int count) {
  const auto with = [&](std::initializer_list<double> factors) {
    std::vector<double> list;
    const auto first = static_cast<int>(std::floor(std::log10(axis.low)));
    const auto last = static_cast<int>(std::ceil(std::log10(axis.high)));
    for (int exponent = first; exponent <= last; ++exponent)
      for (const double factor : factors) {
        const double value = factor * std::pow(10.0, exponent);
        if (value >= axis.low * (1 - 1e-9) && value <= axis.high * (1 + 1e-9))
          list.push_back(value);
      }
    return list;
  };
  std::vector<double> list = with({1});
  if (list.size() < 3) list = with({1, 2, 5});
  if (list.size() < 3) list = with({1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9});
  // Many decades: every second, every third ...
  const size_t stride = 1 + list.size() / (static_cast<size_t>(count) * 2);
  std::vector<double> thinned;
  for (size_t i = 0; i < list.size(); i += stride) thinned.push_back(list[i]);
  return thinned;
}

}  // namespace

double Axis::pixel(double value) const {
  const double share =
      log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return from + share * (to - from);
}

Axis axis_over(double low, double high, bool log) {
  Axis axis;
  axis.log = log;
  if (log) {
    const double room = std::max(std::pow(high / low, 0.05), 1.05);
    axis.low = low / room;
    axis.high = high * room;
    return axis;
  }
  const double extent = high > low ? high - low : std::max(std::abs(low) * 0.1, 1e-6);
  axis.low = low - 0.06 * extent;
  axis.high = high + 0.06 * extent;
  // Losses and accuracies that stay positive do not get a negative part of the axis.
  if (low >= 0 && axis.low < 0) axis.low = 0;
  return axis;
}

std::vector<double> ticks(const Axis& axis, int count) {
  if (axis.log) return log_ticks(axis, count);
  const double step = round_step((axis.high - axis.low) / count);
  std::vector<double> list;
  const auto first = static_cast<int64_t>(std::ceil(axis.low / step - 1e-9));
  for (int64_t i = first; static_cast<double>(i) * step <= axis.high + 1e-9 * step; ++i)
    list.push_back(static_cast<double>(i) * step);
  return list;
}

std::string tick_label(double value, const std::vector<double>& all) {
  if (value == 0) return "0";
  double step = std::abs(value);
  for (size_t i = 1; i < all.size(); ++i) step = std::min(step, std::abs(all[i] - all[i - 1]));
  const double size = std::abs(value);
  if (size >= 1e6 || size < 1e-4 || step < 1e-5) return fmt::format("{:.3g}", value);
  // Decimals until the step is whole.
  int decimals = 0;
  while (decimals < 6 && std::abs(step - std::round(step)) > 1e-6 * step) {
    step *= 10;
    ++decimals;
  }
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (decimals > 0) return text;
  // Thousands in groups of three digits.
  std::string grouped;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && text[i - 1] != '-' && (text.size() - i) % 3 == 0) grouped += ',';
    grouped += text[i];
  }
  return grouped;
}

}  // namespace tintype
