// --resume: a run goes on as if it had not stopped, from any folder, or says why not.
#include "train_fixture.h"

#include <gmock/gmock.h>

namespace tintype {
namespace {

using testing::HasSubstr;

class Resume : public TrainCommand {
 protected:
  void start(const std::string& options = "") const {
    const Outcome o = train("mlp" + data() + "--epochs 2 --batch 20 --optimizer sgd,lr=0.05 " +
                            options + " -o " + run());
    ASSERT_EQ(o.code, 0) << o.text;
  }
  std::string run() const { return path("run"); }
  /// One line; the run stays what it was.
  void expect_refused(const std::string& options, int code, const std::string& part) const {
    const std::string config = bytes_of(run() + "/config.json");
    const std::string checkpoint = bytes_of(run() + "/checkpoint.ttc");
    const Outcome o = train("--json --resume " + run() + " " + options);
    EXPECT_EQ(o.code, code) << o.text;
    EXPECT_THAT(o.text, HasSubstr(part)) << options;
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << o.text;
    EXPECT_EQ(bytes_of(run() + "/config.json"), config) << options;
    EXPECT_EQ(bytes_of(run() + "/checkpoint.ttc"), checkpoint) << options;
  }
};

TEST_F(Resume, OptionsThatMakeAnotherRunAreRefused) {
  start();
  const std::string was = "--resume: the run in '" + run() + "' was started with ";
  expect_refused("--epochs 3 --normalize none", 2, was + "no --normalize, not with 'none'");
  expect_refused("--epochs 3 --batch 5", 2, was + "--batch '20', not with '5'");
  expect_refused("--epochs 3 --optimizer adam", 2,
                 was + "--optimizer 'sgd,lr=0.05', not with 'adam'");
  expect_refused("--epochs 3 --init he_normal", 2, was + "no --init, not with 'he_normal'");
  expect_refused("--epochs 3 --weights w.safetensors", 2, was + "no --weights");
  expect_refused("--epochs 3 --seed 7", 2, was + "no --seed, not with '7'");
  expect_refused("--epochs 3 --clip norm=1", 2, was + "no --clip, not with 'norm=1'");
  expect_refused("--epochs 3 --loss multi_margin", 1,
                 "the checkpoint is of another run: its loss is 'cross_entropy");
  expect_refused("--epochs 3 -o " + path("other"), 2, "leave out -o " + path("other"));
  EXPECT_FALSE(fs::exists(path("other")));
  expect_refused("--epochs 1", 2, "--epochs 1: the run in '" + run() + "' has 2 epochs behind it");
}

TEST_F(Resume, TheSameSaidAgainIsNoOtherRun) {
  start();
  const Outcome o = train("--json --resume " + run() +
                          "/ --epochs 3 --normalize unit --seed 1 --batch 20 --clip '' --optimizer "
                          "sgd,lr=5e-2 -o " +
                          run());
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(report_in(o)["history"].size(), 3u);
}

TEST_F(Resume, ARunThatIsDoneSaysSo) {
  start();
  const Outcome o = train("--resume " + run());
  EXPECT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("the run in '" + run() + "' has its 2 epochs"));
}

TEST_F(Resume, ARunGoesOnFromAnyFolder) {
  const std::string program = TINTYPE_PROGRAM;
  const Outcome first = run_shell("cd " + folder_ + " && " + program +
                                  " train mlp --data image=x.npy target=./y.npy --validation "
                                  "image=x.npy target=y.npy --epochs 1 -o run");
  ASSERT_EQ(first.code, 0) << first.text;
  const Outcome rest =
      run_shell("cd / && " + program + " train --json --epochs 2 --resume " + run());
  ASSERT_EQ(rest.code, 0) << rest.text;
  EXPECT_EQ(report_in(rest)["history"].size(), 2u);
  const Outcome scores = run_shell("cd / && " + program + " evaluate --json " + run());
  EXPECT_EQ(scores.code, 0) << scores.text;
}

}  // namespace
}  // namespace tintype
