// A set of nodes of one graph, for passes that make many of them.
#pragma once

#include "ir/node_numbers.h"

#include <cstdint>
#include <vector>

namespace tintype {

/// Nodes that have a number. Clearing costs nothing, so that one set serves thousands of searches.
class NodeSet {
 public:
  explicit NodeSet(const NodeNumbers& numbers) : numbers_(numbers), mark_(numbers.size(), 0) {}

  void clear() { ++round_; }
  /// False when the node is in already.
  bool insert(const Node* n) {
    uint32_t& mark = mark_[numbers_.of(n)];
    if (mark == round_) return false;
    mark = round_;
    return true;
  }
  void erase(const Node* n) { mark_[numbers_.of(n)] = 0; }
  bool has(const Node* n) const {
    const uint32_t number = numbers_.of(n);
    return number != NodeNumbers::kNone && mark_[number] == round_;
  }

 private:
  const NodeNumbers& numbers_;
  std::vector<uint32_t> mark_;  ///< the round in which a node came in
  uint32_t round_ = 1;
};

}  // namespace tintype
