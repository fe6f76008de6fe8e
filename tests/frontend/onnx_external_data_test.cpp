// Weights in files beside the model: the good case, and every way to point somewhere else.
#include "frontend/onnx/import.h"
#include "frontend/onnx/mapped_file.h"
#include "ir/diagnostic.h"
#include "tests/frontend/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace tintype::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Entries = std::vector<std::pair<std::string, std::string>>;

class OnnxExternalData : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tintype-external-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    model_dir_ = root_ / "model";
    fs::create_directory(model_dir_);
    fs::create_directory(model_dir_ / "sub");
    write(model_dir_ / "w.bin", std::string(16, '\0') + raw_bytes(values_));
    write(model_dir_ / "sub" / "w.bin", raw_bytes(values_));
    write(root_ / "secret.bin", raw_bytes(values_));
  }
  void TearDown() override { fs::remove_all(root_); }

  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  std::string write_model(const Entries& entries, bool as_constant = false) {
    const Message w = external_tensor("w", kFloat, {4}, entries);
    GraphParts parts{.nodes = {node("Identity", {"w"}, {"y"})},
                     .outputs = {value("y", kFloat, {4})}};
    if (as_constant)
      parts.nodes.insert(parts.nodes.begin(),
                         node("Constant", {}, {"w"}, {tensor_attribute("value", w)}));
    else parts.initializers = {w};
    const fs::path path = model_dir_ / "m.onnx";
    write(path, model(parts));
    return path.string();
  }
  std::string error(const Entries& entries) {
    try {
      import_onnx(write_model(entries));
      return "";
    } catch (const Error& e) {
      return e.what();
    }
  }

  const std::vector<float> values_ = {1, 2, 3, 4};
  fs::path root_, model_dir_;
};

const Tensor& weight(const Graph& g) {
  for (const auto& n : g.nodes())
    if (n->is("Identity")) return *n->operand(0)->constant();
  throw std::runtime_error("no Identity");
}

TEST_F(OnnxExternalData, IsMapped) {
  for (const bool as_constant : {false, true}) {
    const auto g = import_onnx(write_model({{"location", "w.bin"},
                                            {"offset", "16"},
                                            {"length", "16"},
                                            {"checksum", "x"},
                                            {"other", "?"}},
                                           as_constant));
    EXPECT_EQ(weight(*g).values<float>()[3], 4.0f);
  }
  EXPECT_EQ(weight(*import_onnx(write_model({{"location", "w.bin"}, {"offset", "16"}})))
                .values<float>()[0],
            1.0f);
  EXPECT_EQ(weight(*import_onnx(write_model({{"location", "./sub//./w.bin"}}))).values<float>()[0],
            1.0f);
}

TEST_F(OnnxExternalData, ARelativeModelPathWorks) {
  write_model({{"location", "w.bin"}, {"offset", "16"}});
  const fs::path before = fs::current_path();
  fs::current_path(model_dir_);
  EXPECT_EQ(weight(*import_onnx("m.onnx")).values<float>()[1], 2.0f);
  fs::current_path(before);
}

TEST_F(OnnxExternalData, UnalignedDataIsCopied) {
  const auto g = import_onnx(write_model({{"location", "w.bin"}, {"offset", "15"}}));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(weight(*g).data()) % 4, 0u);
}

TEST_F(OnnxExternalData, LocationsThatLeaveTheDirectory) {
  EXPECT_THAT(error({{"location", "../secret.bin"}}), HasSubstr("leaves the model's directory"));
  EXPECT_THAT(error({{"location", "sub/../../secret.bin"}}),
              HasSubstr("leaves the model's directory"));
  EXPECT_THAT(error({{"location", "./..//secret.bin"}}), HasSubstr("leaves the model's directory"));
  EXPECT_THAT(error({{"location", ".."}}), HasSubstr("leaves the model's directory"));
  EXPECT_THAT(error({{"location", (root_ / "secret.bin").string()}}), HasSubstr("is absolute"));
  EXPECT_THAT(error({{"location", "..\\secret.bin"}}), HasSubstr("backslash"));
  EXPECT_THAT(error({{"location", std::string("w.bin\0x", 7)}}), HasSubstr("zero byte"));
  EXPECT_THAT(error({{"location", ""}}), HasSubstr("is empty"));
  EXPECT_THAT(error({{"location", std::string(65536, 'a')}}), HasSubstr("65536 characters"));
  EXPECT_THAT(error({{"offset", "0"}}), HasSubstr("no location"));
  EXPECT_THAT(error({{"location", "w.bin"}, {"location", "w.bin"}}), HasSubstr("repeats the key"));
  EXPECT_THAT(error({{"location", "nothing.bin"}}), HasSubstr("cannot open"));
}

TEST_F(OnnxExternalData, Links) {
  fs::create_symlink(root_ / "secret.bin", model_dir_ / "link.bin");
  fs::create_symlink(model_dir_ / "w.bin", model_dir_ / "inner.bin");
  fs::create_directory_symlink(root_, model_dir_ / "up");
  fs::create_hard_link(root_ / "secret.bin", model_dir_ / "hard.bin");
  EXPECT_THAT(error({{"location", "link.bin"}}), HasSubstr("symbolic links"));
  EXPECT_THAT(error({{"location", "inner.bin"}}), HasSubstr("symbolic links"));
  EXPECT_NE(error({{"location", "up/secret.bin"}}), "");
  EXPECT_THAT(error({{"location", "hard.bin"}}), HasSubstr("hard links are refused"));
}

TEST_F(OnnxExternalData, ThingsThatAreNoFiles) {
  ASSERT_EQ(mkfifo((model_dir_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error({{"location", "pipe"}}), HasSubstr("regular file"));
  EXPECT_THAT(error({{"location", "sub"}}), HasSubstr("regular file"));
  EXPECT_THAT(error({{"location", "."}}), HasSubstr("regular file"));
  EXPECT_NE(error({{"location", "w.bin/"}}), "");
}

TEST_F(OnnxExternalData, OffsetsAndLengths) {
  const auto with = [this](const std::string& offset, const std::string& length) {
    return error({{"location", "w.bin"}, {"offset", offset}, {"length", length}});
  };
  EXPECT_THAT(with("17", "16"), HasSubstr("runs past the end of 'w.bin' (32 bytes)"));
  EXPECT_THAT(with("33", "16"), HasSubstr("runs past the end"));
  EXPECT_THAT(with("9223372036854775807", "16"), HasSubstr("runs past the end"));
  for (const char* bad : {"-1", "18446744073709551608", "9223372036854775808", "1e3", "0x10", " 0",
                          "0 ", "", "99999999999999999999999999"})
    EXPECT_THAT(with(bad, "16"), HasSubstr("not a byte count")) << bad;
  EXPECT_THAT(with("0", "15"), HasSubstr("has length 15, the tensor needs 16 bytes"));
  EXPECT_THAT(with("0", "32"), HasSubstr("has length 32"));
  EXPECT_THAT(with("0", "-1"), HasSubstr("not a byte count"));
}

TEST_F(OnnxExternalData, BothInsideAndOutside) {
  const Message w =
      external_tensor("w", kFloat, {4}, {{"location", "w.bin"}}).text(9, raw_bytes(values_));
  write(model_dir_ / "m.onnx", model({.nodes = {node("Identity", {"w"}, {"y"})},
                                      .initializers = {w},
                                      .outputs = {value("y", kFloat, {4})}}));
  EXPECT_THAT([&] { import_onnx((model_dir_ / "m.onnx").string()); },
              ::testing::ThrowsMessage<Error>(HasSubstr("both external and internal data")));
}

TEST_F(OnnxExternalData, InsideBranchesAndFunctionsItIsRefused) {
  const Message constant =
      node("Constant", {}, {"t"},
           {tensor_attribute("value", external_tensor("", kFloat, {4}, {{"location", "w.bin"}}))});
  const Message body = graph({.nodes = {constant}, .outputs = {value("t", kFloat, {4})}});
  const std::string in_branch = model({.nodes = {node("If", {"c"}, {"y"},
                                                      {graph_attribute("then_branch", body),
                                                       graph_attribute("else_branch", body)})},
                                       .initializers = {tensor("c", kBool, {}, "\x01")},
                                       .outputs = {value("y", kFloat, {4})}});
  EXPECT_THAT(import_error(in_branch, {}, model_dir_), HasSubstr("external data is supported for"));
  const std::string in_function = model(
      {.nodes = {node("f::F", {}, {"y"})}, .outputs = {value("y", kFloat, {4})}},
      {.functions = {function("f", "F", {}, {"t"}, {constant}, 17)}, .other_opsets = {{"f", 1}}});
  EXPECT_THAT(import_error(in_function, {}, model_dir_),
              HasSubstr("external data is supported for"));
}

TEST_F(OnnxExternalData, AModelInMemoryHasNone) {
  const std::string bytes =
      model({.nodes = {node("Identity", {"w"}, {"y"})},
             .initializers = {external_tensor("w", kFloat, {4}, {{"location", "w.bin"}})},
             .outputs = {value("y", kFloat, {4})}});
  EXPECT_THAT(import_error(bytes), HasSubstr("not a file in a directory"));
  EXPECT_EQ(import_error(bytes, {}, model_dir_), "");
}

TEST_F(OnnxExternalData, TheModelItselfMustBeAFile) {
  ASSERT_EQ(mkfifo((root_ / "pipe.onnx").c_str(), 0600), 0);
  for (const char* name : {"pipe.onnx", "model", "nothing.onnx"})
    EXPECT_THROW(import_onnx((root_ / name).string()), Error) << name;
  EXPECT_THROW(import_onnx("/dev/null"), Error);
  EXPECT_THROW(import_onnx(""), Error);
}

}  // namespace
}  // namespace tintype::test
