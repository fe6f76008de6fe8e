// What a Model's copies and its sessions share, and what running through either has in common.
#pragma once

#include "runtime/executor.h"
#include "runtime/model.h"
#include "runtime/plan.h"

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace tintype {

struct Model::Shared {
  std::shared_ptr<const Program> program;
  std::shared_ptr<const KernelLibrary> kernels;
  std::shared_ptr<const std::vector<KernelFunction>> functions;
  std::shared_ptr<PlanCache> plans;
  std::shared_ptr<CudaProgram> cuda;  ///< null when no step runs on a CUDA device
  std::mutex mutex;
  std::vector<std::unique_ptr<Executor>> idle;

  // More executors than this are used when as many runs overlap, but not kept.
  static constexpr size_t kMaxIdle = 16;

  std::unique_ptr<Executor> take() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        std::unique_ptr<Executor> executor = std::move(idle.back());
        idle.pop_back();
        return executor;
      }
    }
    return std::make_unique<Executor>(program, functions, plans, Executor::States(), cuda);
  }

  void give_back(std::unique_ptr<Executor> executor) {
    const std::lock_guard lock(mutex);
    if (idle.size() < kMaxIdle) idle.push_back(std::move(executor));
  }
};

/// Inputs in port order; a missing or unknown name is an invalid_argument that tells which.
Result<std::vector<Tensor>> in_port_order(const Program& program,
                                          const std::map<std::string, Tensor>& inputs);

/// One uncounted run, then `runs` runs; the mean time of each step.
Result<std::vector<StepTime>> profile_steps(Executor& executor, const Program& program,
                                            PlanCache& plans, std::span<const Tensor> inputs,
                                            int runs, const RunOptions& options);

}  // namespace tintype
