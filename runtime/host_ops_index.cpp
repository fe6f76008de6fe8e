// Host ops that read or write at indices given as data; every index is checked.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"

#include <cstring>

namespace tintype {

std::optional<std::vector<int64_t>> read_integers(const Tensor& t) {
  std::vector<int64_t> list;
  if (t.dtype() == DType::i64) list.assign(t.values<int64_t>().begin(), t.values<int64_t>().end());
  else if (t.dtype() == DType::i32)
    list.assign(t.values<int32_t>().begin(), t.values<int32_t>().end());
  else return std::nullopt;
  return list;
}

Result<std::vector<int64_t>> checked_indices(const Tensor& t, std::span<const int64_t> extents) {
  std::optional<std::vector<int64_t>> list = read_integers(t);
  if (!list) return unsupported_elements(t.dtype());
  for (size_t i = 0; i < list->size(); ++i) {
    int64_t& index = (*list)[i];
    const int64_t extent = extents[i % extents.size()];
    if (index < -extent || index >= extent)
      return invalid_argument("index " + std::to_string(index) +
                              " is out of range for an axis of extent " + std::to_string(extent));
    if (index < 0) index += extent;
  }
  return std::move(*list);
}

namespace {

Status gather(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, x.rank());
  if (!axis) return axis_out_of_range(attribute, x);
  const AxisSplit s = split_at(x.dims(), *axis);
  Result<std::vector<int64_t>> indices = checked_indices(call.inputs[1], std::span(&s.extent, 1));
  if (!indices.ok()) return indices.status();
  std::vector<int64_t> dims(x.dims().begin(), x.dims().begin() + static_cast<ptrdiff_t>(*axis));
  dims.insert(dims.end(), call.inputs[1].dims().begin(), call.inputs[1].dims().end());
  dims.insert(dims.end(), x.dims().begin() + static_cast<ptrdiff_t>(*axis) + 1, x.dims().end());
  if (Status expected = expect_dims(call.outputs[0], dims); !expected.ok()) return expected;
  const auto count = static_cast<int64_t>(indices.value().size());
  const int64_t bytes = s.inner * static_cast<int64_t>(size_of(x.dtype()));
  if (call.outputs[0].size() == 0) return {};
  const auto* from = static_cast<const std::byte*>(x.data());
  auto* to = static_cast<std::byte*>(call.outputs[0].mutable_data());
  parallel_for(s.outer * count, kHostGrain * 4 / bytes, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / count * s.extent + indices.value()[static_cast<size_t>(i % count)];
      std::memcpy(to + i * bytes, from + row * bytes, static_cast<size_t>(bytes));
    }
  });
  return {};
}

/// Strides with which an index tensor of the same rank walks over x, the indexed axis held still.
std::vector<int64_t> strides_but_axis(const Tensor& x, size_t axis) {
  std::vector<int64_t> strides = dense_strides(x.dims());
  strides[axis] = 0;
  return strides;
}

/// Checks that walking x with the extents of `indices` on all axes but one stays inside.
Status check_same_rank(const Tensor& x, const Tensor& indices, size_t axis) {
  bool fits = x.rank() == indices.rank();
  for (size_t i = 0; fits && i < x.dims().size(); ++i)
    fits = i == axis || indices.dims()[i] <= x.dims()[i];
  return fits ? Status()
              : invalid_argument("indices " + indices.type_string() + " do not fit " +
                                 x.type_string() + " on axis " + std::to_string(axis));
}

Status gather_elements(const HostCall& call) {
  const Tensor &x = call.inputs[0], &at = call.inputs[1];
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, x.rank());
  if (!axis) return axis_out_of_range(attribute, x);
  if (Status s = check_same_rank(x, at, *axis); !s.ok()) return s;
  if (Status s = expect_dims(call.outputs[0], at.dims()); !s.ok()) return s;
  Result<std::vector<int64_t>> indices = checked_indices(at, std::span(&x.dims()[*axis], 1));
  if (!indices.ok()) return indices.status();
  const std::vector<int64_t> strides = strides_but_axis(x, *axis);
  const int64_t step = dense_strides(x.dims())[*axis];
  with_width(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    auto* to = static_cast<T*>(call.outputs[0].mutable_data());
    parallel_for(at.size(), kHostGrain, [&](int64_t begin, int64_t end) {
      Odometer walk(at.dims(), strides);
      walk.seek(begin);
      for (int64_t i = begin; i < end; ++i, walk.next())
        to[i] = from[walk.offset() + indices.value()[static_cast<size_t>(i)] * step];
    });
  });
  return {};
}

/// Index tuples of gather_nd and scatter_nd as offsets of slices of x.
struct Tuples {
  std::vector<int64_t> offsets;  ///< in elements, one per tuple
  int64_t slice = 1;             ///< elements of each slice
};

Result<Tuples> read_tuples(const Tensor& x, const Tensor& at, int64_t batch) {
  const int64_t depth = at.rank() == 0 ? 0 : at.dims().back();
  if (at.rank() == 0 || batch < 0 || depth < 0 || batch >= at.rank() || batch + depth > x.rank())
    return invalid_argument("indices " + at.type_string() + " do not fit " + x.type_string());
  const auto first = static_cast<size_t>(batch), end = static_cast<size_t>(batch + depth);
  const std::vector<int64_t> strides = dense_strides(x.dims());
  Tuples t;
  t.slice = count_between(x.dims(), end, x.dims().size());
  const int64_t batches = count_between(x.dims(), 0, first);
  const int64_t per_batch = count_between(x.dims(), first, x.dims().size());
  const int64_t tuples = count_between(at.dims(), 0, at.dims().size() - 1);
  if (batches != count_between(at.dims(), 0, first))
    return invalid_argument("batch axes of " + at.type_string() + " and " + x.type_string() +
                            " differ");
  std::vector<int64_t> indices;
  if (depth != 0) {
    Result<std::vector<int64_t>> checked =
        checked_indices(at, std::span(x.dims()).subspan(first, static_cast<size_t>(depth)));
    if (!checked.ok()) return checked.status();
    indices = std::move(checked).value();
  }
  for (int64_t i = 0; i < tuples; ++i) {
    int64_t offset = i / (tuples / batches) * per_batch;
    for (int64_t k = 0; k < depth; ++k)
      offset +=
          indices[static_cast<size_t>(i * depth + k)] * strides[first + static_cast<size_t>(k)];
    t.offsets.push_back(offset);
  }
  return t;
}

Status gather_nd(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Result<Tuples> tuples = read_tuples(x, call.inputs[1], call.attributes.integer("batch_dims", 0));
  if (!tuples.ok()) return tuples.status();
  const auto element = static_cast<int64_t>(size_of(x.dtype()));
  const int64_t bytes = tuples.value().slice * element;
  if (bytes * static_cast<int64_t>(tuples.value().offsets.size()) !=
      static_cast<int64_t>(call.outputs[0].bytes()))
    return {StatusCode::internal, "the result cannot be " + call.outputs[0].type_string()};
  const auto* from = static_cast<const std::byte*>(x.data());
  auto* to = static_cast<std::byte*>(call.outputs[0].mutable_data());
  for (int64_t offset : tuples.value().offsets) {
    if (bytes != 0) std::memcpy(to, from + offset * element, static_cast<size_t>(bytes));
    to += bytes;
  }
  return {};
}

enum class Combine { replace, add, mul, max, min };

Result<Combine> read_reduction(const HostCall& call) {
  const std::string name = call.attributes.string("reduction", "none");
  if (name == "none") return Combine::replace;
  if (name == "add") return Combine::add;
  if (name == "mul") return Combine::mul;
  if (name == "max") return Combine::max;
  if (name == "min") return Combine::min;
  return invalid_argument("unknown reduction '" + name + "'");
}

template <typename T>
void combine(T& to, T update, Combine how) {
  using W = std::conditional_t<std::is_integral_v<Compute<T>>, uint64_t, Compute<T>>;
  const Compute<T> a = load(to), b = load(update);
  switch (how) {
    case Combine::replace: to = update; break;
    case Combine::add:
      to = store<T>(static_cast<Compute<T>>(static_cast<W>(a) + static_cast<W>(b)));
      break;
    case Combine::mul:
      to = store<T>(static_cast<Compute<T>>(static_cast<W>(a) * static_cast<W>(b)));
      break;
    case Combine::max: to = a > b || a != a ? to : update; break;
    case Combine::min: to = a < b || a != a ? to : update; break;
  }
}

/// Copies the data, then applies `write(out, updates)`, which may combine elements.
template <typename Write>
Status scatter(const HostCall& call, Combine how, const Write& write) {
  const Tensor &x = call.inputs[0], &updates = call.inputs[2];
  if (x.dtype() != updates.dtype())
    return invalid_argument("updates " + updates.type_string() + " differ in element type from " +
                            x.type_string());
  const HostCall copy{call.inputs.first(1), call.outputs, call.attributes};
  if (Status s = find_host_op("identity")->function(copy); !s.ok()) return s;
  const auto apply = [&](auto tag) {
    using T = typename decltype(tag)::type;
    write(static_cast<T*>(call.outputs[0].mutable_data()), static_cast<const T*>(updates.data()));
  };
  if (how != Combine::replace) return for_elements<kNumbers>(x.dtype(), apply);
  with_width(x.dtype(), apply);
  return {};
}

Status scatter_elements(const HostCall& call) {
  const Tensor &x = call.inputs[0], &at = call.inputs[1];
  const Result<Combine> how = read_reduction(call);
  if (!how.ok()) return how.status();
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, x.rank());
  if (!axis) return axis_out_of_range(attribute, x);
  if (Status s = check_same_rank(x, at, *axis); !s.ok()) return s;
  if (call.inputs[2].dims() != at.dims())
    return invalid_argument("updates " + call.inputs[2].type_string() + " and indices " +
                            at.type_string() + " differ in shape");
  Result<std::vector<int64_t>> indices = checked_indices(at, std::span(&x.dims()[*axis], 1));
  if (!indices.ok()) return indices.status();
  const std::vector<int64_t> strides = strides_but_axis(x, *axis);
  const int64_t step = dense_strides(x.dims())[*axis];
  return scatter(call, how.value(), [&](auto* out, const auto* updates) {
    Odometer walk(at.dims(), strides);
    for (int64_t i = 0; i < at.size(); ++i, walk.next())
      combine(out[walk.offset() + indices.value()[static_cast<size_t>(i)] * step], updates[i],
              how.value());
  });
}

Status scatter_nd(const HostCall& call) {
  const Result<Combine> how = read_reduction(call);
  if (!how.ok()) return how.status();
  Result<Tuples> tuples = read_tuples(call.inputs[0], call.inputs[1], 0);
  if (!tuples.ok()) return tuples.status();
  const int64_t slice = tuples.value().slice;
  if (call.inputs[2].size() != slice * static_cast<int64_t>(tuples.value().offsets.size()))
    return invalid_argument("updates " + call.inputs[2].type_string() + " do not fit indices " +
                            call.inputs[1].type_string());
  return scatter(call, how.value(), [&](auto* out, const auto* updates) {
    for (int64_t offset : tuples.value().offsets)
      for (int64_t k = 0; k < slice; ++k) combine(out[offset + k], *updates++, how.value());
  });
}

Status bounded(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const std::optional<std::vector<int64_t>> values = read_integers(x);
  if (!values) return unsupported_elements(x.dtype());
  const std::vector<int64_t> low = call.attributes.integers("low"),
                             high = call.attributes.integers("high");
  if (low.size() != 1 || high.size() != 1) return invalid_argument("low and high are one number");
  for (size_t i = 0; i < values->size(); ++i) {
    const int64_t v = (*values)[i];
    if (v < low[0] || v > high[0])
      return invalid_argument(call.attributes.string("what", "element") + "[" + std::to_string(i) +
                              "] is " + std::to_string(v) + ", expected " + std::to_string(low[0]) +
                              " to " + std::to_string(high[0]));
  }
  if (x.size() != 0) std::memcpy(call.outputs[0].mutable_data(), x.data(), x.bytes());
  return {};
}

constexpr HostOp kOps[] = {
    {"gather", gather, 2, 2},         {"gather_elements", gather_elements, 2, 2},
    {"gather_nd", gather_nd, 2, 2},   {"scatter_elements", scatter_elements, 3, 3},
    {"scatter_nd", scatter_nd, 3, 3}, {"bounded", bounded},
};

}  // namespace

std::span<const HostOp> index_host_ops() { return kOps; }

}  // namespace tintype
