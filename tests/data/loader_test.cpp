// Datasets, splits, and batches: what they hold, in which order, from any number of workers.
#include "frontend/data/loader.h"
#include "frontend/data/open_dataset.h"

#include <atomic>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <set>

namespace tintype {
namespace {

using ::testing::HasSubstr;

/// Samples 0 to n - 1: input f32[2] (i, -i), label i % 3.
DatasetPtr numbered(int64_t n) {
  Tensor x = Tensor::empty(DType::f32, {n, 2}), y = Tensor::empty(DType::i64, {n});
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    x.mutable_values<float>()[2 * at] = static_cast<float>(i);
    x.mutable_values<float>()[2 * at + 1] = static_cast<float>(-i);
    y.mutable_values<int64_t>()[at] = i % 3;
  }
  return tensor_dataset({{"input", x, false}, {"target", y, true}}).value();
}

std::unique_ptr<Loader> loader(const DatasetPtr& data, const LoaderOptions& options) {
  auto made = Loader::create(data, options);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(made).value();
}

DatasetPtr digits() {
  return open_dataset(TINTYPE_SOURCE_DIR "/examples/data/digits").value().training;
}

/// Everything a loader gives in some epochs, as bytes.
std::string bytes_of(Loader& l, int64_t epochs) {
  std::string all;
  for (int64_t e = 0; e < epochs;) {
    auto batch = l.next();
    EXPECT_TRUE(batch.ok());
    if (!batch.value()) {
      all += "|";
      ++e;
      continue;
    }
    for (const auto& [name, t] : *batch.value())
      all += name + t.type_string() + std::string(static_cast<const char*>(t.data()), t.bytes());
  }
  return all;
}

std::vector<int64_t> samples_of_epoch(Loader& l) {
  std::vector<int64_t> seen;
  for (auto batch = l.next(); batch.value(); batch = l.next()) {
    const Tensor& x = batch.value()->at("input");
    const Tensor& y = batch.value()->at("target");
    for (int64_t i = 0; i < x.dims()[0]; ++i) {
      const auto at = static_cast<size_t>(i);
      const auto sample = static_cast<int64_t>(x.values<float>()[2 * at]);
      EXPECT_EQ(x.values<float>()[2 * at + 1], -static_cast<float>(sample));
      EXPECT_EQ(y.values<int64_t>()[at], sample % 3);
      seen.push_back(sample);
    }
  }
  return seen;
}

TEST(Loader, AReconstructionIsTheInputBeforeItWasDisturbed) {
  LoaderOptions options = {.batch = 8,
                           .augmentation = {.shift = 1, .noise = 0.5, .cutout = 3},
                           .names = {"image", "label"},
                           .reconstruction = "target"};
  options.normalization = Normalization::unit(*digits()).value();
  LoaderOptions calm = options;
  calm.augmentation.noise = 0;
  calm.augmentation.cutout = 0;
  const Batch disturbed = *loader(digits(), options)->next().value();
  const Batch clean = *loader(digits(), calm)->next().value();
  const auto bytes = [](const Tensor& t) {
    return std::string(static_cast<const char*>(t.data()), t.bytes());
  };
  EXPECT_EQ(disturbed.size(), 3u);
  EXPECT_EQ(bytes(disturbed.at("target")), bytes(clean.at("image")));
  EXPECT_EQ(bytes(clean.at("target")), bytes(clean.at("image")));
  EXPECT_NE(bytes(disturbed.at("image")), bytes(clean.at("image")));
  options.reconstruction = "label";
  EXPECT_THAT(Loader::create(digits(), options).status().message(), HasSubstr("the same name"));
}

TEST(Loader, EveryBatchSizeCoversTheData) {
  for (const int64_t n : {0, 1, 2, 7, 12})
    for (const int64_t batch : {0, 1, 3, 7, 20})
      for (const bool drop : {false, true}) {
        const auto l = loader(numbered(n), {.batch = batch, .drop_last = drop});
        const int64_t size = batch == 0 ? std::max<int64_t>(n, 1) : batch;
        const int64_t kept = drop ? n / size * size : n;
        EXPECT_EQ(l->size(), kept);
        EXPECT_EQ(l->batches(), (kept + size - 1) / size);
        std::vector<int64_t> want(static_cast<size_t>(kept));
        std::iota(want.begin(), want.end(), int64_t{0});
        EXPECT_EQ(samples_of_epoch(*l), want) << n << " in batches of " << batch;
        EXPECT_EQ(samples_of_epoch(*l), want) << "second epoch";
      }
}

TEST(Loader, ShufflingIsAPermutationThatChangesWithEpochAndSeed) {
  const auto l = loader(numbered(50), {.batch = 8, .shuffle = true, .seed = 3});
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 4; ++epoch) {
    std::vector<int64_t> seen = samples_of_epoch(*l);
    orders.insert(seen);
    std::sort(seen.begin(), seen.end());
    for (int64_t i = 0; i < 50; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
  }
  const auto other = loader(numbered(50), {.batch = 8, .shuffle = true, .seed = 4});
  orders.insert(samples_of_epoch(*other));
  EXPECT_EQ(orders.size(), 5u);
  // Another batch size cuts the same order differently.
  const auto wide = loader(numbered(50), {.batch = 50, .shuffle = true, .seed = 3});
  EXPECT_EQ(orders.count(samples_of_epoch(*wide)), 1u);
}

TEST(Loader, ShufflingReachesEveryPlaceEquallyOften) {
  const auto l = loader(numbered(5), {.batch = 0, .shuffle = true});
  int count[5][5] = {};
  for (int epoch = 0; epoch < 2000; ++epoch) {
    const auto seen = samples_of_epoch(*l);
    for (size_t place = 0; place < 5; ++place) ++count[seen[place]][place];
  }
  for (const auto& row : count)
    for (const int c : row) EXPECT_NEAR(c, 400, 90);  // five deviations of 18
}

TEST(Loader, ResultsDoNotDependOnWorkers) {
  LoaderOptions options = {.batch = 100, .shuffle = true, .seed = 9};
  options.augmentation =
      Augmentation::parse("shift=1,rotate=10,scale=0.1,flip,noise=0.1,cutout=2").value();
  options.normalization = Normalization::standard(*digits()).value();
  const std::string alone = bytes_of(*loader(digits(), options), 2);
  for (const int workers : {1, 2, 5}) {
    options.workers = workers;
    options.prefetch = workers * 2;
    EXPECT_EQ(bytes_of(*loader(digits(), options), 2), alone) << workers;
  }
  options.seed = 10;
  EXPECT_NE(bytes_of(*loader(digits(), options), 2), alone);
}

TEST(Loader, AugmentationDiffersByEpochAndSample) {
  LoaderOptions options = {.batch = 0};
  options.augmentation.noise = 1;
  const auto same = tensor_dataset({{"input", Tensor::zeros(DType::f32, {2, 3}), false}}).value();
  const auto l = loader(same, options);
  std::set<float> values;
  for (int epoch = 0; epoch < 2; ++epoch) {
    const Batch batch = *l->next().value();
    EXPECT_FALSE(l->next().value().has_value());
    for (const float v : batch.at("input").values<float>()) values.insert(v);
  }
  EXPECT_EQ(values.size(), 12u);
}

TEST(Loader, ResumingMidEpochGivesTheSameBatches) {
  for (const int workers : {0, 3}) {
    LoaderOptions options = {.batch = 7, .shuffle = true, .workers = workers};
    options.augmentation.noise = 0.5;
    const DatasetPtr data = numbered(50);
    const auto l = loader(data, options);
    for (int taken = 0; taken < 20; ++taken) {
      const DataCursor cursor = l->cursor();
      const auto resumed = loader(data, options);
      ASSERT_TRUE(resumed->seek(cursor).ok());
      EXPECT_EQ(resumed->cursor(), cursor);
      const auto other = loader(data, options);
      ASSERT_TRUE(other->seek(cursor).ok());
      EXPECT_EQ(bytes_of(*resumed, 1), bytes_of(*other, 1));
      // And both are what the uninterrupted run goes on with.
      const auto copy = loader(data, options);
      ASSERT_TRUE(copy->seek(cursor).ok());
      const auto expected = l->next().value(), got = copy->next().value();
      ASSERT_EQ(expected.has_value(), got.has_value()) << taken;
      if (!expected) continue;
      const Tensor& a = expected->at("input");
      const Tensor& b = got->at("input");
      ASSERT_EQ(a.bytes(), b.bytes());
      EXPECT_EQ(std::memcmp(a.data(), b.data(), a.bytes()), 0) << taken;
    }
  }
}

TEST(Loader, JumpsDropWhatWasPreparedAhead) {
  const auto l = loader(numbered(40), {.batch = 4, .workers = 3});
  for (const int64_t to : {5, 0, 9, 9, 2}) {
    l->start(1, to);
    EXPECT_EQ(l->next().value()->at("input").values<float>()[0], static_cast<float>(4 * to));
  }
  l->start(3, 10);
  EXPECT_FALSE(l->next().value().has_value());
  EXPECT_EQ(l->cursor().epoch, 4);
}

TEST(Loader, ACursorOfOtherDataIsRefused) {
  const auto l = loader(numbered(10), {.batch = 4});
  DataCursor cursor = l->cursor();
  cursor.size = 11;
  EXPECT_THAT(l->seek(cursor).message(), HasSubstr("11 samples"));
  cursor = l->cursor();
  cursor.batch = 9;
  EXPECT_THAT(l->seek(cursor).message(), HasSubstr("3 batches"));
}

/// Fails on one sample.
class Damaged final : public Dataset {
 public:
  Damaged() : Dataset({{"input", DType::f32, {1}, false}}, {}) {}
  int64_t size() const override { return 6; }
  Status read(int64_t index, std::span<std::byte* const> to) const override {
    if (index == 3) return {StatusCode::corrupt_file, "photo.png: is damaged"};
    const auto value = static_cast<float>(index);
    std::memcpy(to[0], &value, sizeof value);
    return {};
  }
  std::vector<int64_t> labels() const override { return {}; }
};

TEST(Loader, AFailedReadIsReportedInItsPlace) {
  for (const int workers : {0, 2}) {
    const auto l = loader(std::make_shared<Damaged>(), {.batch = 2, .workers = workers});
    EXPECT_TRUE(l->next().ok());
    EXPECT_EQ(l->next().status().message(), "photo.png: is damaged");
    const auto third = l->next();
    ASSERT_TRUE(third.ok());
    EXPECT_EQ(third.value()->at("input").values<float>()[0], 4.0f);
    EXPECT_FALSE(l->next().value().has_value());
  }
}

TEST(Loader, ConvertsInputsAndKeepsTokens) {
  const auto data = tensor_dataset({{"input", Tensor::from<double>({1, 1}, {0.5}), false},
                                    {"target", Tensor::from<double>({1, 1}, {1.25}), false}});
  const auto l = loader(data.value(), {.names = {"x", "y"}});
  EXPECT_EQ(l->fields()[1].name, "y");
  const Batch batch = *l->next().value();
  EXPECT_EQ(batch.at("x").values<float>()[0], 0.5f);
  EXPECT_EQ(batch.at("y").values<float>()[0], 1.25f);
  const auto tokens =
      tensor_dataset({{"input", Tensor::from<int64_t>({1, 2}, {5, 1 << 30}), false}});
  EXPECT_EQ(loader(tokens.value(), {})->next().value()->at("input").values<int64_t>()[1], 1 << 30);
}

TEST(Loader, OptionsThatDoNotFitAreRefused) {
  const auto message = [](const DatasetPtr& data, const LoaderOptions& options) {
    return Loader::create(data, options).status().message();
  };
  const auto tokens =
      tensor_dataset({{"input", Tensor::from<int32_t>({1, 2}, {1, 2}), false}}).value();
  EXPECT_THAT(message(numbered(3), {.batch = -1}), HasSubstr("batch size"));
  EXPECT_THAT(message(numbered(3), {.workers = -1}), HasSubstr("loader threads"));
  EXPECT_THAT(message(numbered(3), {.names = {"x"}}), HasSubstr("1 names for the 2 fields"));
  EXPECT_THAT(message(numbered(3), {.names = {"x", "x"}}), HasSubstr("same name"));
  EXPECT_THAT(message(numbered(3), {.augmentation = {.shift = 1}}), HasSubstr("needs images"));
  EXPECT_THAT(message(numbered(3), {.normalization = {{1, 2, 3}, {}}}),
              HasSubstr("expected 1 or 2"));
  EXPECT_THAT(message(tokens, {.normalization = {{1}, {}}}), HasSubstr("i32"));
}

TEST(Dataset, ColumnsHaveToFit) {
  const auto message = [](std::vector<Column> columns, std::vector<std::string> names = {}) {
    return tensor_dataset(std::move(columns), std::move(names)).status().message();
  };
  const Tensor two = Tensor::zeros(DType::f32, {2, 1});
  EXPECT_THAT(message({}), HasSubstr("at least one column"));
  EXPECT_THAT(message({{"x", two, false}, {"y", Tensor::zeros(DType::f32, {3}), false}}),
              HasSubstr("has 3 samples, 'x' has 2"));
  EXPECT_THAT(message({{"x", Tensor::scalar(1.0f), false}}), HasSubstr("single value"));
  EXPECT_THAT(message({{"y", Tensor::from<int64_t>({2}, {0, 3}), true}}, {"a", "b"}),
              HasSubstr("label 3 of sample 1"));
  EXPECT_THAT(message({{"y", Tensor::from<int64_t>({1}, {-1}), true}}), HasSubstr("negative"));
}

TEST(Split, SharesOutAllSamplesOnce) {
  for (const bool stratified : {false, true}) {
    const auto parts = split(numbered(100), 0.3, 1, stratified);
    ASSERT_TRUE(parts.ok());
    EXPECT_EQ(parts.value().second->size(), 30);
    std::set<int64_t> seen;
    for (const DatasetPtr& part : {parts.value().first, parts.value().second}) {
      const auto own = samples_of_epoch(*loader(part, {}));
      EXPECT_TRUE(std::is_sorted(own.begin(), own.end()));
      seen.insert(own.begin(), own.end());
    }
    EXPECT_EQ(seen.size(), 100u);
    EXPECT_EQ(split(numbered(100), 0.3, 1, stratified).value().second->labels(),
              parts.value().second->labels());
  }
}

TEST(Split, StratifiedKeepsTheShareOfEveryClass) {
  const DatasetPtr data = digits();
  const auto parts = split(data, 0.2, 5, true);
  std::vector<int64_t> all(10), second(10);
  for (const int64_t label : data->labels()) ++all[static_cast<size_t>(label)];
  for (const int64_t label : parts.value().second->labels()) ++second[static_cast<size_t>(label)];
  for (size_t c = 0; c < 10; ++c)
    EXPECT_EQ(second[c], std::llround(0.2 * static_cast<double>(all[c]))) << c;
}

TEST(Split, ImpossibleSharesAreRefused) {
  for (const double share : {0.0, 1.0, -1.0, 2.0}) EXPECT_FALSE(split(numbered(9), share, 1).ok());
  EXPECT_THAT(split(numbered(2), 0.1, 1).status().message(), HasSubstr("empty"));
  const auto bare = tensor_dataset({{"x", Tensor::zeros(DType::f32, {9, 1}), false}});
  EXPECT_THAT(split(bare.value(), 0.5, 1, true).status().message(), HasSubstr("needs labels"));
}

}  // namespace
}  // namespace tintype
