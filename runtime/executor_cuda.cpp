// Steps on the CUDA device: staging, waiting, recording.
#include "runtime/binding.h"
#include "runtime/executor.h"

#include <cstdlib>
#include <cstring>

namespace tintype {

namespace {

Status named(const std::string& what, const Status& status) {
  return status.ok() ? status : Status(status.code(), what + ": " + status.message());
}

size_t staged_bytes(DType dtype, const std::vector<int64_t>& dims) {
  size_t n = size_of(dtype);
  for (int64_t d : dims) n *= static_cast<size_t>(d);
  // One byte at least: kernels take a null pointer for a bounds query.
  return round_up(std::max<size_t>(n, 1) + kReadableBeyond, kBufferAlignment);
}

}  // namespace

Status Executor::reserve_device(const Plan& plan) {
  size_t staged = 0;
  for (size_t i = 0; i < plan.input_dims.size(); ++i)
    staged += staged_bytes(program_->inputs[i].dtype, plan.input_dims[i]);
  for (size_t i = 0; i < plan.output_dims.size(); ++i)
    staged += staged_bytes(program_->outputs[i].dtype, plan.output_dims[i]);
  const size_t arena = std::max(plan.device_bytes, kBufferAlignment);
  if (arena <= device_arena_.bytes() && staged <= staging_.bytes()) return {};
  bindings_.clear();  // they point into the old blocks
  const std::string what = "buffers of '" + program_->model_name + "' on the CUDA device";
  if (arena > device_arena_.bytes()) {
    device_arena_ = CudaMemory();
    Result<CudaMemory> memory = CudaMemory::allocate(queue_->device(), arena);
    if (!memory.ok()) return named(what, memory.status());
    device_arena_ = std::move(memory).value();
  }
  if (staged > staging_.bytes()) {
    staging_ = PinnedMemory();
    Result<PinnedMemory> memory = PinnedMemory::allocate(queue_->device(), staged);
    if (!memory.ok()) return named(what, memory.status());
    staging_ = std::move(memory).value();
  }
  return {};
}

void Executor::stage_ports(Binding& binding) {
  const Plan& plan = *binding.plan;
  std::byte* next = staging_.data();
  const auto stage = [&](const std::vector<Port>& ports,
                         const std::vector<std::vector<int64_t>>& dims, std::vector<Tensor>& out) {
    for (size_t i = 0; i < ports.size(); ++i) {
      out.push_back(Tensor::borrow(ports[i].dtype, dims[i], next, nullptr));
      next += staged_bytes(ports[i].dtype, dims[i]);
    }
  };
  stage(program_->inputs, plan.input_dims, binding.staged_inputs);
  stage(program_->outputs, plan.output_dims, binding.staged_outputs);
  binding.set_ports(binding.staged_inputs, binding.staged_outputs);
}

Result<std::vector<Tensor>> Executor::run_staged(Binding& binding, std::span<const Tensor> inputs,
                                                 std::span<double> step_seconds) {
  static const bool always = std::getenv("TINTYPE_CUDA_WAIT") != nullptr;
  wait_for_each_ = always || !step_seconds.empty();
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].bytes() > 0)
      std::memcpy(binding.staged_inputs[i].mutable_data(), inputs[i].data(), inputs[i].bytes());
  Status status = run_queued(binding, step_seconds);
  // After a failure, too: what was queued before it uses memory of this executor.
  Status end = wait_for_device();
  if (!status.ok()) return status;
  if (!end.ok()) return end;
  std::vector<Tensor> results = finish_outputs(binding, binding.staged_outputs);
  for (size_t i = 0; i < results.size(); ++i)
    if (binding.results[i].in_place) results[i] = results[i].clone();
  return results;
}

Status Executor::run_queued(Binding& binding, std::span<double> step_seconds) {
  const auto all = [&] { return run_lanes(binding, step_seconds); };
  const std::string whole = "all steps of '" + program_->model_name + "' as a CUDA graph";
  // Streams may have been dropped since they were made.
  const PlannedLanes& lanes = binding.plan->lanes;
  if (Status s =
          queue_->prepare(static_cast<size_t>(lanes.count), static_cast<size_t>(lanes.events));
      !s.ok())
    return named("streams of '" + program_->model_name + "'", s);
  if (!binding.recordable || wait_for_each_ || !binding.warm) {
    Status s = all();
    binding.warm = binding.warm || s.ok();
    return s;
  }
  if (!binding.graph.recorded()) {
    if (Status s = queue_->begin_recording(); !s.ok()) return named(whole, s);
    if (Status s = all(); !s.ok()) {
      queue_->abandon_recording();
      return s;
    }
    Result<CudaGraph> graph = queue_->end_recording();
    if (!graph.ok()) return named(whole, graph.status());
    binding.graph = std::move(graph).value();
  }
  return named(whole, queue_->replay(binding.graph));
}

// Where the host waits after every step, lanes have nothing to wait for.
Status Executor::enter_part(const PlannedLanes::Part& part) {
  queue_->use_lane(static_cast<size_t>(part.lane));
  if (wait_for_each_) return {};
  for (int32_t event : part.waits)
    if (Status s = queue_->wait_for(static_cast<size_t>(event)); !s.ok()) return s;
  return {};
}

Status Executor::leave_part(const PlannedLanes::Part& part) {
  if (wait_for_each_ || part.event < 0) return {};
  return queue_->mark(static_cast<size_t>(part.event));
}

Status Executor::run_lanes(Binding& binding, std::span<double> step_seconds) {
  const PlannedLanes& lanes = binding.plan->lanes;
  if (lanes.count == 1) return run_steps(binding, 0, binding.steps.size(), step_seconds);
  if (lanes.forks && !wait_for_each_)
    if (Status s = queue_->mark(0); !s.ok()) return s;
  for (size_t p = 0; p < lanes.parts.size(); ++p) {
    const PlannedLanes::Part& part = lanes.parts[p];
    const auto first = static_cast<size_t>(part.first_step);
    Status s = enter_part(part);
    if (!s.ok()) return named(describe(*binding.steps[first].step), s);
    if (s = run_whole_step(binding, first, step_seconds); !s.ok()) return s;
    if (s = leave_part(part); !s.ok()) return named(describe(*binding.steps[first].step), s);
  }
  queue_->use_lane(0);
  if (wait_for_each_) return {};
  for (int32_t event : lanes.joins)
    if (Status s = queue_->wait_for(static_cast<size_t>(event)); !s.ok()) return s;
  queue_->joined();
  return {};
}

Status Executor::run_device_step(Binding& binding, size_t index) {
  const ReadyStep& ready = binding.steps[index];
  const Step& step = *ready.step;
  Status s;
  if (step.kind == Step::Kind::copy) {
    s = device_copy(binding, step.inputs[0], step.outputs[0]);
  } else {
    queue_->begin_step();
    const int code = ready.kernel(ready.arguments);
    s = queue_->failure();
    if (s.ok() && code != 0) return kernel_failure(step, *binding.plan, index, code);
  }
  if (s.ok() && wait_for_each_) s = queue_->wait();
  return named(describe(step), s);
}

Status Executor::run_library(Binding& binding, size_t index, std::span<double> step_seconds) {
  const ReadyStep& ready = binding.steps[index];
  const Step::Control& c = ready.step->control;
  const size_t then = index + 1, other = then + static_cast<size_t>(c.span);
  if (ready.library == nullptr)
    return run_steps(binding, other, other + static_cast<size_t>(c.otherwise), step_seconds);
  Status s = ready.library->run();
  if (s.ok() && wait_for_each_) s = queue_->wait();
  if (!s.ok()) return named(describe(*ready.step), s);
  return run_steps(binding, then, other, step_seconds);
}

Status Executor::device_copy(Binding& binding, ViewId from, ViewId to) {
  auto* source = reinterpret_cast<std::byte*>(binding.buffer(from).host);
  auto* target = reinterpret_cast<std::byte*>(binding.buffer(to).host);
  const size_t bytes = binding.bytes(*program_, to);
  if (!Binding::on_device(*program_, from)) return queue_->copy_to_device(target, source, bytes);
  if (!Binding::on_device(*program_, to)) return queue_->copy_to_host(target, source, bytes);
  return queue_->copy_on_device(target, source, bytes);
}

Status Executor::wait_for_device() {
  if (queue_ == nullptr || !queue_->busy()) return {};
  return named("waiting for the steps of '" + program_->model_name + "' on " +
                   queue_->device()->name() + " (TINTYPE_CUDA_WAIT=1 names the one that fails)",
               queue_->wait());
}

}  // namespace tintype
