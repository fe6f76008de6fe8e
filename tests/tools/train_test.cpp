// tintype train from outside: files in, a model that runs out.
#include "frontend/data/safetensors.h"
#include "frontend/graph/graph_builder.h"
#include "frontend/graph/recurrent.h"
#include "frontend/onnx/export.h"
#include "ir/constant_source.h"
#include "tests/tools/train_fixture.h"
#include "tools/driver/driver.h"

#include <algorithm>
#include <gmock/gmock.h>

namespace tintype {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST_F(TrainCommand, FitsAZooNetworkToTheDataAndWritesAModel) {
  const Outcome o = train("mlp" + data() +
                          "--epochs 6 --batch 16 --optimizer adam,lr=3e-4 --validation-split 0.2 "
                          "--json -o " +
                          path("run"));
  ASSERT_EQ(o.code, 0) << o.text;
  const nlohmann::json report = report_in(o);
  ASSERT_EQ(report["history"].size(), 6u);
  EXPECT_LT(report["history"][5]["training"]["loss"], report["history"][0]["training"]["loss"]);
  EXPECT_GT(report["history"][5]["validation"]["accuracy"].get<double>(), 0.9);
  const CompileOptions options;
  const CompiledModel m = compile_model(path("run/model.onnx"), options);
  const auto y = m.model.run(
      std::map<std::string, Tensor>{{"image", Tensor::zeros(DType::f32, {5, 1, 12, 12})}});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(y.value()[0].dims(), (std::vector<int64_t>{5, 3}));
}

TEST_F(TrainCommand, ContinuesFromAnOnnxModelWithPartsFrozen) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("first")).code, 0);
  const Outcome o = train(path("first/model.onnx") + " --data image=" + path("x.npy") + " target=" +
                          path("y.npy") + " --freeze '^fc1' --epochs 2 -v -o " + path("second"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("and 74,240 frozen ones"));
  EXPECT_THAT(o.text, HasSubstr("epoch 2/2  loss "));
}

TEST_F(TrainCommand, ReadsOptionsFromJsonAndTheCommandLineWins) {
  std::ofstream(path("c.json")) << R"({"model": "mlp", "data": [")" << path("x.npy") << R"(", ")"
                                << path("y.npy")
                                << R"("], "epochs": 5, "batch": 30, "json": true, "output": ")"
                                << path("run") << "\"}";
  const Outcome o = train("--config " + path("c.json") + " --epochs 2");
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(report_in(o)["history"].size(), 2u);
}

TEST_F(TrainCommand, ReadsOptionsFromToml) {
  std::ofstream(path("c.toml")) << "# a run\nmodel = \"mlp\"\ndata = [\"" << path("x.npy")
                                << "\", \"" << path("y.npy")
                                << "\"]\nepochs = 3\njson = true\noptimizer = \"sgd,lr=0.1\"\n"
                                << "output = \"" << path("run") << "\"\n";
  const Outcome o = train("--config " + path("c.toml"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(report_in(o)["history"].size(), 3u);
  EXPECT_EQ(report_in(o)["history"][0]["learning_rate"], 0.1);
  std::ofstream(path("bad.toml")) << "[train]\nepochs = 3\n";
  EXPECT_THAT(train("--config " + path("bad.toml")).text, HasSubstr("section 'train'"));
  std::ofstream(path("worse.toml")) << "epoch = 3\n";
  EXPECT_THAT(train("--config " + path("worse.toml")).text, HasSubstr("did you mean 'epochs'?"));
}

// Bytes are as good a type for numbers of tokens as any other.
TEST_F(TrainCommand, IntegersOfAModelStayAsTheyAre) {
  GraphBuilder g("tokens");
  const Variable x = g.input("tokens", {DType::i64, {Dim::symbol("N"), Dim(4)}});
  g.output("y", x.embedding({.count = 60, .width = 4}).flatten().linear({.units = 3}));
  export_onnx(*g.take(), path("tokens.onnx"));
  Tensor bytes = Tensor::empty(DType::u8, {60, 4}), numbers = Tensor::empty(DType::f32, {60, 4});
  for (size_t i = 0; i < 240; ++i) {
    bytes.mutable_values<uint8_t>()[i] = static_cast<uint8_t>(i % 50);
    numbers.mutable_values<float>()[i] = static_cast<float>(i % 50);
  }
  EXPECT_TRUE(save_npy(bytes, path("u8.npy")).ok());
  EXPECT_TRUE(save_npy(numbers, path("f32.npy")).ok());
  const auto arguments = [&](const std::string& file) {
    return path("tokens.onnx") + " --data " + path(file) + " " + path("y.npy") +
           " --epochs 2 --force -o " + path("run");
  };
  const Outcome from_bytes = train(arguments("u8.npy"));
  ASSERT_EQ(from_bytes.code, 0) << from_bytes.text;
  EXPECT_THAT(from_bytes.text, Not(HasSubstr("normalised")));
  const std::string weights = bytes_of(path("run/weights.safetensors"));
  ASSERT_EQ(train(arguments("f32.npy")).code, 0);
  EXPECT_EQ(bytes_of(path("run/weights.safetensors")), weights);
  numbers.mutable_values<float>()[17] = 7.9f;
  EXPECT_TRUE(save_npy(numbers, path("f32.npy")).ok());
  EXPECT_THAT(train(arguments("f32.npy")).text,
              HasSubstr("the data for 'tokens' has the number 7.9"));
  EXPECT_THAT(train(arguments("u8.npy") + " --normalize standard").text,
              HasSubstr("input 'tokens' of the model takes integers"));
}

TEST_F(TrainCommand, ListsWhatIsTrained) {
  GraphBuilder g("factor");
  auto x = g.input("image", f32("N", 1, 12, 12)).flatten().linear({.name = "fc", .units = 3});
  const Variable two = g.parameter("factor.two", {3}, init::constant(2));
  set_source(*two.value()->def(), ConstantSource::literal);
  g.output("y", g.node(g.begin("Mul", "mul"), "Mul", {x, two}));
  export_onnx(*g.take(), path("factor.onnx"));
  const Outcome o =
      train(path("factor.onnx") + data() + "--freeze bias --epochs 1 -v -o " + path("run"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, HasSubstr("  fc.weight [3,144]\n  fc.bias [3], frozen\n"));
  EXPECT_THAT(o.text,
              HasSubstr("note: not trained (part of a formula, not a parameter): 'factor.two'"));
  const auto list = nlohmann::json::parse(bytes_of(path("run/parameters.json")));
  EXPECT_EQ(list["trained"].dump(), R"([{"name":"fc.weight","shape":[3,144]}])");
  EXPECT_EQ(list["not trained"][0]["why"], "frozen");
  EXPECT_EQ(list["not trained"][1]["name"], "factor.two");
  // The trained model says the same.
  const Outcome check = tintype("check " + path("run/model.onnx"));
  EXPECT_THAT(check.text, HasSubstr("  trains fc.weight, fc.bias\n"
                                    "  does not train factor.two (part of a formula"));
}

// The figures of the documentation, on real images and one seed.
TEST_F(TrainCommand, LearnsHandwrittenDigits) {
  const Outcome mlp = train("mlp --data " + kDigits +
                            " --validation-split 0.2 --epochs 20 --json -o " + path("mlp"));
  ASSERT_EQ(mlp.code, 0) << mlp.text;
  EXPECT_GE(report_in(mlp)["history"][19]["validation"]["accuracy"].get<double>(), 0.96);
  const Outcome lenet = train("lenet5 --data " + kDigits +
                              " --resize 28 --validation-split 0.2 --augment "
                              "shift=1,rotate=8,scale=0.1 --epochs 12 --optimizer adam,lr=2e-3 "
                              "--schedule cosine --show 3 -o " +
                              path("lenet"));
  ASSERT_EQ(lenet.code, 0) << lenet.text;
  EXPECT_THAT(lenet.text, HasSubstr("1,438 samples of u8[1,28,28], 359 for validation"));
  EXPECT_THAT(lenet.text, HasSubstr(", right"));
  const nlohmann::json history = nlohmann::json::parse(bytes_of(path("lenet/history.json")));
  EXPECT_GE(history.back()["validation"]["accuracy"].get<double>(), 0.97);
  for (const char* file : {"history.csv", "curves.svg", "confusion.svg", "predictions.svg",
                           "filters.png", "model.onnx", "weights.safetensors", "checkpoint.ttc"})
    EXPECT_GT(fs::file_size(path(std::string("lenet/") + file)), 100u) << file;
}

TEST_F(TrainCommand, AResumedRunEqualsOneThatNeverStopped) {
  const std::string run = "mlp" + data() +
                          "--validation-split 0.2 --batch 7 --augment shift=1,noise=0.1 "
                          "--optimizer sgd,lr=0.05,momentum=0.9 --schedule warmup,length=2+step,"
                          "every=2 --average ema,decay=0.9 --seed 5 ";
  ASSERT_EQ(train(run + "--epochs 5 -o " + path("whole")).code, 0);
  const Outcome first = train(run + "--epochs 2 --threads 1 -o " + path("parts"));
  ASSERT_EQ(first.code, 0) << first.text;
  const Outcome rest = train("--epochs 5 --resume " + path("parts"));
  ASSERT_EQ(rest.code, 0) << rest.text;
  EXPECT_EQ(bytes_of(path("whole/weights.safetensors")),
            bytes_of(path("parts/weights.safetensors")));
  EXPECT_EQ(bytes_of(path("whole/model.onnx")), bytes_of(path("parts/model.onnx")));
}

TEST_F(TrainCommand, ARunIsReplacedOnlyOnRequest) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("run")).code, 0);
  const std::string before = bytes_of(path("run/checkpoint.ttc"));
  const Outcome again = train("mlp" + data() + "--epochs 1 --seed 2 -o " + path("run"));
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.text, HasSubstr("holds a training run; continue it with --resume"));
  EXPECT_EQ(bytes_of(path("run/checkpoint.ttc")), before);
  EXPECT_EQ(train("mlp" + data() + "--epochs 1 --seed 2 --force -o " + path("run")).code, 0);
  EXPECT_NE(bytes_of(path("run/checkpoint.ttc")), before);
}

TEST_F(TrainCommand, ADamagedOrForeignCheckpointIsRefused) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("run")).code, 0);
  EXPECT_TRUE(save_npy(Tensor::zeros(DType::u8, {9, 1, 12, 12}), path("x9.npy")).ok());
  EXPECT_TRUE(save_npy(Tensor::zeros(DType::i32, {9}), path("y9.npy")).ok());
  const Outcome foreign = train("--resume " + path("run") + " --epochs 2 --data " + path("x9.npy") +
                                " " + path("y9.npy"));
  EXPECT_EQ(foreign.code, 1);
  EXPECT_THAT(foreign.text, HasSubstr("the run has 60 samples in batches of 32"));
  const Outcome other = train("lenet5 --resume " + path("run") + " --epochs 2");
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.text, HasSubstr("is of another run: its next trained parameter is "));
  fs::resize_file(path("run/checkpoint.ttc"), fs::file_size(path("run/checkpoint.ttc")) / 2);
  const Outcome cut = train("--resume " + path("run") + " --epochs 2");
  EXPECT_EQ(cut.code, 1);
  EXPECT_THAT(cut.text, HasSubstr("checkpoint.ttc: "));
  EXPECT_THAT(train("--resume " + path("nowhere")).text, HasSubstr("there is no training run in"));
}

TEST_F(TrainCommand, StartsFromWeightsInSafetensors) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 3 -o " + path("first")).code, 0);
  const Outcome o = train("mlp" + data() + "--epochs 1 --seed 9 --optimizer sgd,lr=0 --weights " +
                          path("first/weights.safetensors") + " -o " + path("second"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_EQ(bytes_of(path("first/weights.safetensors")),
            bytes_of(path("second/weights.safetensors")));
  const Outcome wrong = train("lenet5" + data() + "--resize 28 --epochs 1 --weights " +
                              path("first/weights.safetensors") + " -o " + path("third"));
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.text, HasSubstr("first/weights.safetensors: the model has no weight 'fc"));
}

// Frozen parameters travel along: the file is the whole model, and fits it again.
TEST_F(TrainCommand, WeightsOfAFineTunedModelAreComplete) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 3 -o " + path("first")).code, 0);
  ASSERT_EQ(
      train(path("first/model.onnx") + data() + "--freeze ^fc1 --epochs 1 -o " + path("tuned"))
          .code,
      0);
  const std::string still = "mlp" + data() + "--seed 9 --epochs 1 --optimizer sgd,lr=0 --weights " +
                            path("tuned/weights.safetensors");
  for (const char* freeze : {"", " --freeze ^fc1"}) {
    const Outcome o = train(still + freeze + " --force -o " + path("again"));
    ASSERT_EQ(o.code, 0) << o.text;
    EXPECT_THAT(o.text, testing::Not(HasSubstr("has nothing for")));
    EXPECT_EQ(bytes_of(path("tuned/weights.safetensors")),
              bytes_of(path("again/weights.safetensors")))
        << freeze;
  }
  // Half of the weights are half of the model, and that is said.
  auto part = load_safetensors(path("tuned/weights.safetensors")).value();
  part.tensors.erase("fc1.weight");
  ASSERT_TRUE(save_safetensors(part, path("part.safetensors")).ok());
  const Outcome half = train("mlp" + data() + "--epochs 1 --weights " + path("part.safetensors") +
                             " -o " + path("half"));
  EXPECT_EQ(half.code, 0) << half.text;
  EXPECT_THAT(half.text, HasSubstr("has nothing for 1 of the model's weights, 'fc1.weight' first"));
}

TEST_F(TrainCommand, TheWholeDataCanBeOneBatch) {
  const std::string run = "mlp" + data() + "--epochs 3 --optimizer rprop --seed 4 ";
  ASSERT_EQ(train(run + "--batch 0 -o " + path("all")).code, 0);
  ASSERT_EQ(train(run + "--batch 60 -o " + path("sixty")).code, 0);
  EXPECT_EQ(bytes_of(path("all/weights.safetensors")), bytes_of(path("sixty/weights.safetensors")));
}

TEST_F(TrainCommand, RecomputationSavesMemoryAndChangesNoBit) {
  const std::string run = "lenet5" + data() + "--resize 28 --epochs 2 --batch 20 ";
  ASSERT_EQ(train(run + "-o " + path("kept")).code, 0);
  const Outcome o = train(run + "--recompute -o " + path("again"));
  ASSERT_EQ(o.code, 0) << o.text;
  EXPECT_THAT(o.text, testing::ContainsRegex("recomputation: [0-9.]+ MB of buffers instead of "
                                             "[0-9.]+ MB; [0-9]+ kernels run twice"));
  EXPECT_EQ(bytes_of(path("kept/weights.safetensors")),
            bytes_of(path("again/weights.safetensors")));
  // A run may go on without, or with another limit.
  const Outcome little = train("--resume " + path("again") + " --epochs 3 --recompute 1kB");
  ASSERT_EQ(little.code, 0) << little.text;
  EXPECT_THAT(little.text, HasSubstr("warning: --recompute 1kB: the buffers need "));
  ASSERT_EQ(train("--resume " + path("kept") + " --epochs 3").code, 0);
  EXPECT_EQ(bytes_of(path("kept/weights.safetensors")),
            bytes_of(path("again/weights.safetensors")));
}

TEST_F(TrainCommand, AnAutoencoderGivesItsInputBack) {
  const Outcome o =
      train("autoencoder --data " + path("x.npy") +
            " --epochs 30 --augment noise=0.1 --validation-split 0.2 --json -o " + path("run"));
  ASSERT_EQ(o.code, 0) << o.text;
  const auto history = report_in(o)["history"];
  EXPECT_LT(history[29]["validation"]["loss"].get<double>(),
            0.2 * history[0]["validation"]["loss"].get<double>());
  EXPECT_GT(fs::file_size(path("run/reconstructions.png")), 100u);
  EXPECT_FALSE(fs::exists(path("run/confusion.svg")));
  const Outcome scores = tintype("evaluate " + path("run") + " --json");
  ASSERT_EQ(scores.code, 0) << scores.text;
  EXPECT_NEAR(report_in(scores)["averaged"]["loss"].get<double>(),
              history[29]["validation"]["loss"].get<double>(), 1e-6);
  // Classes that the data has are left alone; any model of the right shape is trained so.
  const Outcome more =
      train(path("run/model.onnx") + data() + "--epochs 1 --json -o " + path("more"));
  ASSERT_EQ(more.code, 0) << more.text;
  EXPECT_LT(report_in(more)["history"][0]["training"]["loss"].get<double>(),
            history[0]["training"]["loss"].get<double>());
}

TEST_F(TrainCommand, CheckpointsOfTheLastEpochsAreKept) {
  ASSERT_EQ(train("mlp" + data() + "--epochs 4 --keep-checkpoints 2 -o " + path("run")).code, 0);
  EXPECT_FALSE(fs::exists(path("run/checkpoint-0002.ttc")));
  EXPECT_TRUE(fs::exists(path("run/checkpoint-0003.ttc")));
  EXPECT_EQ(bytes_of(path("run/checkpoint-0004.ttc")), bytes_of(path("run/checkpoint.ttc")));
  ASSERT_EQ(train("--resume " + path("run") + " --epochs 5").code, 0);
  EXPECT_FALSE(fs::exists(path("run/checkpoint-0003.ttc")));
  EXPECT_TRUE(fs::exists(path("run/checkpoint-0005.ttc")));
  // Those of a run that is replaced go with it.
  ASSERT_EQ(
      train("mlp" + data() + "--epochs 1 --keep-checkpoints 2 --force -o " + path("run")).code, 0);
  EXPECT_TRUE(fs::exists(path("run/checkpoint-0001.ttc")));
  EXPECT_FALSE(fs::exists(path("run/checkpoint-0005.ttc")));
}

TEST_F(TrainCommand, ReadsTablesWithClassesAndWithValues) {
  std::ofstream classes(path("c.csv")), values(path("v.csv"));
  classes << "width,height,kind\n";
  values << "a,b,sum\n";
  for (int i = 0; i < 40; ++i) {
    classes << i % 2 * 3 + 0.01 * i << "," << i % 7 << "," << (i % 2 == 0 ? "small" : "large")
            << "\n";
    values << i % 5 << "," << i % 3 << "," << i % 5 + 0.5 * (i % 3) << "\n";
  }
  classes.close();
  values.close();
  const Outcome c =
      train("mlp --data " + path("c.csv") +
            " --normalize standard --validation-split 0.25 --epochs 30 --json -o " + path("c"));
  ASSERT_EQ(c.code, 0) << c.text;
  EXPECT_GE(report_in(c)["history"][29]["validation"]["accuracy"].get<double>(), 0.9);
  EXPECT_THAT(bytes_of(path("c/confusion.svg")), HasSubstr("large"));
  // Numbers ask for one output and the mean squared error.
  const Outcome v = train(
      "mlp --data " + path("v.csv") +
      " --normalize standard --validation-split 0.25 --batch 8 --epochs 60 --json -o " + path("v"));
  ASSERT_EQ(v.code, 0) << v.text;
  const auto last = report_in(v)["history"][59]["validation"];
  EXPECT_LE(last["loss"].get<double>(), 0.3) << v.text;
  EXPECT_TRUE(last.contains("mean_absolute_error"));
  const Outcome wrong =
      train("mlp --data " + path("v.csv") + " --table label=total -o " + path("w"));
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.text, HasSubstr("total"));
}

// Rows: a decides, b is noise.
std::string table_of(const std::string& header, const std::string& format, bool names) {
  std::string text = header + "\n";
  for (int i = 0; i < 40; ++i) {
    const std::string label = names ? (i % 2 == 0 ? "yes" : "no") : std::to_string(i % 2);
    const std::string a = i % 2 == 0 ? "1.5" : "-1.5", b = std::to_string(i * 7 % 5) + ".25";
    for (const char c : format) text += (c == 'a' ? a : c == 'b' ? b : label) + ",";
    text.back() = '\n';
  }
  return text;
}

TEST_F(TrainCommand, ColumnsOfTablesAreMatchedByName) {
  std::ofstream(path("t.csv")) << table_of("a,b,kind", "abk", true);
  std::ofstream(path("swapped.csv")) << table_of("b,kind,a", "bka", true);
  std::ofstream(path("other.csv")) << table_of("a,c,kind", "abk", true);
  const auto with = [&](const std::string& validation) {
    return train("mlp --data " + path("t.csv") + " --validation " + path(validation) +
                 " --batch 8 --epochs 20 --force --json -o " + path("run"));
  };
  const auto accuracy = [](const Outcome& o) {
    return report_in(o)["history"][19]["validation"]["accuracy"].get<double>();
  };
  EXPECT_THAT(with("other.csv").text, HasSubstr("columns of inputs are a, c; expected a, b"));
  const Outcome same = with("t.csv"), swapped = with("swapped.csv");
  ASSERT_EQ(swapped.code, 0) << swapped.text;
  EXPECT_EQ(accuracy(same), 1);
  EXPECT_EQ(accuracy(swapped), 1);
  const Outcome later = tintype("evaluate " + path("run") + " --data " + path("swapped.csv"));
  EXPECT_THAT(later.text, HasSubstr("accuracy 100")) << later.text;
  EXPECT_THAT(tintype("evaluate " + path("run") + " --data " + path("other.csv")).text,
              HasSubstr("expected a, b"));
}

TEST_F(TrainCommand, WarnsWhereNamesOfClassesMeetNumbers) {
  std::ofstream(path("names.csv")) << table_of("a,b,kind", "abk", true);
  std::ofstream(path("numbers.csv")) << table_of("a,b,kind", "abk", false);
  const auto with = [&](const std::string& data, const std::string& validation) {
    return train("mlp --data " + path(data) + " --validation " + path(validation) +
                 " --epochs 1 --force --json -o " + path("run"))
        .text;
  };
  EXPECT_THAT(with("names.csv", "names.csv"), Not(HasSubstr("warning: --validation")));
  EXPECT_THAT(with("numbers.csv", "numbers.csv"), Not(HasSubstr("warning: --validation")));
  EXPECT_THAT(with("numbers.csv", "names.csv"),
              HasSubstr("warning: --validation: the classes are names here and numbers in what it "
                        "goes with, taken as 0 = 'no', 1 = 'yes'"));
  EXPECT_THAT(with("names.csv", "numbers.csv"),
              HasSubstr("warning: --validation: the classes are numbers here and names"));
  EXPECT_THAT(tintype("evaluate " + path("run") + " --data " + path("numbers.csv")).text,
              HasSubstr("warning: --data: the classes are numbers here and names"));
}

void expect(const std::string& arguments, const std::string& part, int code = 1) {
  const Outcome o = train(arguments);
  EXPECT_EQ(o.code, code) << o.text;
  EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << o.text;
  EXPECT_THAT(o.text, HasSubstr(part));
}

// Each loss with the targets that it wants; the network's output is as wide as they are.
TEST_F(TrainCommand, LossesTakeClassesOrNumbers) {
  Tensor one_hot = Tensor::zeros(DType::f32, {60, 3}), signs = Tensor::zeros(DType::f32, {60, 3});
  for (size_t i = 0; i < 180; ++i) {
    one_hot.mutable_values<float>()[i] = i % 3 == i / 3 % 3;
    signs.mutable_values<float>()[i] = i % 3 == i / 3 % 3 ? 1 : -1;
  }
  ASSERT_TRUE(save_npy(one_hot, path("one_hot.npy")).ok());
  ASSERT_TRUE(save_npy(signs, path("signs.npy")).ok());
  const auto loss_with = [&](const std::string& loss, const std::string& targets) {
    const Outcome o = train("mlp --data " + path("x.npy") + " " + path(targets) +
                            " --epochs 2 --force --json --loss " + loss + " -o " + path("l"));
    EXPECT_EQ(o.code, 0) << o.text;
    return o.code == 0 ? report_in(o)["history"][1]["training"]["loss"].get<double>() : -1;
  };
  for (const char* loss : {"cross_entropy,label_smoothing=0.1", "nll", "multi_margin,p=2"})
    EXPECT_GT(loss_with(loss, "y.npy"), -1e3) << loss;
  for (const char* loss : {"cross_entropy,probabilities=1", "binary_cross_entropy,pos_weight=2",
                           "mse", "l1", "huber,delta=0.5", "smooth_l1,beta=2", "kl_divergence"})
    EXPECT_GT(loss_with(loss, "one_hot.npy"), -1e3) << loss;
  EXPECT_GT(loss_with("hinge", "signs.npy"), 0);
  expect("mlp --data " + path("x.npy") + " " + path("signs.npy") + " --loss nll",
         "--loss nll takes classes as targets, but those of the data are numbers, f32[3]");
}

TEST_F(TrainCommand, MistakesInDataAreOneLine) {
  const std::string fixtures = std::string(TINTYPE_SOURCE_DIR) + "/tests/data/fixtures/";
  fs::create_directories(path("none"));
  expect("mlp --data " + path("none"), path("none"));
  fs::create_directories(path("images/a"));
  expect("mlp --data " + path("images"), path("images"));
  fs::create_directories(path("images/b"));
  fs::copy_file(fixtures + "colour.png", path("images/a/1.png"));
  fs::copy_file(fixtures + "colour.png", path("images/b/1.png"));
  std::ofstream(path("images/b/2.png")) << bytes_of(fixtures + "colour.png").substr(0, 60);
  expect("mlp --data " + path("images") + " --resize 12 -o " + path("r"), path("images/b/2.png"));
  std::ofstream(path("short.npy")) << bytes_of(path("x.npy")).substr(0, 1000);
  expect("mlp --data " + path("short.npy") + " " + path("y.npy"), path("short.npy"));
  EXPECT_TRUE(save_npy(Tensor::zeros(DType::i32, {7}), path("seven.npy")).ok());
  expect("mlp --data " + path("x.npy") + " " + path("seven.npy"),
         "target: has 7 samples, 'input' has 60");

  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("run")).code, 0);
  const std::string model = path("run/model.onnx");
  Tensor labels = Tensor::zeros(DType::i32, {60});
  labels.mutable_values<int32_t>()[40] = 7;
  EXPECT_TRUE(save_npy(labels, path("seven.npy")).ok());
  expect(model + " --data " + path("x.npy") + " " + path("seven.npy") + " --json -o " + path("r"),
         "'target' has the label 7, but the model has 3 classes (0 to 2)");
  expect(model + data() + "--resize 10 -o " + path("r"),
         "samples of f32[1,10,10], but the model takes batches of f32[N,1,12,12]");
}

TEST_F(TrainCommand, WhatCanNotBeWrittenLosesNothing) {
  std::ofstream(path("file")) << "in the way";
  expect("mlp" + data() + "--json -o " + path("file/run"), path("file/run") + ": cannot be made");
  ASSERT_EQ(train("mlp" + data() + "--epochs 1 -o " + path("run")).code, 0);
  const std::string before = bytes_of(path("run/checkpoint.ttc"));
  // A limit on the size of files does what a full disk does: writing fails half-way.
  const Outcome o = run_shell("ulimit -f 100; trap '' XFSZ; " + std::string(TINTYPE_PROGRAM) +
                              " train --json --epochs 2 --diagnostics 0 --resume " + path("run"));
  EXPECT_EQ(o.code, 1);
  EXPECT_THAT(o.text, HasSubstr(path("run/")));
  EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << o.text;
  EXPECT_EQ(bytes_of(path("run/checkpoint.ttc")), before);
  for (const auto& entry : fs::directory_iterator(path("run")))
    EXPECT_EQ(entry.path().filename().string().find(".tmp-"), std::string::npos) << entry.path();
  EXPECT_EQ(train("--epochs 2 --resume " + path("run")).code, 0);
}

TEST_F(TrainCommand, MistakesAreOneLine) {
  expect("mlp", "which data?", 2);
  expect(data(), "which model?", 2);
  expect("mpl" + data(), "no network 'mpl' in the zoo");
  expect("mlp --data " + path("x.npy"), "has no targets; give a second file for 'target'");
  expect("mlp --data " + path("nowhere"), "cannot read '" + path("nowhere") + "'");
  expect("mlp" + data() + "--augment turn=3", "there is no 'turn'", 2);
  expect("mlp" + data() + "--augment crop=20", "--augment");
  expect("mlp" + data() + "--resize 0", "--resize expects extents", 2);
  expect("mlp" + data() + "--validation-split 0.2 --validation " + path("x.npy"),
         "exclude each other", 2);
  expect("mlp --data x=" + path("x.npy"), "there is no input 'x'", 2);
  expect("mlp --data image=" + path("x.npy"), "no file for 'target'", 2);
  expect("mlp" + data() + "--optimizer adma", "did you mean 'adam'?", 2);
  expect("mlp" + data() + "--clip globl=1", "no option 'globl'", 2);
  expect("mlp" + data() + "--loss mse",
         "--loss mse takes numbers as targets, but those of the data are classes");
  expect("mlp" + data() + "--init he_norm", "did you mean 'he_normal'?", 2);
  expect("mlp" + data() + "--average mean", "--average expects ema", 2);
  expect("mlp" + data() + "--recompute 3furlongs", "--recompute expects auto, a number", 2);
  expect("mlp" + data() + "--recompute 0", "--recompute expects auto, a number", 2);
  expect("mlp" + data() + "--validation-split 2", "expected a number from 0 to below 1", 2);
  expect("mlp" + data() + "--early-stopping acuracy --json -o " + path("r"),
         "did you mean 'accuracy'?");
  expect("lenet5 --data " + path("x.npy") + " " + path("x.npy"), "'target'");
  std::ofstream(path("bad.json")) << R"({"epoch": 3})";
  expect("--config " + path("bad.json"), "there is no option 'epoch' (did you mean 'epochs'?)");
}

}  // namespace
}  // namespace tintype
