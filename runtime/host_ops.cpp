// The table of all host ops, gathered from the families.
#include "runtime/host_ops.h"

#include "runtime/host_families.h"

#include <algorithm>
#include <vector>

namespace tintype {

namespace {

const std::vector<HostOp>& sorted_ops() {
  static const std::vector<HostOp> ops = [] {
    std::vector<HostOp> list;
    for (std::span<const HostOp> family :
         {binary_host_ops(), unary_host_ops(), cast_host_ops(), shape_host_ops(), index_host_ops(),
          reduce_host_ops(), sort_host_ops(), contraction_host_ops(), window_host_ops(),
          weight_host_ops(), winograd_host_ops(), gradient_host_ops(), random_host_ops()})
      list.insert(list.end(), family.begin(), family.end());
    std::sort(list.begin(), list.end(),
              [](const HostOp& a, const HostOp& b) { return a.name < b.name; });
    return list;
  }();
  return ops;
}

}  // namespace

std::span<const HostOp> all_host_ops() { return sorted_ops(); }

const HostOp* find_host_op(std::string_view name) {
  const std::vector<HostOp>& ops = sorted_ops();
  const auto it =
      std::lower_bound(ops.begin(), ops.end(), name,
                       [](const HostOp& op, std::string_view n) { return op.name < n; });
  return it != ops.end() && it->name == name ? &*it : nullptr;
}

}  // namespace tintype
