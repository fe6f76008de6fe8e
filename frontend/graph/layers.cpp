// Layers of the graph API that have parameters: convolutions, linear maps, normalisations.
#include "frontend/graph/graph_builder.h"
#include "ir/diagnostic.h"

namespace tintype {

namespace {

std::vector<int64_t> both(const Extent2& e) { return {e.h, e.w}; }
std::vector<int64_t> twice(const Extent2& e) { return {e.h, e.w, e.h, e.w}; }

[[noreturn]] void wrong(const std::string& layer, const std::string& message) {
  throw Error(layer + ": " + message);
}

void require_positive(const std::string& layer, std::string_view what, const Extent2& e) {
  if (e.h < 1 || e.w < 1)
    wrong(layer, std::string(what) + " must be positive, got " + std::to_string(e.h) + "x" +
                     std::to_string(e.w));
}

void require_padding(const std::string& layer, const Extent2& padding) {
  if (padding.h < 0 || padding.w < 0)
    wrong(layer, "padding must not be negative, got " + std::to_string(padding.h) + "x" +
                     std::to_string(padding.w) + "; slice() crops");
}

/// Extent of an axis that must be known; checks the rank on the way.
int64_t static_axis(const std::string& layer, const Variable& x, int rank, int axis,
                    std::string_view what) {
  if (x.value()->rank() != rank)
    wrong(layer, "expected an input of rank " + std::to_string(rank) + ", got " +
                     x.value()->type().text());
  const Dim& d = x.shape()[static_cast<size_t>(axis)];
  if (!d.is_static())
    wrong(layer, std::string(what) + " must be a number, got " + x.value()->type().text());
  return d.value();
}

int64_t image_channels(const std::string& layer, const Variable& x, int64_t filters,
                       int64_t groups) {
  const int64_t channels = static_axis(layer, x, 4, 1, "the number of channels");
  if (filters < 1)
    wrong(layer, "expected a positive number of filters, got " + std::to_string(filters));
  if (groups < 1 || channels % groups != 0 || filters % groups != 0)
    wrong(layer, std::to_string(channels) + " channels and " + std::to_string(filters) +
                     " filters do not split into " + std::to_string(groups) + " groups");
  return channels;
}

/// A window larger than the padded image has no position at all.
void require_fit(const std::string& layer, const Variable& x, const Extent2& kernel,
                 const Extent2& padding, const Extent2& dilation) {
  const auto check = [&](size_t axis, int64_t k, int64_t p, int64_t d) {
    const Dim& n = x.shape()[axis];
    const int64_t reach = (k - 1) * d + 1;
    if (n.is_static() && n.value() + 2 * p < reach)
      wrong(layer, "a window of " + std::to_string(reach) + " does not fit an extent of " +
                       std::to_string(n.value()) + " with padding " + std::to_string(p) +
                       "; the input is " + x.value()->type().text());
  };
  check(2, kernel.h, padding.h, dilation.h);
  check(3, kernel.w, padding.w, dilation.w);
}

}  // namespace

Variable Variable::conv2d(const Conv2d& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("conv", o.name);
  const int64_t channels = image_channels(layer, *this, o.filters, o.groups);
  require_positive(layer, "the kernel", o.kernel);
  require_positive(layer, "the stride", o.stride);
  require_positive(layer, "the dilation", o.dilation);
  require_padding(layer, o.padding);
  require_fit(layer, *this, o.kernel, o.padding, o.dilation);
  const int64_t taps = o.kernel.h * o.kernel.w;
  const int64_t fan_in = channels / o.groups * taps;
  const int64_t fan_out = o.filters / o.groups * taps;
  std::vector<Variable> operands = {
      *this, g.parameter(layer, "weight", {o.filters, channels / o.groups, o.kernel.h, o.kernel.w},
                         o.weight_init, fan_in, fan_out)};
  if (o.bias) operands.push_back(g.parameter(layer, "bias", {o.filters}, o.bias_init, fan_in, 1));
  const Variable y = g.node(layer, "Conv", operands,
                            {{"dilations", both(o.dilation)},
                             {"group", o.groups},
                             {"kernel_shape", both(o.kernel)},
                             {"pads", twice(o.padding)},
                             {"strides", both(o.stride)}});
  return g.finish(layer, "conv", y, fan_in);
}

Variable Variable::conv_transpose2d(const ConvTranspose2d& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("conv_transpose", o.name);
  const int64_t channels = image_channels(layer, *this, o.filters, o.groups);
  require_positive(layer, "the kernel", o.kernel);
  require_positive(layer, "the stride", o.stride);
  require_padding(layer, o.padding);
  require_padding(layer, o.output_padding);
  const int64_t taps = o.kernel.h * o.kernel.w;
  const int64_t fan_in = channels / o.groups * taps;
  std::vector<Variable> operands = {
      *this, g.parameter(layer, "weight", {channels, o.filters / o.groups, o.kernel.h, o.kernel.w},
                         o.weight_init, fan_in, o.filters / o.groups * taps)};
  if (o.bias) operands.push_back(g.parameter(layer, "bias", {o.filters}, o.bias_init, fan_in, 1));
  const Variable y = g.node(layer, "ConvTranspose", operands,
                            {{"group", o.groups},
                             {"kernel_shape", both(o.kernel)},
                             {"output_padding", both(o.output_padding)},
                             {"pads", twice(o.padding)},
                             {"strides", both(o.stride)}});
  // All but one in stride^2 of the taps meet the zeros between input elements.
  return g.finish(layer, "conv_transpose", y, fan_in / (o.stride.h * o.stride.w));
}

// A matrix product per place: [places, N, C k k] x [places, C k k, filters].
Variable Variable::locally_connected2d(const LocallyConnected2d& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("local", o.name);
  const int64_t channels = image_channels(layer, *this, o.filters, 1);
  require_positive(layer, "the kernel", o.kernel);
  require_positive(layer, "the stride", o.stride);
  require_fit(layer, *this, o.kernel, 0, 1);
  const int64_t rows =
      (static_axis(layer, *this, 4, 2, "the height") - o.kernel.h) / o.stride.h + 1;
  const int64_t columns =
      (static_axis(layer, *this, 4, 3, "the width") - o.kernel.w) / o.stride.w + 1;
  const auto integers = [&](std::vector<int64_t> v) {
    return g.constant(Tensor::from<int64_t>({static_cast<int64_t>(v.size())}, v));
  };
  std::vector<Variable> taps;
  for (int64_t i = 0; i < o.kernel.h; ++i)
    for (int64_t j = 0; j < o.kernel.w; ++j)
      taps.push_back(
          g.node(layer, "Slice",
                 {*this, integers({i, j}),
                  integers({i + (rows - 1) * o.stride.h + 1, j + (columns - 1) * o.stride.w + 1}),
                  integers({2, 3}), integers({o.stride.h, o.stride.w})}));
  const int64_t places = rows * columns;
  const int64_t fan_in = channels * o.kernel.h * o.kernel.w;
  Variable patches = g.node(layer, "Concat", taps, {{"axis", int64_t{1}}});
  patches = g.node(layer, "Reshape", {patches, integers({0, fan_in, places})});
  patches = g.node(layer, "Transpose", {patches}, {{"perm", std::vector<int64_t>{2, 0, 1}}});
  const Variable weight =
      g.parameter(layer, "weight", {places, fan_in, o.filters}, o.weight_init, fan_in, o.filters);
  Variable y = g.node(layer, "MatMul", {patches, weight});
  y = g.node(layer, "Transpose", {y}, {{"perm", std::vector<int64_t>{1, 2, 0}}});
  y = g.node(layer, "Reshape", {y, integers({0, o.filters, rows, columns})});
  if (o.bias)
    y = g.node(layer, "Add",
               {y, g.parameter(layer, "bias", {o.filters, rows, columns}, o.bias_init, fan_in, 1)});
  return g.finish(layer, "local", y, fan_in);
}

Variable Variable::linear(const Linear& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("fc", o.name);
  const int rank = value_->rank();
  if (rank != 2 && rank != 3)
    wrong(layer, "expected an input [N, features] or N,T,features, got " + value_->type().text() +
                     (rank > 3 ? "; flatten() comes first" : ""));
  const int64_t features = static_axis(layer, *this, rank, rank - 1, "the number of features");
  if (o.units < 1)
    wrong(layer, "expected a positive number of units, got " + std::to_string(o.units));
  const Variable weight =
      g.parameter(layer, "weight", {o.units, features}, o.weight_init, features, o.units);
  std::vector<Variable> bias;
  if (o.bias) bias.push_back(g.parameter(layer, "bias", {o.units}, o.bias_init, features, 1));
  if (rank == 2) {
    std::vector<Variable> operands = {*this, weight};
    operands.insert(operands.end(), bias.begin(), bias.end());
    return g.finish(layer, "linear", g.node(layer, "Gemm", operands, {{"transB", int64_t{1}}}),
                    features);
  }
  const Variable turned =
      g.node(layer, "Transpose", {weight}, {{"perm", std::vector<int64_t>{1, 0}}});
  Variable y = g.node(layer, "MatMul", {*this, turned});
  if (o.bias) y = g.node(layer, "Add", {y, bias[0]});
  return g.finish(layer, "linear", y, features);
}

Variable Variable::batch_norm(const BatchNorm& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("bn", o.name);
  if (value_->rank() < 2) wrong(layer, "expected an input N,C,..., got " + value_->type().text());
  const int64_t channels = static_axis(layer, *this, value_->rank(), 1, "the number of channels");
  const auto p = [&](std::string_view which, const Initializer& how, bool trainable) {
    return g.parameter(layer, which, {channels}, how, 1, 1, trainable);
  };
  const Variable y =
      g.node(layer, "BatchNormalization",
             {*this, p("weight", o.scale_init, true), p("bias", o.bias_init, true),
              p("running_mean", o.mean_init, false), p("running_var", o.variance_init, false)},
             {{"epsilon", o.epsilon}});
  return g.finish(layer, "batch_norm", y);
}

Variable Variable::layer_norm(const LayerNorm& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("ln", o.name);
  if (value_->rank() < 1) wrong(layer, "expected an input of rank 1 or more, got a scalar");
  const int64_t features =
      static_axis(layer, *this, value_->rank(), value_->rank() - 1, "the last extent");
  const Variable y = g.node(layer, "LayerNormalization",
                            {*this, g.parameter(layer, "weight", {features}, init::ones(), 1, 1),
                             g.parameter(layer, "bias", {features}, init::zeros(), 1, 1)},
                            {{"axis", int64_t{-1}}, {"epsilon", o.epsilon}});
  return g.finish(layer, "layer_norm", y);
}

Variable Variable::pool(std::string_view op, std::string_view stem, const Pool2d& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin(stem, o.name);
  if (value_->rank() != 4) wrong(layer, "expected an input N,C,H,W, got " + value_->type().text());
  require_positive(layer, "the kernel", o.kernel);
  require_padding(layer, o.padding);
  if (o.padding.h >= o.kernel.h || o.padding.w >= o.kernel.w)
    wrong(layer, "padding must be smaller than the kernel: some windows would see nothing else");
  require_fit(layer, *this, o.kernel, o.padding, 1);
  const Extent2 stride = o.stride.h == 0 && o.stride.w == 0 ? o.kernel : o.stride;
  require_positive(layer, "the stride", stride);
  AttrMap attrs = {{"ceil_mode", int64_t{o.ceil}},
                   {"kernel_shape", both(o.kernel)},
                   {"pads", twice(o.padding)},
                   {"strides", both(stride)}};
  if (op == "AveragePool") attrs.set("count_include_pad", int64_t{o.count_pad});
  if (op == "LpPool") attrs.set("p", o.p);
  return g.finish(layer, stem, g.node(layer, op, {*this}, std::move(attrs)));
}

Variable Variable::max_pool2d(const Pool2d& o) const { return pool("MaxPool", "max_pool", o); }
Variable Variable::avg_pool2d(const Pool2d& o) const { return pool("AveragePool", "avg_pool", o); }
Variable Variable::lp_pool2d(const Pool2d& o) const { return pool("LpPool", "lp_pool", o); }

}  // namespace tintype
