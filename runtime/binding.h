// What an Executor prepares once per set of extents: Halide buffers, argument lists, patch lists.
#pragma once

#include "runtime/cuda/library_call.h"
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
  uint64_t fill = 0;                     ///< the element to store, in its first bytes
  int32_t mover = -1;                    ///< of a loop: index into Binding::movers
  bool device = false;                   ///< a kernel or a copy that goes to the CUDA queue
  std::unique_ptr<LibraryPlan> library;  ///< null where kernels do it
};

struct Executor::Binding {
  /// A pointer into a caller's input or a run's output, renewed at every run.
  struct Patch {
    int32_t port;
    size_t byte_offset;
    uint8_t** host;   ///< the view's address, or where its motions start from
    Tensor* operand;  ///< null, or a host op's operand that reads the same view
  };
  /// What a trip of a loop changes. A view with several motions goes from its start through one
  /// address per loop around it; each loop renews the address behind it.
  struct Mover {
    struct Move {
      uint8_t* const* from;
      uint8_t** to;
      ptrdiff_t stride;  ///< bytes
      int32_t phase, ring;
    };
    struct Operand {
      Tensor* operand;
      uint8_t* const* host;
    };
    std::vector<Move> moves;
    std::vector<Operand> operands;  ///< of host ops

    void apply(int64_t trip) const {
      for (const Move& m : moves) {
        const int64_t place = m.ring > 0 ? (trip + m.phase) % m.ring : trip;
        *m.to = *m.from + place * m.stride;
      }
      for (const Operand& o : operands) o.operand->repoint(*o.host);
    }
  };
  /// How an output comes to be.
  struct Result {
    bool has_memory = false;  ///< a storage of the program is the memory of this output
    bool in_place = false;    ///< that memory is the result; else the port's view is copied
    ViewId view = kNoView;
  };

  /// What storages lie in. Arenas may be null when the plan needs none.
  struct Memory {
    std::byte *arena, *device_arena;
    const CudaProgram* cuda;             ///< null when the program uses no device
    std::span<std::byte* const> states;  ///< each on the side that its storage says
  };
  Binding(const Program& program, const std::vector<KernelFunction>& functions,
          std::shared_ptr<const Plan> bound, const Memory& memory, void** context);

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
  std::vector<Mover> movers;        ///< one per loop
  std::vector<uint8_t*> addresses;  ///< per view and motion: where it is without that motion
  std::vector<size_t> address_begin;
  // With a CUDA device: where inputs and outputs lie for good, and the steps as one graph.
  std::vector<Tensor> staged_inputs, staged_outputs;
  /// What became of the steps for libraries.
  std::vector<LibraryUse> library_uses;
  bool recordable = false;  ///< all steps go to the queue
  bool warm = false;        ///< it has run once: modules are loaded, scratch is there
  CudaGraph graph;

  /// Asks the libraries for the steps that are written for them.
  void prepare_libraries(const Program& program, CudaQueue& queue);

  static bool on_device(const Program& program, ViewId id) {
    const auto storage = static_cast<size_t>(program.views[static_cast<size_t>(id)].storage);
    return program.storages[storage].device;
  }
  size_t bytes(const Program& program, ViewId id) const;

 private:
  std::span<const int64_t> list(const std::vector<int64_t>& values, ViewId id) const {
    const size_t begin = list_begin[static_cast<size_t>(id)];
    return {values.data() + begin, list_begin[static_cast<size_t>(id) + 1] - begin};
  }
  void make_buffers(const Program& program, const Memory& memory);
  void find_device_steps(const Program& program);
  LibraryOperand library_operand(const Program& program, ViewId id);
  void make_steps(const Program& program, const std::vector<KernelFunction>& functions,
                  void** context);
  void make_movers(const Program& program, std::span<const ViewId> operand_views);
  /// Where the address of a view without its motions is kept.
  uint8_t** start_of(const Program& program, ViewId id);
  void make_patches(const Program& program, std::span<const ViewId> operand_views);
  void add_operands(const Program& program, const std::vector<ViewId>& views,
                    std::vector<ViewId>& operand_views);
};

}  // namespace tintype
