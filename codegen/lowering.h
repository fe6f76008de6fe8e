// The walk that turns a graph into a Program, shared by the files that lower its kinds of nodes.
#pragma once

#include "codegen/library_steps.h"
#include "codegen/lower.h"
#include "codegen/placement.h"
#include "codegen/region_kernel.h"
#include "ir/builder.h"
#include "ir/ops/control.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tintype {

/// True when the step that produces the value can write to any strided view.
bool writes_anywhere(const Value* v);

/// The node of a region that a library is to compute, or null.
const Node* library_anchor(const Node& region);

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
  void add_kernel_step(const Node& region, const std::vector<Placement>& inputs,
                       const std::vector<Placement>& outputs, const std::string& origin);
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
  /// Where a scan's state lies: before and after the first trip, `stride` further on every later
  /// one, or in a ring of two places; and behind the last trip.
  struct StatePlaces {
    Placement first, second, last;
    Dim stride = Dim(0);
    int32_t ring = 0;
    int saved = -1;  ///< the result that its places are a part of
  };
  StatePlaces place_state(const ScanView& scan, int state);
  std::optional<StatePlaces> places_in_saved(const ScanView& scan, int state);
  Placement scalar(DType dtype);
  Placement invariant_place(const Value* v, const Node& reader);

  // lower_cuda.cpp
  /// True when the step for this node runs on the CUDA device, and its results lie there.
  bool runs_on_device(const Node& n) const;
  bool is_on_device(const Placement& p) const;
  /// True for a state that stays on the device from run to run.
  bool state_on_device(const State& s) const;
  /// True when a step on the device reads the value, or a view of it.
  bool read_on_device(const Value* v) const;
  /// Throws unless the CPU may help out; notes that it does.
  void keep_on_host(const Node& n, const std::string& why);
  /// Where the value lies on the device or on the host; copied there when it does not.
  Placement placed(const Value* v, bool device);
  Placement constant_on_device(const Placement& p);
  Placement input_on_device(const Placement& p);
  Placement buffer(DType dtype, const Shape& shape, bool device);
  /// add_copy where at least one side is the device.
  void add_device_copy(DType dtype, const Shape& shape, const Placement& from, const Placement& to,
                       const std::string& name, const std::string& origin);
  void add_device_fill(const Margin& m);
  void lower_device_pad(const Node& n);
  void add_device_pad(const Node& n, const Placement& to);
  void lower_device_dims(const Node& n);
  /// A region of its own around one op; `make` builds the body's result from the body's inputs.
  const Node& scratch_region(
      const std::string& name, const std::vector<TensorType>& inputs, const TensorType& result,
      const std::function<Value*(Builder&, const std::vector<Value*>&)>& make);

  // lower_library.cpp
  /// An input of a region that takes the place of another one: which value of its body it is.
  struct Stand {
    const Value* value;
    TensorType type;
  };
  /// What a library reads and writes.
  struct LibraryOperands {
    KernelArgument left, right, bias, residual, result;
    std::vector<int64_t> padding;  ///< of a convolution, per axis
    LibraryEpilogue epilogue;
    Placement made;       ///< the result, as the region's anchor has it
    bool whole = false;   ///< the call computes all of the region
    bool direct = false;  ///< to where the region's result belongs
    bool rows = false;    ///< all positions of a product are rows of one matrix
  };
  const Node* library_reader(const Use& use) const;
  /// True for a pad by zeros that convolutions of a library alone read: they pad themselves.
  bool library_pads(const Node& pad) const;
  /// True for a value that gets no margins, because a library reads or writes it.
  bool lies_apart(const Value* v) const;
  void lower_library(const Node& n, const Node& anchor);
  void lower_without_library(const Node& n, const Node& anchor);
  void lower_library_tail(const Node& n, const Node& anchor, const Placement& made);
  void add_library_call(Step& s, const Node& n, const Node& anchor, const LibraryOperands& o);
  void place_bias(LibraryOperands& o, const std::map<const Value*, const Value*>& outer);
  std::optional<LibraryOperands> product_operands(
      const Node& n, const Node& anchor, const std::map<const Value*, const Value*>& outer);
  std::optional<LibraryOperands> convolution_operands(
      const Node& n, const Node& anchor, const std::map<const Value*, const Value*>& outer);
  Placement dense_on_device(const Value* v, const Node& reader);
  /// The region with other inputs, without the marks for libraries, and without one node, whose
  /// result is among the inputs.
  const Node& variant(const Node& region, const std::vector<Stand>& inputs, const Node* left_out);

  const Graph& graph_;
  const LowerOptions& options_;
  Lowered result_;
  ProgramBuilder builder_;
  bool host_only_ = false;  ///< inside a loop or branch that the host decides; root_places_ asks
  PlacementPlan root_places_;
  PlacementPlan* places_;            ///< of the graph that is being lowered
  std::vector<PendingCopy> copies_;  ///< of outputs and states that no step writes directly
  std::unordered_map<std::string, int32_t> kernel_ids_;
  Dim repeats_ = 1;  ///< trips of the scans around the current node
  /// Copies on the other side, and twins of storages there.
  std::map<std::pair<const Value*, bool>, Placement> copies_elsewhere_;
  std::map<int32_t, int32_t> twins_;
  std::vector<std::unique_ptr<Graph>> scratch_;
};

}  // namespace tintype
