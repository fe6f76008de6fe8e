// cuBLASLt of CUDA 11 and cuDNN 8 by their version: every function that the runtime asks for is
// there and returns it, so that a test sees that the runtime looks at the version before it calls
// any other.
#include "runtime/cuda/libraries.h"

namespace {

constexpr size_t kCublasLt = 111103, kCudnn = 8907;

}  // namespace

#define TINTYPE_OLD_LT(member, function, ...) \
  extern "C" __attribute__((visibility("default"))) size_t function() { return kCublasLt; }
#define TINTYPE_OLD_DNN(member, function, ...) \
  extern "C" __attribute__((visibility("default"))) size_t function() { return kCudnn; }
TINTYPE_CUBLASLT(TINTYPE_OLD_LT)
TINTYPE_CUDNN(TINTYPE_OLD_DNN)
#undef TINTYPE_OLD_DNN
#undef TINTYPE_OLD_LT
