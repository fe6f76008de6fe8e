// Host ops that rearrange elements: all are strided copies, but for the wrapping modes of pad.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/strided.h"

#include <algorithm>
#include <cstring>

namespace tintype {

namespace {

/// Element `offset` of a tensor.
const std::byte* at(const Tensor& t, int64_t offset) {
  return static_cast<const std::byte*>(t.data()) +
         offset * static_cast<int64_t>(size_of(t.dtype()));
}
std::byte* at(Tensor& t, int64_t offset) {
  return static_cast<std::byte*>(t.mutable_data()) +
         offset * static_cast<int64_t>(size_of(t.dtype()));
}

/// Fills the whole result from a strided view of `x` that starts at `offset`.
Status read_view(const HostCall& call, int64_t offset, std::span<const int64_t> strides) {
  Tensor& out = call.outputs[0];
  if (out.size() == 0) return {};
  strided_copy(out.dims(), out.mutable_data(), dense_strides(out.dims()),
               at(call.inputs[0], offset), strides, size_of(out.dtype()));
  return {};
}

Status reshape(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  if (x.bytes() != call.outputs[0].bytes())
    return invalid_argument(x.type_string() + " cannot be reshaped to " +
                            call.outputs[0].type_string());
  return find_host_op("identity")->function(call);
}

Status transpose(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const std::vector<int64_t> perm = call.attributes.integers("perm");
  if (perm.size() != x.dims().size()) return wrong_length("perm", perm.size(), x.dims().size());
  const std::vector<int64_t> strides = dense_strides(x.dims());
  std::vector<int64_t> permuted, dims;
  for (int64_t p : perm) {
    const auto axis = find_axis(p, x.rank());
    if (!axis) return axis_out_of_range(p, x);
    permuted.push_back(strides[*axis]);
    dims.push_back(x.dims()[*axis]);
  }
  if (Status s = expect_dims(call.outputs[0], dims); !s.ok()) return s;
  return read_view(call, 0, permuted);
}

Status broadcast(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const std::vector<int64_t>& dims = call.outputs[0].dims();
  if (Status s = Broadcast<1>::check(call.outputs[0], call.inputs.first(1)); !s.ok()) return s;
  const std::vector<int64_t> own = dense_strides(x.dims());
  const size_t missing = dims.size() - x.dims().size();
  std::vector<int64_t> strides(dims.size(), 0);
  for (size_t i = missing; i < dims.size(); ++i)
    if (x.dims()[i - missing] != 1) strides[i] = own[i - missing];
  return read_view(call, 0, strides);
}

Status slice(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const size_t rank = x.dims().size();
  const std::vector<int64_t>& sizes = call.outputs[0].dims();
  if (sizes.size() != rank) return wrong_length("sizes", sizes.size(), rank);
  const std::vector<int64_t> starts = per_axis(call.attributes, "starts", rank, 0);
  const std::vector<int64_t> steps = per_axis(call.attributes, "steps", rank, 1);
  if (starts.size() != rank) return wrong_length("starts", starts.size(), rank);
  if (steps.size() != rank) return wrong_length("steps", steps.size(), rank);
  std::vector<int64_t> strides = dense_strides(x.dims());
  int64_t offset = 0;
  for (size_t i = 0; i < rank; ++i) {
    if (call.outputs[0].size() == 0) return {};
    int64_t last = 0;  // of the elements read on this axis
    if (__builtin_mul_overflow(sizes[i] - 1, steps[i], &last) ||
        __builtin_add_overflow(last, starts[i], &last) || std::min(starts[i], last) < 0 ||
        std::max(starts[i], last) >= x.dims()[i])
      return invalid_argument("slice from " + std::to_string(starts[i]) + " in steps of " +
                              std::to_string(steps[i]) + " leaves axis " + std::to_string(i) +
                              " of " + x.type_string());
    offset += starts[i] * strides[i];
    strides[i] = sizes[i] == 1 ? 0 : strides[i] * steps[i];
  }
  return read_view(call, offset, strides);
}

Status reverse(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  if (Status s = expect_dims(call.outputs[0], x.dims()); !s.ok()) return s;
  std::vector<int64_t> strides = dense_strides(x.dims());
  int64_t offset = 0;
  for (int64_t a : call.attributes.integers("axes")) {
    const auto axis = find_axis(a, x.rank());
    if (!axis) return axis_out_of_range(a, x);
    offset += strides[*axis] * (x.dims()[*axis] - 1);
    strides[*axis] *= -1;
  }
  return read_view(call, offset, strides);
}

/// Copies all of `x` into the result at `offset` with the given strides.
void write_view(const Tensor& x, Tensor& out, int64_t offset, std::span<const int64_t> strides) {
  if (x.size() == 0) return;
  strided_copy(x.dims(), at(out, offset), strides, x.data(), dense_strides(x.dims()),
               size_of(x.dtype()));
}

Status concat(const HostCall& call) {
  Tensor& out = call.outputs[0];
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, out.rank());
  if (!axis) return axis_out_of_range(attribute, out);
  const std::vector<int64_t> strides = dense_strides(out.dims());
  int64_t position = 0;
  for (const Tensor& x : call.inputs) {
    bool fits = x.rank() == out.rank() && x.dtype() == out.dtype();
    for (size_t i = 0; fits && i < x.dims().size(); ++i)
      fits = i == *axis ? x.dims()[i] <= out.dims()[i] - position : x.dims()[i] == out.dims()[i];
    if (!fits) return invalid_argument(x.type_string() + " does not fit into " + out.type_string());
    write_view(x, out, position * strides[*axis], strides);
    position += x.dims()[*axis];
  }
  if (position != out.dims()[*axis])
    return invalid_argument("operands do not fill " + out.type_string());
  return {};
}

Status dilate(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const std::vector<int64_t> factors = call.attributes.integers("factors");
  if (factors.size() != x.dims().size())
    return wrong_length("factors", factors.size(), x.dims().size());
  std::vector<int64_t> dims;
  dims.reserve(factors.size());
  for (size_t i = 0; i < factors.size(); ++i)
    dims.push_back(std::max<int64_t>(0, (x.dims()[i] - 1) * factors[i] + 1));
  if (Status s = expect_dims(out, dims); !s.ok()) return s;
  std::memset(out.mutable_data(), 0, out.bytes());
  std::vector<int64_t> strides = dense_strides(out.dims());
  // Nobody walks along an axis of one element, however far apart its elements would be.
  for (size_t i = 0; i < strides.size(); ++i) strides[i] *= x.dims()[i] > 1 ? factors[i] : 0;
  write_view(x, out, 0, strides);
  return {};
}

/// Where the part of the input that survives cropping lies in input and output, per axis.
struct PadAxis {
  int64_t from, to, count;
};

/// Sets everything outside the copied box: for each axis the slabs before and after it, within the
/// box on earlier axes and the whole extent on later ones.
void fill_margins(Tensor& out, const std::vector<PadAxis>& axes, const void* value) {
  const std::vector<int64_t>& dims = out.dims();
  const std::vector<int64_t> strides = dense_strides(dims);
  std::vector<int64_t> extents = dims;
  int64_t offset = 0;
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t end = axes[i].to + axes[i].count;
    extents[i] = axes[i].to;
    strided_fill(extents, at(out, offset), strides, value, size_of(out.dtype()));
    extents[i] = dims[i] - end;
    strided_fill(extents, at(out, offset + end * strides[i]), strides, value, size_of(out.dtype()));
    extents[i] = axes[i].count;
    offset += axes[i].to * strides[i];
  }
}

Status pad_constant(const HostCall& call, const std::vector<PadAxis>& axes) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  uint64_t zero = 0;
  const bool given = call.inputs.size() > 1 && call.inputs[1].defined();
  if (given && (call.inputs[1].size() != 1 || call.inputs[1].dtype() != x.dtype()))
    return invalid_argument("pad value must be one " + std::string(name_of(x.dtype())) + ", got " +
                            call.inputs[1].type_string());
  fill_margins(out, axes, given ? call.inputs[1].data() : &zero);
  const std::vector<int64_t> to = dense_strides(out.dims()), from = dense_strides(x.dims());
  std::vector<int64_t> extents;
  int64_t to_offset = 0, from_offset = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    extents.push_back(axes[i].count);
    to_offset += axes[i].to * to[i];
    from_offset += axes[i].from * from[i];
  }
  strided_copy(extents, at(out, to_offset), to, at(x, from_offset), from, size_of(x.dtype()));
  return {};
}

/// The input index an output index of one axis reads, in a mode that repeats the input.
int64_t source_index(const PadAxis& a, int64_t position, std::string_view mode) {
  int64_t i = position - a.to;
  if (mode == "edge") return a.from + std::clamp<int64_t>(i, 0, a.count - 1);
  const int64_t period = mode == "wrap" ? a.count : std::max<int64_t>(1, 2 * (a.count - 1));
  i = (i % period + period) % period;
  return a.from + (i < a.count ? i : period - i);
}

Status pad_repeating(const HostCall& call, const std::vector<PadAxis>& axes,
                     const std::string& mode) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  if (out.size() == 0) return {};
  const std::vector<int64_t> strides = dense_strides(x.dims());
  std::vector<std::vector<int64_t>> offsets(axes.size());  // per axis: of each output index
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].count == 0)
      return invalid_argument("mode " + mode + " cannot pad the empty axis " + std::to_string(i) +
                              " of " + x.type_string());
    for (int64_t k = 0; k < out.dims()[i]; ++k)
      offsets[i].push_back(source_index(axes[i], k, mode) * strides[i]);
  }
  const size_t last = axes.size() - 1;
  const int64_t width = out.dims()[last];
  with_width(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    auto* to = static_cast<T*>(out.mutable_data());
    parallel_for(out.size() / width, kHostGrain / width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t base = 0, rest = row;
        for (size_t i = last; i-- > 0; rest /= out.dims()[i])
          base += offsets[i][static_cast<size_t>(rest % out.dims()[i])];
        for (int64_t k = 0; k < width; ++k)
          to[row * width + k] = from[base + offsets[last][static_cast<size_t>(k)]];
      }
    });
  });
  return {};
}

Status pad(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const size_t rank = x.dims().size();
  const std::vector<int64_t> before = per_axis(call.attributes, "before", rank, 0);
  const std::vector<int64_t> after = per_axis(call.attributes, "after", rank, 0);
  if (before.size() != rank) return wrong_length("before", before.size(), rank);
  if (after.size() != rank) return wrong_length("after", after.size(), rank);
  if (call.outputs[0].dims().size() != rank) return expect_dims(call.outputs[0], x.dims());
  std::vector<PadAxis> axes;
  for (size_t i = 0; i < rank; ++i) {
    if (x.dims()[i] + before[i] + after[i] != call.outputs[0].dims()[i])
      return invalid_argument("padding does not lead from " + x.type_string() + " to " +
                              call.outputs[0].type_string());
    const int64_t from = std::max<int64_t>(0, -before[i]), to = std::max<int64_t>(0, before[i]);
    const int64_t count = x.dims()[i] - from - std::max<int64_t>(0, -after[i]);
    axes.push_back({from, std::min(to, call.outputs[0].dims()[i]), std::max<int64_t>(0, count)});
    if (count <= 0) axes.back().from = 0;
  }
  const std::string mode = call.attributes.string("mode", "constant");
  if (mode == "constant") return pad_constant(call, axes);
  if (mode == "reflect" || mode == "edge" || mode == "wrap")
    return rank == 0 ? find_host_op("identity")->function(call) : pad_repeating(call, axes, mode);
  return invalid_argument("unknown pad mode '" + mode + "'");
}

Status iota(const HostCall& call) {
  Tensor& out = call.outputs[0];
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, out.rank());
  if (!axis) return axis_out_of_range(attribute, out);
  const AxisSplit s = split_at(out.dims(), *axis);
  return for_elements<kNumbers>(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* to = static_cast<T*>(out.mutable_data());
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t i = 0; i < s.extent; ++i)
        for (int64_t k = 0; k < s.inner; ++k) *to++ = store<T>(static_cast<Compute<T>>(i));
  });
}

Status dims(const HostCall& call) {
  const std::vector<int64_t> extents = call.attributes.integers("extents");
  Tensor& out = call.outputs[0];
  if (out.dtype() != DType::i64 || out.size() != static_cast<int64_t>(extents.size()))
    return wrong_length("extents", extents.size(), static_cast<size_t>(out.size()));
  std::copy(extents.begin(), extents.end(), out.mutable_values<int64_t>().begin());
  return {};
}

constexpr HostOp kOps[] = {
    {"reshape", reshape},
    {"transpose", transpose},
    {"broadcast", broadcast},
    {"slice", slice},
    {"reverse", reverse},
    {"concat", concat, 1, -1},
    {"dilate", dilate},
    {"pad", pad, 1, 2},
    {"iota", iota, 0, 0, 1, HostResult::free},
    {"dims", dims, 0, 0, 1, HostResult::index},
};

}  // namespace

std::span<const HostOp> shape_host_ops() { return kOps; }

}  // namespace tintype
