// Which states of a graph may be updated where they lie.
#pragma once

#include "codegen/machine.h"
#include "ir/graph.h"

#include <unordered_map>

namespace tintype {

/// A state is updated in place when the step that makes its next value is the last to read the
/// current one, and reads it, if at all, element by element: then no old element is needed after a
/// new one has taken its place. Reads through views count for what they are views of; the step may
/// make a reshape of the next value.
class StateUpdates {
 public:
  StateUpdates(const Graph& graph, const Machine& machine);
  bool in_place(const State& state) const;

 private:
  /// `in_order`: elements of v lie in the order of the state.
  bool reads_are_over(const Value* v, const Node& writer, bool in_order) const;

  const Graph& graph_;
  const Machine& machine_;
  std::unordered_map<const Node*, int> position_;
};

}  // namespace tintype
