// Moving pixels: SciPy's values, and identities; the text form of options; statistics.
#include "frontend/data/augmentation.h"
#include "frontend/data/image_ops.h"
#include "frontend/data/normalization.h"
#include "frontend/data/sample_pipeline.h"

#include <cmath>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <numeric>

namespace tintype {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> counting(const ImageExtents& e) {
  std::vector<float> image(e.size());
  std::iota(image.begin(), image.end(), 1.0f);
  return image;
}

TEST(ImageOps, TransformsAreThoseOfScipy) {
  std::ifstream file(std::string(TINTYPE_TEST_DIR) + "/fixtures/transforms.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 31u);
  for (const auto& c : cases) {
    const ImageExtents e = {1, c["height"], c["width"]};
    const auto image = c["image"].get<std::vector<float>>();
    const auto want = c["moved"].get<std::vector<float>>();
    std::vector<float> got(image.size());
    transform_image(image, e, c["degrees"], c["zoom"], c["right"], c["down"], got);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i], 2e-6) << i << " of " << c.dump();
  }
}

TEST(ImageOps, NoMotionChangesNoBit) {
  const ImageExtents e = {3, 5, 4};
  const std::vector<float> image = counting(e);
  std::vector<float> got(e.size());
  transform_image(image, e, 0, 1, 0, 0, got);
  EXPECT_EQ(got, image);
  crop_image(image, e, 0, 0, false, e, got);
  EXPECT_EQ(got, image);
  cut_out(got, e, 2, 2, 0);
  EXPECT_EQ(got, image);
}

TEST(ImageOps, ShiftsByWholePixelsAreCrops) {
  const ImageExtents e = {2, 4, 5};
  const std::vector<float> image = counting(e);
  std::vector<float> moved(e.size()), cropped(e.size());
  for (const int right : {-6, -2, 0, 3})
    for (const int down : {-1, 0, 4}) {
      transform_image(image, e, 0, 1, right, down, moved);
      crop_image(image, e, -down, -right, false, e, cropped);
      EXPECT_EQ(moved, cropped) << right << " " << down;
    }
}

TEST(ImageOps, TwoFlipsAndFourQuarterTurnsAreNothing) {
  const ImageExtents e = {2, 3, 3};
  const std::vector<float> image = counting(e);
  std::vector<float> once(e.size()), twice(e.size());
  crop_image(image, e, 0, 0, true, e, once);
  EXPECT_NE(once, image);
  EXPECT_FLOAT_EQ(once[0], image[2]);
  crop_image(once, e, 0, 0, true, e, twice);
  EXPECT_EQ(twice, image);
  std::vector<float> turned = image;
  for (int i = 0; i < 4; ++i) {
    transform_image(turned, e, 90, 1, 0, 0, once);
    turned = once;
  }
  for (size_t i = 0; i < e.size(); ++i) EXPECT_NEAR(turned[i], image[i], 1e-5);
}

TEST(ImageOps, CutoutClearsASquareAndStopsAtTheBorder) {
  const ImageExtents e = {1, 4, 4};
  std::vector<float> image(e.size(), 1.0f);
  cut_out(image, e, 0, 3, 3);
  EXPECT_THAT(image, ElementsAre(1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
}

TEST(Augmentation, TextReadsBack) {
  const auto a = Augmentation::parse("shift=1,rotate=10.5,flip,cutout=4,noise=0.25,pad=4,crop=32");
  ASSERT_TRUE(a.ok()) << a.status().message();
  EXPECT_EQ(a.value().shift, 1);
  EXPECT_DOUBLE_EQ(a.value().rotate, 10.5);
  EXPECT_DOUBLE_EQ(a.value().flip, 0.5);
  EXPECT_EQ(a.value().cutout, 4);
  EXPECT_EQ(a.value().text(), "shift=1,rotate=10.5,flip=0.5,pad=4,crop=32,noise=0.25,cutout=4");
  EXPECT_EQ(Augmentation::parse(a.value().text()).value().text(), a.value().text());
  EXPECT_EQ(Augmentation::parse("").value().text(), "");
}

TEST(Augmentation, MistakesAreAnswered) {
  const std::pair<const char*, const char*> mistakes[] = {{"rotat=3", "did you mean 'rotate'"},
                                                          {"shift", "needs a value"},
                                                          {"shift=1.5", "whole number"},
                                                          {"shift=-1", "from 0"},
                                                          {"flip=2", "from 0 to 1"},
                                                          {"rotate=abc", "found 'rotate=abc'"},
                                                          {"scale=1", "0.99"},
                                                          {"noise=nan", "noise"}};
  for (const auto& [text, part] : mistakes) {
    const auto a = Augmentation::parse(text);
    ASSERT_FALSE(a.ok()) << text;
    EXPECT_THAT(a.status().message(), HasSubstr(part));
  }
  const Augmentation crop = {.pad = 1, .crop = 11};
  EXPECT_THAT(crop.output_dims({1, 8, 8}).status().message(), HasSubstr("11x11"));
  EXPECT_THAT(crop.output_dims({64}).status().message(), HasSubstr("needs images"));
}

std::vector<float> run(const SamplePipeline& pipeline, const std::vector<uint8_t>& raw,
                       uint64_t item, size_t size) {
  SamplePipeline::Scratch scratch;
  std::vector<float> out(size);
  pipeline.run(reinterpret_cast<const std::byte*>(raw.data()),
               RandomDraws(1, RandomDraws::kAugment, 0, item), scratch, out, {});
  return out;
}

TEST(SamplePipeline, ShiftsStayInRangeAndReachEveryPlace) {
  // One bright pixel in the middle: where it goes is the shift.
  const Field field = {"x", DType::u8, {1, 7, 7}, false};
  const SamplePipeline pipeline(field, {.shift = 2}, false, {});
  std::vector<uint8_t> raw(49);
  raw[24] = 9;
  std::vector<int> seen(49);
  for (uint64_t item = 0; item < 2000; ++item) {
    const auto out = run(pipeline, raw, item, 49);
    const auto at = std::find(out.begin(), out.end(), 9.0f) - out.begin();
    ASSERT_LT(at, 49);
    ++seen[static_cast<size_t>(at)];
  }
  for (int y = 0; y < 7; ++y)
    for (int x = 0; x < 7; ++x) {
      const bool near = std::abs(y - 3) <= 2 && std::abs(x - 3) <= 2;
      const int count = seen[static_cast<size_t>(y * 7 + x)];
      // 2000 draws over 25 places: 80 expected, deviation 9.
      if (near) EXPECT_NEAR(count, 80, 45) << y << " " << x;
      else EXPECT_EQ(count, 0) << y << " " << x;
    }
}

TEST(SamplePipeline, FlipAndNoiseHaveTheirProbabilityAndDeviation) {
  const Field field = {"x", DType::u8, {1, 1, 2}, false};
  const SamplePipeline flip(field, {.flip = 0.25}, false, {});
  int flipped = 0;
  for (uint64_t item = 0; item < 4000; ++item) flipped += run(flip, {1, 0}, item, 2)[1] == 1.0f;
  EXPECT_NEAR(flipped, 1000, 140);  // five deviations of 27
  const SamplePipeline noise(field, {.noise = 0.5}, false, {});
  double sum = 0, squares = 0;
  for (uint64_t item = 0; item < 4000; ++item)
    for (const float v : run(noise, {3, 3}, item, 2)) {
      sum += static_cast<double>(v) - 3;
      squares += (static_cast<double>(v) - 3) * (static_cast<double>(v) - 3);
    }
  EXPECT_NEAR(sum / 8000, 0, 0.03);
  EXPECT_NEAR(std::sqrt(squares / 8000), 0.5, 0.02);
}

TEST(SamplePipeline, EvaluationTakesTheMiddleAndNoChance) {
  const Field field = {"x", DType::u8, {1, 4, 4}, false};
  const Augmentation all = {
      .shift = 1, .rotate = 20, .flip = 1, .crop = 2, .noise = 1, .cutout = 2};
  const SamplePipeline pipeline(field, all, true, {{1.0f}, {2.0f}});
  std::vector<uint8_t> raw(16);
  std::iota(raw.begin(), raw.end(), uint8_t{1});
  EXPECT_EQ(pipeline.output_dims(), (std::vector<int64_t>{1, 2, 2}));
  EXPECT_THAT(run(pipeline, raw, 0, 4), ElementsAre(2.5, 3, 4.5, 5));
}

TEST(Normalization, StatisticsPerChannel) {
  const auto data = tensor_dataset(
      {{"input", Tensor::from<uint8_t>({2, 2, 1, 2}, {1, 3, 7, 7, 5, 7, 7, 7}), false}});
  ASSERT_TRUE(data.ok());
  const auto n = Normalization::standard(*data.value());
  ASSERT_TRUE(n.ok());
  EXPECT_THAT(n.value().mean, ElementsAre(4, 7));
  EXPECT_FLOAT_EQ(n.value().deviation[0], std::sqrt(5.0f));
  EXPECT_EQ(n.value().deviation[1], 1.0f);  // never varies
  const auto back = Normalization::parse(n.value().text(), *data.value());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back.value().mean, n.value().mean);
  EXPECT_EQ(back.value().deviation, n.value().deviation);
}

TEST(Normalization, UnitUsesTheRangeOfTheData) {
  const auto largest = [](uint8_t value) {
    const auto data = tensor_dataset({{"x", Tensor::from<uint8_t>({1, 2}, {0, value}), false}});
    return Normalization::unit(*data.value()).value().text();
  };
  EXPECT_EQ(largest(16), "std=16");
  EXPECT_EQ(largest(200), "std=255");
  EXPECT_EQ(largest(0), "none");
  const auto floats = tensor_dataset({{"x", Tensor::from<float>({1, 1}, {16}), false}});
  EXPECT_EQ(Normalization::parse("unit", *floats.value()).value().text(), "none");
  for (const char* wrong : {"", "units", "mean=", "mean=1:a", "std=0", "mean=1,,std=1"})
    EXPECT_FALSE(Normalization::parse(wrong, *floats.value()).ok()) << wrong;
}

}  // namespace
}  // namespace tintype
