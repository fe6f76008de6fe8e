// Operators of ONNX that put elements where other tensors say.
#include "ir/ops/decompose.h"

#include <numeric>
#include <string>

namespace tintype::ops {

namespace {

Value* iota(Builder& b, Shape shape, int64_t axis) {
  return b.make("iota", {}, {{"shape", std::move(shape)}, {"axis", axis}, {"dtype", DType::i64}});
}

Value* zero(Builder& b) { return b.scalar(0, DType::i64); }
Value* extent(Builder& b, const Dim& d) { return extent_scalar(b, d, DType::i64); }

/// x[A0, A1, rest...] as [A0 A1, rest...]
Value* merged(Builder& b, Value* x) {
  Shape shape = {x->shape()[0] * x->shape()[1]};
  shape.insert(shape.end(), x->shape().begin() + 2, x->shape().end());
  return b.reshape(x, std::move(shape));
}

/// y[i, j] = x[rows[i, j]], slices of merged axes
Value* rows_at(Builder& b, Value* x, Value* rows) {
  return b.make("gather", {x, rows}, {{"axis", int64_t{0}}});
}

/// A number of any type.
Dim depth_of(const Node& n) {
  if (!is_float(n.operand(1)->dtype())) return symbolic_integer(n, 1, "depth");
  const double depth = static_number(n, 1, "depth");
  if (!(depth >= 0 && depth < 1e12)) fail(n, "depth is " + std::to_string(depth));
  return static_cast<int64_t>(depth);
}

// y[.., i, ..] = values[i = index], an index that is negative counting from the end
Values one_hot(Builder& b, const Node& n) {
  Value* index = b.cast(n.operand(0), DType::i64);
  const Dim depth = depth_of(n);
  Value* values = n.operand(2);
  if (values->rank() != 1 || !values->shape()[0].is(2))
    fail(n, "values are those for off and on, got " + values->type().text());
  const int rank = index->rank() + 1;
  const int axis = normalize_axis(n.attrs().integer("axis", -1), rank, n.where());
  Shape shape = index->shape();
  shape.insert(shape.begin() + axis, Dim(1));
  index = b.select(b.compare("lt", index, zero(b)), b.add(index, extent(b, depth)), index);
  Shape along(static_cast<size_t>(rank), Dim(1));
  along[static_cast<size_t>(axis)] = depth;
  Value* hit = b.compare("eq", b.reshape(index, shape), iota(b, along, axis));
  const auto value = [&](int64_t i) {
    return b.reshape(b.slice_axis(values, 0, Dim(i), Dim(1)), {});
  };
  return {b.select(hit, value(1), value(0))};
}

// y[t, n] = x[t < length[n] ? length[n] - 1 - t : t, n]
Values reverse_sequence(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* lengths = b.cast(n.operand(1), DType::i64);
  const int64_t batch = n.attrs().integer("batch_axis", 1),
                time = n.attrs().integer("time_axis", 0);
  const bool first_two = (batch == 0 && time == 1) || (batch == 1 && time == 0);
  if (x->rank() < 2 || !first_two)
    fail(n, "batch_axis and time_axis must be 0 and 1, or 1 and 0, of " + x->type().text());
  const Dim steps = x->shape()[static_cast<size_t>(time)];
  const Dim sequences = x->shape()[static_cast<size_t>(batch)];
  if (lengths->rank() != 1)
    fail(n, "expected one length per sequence, got " + lengths->type().text());
  b.graph().require_equal(lengths->shape()[0], sequences,
                          n.where() + ": there must be one length per sequence");
  const auto along = [](int64_t axis, const Dim& d) {
    return axis == 0 ? Shape{d, Dim(1)} : Shape{Dim(1), d};
  };
  Value* t = iota(b, along(time, steps), time);
  Value* length = b.reshape(lengths, along(batch, sequences));
  Value* from = b.select(b.compare("lt", t, length), b.sub(b.with_scalar("sub", length, 1), t), t);
  Value* sequence = iota(b, along(batch, sequences), batch);
  Value* row = time == 0 ? b.add(b.mul(from, extent(b, sequences)), sequence)
                         : b.add(b.mul(sequence, extent(b, steps)), from);
  return {rows_at(b, merged(b, x), row)};
}

// y[n, .., p, ..] = update[n, .., p - start[n], ..] where that exists, else past[n, .., p, ..]
Values tensor_scatter(Builder& b, const Node& n) {
  Value* past = n.operand(0);
  Value* update = n.operand(1);
  const int axis = normalize_axis(n.attrs().integer("axis", -2), past->rank(), n.where());
  const std::string mode = n.attrs().string("mode", "linear");
  if (mode != "linear" && mode != "circular")
    fail(n, "mode '" + mode + "' is not one of linear, circular");
  if (axis == 0 || update->rank() != past->rank())
    fail(n, "expected axis 1 or more of tensors of one rank, got " + past->type().text() + " and " +
                update->type().text());
  std::vector<int64_t> perm = {0, axis}, back(past->shape().size());
  for (int64_t a = 1; a < past->rank(); ++a)
    if (a != axis) perm.push_back(a);
  for (size_t i = 0; i < perm.size(); ++i)
    back[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  const Dim batch = past->shape()[0], length = past->shape()[static_cast<size_t>(axis)];
  const Dim count = update->shape()[static_cast<size_t>(axis)];
  Value* offset = iota(b, {Dim(1), length}, 1);
  if (n.operand(2) != nullptr)
    offset = b.sub(offset, b.reshape(b.cast(n.operand(2), DType::i64), {batch, Dim(1)}));
  if (mode == "circular") offset = b.make("mod", {offset, extent(b, length)});
  Value* fits =
      b.make("and", {b.compare("ge", offset, zero(b)), b.compare("lt", offset, extent(b, count))});
  Value* last = b.with_scalar("sub", extent(b, count), 1);
  Value* row = b.add(b.mul(iota(b, {batch, Dim(1)}, 0), extent(b, count)),
                     b.min(b.max(offset, zero(b)), last));
  Value* written = b.transpose(rows_at(b, merged(b, b.transpose(update, perm)), row), back);
  Shape mask(past->shape().size(), Dim(1));
  mask[0] = fits->shape()[0];
  mask[static_cast<size_t>(axis)] = length;
  return {b.select(b.reshape(fits, mask), written, past)};
}

/// Elements go back to where max pooling found them.
Values max_unpool(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* indices = n.operand(1);
  const auto kernel = n.attrs().integers("kernel_shape");
  const size_t spatial = kernel.size();
  const auto strides = n.attrs().integers("strides", std::vector<int64_t>(spatial, 1));
  const auto pads = n.attrs().integers("pads", std::vector<int64_t>(2 * spatial, 0));
  if (x->shape().size() != spatial + 2 || strides.size() != spatial || pads.size() != 2 * spatial)
    fail(n, "kernel_shape, strides and pads do not fit " + x->type().text());
  if (!all_positive(kernel) || !all_positive(strides))
    fail(n, "kernel_shape and strides must be positive");
  if (indices->shape() != x->shape())
    fail(n, "indices " + indices->type().text() + " do not fit " + x->type().text());
  Shape shape = {x->shape()[0], x->shape()[1]};
  for (size_t i = 0; i < spatial; ++i)
    shape.push_back((x->shape()[i + 2] - Dim(1)) * Dim(strides[i]) + Dim(kernel[i]) - Dim(pads[i]) -
                    Dim(pads[i + spatial]));
  const Dim all = product(x->shape());
  Value* nothing = b.broadcast(b.scalar(0, x->dtype()), {product(shape)});
  Value* y = b.make("scatter_elements", {nothing, b.reshape(indices, {all}), b.reshape(x, {all})},
                    {{"axis", int64_t{0}}, {"reduction", std::string("none")}});
  y = b.reshape(y, shape);
  if (n.operand(2) == nullptr) return {y};
  const std::vector<Dim> wanted = symbolic_integers(n, 2, "output_shape");
  if (wanted.size() != shape.size())
    fail(n, "output_shape has " + std::to_string(wanted.size()) + " entries for " +
                std::to_string(shape.size()) + " axes");
  Shape before(shape.size(), Dim(0)), after;
  for (size_t i = 0; i < shape.size(); ++i) after.push_back(wanted[i] - shape[i]);
  return {b.pad(y, before, after)};
}

// Every window adds its elements to where it lies: one strided, shifted copy per place in a window.
Values col2im(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  const std::vector<Dim> image = symbolic_integers(n, 1, "image_shape");
  const auto block = static_integers(n, 2, "block_shape");
  const size_t spatial = block.size();
  const auto ones = std::vector<int64_t>(spatial, 1);
  const auto dilations = n.attrs().integers("dilations", ones);
  const auto strides = n.attrs().integers("strides", ones);
  const auto pads = n.attrs().integers("pads", std::vector<int64_t>(2 * spatial, 0));
  if (x->rank() != 3 || image.size() != spatial || dilations.size() != spatial ||
      strides.size() != spatial || pads.size() != 2 * spatial)
    fail(n, "image_shape, block_shape, dilations, strides and pads do not fit " + x->type().text());
  if (!all_positive(block) || !all_positive(dilations) || !all_positive(strides))
    fail(n, "block_shape, dilations and strides must be positive");
  const int64_t places = product(Shape(block.begin(), block.end())).value();
  if (places > kMostWrittenOut)
    fail(n, "block_shape has " + std::to_string(places) + " places, at most " +
                std::to_string(kMostWrittenOut) + " are allowed");
  const Dim channels = floor_div(x->shape()[1], Dim(places));
  // [N, C, places, windows...]
  Shape apart = {x->shape()[0], channels, Dim(places)};
  for (size_t i = 0; i < spatial; ++i)
    apart.push_back(floor_div(image[i] + Dim(pads[i]) + Dim(pads[i + spatial]) -
                                  reach_of(block[i], dilations[i]),
                              Dim(strides[i])) +
                    Dim(1));
  x = b.make("reshape", {x}, {{"shape", apart}});
  std::vector<int64_t> factors = {1, 1};
  factors.insert(factors.end(), strides.begin(), strides.end());
  Value* sum = nullptr;
  for (int64_t p = 0; p < places; ++p) {
    Shape whole = apart;
    whole.erase(whole.begin() + 2);
    Value* part = b.reshape(b.slice_axis(x, 2, Dim(p), Dim(1)), whole);
    part = b.make("dilate", {part}, {{"factors", factors}});
    Shape before = {Dim(0), Dim(0)}, after = before;
    int64_t rest = p;
    Shape offset(spatial);
    for (size_t i = spatial; i-- > 0; rest /= block[i])
      offset[i] = Dim(rest % block[i]) * Dim(dilations[i]);
    for (size_t i = 0; i < spatial; ++i) {
      before.push_back(offset[i] - Dim(pads[i]));
      after.push_back(image[i] - before.back() - part->shape()[i + 2]);
    }
    part = b.pad(part, before, after);
    sum = sum == nullptr ? part : b.add(sum, part);
  }
  return {sum};
}

constexpr AttrDef kAxis[] = {{"axis", AttrKind::integer}};
constexpr AttrDef kSequence[] = {{"batch_axis", AttrKind::integer},
                                 {"time_axis", AttrKind::integer}};
constexpr AttrDef kTensorScatter[] = {{"axis", AttrKind::integer}, {"mode", AttrKind::string}};
constexpr AttrDef kUnpool[] = {{"kernel_shape", AttrKind::integers, true},
                               {"pads", AttrKind::integers},
                               {"strides", AttrKind::integers}};
constexpr AttrDef kCol2Im[] = {{"dilations", AttrKind::integers},
                               {"pads", AttrKind::integers},
                               {"strides", AttrKind::integers}};

constexpr OpDef kOps[] = {
    onnx_op("OneHot", 3, 3, one_hot, "one value where an index points, another elsewhere", kAxis),
    onnx_op("ReverseSequence", 2, 2, reverse_sequence, "the first steps of each sequence reversed",
            kSequence),
    onnx_op("TensorScatter", 2, 3, tensor_scatter, "steps written into a cache", kTensorScatter),
    onnx_op("MaxUnpool", 2, 3, max_unpool, "elements at the places where max pooling found them",
            kUnpool),
    onnx_op("Col2Im", 3, 3, col2im, "sum of windows that overlap", kCol2Im),
};

}  // namespace

std::span<const OpDef> onnx_indexing() { return kOps; }

}  // namespace tintype::ops
