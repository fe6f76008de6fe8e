// tintype tune from outside, its file, and what other commands make of that.
#include "frontend/graph/graph_builder.h"
#include "frontend/onnx/export.h"
#include "ir/diagnostic.h"
#include "tests/tools/train_fixture.h"
#include "tools/driver/compare.h"
#include "tools/driver/data_files.h"
#include "tools/driver/tuning_file.h"

#include <dlfcn.h>
#include <gmock/gmock.h>

#include <csignal>
#include <sstream>

namespace tintype {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

std::string text_of_file(const std::string& path) {
  std::ostringstream s;
  s << std::ifstream(path).rdbuf();
  return s.str();
}

class Tune : public testing::Test {
 protected:
  Tune() {
    std::string pattern = (fs::temp_directory_path() / "tintype-tune-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    // A block of a residual network: convolutions of 3 x 3 and 1 x 1, and a shortcut.
    GraphBuilder g("block");
    auto x = g.input("x", f32("N", 32, 20, 20));
    auto y = x.conv2d({.filters = 32, .kernel = 3, .padding = 1}).relu();
    y = y.conv2d({.filters = 64, .kernel = 3, .padding = 1});
    g.output("y", (y + x.conv2d({.filters = 64, .kernel = 1})).relu());
    export_onnx(*g.take(), path("block.onnx"));
  }
  ~Tune() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string written(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }
  Outcome with_cache(const std::string& arguments, const std::string& before = "") const {
    return run_shell(before + "TINTYPE_CACHE_DIR=" + path("cache") + " " TINTYPE_PROGRAM " " +
                     arguments);
  }

  std::string folder_;
};

TuningSetting setting(const std::string& processor = "a", int threads = 2) {
  return {
      .processor = processor, .target = "t", .math = "default", .kernels = "k", .threads = threads};
}

TunedAlgorithm choice(const char* text, double ms) {
  return {.choice = *parse_algorithm(text),
          .reckoned = *parse_algorithm("packed 64"),
          .milliseconds = ms,
          .reckoned_milliseconds = 1};
}

TEST_F(Tune, TheFileReadsBackAndMerges) {
  TuningFile file;
  file.merge(setting(), {{"conv \"1\"", choice("winograd f4 48", 0.25)}});
  file.merge(setting("b"), {{"dot", choice("plain", 0.5)}});
  file.merge(setting("a", 1), {{"dot", choice("packed 16", 0.75)}});
  save_tuning(file, path("t.json"));
  TuningFile back = load_tuning(path("t.json"));
  ASSERT_EQ(back.groups.size(), 3u);
  const Tuning found = back.choices_for(setting(), false);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found.at("conv \"1\"").choice.text(), "winograd f4 48");
  EXPECT_EQ(found.at("conv \"1\"").reckoned.text(), "packed 64");
  EXPECT_EQ(found.at("conv \"1\"").milliseconds, 0.25);
  EXPECT_EQ(found.at("conv \"1\"").reckoned_milliseconds, 1);
  // Written again it is the same file, whatever the order of its making.
  save_tuning(back, path("again.json"));
  EXPECT_EQ(text_of_file(path("t.json")), text_of_file(path("again.json")));
  back.merge(setting(), {{"conv \"1\"", choice("plain", 0.125)}, {"new", choice("library", 1)}});
  EXPECT_EQ(back.choices_for(setting(), false).at("conv \"1\"").choice.text(), "plain");
  EXPECT_EQ(back.choices_for(setting(), false).size(), 2u);
}

TEST_F(Tune, ChoicesAreThoseOfASetting) {
  TuningFile file;
  file.merge(setting(), {{"dot", choice("plain", 0.5)}});
  const auto none = [&](TuningSetting s, bool any) { return file.choices_for(s, any).empty(); };
  EXPECT_FALSE(none(setting(), false));
  EXPECT_TRUE(none(setting("other"), false));
  EXPECT_FALSE(none(setting("other"), true));
  TuningSetting s = setting();
  s.threads = 1;
  EXPECT_TRUE(none(s, true));
  s = setting();
  s.target = "u";
  EXPECT_TRUE(none(s, true));
  s = setting();
  s.math = "strict";
  EXPECT_TRUE(none(s, true));
  s = setting();
  s.kernels = "newer";
  EXPECT_TRUE(none(s, true));
}

TEST_F(Tune, DamagedFilesAreRefusedInOneLine) {
  TuningFile file;
  file.merge(setting(), {{"dot", choice("plain", 0.5)}});
  save_tuning(file, path("good.json"));
  const Json good = Json::parse(text_of_file(path("good.json")));
  const auto changed = [&](const char* pointer, const Json& value) {
    Json j = good;
    j[Json::json_pointer(pointer)] = value;
    return j.dump();
  };
  const std::string whole = good.dump();
  const std::pair<std::string, const char*> cases[] = {
      {"", "is no record of tintype tune"},
      {"not JSON", "it is not JSON"},
      {whole.substr(0, whole.size() / 2), "it is not JSON"},
      {R"([1, 2])", "is no record of tintype tune"},
      {R"({"format": 3})", "is no record of tintype tune"},
      {R"({"format": "tintype tuning"})", "the record has no 'version'"},
      {changed("/version", 2), "is of version 2, this tintype reads version 1"},
      {changed("/settings", 1), "'settings' of the record is no list"},
      {changed("/settings/0", 1), "setting 1 has no 'choices'"},
      {changed("/settings/0/threads", 0), "'threads' of setting 1"},
      {changed("/settings/0/threads", "2"), "'threads' of setting 1"},
      {changed("/settings/0/processor", 1), "'processor' of setting 1 is no text"},
      {changed("/settings/0/choices/0/ms", -1), "'ms' of choice 1 of setting 1"},
      {changed("/settings/0/choices/0/ms", "fast"), "'ms' of choice 1 of setting 1"},
      {changed("/settings/0/choices/0/choice", "winogard f4"), "'winogard f4', no algorithm"},
      {changed("/settings/0/choices/0/untuned", 4), "'untuned' of choice 1 of setting 1"},
      {changed("/settings/0/choices/0", Json::object()), "choice 1 of setting 1 has no"},
  };
  for (const auto& [text, message] : cases) {
    const std::string bad = written("bad.json", text);
    try {
      load_tuning(bad);
      ADD_FAILURE() << "read: " << text;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), AllOf(HasSubstr(bad + ": "), HasSubstr(message), Not(HasSubstr("\n"))));
    }
  }
  EXPECT_THROW(load_tuning(path("missing.json")), Error);
}

TEST_F(Tune, KeepsWhatWonBesideTheCompiledKernels) {
  const Outcome o = with_cache("tune " + path("block.onnx") + " --threads 2 --budget 10m --json -");
  ASSERT_EQ(o.code, 0) << o.text;
  const Json report = report_in(o);
  EXPECT_EQ(report["file"], path("cache/tuning.json"));
  EXPECT_FALSE(report["interrupted"]);
  EXPECT_GT(report["tuned_ms"], 0);
  ASSERT_GE(report["nodes"].size(), 2u);
  const TuningFile file = load_tuning(path("cache/tuning.json"));
  ASSERT_EQ(file.groups.size(), 1u);
  for (const Json& n : report["nodes"]) {
    EXPECT_TRUE(n["measured"]) << n.dump();
    EXPECT_GE(n["candidates"], 2) << n.dump();
    EXPECT_EQ(file.groups[0].choices.at(n["node"]).choice.text(), n["choice"]);
  }
  // Other commands follow it, and do not where they are told not to, or the setting is another one.
  const std::string explain =
      "opt " + path("block.onnx") + " --passes default --explain select-algorithms -o /dev/null";
  EXPECT_THAT(with_cache(explain + " --threads 2").text, HasSubstr("tuned: "));
  for (const char* other : {" --threads 1", " --threads 2 --tuning none", " --threads 2 --dim N=2",
                            " --threads 2 --math strict"})
    EXPECT_THAT(with_cache(explain + other).text,
                AllOf(HasSubstr("reckoned: "), Not(HasSubstr("tuned: "))))
        << other;
  const Outcome again = with_cache("tune " + path("block.onnx") + " --threads 2");
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.text, AllOf(HasSubstr("kinds of nodes"), HasSubstr("whole run "),
                                HasSubstr("used from now on")));
}

TEST_F(Tune, ANamedFileDecides) {
  const std::string named = path("mine.json");
  // However busy this computer is, all nodes are to be measured.
  const std::string budget = " --threads 2 --budget 10m -o " + named;
  ASSERT_EQ(with_cache("tune " + path("block.onnx") + budget).code, 0);
  EXPECT_FALSE(fs::exists(path("cache/tuning.json")));
  // All nodes take what the file says, also when it comes from another processor.
  Json j = Json::parse(text_of_file(named));
  j["settings"][0]["processor"] = "another";
  for (Json& c : j["settings"][0]["choices"]) c["choice"] = "plain";
  std::ofstream(named) << j;
  const std::string explain =
      "opt " + path("block.onnx") + " --passes default --explain select-algorithms -o /dev/null";
  const Outcome o = with_cache(explain + " --threads 2 --tuning " + named);
  EXPECT_THAT(o.text, AllOf(HasSubstr("tuned: plain"), Not(HasSubstr("reckoned: winograd"))));
  EXPECT_EQ(with_cache("run " + path("block.onnx") + " --threads 2 --tuning " + named).code, 0);
  const Outcome none = with_cache("run " + path("block.onnx") + " --threads 1 --tuning " + named);
  EXPECT_EQ(none.code, 0);
  EXPECT_THAT(none.text, HasSubstr("warning: " + named + ": has no choices for this target"));
}

TEST_F(Tune, Mistakes) {
  const auto expect = [&](const std::string& arguments, const std::string& message, int code = 1) {
    const Outcome o = with_cache(arguments);
    EXPECT_EQ(o.code, code) << o.text;
    EXPECT_THAT(o.text, HasSubstr("error: " + message));
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << o.text;
  };
  const std::string model = path("block.onnx"), tune = "tune " + model;
  expect(tune + " --budget soon", "--budget expects a time such as 60s or 5m, got 'soon'", 2);
  expect(tune + " --budget 0s", "--budget expects", 2);
  expect(tune + " --budget 5h", "--budget expects", 2);
  expect(tune + " --no-cache", "there is no folder for the choices");
  expect("tune " + written("m.tt", "x"), path("m.tt") + ": is compiled");
  expect("tune " + path("none.onnx"), path("none.onnx"));
  const std::string foreign = written("foreign.json", "{\"a\": 1}");
  expect(tune + " -o " + foreign, foreign + ": is no record of tintype tune");
  EXPECT_EQ(text_of_file(foreign), "{\"a\": 1}") << "what is no record is not written over";
  expect("run " + model + " --tuning " + foreign, foreign + ": is no record of tintype tune");
  expect("run " + model + " --tuning " + path("none.json"),
         path("none.json") + ": cannot be opened");
  expect(tune + " -o " + path("none/t.json"), path("none/t.json") + ": cannot be written");
}

TEST_F(Tune, ADamagedDefaultFileIsNotUsed) {
  fs::create_directory(path("cache"));
  fs::permissions(path("cache"), fs::perms::owner_all);
  written("cache/tuning.json", "{");
  const Outcome o = with_cache("run " + path("block.onnx"));
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, AllOf(HasSubstr("warning: " + path("cache/tuning.json") + ": "),
                            HasSubstr("; the cost model chooses\n")));
  const Outcome quiet = with_cache("run " + path("block.onnx") + " --tuning none");
  EXPECT_THAT(quiet.text, Not(HasSubstr("warning")));
}

TEST_F(Tune, ALeNetIsSoonDone) {
  ASSERT_EQ(with_cache("zoo lenet5 -o " + path("lenet5.onnx")).code, 0);
  const Outcome o = with_cache("tune " + path("lenet5.onnx") + " --json -");
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_GT(report_in(o)["tuned_ms"], 0);
}

TEST_F(Tune, CtrlCKeepsWhatWasFound) {
  const Outcome o = run_shell("TINTYPE_CACHE_DIR=" + path("cache") + " timeout -s INT 0.3 " +
                              TINTYPE_PROGRAM + " tune " + path("block.onnx"));
  EXPECT_THAT(o.text, HasSubstr("whole run "));
  EXPECT_NO_THROW(load_tuning(path("cache/tuning.json")));
}

TEST_F(Tune, WithoutADriverADeviceIsRefused) {
  if (void* driver = dlopen("libcuda.so.1", RTLD_LAZY)) {
    dlclose(driver);
    GTEST_SKIP() << "this computer has the driver";
  }
  const Outcome o = with_cache("tune " + path("block.onnx") + " --target cuda");
  EXPECT_EQ(o.code, 1) << o.text;
  EXPECT_THAT(o.text, HasSubstr("libcuda.so.1"));
  EXPECT_FALSE(fs::exists(path("cache/tuning.json")));
}

TEST_F(Tune, ADeviceIsTuned) {
  GraphBuilder g("small");
  auto x = g.input("x", f32(1, 16, 8, 8));
  auto y = x.conv2d({.filters = 32, .kernel = 3, .padding = 1}).relu();
  g.output("y", y.flatten().linear({.units = 10}));
  export_onnx(*g.take(), path("small.onnx"));
  const std::string stand_ins = std::string("LD_LIBRARY_PATH=") + TINTYPE_STAND_IN_DIR + ":" +
                                TINTYPE_STAND_IN_LIBRARIES_DIR + " ";
  const Outcome o =
      with_cache("tune " + path("small.onnx") + " --target cuda --budget 20s --json -", stand_ins);
  ASSERT_EQ(o.code, 0) << o.text;
  const Json report = report_in(o);
  EXPECT_THAT(report["target"].get<std::string>(), HasSubstr("cuda-sm_80"));
  EXPECT_THAT(report["math"].get<std::string>(), HasSubstr("libraries in TF32"));
  ASSERT_GE(report["nodes"].size(), 1u);
  // Whatever won, the values are those of the untuned program, within what TF32 rounds.
  std::vector<Tensor> results;
  for (const std::string tuning : {"none", "auto"}) {
    const Outcome run = with_cache("run " + path("small.onnx") + " --target cuda --tuning " +
                                       tuning + " --output " + path(tuning),
                                   stand_ins);
    ASSERT_EQ(run.code, 0) << run.text;
    results.push_back(load_tensor(path(tuning + ".npy")));
  }
  const Comparison c = compare_tensors(results[1], results[0], 0, 0);
  EXPECT_LE(c.max_error, 1e-2 * c.scale);
}

}  // namespace
}  // namespace tintype
