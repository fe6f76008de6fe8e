// GoogLeNet (Szegedy et al. 2014, table 1) with its two training heads.
#include "frontend/zoo/zoo.h"

namespace tintype::zoo_networks {

namespace {

/// A row of table 1: filters of each branch.
struct Inception {
  const char* name;
  int64_t one, reduce3, three, reduce5, five, pool;
};

Variable conv(const Variable& x, const char* name, int64_t filters, int64_t kernel,
              int64_t stride = 1) {
  return x
      .conv2d({.name = name,
               .filters = filters,
               .kernel = kernel,
               .stride = stride,
               .padding = kernel / 2,
               .bias_init = init::constant(0.05)})
      .relu();
}

Variable inception(GraphBuilder& g, const Variable& x, const Inception& m) {
  const GraphBuilder::Scope scope(g, std::string("inception_") + m.name);
  const Variable one = conv(x, "1x1", m.one, 1);
  const Variable three = conv(conv(x, "3x3_reduce", m.reduce3, 1), "3x3", m.three, 3);
  const Variable five = conv(conv(x, "5x5_reduce", m.reduce5, 1), "5x5", m.five, 5);
  const Variable pool = x.max_pool2d({.name = "pool", .kernel = 3, .stride = 1, .padding = 1});
  return g.concat({one, three, five, conv(pool, "pool_proj", m.pool, 1)}, 1, "concat");
}

void head(GraphBuilder& g, const ZooOptions& o, Variable x, const std::string& name) {
  const GraphBuilder::Scope scope(g, name);
  x = x.avg_pool2d({.name = "pool", .kernel = 5, .stride = 3});
  x = conv(x, "conv", 128, 1).flatten();
  x = x.linear({.name = "fc1", .units = 1024, .weight_init = init::he_normal()})
          .relu()
          .dropout(0.7);
  g.output(name, x.linear({.name = "fc2", .units = o.classes}).softmax());
}

}  // namespace

void googlenet(GraphBuilder& g, const ZooOptions& o) {
  const Pool2d pool = {.kernel = 3, .stride = 2, .ceil = true};
  auto x = g.input("image", image_type(o, 3, 224, 224));
  x = conv(x, "conv1", 64, 7, 2).max_pool2d(pool).lrn();
  x = conv(conv(x, "conv2_reduce", 64, 1), "conv2", 192, 3).lrn().max_pool2d(pool);
  x = inception(g, x, {"3a", 64, 96, 128, 16, 32, 32});
  x = inception(g, x, {"3b", 128, 128, 192, 32, 96, 64}).max_pool2d(pool);
  x = inception(g, x, {"4a", 192, 96, 208, 16, 48, 64});
  const Variable first = x;
  x = inception(g, x, {"4b", 160, 112, 224, 24, 64, 64});
  x = inception(g, x, {"4c", 128, 128, 256, 24, 64, 64});
  x = inception(g, x, {"4d", 112, 144, 288, 32, 64, 64});
  const Variable second = x;
  x = inception(g, x, {"4e", 256, 160, 320, 32, 128, 128}).max_pool2d(pool);
  x = inception(g, x, {"5a", 256, 160, 320, 32, 128, 128});
  x = inception(g, x, {"5b", 384, 192, 384, 48, 128, 128});
  x = x.global_avg_pool().flatten().dropout(0.4);
  g.output("probabilities", x.linear({.name = "fc", .units = o.classes}).softmax());
  if (!o.auxiliary) return;
  head(g, o, first, "aux1");
  head(g, o, second, "aux2");
}

}  // namespace tintype::zoo_networks
