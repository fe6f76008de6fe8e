// A session: the memory and the prepared arguments with which one thread at a time runs a Program.
#pragma once

#include "runtime/host_ops.h"
#include "runtime/kernel.h"
#include "runtime/memory.h"
#include "runtime/plan.h"
#include "runtime/program.h"
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
  /// `functions` holds one entry per Program::kernels, `states` the memory of Program::states.
  Executor(std::shared_ptr<const Program> program,
           std::shared_ptr<const std::vector<KernelFunction>> functions,
           std::shared_ptr<PlanCache> plans, std::vector<Tensor> states = {});
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

  Result<Binding*> binding_for(std::span<const int64_t> symbols);
  Status reserve_arena(size_t bytes);
  std::vector<Tensor> finish_outputs(const Binding& binding,
                                     const std::vector<Tensor>& memory) const;
  /// Steps [begin, end), with what they span.
  Status run_steps(Binding& binding, size_t begin, size_t end, std::span<double> step_seconds);
  Status run_step(Binding& binding, size_t index);
  Status run_loop(Binding& binding, size_t index, std::span<double> step_seconds);
  Status run_branch(Binding& binding, size_t index, std::span<double> step_seconds);
  void copy(Binding& binding, ViewId from, ViewId to) const;
  Status kernel_failure(const Step& step, const Plan& plan, size_t index, int code);

  static constexpr size_t kBindings = 8;

  const std::shared_ptr<const Program> program_;
  const std::shared_ptr<const std::vector<KernelFunction>> functions_;
  const std::shared_ptr<PlanCache> plans_;
  const std::vector<Tensor> states_;
  AlignedBlock arena_;
  std::vector<std::unique_ptr<Binding>> bindings_;  ///< most recent first, all for arena_
  std::vector<int64_t> symbols_;                    ///< of the current run
  KernelContext context_;
  void* context_pointer_ = &context_;  ///< what argv[0] of every kernel points to
};

/// Checks names-independent properties of inputs in port order: count, dtype, rank, and every
/// extent that is a constant or a symbol; reads the symbols. Messages name the port, the expected
/// and the given type.
Status read_symbols(const Program& program, std::span<const Tensor> inputs,
                    std::vector<int64_t>& symbols);
/// Compares all extents with those a plan expects.
Status check_input_dims(const Program& program, const Plan& plan, std::span<const Tensor> inputs);

}  // namespace tintype
