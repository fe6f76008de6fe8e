// Inception v2 (Ioffe & Szegedy 2015, figure 5) and v3 (Szegedy et al. 2015, table 1).
#include "frontend/zoo/zoo.h"

namespace tintype::zoo_networks {

namespace {

/// Convolution, batch normalisation, ReLU.
Variable cell(const Variable& x, const std::string& name, int64_t filters, Extent2 kernel,
              Extent2 stride, Extent2 padding) {
  return x
      .conv2d({.name = name,
               .filters = filters,
               .kernel = kernel,
               .stride = stride,
               .padding = padding,
               .bias = false})
      .batch_norm(seeded_norm(name + "_bn", 1, 1e-3))
      .relu();
}
/// The same with stride 1 and extents kept.
Variable cell(const Variable& x, const std::string& name, int64_t filters, Extent2 kernel) {
  return cell(x, name, filters, kernel, 1, {kernel.h / 2, kernel.w / 2});
}

Variable average(const Variable& x) {
  return x.avg_pool2d({.name = "pool", .kernel = 3, .stride = 1, .padding = 1, .count_pad = true});
}
Variable halve(const Variable& x, bool ceil) {
  return x.max_pool2d({.name = "pool", .kernel = 3, .stride = 2, .ceil = ceil});
}

/// A row of the table: filters of each branch; `one` is 0 in modules that halve the extents.
struct Module {
  const char* name;
  int64_t one, reduce3, three, reduce_double, twice, pool;
  bool max_pool = false;
};

Variable module_v2(GraphBuilder& g, const Variable& x, const Module& m) {
  const GraphBuilder::Scope scope(g, std::string("inception_") + m.name);
  const bool halves = m.one == 0;
  const Extent2 stride = halves ? 2 : 1;
  std::vector<Variable> branches;
  if (!halves) branches.push_back(cell(x, "1x1", m.one, 1));
  branches.push_back(cell(cell(x, "3x3_reduce", m.reduce3, 1), "3x3", m.three, 3, stride, 1));
  const Variable twice = cell(cell(x, "double_reduce", m.reduce_double, 1), "double_1", m.twice, 3);
  branches.push_back(cell(twice, "double_2", m.twice, 3, stride, 1));
  if (halves) {
    branches.push_back(halve(x, true));
  } else {
    const Variable pool =
        m.max_pool ? x.max_pool2d({.name = "pool", .kernel = 3, .stride = 1, .padding = 1})
                   : average(x);
    branches.push_back(cell(pool, "pool_proj", m.pool, 1));
  }
  return g.concat(branches, 1, "concat");
}

Variable module_a(GraphBuilder& g, const Variable& x, const std::string& name, int64_t pool) {
  const GraphBuilder::Scope scope(g, name);
  const Variable one = cell(x, "1x1", 64, 1);
  const Variable five = cell(cell(x, "5x5_1", 48, 1), "5x5_2", 64, 5);
  const Variable twice =
      cell(cell(cell(x, "double_1", 64, 1), "double_2", 96, 3), "double_3", 96, 3);
  return g.concat({one, five, twice, cell(average(x), "pool_proj", pool, 1)}, 1, "concat");
}

Variable module_b(GraphBuilder& g, const Variable& x, const std::string& name) {
  const GraphBuilder::Scope scope(g, name);
  const Variable three = cell(x, "3x3", 384, 3, 2, 0);
  const Variable twice = cell(cell(x, "double_1", 64, 1), "double_2", 96, 3);
  return g.concat({three, cell(twice, "double_3", 96, 3, 2, 0), halve(x, false)}, 1, "concat");
}

Variable module_c(GraphBuilder& g, const Variable& x, const std::string& name, int64_t width) {
  const GraphBuilder::Scope scope(g, name);
  const Extent2 row = {1, 7}, column = {7, 1};
  const Variable one = cell(x, "1x1", 192, 1);
  const Variable seven =
      cell(cell(cell(x, "7x7_1", width, 1), "7x7_2", width, row), "7x7_3", 192, column);
  Variable twice = cell(cell(x, "double_1", width, 1), "double_2", width, column);
  twice = cell(cell(twice, "double_3", width, row), "double_4", width, column);
  twice = cell(twice, "double_5", 192, row);
  return g.concat({one, seven, twice, cell(average(x), "pool_proj", 192, 1)}, 1, "concat");
}

Variable module_d(GraphBuilder& g, const Variable& x, const std::string& name) {
  const GraphBuilder::Scope scope(g, name);
  const Variable three = cell(cell(x, "3x3_1", 192, 1), "3x3_2", 320, 3, 2, 0);
  Variable seven = cell(cell(x, "7x7_1", 192, 1), "7x7_2", 192, {1, 7});
  seven = cell(cell(seven, "7x7_3", 192, {7, 1}), "7x7_4", 192, 3, 2, 0);
  return g.concat({three, seven, halve(x, false)}, 1, "concat");
}

Variable module_e(GraphBuilder& g, const Variable& x, const std::string& name) {
  const GraphBuilder::Scope scope(g, name);
  const Variable one = cell(x, "1x1", 320, 1);
  const Variable three = cell(x, "3x3_1", 384, 1);
  const Variable twice = cell(cell(x, "double_1", 448, 1), "double_2", 384, 3);
  return g.concat({one, cell(three, "3x3_2a", 384, {1, 3}), cell(three, "3x3_2b", 384, {3, 1}),
                   cell(twice, "double_3a", 384, {1, 3}), cell(twice, "double_3b", 384, {3, 1}),
                   cell(average(x), "pool_proj", 192, 1)},
                  1, "concat");
}

void head_v3(GraphBuilder& g, const ZooOptions& o, Variable x) {
  const GraphBuilder::Scope scope(g, "aux");
  x = cell(x.avg_pool2d({.name = "pool", .kernel = 5, .stride = 3}), "conv1", 128, 1);
  x = cell(x, "conv2", 768, 5, 1, 0).global_avg_pool().flatten();
  g.output("aux", x.linear({.name = "fc", .units = o.classes}).softmax());
}

}  // namespace

void inception_v2(GraphBuilder& g, const ZooOptions& o) {
  const Pool2d pool = {.kernel = 3, .stride = 2, .ceil = true};
  auto x = g.input("image", image_type(o, 3, 224, 224));
  x = cell(x, "conv1", 64, 7, 2, 3).max_pool2d(pool);
  x = cell(cell(x, "conv2_reduce", 64, 1), "conv2", 192, 3).max_pool2d(pool);
  for (const Module& m :
       {Module{"3a", 64, 64, 64, 64, 96, 32}, Module{"3b", 64, 64, 96, 64, 96, 64},
        Module{"3c", 0, 128, 160, 64, 96, 0}, Module{"4a", 224, 64, 96, 96, 128, 128},
        Module{"4b", 192, 96, 128, 96, 128, 128}, Module{"4c", 160, 128, 160, 128, 160, 96},
        Module{"4d", 96, 128, 192, 160, 192, 96}, Module{"4e", 0, 128, 192, 192, 256, 0},
        Module{"5a", 352, 192, 320, 160, 224, 128},
        Module{"5b", 352, 192, 320, 192, 224, 128, true}})
    x = module_v2(g, x, m);
  x = x.global_avg_pool().flatten();
  g.output("probabilities", x.linear({.name = "fc", .units = o.classes}).softmax());
}

void inception_v3(GraphBuilder& g, const ZooOptions& o) {
  const Pool2d pool = {.kernel = 3, .stride = 2};
  auto x = g.input("image", image_type(o, 3, 299, 299));
  x = cell(cell(x, "conv1", 32, 3, 2, 0), "conv2", 32, 3, 1, 0);
  x = cell(x, "conv3", 64, 3).max_pool2d(pool);
  x = cell(cell(x, "conv4", 80, 1), "conv5", 192, 3, 1, 0).max_pool2d(pool);
  x = module_a(g, module_a(g, module_a(g, x, "a1", 32), "a2", 64), "a3", 64);
  x = module_b(g, x, "b");
  x = module_c(g, module_c(g, x, "c1", 128), "c2", 160);
  x = module_c(g, module_c(g, x, "c3", 160), "c4", 192);
  const Variable middle = x;
  x = module_e(g, module_e(g, module_d(g, x, "d"), "e1"), "e2");
  x = x.global_avg_pool().flatten().dropout(0.5);
  g.output("probabilities", x.linear({.name = "fc", .units = o.classes}).softmax());
  if (o.auxiliary) head_v3(g, o, middle);
}

}  // namespace tintype::zoo_networks
