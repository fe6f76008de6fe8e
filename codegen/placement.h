// Decides where values live: own memory, a window of another value's memory, or a view.
//
// A value that is only concatenated or zero-padded is produced in place: directly inside the result
// of the concatenation, or inside a buffer with margins. Movement ops then cost nothing. An operand
// that got axes of extent 1 for it, as in stacking, is the value behind the reshape.
#pragma once

#include "codegen/program_builder.h"
#include "ir/graph.h"

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tintype {

/// Margins to be set to a value before the memory they surround is used.
struct Margin {
  DType dtype;
  double fill;
  Placement placement;
  Shape extents;
};

/// True for a node whose result is memory of its operand, read in another way, where strides allow.
bool is_view(const Node& n);

class PlacementPlan {
 public:
  /// `writable(v)`: v is produced by a step that can write to any strided view.
  /// `apart(v)`: v gets no margins.
  PlacementPlan(const Graph& graph, ProgramBuilder& builder,
                const std::function<bool(const Value*)>& writable,
                const std::function<bool(const Value*)>& apart);

  /// Where the step that produces v has to write. Allocates on first use; margins that become
  /// necessary are handed to `on_margin`.
  const Placement& of(const Value* v);
  /// Fixes the place of a value from outside (inputs, constants, outputs, views).
  void set(const Value* v, Placement p) { placements_[v] = std::move(p); }
  bool known(const Value* v) const { return placements_.count(v) != 0; }
  /// True while a value may still lie anywhere, for it is no part of another one either.
  bool is_free(const Value* v) const { return !known(v) && hosts_.count(v) == 0; }
  /// True when `pad` or `concat` node's operand i is produced in place.
  bool in_place(const Node* node, int operand) const;

  std::function<void(const Margin&)> on_margin;

 private:
  struct Host {          ///< the value (or padded frame) that v is a window of
    const Value* value;  ///< concat result, or null for a frame
    int frame = -1;
    Shape offset;
    const Value* as = nullptr;  ///< the operand of the concatenation: v, or v with other axes of 1
  };
  struct Frame {  ///< a value with margins around it
    const Value* inner;
    Shape before, after;
    double fill = 0;
    int32_t storage = -1;
    Shape shape() const;
  };
  void plan_concat(const Node& n, const std::function<bool(const Value*)>& writable);
  void plan_pads(const Value* v, const std::function<bool(const Value*)>& writable);
  void allocate_frame(Frame& f);
  Placement window(const Placement& base, const Shape& offset) const;

  ProgramBuilder& builder_;
  std::unordered_map<const Value*, Placement> placements_;
  std::unordered_map<const Value*, Host> hosts_;  ///< value -> what it is a window of
  std::unordered_map<const Node*, Host> padded_;  ///< pad node -> window of a frame
  std::vector<Frame> frames_;
};

/// Where the value behind the views that v is made of has to lie for v to lie at `p`, if there is
/// such a place; v becomes that value.
std::optional<Placement> place_behind_views(const Value*& v, const Placement& p);
/// Strides under which a strided tensor reads as another shape, if it can without copying.
std::optional<Shape> reshape_strides(const Shape& from, const Shape& strides, const Shape& to);
/// The place of the result of a view op (reshape, transpose, broadcast, slice, reverse) given its
/// operand's; nothing when a reshape needs a copy.
std::optional<Placement> view_of(const Node& n, const Placement& operand);

}  // namespace tintype
