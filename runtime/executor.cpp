// Runs the flat list of steps of a bound program.
#include "runtime/executor.h"

#include "runtime/binding.h"
#include "runtime/cpu_features.h"
#include "runtime/strided.h"
#include "runtime/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>

namespace tintype {

namespace {

// Kernels assume that elements are aligned to their size; callers may borrow memory that is not.
bool is_aligned(const Tensor& t) {
  return !t.defined() || reinterpret_cast<uintptr_t>(t.data()) % size_of(t.dtype()) == 0;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// That of a plugin may throw anything.
Status call_host_op(HostFunction function, const HostCall& call) {
  try {
    return function(call);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    return {StatusCode::internal, e.what()};
  } catch (...) {
    return {StatusCode::internal, "it throws what is no std::exception"};
  }
}

}  // namespace

std::string describe(const Step& step) {
  return "step '" + step.name + "'" + (step.origin.empty() ? "" : " (from " + step.origin + ")");
}

Executor::Executor(std::shared_ptr<const Program> program,
                   std::shared_ptr<const std::vector<KernelFunction>> functions,
                   std::shared_ptr<PlanCache> plans, States states,
                   std::shared_ptr<CudaProgram> cuda)
    : program_(std::move(program)), functions_(std::move(functions)), plans_(std::move(plans)),
      states_(std::move(states)),
      runs_here_(functions_->empty() ? Status() : check_cpu(program_->target)),
      state_data_(states_.size()), state_on_device_(states_.size()) {
  bindings_.reserve(kBindings + 1);
  for (const Storage& s : program_->storages)
    if (s.kind == Storage::Kind::state) state_on_device_[static_cast<size_t>(s.value)] = s.device;
  if (cuda == nullptr) return;
  queue_ = std::make_unique<CudaQueue>(std::move(cuda));
  context_.queue = queue_.get();
}

Executor::~Executor() = default;

Status Executor::place_states() {
  for (size_t i = 0; i < states_.size(); ++i) {
    if (state_on_device_[i]) {
      const Result<std::byte*> there = states_[i]->on_device(queue_->device());
      if (!there.ok()) return there.status();
      state_data_[i] = there.value();
    } else {
      Result<Tensor> here = states_[i]->on_host();
      if (!here.ok()) return here.status();
      state_data_[i] = static_cast<std::byte*>(here.value().mutable_data());
    }
  }
  return {};
}

void Executor::note_states_written() {
  for (size_t i = 0; i < states_.size(); ++i) states_[i]->written(state_on_device_[i]);
}

Status Executor::reserve_arena(const Plan& plan) {
  if (queue_ != nullptr)
    if (Status s = reserve_device(plan); !s.ok()) return s;
  // Kernels take a null pointer for a bounds query.
  const size_t bytes = std::max(plan.arena_bytes, kBufferAlignment);
  if (bytes <= arena_.bytes()) return {};
  bindings_.clear();  // they point into the old block
  arena_ = AlignedBlock();
  arena_ = AlignedBlock(bytes);
  if (arena_.data() != nullptr) return {};
  return {StatusCode::out_of_memory, "no memory for " + std::to_string(bytes) +
                                         " bytes of buffers of '" + program_->model_name + "'"};
}

Result<Executor::Binding*> Executor::binding_for(std::span<const int64_t> symbols) {
  for (size_t i = 0; i < bindings_.size(); ++i) {
    const std::vector<int64_t>& bound = bindings_[i]->plan->symbols;
    if (!std::equal(bound.begin(), bound.end(), symbols.begin(), symbols.end())) continue;
    std::rotate(bindings_.begin(), bindings_.begin() + static_cast<ptrdiff_t>(i),
                bindings_.begin() + static_cast<ptrdiff_t>(i) + 1);
    return bindings_.front().get();
  }
  Result<std::shared_ptr<const Plan>> plan = plans_->get(symbols);
  if (!plan.ok()) return plan.status();
  if (Status s = reserve_arena(*plan.value()); !s.ok()) return s;
  const Binding::Memory memory{arena_.data(), device_arena_.data(),
                               queue_ == nullptr ? nullptr : &queue_->program(), state_data_};
  auto made = std::make_unique<Binding>(*program_, *functions_, std::move(plan).value(), memory,
                                        &context_pointer_);
  if (queue_ != nullptr) {
    stage_ports(*made);
    const PlannedLanes& lanes = made->plan->lanes;
    if (Status s =
            queue_->prepare(static_cast<size_t>(lanes.count), static_cast<size_t>(lanes.events));
        !s.ok())
      return s;
    made->prepare_libraries(*program_, *queue_);
    if (!made->library_uses.empty()) queue_->program().note_libraries(made->library_uses);
  }
  if (bindings_.size() == kBindings) bindings_.pop_back();
  bindings_.insert(bindings_.begin(), std::move(made));
  return bindings_.front().get();
}

Result<std::vector<Tensor>> Executor::run(std::span<const Tensor> inputs, int max_threads,
                                          std::span<double> step_seconds) {
  if (!std::all_of(inputs.begin(), inputs.end(), is_aligned)) {
    std::vector<Tensor> aligned(inputs.begin(), inputs.end());
    for (Tensor& t : aligned)
      if (!is_aligned(t)) t = t.clone();
    return run(aligned, max_threads, step_seconds);
  }
  if (!runs_here_.ok()) return runs_here_;
  if (Status s = read_symbols(*program_, inputs, symbols_); !s.ok()) return s;
  if (queue_ != nullptr)
    if (Status s = queue_->begin(); !s.ok()) return s;
  if (Status s = place_states(); !s.ok()) return s;
  Result<Binding*> bound = binding_for(symbols_);
  if (!bound.ok()) return bound.status();
  Binding& binding = *bound.value();
  if (Status s = check_inputs(*program_, *binding.plan, inputs); !s.ok()) return s;
  context_.max_threads = max_threads;
  context_.error.clear();
  const ThreadLimit limit(max_threads);
  note_states_written();
  if (queue_ != nullptr) return run_staged(binding, inputs, step_seconds);

  std::vector<Tensor> outputs(program_->outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i)
    if (binding.results[i].has_memory)
      outputs[i] = Tensor::empty(program_->outputs[i].dtype, binding.plan->output_dims[i]);
  binding.set_ports(inputs, outputs);
  if (Status s = run_steps(binding, 0, binding.steps.size(), step_seconds); !s.ok()) return s;
  return finish_outputs(binding, outputs);
}

Status Executor::run_steps(Binding& binding, size_t begin, size_t end,
                           std::span<double> step_seconds) {
  for (size_t i = begin; i < end;) {
    if (Status s = run_whole_step(binding, i, step_seconds); !s.ok()) return s;
    const Step::Control& c = binding.steps[i].step->control;
    i += 1 + static_cast<size_t>(c.span + c.otherwise);
  }
  return {};
}

Status Executor::run_whole_step(Binding& binding, size_t i, std::span<double> step_seconds) {
  const Step& step = *binding.steps[i].step;
  const auto start = step_seconds.empty() ? std::chrono::steady_clock::time_point()
                                          : std::chrono::steady_clock::now();
  // A loop or branch is charged what its steps are not.
  const auto nested = [&] {
    const size_t behind = i + 1 + static_cast<size_t>(step.control.span + step.control.otherwise);
    double sum = 0;
    for (size_t k = i + 1; k < behind; ++k) sum += step_seconds[k];
    return sum;
  };
  const double before = step_seconds.empty() ? 0 : nested();
  Status s = step.kind == Step::Kind::loop      ? run_loop(binding, i, step_seconds)
             : step.kind == Step::Kind::branch  ? run_branch(binding, i, step_seconds)
             : step.kind == Step::Kind::library ? run_library(binding, i, step_seconds)
                                                : run_step(binding, i);
  if (s.ok() && !step_seconds.empty())
    step_seconds[i] += seconds_since(start) - (nested() - before);
  return s;
}

Status Executor::run_loop(Binding& binding, size_t index, std::span<double> step_seconds) {
  const ReadyStep& ready = binding.steps[index];
  const Step::Control& c = ready.step->control;
  const Binding::Mover& mover = binding.movers[static_cast<size_t>(ready.mover)];
  const size_t begin = index + 1, end = begin + static_cast<size_t>(c.span);
  const bool asks = c.trip_count != kNoView || c.condition != kNoView || c.trip != kNoView;
  if (asks)
    if (Status s = wait_for_device(); !s.ok()) return s;
  int64_t most = c.trips >= 0 ? binding.plan->value(c.trips) : INT64_MAX;
  if (c.trip_count != kNoView)
    most = std::min(most, *reinterpret_cast<const int64_t*>(binding.buffer(c.trip_count).host));
  int64_t trip = 0;
  for (; trip < most; ++trip) {
    if (asks && trip > 0)
      if (Status s = wait_for_device(); !s.ok()) return s;
    if (c.condition != kNoView && *binding.buffer(c.condition).host == 0) break;
    mover.apply(trip);
    if (c.trip != kNoView) *reinterpret_cast<int64_t*>(binding.buffer(c.trip).host) = trip;
    if (Status s = run_steps(binding, begin, end, step_seconds); !s.ok()) return s;
  }
  if (trip % 2 == 1)
    for (const auto& [first, second] : c.rings) {
      if (binding.on_device(*program_, first)) {
        if (Status s = device_copy(binding, second, first); !s.ok()) return s;
        continue;
      }
      if (Status s = wait_for_device(); !s.ok()) return s;
      copy(binding, second, first);
    }
  return {};
}

Status Executor::run_branch(Binding& binding, size_t index, std::span<double> step_seconds) {
  const Step::Control& c = binding.steps[index].step->control;
  if (Status s = wait_for_device(); !s.ok()) return s;
  const size_t then = index + 1, other = then + static_cast<size_t>(c.span);
  if (*binding.buffer(c.condition).host != 0) return run_steps(binding, then, other, step_seconds);
  return run_steps(binding, other, other + static_cast<size_t>(c.otherwise), step_seconds);
}

void Executor::copy(Binding& binding, ViewId from, ViewId to) const {
  strided_copy(binding.extents(to), binding.buffer(to).host, binding.strides(to),
               binding.buffer(from).host, binding.strides(from),
               size_of(program_->views[static_cast<size_t>(to)].dtype));
}

std::vector<Tensor> Executor::finish_outputs(const Binding& binding,
                                             const std::vector<Tensor>& memory) const {
  std::vector<Tensor> results = memory;  // views to copy may lie in the memory of other outputs
  for (size_t i = 0; i < results.size(); ++i)
    if (!binding.results[i].in_place)
      results[i] = binding.copy_out(*program_, binding.results[i].view);
  return results;
}

Status Executor::run_step(Binding& binding, size_t index) {
  const ReadyStep& ready = binding.steps[index];
  const Step& step = *ready.step;
  if (ready.device) return run_device_step(binding, index);
  if (Status s = wait_for_device(); !s.ok()) return s;
  switch (step.kind) {
    case Step::Kind::kernel:
      if (const int code = ready.kernel(ready.arguments); code != 0)
        return kernel_failure(step, *binding.plan, index, code);
      return {};
    case Step::Kind::host: {
      const Status s =
          call_host_op(ready.host, {ready.host_inputs, ready.host_outputs, *ready.attributes});
      return s.ok() ? s : Status(s.code(), describe(step) + ": " + s.message());
    }
    case Step::Kind::fill:
      for (ViewId id : step.outputs)
        strided_fill(binding.extents(id), binding.buffer(id).host, binding.strides(id), &ready.fill,
                     size_of(program_->views[static_cast<size_t>(id)].dtype));
      return {};
    case Step::Kind::copy: copy(binding, step.inputs[0], step.outputs[0]); return {};
    case Step::Kind::loop:
    case Step::Kind::branch:
    case Step::Kind::library: break;  // run_steps takes these
  }
  return {};
}

Status Executor::kernel_failure(const Step& step, const Plan& plan, size_t index, int code) {
  const auto& choice = step.alternatives[static_cast<size_t>(plan.alternatives[index])];
  const KernelInfo& kernel = program_->kernels[static_cast<size_t>(choice.kernel)];
  return {code == halide_error_code_out_of_memory ? StatusCode::out_of_memory
                                                  : StatusCode::internal,
          describe(step) + ": kernel '" + kernel.name +
              "' failed: " + (context_.error.empty() ? "no message" : context_.error) + " (code " +
              std::to_string(code) + ")"};
}

}  // namespace tintype
