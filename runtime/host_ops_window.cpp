// Host ops over sliding windows of x[N, spatial..., C], valid (padding is a separate op).
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/host_window.h"

#include <algorithm>
#include <limits>

namespace tintype {

namespace {

/// Only where there are positions is the window known to be no larger than x.
Result<SlidingWindow> plan_pooling(const HostCall& call) {
  const Tensor &x = call.inputs[0], &y = call.outputs[0];
  if (x.rank() > 0 && y.rank() > 0 && x.dims().back() != y.dims().back())
    return invalid_argument("the window does not fit " + x.type_string());
  return plan_windows(call.attributes, x, y);
}

/// Calls body(position, offset in x, spatial position of the first tap) for every window.
template <typename Body>
void for_windows(const SlidingWindow& p, const Body& body) {
  const int64_t work = std::max<int64_t>(1, p.channels * static_cast<int64_t>(p.taps.size()));
  parallel_for(element_count(p.positions), kHostGrain / work, [&](int64_t begin, int64_t end) {
    Odometer walk(p.positions, p.steps), index(p.positions, p.index_steps);
    walk.seek(begin);
    index.seek(begin);
    for (int64_t i = begin; i < end; ++i, walk.next(), index.next())
      body(i, walk.offset(), index.offset());
  });
}

template <typename T>
struct SumOver {
  using A = Accumulator<T>;
  static A start() { return 0; }
  static A step(A a, A v) {
    if constexpr (std::is_integral_v<A>)
      return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(v));
    else return a + v;
  }
};

template <typename T>
struct MaxOver {
  using A = Compute<T>;
  static A start() {
    using L = std::numeric_limits<A>;
    return L::has_infinity ? static_cast<A>(-L::infinity()) : L::lowest();
  }
  static A step(A a, A v) { return v > a || v != v ? v : a; }
};

template <typename Op, typename T>
void reduce_windows(const SlidingWindow& p, const T* x, T* out) {
  using A = typename Op::A;
  constexpr int64_t kWidth = 128;
  for_windows(p, [&](int64_t position, int64_t offset, int64_t) {
    for (int64_t c = 0; c < p.channels; c += kWidth) {
      const int64_t n = std::min(kWidth, p.channels - c);
      A acc[kWidth];
      std::fill_n(acc, n, Op::start());
      for (int64_t tap : p.taps) {
        const T* from = x + offset + tap + c;
        for (int64_t k = 0; k < n; ++k) acc[k] = Op::step(acc[k], static_cast<A>(load(from[k])));
      }
      T* to = out + position * p.channels + c;
      for (int64_t k = 0; k < n; ++k) to[k] = store<T>(static_cast<Compute<T>>(acc[k]));
    }
  });
}

Status window_reduce(const HostCall& call) {
  if (call.outputs[0].size() == 0) return {};
  const Result<SlidingWindow> plan = plan_pooling(call);
  if (!plan.ok()) return plan.status();
  const std::string kind = call.attributes.string("kind", "");
  if (kind != "max" && kind != "sum") return invalid_argument("unknown window kind '" + kind + "'");
  return for_elements<kNumbers>(call.inputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* x = static_cast<const T*>(call.inputs[0].data());
    auto* out = static_cast<T*>(call.outputs[0].mutable_data());
    if (kind == "max") reduce_windows<MaxOver<T>>(plan.value(), x, out);
    else reduce_windows<SumOver<T>>(plan.value(), x, out);
  });
}

Status window_argmax(const HostCall& call) {
  if (call.outputs[0].size() == 0) return {};
  const Result<SlidingWindow> plan = plan_pooling(call);
  if (!plan.ok()) return plan.status();
  const SlidingWindow& p = plan.value();
  auto* out = static_cast<int64_t*>(call.outputs[0].mutable_data());
  return for_elements<kNumbers>(call.inputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* x = static_cast<const T*>(call.inputs[0].data());
    for_windows(p, [&](int64_t position, int64_t offset, int64_t index) {
      for (int64_t c = 0; c < p.channels; ++c) {
        const size_t best = first_largest(p, x, offset + c);
        out[position * p.channels + c] = index + p.tap_index[best];
      }
    });
  });
}

constexpr HostOp kOps[] = {
    {"window_reduce", window_reduce},
    {"window_argmax", window_argmax, 1, 1, 1, HostResult::index},
};

}  // namespace

Result<SlidingWindow> plan_windows(const Attributes& attributes, const Tensor& x,
                                   const Tensor& positions) {
  const std::vector<int64_t> window = attributes.integers("window");
  const size_t spatial = window.size();
  const std::vector<int64_t> strides = per_axis(attributes, "strides", spatial, 1);
  const std::vector<int64_t> dilations = per_axis(attributes, "dilations", spatial, 1);
  if (x.dims().size() != spatial + 2 || positions.dims().size() != spatial + 2 ||
      strides.size() != spatial || dilations.size() != spatial ||
      x.dims()[0] != positions.dims()[0])
    return invalid_argument("the window does not fit " + x.type_string());
  SlidingWindow p;
  p.channels = x.dims().back();
  const std::vector<int64_t> x_strides = dense_strides(x.dims());
  const std::vector<int64_t> plane = dense_strides(std::span(x.dims()).subspan(1, spatial));
  p.positions.assign(positions.dims().begin(), positions.dims().end() - 1);
  p.steps = {x_strides[0]};
  p.index_steps = {0};
  std::vector<int64_t> tap_strides, tap_index_strides;
  for (size_t i = 0; i < spatial; ++i) {
    const int64_t extent = positions.dims()[i + 1];
    if (!windows_fit(x.dims()[i + 1], extent, window[i], strides[i], dilations[i]))
      return invalid_argument("the window leaves axis " + std::to_string(i + 1) + " of " +
                              x.type_string());
    // A step that is never taken may be as long as it likes.
    const int64_t step = extent > 1 ? strides[i] : 0;
    const int64_t tap = window[i] > 1 && positions.size() != 0 ? dilations[i] : 0;
    p.steps.push_back(x_strides[i + 1] * step);
    p.index_steps.push_back(plane[i] * step);
    tap_strides.push_back(x_strides[i + 1] * tap);
    tap_index_strides.push_back(plane[i] * tap);
  }
  Odometer walk(window, tap_strides), indices(window, tap_index_strides);
  for (int64_t i = 0; i < element_count(window); ++i, walk.next(), indices.next()) {
    p.taps.push_back(walk.offset());
    p.tap_index.push_back(indices.offset());
  }
  return p;
}

std::span<const HostOp> window_host_ops() { return kOps; }

}  // namespace tintype
