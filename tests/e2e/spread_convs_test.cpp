// Transposed convolutions, and gradients of convolutions with strides, over random windows,
// strides, dilations, paddings and groups: compiled, they are what the host makes of the ops as
// they stand, and no kernel multiplies the zeros between the elements.
#include "ir/builder.h"
#include "ir/print.h"
#include "passes/autodiff.h"
#include "passes/pass_manager.h"
#include "tests/support/host_results.h"
#include "tools/driver/driver.h"

#include <gtest/gtest.h>
#include <random>

namespace tintype::test {
namespace {

using Integers = std::vector<int64_t>;

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  int64_t between(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }
  Integers list(size_t count, int64_t least, int64_t most) {
    Integers all(count);
    for (int64_t& v : all) v = between(least, most);
    return all;
  }

 private:
  std::mt19937_64 random_;
};

/// What a convolution in one to three dimensions has, drawn at random.
struct Window {
  explicit Window(Draw& d)
      : spatial(static_cast<size_t>(d.between(1, 3))), group(d.between(1, 2)),
        kernel(d.list(spatial, 1, 5)), strides(d.list(spatial, 1, 3)),
        dilations(d.list(spatial, 1, 2)), extents(d.list(spatial, 1, spatial == 3 ? 4 : 9)) {
    for (size_t i = 0; i < 2 * spatial; ++i) {
      const size_t axis = i % spatial;
      const int64_t reach = (kernel[axis] - 1) * dilations[axis];
      // Some pads crop what only one place of the window gives.
      pads.push_back(d.between(0, std::min(reach, (extents[axis] - 1) * strides[axis] / 2)));
    }
  }

  Shape shape(std::initializer_list<Dim> front) const {
    Shape s = front;
    s.insert(s.end(), extents.begin(), extents.end());
    return s;
  }
  Shape weights(int64_t a, int64_t b) const {
    Shape s = {a, b};
    s.insert(s.end(), kernel.begin(), kernel.end());
    return s;
  }
  AttrMap attrs() const {
    return {{"kernel_shape", kernel},
            {"strides", strides},
            {"dilations", dilations},
            {"pads", pads},
            {"group", group}};
  }

  size_t spatial;
  int64_t group;
  Integers kernel, strides, dilations, extents, pads;
};

/// Convolutions over inputs with zeros between the elements.
int spread_convs(const Graph& graph) {
  int count = 0;
  for (const auto& n : graph.nodes()) {
    if (!n->is("conv")) continue;
    const Node* from = n->operand(0)->def();
    while (from != nullptr && (from->is("transpose") || from->is("pad")))
      from = from->operand(0)->def();
    count += from != nullptr && from->is("dilate") ? 1 : 0;
  }
  return count;
}

/// relu(ConvTranspose(x, w, b)), with a sum over everything to differentiate where that is wanted.
std::unique_ptr<Graph> transposed(Draw& d, bool differentiated) {
  const Window w(d);
  auto graph = std::make_unique<Graph>("transposed");
  Builder b(*graph);
  const int64_t in = w.group * d.between(1, 9), out = d.between(1, 17);
  Value* x = graph->add_input("x", {DType::f32, w.shape({Dim::symbol("N"), in})});
  Value* weights = graph->add_input("w", {DType::f32, w.weights(in, out)});
  Value* bias = graph->add_input("b", {DType::f32, {out * w.group}});
  AttrMap attrs = w.attrs();
  Integers more;
  for (int64_t s : w.strides) more.push_back(d.between(0, s - 1));
  attrs.set("output_padding", more);
  Value* y = b.make("Relu", {b.make("ConvTranspose", {x, weights, bias}, attrs)});
  graph->add_output("y", y);
  if (!differentiated) return graph;
  run_pipeline(*graph, parse_pipeline("decompose,split-phases"));
  Value* loss = graph->output(0);
  Builder end(*graph);
  Integers axes;
  for (int64_t i = 0; i < loss->rank(); ++i) axes.push_back(i);
  loss = end.reshape(end.reduce("reduce_sum", end.mul(loss, loss), axes), {});
  for (Value* g : gradients(*graph, loss, std::vector<Value*>{x, weights, bias}))
    graph->add_output("gradient" + std::to_string(graph->output_count()), g);
  return graph;
}

/// The gradients of a convolution with strides.
std::unique_ptr<Graph> strided(Draw& d) {
  Window w(d);
  for (size_t i = 0; i < w.spatial; ++i) w.extents[i] += (w.kernel[i] - 1) * w.dilations[i];
  auto graph = std::make_unique<Graph>("strided");
  Builder b(*graph);
  const int64_t in = d.between(1, 9), out = w.group * d.between(1, 9);
  Value* x = graph->add_input("x", {DType::f32, w.shape({Dim::symbol("N"), in * w.group})});
  Value* weights = graph->add_input("w", {DType::f32, w.weights(out, in)});
  graph->add_output("y", b.make("Conv", {x, weights}, w.attrs()));
  run_pipeline(*graph, parse_pipeline("decompose"));
  Builder end(*graph);
  Value* y = graph->output(0);
  Integers axes;
  for (int64_t i = 0; i < y->rank(); ++i) axes.push_back(i);
  Value* loss = end.reshape(end.reduce("reduce_sum", end.mul(y, y), axes), {});
  for (Value* g : gradients(*graph, loss, std::vector<Value*>{x, weights}))
    graph->add_output("gradient" + std::to_string(graph->output_count()), g);
  return graph;
}

void expect_same(const Graph& graph, const std::string& what) {
  SCOPED_TRACE(what);
  const HostResults host(graph, small_symbols(graph), 3);
  host.expect_of(compile_graph(graph.clone(), {}).model, 2e-5);
}

/// Returns how many inputs were spread; none stays so.
int expect_split(const Graph& graph, const std::string& what) {
  SCOPED_TRACE(what);
  const auto split = graph.clone();
  run_pipeline(*split, parse_pipeline("decompose"));
  const int before = spread_convs(*split);
  run_pipeline(*split, parse_pipeline("canonical"));
  EXPECT_EQ(spread_convs(*split), 0) << print(*split);
  expect_same(graph, what);
  return before;
}

class SpreadConvs : public testing::TestWithParam<uint64_t> {};

TEST_P(SpreadConvs, AreWhatTheOpsSay) {
  Draw d(GetParam());
  int split = 0;
  for (int i = 0; i < 4; ++i) {
    split += expect_split(*transposed(d, false), "transposed " + std::to_string(i));
    split += expect_split(*strided(d), "strided " + std::to_string(i));
  }
  expect_same(*transposed(d, true), "gradients of transposed");
  EXPECT_GE(split, 3) << "of eight";
}

INSTANTIATE_TEST_SUITE_P(Seeds, SpreadConvs, testing::Range<uint64_t>(0, 8));

}  // namespace
}  // namespace tintype::test
