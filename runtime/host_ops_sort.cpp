// Host ops along one axis that depend on order: arg_max, arg_min, cumsum, cumprod, top_k.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"

#include <algorithm>
#include <numeric>

namespace tintype {

namespace {

/// Calls body(first element, split, line) for every line along the axis; each result has `extent`
/// on it.
template <typename Body>
Status for_lines(const HostCall& call, int64_t extent, const Body& body) {
  const Tensor& x = call.inputs[0];
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, x.rank());
  if (!axis) return axis_out_of_range(attribute, x);
  const AxisSplit s = split_at(x.dims(), *axis);
  for (const Tensor& out : call.outputs) {
    std::vector<int64_t> dims = x.dims();
    dims[*axis] = extent;
    if (Status expected = expect_dims(out, dims); !expected.ok()) return expected;
  }
  return for_elements<kNumbers>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* data = static_cast<const T*>(x.data());
    parallel_for(s.outer * s.inner, kHostGrain / std::max<int64_t>(1, s.extent),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i)
                     body(data + i / s.inner * s.extent * s.inner + i % s.inner, s, i);
                 });
  });
}

/// True when a comes before b: larger or smaller, a NaN before everything.
template <bool kLargest, typename C>
bool before(C a, C b) {
  if (a != a || b != b) return a != a && b == b;
  return kLargest ? a > b : a < b;
}

template <bool kLargest>
Status arg(const HostCall& call) {
  const bool last = call.attributes.integer("select_last_index", 0) != 0;
  auto* out = static_cast<int64_t*>(call.outputs[0].mutable_data());
  if (call.inputs[0].size() == 0 && call.outputs[0].size() != 0)
    return invalid_argument("no element to choose from in " + call.inputs[0].type_string());
  return for_lines(call, 1, [&](const auto* x, const AxisSplit& s, int64_t line) {
    int64_t best = 0;
    for (int64_t i = 1; i < s.extent; ++i) {
      const auto a = load(x[i * s.inner]), b = load(x[best * s.inner]);
      if (before<kLargest>(a, b) || (last && !before<kLargest>(b, a))) best = i;
    }
    out[line] = best;
  });
}

/// Running sums or products.
template <bool kProduct>
Status cumulate(const HostCall& call) {
  const bool exclusive = call.attributes.integer("exclusive", 0) != 0;
  const bool reverse = call.attributes.integer("reverse", 0) != 0;
  void* out = call.outputs[0].mutable_data();
  const auto* first = static_cast<const std::byte*>(call.inputs[0].data());
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, call.inputs[0].rank());
  if (!axis) return axis_out_of_range(attribute, call.inputs[0]);
  return for_lines(
      call, call.inputs[0].dims()[*axis], [&](const auto* x, const AxisSplit& s, int64_t) {
        using T = std::remove_cvref_t<decltype(*x)>;
        T* to = static_cast<T*>(out) + (x - reinterpret_cast<const T*>(first));
        using A = Accumulator<T>;
        using Wide = std::conditional_t<std::is_integral_v<A>, uint64_t, A>;  // integers wrap
        A total = kProduct ? 1 : 0;
        for (int64_t n = 0; n < s.extent; ++n) {
          const int64_t i = (reverse ? s.extent - 1 - n : n) * s.inner;
          const auto before = static_cast<Wide>(total);
          const auto element = static_cast<Wide>(static_cast<A>(load(x[i])));
          const auto next = static_cast<A>(kProduct ? before * element : before + element);
          to[i] = store<T>(static_cast<Compute<T>>(exclusive ? total : next));
          total = next;
        }
      });
}

template <bool kLargest>
Status top_k_ordered(const HostCall& call, int64_t k) {
  void* values = call.outputs[0].mutable_data();
  int64_t* indices =
      call.outputs.size() > 1 ? static_cast<int64_t*>(call.outputs[1].mutable_data()) : nullptr;
  return for_lines(call, k, [&](const auto* x, const AxisSplit& s, int64_t line) {
    using T = std::remove_cvref_t<decltype(*x)>;
    std::vector<int64_t> order(static_cast<size_t>(s.extent));
    std::iota(order.begin(), order.end(), int64_t{0});
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
      const auto u = load(x[a * s.inner]), v = load(x[b * s.inner]);
      if (before<kLargest>(u, v)) return true;
      return !before<kLargest>(v, u) && a < b;  // equal elements keep their order
    });
    const int64_t to = line / s.inner * k * s.inner + line % s.inner;
    for (int64_t i = 0; i < k; ++i) {
      const int64_t from = order[static_cast<size_t>(i)];
      static_cast<T*>(values)[to + i * s.inner] = x[from * s.inner];
      if (indices != nullptr) indices[to + i * s.inner] = from;
    }
  });
}

Status top_k(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  const int64_t attribute = call.attributes.integer("axis", 0);
  const auto axis = find_axis(attribute, x.rank());
  if (!axis) return axis_out_of_range(attribute, x);
  if (call.outputs[0].rank() != x.rank()) return expect_dims(call.outputs[0], x.dims());
  const int64_t k = call.outputs[0].dims()[*axis];
  if (k > x.dims()[*axis])
    return invalid_argument("k = " + std::to_string(k) + " exceeds axis " +
                            std::to_string(attribute) + " of " + x.type_string());
  return call.attributes.integer("largest", 1) != 0 ? top_k_ordered<true>(call, k)
                                                    : top_k_ordered<false>(call, k);
}

constexpr HostOp kOps[] = {
    {"arg_max", arg<true>, 1, 1, 1, HostResult::index},
    {"arg_min", arg<false>, 1, 1, 1, HostResult::index},
    {"cumprod", cumulate<true>},
    {"cumsum", cumulate<false>},
    {"top_k", top_k, 1, 1, 2},
};

}  // namespace

std::span<const HostOp> sort_host_ops() { return kOps; }

}  // namespace tintype
