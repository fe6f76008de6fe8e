// Data sets as inputs of training programs: types, axes, and what does not fit.
#include "ir/diagnostic.h"
#include "tools/driver/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype {
namespace {

std::unique_ptr<Loader> loader(Tensor target, bool label) {
  const int64_t size = target.dims()[0];
  Tensor input = Tensor::empty(DType::u8, {size, 1, 2, 2});
  for (size_t i = 0; i < input.values<uint8_t>().size(); ++i)
    input.mutable_values<uint8_t>()[i] = static_cast<uint8_t>(i);
  auto dataset = tensor_dataset({{"input", input, false}, {"target", std::move(target), label}});
  return Loader::create(dataset.value(), {.batch = 2, .names = {"x", "target"}}).value();
}

Tensor labels(std::vector<int64_t> values) {
  Tensor t = Tensor::empty(DType::i64, {static_cast<int64_t>(values.size())});
  std::ranges::copy(values, t.mutable_values<int64_t>().begin());
  return t;
}

const TensorType kImages = {DType::f32, {Dim::symbol("N"), 1, 2, 2}};

TEST(LoaderBatches, ConvertElementsAndAddTheAxisOfOneValue) {
  const auto batches =
      batches_of(loader(labels({3, 0, 1}), true),
                 {{"x", kImages}, {"target", {DType::f32, {Dim::symbol("N"), 1}}}});
  EXPECT_EQ(batches->size(), 3);
  EXPECT_EQ(batches->batches(), 2);
  const Batch first = *batches->next(), second = *batches->next();
  EXPECT_FALSE(batches->next().has_value());
  EXPECT_EQ(first.at("target").dims(), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(first.at("target").values<float>()[0], 3.0f);
  EXPECT_EQ(second.at("x").dims(), (std::vector<int64_t>{1, 1, 2, 2}));
  EXPECT_EQ(second.at("x").values<float>()[3], 11.0f);
}

TEST(LoaderBatches, DropTheAxisOfOneValueAndKeepIntegers) {
  Tensor column = labels({5, 6}).reshaped({2, 1});
  const auto batches = batches_of(loader(column, false),
                                  {{"x", kImages}, {"target", {DType::i64, {Dim::symbol("N")}}}});
  const Batch batch = *batches->next();
  EXPECT_EQ(batch.at("target").dims(), (std::vector<int64_t>{2}));
  EXPECT_EQ(batch.at("target").values<int64_t>()[1], 6);
}

TEST(LoaderBatches, WhatDoesNotFitIsSaidBeforeTraining) {
  const auto message = [](std::map<std::string, TensorType> types) {
    try {
      batches_of(loader(labels({0, 1}), true), std::move(types));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_THAT(message({{"x", {DType::f32, {Dim::symbol("N"), 3, 2, 2}}}}),
              testing::AllOf(testing::HasSubstr("'x'"), testing::HasSubstr("[1,2,2]"),
                             testing::HasSubstr("[N,3,2,2]")));
  EXPECT_THAT(message({{"x", kImages}, {"target", {DType::f32, {Dim::symbol("N"), 10}}}}),
              testing::HasSubstr("'target'"));
  EXPECT_THAT(message({{"y", kImages}}), testing::HasSubstr("nothing for 'y'"));
}

}  // namespace
}  // namespace tintype
