// A session: the memory and the prepared arguments with which one thread at a time runs a Program.
#pragma once

#include "runtime/cuda/queue.h"
#include "runtime/host_ops.h"
#include "runtime/kernel.h"
#include "runtime/memory.h"
#include "runtime/plan.h"
#include "runtime/program.h"
#include "runtime/state_memory.h"
#include "runtime/tensor.h"

#include <HalideRuntime.h>
#include <memory>
#include <span>
#include <vector>

namespace tintype {

/// Runs a program. Not thread-safe: a model keeps one Executor per concurrent run. After the first
/// run of a set of extents, running allocates the output tensors and nothing else.
class Executor {
 public:
  using States = std::vector<std::shared_ptr<StateMemory>>;

  /// `functions` holds one entry per Program::kernels, `states` the memory of Program::states;
  /// `cuda` is given when the program uses a CUDA device.
  Executor(std::shared_ptr<const Program> program,
           std::shared_ptr<const std::vector<KernelFunction>> functions,
           std::shared_ptr<PlanCache> plans, States states = {},
           std::shared_ptr<CudaProgram> cuda = nullptr);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Checks the inputs, binds their extents when they are new, and runs all steps. `step_seconds`,
  /// when given, has one entry per step to which that step's time is added.
  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs, int max_threads,
                                  std::span<double> step_seconds = {});

 private:
  struct Binding;
  struct ReadyStep;

  /// Brings the states to the sides where the program has them; finds state_data_.
  Status place_states();
  /// The steps are about to change the states, wholly or in part.
  void note_states_written();
  Result<Binding*> binding_for(std::span<const int64_t> symbols);
  Status reserve_arena(const Plan& plan);
  std::vector<Tensor> finish_outputs(const Binding& binding,
                                     const std::vector<Tensor>& memory) const;
  /// Steps [begin, end), with what they span.
  Status run_steps(Binding& binding, size_t begin, size_t end, std::span<double> step_seconds);
  /// One step, with what it spans.
  Status run_whole_step(Binding& binding, size_t index, std::span<double> step_seconds);
  Status run_step(Binding& binding, size_t index);
  Status run_loop(Binding& binding, size_t index, std::span<double> step_seconds);
  Status run_branch(Binding& binding, size_t index, std::span<double> step_seconds);
  void copy(Binding& binding, ViewId from, ViewId to) const;
  Status kernel_failure(const Step& step, const Plan& plan, size_t index, int code);

  // executor_cuda.cpp
  Status reserve_device(const Plan& plan);
  /// Lets the inputs and outputs of a new binding lie in pinned memory, for good.
  void stage_ports(Binding& binding);
  Result<std::vector<Tensor>> run_staged(Binding& binding, std::span<const Tensor> inputs,
                                         std::span<double> step_seconds);
  /// All steps, or their recording if there is one.
  Status run_queued(Binding& binding, std::span<double> step_seconds);
  /// All steps, on as many lanes as the plan has.
  Status run_lanes(Binding& binding, std::span<double> step_seconds);
  /// Before and behind the steps of a part of the plan.
  Status enter_part(const PlannedLanes::Part& part);
  Status leave_part(const PlannedLanes::Part& part);
  Status run_device_step(Binding& binding, size_t index);
  Status run_library(Binding& binding, size_t index, std::span<double> step_seconds);
  Status device_copy(Binding& binding, ViewId from, ViewId to);
  /// Before the host touches memory that what is queued reads or writes.
  Status wait_for_device();

  static constexpr size_t kBindings = 8;

  const std::shared_ptr<const Program> program_;
  const std::shared_ptr<const std::vector<KernelFunction>> functions_;
  const std::shared_ptr<PlanCache> plans_;
  const States states_;
  const Status runs_here_;              ///< why this CPU cannot run the kernels
  std::vector<std::byte*> state_data_;  ///< where each begins, on its side
  std::vector<bool> state_on_device_;
  AlignedBlock arena_;
  std::vector<std::unique_ptr<Binding>> bindings_;  ///< most recent first, all for arena_
  std::vector<int64_t> symbols_;                    ///< of the current run
  KernelContext context_;
  void* context_pointer_ = &context_;  ///< what argv[0] of every kernel points to
  // Of programs that use a CUDA device. The queue goes first: it waits for what uses the rest.
  CudaMemory device_arena_;
  PinnedMemory staging_;        ///< inputs and outputs, on their way to and from the device
  bool wait_for_each_ = false;  ///< step, in this run
  std::unique_ptr<CudaQueue> queue_;
};

/// "step 'relu' (from node)", for messages.
std::string describe(const Step& step);

/// Checks names-independent properties of inputs in port order: count, dtype, rank, and every
/// extent that is a constant or a symbol; reads the symbols. Messages name the port, the expected
/// and the given type.
Status read_symbols(const Program& program, std::span<const Tensor> inputs,
                    std::vector<int64_t>& symbols);
/// Compares all extents with those a plan expects.
Status check_inputs(const Program& program, const Plan& plan, std::span<const Tensor> inputs);

}  // namespace tintype
