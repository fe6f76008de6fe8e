// The CUDA driver as a table of functions, found at run time: nothing here is linked against CUDA.
#pragma once

#include "runtime/status.h"

#include <cstddef>
#include <cstdint>

namespace tintype {

/// Registers that a thread may have. Kernels are made for it: two blocks of 256 threads then share
/// a multiprocessor.
inline constexpr int kCudaRegisters = 128;

/// member, symbol in libcuda.so.1, type. All return 0 or an error code.
#define TINTYPE_CUDA_DRIVER(X)                                                                \
  X(init, "cuInit", int(unsigned))                                                            \
  X(driver_version, "cuDriverGetVersion", int(int*))                                          \
  X(device_count, "cuDeviceGetCount", int(int*))                                              \
  X(device_get, "cuDeviceGet", int(int*, int))                                                \
  X(device_name, "cuDeviceGetName", int(char*, int, int))                                     \
  X(device_attribute, "cuDeviceGetAttribute", int(int*, int, int))                            \
  X(context_retain, "cuDevicePrimaryCtxRetain", int(void**, int))                             \
  X(context_release, "cuDevicePrimaryCtxRelease_v2", int(int))                                \
  X(context_set, "cuCtxSetCurrent", int(void*))                                               \
  X(module_load, "cuModuleLoadDataEx", int(void**, const void*, unsigned, int*, void**))      \
  X(module_unload, "cuModuleUnload", int(void*))                                              \
  X(module_function, "cuModuleGetFunction", int(void**, void*, const char*))                  \
  X(function_attribute, "cuFuncSetAttribute", int(void*, int, int))                           \
  X(allocate, "cuMemAlloc_v2", int(uint64_t*, size_t))                                        \
  X(release, "cuMemFree_v2", int(uint64_t))                                                   \
  X(host_allocate, "cuMemHostAlloc", int(void**, size_t, unsigned))                           \
  X(host_release, "cuMemFreeHost", int(void*))                                                \
  X(store, "cuMemcpyHtoD_v2", int(uint64_t, const void*, size_t))                             \
  X(fetch, "cuMemcpyDtoH_v2", int(void*, uint64_t, size_t))                                   \
  X(copy_to_device, "cuMemcpyHtoDAsync_v2", int(uint64_t, const void*, size_t, void*))        \
  X(copy_to_host, "cuMemcpyDtoHAsync_v2", int(void*, uint64_t, size_t, void*))                \
  X(copy_on_device, "cuMemcpyDtoDAsync_v2", int(uint64_t, uint64_t, size_t, void*))           \
  X(stream_create, "cuStreamCreate", int(void**, unsigned))                                   \
  X(stream_destroy, "cuStreamDestroy_v2", int(void*))                                         \
  X(stream_wait, "cuStreamSynchronize", int(void*))                                           \
  X(event_create, "cuEventCreate", int(void**, unsigned))                                     \
  X(event_destroy, "cuEventDestroy_v2", int(void*))                                           \
  X(event_record, "cuEventRecord", int(void*, void*))                                         \
  X(stream_wait_event, "cuStreamWaitEvent", int(void*, void*, unsigned))                      \
  X(launch, "cuLaunchKernel",                                                                 \
    int(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,   \
        void**, void**))                                                                      \
  X(capture_begin, "cuStreamBeginCapture_v2", int(void*, int))                                \
  X(capture_end, "cuStreamEndCapture", int(void*, void**))                                    \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", int(void**, void*, unsigned long long)) \
  X(graph_launch, "cuGraphLaunch", int(void*, void*))                                         \
  X(graph_release, "cuGraphDestroy", int(void*))                                              \
  X(executable_graph_release, "cuGraphExecDestroy", int(void*))                               \
  X(error_name, "cuGetErrorName", int(int, const char**))                                     \
  X(error_text, "cuGetErrorString", int(int, const char**))

struct CudaDriver {
#define TINTYPE_CUDA_MEMBER(member, symbol, ...) \
  using member##_type = __VA_ARGS__;             \
  member##_type* member = nullptr;
  TINTYPE_CUDA_DRIVER(TINTYPE_CUDA_MEMBER)
#undef TINTYPE_CUDA_MEMBER
};

/// The driver of this machine, loaded on the first call; or the one that set_cuda_driver put in its
/// place. Unsupported, naming the library or the function, when it is not there. Thread-safe.
Result<const CudaDriver*> cuda_driver();
/// For tests: `driver`, which must outlive every use, takes the place of the machine's; null gives
/// that back. Devices opened before keep theirs.
void set_cuda_driver(const CudaDriver* driver);
/// Loads a driver library by name. It stays loaded.
Result<CudaDriver> load_cuda_driver(const char* library);

/// Success, or what was being done, and the driver's name and text for the code:
/// "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
Status cuda_status(const CudaDriver& driver, int code, const char* doing);

}  // namespace tintype
