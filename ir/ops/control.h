// The operands and results of control ops, by what they mean.
//
//   scan(states..., scanned..., invariants...) {trips, states, scanned, reverse}
//     body(states..., slices..., invariants...) -> next states..., outputs...
//     results: the states after the last trip, then per output all trips stacked on a new axis 0
//     checkpoint 1: the gradient runs the body again instead of keeping what it needs of every
//     trip; -1: such a body's loop, which keeps everything
//   loop(trip_count, condition, states..., invariants...) {states}
//     body(trip, states..., invariants...) -> condition, next states...
//     results: the states when the condition fails or trip_count trips are done
//   if(condition, values...)
//     two bodies(values...) -> results...; the first is taken when the condition holds
#pragma once

#include "ir/graph.h"

namespace tintype {

/// Views a `scan` node. Trip k reads and writes index k of the scanned axes, or index
/// trips - 1 - k when it runs in reverse.
struct ScanView {
  explicit ScanView(const Node& n)
      : node(n), states(static_cast<int>(n.attrs().integer("states"))),
        scanned(static_cast<int>(n.attrs().integer("scanned"))),
        reverse(n.attrs().integer("reverse") != 0), checkpoint(n.attrs().integer("checkpoint") > 0),
        trips(n.attrs().dims("trips").at(0)) {}
  const Node& node;
  int states, scanned;
  bool reverse, checkpoint;
  Dim trips;
  Graph& body() const { return *node.body(); }
  int first_invariant() const { return states + scanned; }
  int outputs() const { return node.result_count() - states; }
};

/// Views a `loop` node. Operand kStates + i is body input 1 + i.
struct LoopView {
  static constexpr int kTripCount = 0, kCondition = 1, kStates = 2;
  explicit LoopView(const Node& n)
      : node(n), states(static_cast<int>(n.attrs().integer("states"))) {}
  const Node& node;
  int states;
  Graph& body() const { return *node.body(); }
};

}  // namespace tintype
