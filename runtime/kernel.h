// How compiled kernels reach the executor: a library resolves symbols to functions.
#pragma once

#include "runtime/status.h"

#include <string>
#include <string_view>

namespace tintype {

/// Entry of a compiled kernel. argv[0] points to a `void *` user context (a KernelContext), the
/// others are `halide_buffer_t *`, inputs then outputs. Returns 0, or a negative Halide error code
/// after the error hook has recorded a message in the context. Re-entrant.
using KernelFunction = int (*)(void** argv);

class CudaQueue;

/// Passed through kernels to the hooks in runtime/halide_hooks.cpp. One per execution.
struct KernelContext {
  int max_threads = 0;         ///< 0: as many as the pool has
  std::string error;           ///< message of the first failing kernel
  CudaQueue* queue = nullptr;  ///< where kernels for the CUDA device are launched
};

/// Owns loaded machine code. Thread-safe; functions stay valid while the library lives.
class KernelLibrary {
 public:
  virtual ~KernelLibrary() = default;
  /// Resolves the `symbol_argv` entry of a kernel.
  virtual Result<KernelFunction> find(std::string_view symbol) const = 0;
};

}  // namespace tintype
