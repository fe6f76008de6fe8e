// The memory of one state, on the sides where programs keep it.
#pragma once

#include "runtime/cuda/device.h"
#include "runtime/tensor.h"

#include <memory>
#include <string>

namespace tintype {

/// A state's elements on the host and, once a program keeps it there, on a CUDA device, in blocks
/// that stay where they are. One side has the latest value, or both have it; the other gets it when
/// somebody asks for it. Not thread-safe.
class StateMemory {
 public:
  StateMemory(std::string name, Tensor initial)
      : name_(std::move(name)), host_(std::move(initial)) {}

  DType dtype() const { return host_.dtype(); }
  const std::vector<int64_t>& dims() const { return host_.dims(); }
  /// Of one side.
  size_t bytes() const { return host_.bytes(); }

  /// The elements on the host, with the latest value. A status of the device when they cannot be
  /// fetched.
  Result<Tensor> on_host();
  /// The block on the device, with the latest value; allocated on the first call. The device must
  /// be current. invalid_argument when the state lies on another device.
  Result<std::byte*> on_device(const std::shared_ptr<CudaDevice>& device);
  /// The elements on the host, every one of which the caller overwrites.
  Tensor replaced_on_host() {
    written(false);
    return host_;
  }
  /// One side is about to be written to, having been asked for: the other one gets out of date.
  void written(bool on_device) {
    device_is_latest_ = on_device;
    host_is_latest_ = !on_device;
  }

 private:
  const std::string name_;
  Tensor host_;
  std::shared_ptr<CudaDevice> device_;
  CudaMemory block_;
  bool host_is_latest_ = true, device_is_latest_ = false;
};

}  // namespace tintype
