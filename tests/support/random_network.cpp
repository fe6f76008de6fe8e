// A generator of small networks: convolutions, pools, normalisations, branches, dense layers.
#include "tests/support/random_network.h"

#include "ir/builder.h"

#include <algorithm>
#include <random>
#include <span>

namespace tintype::test {

namespace {

using Integers = std::vector<int64_t>;

/// Grows a network of ONNX ops from a seed: some image layers, then some dense ones.
class Network {
 public:
  Network(uint64_t seed, DType dtype)
      : random_(seed), dtype_(dtype), graph_(std::make_unique<Graph>("network")), b_(*graph_) {}

  std::unique_ptr<Graph> build() {
    const Dim batch = chance(2) ? Dim::symbol("N") : Dim(pick(1, 3));
    Value* x = graph_->add_input("x", {dtype_, {batch, pick(1, 4), pick(5, 9), pick(5, 8)}});
    for (int64_t i = pick(1, 4); i > 0; --i) x = image_layer(x);
    x = features(x);
    for (int64_t i = pick(1, 4); i > 0; --i) x = dense_layer(x);
    graph_->add_output("y", x);
    if (chance(3)) graph_->add_output("z", b_.make("Softmax", {x}));
    return std::move(graph_);
  }

 private:
  int64_t pick(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(int64_t one_in) { return pick(1, one_in) == 1; }

  Value* parameter(Shape shape) {
    return graph_->add_input("p" + std::to_string(parameters_++), {dtype_, std::move(shape)});
  }
  Value* integers(const Integers& v) {
    return b_.constant(Tensor::from<int64_t>({static_cast<int64_t>(v.size())}, std::span(v)));
  }
  static int64_t extent(const Value* x, size_t axis) { return x->shape()[axis].value(); }

  Value* activation(Value* x) {
    static constexpr const char* kinds[] = {"Tanh",     "Sigmoid",   "Relu", "Gelu",
                                            "Softplus", "Elu",       "Mish", "Abs",
                                            "Sin",      "HardSwish", "Erf"};
    return b_.make(kinds[pick(0, std::size(kinds) - 1)], {x});
  }

  Value* convolution(Value* x) {
    const int64_t c = extent(x, 1);
    const int64_t group = c % 2 == 0 && chance(2) ? 2 : chance(4) ? c : 1;
    const Integers kernel = {pick(1, 3), pick(1, 3)};
    const Integers dilations = {kernel[0] < 3 ? pick(1, 2) : 1, 1};
    Value* w = parameter({group * pick(1, 2), c / group, kernel[0], kernel[1]});
    return b_.make("Conv", {x, w, parameter({w->shape()[0]})},
                   {{"strides", Integers{pick(1, 2), pick(1, 2)}},
                    {"pads", Integers{pick(0, 1), 1, 1, pick(0, 1)}},
                    {"dilations", dilations},
                    {"group", group}});
  }

  Value* transposed_convolution(Value* x) {
    if (extent(x, 2) > 9) return x;
    Value* w = parameter({x->shape()[1], pick(1, 3), pick(1, 3), pick(1, 3)});
    return b_.make("ConvTranspose", {x, w}, {{"strides", Integers{pick(1, 2), 1}}});
  }

  Value* pool(Value* x) {
    if (extent(x, 2) < 3 || extent(x, 3) < 3) return x;
    AttrMap attrs = {{"kernel_shape", Integers{pick(2, 3), pick(2, 3)}},
                     {"strides", Integers{pick(1, 2), pick(1, 2)}},
                     {"pads", Integers{pick(0, 1), 0, 1, pick(0, 1)}}};
    if (chance(2)) return b_.make("MaxPool", {x}, attrs);
    attrs.set("count_include_pad", pick(0, 1));
    return b_.make("AveragePool", {x}, attrs);
  }

  Value* normalization(Value* x) {
    const Shape c = {x->shape()[1]};
    if (chance(2))
      return b_.make("InstanceNormalization", {x, parameter(c), parameter(c)}, {{"epsilon", 0.1}});
    return b_
        .create("BatchNormalization", {x, parameter(c), parameter(c), parameter(c), parameter(c)},
                {{"training_mode", int64_t{1}}, {"epsilon", 0.1}}, 3)
        ->result();
  }

  /// x + f(x) with a factor per channel, or the two one after another.
  Value* branch(Value* x) {
    Value* y = activation(b_.make("Mul", {x, parameter({x->shape()[1], 1, 1})}));
    if (chance(2)) return b_.make("Add", {x, y});
    return b_.make("Concat", {x, y, x}, {{"axis", int64_t{1}}});
  }

  Value* cut_or_pad(Value* x) {
    if (chance(2)) {
      const int64_t step = pick(1, 2), start = pick(0, 1);
      if (extent(x, 2) < 3) return x;
      return b_.make("Slice",
                     {x, integers({start}), integers({1000}), integers({2}), integers({step})});
    }
    static constexpr const char* modes[] = {"constant", "edge", "reflect"};
    if (extent(x, 2) < 2 || extent(x, 3) < 2) return x;
    return b_.make("Pad", {x, integers({0, 0, 1, 0, 0, 0, pick(0, 1), 1})},
                   {{"mode", std::string(modes[pick(0, 2)])}});
  }

  Value* image_layer(Value* x) {
    switch (pick(0, 6)) {
      case 0: return transposed_convolution(x);
      case 1: return pool(x);
      case 2: return normalization(x);
      case 3: return branch(x);
      case 4: return cut_or_pad(x);
      default: return activation(convolution(x));
    }
  }

  Value* features(Value* x) {
    if (chance(2)) return b_.make("Flatten", {x});
    static constexpr const char* kinds[] = {"ReduceMean", "ReduceMax", "ReduceLogSumExp",
                                            "ReduceSumSquare", "ReduceMin"};
    return b_.make(kinds[pick(0, std::size(kinds) - 1)], {x, integers({2, 3})},
                   {{"keepdims", int64_t{0}}});
  }

  Value* dense_layer(Value* x) {
    const Dim width = x->shape()[1];
    switch (pick(0, 6)) {
      case 0:
        return b_.make("LayerNormalization", {x, parameter({width}), parameter({width})},
                       {{"epsilon", 0.1}});
      case 1: return b_.make("Mul", {x, b_.make("Softmax", {x})});
      case 2: {  // rows of a table, the same one several times
        Value* rows = b_.make("Gather", {parameter({4, width}), integers({1, 3, 1})});
        return b_.make("MatMul", {b_.make("MatMul", {x, b_.make("Transpose", {rows})}), rows});
      }
      case 3: return b_.make("Max", {x, parameter({width})});
      case 4:
        return b_.make("Div", {x, b_.make("Add", {b_.make("Exp", {b_.make("Tanh", {x})}),
                                                  parameter({1, width})})});
      case 5: {
        Value* k = integers({std::min<int64_t>(3, width.value())});
        return b_.create("TopK", {x, k}, {}, 2)->result();
      }
      default: {
        Value* w = parameter({width, pick(1, 5)});
        return activation(b_.make("Gemm", {x, w, parameter({w->shape()[1]})}));
      }
    }
  }

  std::mt19937_64 random_;
  DType dtype_;
  std::unique_ptr<Graph> graph_;
  Builder b_;
  int parameters_ = 0;
};

}  // namespace

std::unique_ptr<Graph> random_network(uint64_t seed, DType dtype) {
  return Network(seed, dtype).build();
}

}  // namespace tintype::test
