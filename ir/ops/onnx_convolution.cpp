// Convolutions of ONNX in terms of the channels-last core ops.
#include "ir/ops/decompose.h"

#include <numeric>

namespace tintype::ops {

namespace {

std::vector<int64_t> kernel_of(const Node& n, const Shape& weights) {
  std::vector<int64_t> kernel;
  for (size_t i = 2; i < weights.size(); ++i) {
    if (!weights[i].is_static())
      fail(n, "the window of the weights must be static, got " + text_of(weights));
    kernel.push_back(weights[i].value());
  }
  const auto stated = n.attrs().integers("kernel_shape", kernel);
  if (stated != kernel)
    fail(n, "kernel_shape disagrees with weights " + n.operand(1)->type().text());
  return kernel;
}

Value* add_bias(Builder& b, const Node& n, Value* y) {
  Value* bias = n.operand(2);
  if (bias == nullptr) return y;
  if (bias->rank() != 1 || !(bias->shape()[0] == y->shape().back()))
    fail(n, "bias " + bias->type().text() + " does not fit " + y->shape().back().text() +
                " output channels");
  return b.add(y, bias);
}

// Conv(x, w, bias) = transpose(conv(pad(transpose(x)), transpose(w)) + bias)
Values conv(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* w = n.operand(1);
  if (x->rank() < 3 || w->rank() != x->rank())
    fail(n, "input " + x->type().text() + " and weights " + w->type().text() +
                " must have the same rank, 3 or more");
  const int64_t group = n.attrs().integer("group", 1);
  if (group < 1) fail(n, "group must be positive, got " + std::to_string(group));
  const Dim channels = x->shape()[1];
  const Dim needed = w->shape()[1] * Dim(group);
  if (!(channels == needed) && (channels - needed).is_static())
    fail(n, "weight " + w->type().text() + " needs " + w->shape()[1].text() +
                " input channels per group, input has " + channels.text() +
                " (group=" + std::to_string(group) + ")");
  b.graph().require_equal(channels, needed, n.where() + ": input channels must fit the weights");
  const Dim filters = w->shape()[0];
  if (!filters.is_static())
    fail(n, "the number of filters must be static, got " + w->type().text());
  if (filters.value() % group != 0)
    fail(n, std::to_string(filters.value()) + " filters do not split into " +
                std::to_string(group) + " groups");
  const Window window = resolve_window(n, x->shape(), kernel_of(n, w->shape()));
  Value* nhwc = b.transpose(x, channels_last(x->rank()));
  Value* padded = pad_spatial(b, nhwc, window, nullptr);
  std::vector<int64_t> perm;  // O, I, window -> window, I, O
  for (int64_t i = 2; i < w->rank(); ++i) perm.push_back(i);
  perm.push_back(1);
  perm.push_back(0);
  Value* y = b.make("conv", {padded, b.transpose(w, perm)},
                    {{"window", window.kernel},
                     {"strides", window.strides},
                     {"dilations", window.dilations},
                     {"group", group},
                     {"filters", filters.value()}});
  y = add_bias(b, n, y);
  return {b.transpose(y, channels_first(x->rank()))};
}

struct TransposedPads {
  Shape before,
      after;  // of the output; may exceed the window, may be negative through output_padding
};

TransposedPads transposed_pads(const Node& n, const Shape& in, const std::vector<int64_t>& kernel,
                               const std::vector<int64_t>& strides,
                               const std::vector<int64_t>& dilations,
                               const std::vector<int64_t>& output_padding) {
  const size_t spatial = kernel.size();
  const auto pads = n.attrs().integers("pads", std::vector<int64_t>(2 * spatial, 0));
  const auto output_shape = n.attrs().integers("output_shape");
  const std::string auto_pad = n.attrs().string("auto_pad", "NOTSET");
  if (pads.size() != 2 * spatial)
    fail(n, "pads must have " + std::to_string(2 * spatial) + " entries");
  TransposedPads p;
  for (size_t i = 0; i < spatial; ++i) {
    const Dim reach = reach_of(kernel[i], dilations[i]);
    const Dim full = (in[i + 2] - Dim(1)) * Dim(strides[i]) + Dim(output_padding[i]) + reach;
    const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
    if (!output_shape.empty() || same) {
      const size_t at = output_shape.size() == spatial ? i : i + 2;
      if (!output_shape.empty() && at >= output_shape.size()) fail(n, "output_shape is too short");
      const Dim wanted =
          same && output_shape.empty() ? in[i + 2] * Dim(strides[i]) : Dim(output_shape[at]);
      const Dim total = full - wanted;
      const Dim half = floor_div(total, Dim(2));
      p.before.push_back(auto_pad == "SAME_UPPER" ? half : total - half);
      p.after.push_back(total - p.before.back());
    } else {
      p.before.push_back(auto_pad == "VALID" ? Dim(0) : Dim(pads[i]));
      p.after.push_back(auto_pad == "VALID" ? Dim(0) : Dim(pads[i + spatial]));
    }
  }
  return p;
}

// A transposed convolution is a convolution of the input with zeros between its elements
// (Dumoulin & Visin 2016, section 4), with the window reversed and input and output channels
// swapped.
Values conv_transpose(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* w = n.operand(1);  // C, M / group, window
  const size_t spatial = x->shape().size() - 2;
  if (x->rank() < 3 || w->rank() != x->rank())
    fail(n, "weights " + w->type().text() + " do not fit " + x->type().text());
  const int64_t group = n.attrs().integer("group", 1);
  const auto kernel = kernel_of(n, w->shape());
  const auto strides = n.attrs().integers("strides", std::vector<int64_t>(spatial, 1));
  const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(spatial, 1));
  const auto output_padding =
      n.attrs().integers("output_padding", std::vector<int64_t>(spatial, 0));
  if (strides.size() != spatial || dilations.size() != spatial || output_padding.size() != spatial)
    fail(n, "strides, dilations and output_padding must fit " + std::to_string(spatial) +
                " spatial axes");
  if (!all_positive(kernel) || !all_positive(strides) || !all_positive(dilations))
    fail(n, "kernel_shape, strides and dilations must be positive");
  if (group < 1 || !w->shape()[0].is_static() || !w->shape()[1].is_static() ||
      w->shape()[0].value() % group != 0)
    fail(n,
         "weights " + w->type().text() + " do not split into " + std::to_string(group) + " groups");
  b.graph().require_equal(x->shape()[1], w->shape()[0],
                          n.where() + ": input channels must fit the weights");
  const TransposedPads pads =
      transposed_pads(n, x->shape(), kernel, strides, dilations, output_padding);
  const int64_t per_group = w->shape()[0].value() / group;
  const int64_t filters = (w->shape()[1] * Dim(group)).value();

  std::vector<int64_t> factors(x->shape().size(), 1);
  Shape before = {0}, after = {0};
  std::vector<int64_t> window_axes;
  for (size_t i = 0; i < spatial; ++i) {
    factors[i + 1] = strides[i];
    const Dim margin = reach_of(kernel[i], dilations[i]) - Dim(1);
    before.push_back(margin - pads.before[i]);
    after.push_back(margin - pads.after[i] + Dim(output_padding[i]));
    window_axes.push_back(static_cast<int64_t>(i) + 1);
  }
  before.emplace_back(0);
  after.emplace_back(0);
  Value* y = b.transpose(x, channels_last(x->rank()));
  y = b.make("dilate", {y}, {{"factors", factors}});
  y = b.pad(y, before, after);

  // [group, per_group, M / group, window] -> [window, per_group, group, M / group]
  Shape split = {Dim(group), Dim(per_group)};
  split.insert(split.end(), w->shape().begin() + 1, w->shape().end());
  std::vector<int64_t> perm;
  for (size_t i = 0; i < spatial; ++i) perm.push_back(static_cast<int64_t>(i) + 3);
  perm.insert(perm.end(), {1, 0, 2});
  Value* weights = b.transpose(b.reshape(w, split), perm);
  Shape merged;
  for (int64_t k : kernel) merged.emplace_back(k);
  merged.emplace_back(per_group);
  merged.emplace_back(filters);
  weights = b.reshape(weights, merged);
  std::vector<int64_t> reversed(spatial);
  std::iota(reversed.begin(), reversed.end(), int64_t{0});
  weights = b.make("reverse", {weights}, {{"axes", reversed}});
  y = b.make("conv", {y, weights},
             {{"window", kernel},
              {"strides", std::vector<int64_t>(spatial, 1)},
              {"dilations", dilations},
              {"group", group},
              {"filters", filters}});
  y = add_bias(b, n, y);
  return {b.transpose(y, channels_first(x->rank()))};
}

constexpr AttrDef kConv[] = {{"auto_pad", AttrKind::string}, {"dilations", AttrKind::integers},
                             {"group", AttrKind::integer},   {"kernel_shape", AttrKind::integers},
                             {"pads", AttrKind::integers},   {"strides", AttrKind::integers}};
constexpr AttrDef kConvTranspose[] = {
    {"auto_pad", AttrKind::string},         {"dilations", AttrKind::integers},
    {"group", AttrKind::integer},           {"kernel_shape", AttrKind::integers},
    {"output_padding", AttrKind::integers}, {"output_shape", AttrKind::integers},
    {"pads", AttrKind::integers},           {"strides", AttrKind::integers}};

constexpr OpDef kOps[] = {
    {.name = "Conv",
     .min_operands = 2,
     .max_operands = 3,
     .attrs = kConv,
     .traits = kOnnx,
     .decompose = conv,
     .doc = "convolution of N,C,spatial with weights M,C/group,window"},
    {.name = "ConvTranspose",
     .min_operands = 2,
     .max_operands = 3,
     .attrs = kConvTranspose,
     .traits = kOnnx,
     .decompose = conv_transpose,
     .doc = "transposed convolution"},
};

}  // namespace

std::span<const OpDef> onnx_convolution() { return kOps; }

}  // namespace tintype::ops
