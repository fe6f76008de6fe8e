// Host ops that only gradients need: sums over windows and indices, the other way round.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/host_window.h"

#include <algorithm>
#include <cstring>

namespace tintype {

namespace {

template <typename T>
void write_back(Tensor& out, const std::vector<Accumulator<T>>& sums) {
  auto* to = static_cast<T*>(out.mutable_data());
  for (size_t i = 0; i < sums.size(); ++i) to[i] = store<T>(static_cast<Compute<T>>(sums[i]));
}

/// The same where the result may be wider than T.
template <typename T>
void write_products(Tensor& out, const std::vector<Accumulator<T>>& sums) {
  if (size_of(out.dtype()) == sizeof(T)) return write_back<T>(out, sums);
  auto* to = static_cast<Compute<T>*>(out.mutable_data());
  for (size_t i = 0; i < sums.size(); ++i) to[i] = static_cast<Compute<T>>(sums[i]);
}

// dw[k, c, f] = sum over windows o of x[o * stride + k * dilation, c] dy[o, f], c and f of one
// group
Status conv_weight_gradient(const HostCall& call) {
  const Tensor &x = call.inputs[0], &dy = call.inputs[1];
  Tensor& out = call.outputs[0];
  const Result<SlidingWindow> plan = plan_windows(call.attributes, x, dy);
  if (!plan.ok()) return plan.status();
  const SlidingWindow& p = plan.value();
  const int64_t group = std::max<int64_t>(1, call.attributes.integer("group", 1));
  const int64_t channels = x.dims().back(), filters = dy.dims().back();
  const int64_t depth = channels / group, per_group = filters / group;
  const auto taps = static_cast<int64_t>(p.taps.size());
  if (channels % group != 0 || filters % group != 0 || out.size() != taps * depth * filters)
    return invalid_argument(x.type_string() + " and " + dy.type_string() + " do not fit " +
                            std::to_string(group) + " groups");
  const bool widens = size_of(x.dtype()) == 2 && out.dtype() == DType::f32;
  if (out.dtype() != x.dtype() && !widens) return unsupported_elements(out.dtype());
  const int64_t windows = element_count(p.positions);
  return for_elements<kNumbers>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = Accumulator<T>;
    const auto* from = static_cast<const T*>(x.data());
    const auto* gradient = static_cast<const T*>(dy.data());
    std::vector<A> sums(static_cast<size_t>(out.size()), A{});
    parallel_for(taps * depth, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t tap = p.taps[static_cast<size_t>(row / depth)], c = row % depth;
        A* sum = sums.data() + row * filters;
        Odometer walk(p.positions, p.steps);
        for (int64_t o = 0; o < windows; ++o, walk.next())
          for (int64_t f = 0; f < filters; ++f)
            sum[f] += static_cast<A>(load(from[walk.offset() + tap + f / per_group * depth + c])) *
                      static_cast<A>(load(gradient[o * filters + f]));
      }
    });
    write_products<T>(out, sums);
  });
}

Status window_max_gradient(const HostCall& call) {
  const Tensor &x = call.inputs[0], &dy = call.inputs[1];
  Tensor& out = call.outputs[0];
  if (Status s = expect_dims(out, x.dims()); !s.ok()) return s;
  if (dy.size() == 0) {  // the window may be larger than x
    std::memset(out.mutable_data(), 0, out.bytes());
    return {};
  }
  const Result<SlidingWindow> plan = plan_windows(call.attributes, x, dy);
  if (!plan.ok()) return plan.status();
  const SlidingWindow& p = plan.value();
  return for_elements<kNumbers>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(x.data());
    const auto* gradient = static_cast<const T*>(dy.data());
    std::vector<Accumulator<T>> sums(static_cast<size_t>(out.size()), Accumulator<T>{});
    Odometer walk(p.positions, p.steps);
    for (int64_t o = 0; o < element_count(p.positions); ++o, walk.next())
      for (int64_t c = 0; c < p.channels; ++c) {
        const int64_t largest =
            walk.offset() + p.taps[first_largest(p, from, walk.offset() + c)] + c;
        sums[static_cast<size_t>(largest)] +=
            static_cast<Accumulator<T>>(load(gradient[o * p.channels + c]));
      }
    write_back<T>(out, sums);
  });
}

Status scatter_add(const HostCall& call) {
  const Tensor &indices = call.inputs[0], &updates = call.inputs[1];
  Tensor& out = call.outputs[0];
  if (updates.rank() != 3 || out.rank() != 3 || indices.size() != updates.dims()[1])
    return invalid_argument("updates " + updates.type_string() + " do not fit indices " +
                            indices.type_string());
  const int64_t outer = out.dims()[0], extent = out.dims()[1], inner = out.dims()[2];
  const int64_t count = indices.size();
  auto rows = checked_indices(indices, std::span(&extent, 1));
  if (!rows.ok()) return rows.status();
  return for_elements<kNumbers>(updates.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* from = static_cast<const T*>(updates.data());
    std::vector<Accumulator<T>> sums(static_cast<size_t>(out.size()), Accumulator<T>{});
    for (int64_t a = 0; a < outer; ++a)
      for (int64_t i = 0; i < count; ++i) {
        auto* row = sums.data() + (a * extent + rows.value()[static_cast<size_t>(i)]) * inner;
        for (int64_t k = 0; k < inner; ++k)
          row[k] += static_cast<Accumulator<T>>(load(from[(a * count + i) * inner + k]));
      }
    write_back<T>(out, sums);
  });
}

constexpr HostOp kOps[] = {
    {"conv_weight_gradient", conv_weight_gradient, 2, 2},
    {"window_max_gradient", window_max_gradient, 2, 2},
    {"scatter_add", scatter_add, 2, 2, 1, HostResult::free},
};

}  // namespace

std::span<const HostOp> gradient_host_ops() { return kOps; }

}  // namespace tintype
