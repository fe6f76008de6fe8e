// The command line misused: one line that names the file or option and says what was expected, an
// exit code, and nothing left half-written.
#include "train_fixture.h"

#include <gmock/gmock.h>

#include <utility>
#include <vector>

namespace tintype {
namespace {

using testing::HasSubstr;

constexpr const char* kGraph = "graph \"small\"(%x: f32[N,4]) {\n"
                               "  %0 = Relu(%x)  // relu\n"
                               "  return %0 as \"y\"\n}\n";

class Misuse : public TrainCommand {
 protected:
  Misuse() {
    write("small.ir", kGraph);
    write("empty", "");
    fs::create_directories(path("folder.onnx"));
    fs::create_directories(path("full.tt"));
  }

  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary) << content;
  }
  std::string graph() const { return path("small.ir"); }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(path("")))
      names.push_back(entry.path().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  /// What is said on standard error; standard output goes to `output`. The files stay what they
  /// were.
  Outcome refusal(const std::string& arguments, const std::string& output = "/dev/null") {
    const std::vector<std::string> before = files();
    const std::string cache = " TINTYPE_CACHE_DIR=" + path("cache") + " ";
    Outcome o =
        run_shell("{ env" + cache + TINTYPE_PROGRAM + " " + arguments + " >" + output + "; } 2>&1");
    fs::remove_all(path("cache"));
    EXPECT_EQ(files(), before) << arguments;
    return o;
  }
  /// One line with this part: a mistake in what the command was given.
  void expect_refused(const std::string& arguments, const std::string& part) {
    const Outcome o = refusal(arguments);
    EXPECT_EQ(o.code, 1) << arguments << "\n" << o.text;
    EXPECT_THAT(o.text, HasSubstr(part)) << arguments;
    EXPECT_TRUE(o.text.starts_with("error: ")) << arguments << "\n" << o.text;
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << arguments << "\n" << o.text;
  }
  /// A mistake in the words themselves, which names the option.
  void expect_usage(const std::string& arguments, const std::string& part) {
    const Outcome o = refusal(arguments);
    EXPECT_EQ(o.code, 2) << arguments << "\n" << o.text;
    EXPECT_THAT(o.text, HasSubstr(part)) << arguments;
    EXPECT_TRUE(o.text.starts_with("error: ")) << arguments << "\n" << o.text;
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << arguments << "\n" << o.text;
  }
};

constexpr const char* kTakeModels[] = {"check", "run",  "bench",  "profile",   "show",
                                       "opt",   "tune", "reduce", "gradcheck", "bundle -o out"};

TEST_F(Misuse, ModelsThatAreNoneAreNamed) {
  for (const std::string command : kTakeModels)
    for (const std::string name : {"missing.onnx", "empty", "folder.onnx"}) {
      if (command != "check") {
        expect_refused(command + " " + path(name), name);
        continue;
      }
      const Outcome o = run_shell(std::string(TINTYPE_PROGRAM) + " check " + path(name));
      EXPECT_EQ(o.code, 1) << o.text;  // a report, on standard output
      EXPECT_THAT(o.text, HasSubstr(name + ": "));
    }
  for (const char* command : {"run", "bench", "profile"}) {
    write("empty.tt", "");
    expect_refused(std::string(command) + " " + path("empty.tt"), path("empty.tt"));
    expect_refused(std::string(command) + " " + path("full.tt"), path("full.tt"));
  }
}

TEST_F(Misuse, UnknownAndMissingOptionsAreUsage) {
  for (const std::string command : kTakeModels) {
    expect_usage(command + " " + graph() + " --treads 2", "--treads");
    if (command != "opt") expect_usage(command.substr(0, command.find(' ')), "model is required");
  }
  for (const char* option : {"--threads -1", "--threads two", "--math exact"})
    expect_usage("run " + graph() + " " + option, std::string(option).substr(0, 6));
  expect_usage("run " + graph() + " --top -1", "--top");
  expect_usage("bench " + graph() + " --batch 0", "--batch");
  expect_usage("bench " + graph() + " --seconds -1", "--seconds");
  expect_usage("profile " + graph() + " --runs 0", "--runs");
  expect_usage("profile " + graph() + " --top -5", "--top");
  expect_usage("verify --jobs -1 " + path("folder.onnx"), "--jobs");
  expect_usage("show " + graph() + " --stage final", "--stage");
  expect_usage("opt " + graph() + " --stop-after -1", "--stop-after");
  expect_usage("opt " + graph() + " --format pdf", "--format");
  expect_usage("train mlp" + data() + "--epochs 0", "--epochs");
  expect_usage("train mlp" + data() + "--batch -3", "--batch: expected a number from 0, got '-3'");
  expect_usage("train mlp" + data() + "--top-k 1,0", "--top-k");
  expect_usage("zoo lenet5 --classes 0", "--classes");
  expect_usage("compile " + graph() + " " + graph(), graph());
  expect_usage("opt", "opt needs a model");
  expect_usage("", "subcommand is required");
}

TEST_F(Misuse, TheNearestWordIsNamed) {
  expect_usage("run " + graph() + " --thread 2",
               "there is no option '--thread' (did you mean '--threads'?); tintype run --help");
  expect_usage("run --thread=2", "there is no option '--thread' (did you mean '--threads'?)");
  expect_usage("rnu x", "there is no command 'rnu' (did you mean 'run'?); tintype --help");
  expect_usage("zoo lenet5 leNet", "'leNet' is left over");
  expect_usage("zoo -p", "there is no option '-p'");
}

// The library reads -1 as the largest number, and one with too many digits as any.
TEST_F(Misuse, SeedsDoNotWrapAround) {
  const std::string whole = "expected a whole number from 0 to 2^64-1";
  for (const std::string& command :
       {"run " + graph(), "opt " + graph(), "reduce " + graph(), "gradcheck " + graph(),
        "bundle " + graph() + " -o " + path("b"), std::string("zoo lenet5"),
        "train mlp" + data() + "-o " + path("run"), "evaluate " + path("run")})
    for (const char* seed : {"-1", "99999999999999999999999", "1.5", "0x10"})
      expect_usage(command + " --seed " + seed, whole);
  write("c.json", "{\"seed\": -1}");
  write("c.toml", "epochs = 1\nseed = -1\n");
  const std::string mlp = "train mlp" + data() + "-o " + path("run") + " --config ";
  expect_refused(mlp + path("c.json"), path("c.json") + ": --seed: " + whole);
  expect_refused(mlp + path("c.toml"), path("c.toml") + ":2: --seed: " + whole);
  EXPECT_EQ(refusal("run " + graph() + " --seed 18446744073709551615").code, 0);
}

TEST_F(Misuse, ValuesOfOptionsAreChecked) {
  const std::string run = "run " + graph() + " ";
  expect_usage(run + "--dim N", "--dim expects NAME=VALUE, got 'N'");
  expect_usage(run + "--dim N=-3", "--dim N expects a non-negative integer, got '-3'");
  expect_refused(run + "--dim N=999999999999", "error: ");
  for (const std::string command : {"run ", "show ", "opt ", "gradcheck ", "compile "})
    expect_usage(command + graph() + " --dim M=3",
                 "--dim: the model has no symbolic extent 'M' (did you mean 'N'?); it has N");
  expect_usage(run + "--shape x=2x", "--shape expects extents");
  expect_refused(run + "--shape x=2x4", graph() + ": the text of a graph says itself");
  expect_usage(run + "--libraries sometimes", "'sometimes'");
  expect_usage(run + "--target pdp-11", "pdp-11");
  expect_usage(run + "--passes nonsense", "nonsense");
  expect_refused(run + "--input " + path("missing.npy"), path("missing.npy"));
  expect_refused(run + "--input " + path("empty"), path("empty"));
  expect_usage(run + "--input y=" + path("x.npy"), "--input: the model has no input 'y'");
  expect_usage("opt " + graph() + " --verify-passes --input y=" + path("x.npy"), "no input 'y'");
  expect_refused(run + "--labels " + path("folder.onnx"), path("folder.onnx") + ": is a folder");
  expect_refused(run + "--labels " + path("missing"),
                 path("missing") + ": cannot be opened: No such");
  expect_refused(run + "--patterns " + path("missing.pat"), path("missing.pat"));
  expect_refused(run + "--patterns " + path("folder.onnx"), path("folder.onnx"));
  expect_refused(run + "--plugin " + path("missing.so"), path("missing.so"));
  expect_refused(run + "--known-input x=" + path("missing.npy"), path("missing.npy"));
  expect_refused(run + "--tuning " + path("missing.json"), path("missing.json"));
  expect_refused(run + "--image " + path("empty"), path("empty"));
  expect_usage("compile " + graph() + " -o " + path("m.onnx"), "ending in .tt");
  expect_usage("bench " + graph() + " --fail-if +5%", "name one");
  write("base.json", "{\"median_ms\": \"fast\"}");
  expect_refused("bench " + graph() + " --baseline " + path("base.json"), path("base.json"));
  write("base.json", "{\"median_ms\": 1}");
  expect_usage("bench " + graph() + " --baseline " + path("base.json") + " --fail-if 5",
               "--fail-if expects");
  expect_usage("bench " + graph() + " --baseline " + path("base.json") + " --fail-if lots",
               "--fail-if expects");
  expect_usage(run + "--target foo", "foo");
  expect_usage(run + "--disable-pass foo", "foo");
  expect_usage("compile " + graph() + " -o " + path("m.foo"), "ending in .tt");
  expect_usage("tune " + graph() + " --budget -5s", "--budget expects a time");
  expect_usage("zoo lenett5", "did you mean 'lenet5'?");
  expect_usage("opt " + graph() + " --explain simplfy", "did you mean 'simplify'?");
  for (const char* command : {"opt ", "reduce "})
    expect_usage(command + graph() + " --tolerance nan", "--tolerance: expected a number from 0");
  expect_refused("compare " + path("x.npy") + " " + path("missing.npy"), path("missing.npy"));
  expect_refused("verify " + path("folder.onnx") + " --expect-failures " + path("missing"),
                 path("missing"));
  expect_refused("reduce " + path("folder.onnx"), path("folder.onnx"));
}

TEST_F(Misuse, OptionsInOptionsAreListed) {
  const std::string mlp = "train mlp" + data() + "-o " + path("run") + " ";
  expect_usage(mlp + "--clip 5",
               "--clip: expected KEY=VALUE, got '5'; known are value, norm, global_norm");
  expect_usage(
      mlp + "--clip norms=5",
      "--clip has no option 'norms' (did you mean 'norm'?); known are value, norm, global_norm");
  expect_usage(mlp + "--regularize l3=1", "--regularize has no option 'l3'");
  expect_usage(mlp + "--table labels=1", "--table has no option 'labels' (did you mean 'label'?); "
                                         "known are label, task, shape");
  expect_usage(mlp + "--optimizer sgd,rate=1",
               "optimizer 'sgd' has no option 'rate'; known are lr,");
  expect_usage(mlp + "--freeze '('", "--freeze '(' is not a regular expression");
  expect_usage(mlp + "--group '(,rate=2'", "--group '(' is not a regular expression");
}

TEST_F(Misuse, FilesOfTrainingAreChecked) {
  const std::string mlp = "train mlp" + data() + "-o " + path("run") + " ";
  expect_refused(mlp + "--config " + path("missing.json"), path("missing.json"));
  expect_refused(mlp + "--config " + path("folder.onnx"), path("folder.onnx") + ": is a folder");
  expect_refused(mlp + "--config " + path("empty"), path("empty"));
  expect_refused(mlp + "--weights " + path("empty"), path("empty"));
  expect_refused(mlp + "--weights " + path("missing.safetensors"), path("missing.safetensors"));
  expect_usage(mlp + "--clip norm=-1", "--clip norm expects a number from 0, got -1");
  expect_usage(mlp + "--regularize l2=nan", "--regularize l2 expects a number from 0");
  expect_usage(mlp + "--average ema,decay=2", "decay expects a number from 0 to below 1, got 2");
  expect_usage(mlp + "--early-stopping loss,patience=-1", "--early-stopping patience expects");
  expect_usage(mlp + "--optimizer adm", "there is no optimizer 'adm' (did you mean 'adam'?)");
  expect_usage(mlp + "--schedule cosin", "cosin");
  expect_usage(mlp + "--init he_norm", "did you mean 'he_normal'?");
  expect_usage(mlp + "--loss mes", "did you mean 'mse'?");
  expect_usage(mlp + "--target foo", "foo");
  expect_usage(mlp + "--augment turn=3", "there is no 'turn'");
  expect_usage(mlp + "--table labels=a", "did you mean 'label'?");
  expect_usage(mlp + "--resize big", "--resize expects extents");
  for (const char* share : {"1.5", "1", "-0.1", "nan", "half"})
    expect_usage(mlp + "--validation-split " + share,
                 "--validation-split: expected a number from 0 to below 1");
  expect_refused("train --resume " + path("folder.onnx"), path("folder.onnx"));
  expect_refused("train mlp --data " + path("empty") + " -o " + path("run"), path("empty"));
  expect_refused("evaluate " + path("folder.onnx"), path("folder.onnx"));
  expect_refused("evaluate " + path("missing.ttc"), path("missing.ttc"));
  write("deep.json", std::string(100'000, '[') + std::string(100'000, ']'));
  expect_refused(mlp + "--config " + path("deep.json"), "more than 100 deep");
}

/// Commands that write a file, without its name, and the name.
using Writer = std::pair<std::string, std::string>;

TEST_F(Misuse, WhatCannotBeWrittenIsSaidBeforeTheWork) {
  const Writer writers[] = {{"compile " + graph() + " -o ", "m.tt"},
                            {"run " + graph() + " --output ", "y"},
                            {"bench " + graph() + " --json ", "b.json"},
                            {"profile " + graph() + " --json ", "p.json"},
                            {"show " + graph() + " --dot ", "g.dot"},
                            {"opt " + graph() + " -o ", "g.ir"},
                            {"opt " + graph() + " -o ", "g.onnx"},
                            {"zoo lenet5 -o ", "l.onnx"},
                            {"tune " + graph() + " -o ", "t.json"},
                            {"tune " + graph() + " --json ", "t.json"},
                            {"gradcheck " + graph() + " --json ", "c.json"},
                            {"verify " + path("folder.onnx") + " --json ", "v.json"},
                            {"bundle " + graph() + " -o ", "bundle"},
                            {"train mlp" + data() + "-o ", "run"}};
  for (const auto& [command, name] : writers) {
    if (name != "run") expect_refused(command + "/proc/none/" + name, "/proc/none/" + name);
    expect_refused(command + path("empty/") + name, path("empty/") + name);
  }
}

TEST_F(Misuse, AFolderIsNoFileToWrite) {
  fs::create_directory(path("t.json"));
  fs::create_directory(path("z.npy"));
  for (const auto& [command, name] :
       {Writer{"compile " + graph() + " -o ", "full.tt"}, Writer{"zoo lenet5 -o ", "folder.onnx"},
        Writer{"opt " + graph() + " -o ", "folder.onnx"},
        Writer{"bench " + graph() + " --json ", "t.json"},
        Writer{"show " + graph() + " --dot ", "t.json"},
        Writer{"tune " + graph() + " -o ", "t.json"}})
    expect_refused(command + path(name), path(name));
  expect_refused("run " + graph() + " --output " + path("z"), path("z.npy"));
}

TEST_F(Misuse, AFullDiskIsSaid) {
  const std::string full = "No space left on device";
  for (const std::string command :
       {"zoo", "zoo lenet5", "opt --list-passes", "opt GRAPH", "show GRAPH", "check GRAPH",
        "run GRAPH", "bench GRAPH --seconds 0", "bench GRAPH --seconds 0 --json -",
        "profile GRAPH --runs 1"}) {
    std::string arguments = command;
    if (const size_t at = arguments.find("GRAPH"); at != std::string::npos)
      arguments.replace(at, 5, graph());
    const Outcome o = refusal(arguments, "/dev/full");
    EXPECT_EQ(o.code, 1) << command << "\n" << o.text;
    EXPECT_THAT(o.text, HasSubstr("standard output cannot be written: " + full)) << command;
  }
  expect_refused("bench " + graph() + " --seconds 0 --json /dev/full", "'/dev/full': " + full);
  expect_refused("opt " + graph() + " -o /dev/full", "'/dev/full': " + full);
  expect_refused("show " + graph() + " --dot /dev/full", "'/dev/full': " + full);
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_EQ(refusal("opt " + graph() + " -o /dev/null").code, 0);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

// A limit on the size of files does what a full disk does: writing fails half-way.
TEST_F(Misuse, NothingIsLeftOfAFileThatDoesNotFit) {
  for (const std::string& command :
       {"zoo lenet5 -o " + path("l.onnx"), "zoo lenet5 -o " + path("full.onnx")}) {
    if (command.ends_with("full.onnx")) write("full.onnx", "old");
    const std::vector<std::string> before = files();
    const Outcome o =
        run_shell("ulimit -f 16; trap '' XFSZ; " + std::string(TINTYPE_PROGRAM) + " " + command);
    EXPECT_EQ(o.code, 1) << o.text;
    EXPECT_THAT(o.text, HasSubstr("File too large"));
    EXPECT_EQ(files(), before);
  }
  std::string content;
  std::getline(std::ifstream(path("full.onnx")), content);
  EXPECT_EQ(content, "old");
}

TEST_F(Misuse, NamesThatAreNotUtf8Work) {
  const std::string strange = path("n\xff\xfe.ir");
  std::ofstream(strange) << kGraph;
  for (const std::string command :
       {"run ", "bench --seconds 0 --json - ", "profile --runs 1 --json - "}) {
    const Outcome o = refusal(command + strange);
    EXPECT_EQ(o.code, 0) << command << "\n" << o.text;
  }
  EXPECT_EQ(refusal("check --json " + strange).code, 0);
  EXPECT_EQ(refusal("run " + graph() + " --dim 'N\xff=2'").code, 2);
  const std::string run = path("r\xff");
  EXPECT_EQ(tintype("train mlp" + data() + "--epochs 1 --json -o " + run).code, 0);
  EXPECT_EQ(tintype("train --epochs 2 --json --resume " + run).code, 0);
  EXPECT_EQ(tintype("evaluate --json " + run).code, 0);
}

}  // namespace
}  // namespace tintype
