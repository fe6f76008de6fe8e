// Pointwise host ops that convert or choose elements: cast, select, identity, constant.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"

#include <cstring>

namespace tintype {

namespace {

// Truncates towards zero; what does not fit 64 bits becomes the smallest value, as the CPU does it,
// and narrower integers keep the low bits.
template <typename To>
To truncate(double x) {
  if constexpr (sizeof(To) == 8 && std::is_unsigned_v<To>) {
    if (x >= 0x1p63 && x < 0x1p64) return static_cast<To>(x);
  }
  return static_cast<To>(x > -0x1p63 && x < 0x1p63 ? static_cast<int64_t>(x) : INT64_MIN);
}

template <typename To, typename From>
To convert(From value) {
  const auto x = load(value);
  using X = decltype(x);
  if constexpr (std::is_same_v<To, Bool>) {
    return store<Bool>(x != 0);
  } else if constexpr (std::is_integral_v<To>) {
    if constexpr (std::is_floating_point_v<std::remove_cv_t<X>>)
      return truncate<To>(static_cast<double>(x));
    else return static_cast<To>(x);
  } else if constexpr (std::is_same_v<To, Half> || std::is_same_v<To, BFloat>) {
    if constexpr (std::is_same_v<std::remove_cv_t<X>, float>) return store<To>(x);
    else return store<To>(f64_to_f32_odd(static_cast<double>(x)));
  } else {
    return static_cast<To>(x);
  }
}

template <typename From, typename To>
void cast_all(const HostCall& call) {
  const auto* x = static_cast<const From*>(call.inputs[0].data());
  auto* out = static_cast<To*>(call.outputs[0].mutable_data());
  parallel_for(call.outputs[0].size(), kHostGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = convert<To>(x[i]);
  });
}

Status copy_elements(const Tensor& from, Tensor& to) {
  if (from.bytes() != to.bytes())
    return {StatusCode::internal, from.type_string() + " cannot become " + to.type_string()};
  const auto* x = static_cast<const std::byte*>(from.data());
  auto* out = static_cast<std::byte*>(to.mutable_data());
  parallel_for(static_cast<int64_t>(to.bytes()), 8 * kHostGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(out + begin, x + begin, static_cast<size_t>(end - begin));
  });
  return {};
}

Status identity(const HostCall& call) { return copy_elements(call.inputs[0], call.outputs[0]); }

/// The element type of the result decides.
Status cast(const HostCall& call) {
  const DType from = call.inputs[0].dtype(), to = call.outputs[0].dtype();
  if (from == to) return identity(call);
  if (Status s = expect_dims(call.outputs[0], call.inputs[0].dims()); !s.ok()) return s;
  Status status = unsupported_elements(from);
  with_elements<kAnything>(from, [&](auto source) {
    using From = typename decltype(source)::type;
    status = for_elements<kAnything>(
        to, [&](auto target) { cast_all<From, typename decltype(target)::type>(call); });
  });
  return status;
}

Status select(const HostCall& call) {
  if (Status s = Broadcast<3>::check(call.outputs[0], call.inputs.first(3)); !s.ok()) return s;
  const DType a_type = call.inputs[1].dtype(), b_type = call.inputs[2].dtype();
  if (call.inputs[0].dtype() != DType::boolean || a_type != b_type ||
      a_type != call.outputs[0].dtype())
    return {StatusCode::internal, "operands differ in element type"};
  const auto* condition = static_cast<const uint8_t*>(call.inputs[0].data());
  const Broadcast<3> loop(call.outputs[0].dims(), call.inputs.first(3));
  with_width(call.outputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* a = static_cast<const T*>(call.inputs[1].data());
    const auto* b = static_cast<const T*>(call.inputs[2].data());
    auto* out = static_cast<T*>(call.outputs[0].mutable_data());
    loop.for_rows([&](int64_t n, int64_t at, const auto& from, const auto& step) {
      for (int64_t i = 0; i < n; ++i)
        out[at + i] = condition[from[0] + i * step[0]] != 0 ? a[from[1] + i * step[1]]
                                                            : b[from[2] + i * step[2]];
    });
  });
  return {};
}

Status constant(const HostCall& call) {
  const AttributeValue* value = call.attributes.find("value");
  const Tensor* tensor = value == nullptr ? nullptr : std::get_if<Tensor>(value);
  if (tensor == nullptr) return invalid_argument("attribute 'value' is not a tensor");
  return copy_elements(*tensor, call.outputs[0]);
}

Status bitcast(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& y = call.outputs[0];
  if (Status s = expect_dims(y, x.dims()); !s.ok()) return s;
  if (x.bytes() != y.bytes())
    return invalid_argument("the bits of " + x.type_string() + " are no " + y.type_string());
  if (x.bytes() != 0) std::memcpy(y.mutable_data(), x.data(), x.bytes());
  if (y.dtype() == DType::boolean)
    for (uint8_t& v : y.mutable_values<uint8_t>()) v = v != 0 ? 1 : 0;
  return {};
}

constexpr HostOp kOps[] = {
    {"bitcast", bitcast, 1, 1, 1, HostResult::free},
    {"cast", cast, 1, 1, 1, HostResult::free},
    {"select", select, 3, 3, 1, HostResult::free},
    {"identity", identity},
    {"stop_gradient", identity},
    {"constant", constant, 0, 0, 1, HostResult::free},
};

}  // namespace

std::span<const HostOp> cast_host_ops() { return kOps; }

}  // namespace tintype
