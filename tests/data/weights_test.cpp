// safetensors and checkpoints: round trips, files of others, every kind of damage, sudden ends.
#include "folder.h"
#include "frontend/data/checkpoint.h"
#include "frontend/data/safetensors.h"

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace tintype {
namespace {

using test::Folder;
using test::read_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::map<std::string, Tensor> tensors_of_every_type() {
  std::map<std::string, Tensor> tensors;
  for (int i = 1; i <= static_cast<int>(DType::f64); ++i) {
    const auto dtype = static_cast<DType>(i);
    Tensor t = Tensor::empty(dtype, {3, 1});
    for (size_t b = 0; b < t.bytes(); ++b)
      static_cast<uint8_t*>(t.mutable_data())[b] =
          dtype == DType::boolean ? b % 2 : static_cast<uint8_t>(37 * b + 11);
    tensors.emplace("layer." + std::string(name_of(dtype)), t);
  }
  tensors.emplace("scalar", Tensor::scalar(2.5f));
  tensors.emplace("empty", Tensor::zeros(DType::f64, {2, 0}));
  return tensors;
}

void expect_same(const std::map<std::string, Tensor>& got,
                 const std::map<std::string, Tensor>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, t] : want) {
    ASSERT_EQ(got.count(name), 1u) << name;
    EXPECT_EQ(got.at(name).type_string(), t.type_string());
    const auto bytes = [](const Tensor& x) {
      return std::string_view(static_cast<const char*>(x.data()), x.bytes());
    };
    EXPECT_EQ(bytes(got.at(name)), bytes(t)) << name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got.at(name).data()) % size_of(t.dtype()), 0u);
  }
}

TEST(Safetensors, RoundTripsEveryType) {
  const Folder folder;
  const SafetensorsFile content = {tensors_of_every_type(), {{"note", "größer\n\"x\""}}};
  ASSERT_TRUE(save_safetensors(content, folder.path("w")).ok());
  const auto back = load_safetensors(folder.path("w"));
  ASSERT_TRUE(back.ok()) << back.status().message();
  expect_same(back.value().tensors, content.tensors);
  EXPECT_EQ(back.value().metadata, content.metadata);
  ASSERT_TRUE(save_safetensors({}, folder.path("none")).ok());
  EXPECT_TRUE(load_safetensors(folder.path("none")).value().tensors.empty());
}

TEST(Safetensors, ReadsWhatPythonWrites) {
  const auto file = load_safetensors(std::string(TINTYPE_TEST_DIR) + "/fixtures/numpy.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto& t = file.value().tensors;
  EXPECT_EQ(t.size(), 10u);
  EXPECT_THAT(t.at("f64").values<double>(), ElementsAre(1.5, -2));
  EXPECT_EQ(t.at("f32").type_string(), "f32[1,2]");
  EXPECT_THAT(t.at("f32").values<float>(), ElementsAre(0.25, 3));
  EXPECT_EQ(f16_to_f32(t.at("f16").values<uint16_t>()[2]), 65504.0f);
  EXPECT_EQ(t.at("i64").rank(), 0);
  EXPECT_EQ(t.at("i64").values<int64_t>()[0], -(int64_t{1} << 62));
  EXPECT_EQ(t.at("i32").values<int32_t>()[0], 7);
  EXPECT_EQ(t.at("i16").values<int16_t>()[0], -300);
  EXPECT_THAT(t.at("i8").values<int8_t>(), ElementsAre(-5, 5));
  EXPECT_EQ(t.at("u8").values<uint8_t>()[0], 255);
  EXPECT_EQ(t.at("bool").dtype(), DType::boolean);
  EXPECT_THAT(t.at("bool").values<uint8_t>(), ElementsAre(1, 0, 1));
  EXPECT_EQ(t.at("empty").type_string(), "f32[0,4]");
  EXPECT_EQ(file.value().metadata.at("quote"), "\"é\"");
}

std::string with_header(const std::string& header, size_t data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(data, '\0');
}

TEST(Safetensors, MalformedHeadersAreNamed) {
  const Folder folder;
  const auto message = [&](const std::string& bytes) {
    const std::string path = folder.write("w", bytes);
    const auto file = load_safetensors(path);
    EXPECT_FALSE(file.ok()) << bytes;
    EXPECT_TRUE(file.status().message().starts_with(path + ": ")) << file.status().message();
    EXPECT_EQ(file.status().message().find('\n'), std::string::npos);
    return file.status().message();
  };
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return fmt::format(R"("dtype":"{}","shape":{},"data_offsets":{})", dtype, shape, offsets);
  };
  const auto one = [&](const char* dtype, const char* shape, const char* offsets, size_t data) {
    return message(with_header("{\"a\":{" + entry(dtype, shape, offsets) + "}}", data));
  };
  const std::string two_bytes = "{" + entry("U8", "[2]", "[0,2]") + "}";
  EXPECT_THAT(message("1234567"), HasSubstr("too few"));
  EXPECT_THAT(message(std::string(8, '\xff') + "{}"), HasSubstr("claims"));
  EXPECT_THAT(message(with_header("[]", 0)), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(message(with_header("{\"a\":", 0)), HasSubstr("is not JSON"));
  EXPECT_THAT(message(with_header("{\"a\":" + two_bytes + ",\"a\":" + two_bytes + "}", 2)),
              HasSubstr("'a' is there twice"));
  EXPECT_THAT(message(with_header("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0)),
              HasSubstr("'dtype' is there twice"));
  EXPECT_THAT(message(with_header(
                  "{\"a\":" + two_bytes + ",\"b\":{" + entry("U8", "[2]", "[1,3]") + "}}", 3)),
              HasSubstr("overlap"));
  EXPECT_THAT(message(with_header(
                  "{\"a\":" + two_bytes + ",\"b\":{" + entry("U8", "[2]", "[3,5]") + "}}", 5)),
              HasSubstr("leave a gap"));
  EXPECT_THAT(message(with_header("{\"__metadata__\":{\"a\":1}}", 0)),
              HasSubstr("'a' is not a string"));
  EXPECT_THAT(message(with_header(
                  "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":1}}", 0)),
              HasSubstr("unexpected key 'x'"));
  EXPECT_THAT(one("U8", "[2]", "[0,2]", 1), HasSubstr("describes 2 bytes, the file has 1"));
  EXPECT_THAT(one("U8", "[2]", "[0,2]", 3), HasSubstr("describes 2 bytes, the file has 3"));
  EXPECT_THAT(one("U8", "[2]", "[1,3]", 3), HasSubstr("begins at byte 1"));
  EXPECT_THAT(one("F32", "[2]", "[0,4]", 4), HasSubstr("do not hold f32[2]"));
  EXPECT_THAT(one("U8", "[2]", "[2,0]", 2), HasSubstr("do not hold"));
  EXPECT_THAT(one("U8", "[-1]", "[0,0]", 0), HasSubstr("found -1"));
  EXPECT_THAT(one("U8", "[1.5]", "[0,1]", 1), HasSubstr("found 1.5"));
  EXPECT_THAT(one("F8_E4M3", "[1]", "[0,1]", 1), HasSubstr("'F8_E4M3' is not supported"));
  EXPECT_THAT(one("F32", "[4194305,4194305,211106198978564]", "[0,4]", 4), HasSubstr("shape"));
  EXPECT_THAT(one("F64", "[2305843009213693952]", "[0,0]", 0), HasSubstr("do not hold"));
  EXPECT_THAT(one("U8", "[18446744073709551615]", "[0,1]", 1), HasSubstr("too large"));
  EXPECT_THAT(message(with_header("{\"a\":{" + entry("BOOL", "[1]", "[0,1]") + "}}", 0) + "\2"),
              HasSubstr("neither 0 nor 1"));
  EXPECT_THAT(load_safetensors(folder.path("missing")).status().message(), HasSubstr("missing"));
}

// What prints or copies JSON recurses: a header of brackets would exhaust the stack.
TEST(Safetensors, BracketsInBracketsHaveALimit) {
  const Folder folder;
  const std::string deep(200'000, '['), closed(200'000, ']');
  for (const std::string& header :
       {"{\"a\":" + deep, "{\"a\":" + deep + closed + "}",
        R"({"a":{"dtype":"U8","shape":)" + deep + closed + R"(,"data_offsets":[0,0]}})"})
    EXPECT_THAT(load_safetensors(folder.write("w", with_header(header, 0))).status().message(),
                HasSubstr("more than 100 deep"));
}

TEST(Safetensors, WhatCannotBeWrittenIsRefusedBeforeAFileIsMade) {
  const Folder folder;
  EXPECT_THAT(
      save_safetensors({{{"__metadata__", Tensor::scalar(1.0f)}}, {}}, folder.path("w")).message(),
      HasSubstr("reserved"));
  EXPECT_FALSE(save_safetensors({{{"a\xff", Tensor::scalar(1.0f)}}, {}}, folder.path("w")).ok());
  EXPECT_FALSE(save_safetensors({{{"a", Tensor()}}, {}}, folder.path("w")).ok());
  EXPECT_FALSE(std::filesystem::exists(folder.path("w")));
}

Checkpoint small_checkpoint() {
  Checkpoint c;
  c.tensors = {{"w", Tensor::from<float>({2, 2}, {1, 2, 3, 4})},
               {"step", Tensor::scalar<int64_t>(7)}};
  c.step = 7;
  c.seed = ~uint64_t{0};
  c.cursor = {2, 5, 1797, 32, 9, true};
  c.schedule = {0.1, std::numeric_limits<double>::infinity(), -0.0, std::nan("")};
  c.metadata = R"({"history":[{"loss":0.5}]})";
  return c;
}

TEST(Checkpoint, RoundTripsEverything) {
  const Folder folder;
  Checkpoint c = small_checkpoint();
  c.tensors.merge(tensors_of_every_type());
  ASSERT_TRUE(save_checkpoint(c, folder.path("c")).ok());
  const auto back = load_checkpoint(folder.path("c"));
  ASSERT_TRUE(back.ok()) << back.status().message();
  expect_same(back.value().tensors, c.tensors);
  EXPECT_EQ(back.value().step, c.step);
  EXPECT_EQ(back.value().seed, c.seed);
  EXPECT_EQ(back.value().cursor, c.cursor);
  EXPECT_EQ(back.value().metadata, c.metadata);
  ASSERT_EQ(back.value().schedule.size(), c.schedule.size());
  EXPECT_EQ(std::memcmp(back.value().schedule.data(), c.schedule.data(), 4 * sizeof(double)), 0);
}

TEST(Checkpoint, EveryFlippedBitAndEveryTruncationIsRefused) {
  const Folder folder;
  ASSERT_TRUE(save_checkpoint(small_checkpoint(), folder.path("c")).ok());
  const std::string bytes = read_file(folder.path("c"));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(load_checkpoint(folder.write("d", bytes.substr(0, size))).status().code(),
              StatusCode::corrupt_file)
        << size;
  EXPECT_FALSE(load_checkpoint(folder.write("d", bytes + '\0')).ok());
  for (size_t i = 0; i < bytes.size(); ++i)
    for (const int change : {1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      const auto loaded = load_checkpoint(folder.write("d", damaged));
      EXPECT_EQ(loaded.status().code(), StatusCode::corrupt_file) << i << " " << change;
    }
}

TEST(Checkpoint, SavingOverALoadedOneLeavesItsTensorsAlone) {
  const Folder folder;
  Checkpoint c = small_checkpoint();
  ASSERT_TRUE(save_checkpoint(c, folder.path("c")).ok());
  const Checkpoint loaded = load_checkpoint(folder.path("c")).value();
  c.tensors.at("w") = Tensor::zeros(DType::f32, {2, 2});
  ASSERT_TRUE(save_checkpoint(c, folder.path("c")).ok());
  EXPECT_THAT(loaded.tensors.at("w").values<float>(), ElementsAre(1, 2, 3, 4));
  c.metadata = "[]";
  EXPECT_THAT(save_checkpoint(c, folder.path("c")).message(), HasSubstr("no JSON object"));
  EXPECT_THAT(load_checkpoint(folder.path("c")).value().tensors.at("w").values<float>(),
              ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(save_checkpoint(c, folder.path("no/such/c")).ok(), false);
}

/// Saves checkpoint after checkpoint until it is killed. All elements of one are its step.
[[noreturn]] void save_forever(const std::string& path) {
  Checkpoint c;
  for (int64_t step = 1;; ++step) {
    c.step = step;
    Tensor t = Tensor::empty(DType::i64, {20000});
    for (int64_t& v : t.mutable_values<int64_t>()) v = step;
    c.tensors["w"] = t;
    if (!save_checkpoint(c, path).ok()) _exit(1);
  }
}

TEST(Checkpoint, BeingKilledAtAnyMomentLeavesAWholeFile) {
  const Folder folder;
  const std::string path = folder.path("c");
  std::mt19937 random(1);
  int64_t latest = 0;
  for (int round = 0; round < 100; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) save_forever(path);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed to save";
    if (!std::filesystem::exists(path)) continue;
    const auto loaded = load_checkpoint(path);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    for (const int64_t v : loaded.value().tensors.at("w").values<int64_t>())
      ASSERT_EQ(v, loaded.value().step);
    latest = std::max(latest, loaded.value().step);
  }
  EXPECT_GT(latest, 1) << "no child lived long enough to replace a checkpoint";
}

TEST(Checkpoint, AveragesAreRoundedOnce) {
  using Tensors = std::map<std::string, Tensor>;
  const auto half = [](std::vector<float> values) {
    Tensor t = Tensor::empty(DType::f16, {static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i)
      t.mutable_values<uint16_t>()[i] = f32_to_f16(values[i]);
    return t;
  };
  const std::vector<Tensors> all = {{{"a", Tensor::from<float>({2}, {1, 1e8f})},
                                     {"h", half({1, 2})},
                                     {"n", Tensor::scalar<int64_t>(3)}},
                                    {{"a", Tensor::from<float>({2}, {2, 1})},
                                     {"h", half({2, 3})},
                                     {"n", Tensor::scalar<int64_t>(3)}},
                                    {{"a", Tensor::from<float>({2}, {6, -1e8f})},
                                     {"h", half({6, 5})},
                                     {"n", Tensor::scalar<int64_t>(3)}}};
  const auto mean = average_checkpoints(all);
  ASSERT_TRUE(mean.ok()) << mean.status().message();
  EXPECT_THAT(mean.value().at("a").values<float>(), ElementsAre(3, static_cast<float>(1.0 / 3)));
  EXPECT_EQ(f16_to_f32(mean.value().at("h").values<uint16_t>()[0]), 3.0f);
  EXPECT_EQ(mean.value().at("n").values<int64_t>()[0], 3);
  EXPECT_EQ(all[0].at("a").values<float>()[0], 1.0f) << "inputs stay as they are";
}

TEST(Checkpoint, AveragesOfWhatDiffersAreRefused) {
  using Tensors = std::map<std::string, Tensor>;
  const auto message = [](const std::vector<Tensors>& all) {
    return average_checkpoints(all).status().message();
  };
  const Tensor a = Tensor::zeros(DType::f32, {2});
  EXPECT_THAT(message({}), HasSubstr("nothing to average"));
  EXPECT_THAT(message({{{"a", a}}, {{"b", a}}}), HasSubstr("'b': is not in all"));
  EXPECT_THAT(message({{{"a", a}, {"b", a}}, {{"a", a}}}), HasSubstr("same tensors"));
  EXPECT_THAT(message({{{"a", a}}, {{"a", Tensor::zeros(DType::f32, {3})}}}),
              HasSubstr("f32[2] in one checkpoint and f32[3]"));
  EXPECT_THAT(message({{{"n", Tensor::scalar(1)}}, {{"n", Tensor::scalar(2)}}}),
              HasSubstr("only floats have a mean"));
}

}  // namespace
}  // namespace tintype
