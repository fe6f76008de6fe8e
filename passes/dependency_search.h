// Which nodes depend on a group that is being grown, as far as a bounded search can tell.
#pragma once

#include "passes/node_set.h"

#include <cstddef>
#include <unordered_map>

namespace tintype {

/// Serves one group after another: what it remembers of one is dropped at the next.
class DependencySearch {
 public:
  /// `group` is the group at hand, which its owner changes.
  DependencySearch(const NodeNumbers& numbers, const NodeSet& group)
      : numbers_(numbers), group_(group), independent_(numbers) {}

  /// A group begins at `seed` and grows by nodes alone that depend on it.
  void begin(const Node& seed);
  /// What makes an operand of n and, outside the group, depends on the group, or may: n must not
  /// join before it. Null when n is free to.
  const Node* obstacle(const Node& n);

 private:
  /// Nodes that the searches for one group may look at. Where a shortcut leads far on, what it
  /// skips would be looked at from everywhere along the way.
  static constexpr size_t kMostVisited = 512;

  const Node* dependent_operand(const Node& n);
  bool depends_on_group(const Node& n);

  const NodeNumbers& numbers_;
  const NodeSet& group_;
  uint32_t seed_ = 0;
  /// What does not depend on the group: nor will it when the group has grown.
  NodeSet independent_;
  size_t visited_ = 0;
  std::unordered_map<const Node*, const Node*> waits_for_;
};

}  // namespace tintype
