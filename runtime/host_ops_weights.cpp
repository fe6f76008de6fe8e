// Host ops that prepare weights once.
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/strided.h"

#include <algorithm>

namespace tintype {

namespace {

/// See the record of the op: transpose by perm, then panels of the last axis outermost.
Status pack(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const std::vector<int64_t> perm = call.attributes.integers("perm");
  const int64_t block = call.attributes.integer("block", 0);
  if (perm.size() != x.dims().size() || perm.empty())
    return wrong_length("perm", perm.size(), x.dims().size());
  if (block < 1 || out.rank() != x.rank() + 1 || out.dims().back() != block)
    return invalid_argument("panels of " + std::to_string(block) + " do not fit " +
                            out.type_string());
  // Result axes: panel, permuted axes but the last, column within the panel.
  const std::vector<int64_t> strides = dense_strides(x.dims());
  const std::vector<int64_t> to = dense_strides(out.dims());
  std::vector<int64_t> from = {0}, extents = out.dims();
  for (int64_t p : perm) {
    const auto axis = find_axis(p, x.rank());
    if (!axis) return axis_out_of_range(p, x);
    from.push_back(strides[*axis]);
  }
  from[0] = from.back() * block;
  const size_t element = size_of(x.dtype());
  const int64_t columns = x.dims()[static_cast<size_t>(perm.back())], full = columns / block;
  const auto* source = static_cast<const std::byte*>(x.data());
  auto* target = static_cast<std::byte*>(out.mutable_data());
  const auto bytes = [&](int64_t elements) { return elements * static_cast<int64_t>(element); };
  extents[0] = full;
  strided_copy(extents, target, to, source, from, element);
  if (const int64_t rest = columns % block; rest != 0) {
    extents[0] = 1;
    extents.back() = rest;
    std::byte* panel = target + bytes(full * to[0]);
    strided_copy(extents, panel, to, source + bytes(full * from[0]), from, element);
    extents.back() = block - rest;
    const uint64_t zero = 0;
    strided_fill(extents, panel + bytes(rest), to, &zero, element);
  }
  return {};
}

constexpr HostOp kOps[] = {
    {"pack", pack},
};

}  // namespace

std::span<const HostOp> weight_host_ops() { return kOps; }

}  // namespace tintype
