// Training that is killed without warning, again and again, ends with the bits of a run that never
// stopped. TINTYPE_KILLS says how often (5 unless it does).
#include "frontend/data/checkpoint.h"
#include "frontend/graph/graph_builder.h"
#include "frontend/onnx/export.h"
#include "tests/tools/train_fixture.h"

#include <chrono>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <random>
#include <thread>
#include <unistd.h>

namespace tintype {
namespace {

using std::chrono::milliseconds;

/// The program in a process of its own.
class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments) : process_(fork()) {
    if (process_ != 0) return;
    std::vector<char*> argv = {const_cast<char*>("tintype")};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    if (std::freopen("/dev/null", "w", stdout) == nullptr ||
        std::freopen("/dev/null", "w", stderr) == nullptr)
      std::_Exit(126);
    execv(TINTYPE_PROGRAM, argv.data());
    std::_Exit(127);
  }
  bool running() { return waitpid(process_, &status_, WNOHANG) == 0; }
  void kill(int signal = SIGKILL) {
    ::kill(process_, signal);
    waitpid(process_, &status_, 0);
  }
  /// Whether kill() came before the end.
  bool was_killed() const { return WIFSIGNALED(status_); }
  int exit_code() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; }

 private:
  pid_t process_;
  int status_ = 0;
};

Checkpoint load(const std::string& path) {
  Result<Checkpoint> loaded = load_checkpoint(path);
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  return loaded.ok() ? std::move(loaded).value() : Checkpoint{};
}

void expect_same_bits(const Checkpoint& a, const Checkpoint& b) {
  EXPECT_EQ(a.step, b.step);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, t] : a.tensors)
    EXPECT_EQ(std::memcmp(t.data(), b.tensors.at(name).data(), t.bytes()), 0) << name;
}

int64_t epochs_in(const std::string& history) {
  const std::string text = bytes_of(history);
  return std::ranges::count(text, '\n') - 1;
}

/// Small, so that checkpoints are, with all that one has to hold: statistics, dropout's numbers.
void save_small_model(const std::string& path) {
  GraphBuilder g("small");
  auto x = g.input("image", f32("N", 1, 12, 12)).flatten();
  x = x.linear({.units = 8}).batch_norm().relu().dropout(0.2).linear({.units = 3});
  g.output("scores", x);
  export_onnx(*g.take(), path);
}

TEST_F(TrainCommand, RunsThatAreKilledAtAnyMomentGoOnWithTheSameBits) {
  const char* wanted = std::getenv("TINTYPE_KILLS");
  const int kills = wanted == nullptr ? 5 : std::atoi(wanted);
  const int64_t epochs = 12 * kills + 20;
  const std::string count = std::to_string(epochs);
  save_small_model(path("small.onnx"));
  const std::vector<std::string> run = {"train",
                                        path("small.onnx"),
                                        "--data",
                                        path("x.npy"),
                                        path("y.npy"),
                                        "--batch=7",
                                        "--augment=shift=1",
                                        "--optimizer=sgd,lr=0.01,momentum=0.9",
                                        "--average=ema,decay=0.9",
                                        "--validation-split=0.2",
                                        "--epochs=" + count};
  std::string line;
  for (size_t i = 1; i < run.size(); ++i) line += run[i] + " ";
  const Outcome whole = train(line + "--keep-checkpoints " + count + " -o " + path("whole"));
  ASSERT_EQ(whole.code, 0) << whole.text;

  std::mt19937 random(1);
  const std::string checkpoint = path("parts/checkpoint.ttc");
  int done = 0;
  for (int64_t epoch = 0; done < kills && epoch < epochs;) {
    std::vector<std::string> next = {"train", "--resume", path("parts")};
    if (epoch == 0) next = run, next.insert(next.end(), {"-o", path("parts")});
    Child child(next);
    // The first epoch of this process, then a moment in one of those that follow.
    while (child.running() && epochs_in(path("parts/history.csv")) <= epoch)
      std::this_thread::sleep_for(milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40000));
    child.kill();
    if (!child.was_killed()) break;
    ++done;
    const Checkpoint found = load(checkpoint);
    epoch = nlohmann::json::parse(found.metadata).at("epoch").get<int64_t>();
    expect_same_bits(found, load(fmt::format("{}/checkpoint-{:04}.ttc", path("whole"), epoch)));
    if (HasFailure()) return;
  }
  EXPECT_EQ(done, kills) << "the run ended before it was killed often enough";
  const Outcome rest = train("--resume " + path("parts"));
  ASSERT_EQ(rest.code, 0) << rest.text;
  for (const char* file : {"weights.safetensors", "model.onnx"})
    EXPECT_EQ(bytes_of(path(std::string("whole/") + file)),
              bytes_of(path(std::string("parts/") + file)))
        << file;
}

// As Ctrl-C sends, and as schedulers of clusters do before they end a job.
TEST_F(TrainCommand, AskedToEndItSavesWhatItHasAndSaysSo) {
  save_small_model(path("small.onnx"));
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string folder = path("ended" + std::to_string(signal));
    Child child({"train", path("small.onnx"), "--data", path("x.npy"), path("y.npy"), "--batch=7",
                 "--epochs=1000000", "-o", folder});
    while (child.running() && !fs::exists(folder + "/checkpoint.ttc"))
      std::this_thread::sleep_for(milliseconds(1));
    child.kill(signal);
    EXPECT_EQ(child.exit_code(), 128 + signal);
    EXPECT_TRUE(fs::exists(folder + "/model.onnx"));
    const int64_t epochs = epochs_in(folder + "/history.csv");
    EXPECT_EQ(train("--resume " + folder + " --epochs " + std::to_string(epochs + 2)).code, 0);
    EXPECT_EQ(epochs_in(folder + "/history.csv"), epochs + 2);
  }
}

}  // namespace
}  // namespace tintype
