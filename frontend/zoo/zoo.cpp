// The list of networks, and what their definitions share.
#include "frontend/zoo/zoo.h"

#include "ir/diagnostic.h"

namespace tintype {

namespace {

template <int kDepth, bool kPreActivation>
void resnet_of(GraphBuilder& g, const ZooOptions& o) {
  zoo_networks::resnet(g, o, kDepth, kPreActivation);
}

template <zoo_networks::RowReader kReader>
void rows_of(GraphBuilder& g, const ZooOptions& o) {
  zoo_networks::rows(g, o, kReader);
}

constexpr std::string_view kResNet = "He et al. 2015, Deep Residual Learning for Image Recognition";
constexpr std::string_view kResNetV2 =
    "He et al. 2016, Identity Mappings in Deep Residual Networks";
constexpr std::string_view kVgg = "Simonyan & Zisserman 2014, Very Deep Convolutional Networks";

using namespace zoo_networks;
constexpr ZooEntry kZoo[] = {
    {"mlp", "two hidden layers of 512 rectified units, 28x28 digits",
     "Rumelhart, Hinton & Williams 1986; rectified units: Glorot, Bordes & Bengio 2011", 10, mlp},
    {"lenet5", "LeNet-5 with full connections, 28x28 digits",
     "LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition", 10, lenet5},
    {"autoencoder", "images through 32 numbers and back, 28x28 digits",
     "Hinton & Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks", 0,
     autoencoder},
    {"rnn-rows", "128 tanh units that read a 28x28 digit row by row",
     "Elman 1990, Finding Structure in Time", 10, rows_of<RowReader::rnn>},
    {"lstm-rows", "128 LSTM units that read a 28x28 digit row by row",
     "Hochreiter & Schmidhuber 1997; forget gates: Gers et al. 2000", 10, rows_of<RowReader::lstm>},
    {"gru-rows", "128 GRU units that read a 28x28 digit row by row",
     "Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder", 10,
     rows_of<RowReader::gru>},
    {"alexnet", "AlexNet as published: two groups, LRN, overlapping pooling",
     "Krizhevsky et al. 2012, ImageNet Classification with Deep CNNs", 1000, alexnet},
    {"alexnet-one-tower", "AlexNet without groups and LRN",
     "Krizhevsky 2014, One Weird Trick for Parallelizing CNNs", 1000, alexnet_one_tower},
    {"vgg16", "VGG, configuration D", kVgg, 1000, vgg16},
    {"vgg19", "VGG, configuration E", kVgg, 1000, vgg19},
    {"googlenet", "GoogLeNet (Inception v1)", "Szegedy et al. 2014, Going Deeper with Convolutions",
     1000, googlenet},
    {"inception-v2", "Inception with batch normalisation, 5x5 as two 3x3",
     "Ioffe & Szegedy 2015, Batch Normalization", 1000, inception_v2},
    {"inception-v3", "Inception v3, 299x299",
     "Szegedy et al. 2015, Rethinking the Inception Architecture", 1000, inception_v3},
    {"resnet18", "ResNet v1, basic blocks", kResNet, 1000, resnet_of<18, false>},
    {"resnet34", "ResNet v1, basic blocks", kResNet, 1000, resnet_of<34, false>},
    {"resnet50", "ResNet v1, bottleneck blocks", kResNet, 1000, resnet_of<50, false>},
    {"resnet101", "ResNet v1, bottleneck blocks", kResNet, 1000, resnet_of<101, false>},
    {"resnet152", "ResNet v1, bottleneck blocks", kResNet, 1000, resnet_of<152, false>},
    {"resnet18-v2", "ResNet v2, basic blocks", kResNetV2, 1000, resnet_of<18, true>},
    {"resnet34-v2", "ResNet v2, basic blocks", kResNetV2, 1000, resnet_of<34, true>},
    {"resnet50-v2", "ResNet v2, bottleneck blocks", kResNetV2, 1000, resnet_of<50, true>},
    {"resnet101-v2", "ResNet v2, bottleneck blocks", kResNetV2, 1000, resnet_of<101, true>},
    {"resnet152-v2", "ResNet v2, bottleneck blocks", kResNetV2, 1000, resnet_of<152, true>},
};

}  // namespace

std::span<const ZooEntry> zoo() { return kZoo; }

std::unique_ptr<GraphBuilder> build_zoo_network(std::string_view name, const ZooOptions& options) {
  std::vector<std::string> names;
  for (const ZooEntry& e : kZoo) {
    names.emplace_back(e.name);
    if (e.name != name) continue;
    if (options.classes < 0)
      throw Error("zoo: expected a positive number of classes, got " +
                  std::to_string(options.classes));
    ZooOptions o = options;
    if (o.classes == 0) o.classes = e.classes;
    auto g = std::make_unique<GraphBuilder>(
        std::string(name), GraphBuilderOptions{.seed = o.seed, .shapes_only = o.shapes_only});
    e.build(*g, o);
    return g;
  }
  throw Error("no network '" + std::string(name) + "' in the zoo" + did_you_mean(name, names) +
              "; `tintype zoo` lists them");
}

namespace zoo_networks {

TensorType image_type(const ZooOptions& o, int64_t channels, int64_t height, int64_t width) {
  const std::vector<int64_t> published = {channels, height, width};
  TensorType type = {DType::f32, {Dim::symbol("N")}};
  for (int64_t d : o.input.empty() ? published : o.input) type.shape.emplace_back(d);
  return type;
}

BatchNorm seeded_norm(const std::string& name, double scale, double epsilon) {
  return {.name = name,
          .epsilon = epsilon,
          .scale_init = init::uniform(0.8 * scale, 1.2 * scale),
          .bias_init = init::normal(0.05),
          .mean_init = init::normal(0.05),
          .variance_init = init::uniform(0.8, 1.2)};
}

}  // namespace zoo_networks

}  // namespace tintype
