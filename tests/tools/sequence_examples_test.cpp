// The programs in examples/sequences and the row readers of the zoo, small enough for a test: what
// they claim, they do.
#include "tests/tools/train_fixture.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace tintype {
namespace {

using testing::HasSubstr;

/// A folder for pictures, and what the program's result line says.
class SequenceExample : public testing::Test {
 protected:
  SequenceExample() {
    std::string pattern = (fs::temp_directory_path() / "tintype-examples-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~SequenceExample() override { fs::remove_all(folder_); }

  Outcome start(const std::string& program, const std::string& arguments) const {
    const fs::path examples = fs::path(TINTYPE_PROGRAM).parent_path() / "examples";
    return run_shell("cd " + std::string(TINTYPE_SOURCE_DIR) + " && " +
                     (examples / program).string() + " " + arguments + " -o " + folder_);
  }

  /// Runs it; the numbers behind "result: PROGRAM".
  std::map<std::string, double> run(const std::string& program, const std::string& arguments) {
    const Outcome o = start(program, arguments);
    EXPECT_EQ(o.code, 0) << o.text;
    text_ = o.text;
    std::map<std::string, double> values;
    const std::string begin = "result: " + program + " ";
    const size_t at = o.text.rfind(begin);
    EXPECT_NE(at, std::string::npos) << o.text;
    if (at == std::string::npos) return values;
    std::istringstream words(o.text.substr(at + begin.size()));
    for (std::string word; words >> word;)
      values[word.substr(0, word.find('='))] = std::stod(word.substr(word.find('=') + 1));
    return values;
  }

  void expect_picture(const std::string& file) const {
    const std::string svg = bytes_of(folder_ + "/" + file);
    EXPECT_THAT(svg, HasSubstr("<svg")) << file;
    EXPECT_THAT(svg, HasSubstr("</svg>")) << file;
  }

  std::string folder_, text_;
};

TEST_F(SequenceExample, CharacterModelLearnsAndWrites) {
  const auto r = run("char_model", "--epochs 30 --sample 80");
  // Without any context the README needs more than 4.5 bits per character, with equal chances 6.4.
  EXPECT_LT(r.at("bits_per_character"), 3);
  EXPECT_GT(r.at("uniform_bits"), 6);
  EXPECT_EQ(r.at("written"), 80);
  EXPECT_THAT(text_, HasSubstr("epoch 30/30  loss "));
  expect_picture("curves.svg");
}

// Thirty steps later the plain network guesses, the gated ones know; its gradient has vanished on
// the way, theirs has not.
TEST_F(SequenceExample, GatesRememberWhatThePlainNetworkForgets) {
  const auto r = run("delayed_recall", "--delays 5,40 --steps 150");
  EXPECT_GT(r.at("rnn_5"), 0.9);
  EXPECT_LT(r.at("rnn_40"), 0.5);
  for (const char* cell : {"gru", "lstm"}) {
    EXPECT_GT(r.at(std::string(cell) + "_5"), 0.95) << cell;
    EXPECT_GT(r.at(std::string(cell) + "_40"), 0.9) << cell;
    EXPECT_GT(r.at(std::string(cell) + "_gradient_ratio"), 1e-3) << cell;
  }
  EXPECT_LT(r.at("rnn_gradient_ratio"), 1e-6);
  expect_picture("accuracy.svg");
  expect_picture("gradient.svg");
}

TEST_F(SequenceExample, TextNetworkTellsLanguagesApart) {
  const auto r = run("text_cnn", "--pieces 400 --epochs 8");
  EXPECT_GT(r.at("validation_accuracy"), 0.75);
  EXPECT_EQ(r.at("chance"), 0.25);
  expect_picture("curves.svg");
}

TEST_F(SequenceExample, SpokenDigitsAreHeardFromNewSpeakers) {
  const auto r = run("spoken_digits", "--utterances 100 --epochs 10");
  EXPECT_GT(r.at("validation_accuracy"), 0.8);
  EXPECT_EQ(r.at("chance"), 0.1);
  for (const char* file : {"waveforms.svg", "curves.svg", "confusion.svg"}) expect_picture(file);
}

TEST_F(SequenceExample, MistakesAreNamed) {
  const Outcome missing = start("char_model", "--text no/such/file");
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.text, HasSubstr("error: no/such/file: cannot be read"));
  const Outcome few = start("text_cnn", "--kinds .no-such-kind");
  EXPECT_EQ(few.code, 1);
  EXPECT_THAT(few.text, HasSubstr("has fewer than two .no-such-kind files"));
  EXPECT_THAT(start("delayed_recall", "--delays 0").text, HasSubstr("needs positive numbers"));
}

// The plain network gets there, too: 28 rows are not far. Gates are ahead of it all the same.
TEST_F(TrainCommand, ReadsDigitsRowByRow) {
  const std::pair<const char*, double> networks[] = {
      {"lstm-rows", 0.93}, {"gru-rows", 0.93}, {"rnn-rows", 0.75}};
  for (const auto& [network, least] : networks) {
    const Outcome o = train(std::string(network) + " --data " + kDigits +
                            " --resize 28 --validation-split 0.2 --epochs 6 --optimizer "
                            "adam,lr=1e-3 --clip global_norm=1 --json -o " +
                            path(network));
    ASSERT_EQ(o.code, 0) << o.text;
    const double accuracy = report_in(o)["history"][5]["validation"]["accuracy"];
    EXPECT_GE(accuracy, least) << network;
    EXPECT_GT(fs::file_size(path(std::string(network) + "/curves.svg")), 100u);
  }
}

}  // namespace
}  // namespace tintype
