// Nodes by their place in a graph's order, for passes that keep what they know of them in vectors.
#pragma once

#include "ir/graph.h"

#include <cstdint>
#include <vector>

namespace tintype {

/// The numbers of the nodes of a graph, from 0 in their order, at the time of construction. A hash
/// table without nodes of its own: what is asked for together lies in few cache lines.
class NodeNumbers {
 public:
  explicit NodeNumbers(const Graph& graph);

  static constexpr uint32_t kNone = UINT32_MAX;
  /// kNone for nodes that are younger.
  uint32_t of(const Node* node) const {
    for (size_t i = slot(node);; i = (i + 1) & mask_)
      if (table_[i].node == node || table_[i].node == nullptr) return table_[i].number;
  }
  size_t size() const { return size_; }

 private:
  struct Entry {
    const Node* node = nullptr;
    uint32_t number = kNone;
  };
  size_t slot(const Node* node) const {
    return (reinterpret_cast<uintptr_t>(node) * 0x9e3779b97f4a7c15u >> 20) & mask_;
  }

  size_t size_ = 0;
  size_t mask_ = 0;
  std::vector<Entry> table_;
};

}  // namespace tintype
