// The program from outside: exit codes, messages for mistakes, JSON reports.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
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
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
    o.text.append(buffer.data(), n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return o;
}

std::string suite(const std::string& name) {
  return std::string(TINTYPE_ONNX_SUITE) + "/node/" + name;
}

size_t lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

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

void expect_error(const Outcome& o, const std::string& part, int code = 1) {
  EXPECT_EQ(o.code, code) << o.text;
  EXPECT_EQ(lines(o.text), 1u) << o.text;
  EXPECT_NE(o.text.find(part), std::string::npos) << o.text;
}

TEST(Cli, HelpFitsAScreenAndEndsWithExamples) {
  for (const char* command :
       {"", "check", "compile", "run", "verify", "bench", "profile", "show", "opt", "reduce", "zoo",
        "compare", "train", "evaluate", "gradcheck", "tune"}) {
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

TEST(Cli, ModesOfArithmetic) {
  const Folder folder;
  const std::string model =
      folder.file("net.ir", "graph \"net\"(%x: f32[128,96], %w: f32[96,64], %v: f32[64,8]) {\n"
                            "  %0 = dot(%x, %w)  // first\n  %1 = dot(%0, %v)  // second\n"
                            "  return %1 as \"y\"\n}\n");
  for (const char* command : {"run ", "bench ", "compile -o /dev/null ", "verify "}) {
    const Outcome wrong = tintype(command + model + " --math quick");
    EXPECT_EQ(wrong.code, 2) << wrong.text;
    EXPECT_THAT(wrong.text, testing::HasSubstr("quick not in {default,strict,fast,fast,f16}"));
  }
  for (const char* mode : {"strict", "fast", "fast,f16"})
    EXPECT_EQ(tintype("run " + model + " --math " + mode).code, 0) << mode;
  const Outcome explained =
      tintype("opt " + model +
              " --passes 'narrow-operands{target=cuda,type=f16}' --explain narrow-operands");
  EXPECT_THAT(explained.text, testing::HasSubstr("first  stays f32: fewer than 2^20"));
  const Outcome narrowed =
      tintype("opt " + model + " --passes 'narrow-operands{target=cuda,type=f16,always}'");
  EXPECT_THAT(narrowed.text, testing::HasSubstr("{result = f32} : f32[128,64]  // first"));
  EXPECT_THAT(narrowed.text, testing::HasSubstr("{to = f16}"));
  expect_error(tintype("opt " + model + " --passes 'narrow-operands{type=f8}'"),
               "type is bf16 or f16, got 'f8'");
  const Outcome without =
      tintype("run " + model + " --math fast --target x86-64-linux-avx-avx2-f16c-fma-sse41");
  EXPECT_EQ(without.code, 0) << without.text;
  EXPECT_THAT(without.text,
              testing::HasSubstr("warning: --math fast: this processor has no arithmetic in bf16"));
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
  expect_error(tintype("run " + model + " --input z=" + input), "no input 'z'", 2);
  expect_error(tintype("run " + model + " --input x=" + suite("test_conv_with_strides_padding") +
                       "/test_data_set_0/input_0.pb"),
               "expected");
  expect_error(tintype("run " + model + " --input x=" + folder.file("bad.npy", "junk")), "bad.npy");
  EXPECT_EQ(tintype("run " + model + " --input x=" + input).code, 0);
}

TEST(Cli, GradcheckComparesEveryInputAndParameter) {
  const Outcome good =
      tintype("gradcheck " + suite("test_conv_with_strides_padding") + "/model.onnx --json -");
  ASSERT_EQ(good.code, 0) << good.text;
  const auto report = nlohmann::json::parse(good.text);
  ASSERT_EQ(report["parameters"].size(), 2u);
  EXPECT_EQ(report["parameters"][0]["checked"], 8);
  EXPECT_EQ(report["parameters"][1]["failed"], 0);
  const Outcome impossible =
      tintype("gradcheck --eps 0.1 --rtol 0 --atol 0 " + suite("test_exp") + "/model.onnx");
  EXPECT_EQ(impossible.code, 1);
  EXPECT_NE(impossible.text.find("0 of 1 agree"), std::string::npos) << impossible.text;
}

/// A protobuf field of bytes, shorter than 128 of them, or of a small integer.
std::string field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
std::string field(int number, int value) {
  return {static_cast<char>(number << 3), static_cast<char>(value)};
}

/// x: f32[4] -> ArgMax -> Cast to f32 -> y, as a ModelProto.
std::string model_of_an_index() {
  const auto port = [](const std::string& name, int extent) {
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, field(1, field(1, extent)))));
  };
  const std::string to =
      field(1, "to") + field(3, 1) + std::string("\xa0\x01\x02");  // type (20): INT
  const std::string graph =
      field(1, field(1, "x") + field(2, "i") + field(3, "predict") + field(4, "ArgMax")) +
      field(1, field(1, "i") + field(2, "y") + field(3, "back") + field(4, "Cast") + field(5, to)) +
      field(2, "g") + field(11, port("x", 4)) + field(12, port("y", 1));
  return field(1, 8) +
         std::string{0x3a, static_cast<char>(0x80 | (graph.size() & 0x7f)),
                     static_cast<char>(graph.size() >> 7)} +
         graph + field(8, field(2, 13));
}

TEST(Cli, WhatCannotBeTrainedIsListed) {
  const Folder folder;
  const std::string model = folder.file("index.onnx", model_of_an_index());
  const Outcome o = tintype("gradcheck " + model);
  EXPECT_EQ(o.code, 1);
  EXPECT_NE(o.text.find("predict (arg_max): its result is an index"), std::string::npos) << o.text;
  const Outcome check = tintype("check " + model);
  EXPECT_EQ(check.code, 0);
  EXPECT_NE(check.text.find("not trainable through\n  predict (arg_max)"), std::string::npos)
      << check.text;
  const Outcome fine = tintype("check " + suite("test_relu") + "/model.onnx");
  EXPECT_NE(fine.text.find("; trainable\n"), std::string::npos) << fine.text;
}

TEST(Cli, VerifyCountsAndItsExitCodeTells) {
  const Outcome good =
      tintype("verify " + suite("test_relu") + " " + suite("test_conv_with_strides_padding"));
  EXPECT_EQ(good.code, 0) << good.text;
  EXPECT_NE(good.text.find("2 passed, 0 failed"), std::string::npos) << good.text;
  const Outcome impossible = tintype("verify --rtol 0 --atol 0 " +
                                     suite("test_softmax_large_number") + " " + suite("test_exp"));
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
  const Outcome o = tintype("bench " + suite("test_conv_with_strides_padding") +
                            "/model.onnx --seconds 0.05 --json -");
  ASSERT_EQ(o.code, 0) << o.text;
  const auto j = nlohmann::json::parse(o.text, nullptr, false);
  for (const char* key : {"median_ms", "p90_ms", "p99_ms", "min_ms", "compile_ms", "load_ms",
                          "first_run_ms", "peak_rss_mb", "kernels"})
    EXPECT_TRUE(j.contains(key)) << key;
}

TEST(Cli, ACompiledFileGivesTheSameResults) {
  const Folder folder;
  const std::string base = suite("test_conv_with_strides_padding");
  const std::string input = base + "/test_data_set_0/input_0.pb",
                    w = base + "/test_data_set_0/input_1.pb";
  const std::string tt = folder.path("model.tt");
  const Outcome c = tintype("compile " + base + "/model.onnx -o " + tt);
  ASSERT_EQ(c.code, 0) << c.text;
  const Outcome a = tintype("run " + base + "/model.onnx --input " + input + " --input " + w +
                            " --output " + folder.path("a"));
  const Outcome b = tintype("run " + tt + " --input " + input + " --input " + w + " --output " +
                            folder.path("b"));
  ASSERT_EQ(a.code, 0) << a.text;
  ASSERT_EQ(b.code, 0) << b.text;
  auto read = [](const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  };
  EXPECT_EQ(read(folder.path("a.npy")), read(folder.path("b.npy")));
  EXPECT_FALSE(read(folder.path("a.npy")).empty());
  expect_error(tintype("compile " + base + "/model.onnx -o " + folder.path("model.so")),
               "ending in .tt", 2);
}

TEST(Cli, AFullOrForbiddenCacheFolderIsSurvived) {
  const Outcome o = tintype("run " + suite("test_relu") + "/model.onnx --cache /proc/nowhere");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_NE(o.text.find("warning: kernel cache"), std::string::npos) << o.text;
}

const char* const kSmallGraph = R"(graph "small"(%x: f32[2,3]) {
  %0 = Relu(%x) : f32[2,3]  // act
  %1 = neg(%x) : f32[2,3]  // unused
  return %0 as "y"
}
)";

TEST(Opt, PrintsWhatThePassesLeave) {
  const Folder folder;
  const std::string graph = folder.file("small.ir", kSmallGraph);
  const Outcome o = tintype("opt " + graph + " --passes decompose,dead-code");
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(
      o.text,
      "graph \"small\"(%x: f32[2,3]) {\n  %0 = relu(%x) : f32[2,3]  // act\n  return %0 as \"y\"\n}\n");
  EXPECT_EQ(tintype("opt " + graph + " --passes decompose,dead-code --stop-after 0").text,
            kSmallGraph);
  EXPECT_EQ(
      tintype("opt " + graph + " --passes decompose,dead-code --disable-pass decompose,dead-code")
          .text,
      kSmallGraph);
  EXPECT_NE(tintype("opt " + graph + " --print-after dead-code -o /dev/null")
                .text.find("// after dead-code"),
            std::string::npos);
  for (const char* option :
       {"--explain", "--explain=decompose,fuse-regions", "--explain fuse-regions"})
    EXPECT_THAT(tintype("opt " + graph + " " + option + " --passes default -o /dev/null").text,
                testing::AllOf(testing::HasSubstr("fuse-regions: act  region relu of 1 ops\n"),
                               testing::HasSubstr("\nfuse-regions: 1 of 1 candidates rewritten")))
        << option;
  EXPECT_NE(tintype("opt " + graph + " --time-passes -o /dev/null").text.find("decompose "),
            std::string::npos);
  EXPECT_NE(tintype("opt " + graph + " --verify-passes -o /dev/null").text.find("values unchanged"),
            std::string::npos);
}

TEST(Opt, ReadsAndWritesTextAndOnnxInPipes) {
  const Folder folder;
  const std::string graph = folder.file("small.ir", kSmallGraph);
  EXPECT_EQ(tintype("opt - --passes dead-code < " + graph).code, 0);
  const std::string onnx = folder.path("small.onnx");
  EXPECT_EQ(tintype("opt " + graph + " --passes dead-code -o " + onnx).code, 0);
  EXPECT_EQ(tintype("run " + onnx).code, 0);
  EXPECT_EQ(tintype("run " + graph).code, 0);
  expect_error(tintype("opt - < " +
                       folder.file("broken.ir",
                                   "graph \"g\"(%x: f32[1]) { %0 = Rely(%x) return %0 as \"y\" }")),
               "did you mean 'Relu'?");
}

TEST(Opt, StandardInputAndOutputCarryOnnxToo) {
  const Folder folder;
  const std::string graph = folder.file("small.ir", kSmallGraph);
  const Outcome o =
      tintype("opt " + graph +
              " --stop-after 0 --format onnx | " TINTYPE_PROGRAM " opt - --passes dead-code");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_NE(o.text.find("%0 = Relu(%x) : f32[2,3]  // act"), std::string::npos) << o.text;
  EXPECT_EQ(o.text.find("unused"), std::string::npos) << o.text;
}

TEST(Opt, OpsOfTheNewestOpsetAreSavedToo) {
  const Folder folder;
  const std::string graph = folder.file("chain.ir", "graph \"g\"(%x: f32[2]) {\n  %0 = Swish(%x)\n"
                                                    "  return %0 as \"y\"\n}\n");
  const std::string onnx = folder.path("swish.onnx");
  EXPECT_EQ(tintype("opt " + graph + " --stop-after 0 -o " + onnx).code, 0);
  EXPECT_NE(tintype("opt " + onnx + " --stop-after 0").text.find("Swish(%x)"), std::string::npos);
  expect_error(tintype("opt " + graph + " --stop-after 0 -o " + folder.path("none/swish.onnx")),
               "none");
}

TEST(Opt, StatsCountOpsBeforeAndAfter) {
  const Folder folder;
  const std::string graph = folder.file("small.ir", kSmallGraph);
  const Outcome o = tintype("opt " + graph + " --passes dead-code --stats -o /dev/null");
  EXPECT_NE(o.text.find("before: 2 nodes"), std::string::npos) << o.text;
  EXPECT_NE(o.text.find("after: 1 nodes"), std::string::npos) << o.text;
}

const char* const kChain = R"(graph "chain"(%x: f32[2,3]) {
  %0 = Relu(%x) : f32[2,3]  // first
  %1 = Sigmoid(%0) : f32[2,3]  // gate
  %2 = Add(%1, %x) : f32[2,3]  // sum
  %3 = Tanh(%2) : f32[2,3]  // last
  return %3 as "y"
}
)";
const char* const kWrongPattern = "pattern wrong { y = Sigmoid(x) } => y = Tanh(x)\n";

TEST(Opt, AFaultyPassIsNamedWithNodeAndElement) {
  const Folder folder;
  const std::string graph = folder.file("chain.ir", kChain);
  const std::string wrong = " --patterns " + folder.file("wrong.pat", kWrongPattern);
  const Outcome o =
      tintype("opt " + graph + wrong + " --passes wrong,decompose --verify-passes -o /dev/null");
  expect_error(o, "pass 'wrong' (number 1 of the pipeline) changed results: first at gate (Tanh); "
                  "output 'y': element ");
  const Outcome without =
      tintype("opt " + graph + wrong + " --passes wrong,dead-code --disable-faulty --stop-after 2");
  EXPECT_EQ(without.code, 0) << without.text;
  EXPECT_NE(without.text.find("warning: pass 'wrong'"), std::string::npos) << without.text;
  EXPECT_NE(without.text.find(kChain), std::string::npos) << without.text;
}

TEST(Reduce, AReproducerShrinksToTheFaultyNode) {
  const Folder folder;
  const std::string graph = folder.file("chain.ir", kChain);
  const std::string wrong = " --patterns " + folder.file("wrong.pat", kWrongPattern);
  const Outcome o = tintype("opt " + graph + wrong + " --passes dead-code,wrong --reproducer " +
                            folder.path("fault"));
  EXPECT_EQ(o.code, 1) << o.text;
  const Outcome r = tintype("reduce " + folder.path("fault") + " -o " + folder.path("small"));
  EXPECT_EQ(r.code, 0) << r.text;
  EXPECT_NE(r.text.find("1 of 4 nodes left"), std::string::npos) << r.text;
  for (const char* file : {"model.ir", "reproducer.json", "command.txt", "input_0.npy"})
    EXPECT_TRUE(fs::exists(folder.path("small") + "/" + file)) << file;
  // The command that the folder suggests shows the fault again.
  std::ifstream in(folder.path("small") + "/command.txt");
  std::string command;
  std::getline(in, command);
  EXPECT_EQ(std::system(("cd " + folder.path("small") +
                         " && PATH=" + fs::path(TINTYPE_PROGRAM).parent_path().string() +
                         ":$PATH && ! " + command + " 2>/dev/null")
                            .c_str()),
            0)
      << command;
  expect_error(tintype("reduce " + graph + " --passes dead-code -o " + folder.path("none")),
               "nothing to reduce");
  expect_error(tintype("reduce " + folder.path("nowhere")), "nowhere");
}

TEST(Reduce, ACommandMayDecide) {
  const Folder folder;
  const std::string graph = folder.file("chain.ir", kChain);
  const Outcome o =
      tintype("reduce " + graph + " --test 'grep -q Tanh' -o " + folder.path("small"));
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_NE(o.text.find("1 of 4 nodes left"), std::string::npos) << o.text;
}

TEST(Patterns, ServeRunAndCompileToo) {
  const Folder folder;
  const std::string graph = folder.file("chain.ir", kChain);
  const std::string pattern =
      folder.file("gate.pat", "pattern gate { y = Sigmoid(x) } => y = Mul(x, 0.0)\n");
  const std::string a = " --output " + folder.path("a");
  const std::string b = " --output " + folder.path("b");
  EXPECT_EQ(tintype("run " + graph + a).code, 0);
  EXPECT_EQ(tintype("run " + graph + " --patterns " + pattern + b).code, 0);
  EXPECT_EQ(tintype("compare " + folder.path("a.npy") + " " + folder.path("b.npy")).code, 1);
  EXPECT_EQ(tintype("run " + graph + " --patterns " + pattern + " --passes default" + b).code, 0);
  EXPECT_EQ(tintype("compare " + folder.path("a.npy") + " " + folder.path("b.npy")).code, 0);
  EXPECT_EQ(tintype("run " + graph + " --patterns " + pattern + " --disable-pass gate" + b).code,
            0);
  EXPECT_EQ(tintype("compare " + folder.path("a.npy") + " " + folder.path("b.npy")).code, 0);
}

TEST(Opt, MistakesAreOneLine) {
  const Folder folder;
  const std::string graph = folder.file("small.ir", kSmallGraph);
  expect_error(tintype("opt"), "needs a model", 2);
  expect_error(tintype("opt " + graph + " --passes decompos"), "did you mean 'decompose'?", 2);
  expect_error(tintype("opt " + graph + " --passes 'fold-constants{max-byte=1}'"),
               "did you mean 'max-bytes'?", 2);
  expect_error(tintype("opt " + graph + " --passes 'select-algorithms{extents=N}'"), "NAME:VALUE");
  expect_error(tintype("opt " + graph + " --print-before simplfy"), "did you mean 'simplify'?", 2);
}

TEST(Opt, PassesWithoutCandidatesSaySo) {
  const Folder folder;
  const std::string opt = "opt " + folder.file("small.ir", kSmallGraph) +
                          " -o /dev/null --passes decompose,fold-constants --explain ";
  const Outcome o = tintype(opt + "fold-constants,merge-projections");
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, testing::HasSubstr("merge-projections: is not in the pipeline\n"));
  EXPECT_THAT(o.text, testing::HasSubstr("fold-constants: "));
}

TEST(Cli, TheUsageOfEveryCommandNamesItsModel) {
  for (const char* command : {"run", "opt", "train", "check"})
    EXPECT_EQ(tintype(std::string(command) + " --help").text.find("[]"), std::string::npos);
  EXPECT_THAT(tintype("train --help").text, testing::HasSubstr("[OPTIONS] [model]"));
}

TEST(Zoo, ExportsWhatRunsAndComparesEqual) {
  const Folder folder;
  const std::string model = folder.path("lenet5.onnx");
  EXPECT_NE(tintype("zoo").text.find("lenet5"), std::string::npos);
  EXPECT_NE(tintype("zoo lenet5").text.find("61,706"), std::string::npos);
  EXPECT_EQ(tintype("zoo lenet5 --seed 3 -o " + model).code, 0);
  const std::string first = folder.path("first.npy"), second = folder.path("second.npy");
  EXPECT_EQ(tintype("run " + model + " --output " + folder.path("first")).code, 0);
  EXPECT_EQ(tintype("run " + model + " --reference --output " + folder.path("second")).code, 0);
  EXPECT_EQ(tintype("compare " + first + " " + second + " --rtol 1e-4 --atol 1e-4").code, 0);
  EXPECT_EQ(tintype("compare " + first + " " + second + " --rtol 0 --atol -1").code, 1);
  expect_error(tintype("zoo lenet6"), "did you mean 'lenet5'?", 2);
}

// What a full disk, a missing right or a file in the way of the cache do: the model still runs.
TEST(Cache, AFolderThatCannotBeWrittenCostsNothingButTime) {
  const Folder folder;
  const std::string graph = folder.file("small.ir", kSmallGraph);
  const Outcome in_the_way = tintype("run " + graph + " --cache " + graph);
  EXPECT_EQ(in_the_way.code, 0) << in_the_way.text;
  const Outcome full = tintype("run " + graph + " --cache /dev/full/cache");
  EXPECT_EQ(full.code, 0) << full.text;
}

}  // namespace
