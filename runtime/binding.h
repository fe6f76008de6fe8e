// What an Executor prepares once per set of extents: Halide buffers, argument lists, patch lists.
#pragma once

#include "runtime/executor.h"

namespace tintype {

/// A step with everything resolved.
struct Executor::ReadyStep {
  const Step* step = nullptr;
  KernelFunction kernel = nullptr;
  void** arguments = nullptr;  ///< of the kernel
  HostFunction host = nullptr;
  const Attributes* attributes = nullptr;
  std::span<const Tensor> host_inputs;
  std::span<Tensor> host_outputs;
  uint64_t fill = 0;  ///< the element to store, in its first bytes
};

struct Executor::Binding {
  /// A pointer into a caller's input or a run's output, renewed at every run.
  struct Patch {
    int32_t port;
    size_t byte_offset;
    halide_buffer_t* buffer;  ///< always
    Tensor* operand;          ///< null, or a host op's operand that reads the same view
  };
  /// How an output comes to be.
  struct Result {
    bool has_memory = false;  ///< a storage of the program is the memory of this output
    bool in_place = false;    ///< that memory is the result; else the port's view is copied
    ViewId view = kNoView;
  };

  /// `arena` may be null when the plan needs none.
  Binding(const Program& program, const std::vector<KernelFunction>& functions,
          std::shared_ptr<const Plan> bound, std::byte* arena, std::span<const Tensor> states,
          void** context);

  halide_buffer_t& buffer(ViewId id) { return buffers[static_cast<size_t>(id)]; }
  /// Points everything that depends on them at these inputs and outputs.
  void set_ports(std::span<const Tensor> inputs, std::span<Tensor> outputs);
  /// Copies a view into a new tensor.
  Tensor copy_out(const Program& program, ViewId id) const;
  /// Extents or strides of a view, outermost first.
  std::span<const int64_t> extents(ViewId id) const { return list(extent_lists, id); }
  std::span<const int64_t> strides(ViewId id) const { return list(stride_lists, id); }

  std::shared_ptr<const Plan> plan;
  std::vector<halide_buffer_t> buffers;  ///< one per view
  std::vector<halide_dimension_t> dimensions;
  std::vector<int64_t> extent_lists, stride_lists;
  std::vector<size_t> list_begin;  ///< per view, into the three vectors above; one more at the end
  std::vector<void*> arguments;
  std::vector<Tensor> operands;
  std::vector<ReadyStep> steps;
  std::vector<Patch> input_patches, output_patches;
  std::vector<Result> results;

 private:
  std::span<const int64_t> list(const std::vector<int64_t>& values, ViewId id) const {
    const size_t begin = list_begin[static_cast<size_t>(id)];
    return {values.data() + begin, list_begin[static_cast<size_t>(id) + 1] - begin};
  }
  void make_buffers(const Program& program, std::byte* arena, std::span<const Tensor> states);
  void make_steps(const Program& program, const std::vector<KernelFunction>& functions,
                  void** context);
  void make_patches(const Program& program, std::span<const ViewId> operand_views);
  void add_operands(const Program& program, const std::vector<ViewId>& views,
                    std::vector<ViewId>& operand_views);
};

}  // namespace tintype
