// Halide's CUDA runtime, on top of the queue of the execution.
//
// Buffers of device kernels carry a device address in `host`, as all views of a program do; those
// that Halide allocates between two launches have none and get `device`. Compiled code does not
// look at what the hooks return: the first failure stays in the queue, later calls do nothing, and
// the executor asks when the kernel is through.
#include "runtime/cuda/hooks.h"

#include "runtime/cuda/queue.h"
#include "runtime/kernel.h"

#include <array>

namespace {

using tintype::CudaQueue;
using tintype::Status;
using tintype::StatusCode;

/// The queue of the execution when nothing has failed in this step.
CudaQueue* working_queue(void* user_context) {
  CudaQueue* queue = static_cast<tintype::KernelContext*>(user_context)->queue;
  return queue != nullptr && queue->failure().ok() ? queue : nullptr;
}

int code_of(const Status& status) {
  if (status.ok()) return halide_error_code_success;
  return status.code() == StatusCode::out_of_memory ? halide_error_code_out_of_memory
                                                    : halide_error_code_device_run_failed;
}

int fail(CudaQueue* queue, const Status& status) {
  if (queue != nullptr && !status.ok()) queue->fail(status);
  return code_of(status);
}

}  // namespace

extern "C" {

/// Kernels only pass it on.
const halide_device_interface_t* halide_cuda_device_interface() {
  static const halide_device_interface_t nothing = {};
  return &nothing;
}

/// The state is the PTX text itself, so that all executions may share the variable it is kept in.
int halide_cuda_initialize_kernels(void*, void** state, const char* source, int) {
  *state = const_cast<char*>(source);
  return halide_error_code_success;
}

void halide_cuda_finalize_kernels(void*, void*) {}

int halide_cuda_run(void* user_context, void* state, const char* name, int blocks_x, int blocks_y,
                    int blocks_z, int threads_x, int threads_y, int threads_z, int shared_bytes,
                    size_t* argument_bytes, void** arguments, int8_t* is_buffer) {
  CudaQueue* queue = working_queue(user_context);
  if (queue == nullptr) return halide_error_code_device_run_failed;
  constexpr size_t kMost = 128;
  std::array<uint64_t, kMost> addresses{};
  std::array<void*, kMost> passed{};
  for (size_t i = 0; argument_bytes[i] != 0; ++i) {
    if (i == kMost)
      return fail(queue, Status(StatusCode::unsupported, "a kernel has more than 128 arguments"));
    passed[i] = arguments[i];
    if (is_buffer[i] == 0) continue;
    const auto* b = static_cast<const halide_buffer_t*>(arguments[i]);
    addresses[i] = b->host != nullptr ? reinterpret_cast<uint64_t>(b->host) : b->device;
    passed[i] = &addresses[i];
  }
  const auto number = [](int n) { return static_cast<unsigned>(n < 0 ? 0 : n); };
  return fail(queue, queue->launch({static_cast<const char*>(state),
                                    name,
                                    {number(blocks_x), number(blocks_y), number(blocks_z)},
                                    {number(threads_x), number(threads_y), number(threads_z)},
                                    number(shared_bytes),
                                    passed.data()}));
}

int halide_copy_to_device(void*, halide_buffer_t*, const halide_device_interface_t*) {
  return halide_error_code_success;
}

/// No part of a kernel for the device runs on the host: schedules put all of it on the device.
int halide_copy_to_host(void* user_context, halide_buffer_t*) {
  return fail(working_queue(user_context),
              Status(StatusCode::internal, "a kernel for the CUDA device reads on the host"));
}

int halide_device_malloc(void* user_context, halide_buffer_t* b, const halide_device_interface_t*) {
  if (b->host != nullptr || b->device != 0) return halide_error_code_success;
  CudaQueue* queue = working_queue(user_context);
  if (queue == nullptr) return halide_error_code_device_malloc_failed;
  const tintype::Result<uint64_t> address = queue->scratch(b->size_in_bytes());
  if (!address.ok()) return fail(queue, address.status());
  b->device = address.value();
  return halide_error_code_success;
}

int halide_device_free(void*, halide_buffer_t* b) {
  b->device = 0;  // the scratch of a step is given back as a whole
  return halide_error_code_success;
}

void halide_device_free_as_destructor(void*, void* buffer) {
  static_cast<halide_buffer_t*>(buffer)->device = 0;
}

}  // extern "C"
