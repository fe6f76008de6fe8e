// Residual networks: v1 (He et al. 2015, table 1) and v2, with activations before convolutions
// (He et al. 2016, figure 4e).
#include "frontend/zoo/zoo.h"

namespace tintype::zoo_networks {

namespace {

// Each block adds a little to what it passes on, so that the sum of fifty blocks stays in range.
constexpr double kBranchScale = 0.2;

struct Block {
  int64_t width;
  int64_t stride;
  bool bottleneck;
  int64_t filters() const { return bottleneck ? 4 * width : width; }
};

Conv2d conv(const char* name, int64_t filters, int64_t kernel, int64_t stride, double gain = 1) {
  return {.name = name,
          .filters = filters,
          .kernel = kernel,
          .stride = stride,
          .padding = kernel / 2,
          .bias = false,
          .weight_init = init::he_normal(gain)};
}

bool changes_shape(const Variable& x, const Block& b) {
  return b.stride != 1 || !(x.shape()[1] == Dim(b.filters()));
}

Variable block_v1(Variable x, const Block& b) {
  Variable shortcut = x;
  if (changes_shape(x, b))
    shortcut =
        x.conv2d(conv("project", b.filters(), 1, b.stride)).batch_norm(seeded_norm("bn_project"));
  Variable y = x;
  if (b.bottleneck) {
    y = y.conv2d(conv("conv1", b.width, 1, b.stride)).batch_norm(seeded_norm("bn1")).relu();
    y = y.conv2d(conv("conv2", b.width, 3, 1)).batch_norm(seeded_norm("bn2")).relu();
    y = y.conv2d(conv("conv3", b.filters(), 1, 1)).batch_norm(seeded_norm("bn3", kBranchScale));
  } else {
    y = y.conv2d(conv("conv1", b.width, 3, b.stride)).batch_norm(seeded_norm("bn1")).relu();
    y = y.conv2d(conv("conv2", b.filters(), 3, 1)).batch_norm(seeded_norm("bn2", kBranchScale));
  }
  return y.add(shortcut).relu();
}

Variable block_v2(Variable x, const Block& b) {
  const Variable active = x.batch_norm(seeded_norm("bn1")).relu();
  const Variable shortcut =
      changes_shape(x, b) ? active.conv2d(conv("project", b.filters(), 1, b.stride)) : x;
  Variable y = active;
  if (b.bottleneck) {
    y = y.conv2d(conv("conv1", b.width, 1, 1)).batch_norm(seeded_norm("bn2")).relu();
    y = y.conv2d(conv("conv2", b.width, 3, b.stride)).batch_norm(seeded_norm("bn3")).relu();
    y = y.conv2d(conv("conv3", b.filters(), 1, 1, kBranchScale));
  } else {
    y = y.conv2d(conv("conv1", b.width, 3, b.stride)).batch_norm(seeded_norm("bn2")).relu();
    y = y.conv2d(conv("conv2", b.filters(), 3, 1, kBranchScale));
  }
  return y.add(shortcut);
}

std::vector<int> blocks_of(int depth) {
  switch (depth) {
    case 18: return {2, 2, 2, 2};
    case 34:
    case 50: return {3, 4, 6, 3};
    case 101: return {3, 4, 23, 3};
    default: return {3, 8, 36, 3};
  }
}

}  // namespace

void resnet(GraphBuilder& g, const ZooOptions& o, int depth, bool pre_activation) {
  auto x = g.input("image", image_type(o, 3, 224, 224));
  x = x.conv2d(conv("conv1", 64, 7, 2));
  if (!pre_activation) x = x.batch_norm(seeded_norm("bn1")).relu();
  x = x.max_pool2d({.kernel = 3, .stride = 2, .padding = 1});
  const std::vector<int> blocks = blocks_of(depth);
  for (size_t stage = 0; stage < blocks.size(); ++stage) {
    const GraphBuilder::Scope stage_scope(g, "layer" + std::to_string(stage + 1));
    for (int i = 0; i < blocks[stage]; ++i) {
      const GraphBuilder::Scope block_scope(g, std::to_string(i));
      const Block b = {int64_t{64} << stage, stage > 0 && i == 0 ? 2 : 1, depth >= 50};
      x = pre_activation ? block_v2(x, b) : block_v1(x, b);
    }
  }
  if (pre_activation) x = x.batch_norm(seeded_norm("bn_last")).relu();
  x = x.global_avg_pool().flatten();
  g.output("scores",
           x.linear({.name = "fc", .units = o.classes, .weight_init = init::lecun_normal()}));
}

}  // namespace tintype::zoo_networks
