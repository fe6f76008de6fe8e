// Histories read back; pictures are well-formed and show what they are given.
#include "frontend/plot/axis.h"
#include "frontend/plot/history.h"
#include "frontend/plot/plots.h"
#include "frontend/plot/svg.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>

namespace tintype {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Checks that tags nest and attributes are quoted; counts elements by name.
std::map<std::string, int> elements_of(const std::string& svg) {
  std::map<std::string, int> counts;
  std::vector<std::string> open;
  for (size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const size_t end = svg.find('>', at);
    EXPECT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    EXPECT_EQ(std::count(tag.begin(), tag.end(), '"') % 2, 0) << tag;
    if (tag.starts_with("/")) {
      EXPECT_EQ(open.back(), tag.substr(1));
      open.pop_back();
      continue;
    }
    const std::string name = tag.substr(0, tag.find_first_of(" /"));
    ++counts[name];
    if (!tag.ends_with("/")) open.push_back(name);
  }
  EXPECT_TRUE(open.empty());
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  return counts;
}

std::vector<HistoryRow> history(int epochs) {
  std::vector<HistoryRow> rows;
  for (int e = 0; e < epochs; ++e)
    rows.push_back({e,
                    0.1,
                    {{"accuracy", 1 - 1.0 / (e + 2)}, {"loss", 2.0 / (e + 1)}},
                    {{"loss", 2.5 / (e + 1)}},
                    0.5,
                    {}});
  return rows;
}

TEST(History, CsvReadsBackExactly) {
  std::vector<HistoryRow> rows = history(2);
  rows[0].training["a,\"b\""] = 1.0 / 3;
  rows[1].validation.clear();
  EXPECT_EQ(history_csv(rows),
            "epoch,learning_rate,seconds,loss,\"a,\"\"b\"\"\",accuracy,validation_loss\n"
            "1,0.1,0.5,2,0.3333333333333333,0.5,2.5\n"
            "2,0.1,0.5,1,,0.6666666666666667,\n");
  EXPECT_EQ(std::stod("0.3333333333333333"), 1.0 / 3);
  EXPECT_EQ(history_csv({}), "epoch,learning_rate,seconds\n");
}

TEST(History, JsonKeepsWarningsAndDropsWhatIsNoNumber) {
  std::vector<HistoryRow> rows = history(2);
  rows[1].training["loss"] = kNaN;
  rows[1].warnings = {"dead \"units\" \xff"};
  const auto json = nlohmann::json::parse(history_json(rows));
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["epoch"], 1);
  EXPECT_EQ(json[0]["training"]["loss"], 2.0);
  EXPECT_TRUE(json[1]["training"]["loss"].is_null());
  EXPECT_EQ(json[1]["warnings"].size(), 1u);
}

TEST(Axis, TicksAreRoundAndInside) {
  const std::pair<double, double> ranges[] = {{0, 1},       {0.91, 0.987}, {-3, 12},  {1e-7, 2e-7},
                                              {1e6, 3.3e6}, {5, 5},        {0, 30000}};
  for (const auto& [low, high] : ranges) {
    const Axis axis = axis_over(low, high, false);
    const auto marks = ticks(axis, 5);
    EXPECT_GE(marks.size(), 3u) << low;
    EXPECT_LE(marks.size(), 7u) << low;
    std::set<std::string> labels;
    for (const double v : marks) {
      EXPECT_GE(v, axis.low - 1e-9 * std::abs(axis.low));
      EXPECT_LE(v, axis.high + 1e-9 * std::abs(axis.high));
      labels.insert(tick_label(v, marks));
      EXPECT_LE(tick_label(v, marks).size(), 9u);
    }
    EXPECT_EQ(labels.size(), marks.size()) << "labels differ";
  }
}

TEST(Axis, LogarithmicTicks) {
  EXPECT_THAT(ticks(axis_over(0.001, 10, true), 5), ElementsAre(0.001, 0.01, 0.1, 1, 10));
  EXPECT_GE(ticks(axis_over(0.5, 0.9, true), 5).size(), 3u);
  EXPECT_LE(ticks(axis_over(1e-200, 1e200, true), 5).size(), 12u);
  const Axis axis = {1, 100, true, 0, 10};
  EXPECT_DOUBLE_EQ(axis.pixel(10), 5);
}

TEST(Axis, LabelsHaveTheDecimalsTheyNeed) {
  EXPECT_EQ(tick_label(0.5, {0, 0.25, 0.5}), "0.50");
  EXPECT_EQ(tick_label(1200, {1000, 1200}), "1,200");
  EXPECT_EQ(tick_label(-1234, {-1234, 0}), "-1,234");
  EXPECT_EQ(tick_label(-200, {-200, 0}), "-200");
  EXPECT_EQ(tick_label(1e-7, {1e-7, 2e-7}), "1e-07");
}

TEST(Curves, APanelPerScore) {
  const std::string svg = curves_svg(history(20), {.title = "digits & <more>", .log_loss = true});
  const auto counts = elements_of(svg);
  EXPECT_EQ(counts.at("polyline"), 3);  // two of the loss, one of the accuracy
  EXPECT_THAT(svg, HasSubstr("digits &amp; &lt;more&gt;"));
  EXPECT_THAT(svg, HasSubstr(">Loss</text>"));
  EXPECT_THAT(svg, HasSubstr(">Accuracy</text>"));
  EXPECT_THAT(svg, HasSubstr("best 0.125 in epoch 20"));
}

TEST(Curves, GapsAndShortHistories) {
  std::vector<HistoryRow> rows = history(6);
  rows[2].training["loss"] = kNaN;
  rows[5].training["loss"] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(elements_of(curves_svg(rows)).at("polyline"), 4);  // the loss in two pieces
  EXPECT_EQ(elements_of(curves_svg(history(1))).count("polyline"), 0u);
  elements_of(curves_svg({}));
  rows = history(3);
  for (HistoryRow& row : rows) row.training = {{"loss", 0.0}};
  elements_of(curves_svg(rows, {.log_loss = true}));
}

TEST(Filters, GreyHasZeroInTheMiddle) {
  const auto picture = filters_picture(Tensor::from<float>({1, 1, 1, 3}, {-1, 0, 2}));
  ASSERT_TRUE(picture.ok());
  const Image& image = picture.value();
  const auto pixel = [&](int x) { return image.pixels[static_cast<size_t>(4 * image.width + x)]; };
  EXPECT_EQ(image.width, 3 * 40 + 8);
  EXPECT_EQ(pixel(4), 64);
  EXPECT_EQ(pixel(4 + 40), 128);
  EXPECT_EQ(pixel(4 + 80), 255);
}

TEST(Filters, ShapesAndColours) {
  const auto size = [](std::vector<int64_t> dims) {
    const auto p = filters_picture(Tensor::zeros(DType::f32, std::move(dims)));
    EXPECT_TRUE(p.ok()) << p.status().message();
    return std::array{p.value().width, p.value().height, p.value().channels};
  };
  EXPECT_EQ(size({5, 3, 7, 7}), (std::array{3 * 123 + 4, 2 * 123 + 4, 3}));
  EXPECT_EQ(size({2, 2, 3, 3}), (std::array{2 * 124 + 4, 2 * 124 + 4, 1}));
  EXPECT_EQ(size({1, 64}), (std::array{128, 128, 1}));
  // Many are drawn smaller.
  EXPECT_EQ(size({64, 3, 7, 7}), (std::array{8 * 88 + 4, 8 * 88 + 4, 3}));
  EXPECT_THAT(filters_picture(Tensor::zeros(DType::f32, {2, 7})).status().message(),
              HasSubstr("no square"));
  EXPECT_FALSE(filters_picture(Tensor::zeros(DType::f64, {1, 1, 2, 2})).ok());
  EXPECT_FALSE(filters_picture(Tensor::zeros(DType::f32, {0, 1, 2, 2})).ok());
}

TEST(Grid, PicturesStandSideBySide) {
  const Image dark = {2, 1, 1, {0, 50}}, light = {2, 1, 1, {100, 150}};
  const auto grid = picture_grid({dark, light, dark}, 2, 2, 4);
  ASSERT_TRUE(grid.ok()) << grid.status().message();
  const Image& g = grid.value();
  EXPECT_EQ(std::pair(g.width, g.height), std::pair(2 * 6 + 2, 2 * 4 + 2));
  const auto pixel = [&](int y, int x) { return g.pixels[static_cast<size_t>(y * g.width + x)]; };
  EXPECT_EQ(pixel(0, 0), 255);
  EXPECT_EQ(pixel(2, 2), 0);
  EXPECT_EQ(pixel(3, 5), 50);
  EXPECT_EQ(pixel(2, 8), 100);
  EXPECT_EQ(pixel(6, 2), 0);
  EXPECT_EQ(pixel(6, 8), 255);
  EXPECT_EQ(picture_grid({dark, light, dark}, 2, 1, 4).value().height, 2 * 4 + 2 + 8);
  EXPECT_FALSE(picture_grid({}, 2).ok());
  EXPECT_THAT(picture_grid({dark, {1, 1, 1, {0}}}, 2).status().message(), HasSubstr("1x1x2"));
}

TEST(Confusion, NumbersAndNames) {
  const std::vector<int64_t> counts = {90, 10, 0, 50};
  const auto svg = confusion_svg(counts, {"cat", "<dog>"}, "test data");
  ASSERT_TRUE(svg.ok());
  elements_of(svg.value());
  for (const char* part : {">90<", ">10<", ">50<", ">90.0 %<", ">100.0 %<", ">cat<", "&lt;dog&gt;"})
    EXPECT_THAT(svg.value(), HasSubstr(part));
  EXPECT_THAT(svg.value(), Not(HasSubstr(">0<")));
  for (const int64_t n : {1, 30, 100})
    EXPECT_TRUE(confusion_svg(std::vector<int64_t>(static_cast<size_t>(n * n)), {}).ok());
  EXPECT_FALSE(confusion_svg(std::vector<int64_t>(3), {}).ok());
  EXPECT_FALSE(confusion_svg({}, {}).ok());
  EXPECT_FALSE(confusion_svg(counts, {"a"}).ok());
}

TEST(Predictions, MistakesAreRed) {
  const Image image = {2, 3, 1, {0, 50, 100, 150, 200, 250}};
  const auto svg = predictions_svg({{image, "7", "7", 0.98}, {image, "1", "7", -1}}, "samples");
  ASSERT_TRUE(svg.ok());
  const auto counts = elements_of(svg.value());
  EXPECT_EQ(counts.at("image"), 2);
  EXPECT_THAT(svg.value(), HasSubstr("7, 98 %"));
  EXPECT_THAT(svg.value(), HasSubstr(">is 7<"));
  const std::string text = svg.value();
  EXPECT_NE(text.find(kRed), std::string::npos);
  EXPECT_EQ(predictions_svg({{image, "7", "7", 1}}).value().find(kRed), std::string::npos);
  EXPECT_TRUE(predictions_svg({}).ok());
}

TEST(Predictions, TensorsBecomePictures) {
  EXPECT_THAT(tensor_picture(Tensor::from<float>({1, 1, 3}, {0, 8, 16})).value().pixels,
              ElementsAre(0, 128, 255));
  EXPECT_THAT(tensor_picture(Tensor::from<uint8_t>({3, 1, 1}, {0, 255, 51}), 0, 255).value().pixels,
              ElementsAre(0, 255, 51));
  EXPECT_FALSE(tensor_picture(Tensor::zeros(DType::f32, {2, 4, 4})).ok());
}

}  // namespace
}  // namespace tintype
