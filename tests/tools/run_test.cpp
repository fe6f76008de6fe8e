// tintype run: what is done to images and arrays before a model sees them.
#include "frontend/data/image.h"
#include "tests/tools/train_fixture.h"

#include <gmock/gmock.h>

#include <cmath>

namespace tintype {
namespace {

using testing::HasSubstr;

class RunCommand : public TrainCommand {
 protected:
  /// A model whose output is its input, of this type.
  std::string identity(const std::string& type) const {
    std::ofstream(path("same.ir"))
        << "graph \"same\"(%x: " << type << ") {\n  %0 = Identity(%x)\n  return %0 as \"y\"\n}\n";
    return path("same.ir");
  }
  /// A picture whose pixel (x, y) has the colour 10 y + x, 100, 200.
  std::string picture(const std::string& name, int width, int height, int channels) const {
    Image image = {width, height, channels, {}};
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < channels; ++c)
          image.pixels.push_back(static_cast<uint8_t>(c == 0 ? 10 * y + x : 100 * c));
    EXPECT_TRUE(save_png(image, path(name)).ok());
    return path(name);
  }
  Tensor input_of(const std::string& model, const std::string& options) const {
    const Outcome o = tintype("run " + model + " --output " + path("out") + " " + options);
    EXPECT_EQ(o.code, 0) << o.text;
    return load_npy(path("out.npy")).value();
  }
  static std::string refusal(const std::string& arguments, int code = 1) {
    const Outcome o = tintype("run " + arguments);
    EXPECT_EQ(o.code, code) << o.text;
    EXPECT_EQ(std::count(o.text.begin(), o.text.end(), '\n'), 1) << o.text;
    return o.text;
  }
};

TEST_F(RunCommand, ImagesBecomeBatchesOfNumbersFromZeroToOne) {
  const std::string model = identity("f32[N,C,H,W]");
  const Tensor x =
      input_of(model, "--image " + picture("a.png", 4, 3, 3) + " " + picture("b.png", 4, 3, 3));
  ASSERT_EQ(x.dims(), (std::vector<int64_t>{2, 3, 3, 4}));
  EXPECT_FLOAT_EQ(x.values<float>()[6], 12 / 255.0f);
  EXPECT_FLOAT_EQ(x.values<float>()[24], 200 / 255.0f);
  EXPECT_FLOAT_EQ(x.values<float>()[36 + 6], 12 / 255.0f);
  // Grey stays grey where the model leaves that open, and becomes coloured where it does not.
  const std::string grey = picture("grey.png", 4, 3, 1);
  EXPECT_EQ(input_of(model, "--image " + grey).dims(), (std::vector<int64_t>{1, 1, 3, 4}));
  EXPECT_EQ(input_of(identity("f32[N,3,H,W]"), "--image " + grey).dims(),
            (std::vector<int64_t>{1, 3, 3, 4}));
  EXPECT_EQ(input_of(identity("f32[N,1,H,W]"), "--image " + path("a.png")).dims(),
            (std::vector<int64_t>{1, 1, 3, 4}));
}

TEST_F(RunCommand, ImagesAreScaledCutAndNormalised) {
  const std::string model = identity("f32[N,C,H,W]");
  const std::string image = " --image " + picture("a.png", 8, 6, 3);
  EXPECT_EQ(input_of(model, "--resize 3" + image).dims(), (std::vector<int64_t>{1, 3, 3, 4}));
  EXPECT_EQ(input_of(model, "--resize 5x4" + image).dims(), (std::vector<int64_t>{1, 3, 5, 4}));
  const Tensor cut = input_of(model, "--crop 2x4 --mean 0.5,0,1 --std 0.5,2,0.25" + image);
  ASSERT_EQ(cut.dims(), (std::vector<int64_t>{1, 3, 2, 4}));
  const auto v = cut.values<float>();
  EXPECT_NEAR(v[0], (22 / 255.0 - 0.5) / 0.5, 1e-6);  // row 2, column 2
  EXPECT_NEAR(v[7], (35 / 255.0 - 0.5) / 0.5, 1e-6);
  EXPECT_NEAR(v[8], 100 / 255.0 / 2, 1e-6);
  EXPECT_NEAR(v[16], (200 / 255.0 - 1) / 0.25, 1e-6);
  EXPECT_NEAR(input_of(model, "--mean 0.5" + image).values<float>()[0], -0.5, 1e-6);
  // What a flag says wins over imagenet, whose mean of green is 0.456.
  const Tensor some = input_of(model, "--preprocess imagenet --resize 6 --crop 6" + image);
  ASSERT_EQ(some.dims(), (std::vector<int64_t>{1, 3, 6, 6}));
  EXPECT_NEAR(some.values<float>()[36], (100 / 255.0 - 0.456) / 0.224, 1e-5);
}

TEST_F(RunCommand, MistakesWithImagesSayWhatWouldHelp) {
  const std::string image = " --image " + picture("a.png", 8, 6, 3);
  const std::string model = identity("f32[N,3,4,4]");
  EXPECT_THAT(refusal(model + image),
              HasSubstr("a.png: input 'x' expects 4x4 pixels: give --resize 4x4, --crop, or "
                        "--preprocess imagenet; the image is f32[1,3,6,8]"));
  EXPECT_THAT(refusal(model + image + " --crop 9"), HasSubstr("a.png: image of 6x8 is smaller"));
  EXPECT_THAT(refusal(model + image + " --crop big", 2),
              HasSubstr("--crop expects extents such as"));
  EXPECT_THAT(refusal(model + image + " --mean 1,2 --crop 4"),
              HasSubstr("a.png: means: 2 values for an image of 3 channels"));
  EXPECT_THAT(refusal(model + image + " --std 0 --crop 4", 2),
              HasSubstr("--std expects positive numbers, got '0'"));
  EXPECT_THAT(refusal(model + image + " --mean x --crop 4", 2),
              HasSubstr("--mean expects numbers separated by ',', got 'x'"));
  EXPECT_THAT(refusal(model + image + " --preprocess imgenet", 2),
              HasSubstr("--preprocess expects 'imagenet' or the inputs.json"));
  EXPECT_THAT(refusal(model + " --resize 4", 2), HasSubstr("there is no image to prepare"));
  EXPECT_THAT(refusal(identity("f32[N,8]") + image), HasSubstr("input 'x' takes no images"));
  EXPECT_THAT(refusal(identity("f32[N,5,H,W]") + image),
              HasSubstr("input 'x' expects 5 channels on axis 1"));
  EXPECT_THAT(refusal(identity("f32[N,C,H,W]") + image + " " + picture("b.png", 3, 3, 3)),
              HasSubstr("b.png: becomes f32[1,3,3,3], the first image f32[1,3,6,8]"));
}

// A new user's first wish after training: what does it say of this picture?
TEST_F(RunCommand, PicturesAreReadAsTheRunThatTrainedTheModelDid) {
  const std::string run = path("run");
  ASSERT_EQ(train("mlp" + data() +
                  "--epochs 3 --normalize mean=100,std=50 --augment pad=1,crop=10 "
                  "--optimizer sgd,lr=0.02 -o " +
                  run)
                .code,
            0);
  // The samples 4 and 5 of the fixture as pictures, and what their crops are in numbers.
  const Tensor images = load_npy(path("x.npy")).value();
  Tensor x = Tensor::empty(DType::f32, {2, 1, 10, 10});
  for (size_t n = 0; n < 2; ++n) {
    const auto pixels = images.values<uint8_t>().subspan((4 + n) * 144, 144);
    EXPECT_TRUE(save_png({12, 12, 1, {pixels.begin(), pixels.end()}},
                         path("s" + std::to_string(n) + ".png"))
                    .ok());
    for (size_t i = 0; i < 100; ++i)
      x.mutable_values<float>()[n * 100 + i] =
          (static_cast<float>(pixels[(i / 10 + 1) * 12 + i % 10 + 1]) - 100) / 50;
  }
  ASSERT_TRUE(save_npy(x, path("crops.npy")).ok());
  const Tensor want = input_of(run + "/model.onnx", "--input " + path("crops.npy"));
  const std::string both = " --image " + path("s0.png") + " " + path("s1.png");
  const Tensor got = input_of(run + "/model.onnx", both);
  ASSERT_EQ(got.dims(), (std::vector<int64_t>{2, 3}));
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(got.values<float>()[i], want.values<float>()[i]);
  const std::string note =
      "crops.npy is taken as it is; in training, inputs were normalised: mean=";
  EXPECT_THAT(tintype("run " + run + "/model.onnx --input " + path("crops.npy")).text,
              HasSubstr(note));
  EXPECT_EQ(tintype("run " + run + "/model.onnx --input " + path("s0.png")).text.find("as it is"),
            std::string::npos);
  const Outcome o = tintype("run " + run + "/model.onnx --top 1" + both);
  EXPECT_THAT(o.text, HasSubstr("images are prepared as " + run + "/inputs.json says"));
  EXPECT_THAT(o.text, HasSubstr("s1.png\n"));
  // Elsewhere, the file is named.
  fs::copy_file(run + "/model.onnx", path("elsewhere.onnx"));
  EXPECT_EQ(input_of(path("elsewhere.onnx"), "--preprocess " + run + "/inputs.json" + both)
                .values<float>()[0],
            want.values<float>()[0]);
}

TEST_F(RunCommand, NamesThatDoNotFitAreNoticed) {
  std::ofstream(path("scores.ir")) << "graph \"scores\"(%x: f32[2,3]) {\n  %0 = Relu(%x)\n"
                                      "  return %0 as \"y\"\n}\n";
  std::ofstream(path("names.txt")) << "cat\ndog\n";
  const std::string run = "run " + path("scores.ir") + " --labels " + path("names.txt");
  const Outcome few = tintype(run + " --output " + path("y.npy"));
  EXPECT_EQ(few.code, 0) << few.text;
  EXPECT_THAT(few.text, HasSubstr("names.txt has 2 names, 'y' has 3 classes"));
  EXPECT_TRUE(fs::exists(path("y.npy")));
  EXPECT_FALSE(fs::exists(path("y.npy.npy")));
  std::ofstream(path("names.txt"), std::ios::app) << "owl\n";
  EXPECT_EQ(tintype(run).text.find("warning"), std::string::npos);
}

TEST_F(RunCommand, ArraysOfAnNpzGoToTheInputsOfTheirNames) {
  const std::string npz = TINTYPE_SOURCE_DIR "/tests/data/fixtures/deflated.npz";
  const Outcome alien = tintype("run " + identity("f32[N,8]") + " --input " + npz);
  EXPECT_EQ(alien.code, 1);
  EXPECT_THAT(alien.text, HasSubstr("the model has no input 'x_test'"));
  std::ofstream(path("all.ir"))
      << "graph \"all\"(%x_train: u8[3,4,4,3], %y_train: u8[3], %x_test: u8[2,4,4,3], %y_test: "
         "u8[2]) {\n  %0 = Identity(%x_test)\n  return %0 as \"y\"\n}\n";
  EXPECT_EQ(input_of(path("all.ir"), "--input " + npz).dims(), (std::vector<int64_t>{2, 4, 4, 3}));
  EXPECT_THAT(refusal(path("same.ir") + " --input x=" + npz),
              HasSubstr("expected one array, found 4: x_test, x_train, y_test, y_train"));
}

}  // namespace
}  // namespace tintype
