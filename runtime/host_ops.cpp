// The table of all host ops, gathered from the families.
#include "runtime/host_ops.h"

#include "runtime/host_families.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
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

/// Host ops of plugins. Apart from the built-in ones, so that looking those up needs no lock.
struct AddedOps {
  std::shared_mutex mutex;
  std::map<std::string_view, const HostOp*> by_name;
};

AddedOps& added_ops() {
  static AddedOps instance;
  return instance;
}

const HostOp* find_added(std::string_view name) {
  if (name.find("::") == std::string_view::npos) return nullptr;
  AddedOps& added = added_ops();
  const std::shared_lock lock(added.mutex);
  const auto it = added.by_name.find(name);
  return it == added.by_name.end() ? nullptr : it->second;
}

}  // namespace

std::span<const HostOp> all_host_ops() { return sorted_ops(); }

Status register_host_ops(std::span<const HostOp> ops) {
  AddedOps& added = added_ops();
  const std::unique_lock lock(added.mutex);
  for (const HostOp& op : ops) {
    const std::string name(op.name);
    if (name.find("::") == std::string::npos)
      return invalid_argument("host op '" + name +
                              "' cannot be added: its name must be domain::Name");
    if (const auto [it, fresh] = added.by_name.emplace(op.name, &op); !fresh && it->second != &op)
      return invalid_argument("there are two host ops named '" + name + "'");
  }
  return {};
}

const HostOp* find_host_op(std::string_view name) {
  const std::vector<HostOp>& ops = sorted_ops();
  const auto it =
      std::lower_bound(ops.begin(), ops.end(), name,
                       [](const HostOp& op, std::string_view n) { return op.name < n; });
  return it != ops.end() && it->name == name ? &*it : find_added(name);
}

}  // namespace tintype
