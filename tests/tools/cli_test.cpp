// The program from outside: exit codes, messages for mistakes, JSON reports.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>

namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code = -1;
  std::string text;  ///< standard output and error together
};

Outcome tintype(const std::string& arguments) {
  Outcome o;
  FILE* pipe = popen((std::string(TINTYPE_PROGRAM) + " " + arguments + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) o.text.append(buffer.data(), n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return o;
}

std::string suite(const std::string& name) { return std::string(TINTYPE_ONNX_SUITE) + "/node/" + name; }

size_t lines(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "tintype-cli-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
    return path_ + "/" + name;
  }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void expect_error(const Outcome& o, const std::string& part) {
  EXPECT_EQ(o.code, 1) << o.text;
  EXPECT_EQ(lines(o.text), 1u) << o.text;
  EXPECT_NE(o.text.find(part), std::string::npos) << o.text;
}

TEST(Cli, HelpFitsAScreenAndEndsWithExamples) {
  for (const char* command : {"", "check", "compile", "run", "verify", "bench", "profile", "show"}) {
    const Outcome o = tintype(std::string(command) + " --help");
    EXPECT_EQ(o.code, 0) << command;
    EXPECT_LE(lines(o.text), 45u) << command;
    EXPECT_NE(o.text.find("Examples:"), std::string::npos) << command;
  }
}

TEST(Cli, AMistakeOnTheCommandLineExitsWith2) {
  EXPECT_EQ(tintype("").code, 2);
  EXPECT_EQ(tintype("dance").code, 2);
  EXPECT_EQ(tintype("run").code, 2);
}

TEST(Cli, FilesThatAreNotModelsAreRefusedInOneLine) {
  const Folder folder;
  expect_error(tintype("run " + folder.path("missing.onnx")), "missing.onnx");
  expect_error(tintype("run " + folder.file("empty.onnx", "")), "empty.onnx");
  expect_error(tintype("run " + folder.file("text.onnx", "this is not a model")), "text.onnx");
  expect_error(tintype("run " + folder.file("random.tt", std::string(200, '\x7f'))), "random.tt");
}

TEST(Cli, WrongInputsNameWhatWasExpected) {
  const Folder folder;
  const std::string model = suite("test_add") + "/model.onnx";
  const std::string input = suite("test_add") + "/test_data_set_0/input_0.pb";
  expect_error(tintype("run " + model + " --input z=" + input), "no input 'z'");
  expect_error(tintype("run " + model + " --input x=" + suite("test_conv_with_strides_padding") + "/test_data_set_0/input_0.pb"), "expected");
  expect_error(tintype("run " + model + " --input x=" + folder.file("bad.npy", "junk")), "bad.npy");
  EXPECT_EQ(tintype("run " + model + " --input x=" + input).code, 0);
}

TEST(Cli, VerifyCountsAndItsExitCodeTells) {
  const Outcome good = tintype("verify " + suite("test_relu") + " " + suite("test_conv_with_strides_padding"));
  EXPECT_EQ(good.code, 0) << good.text;
  EXPECT_NE(good.text.find("2 passed, 0 failed"), std::string::npos) << good.text;
  const Outcome impossible = tintype("verify --rtol 0 --atol 0 " + suite("test_softmax_large_number") + " " + suite("test_exp"));
  const Folder folder;
  const Outcome none = tintype("verify " + folder.path("nothing"));
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.text.find("0 passed, 1 failed"), std::string::npos) << none.text;
  EXPECT_NE(impossible.text.find("passed,"), std::string::npos);
}

// The list of expected failures works both ways.
TEST(Cli, ASurpriseAgainstTheListFails) {
  const Folder folder;
  const std::string listed = folder.file("list.txt", "test_relu  # says somebody\n");
  const Outcome o = tintype("verify --expect-failures " + listed + " " + suite("test_relu"));
  EXPECT_EQ(o.code, 1);
  EXPECT_NE(o.text.find("take it off the list"), std::string::npos) << o.text;
}

TEST(Cli, BenchReportsEveryFigureAsJson) {
  const Outcome o = tintype("bench " + suite("test_conv_with_strides_padding") + "/model.onnx --seconds 0.05 --json -");
  ASSERT_EQ(o.code, 0) << o.text;
  const auto j = nlohmann::json::parse(o.text, nullptr, false);
  for (const char* key : {"median_ms", "p90_ms", "p99_ms", "min_ms", "compile_ms", "load_ms", "first_run_ms", "peak_rss_mb", "kernels"})
    EXPECT_TRUE(j.contains(key)) << key;
}

TEST(Cli, ACompiledFileGivesTheSameResults) {
  const Folder folder;
  const std::string base = suite("test_conv_with_strides_padding");
  const std::string input = base + "/test_data_set_0/input_0.pb", w = base + "/test_data_set_0/input_1.pb";
  const std::string tt = folder.path("model.tt");
  const Outcome c = tintype("compile " + base + "/model.onnx -o " + tt);
  ASSERT_EQ(c.code, 0) << c.text;
  const Outcome a = tintype("run " + base + "/model.onnx --input " + input + " --input " + w + " --output " + folder.path("a"));
  const Outcome b = tintype("run " + tt + " --input " + input + " --input " + w + " --output " + folder.path("b"));
  ASSERT_EQ(a.code, 0) << a.text;
  ASSERT_EQ(b.code, 0) << b.text;
  auto read = [](const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  };
  EXPECT_EQ(read(folder.path("a.npy")), read(folder.path("b.npy")));
  EXPECT_FALSE(read(folder.path("a.npy")).empty());
  expect_error(tintype("compile " + base + "/model.onnx -o " + folder.path("model.so")), "ending in .tt");
}

TEST(Cli, AFullOrForbiddenCacheFolderIsSurvived) {
  const Outcome o = tintype("run " + suite("test_relu") + "/model.onnx --cache /proc/nowhere");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_NE(o.text.find("warning: kernel cache"), std::string::npos) << o.text;
}

}  // namespace
