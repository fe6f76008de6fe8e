// Images scaled when the data is opened.
#include "frontend/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace tintype {
namespace {

DatasetPtr images(DType dtype, std::vector<int64_t> dims, uint8_t largest) {
  Tensor values = Tensor::zeros(dtype, std::move(dims));
  if (dtype == DType::u8) std::ranges::fill(values.mutable_values<uint8_t>(), largest);
  Tensor labels = Tensor::zeros(DType::i64, {values.dims()[0]});
  return tensor_dataset({{"input", values, false}, {"target", labels, true}}, {"only"}).value();
}

std::vector<uint8_t> first_of(const Dataset& dataset) {
  std::vector<uint8_t> input(static_cast<size_t>(element_count(dataset.fields()[0].dims)));
  int64_t label = 0;
  std::byte* places[] = {reinterpret_cast<std::byte*>(input.data()),
                         reinterpret_cast<std::byte*>(&label)};
  EXPECT_TRUE(dataset.read(0, places).ok());
  return input;
}

TEST(ResizedImages, KeepLabelsNamesAndConstantColours) {
  Tensor values = Tensor::empty(DType::u8, {2, 3, 4, 6});
  for (size_t i = 0; i < 144; ++i)
    values.mutable_values<uint8_t>()[i] = static_cast<uint8_t>(50 + 80 * (i / 24 % 3));
  Tensor labels = Tensor::empty(DType::i64, {2});
  labels.mutable_values<int64_t>()[0] = 1;
  labels.mutable_values<int64_t>()[1] = 0;
  const DatasetPtr before =
      tensor_dataset({{"input", values, false}, {"target", labels, true}}, {"a", "b"}).value();
  const auto after = resized_images(before, 7, 5);
  ASSERT_TRUE(after.ok()) << after.status().message();
  EXPECT_EQ(after.value()->fields()[0].dims, (std::vector<int64_t>{3, 7, 5}));
  EXPECT_EQ(after.value()->labels(), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(after.value()->class_names(), before->class_names());
  const std::vector<uint8_t> pixels = first_of(*after.value());
  for (size_t i = 0; i < pixels.size(); ++i) EXPECT_EQ(pixels[i], 50 + 80 * (i / 35)) << i;
}

TEST(ResizedImages, SmallRangesAreStretched) {
  const auto largest = [](uint8_t of) {
    const auto pixels =
        first_of(*resized_images(images(DType::u8, {1, 1, 2, 1}, of), 8, 1).value());
    return *std::max_element(pixels.begin(), pixels.end());
  };
  EXPECT_EQ(largest(16), 255);
  EXPECT_EQ(largest(200), 200);
}

TEST(ResizedImages, RefuseWhatIsNoImage) {
  const auto message = [](const DatasetPtr& d, int height, int width) {
    return resized_images(d, height, width).status().message();
  };
  EXPECT_THAT(message(images(DType::f32, {1, 1, 2, 2}, 1), 4, 4), testing::HasSubstr("f32[1,2,2]"));
  EXPECT_THAT(message(images(DType::u8, {1, 2, 2, 2}, 1), 4, 4), testing::HasSubstr("u8[2,2,2]"));
  EXPECT_THAT(message(images(DType::u8, {1, 1, 2, 2}, 1), 0, 4), testing::HasSubstr("0 x 4"));
  EXPECT_THAT(message(images(DType::u8, {1, 1, 0, 2}, 1), 4, 4), testing::HasSubstr("empty"));
}

}  // namespace
}  // namespace tintype
