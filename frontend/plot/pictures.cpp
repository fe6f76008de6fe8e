// Filters, confusion matrix, predictions.
#include "frontend/plot/plots.h"
#include "frontend/plot/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

namespace tintype {

namespace {

constexpr int kGap = 2;        ///< pixels between pictures
constexpr int kGroupGap = 8;   ///< and more between groups of rows
constexpr int kFilterGap = 4;  ///< between filters, and around them
/// About how large a filter is drawn: a share of the picture, between two limits.
constexpr int64_t kPictureSide = 720, kLeastSide = 48, kMostSide = 120;
constexpr int64_t kMostFilters = 1024;

struct FilterGrid {
  int64_t count = 0, channels = 0, height = 0, width = 0;
  bool colour = false;
};

Result<FilterGrid> grid_of(const Tensor& weights) {
  if (weights.dtype() != DType::f32 || (weights.rank() != 4 && weights.rank() != 2) ||
      weights.size() == 0)
    return invalid_argument("filters: expected weights f32[filters, channels, height, width] or "
                            "f32[filters, height * width], got " +
                            weights.type_string());
  const auto& d = weights.dims();
  FilterGrid g;
  if (weights.rank() == 4) {
    g = {d[0], d[1], d[2], d[3], d[1] == 3};
  } else {
    const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(d[1]))));
    if (side * side != d[1])
      return invalid_argument(
          "filters: " + std::to_string(d[1]) +
          " weights are no square; reshape them to [filters, 1, height, width]");
    g = {d[0], 1, side, side, false};
  }
  if (!g.colour) {
    g.count *= g.channels;  // each channel a picture of its own
    g.channels = 1;
  }
  g.count = std::min(g.count, kMostFilters);
  return g;
}

/// Bytes of one filter: in grey, zero is the middle; in colour, the range fills the bytes.
std::vector<uint8_t> filter_bytes(std::span<const float> weights, bool colour) {
  float low = 0, high = 0, largest = 0;
  if (colour) low = high = weights[0];
  for (const float w : weights) {
    if (!std::isfinite(w)) continue;
    low = std::min(low, w);
    high = std::max(high, w);
    largest = std::max(largest, std::abs(w));
  }
  if (!colour) {
    low = -largest;
    high = largest;
  }
  std::vector<uint8_t> bytes;
  for (const float w : weights) {
    const float share = high > low ? (w - low) / (high - low) : 0.5f;
    bytes.push_back(std::isfinite(share)
                        ? static_cast<uint8_t>(std::lround(255 * std::clamp(share, 0.0f, 1.0f)))
                        : uint8_t{0});
  }
  return bytes;
}

/// White to blue for right answers, white to red for mistakes.
std::string heat(double share, bool right) {
  const std::array<double, 3> full =
      right ? std::array<double, 3>{33, 102, 172} : std::array<double, 3>{198, 40, 40};
  const auto mix = [&](size_t i) {
    return static_cast<int>(std::lround(255 + (full[i] - 255) * share));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2));
}

std::string shortened(const std::string& text, size_t most) {
  size_t at = 0, characters = 0;
  while (at < text.size()) {
    // A UTF-8 character is not cut: its later bytes are 10xxxxxx.
    size_t end = at + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    if (++characters > most) return text.substr(0, at) + "…";
    at = end;
  }
  return text;
}

std::string class_name(const std::vector<std::string>& names, size_t i) {
  return i < names.size() ? shortened(names[i], 12) : std::to_string(i);
}

}  // namespace

Result<Image> filters_picture(const Tensor& weights) {
  const Result<FilterGrid> grid = grid_of(weights);
  if (!grid.ok()) return grid.status();
  const FilterGrid& g = grid.value();
  if (g.height > 4096 || g.width > 4096)
    return invalid_argument("filters: " + weights.type_string() + " is too large for a picture");
  const auto columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(g.count))));
  const int64_t side = std::clamp(kPictureSide / columns, kLeastSide, kMostSide);
  const auto zoom = std::max<int64_t>(1, side / std::max(g.height, g.width));
  const int64_t rows = (g.count + columns - 1) / columns;
  const int64_t cell_w = g.width * zoom + kFilterGap, cell_h = g.height * zoom + kFilterGap;
  const int channels = g.colour ? 3 : 1;
  Image image = {static_cast<int>(columns * cell_w + kFilterGap),
                 static_cast<int>(rows * cell_h + kFilterGap),
                 channels,
                 {}};
  image.pixels.assign(static_cast<size_t>(image.width) * static_cast<size_t>(image.height) *
                          static_cast<size_t>(channels),
                      255);
  const int64_t plane = g.height * g.width, each = plane * g.channels;
  for (int64_t f = 0; f < g.count; ++f) {
    const auto bytes = filter_bytes(
        weights.values<float>().subspan(static_cast<size_t>(f * each), static_cast<size_t>(each)),
        g.colour);
    const int64_t left = f % columns * cell_w + kFilterGap, top = f / columns * cell_h + kFilterGap;
    for (int64_t y = 0; y < g.height * zoom; ++y)
      for (int64_t x = 0; x < g.width * zoom; ++x)
        for (int64_t c = 0; c < channels; ++c)
          image.pixels[static_cast<size_t>(((top + y) * image.width + left + x) * channels + c)] =
              bytes[static_cast<size_t>(c * plane + y / zoom * g.width + x / zoom)];
  }
  return image;
}

Result<Image> picture_grid(const std::vector<Image>& pictures, int columns, int group, int side) {
  if (pictures.empty() || columns < 1 || group < 1)
    return invalid_argument("a grid of pictures needs one picture and one column at least");
  const Image& first = pictures[0];
  for (const Image& p : pictures)
    if (p.width != first.width || p.height != first.height || p.channels != first.channels)
      return invalid_argument(fmt::format("a grid of pictures of {}x{}x{} and {}x{}x{}",
                                          first.channels, first.height, first.width, p.channels,
                                          p.height, p.width));
  const int zoom = std::max(1, side / std::max({first.width, first.height, 1}));
  const int rows = (static_cast<int>(pictures.size()) + columns - 1) / columns;
  const int cell_w = first.width * zoom + kGap, cell_h = first.height * zoom + kGap;
  const auto top_of = [&](int row) { return kGap + row * cell_h + row / group * kGroupGap; };
  Image grid = {columns * cell_w + kGap, top_of(rows - 1) + cell_h, first.channels, {}};
  const auto at = [](const Image& image, int y, int x) {
    return static_cast<size_t>((y * image.width + x) * image.channels);
  };
  grid.pixels.assign(at(grid, grid.height, 0), 255);
  for (size_t i = 0; i < pictures.size(); ++i) {
    const int left = static_cast<int>(i) % columns * cell_w + kGap;
    const int top = top_of(static_cast<int>(i) / columns);
    for (int y = 0; y < first.height * zoom; ++y)
      for (int x = 0; x < first.width * zoom; ++x)
        std::copy_n(pictures[i].pixels.begin() +
                        static_cast<std::ptrdiff_t>(at(first, y / zoom, x / zoom)),
                    first.channels,
                    grid.pixels.begin() + static_cast<std::ptrdiff_t>(at(grid, top + y, left + x)));
  }
  return grid;
}

Result<std::string> confusion_svg(std::span<const int64_t> counts,
                                  const std::vector<std::string>& class_names,
                                  const std::string& title) {
  const auto n = static_cast<size_t>(std::llround(std::sqrt(static_cast<double>(counts.size()))));
  if (n == 0 || n * n != counts.size() || n > 1000 ||
      (!class_names.empty() && class_names.size() != n) ||
      std::any_of(counts.begin(), counts.end(), [](int64_t c) { return c < 0; }))
    return invalid_argument("confusion matrix: expected classes x classes counts from 0 and a name "
                            "for each class, got " +
                            std::to_string(counts.size()) + " counts and " +
                            std::to_string(class_names.size()) + " names");
  // Numbers have to fit their cells; many classes make a heat map without numbers.
  const double cell = n <= 12 ? 46 : n <= 30 ? 34 : std::max(4.0, 900.0 / static_cast<double>(n));
  size_t longest = 1;
  for (size_t i = 0; i < n; ++i) longest = std::max(longest, class_name(class_names, i).size());
  const double left = 56 + 7.0 * static_cast<double>(longest), top = title.empty() ? 62 : 92;
  const double side = cell * static_cast<double>(n), recall_width = 74;
  Svg svg(left + side + recall_width + 16, top + side + 24);
  if (!title.empty()) svg.text(24, 30, title, {17, kInk, Svg::Anchor::start, true});
  svg.text(left + side / 2, top - 34, "predicted", {12, kFaint, Svg::Anchor::middle});
  svg.text(24, top - 12, "truth", {12, kFaint, Svg::Anchor::start});
  svg.text(left + side + recall_width, top - 12, "recall", {12, kFaint, Svg::Anchor::end});
  for (size_t truth = 0; truth < n; ++truth) {
    const auto row = counts.subspan(truth * n, n);
    int64_t total = 0;
    for (const int64_t c : row) total += c;
    const double y = top + static_cast<double>(truth) * cell;
    for (size_t predicted = 0; predicted < n; ++predicted) {
      const double share =
          total > 0 ? static_cast<double>(row[predicted]) / static_cast<double>(total) : 0;
      // The root makes the few mistakes of a good model visible.
      const double shade = std::sqrt(share);
      const double x = left + static_cast<double>(predicted) * cell;
      const bool right = truth == predicted;
      svg.rectangle(x + 0.75, y + 0.75, cell - 1.5, cell - 1.5,
                    row[predicted] > 0 ? heat(right ? share : shade, right) : "#f6f8fa", "none", 1,
                    3);
      const bool dark = (right ? share : shade) > 0.55;
      if (n <= 30 && row[predicted] > 0)
        svg.text(x + cell / 2, y + cell / 2 + 4, std::to_string(row[predicted]),
                 {row[predicted] > 9999 ? 9.0 : 12.0, dark ? "#ffffff" : kInk, Svg::Anchor::middle,
                  right});
    }
    if (n > 60) continue;
    svg.text(left - 10, y + cell / 2 + 4, class_name(class_names, truth),
             {12, kInk, Svg::Anchor::end});
    svg.text(left + (static_cast<double>(truth) + 0.5) * cell, top - 12,
             shortened(class_name(class_names, truth), n <= 12 ? 6 : 4),
             {n <= 12 ? 12.0 : 10.0, kInk, Svg::Anchor::middle});
    const std::string recall =
        total > 0 ? fmt::format("{:.1f} %", 100.0 * static_cast<double>(row[truth]) /
                                                static_cast<double>(total))
                  : "none";
    svg.text(left + side + recall_width, y + cell / 2 + 4, recall, {12, kFaint, Svg::Anchor::end});
  }
  return svg.take();
}

Result<std::string> predictions_svg(const std::vector<Prediction>& predictions,
                                    const std::string& title) {
  constexpr double kSide = 84, kCellWidth = 108, kCellHeight = 132, kMargin = 20;
  const size_t columns = std::clamp<size_t>(
      static_cast<size_t>(std::ceil(std::sqrt(static_cast<double>(predictions.size()) * 1.5))), 1,
      10);
  const size_t rows = (predictions.size() + columns - 1) / columns;
  const double top = title.empty() ? kMargin : 52;
  Svg svg(2 * kMargin + static_cast<double>(columns) * kCellWidth,
          top + static_cast<double>(rows) * kCellHeight + 8);
  if (!title.empty()) svg.text(kMargin + 12, 32, title, {17, kInk, Svg::Anchor::start, true});
  for (size_t i = 0; i < predictions.size(); ++i) {
    const Prediction& p = predictions[i];
    const bool right = p.predicted == p.truth;
    const double middle = kMargin + (static_cast<double>(i % columns) + 0.5) * kCellWidth;
    const double y = top + static_cast<double>(i / columns) * kCellHeight;
    const auto longer = static_cast<double>(std::max({p.image.width, p.image.height, 1}));
    const double w = kSide * p.image.width / longer, h = kSide * p.image.height / longer;
    if (Status s = svg.picture(middle - w / 2, y + (kSide - h) / 2, w, h, p.image); !s.ok())
      return s;
    svg.rectangle(middle - kSide / 2 - 2, y - 2, kSide + 4, kSide + 4, "none", right ? kRule : kRed,
                  right ? 1 : 2.5, 4);
    std::string said = shortened(p.predicted, 12);
    if (p.confidence >= 0) said += fmt::format(", {:.0f} %", 100 * p.confidence);
    svg.text(middle, y + kSide + 18, said, {13, right ? kInk : kRed, Svg::Anchor::middle, !right});
    if (!right)
      svg.text(middle, y + kSide + 33, "is " + shortened(p.truth, 14),
               {11, kFaint, Svg::Anchor::middle});
  }
  return svg.take();
}

Result<Image> tensor_picture(const Tensor& tensor, double low, double high) {
  const auto& d = tensor.dims();
  if ((tensor.dtype() != DType::f32 && tensor.dtype() != DType::u8) || tensor.rank() != 3 ||
      (d[0] != 1 && d[0] != 3) || d[1] < 1 || d[2] < 1 || d[1] > 16384 || d[2] > 16384)
    return invalid_argument("picture: expected f32 or u8 [1 or 3, height, width], got " +
                            tensor.type_string());
  std::vector<double> values;
  if (tensor.dtype() == DType::f32)
    for (const float v : tensor.values<float>()) values.push_back(static_cast<double>(v));
  else values.assign(tensor.values<uint8_t>().begin(), tensor.values<uint8_t>().end());
  if (low == high) {
    low = *std::min_element(values.begin(), values.end());
    high = *std::max_element(values.begin(), values.end());
  }
  Image image = {static_cast<int>(d[2]), static_cast<int>(d[1]), static_cast<int>(d[0]), {}};
  const auto plane = static_cast<size_t>(d[1] * d[2]), channels = static_cast<size_t>(d[0]);
  for (size_t at = 0; at < plane; ++at)
    for (size_t c = 0; c < channels; ++c) {
      const double share = high > low ? (values[c * plane + at] - low) / (high - low) : 0.5;
      image.pixels.push_back(static_cast<uint8_t>(
          std::isfinite(share) ? std::lround(255 * std::clamp(share, 0.0, 1.0)) : 0));
    }
  return image;
}

}  // namespace tintype
