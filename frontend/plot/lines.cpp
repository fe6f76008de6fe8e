// Lines over a common x axis, with a legend.
#include "frontend/plot/axis.h"
#include "frontend/plot/plots.h"
#include "frontend/plot/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace tintype {

namespace {

constexpr double kWidth = 560, kHeight = 380;
constexpr double kLeft = 70, kRight = 22, kTop = 74, kBottom = 52;
constexpr std::array kColours = {"#2166ac", "#e08214", "#1b7837", "#762a83", "#c62828", "#4d4d4d"};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// A point that the axes can show.
bool is_visible(const std::pair<double, double>& p, const LineOptions& o) {
  return std::isfinite(p.first) && std::isfinite(p.second) && (!o.log_x || p.first > 0) &&
         (!o.log_y || p.second > 0);
}

void draw_axes(Svg& svg, const Axis& x, const Axis& y, const LineOptions& o) {
  const std::vector<double> rows = ticks(y, 6), columns = ticks(x, 7);
  for (const double value : rows) {
    const double at = y.pixel(value);
    svg.line(x.from, at, x.to, at, kRule);
    svg.text(x.from - 8, at + 4, tick_label(value, rows), {11, kFaint, Svg::Anchor::end});
  }
  for (const double value : columns) {
    const double at = x.pixel(value);
    svg.line(at, y.from, at, y.from + 4, kFaint);
    svg.text(at, y.from + 18, tick_label(value, columns), {11, kFaint, Svg::Anchor::middle});
  }
  svg.line(x.from, y.from, x.to, y.from, kFaint);
  svg.text((x.from + x.to) / 2, y.from + 38, o.x_label, {12, kFaint, Svg::Anchor::middle});
  svg.text(x.from - 8, y.to - 12, o.y_label, {12, kFaint, Svg::Anchor::start});
}

}  // namespace

std::string lines_svg(const std::vector<Line>& lines, const LineOptions& options) {
  Range xs, ys;
  for (const Line& line : lines)
    for (const auto& p : line.points)
      if (is_visible(p, options)) {
        xs.add(p.first);
        ys.add(p.second);
      }
  if (xs.low > xs.high) xs = ys = {1, 2};
  if (xs.low == xs.high) xs = {xs.low * 0.9, xs.high * 1.1 + 0.1};
  Axis x = {xs.low, xs.high, options.log_x, kLeft, kWidth - kRight};
  Axis y = axis_over(ys.low, ys.high, options.log_y);
  y.from = kHeight - kBottom;
  y.to = kTop;
  Svg svg(kWidth, kHeight);
  svg.text(kLeft - 8, 24, options.title, {15, kInk, Svg::Anchor::start, true});
  draw_axes(svg, x, y, options);
  double legend = kLeft - 8;
  for (size_t i = 0; i < lines.size(); ++i) {
    const char* colour = kColours[i % kColours.size()];
    std::vector<std::pair<double, double>> run;
    const auto finish = [&] {
      if (run.size() > 1) svg.polyline(run, colour, 2.25);
      if (run.size() == 1) svg.circle(run[0].first, run[0].second, 3, colour);
      run.clear();
    };
    for (const auto& p : lines[i].points) {
      if (is_visible(p, options)) run.emplace_back(x.pixel(p.first), y.pixel(p.second));
      else finish();
    }
    finish();
    svg.line(legend, 42, legend + 18, 42, colour, 3);
    svg.text(legend + 24, 46, lines[i].name, {12, kInk, Svg::Anchor::start});
    legend += 44 + 7.0 * static_cast<double>(lines[i].name.size());
  }
  return svg.take();
}

}  // namespace tintype
