// Networks of the fixtures, built with the graph API.
#include "tests/train/networks.h"

#include "frontend/graph/recurrent.h"
#include "frontend/train/parameters.h"
#include "frontend/zoo/zoo.h"

#include <cmath>

namespace tintype::test {

namespace {

/// RESNET_EPSILON of make_training_fixtures.py, which says why.
constexpr double kResNetEpsilon = 1.0;

uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t word(uint64_t seed, int64_t i) {
  return mix(seed * 0x100000001u + (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15u);
}

void mlp(GraphBuilder& g) {
  auto x = g.input("x", f32("N", 20));
  g.output("y", x.linear({.units = 32}).tanh().linear({.units = 16}).relu().linear({.units = 5}));
}

void lenet(GraphBuilder& g) {
  auto x = g.input("x", f32("N", 1, 28, 28));
  x = x.conv2d({.filters = 6, .kernel = 5, .padding = 2}).tanh().avg_pool2d({.kernel = 2});
  x = x.conv2d({.filters = 16, .kernel = 5}).tanh().avg_pool2d({.kernel = 2}).flatten();
  g.output("y", x.linear({.units = 120}).tanh().linear({.units = 84}).tanh().linear({.units = 10}));
}

void normed(GraphBuilder& g) {
  auto x = g.input("x", f32("N", 2, 8, 8));
  x = x.conv2d({.filters = 4, .kernel = 3, .stride = 2, .padding = 1, .bias = false}).batch_norm();
  g.output("y", x.relu().max_pool2d({.kernel = 2}).flatten().linear({.units = 3}));
}

void lstm(GraphBuilder& g) {
  const auto x = g.input("x", f32("N", 5, 6));
  g.output("y", last_step(x.lstm({.units = 8}).y).linear({.units = 3}));
}

void fill(Graph& graph) {
  uint64_t seed = 100;
  int64_t fan = 1;
  for (const Parameter& p : find_parameters(graph)) {
    const std::vector<int64_t> dims = p.value->constant()->dims();
    if (dims.size() > 1) fan = p.value->constant()->size() / dims[0];
    const double bound = 1 / std::sqrt(static_cast<double>(fan));
    const bool scale = dims.size() == 1 && p.value->name().ends_with("weight");
    p.value->def()->attrs().set("value", scale ? uniform_tensor(seed, dims, 0.5, 1.5)
                                               : uniform_tensor(seed, dims, -bound, bound));
    ++seed;
  }
}

}  // namespace

Tensor uniform_tensor(uint64_t seed, const std::vector<int64_t>& dims, double low, double high) {
  Tensor t = Tensor::empty(DType::f32, dims);
  const std::span<float> out = t.mutable_values<float>();
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(
        low +
        (high - low) * (static_cast<double>(word(seed, static_cast<int64_t>(i)) >> 11) * 0x1p-53));
  return t;
}

std::unique_ptr<Graph> make_network(const std::string& name) {
  if (name == "resnet18") {
    const ZooOptions options = {.input = {3, 32, 32}, .classes = 10};
    std::unique_ptr<Graph> graph = build_zoo_network(name, options)->take();
    graph->inputs()[0]->set_name("x");
    for (const auto& n : graph->nodes())
      if (n->is("BatchNormalization")) n->attrs().set("epsilon", kResNetEpsilon);
    fill(*graph);
    return graph;
  }
  GraphBuilder g(name);
  if (name == "mlp") mlp(g);
  else if (name == "lenet") lenet(g);
  else if (name == "lstm") lstm(g);
  else normed(g);
  std::unique_ptr<Graph> graph = g.take();
  fill(*graph);
  return graph;
}

std::map<std::string, Tensor> make_examples(const std::string& name, int64_t count) {
  std::vector<int64_t> dims = {count, 20};
  uint64_t classes = 5;
  if (name == "lenet") dims = {count, 1, 28, 28}, classes = 10;
  if (name == "resnet18") dims = {count, 3, 32, 32}, classes = 10;
  if (name == "normed") dims = {count, 2, 8, 8}, classes = 3;
  if (name == "lstm") dims = {count, 5, 6}, classes = 3;
  Tensor labels = Tensor::empty(DType::i64, {count});
  for (int64_t i = 0; i < count; ++i)
    labels.mutable_values<int64_t>()[static_cast<size_t>(i)] =
        static_cast<int64_t>(word(8, i) % classes);
  return {{"x", uniform_tensor(7, dims, -1, 1)}, {"target", labels}};
}

}  // namespace tintype::test
