// Options in JSON and TOML files: what the languages mean, and where a mistake is.
#include "train_fixture.h"

#include <gmock/gmock.h>

namespace tintype {
namespace {

using testing::HasSubstr;
using testing::Not;

class ConfigFile : public TrainCommand {
 protected:
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name)) << content;
    return path(name);
  }
  /// One line that says where: nothing is trained.
  void expect_refused(const std::string& name, const std::string& content,
                      const std::string& part) const {
    const Outcome o = train("--config " + write(name, content) + " -o " + path("none"));
    EXPECT_EQ(o.code, 1) << content << o.text;
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << content << o.text;
    EXPECT_THAT(o.text, HasSubstr("error: " + path(name) + part)) << content;
    EXPECT_FALSE(fs::exists(path("none"))) << content;
  }
};

TEST_F(ConfigFile, TomlIsReadAsItsSpecificationSays) {
  std::string table = "a,b,label\n";
  for (int i = 0; i < 12; ++i) table += i % 2 == 0 ? "0.5,1,up\n" : "1,0.25,down\n";
  write("tab#1.csv", table);
  const std::string toml =
      write("c.toml", "model = \"mlp\"  # the net\ndata = \"" + path("tab#1.csv") +
                          "\"\nepochs = 0x2\nbatch = 1_2\n"
                          "optimizer = 'sgd,lr=0.5'\noutput = '" +
                          path("run") + "'\ntop-k = [\n  1,  # best\n  2,\n]\n");
  const Outcome o = train("--config " + toml + " --json");
  ASSERT_EQ(o.code, 0) << o.text;
  const auto history = report_in(o)["history"];
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0]["learning_rate"], 0.5);
  EXPECT_TRUE(history[0]["training"].contains("top2")) << history[0];
}

TEST_F(ConfigFile, AMistakeInTomlIsNamedWithItsLine) {
  expect_refused("c.toml", "epochs = 2\nmodel = \"mlp.onnx\nbatch = 3\n",
                 ":2: Error while parsing string");
  EXPECT_THAT(train("--config " + path("c.toml")).text, HasSubstr("needs its closing quote"));
  expect_refused("c.toml", "data = [\"a.npy\",\n\"b.npy\"\nepochs = 3\n", ":3: ");
  expect_refused("c.toml", "epochs = \n", ":1: ");
  expect_refused("c.toml", "epochs 3\n", ":1: ");
  expect_refused("c.toml", "model = mlp\n", ":1: ");
  expect_refused("c.toml", "epochs = 1\nepochs = 2\n", ":2: ");
  expect_refused("c.toml", "\n[train]\nepochs = 3\n", ":2: options stand at the top level");
  expect_refused("c.toml", "train.epochs = 3\n", ":1: options stand at the top level");
  expect_refused("c.toml", "batch = 2\nepoch = 3\n",
                 ":2: there is no option 'epoch' (did you mean 'epochs'?)");
  expect_refused("c.toml", "epochs = 'ten'\n", ":1: ");
  expect_refused("c.toml", "\nepochs = 1979-05-27\n", ":2: 'epochs' expects a text, a number");
  expect_refused("c.toml", "data = [['a'], ['b']]\n", ":1: 'data' expects a text, a number");
}

TEST_F(ConfigFile, AMistakeInJsonIsNamedWithoutTheLibrarysNumber) {
  expect_refused("c.json", "{\"epochs\": 2,\n", ": parse error at line 2");
  EXPECT_THAT(train("--config " + path("c.json")).text, Not(HasSubstr("json.exception")));
  expect_refused("c.json", "[1]", ": expected a JSON object of options");
  expect_refused("c.json", "{\"epochs\": null}", ": 'epochs' expects a text, a number");
  expect_refused("c.json", "{\"group\": [{\"rate\": 2}]}", ": 'group' expects a text, a number");
}

}  // namespace
}  // namespace tintype
