// MLP, autoencoder, LeNet-5, AlexNet and VGG: plain stacks of convolutions, pooling and linear
// layers.
#include "frontend/zoo/zoo.h"

namespace tintype::zoo_networks {

namespace {

/// Two hidden layers of 4096 units with dropout, as AlexNet and VGG end.
Variable hidden_layers(Variable x) {
  for (const char* name : {"fc6", "fc7"})
    x = x.linear({.name = name, .units = 4096, .weight_init = init::he_normal()})
            .relu()
            .dropout(0.5);
  return x;
}

}  // namespace

void mlp(GraphBuilder& g, const ZooOptions& o) {
  auto x = g.input("image", image_type(o, 1, 28, 28));
  if (x.value()->rank() != 2) x = x.flatten();
  for (const char* name : {"fc1", "fc2"})
    x = x.linear({.name = name, .units = 512, .weight_init = init::he_normal()}).relu();
  g.output("scores", x.linear({.name = "output", .units = o.classes}));
}

void lenet5(GraphBuilder& g, const ZooOptions& o) {
  const Initializer weights = init::lecun_normal();
  auto x = g.input("image", image_type(o, 1, 28, 28));
  x = x.conv2d({.name = "c1", .filters = 6, .kernel = 5, .padding = 2, .weight_init = weights})
          .tanh();
  x = x.avg_pool2d({.name = "s2", .kernel = 2});
  x = x.conv2d({.name = "c3", .filters = 16, .kernel = 5, .weight_init = weights}).tanh();
  x = x.avg_pool2d({.name = "s4", .kernel = 2}).flatten();
  x = x.linear({.name = "c5", .units = 120}).tanh();
  x = x.linear({.name = "f6", .units = 84}).tanh();
  g.output("scores", x.linear({.name = "output", .units = o.classes}));
}

void autoencoder(GraphBuilder& g, const ZooOptions& o) {
  constexpr int64_t kHidden = 128, kCode = 32;
  const auto image = g.input("image", image_type(o, 1, 28, 28));
  std::vector<int64_t> extents = {-1};
  int64_t elements = 1;
  for (size_t i = 1; i < image.shape().size(); ++i) {
    extents.push_back(image.shape()[i].value());
    elements *= extents.back();
  }
  const Initializer weights = init::he_normal();
  auto x = image.flatten();
  x = x.linear({.name = "encoder1", .units = kHidden, .weight_init = weights}).silu();
  x = x.linear({.name = "code", .units = kCode});
  x = x.linear({.name = "decoder1", .units = kHidden, .weight_init = weights}).silu();
  x = x.linear({.name = "decoder2", .units = elements}).sigmoid();
  g.output("reconstruction", x.reshape(extents));
}

void alexnet(GraphBuilder& g, const ZooOptions& o) {
  // The paper's alpha = 1e-4 multiplies the sum itself; here it is divided by the 5 channels.
  const Lrn lrn = {.size = 5, .alpha = 5e-4, .beta = 0.75, .bias = 2};
  const Pool2d pool = {.kernel = 3, .stride = 2};
  auto x = g.input("image", image_type(o, 3, 227, 227));
  x = x.conv2d({.name = "conv1", .filters = 96, .kernel = 11, .stride = 4}).relu().lrn(lrn);
  x = x.max_pool2d(pool);
  x = x.conv2d({.name = "conv2", .filters = 256, .kernel = 5, .padding = 2, .groups = 2}).relu();
  x = x.lrn(lrn).max_pool2d(pool);
  x = x.conv2d({.name = "conv3", .filters = 384, .kernel = 3, .padding = 1}).relu();
  x = x.conv2d({.name = "conv4", .filters = 384, .kernel = 3, .padding = 1, .groups = 2}).relu();
  x = x.conv2d({.name = "conv5", .filters = 256, .kernel = 3, .padding = 1, .groups = 2}).relu();
  x = hidden_layers(x.max_pool2d(pool).flatten());
  g.output("scores", x.linear({.name = "fc8", .units = o.classes}));
}

void alexnet_one_tower(GraphBuilder& g, const ZooOptions& o) {
  const Pool2d pool = {.kernel = 3, .stride = 2};
  auto x = g.input("image", image_type(o, 3, 224, 224));
  x = x.conv2d({.name = "conv1", .filters = 64, .kernel = 11, .stride = 4, .padding = 2}).relu();
  x = x.max_pool2d(pool);
  x = x.conv2d({.name = "conv2", .filters = 192, .kernel = 5, .padding = 2})
          .relu()
          .max_pool2d(pool);
  x = x.conv2d({.name = "conv3", .filters = 384, .kernel = 3, .padding = 1}).relu();
  x = x.conv2d({.name = "conv4", .filters = 256, .kernel = 3, .padding = 1}).relu();
  x = x.conv2d({.name = "conv5", .filters = 256, .kernel = 3, .padding = 1}).relu();
  x = hidden_layers(x.max_pool2d(pool).flatten());
  g.output("scores", x.linear({.name = "fc8", .units = o.classes}));
}

namespace {

/// `depths` convolutions per stage, as in table 1 of the paper.
void vgg(GraphBuilder& g, const ZooOptions& o, const std::vector<int>& depths) {
  auto x = g.input("image", image_type(o, 3, 224, 224));
  const int64_t filters[] = {64, 128, 256, 512, 512};
  for (size_t stage = 0; stage < depths.size(); ++stage) {
    for (int i = 1; i <= depths[stage]; ++i)
      x = x.conv2d({.name = "conv" + std::to_string(stage + 1) + "_" + std::to_string(i),
                    .filters = filters[stage],
                    .kernel = 3,
                    .padding = 1})
              .relu();
    x = x.max_pool2d({.kernel = 2});
  }
  x = hidden_layers(x.flatten());
  g.output("scores", x.linear({.name = "fc8", .units = o.classes}));
}

}  // namespace

void vgg16(GraphBuilder& g, const ZooOptions& o) { vgg(g, o, {2, 2, 3, 3, 3}); }
void vgg19(GraphBuilder& g, const ZooOptions& o) { vgg(g, o, {2, 2, 4, 4, 4}); }

}  // namespace tintype::zoo_networks
