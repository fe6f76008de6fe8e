// What compiled kernels call to use the CUDA device. HalideRuntimeCuda.h declares some of them with
// other types than code of Halide 21 passes.
#pragma once

#include <HalideRuntime.h>

extern "C" {
const halide_device_interface_t* halide_cuda_device_interface();
int halide_cuda_initialize_kernels(void* user_context, void** state, const char* source, int bytes);
void halide_cuda_finalize_kernels(void* user_context, void* state);
int halide_cuda_run(void* user_context, void* state, const char* name, int blocks_x, int blocks_y,
                    int blocks_z, int threads_x, int threads_y, int threads_z, int shared_bytes,
                    size_t* argument_bytes, void** arguments, int8_t* is_buffer);
void halide_device_free_as_destructor(void* user_context, void* buffer);
}
