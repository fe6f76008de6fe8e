// The walk that turns a graph into a Program, shared by the files that lower its kinds of nodes.
#pragma once

#include "codegen/lower.h"
#include "codegen/placement.h"
#include "codegen/region_kernel.h"

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tintype {

/// True when the step that produces the value can write to any strided view.
bool writes_anywhere(const Value* v);

class Lowering {
 public:
  Lowering(const Graph& graph, const LowerOptions& options);
  Lowered run();

 private:
  /// A copy to be made when all nodes of a graph are lowered.
  struct PendingCopy {
    const Value* value;
    Placement to;
    std::string name;
    std::optional<Placement> aside = {};
  };

  // lower.cpp
  int64_t hint(const Dim& d) const;
  void add_inputs();
  Placement whole(const Value* v, Storage::Kind kind, int32_t index);
  bool claimable(const Value* v) const;
  void claim_outputs();
  void finish_outputs();
  void add_constraints(const Graph& graph);
  bool in_state(const Placement& at) const;
  void add_fill(const Margin& m);
  void add_copy(DType dtype, const Shape& shape, const Placement& from, const Placement& to,
                const std::string& name, const std::string& origin);
  Placement fresh(const Value* v);
  Placement dense_place(const Value* v, const Node& reader);
  void lower_node(const Node& n);
  void lower_constant(const Node& n);
  void lower_view(const Node& n);
  void lower_concat(const Node& n);
  void lower_host(const Node& n);
  void set_attribute(Step& s, const std::string& name, const Attr& value);
  Placement region_input(const Node& region, int i);
  void lower_region(const Node& n);
  int32_t kernel_index(KernelChoice& c);
  void set_lifetimes();

  // lower_control.cpp
  void lower_control(const Node& n);
  void lower_scan(const Node& n);
  void lower_loop(const Node& n);
  void lower_if(const Node& n);
  /// Lowers a body whose inputs lie at `inputs` and whose outputs have to come to `outputs`.
  void lower_body(const Graph& body, const std::vector<Placement>& inputs,
                  const std::vector<Placement>& outputs);
  /// Adds the step and returns its index; its span is set by close_span.
  int32_t open_step(Step::Kind kind, const Node& n);
  int32_t close_span(int32_t step) const;
  Placement moving(Placement p, int32_t loop, const Dim& stride, int32_t phase, int32_t ring);
  /// Places for a state on odd and even trips: one behind the other. `initial` is copied to the
  /// first.
  Placement ring_for(const Value* state, const Placement& initial, const Node& n, Dim& stride);
  Placement scalar(DType dtype);
  Placement invariant_place(const Value* v, const Node& reader);

  const Graph& graph_;
  const LowerOptions& options_;
  Lowered result_;
  ProgramBuilder builder_;
  PlacementPlan root_places_;
  PlacementPlan* places_;            ///< of the graph that is being lowered
  std::vector<PendingCopy> copies_;  ///< of outputs and states that no step writes directly
  std::unordered_map<std::string, int32_t> kernel_ids_;
  Dim repeats_ = 1;  ///< trips of the scans around the current node
};

}  // namespace tintype
