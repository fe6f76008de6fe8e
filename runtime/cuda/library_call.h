// Steps that NVIDIA's libraries do: everything that is decided before the first call.
#pragma once

#include "runtime/cuda/queue.h"
#include "runtime/program.h"

#include <memory>
#include <span>

namespace tintype {

/// A view of a step, bound to extents. Addresses are those of the device.
struct LibraryOperand {
  std::span<const int64_t> extents, strides;
  const uint8_t* const* address = nullptr;  ///< where its address is kept; null: absent
  bool moves = false;                       ///< with the trips of a loop
  DType type = DType::f32;                  ///< or bf16, f16
  bool present() const { return address != nullptr; }
};

/// In the order of Step::inputs and Step::outputs, which LibraryCall describes.
struct LibraryOperands {
  LibraryOperand left, right, bias, residual, result;
  const uint8_t* const* workspace = nullptr;
  size_t workspace_bytes = 0;
};

/// One step, with descriptors and algorithm.
class LibraryPlan {
 public:
  LibraryPlan() = default;
  virtual ~LibraryPlan() = default;
  LibraryPlan(const LibraryPlan&) = delete;
  LibraryPlan& operator=(const LibraryPlan&) = delete;
  /// Queues the work. Allocates nothing, so that it can be recorded.
  virtual Status run() = 0;
};

/// "cuBLASLt" or "cuDNN".
const char* library_name(const LibraryCall& call);

/// Fails where the library is not there or cannot do the step: the message says why. The plan runs
/// on the queue.
Result<std::unique_ptr<LibraryPlan>> prepare_product(const LibraryCall& call,
                                                     const LibraryOperands& operands,
                                                     CudaQueue& queue);
Result<std::unique_ptr<LibraryPlan>> prepare_convolution(const LibraryCall& call,
                                                         const LibraryOperands& operands,
                                                         CudaQueue& queue);
inline Result<std::unique_ptr<LibraryPlan>> prepare_library_call(const LibraryCall& call,
                                                                 const LibraryOperands& operands,
                                                                 CudaQueue& queue) {
  return call.kind == LibraryCall::Kind::product ? prepare_product(call, operands, queue)
                                                 : prepare_convolution(call, operands, queue);
}

/// A descriptor of a library, owned.
class LibraryDescriptor {
 public:
  using Destroy = int(void*);
  explicit LibraryDescriptor(Destroy* destroy) : destroy_(destroy) {}
  LibraryDescriptor(const LibraryDescriptor&) = delete;
  LibraryDescriptor& operator=(const LibraryDescriptor&) = delete;
  ~LibraryDescriptor() {
    if (handle_ != nullptr) destroy_(handle_);
  }
  void** put() { return &handle_; }
  void* get() const { return handle_; }

 private:
  Destroy* destroy_;
  void* handle_ = nullptr;
};

}  // namespace tintype
