// Host ops that reduce axes. Partial results never depend on the number of threads.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"

#include <algorithm>
#include <limits>

namespace tintype {

namespace {

/// The loop nest of a reduction: kept axes outside, reduced axes inside, neighbours merged.
struct Reduction {
  std::vector<int64_t> kept, kept_strides, reduced, reduced_strides;
  int64_t count = 1;  ///< elements reduced into each result
};

Result<Reduction> plan_reduction(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  std::vector<bool> is_reduced(x.dims().size(), false);
  for (int64_t a : call.attributes.integers("axes")) {
    const auto axis = find_axis(a, x.rank());
    if (!axis) return axis_out_of_range(a, x);
    is_reduced[*axis] = true;
  }
  const std::vector<int64_t> strides = dense_strides(x.dims());
  Reduction r;
  for (size_t i = 0; i < x.dims().size(); ++i) {
    if (x.dims()[i] == 1) continue;
    const bool merges = i > 0 && is_reduced[i] == is_reduced[i - 1] && x.dims()[i - 1] != 1;
    std::vector<int64_t>& extents = is_reduced[i] ? r.reduced : r.kept;
    std::vector<int64_t>& steps = is_reduced[i] ? r.reduced_strides : r.kept_strides;
    if (merges) {
      extents.back() *= x.dims()[i];
      steps.back() = strides[i];
    } else {
      extents.push_back(x.dims()[i]);
      steps.push_back(strides[i]);
    }
    if (is_reduced[i]) r.count *= x.dims()[i];
  }
  return r;
}

/// Op supplies: Acc<T>, start<T>(), step(acc, value).
struct Sum {
  template <typename T>
  using Acc = Accumulator<T>;
  template <typename T>
  static Acc<T> start() {
    return 0;
  }
  template <typename A>
  static A step(A a, A v) {
    if constexpr (std::is_integral_v<A>)
      return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(v));
    else return a + v;
  }
};
struct Product {
  template <typename T>
  using Acc = Accumulator<T>;
  template <typename T>
  static Acc<T> start() {
    return 1;
  }
  template <typename A>
  static A step(A a, A v) {
    if constexpr (std::is_integral_v<A>)
      return static_cast<A>(static_cast<uint64_t>(a) * static_cast<uint64_t>(v));
    else return a * v;
  }
};
// A NaN among the elements is the result. Of no elements: the identity of the operation.
struct Largest {
  template <typename T>
  using Acc = Compute<T>;
  template <typename T>
  static Acc<T> start() {
    using L = std::numeric_limits<Acc<T>>;
    return L::has_infinity ? static_cast<Acc<T>>(-L::infinity()) : L::lowest();
  }
  template <typename A>
  static A step(A a, A v) {
    return v > a || v != v ? v : a;
  }
};
struct Smallest {
  template <typename T>
  using Acc = Compute<T>;
  template <typename T>
  static Acc<T> start() {
    using L = std::numeric_limits<Acc<T>>;
    return L::has_infinity ? L::infinity() : L::max();
  }
  template <typename A>
  static A step(A a, A v) {
    return v < a || v != v ? v : a;
  }
};

/// Result by result, elements in row-major order.
template <typename Op, typename T>
void reduce_rows(const Reduction& r, const T* x, T* out, int64_t begin, int64_t end) {
  using A = typename Op::template Acc<T>;
  Odometer outer(r.kept, r.kept_strides);
  outer.seek(begin);
  const int64_t row = r.reduced.empty() ? 1 : r.reduced.back();
  const int64_t step = r.reduced.empty() ? 0 : r.reduced_strides.back();
  const auto rank = r.reduced.empty() ? 0 : r.reduced.size() - 1;
  for (int64_t i = begin; i < end; ++i, outer.next()) {
    A acc = Op::template start<T>();
    Odometer inner(std::span(r.reduced).first(rank), std::span(r.reduced_strides).first(rank));
    for (int64_t n = 0; n < r.count; n += row, inner.next()) {
      const T* p = x + outer.offset() + inner.offset();
      for (int64_t k = 0; k < row; ++k) acc = Op::step(acc, static_cast<A>(load(p[k * step])));
    }
    out[i] = store<T>(static_cast<Compute<T>>(acc));
  }
}

/// When the innermost axis is kept: a row of results at a time, so that memory is read in order.
template <typename Op, typename T>
void reduce_columns(const Reduction& r, const T* x, T* out, int64_t begin, int64_t end) {
  using A = typename Op::template Acc<T>;
  constexpr int64_t kWidth = 256;
  const int64_t width = r.kept.back();
  for (int64_t i = begin; i < end;) {
    const int64_t n = std::min({kWidth, width - i % width, end - i});
    Odometer outer(r.kept, r.kept_strides);
    outer.seek(i);
    A acc[kWidth];
    std::fill_n(acc, n, Op::template start<T>());
    Odometer inner(r.reduced, r.reduced_strides);
    for (int64_t e = 0; e < r.count; ++e, inner.next()) {
      const T* p = x + outer.offset() + inner.offset();
      for (int64_t k = 0; k < n; ++k) acc[k] = Op::step(acc[k], static_cast<A>(load(p[k])));
    }
    for (int64_t k = 0; k < n; ++k) out[i + k] = store<T>(static_cast<Compute<T>>(acc[k]));
    i += n;
  }
}

template <typename Op>
Status reduce(const HostCall& call) {
  const Result<Reduction> plan = plan_reduction(call);
  if (!plan.ok()) return plan.status();
  const Reduction& r = plan.value();
  if (element_count(r.kept) != call.outputs[0].size())
    return {StatusCode::internal, "the result cannot be " + call.outputs[0].type_string()};
  const bool columns = !r.kept.empty() && r.kept_strides.back() == 1;
  return for_elements<kNumbers>(call.inputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* x = static_cast<const T*>(call.inputs[0].data());
    auto* out = static_cast<T*>(call.outputs[0].mutable_data());
    parallel_for(call.outputs[0].size(), kHostGrain / std::max<int64_t>(1, r.count),
                 [&](int64_t begin, int64_t end) {
                   if (columns) reduce_columns<Op>(r, x, out, begin, end);
                   else reduce_rows<Op>(r, x, out, begin, end);
                 });
  });
}

constexpr HostOp kOps[] = {
    {"reduce_sum", reduce<Sum>},
    {"reduce_prod", reduce<Product>},
    {"reduce_max", reduce<Largest>},
    {"reduce_min", reduce<Smallest>},
};

}  // namespace

std::span<const HostOp> reduce_host_ops() { return kOps; }

}  // namespace tintype
