// Learning curves: a panel per score, side by side.
#include "frontend/plot/axis.h"
#include "frontend/plot/plots.h"
#include "frontend/plot/svg.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <set>

namespace tintype {

namespace {

constexpr double kPanelWidth = 460, kPanelHeight = 330;
constexpr double kLeft = 62, kRight = 22, kTop = 52, kBottom = 46, kTitle = 40;
constexpr size_t kPanelsInARow = 2;

using Points = std::vector<std::pair<double, double>>;  ///< epoch (counted from 1), value

struct Series {
  const char* name;
  const char* colour;
  Points points;
};

struct Panel {
  std::string name;
  Series training = {"training", kBlue, {}}, validation = {"validation", kOrange, {}};
};

/// Whether less is better, which decides the epoch to mark.
bool falls(const std::string& score) {
  return score.find("loss") != std::string::npos || score.find("error") != std::string::npos ||
         score == "mse" || score == "mae" || score == "rmse" || score == "perplexity";
}

Points points_of(const std::vector<HistoryRow>& history, const std::string& name,
                 std::map<std::string, double> HistoryRow::* part) {
  Points points;
  for (const HistoryRow& row : history) {
    const auto found = (row.*part).find(name);
    if (found != (row.*part).end())
      points.emplace_back(static_cast<double>(row.epoch + 1), found->second);
  }
  return points;
}

std::vector<Panel> panels_of(const std::vector<HistoryRow>& history) {
  std::set<std::string> names;
  for (const HistoryRow& row : history)
    for (const auto* scores : {&row.training, &row.validation})
      for (const auto& [name, value] : *scores) names.insert(name);
  std::vector<std::string> order;
  if (names.erase("loss") > 0 || names.empty()) order.emplace_back("loss");
  order.insert(order.end(), names.begin(), names.end());
  std::vector<Panel> panels;
  for (const std::string& name : order) {
    Panel p;
    p.name = name;
    p.training.points = points_of(history, name, &HistoryRow::training);
    p.validation.points = points_of(history, name, &HistoryRow::validation);
    panels.push_back(std::move(p));
  }
  return panels;
}

std::string capital(std::string text) {
  for (char& c : text)
    if (c == '_') c = ' ';
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

std::string value_text(double value) {
  return std::abs(value) >= 1e-3 && std::abs(value) < 1e5 ? fmt::format("{:.4g}", value)
                                                          : fmt::format("{:.3g}", value);
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

/// The line of a series, interrupted where a value is not finite. A value alone becomes a dot.
void draw_series(Svg& svg, const Series& series, const Axis& x, const Axis& y) {
  Points run;
  const auto finish = [&] {
    if (run.size() > 1) svg.polyline(run, series.colour, 2.25);
    if (run.size() == 1) svg.circle(run[0].first, run[0].second, 3, series.colour);
    run.clear();
  };
  for (const auto& [epoch, value] : series.points) {
    if (std::isfinite(value)) run.emplace_back(x.pixel(epoch), y.pixel(value));
    else finish();
  }
  finish();
}

/// The best value, a ring around it, and its number in the legend.
std::string mark_best(Svg& svg, const Series& series, bool low_is_best, const Axis& x,
                      const Axis& y) {
  const std::pair<double, double>* best = nullptr;
  for (const auto& p : series.points)
    if (std::isfinite(p.second) &&
        (best == nullptr || (low_is_best ? p.second < best->second : p.second > best->second)))
      best = &p;
  if (best == nullptr) return "";
  svg.circle(x.pixel(best->first), y.pixel(best->second), 5, series.colour);
  svg.circle(x.pixel(best->first), y.pixel(best->second), 2.5, "#ffffff");
  return fmt::format("best {} in epoch {:g}", value_text(best->second), best->first);
}

void draw_grid(Svg& svg, const Axis& x, const Axis& y) {
  const std::vector<double> rows = ticks(y, 5);
  for (const double value : rows) {
    const double at = y.pixel(value);
    svg.line(x.from, at, x.to, at, kRule);
    svg.text(x.from - 8, at + 4, tick_label(value, rows), {11, kFaint, Svg::Anchor::end});
  }
  std::vector<double> columns = ticks(x, 6);
  std::erase_if(columns, [](double v) { return v != std::floor(v); });
  for (const double value : columns) {
    const double at = x.pixel(value);
    svg.line(at, y.from, at, y.from + 4, kFaint);
    svg.text(at, y.from + 18, tick_label(value, columns), {11, kFaint, Svg::Anchor::middle});
  }
  svg.line(x.from, y.from, x.to, y.from, kFaint);
  svg.text((x.from + x.to) / 2, y.from + 36, "epoch", {11, kFaint, Svg::Anchor::middle});
}

void draw_panel(Svg& svg, const Panel& panel, double left, double top, bool log) {
  Range epochs, values;
  for (const Series* s : {&panel.training, &panel.validation})
    for (const auto& [epoch, value] : s->points) {
      epochs.add(epoch);
      values.add(value);
    }
  if (epochs.empty()) epochs = {0, 1};
  if (values.empty()) values = {0, 1};
  if (epochs.low == epochs.high) epochs = {epochs.low - 1, epochs.high + 1};
  Axis x = {epochs.low, epochs.high, false, left + kLeft, left + kPanelWidth - kRight};
  Axis y = axis_over(values.low, values.high, log && values.low > 0);
  y.from = top + kPanelHeight - kBottom;
  y.to = top + kTop;
  draw_grid(svg, x, y);
  svg.text(left + kLeft, top + 18, capital(panel.name), {14, kInk, Svg::Anchor::start, true});
  double legend = left + kLeft;
  for (const Series* s : {&panel.training, &panel.validation}) {
    if (s->points.empty()) continue;
    draw_series(svg, *s, x, y);
    // Only the validation says which epoch was best, if there is one.
    const bool marked = s == &panel.validation || panel.validation.points.empty();
    const std::string best = marked ? mark_best(svg, *s, falls(panel.name), x, y) : "";
    svg.line(legend, top + 34, legend + 18, top + 34, s->colour, 3);
    svg.text(legend + 24, top + 38, s->name, {12, kInk, Svg::Anchor::start});
    legend += 24 + 7.0 * static_cast<double>(std::string_view(s->name).size()) + 8;
    if (!best.empty())
      svg.text(legend, top + 38, "(" + best + ")", {11, kFaint, Svg::Anchor::start});
    legend += 14;
  }
}

}  // namespace

std::string curves_svg(const std::vector<HistoryRow>& history, const CurveOptions& options) {
  const std::vector<Panel> panels = panels_of(history);
  const size_t columns = std::min(panels.size(), kPanelsInARow);
  const size_t rows = (panels.size() + kPanelsInARow - 1) / kPanelsInARow;
  const double title = options.title.empty() ? 10 : kTitle;
  Svg svg(static_cast<double>(columns) * kPanelWidth + 8,
          static_cast<double>(rows) * kPanelHeight + title);
  if (!options.title.empty())
    svg.text(kLeft, 26, options.title, {17, kInk, Svg::Anchor::start, true});
  for (size_t i = 0; i < panels.size(); ++i)
    draw_panel(svg, panels[i], static_cast<double>(i % kPanelsInARow) * kPanelWidth,
               static_cast<double>(i / kPanelsInARow) * kPanelHeight + title,
               options.log_loss && panels[i].name == "loss");
  return svg.take();
}

}  // namespace tintype
