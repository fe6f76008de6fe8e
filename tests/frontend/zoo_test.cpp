// The zoo against published numbers of parameters and multiply-adds.
#include "frontend/zoo/zoo.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"

#include <cmath>
#include <gtest/gtest.h>
#include <map>

namespace tintype {
namespace {

/// Sources:
/// - torchvision's weight metadata (num_params; _ops in 10^9 multiply-adds) for AlexNet with one
///   tower, VGG, and the parameters of Inception v3 and ResNet v1;
/// - He et al. 2015, table 1, for multiply-adds of ResNet v1 with strides in the first convolution;
/// - Caffe's model zoo for AlexNet with groups (bvlc_reference 60,965,224) and GoogLeNet
/// (6,998,552);
/// - timm for ResNet v2 with 50 layers (resnetv2_50: 25.55 M);
/// - LeCun et al. 1998 as commonly simplified (full connections, 61,706) for LeNet-5.
struct Published {
  int64_t parameters;
  double multiply_adds;  ///< 10^9; 0 where none is published
  double tolerance;      ///< half a unit of the last published digit, 10^9
};

const std::map<std::string, Published>& published() {
  static const std::map<std::string, Published> table = {
      {"mlp", {784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10, 0, 0}},
      {"lenet5", {61706, 0, 0}},
      // torch.nn.RNN(28, 128) and its kin, and Linear(128, 10).
      {"rnn-rows", {20224 + 1290, 0, 0}},
      {"lstm-rows", {80896 + 1290, 0, 0}},
      {"gru-rows", {60672 + 1290, 0, 0}},
      {"alexnet", {60965224, 0, 0}},
      {"alexnet-one-tower", {61100840, 0.714, 0.0005}},
      {"vgg16", {138357544, 15.47, 0.005}},
      {"vgg19", {143667240, 19.632, 0.0005}},
      {"googlenet", {6998552, 0, 0}},
      {"inception-v3", {23834568, 5.713, 0.0005}},
      {"resnet18", {11689512, 1.8, 0.05}},
      {"resnet34", {21797672, 3.6, 0.1}},
      {"resnet50", {25557032, 3.8, 0.1}},
      {"resnet101", {44549160, 7.6, 0.05}},
      {"resnet152", {60192808, 11.3, 0.05}},
      {"resnet50-v2", {25549352, 0, 0}},
  };
  return table;
}

struct Counted {
  int64_t parameters = 0, multiply_adds = 0;
};

Counted count(const GraphBuilder& g) {
  Counted c;
  for (const Layer& l : g.layers()) {
    c.parameters += l.parameters;
    c.multiply_adds += l.multiply_adds;
  }
  return c;
}

TEST(Zoo, HasThePublishedSizes) {
  for (const auto& [name, want] : published()) {
    SCOPED_TRACE(name);
    const Counted got = count(*build_zoo_network(name, {.shapes_only = true}));
    EXPECT_EQ(got.parameters, want.parameters);
    if (want.multiply_adds > 0) {
      EXPECT_NEAR(static_cast<double>(got.multiply_adds) * 1e-9, want.multiply_adds,
                  want.tolerance);
    }
  }
}

// torchvision counts 27,161,264 parameters of Inception v3 with its head; Caffe's GoogLeNet with
// both heads has 13,378,280.
TEST(Zoo, TrainingHeadsHaveThePublishedSizes) {
  const ZooOptions heads = {.auxiliary = true, .shapes_only = true};
  EXPECT_EQ(count(*build_zoo_network("inception-v3", heads)).parameters, 27161264);
  EXPECT_EQ(count(*build_zoo_network("googlenet", heads)).parameters, 13378280);
}

// The widely used Caffe conversion of Inception v2 has 11,295,240 parameters. It differs from the
// paper's table: convolutions keep biases that batch normalisation makes redundant (9,952), and the
// pooling branches of 4c and 4d have 128 filters instead of 96 (90,304).
TEST(Zoo, InceptionV2IsThePapersTable) {
  EXPECT_EQ(count(*build_zoo_network("inception-v2", {.shapes_only = true})).parameters,
            11295240 - 9952 - 90304);
}

TEST(Zoo, EveryNetworkIsAValidGraphOfItsClasses) {
  for (const ZooEntry& e : zoo()) {
    SCOPED_TRACE(e.name);
    const auto g = build_zoo_network(e.name, {.classes = 7, .shapes_only = true});
    verify(g->graph());
    ASSERT_EQ(g->graph().output_count(), 1u);
    EXPECT_EQ(text_of(g->graph().output(0)->shape()),
              e.classes == 0 ? text_of(g->graph().inputs()[0]->shape()) : "[N,7]");
  }
}

TEST(Zoo, SeedsDecideTheWeights) {
  const auto first_weight = [](uint64_t seed) {
    const auto graph = build_zoo_network("lenet5", {.seed = seed})->take();
    for (const auto& n : graph->nodes())
      if (const Tensor* t = n->result()->constant(); t != nullptr && t->rank() == 4)
        return t->values<float>()[0];
    return std::nanf("");
  };
  EXPECT_EQ(first_weight(1), first_weight(1));
  EXPECT_NE(first_weight(1), first_weight(2));
}

TEST(Zoo, MistakesAreExplained) {
  try {
    build_zoo_network("resnet51");
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("did you mean 'resnet"), std::string::npos) << e.what();
  }
  EXPECT_THROW(build_zoo_network("lenet5", {.shapes_only = true})->take(), Error);
}

}  // namespace
}  // namespace tintype
