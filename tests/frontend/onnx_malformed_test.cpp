// Bytes that are not a model, or were one before something happened to them: an Error each time,
// never a crash.
#include "frontend/onnx/import.h"
#include "frontend/onnx/wire.h"
#include "ir/diagnostic.h"
#include "tests/frontend/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

namespace tintype::test {
namespace {

using ::testing::HasSubstr;

/// A small model that has a bit of everything.
std::string specimen(int64_t opset) {
  const Message body =
      graph({.nodes = {node("Relu", {"c"}, {"t"})}, .outputs = {value("t", kFloat, {""})}});
  const GraphParts parts{
      .nodes = {node("Conv", {"x", "w", "b"}, {"c"},
                     {attribute("pads", std::vector<int64_t>{1, 1, 1, 1})}),
                node("If", {"yes"}, {"d"},
                     {graph_attribute("then_branch", body), graph_attribute("else_branch", body)}),
                node("f::F", {"d"}, {"e"}, {attribute("k", 0.5f)}),
                node("Constant", {}, {"k"}, {tensor_attribute("value", floats("", {2}, {1, 2}))}),
                node("Reshape", {"e", "shape"}, {"g"}),
                node("Concat", {"g", "g"}, {"h"}, {attribute("axis", int64_t{1})}),
                node("Softmax", {"h"}, {"y"})},
      .initializers = {floats("w", {2, 3, 3, 3}, std::vector<float>(54, 1)),
                       floats("b", {2}, {1, 2}), int64s("shape", {2}, {0, -1}),
                       tensor("yes", kBool, {}, "\x01")},
      .inputs = {value("x", kFloat, {"N", 3, 8, 8}), value("b", kFloat, {2})},
      .outputs = {value("y", kFloat, {"N", ""})}};
  const Message f = function(
      "f", "F", {"a"}, {"z"},
      {node("LeakyRelu", {"a"}, {"z"}, {attribute_reference("alpha", "k", 1)})}, opset, {"k"});
  return model(parts, {.opset = opset, .functions = {f}, .other_opsets = {{"f", 1}}});
}

/// Whether the bytes import; any outcome but success and Error fails the test that calls it.
bool imports(const std::string& bytes) { return import_error(bytes).empty(); }

TEST(OnnxMalformed, TheSpecimenIsSound) {
  EXPECT_EQ(import_error(specimen(17)), "");
  EXPECT_EQ(import_error(specimen(28)), "");
}

TEST(OnnxMalformed, NotAModelAtAll) {
  EXPECT_THAT(import_error(""), HasSubstr("the file is empty"));
  for (const std::string& bytes :
       {std::string("\0", 1), std::string("hello world"), std::string("\x89PNG\r\n\x1a\n"),
        std::string(100, '\xff'), std::string(1 << 16, '\0'), std::string("PK\x03\x04")})
    EXPECT_THAT(import_error(bytes), HasSubstr("not an ONNX model"));
}

TEST(OnnxMalformed, TruncatedAtEveryLength) {
  const std::string whole = specimen(17);
  for (size_t length = 0; length < whole.size(); ++length) imports(whole.substr(0, length));
}

TEST(OnnxMalformed, RandomBytes) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 200, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_FALSE(imports(bytes));
  }
}

void mutate(std::string& bytes, std::mt19937& random) {
  const auto at = [&] { return random() % bytes.size(); };
  switch (random() % 6) {
    case 0: bytes[at()] = static_cast<char>(random()); break;
    case 1: bytes[at()] ^= static_cast<char>(1u << (random() % 8)); break;
    case 2: bytes.insert(at(), 1 + random() % 4, static_cast<char>(random())); break;
    case 3: bytes.erase(at(), 1 + random() % 4); break;
    case 4: {  // a piece of the model in another place
      const std::string piece = bytes.substr(at(), random() % 40);
      bytes.insert(at(), piece);
      break;
    }
    default: {
      static constexpr char kInteresting[] = {'\0', '\x01', '\x7f', '\x80', '\xff'};
      const size_t first = at();
      for (size_t i = first; i < std::min(bytes.size(), first + 1 + random() % 9); ++i)
        bytes[i] = kInteresting[random() % 5];
    }
  }
}

TEST(OnnxMalformed, MutatedBytes) {
  std::mt19937 random(7);
  int sound = 0;
  for (const int64_t opset : {17, 28, 11}) {
    const std::string whole = specimen(opset);
    for (int i = 0; i < 2000; ++i) {
      std::string bytes = whole;
      for (size_t k = 0; k <= random() % 3; ++k) mutate(bytes, random);
      sound += imports(bytes) ? 1 : 0;
    }
  }
  // Many mutations hit names and documentation and leave a model; they would all fail if the
  // importer refused for a reason that has nothing to do with the mutation.
  EXPECT_GT(sound, 300);
}

TEST(OnnxMalformed, MutatedSuiteModels) {
  namespace fs = std::filesystem;
  const fs::path suite(TINTYPE_ONNX_SUITE);
  if (!fs::exists(suite / "node")) GTEST_SKIP() << "run `make suite` first";
  std::vector<std::string> models;
  for (const auto& entry : fs::directory_iterator(suite / "node")) {
    const fs::path path = entry.path() / "model.onnx";
    if (fs::exists(path) && fs::file_size(path) < 4096) models.push_back(path.string());
  }
  std::sort(models.begin(), models.end());
  std::mt19937 random(11);
  for (int i = 0; i < 3000; ++i) {
    std::ifstream file(models[random() % models.size()], std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    for (size_t k = 0; k <= random() % 3; ++k) mutate(bytes, random);
    imports(bytes);
  }
}

wire::Bytes span(const std::string& s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

TEST(Wire, ReadsWhatProtobufWrites) {
  const std::string bytes("\x08\x96\x01\x12\x03"
                          "abc"
                          "\x1d\x01\x02\x03\x04\x21\x01\x02\x03\x04\x05\x06\x07\x08",
                          22);
  wire::Reader reader(span(bytes));
  wire::Field f;
  ASSERT_TRUE(reader.next(f));
  EXPECT_TRUE(f.is(1, wire::Type::varint));
  EXPECT_EQ(f.value, 150u);
  ASSERT_TRUE(reader.next(f));
  EXPECT_EQ(f.text(), "abc");
  ASSERT_TRUE(reader.next(f));
  EXPECT_TRUE(f.is(3, wire::Type::fixed32));
  EXPECT_EQ(f.value, 0x04030201u);
  ASSERT_TRUE(reader.next(f));
  EXPECT_EQ(f.value, 0x0807060504030201u);
  EXPECT_FALSE(reader.next(f));
}

TEST(Wire, RefusesWhatIsNoMessage) {
  const std::vector<std::string> bad = {"\x08",
                                        "\x08\x80",
                                        "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
                                        "\x12\x05xyz",
                                        "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                                        "\x1d\x01",
                                        "\x21\x01\x02",
                                        "\x0b",
                                        "\x0c",
                                        "\x0f",
                                        std::string("\x00\x01", 2),
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"};
  for (const std::string& bytes : bad) {
    wire::Reader reader(span(bytes));
    wire::Field f;
    EXPECT_THROW(while (reader.next(f)){}, wire::Malformed) << ::testing::PrintToString(bytes);
  }
}

}  // namespace
}  // namespace tintype::test
