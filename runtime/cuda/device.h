// A CUDA device and the memory on it, owned.
#pragma once

#include "runtime/cuda/driver.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace tintype {

/// Streams that a run may use: TINTYPE_CUDA_STREAMS, from 1 to 8, or 4.
Result<int32_t> cuda_streams();

/// One device's primary context, shared by all models of the process. Thread-safe.
class CudaDevice {
 public:
  /// The device numbered TINTYPE_CUDA_DEVICE, or 0, opened on first use and closed when its last
  /// user is gone.
  static Result<std::shared_ptr<CudaDevice>> open();
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  const CudaDriver& driver() const { return driver_; }
  const std::string& name() const { return name_; }
  /// 80 for sm_80.
  int capability() const { return capability_; }
  /// Shared memory that a block may have when it asks for it, in bytes.
  int most_shared_memory() const { return most_shared_memory_; }
  Status check(int code, const char* doing) const { return cuda_status(driver_, code, doing); }
  /// Makes the calling thread use this device.
  Status make_current() const;

  /// Copies that are done on return, or not at all. The device must be current.
  Status copy_to_device(uint64_t to, const void* from, size_t bytes) const;
  Status copy_to_host(void* to, uint64_t from, size_t bytes) const;

  /// Bytes that CudaMemory holds now, and at most: TINTYPE_CUDA_MEMORY megabytes, or no limit.
  size_t bytes_in_use() const { return in_use_; }
  size_t limit() const { return limit_; }

 private:
  friend class CudaMemory;
  explicit CudaDevice(const CudaDriver& driver) : driver_(driver) {}
  Status start(int number);

  const CudaDriver driver_;
  std::string name_;
  int ordinal_ = -1, capability_ = 0, most_shared_memory_ = 48 << 10;
  void* context_ = nullptr;
  std::atomic<size_t> in_use_{0};
  size_t limit_ = SIZE_MAX;
};

/// A block on the device.
class CudaMemory {
 public:
  CudaMemory() = default;
  /// Out of memory when the driver has none or the limit is reached. The device must be current.
  static Result<CudaMemory> allocate(std::shared_ptr<CudaDevice> device, size_t bytes);
  CudaMemory(CudaMemory&& other) noexcept { swap(other); }
  CudaMemory& operator=(CudaMemory&& other) noexcept {
    CudaMemory moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~CudaMemory();

  /// As the address that views of a program are reckoned from; not to be read here.
  std::byte* data() const { return reinterpret_cast<std::byte*>(address_); }
  uint64_t address() const { return address_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(CudaMemory& other) noexcept {
    device_.swap(other.device_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
  }
  std::shared_ptr<CudaDevice> device_;
  uint64_t address_ = 0;
  size_t bytes_ = 0;
};

/// A block of host memory that the device copies from and to without a detour.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  static Result<PinnedMemory> allocate(std::shared_ptr<CudaDevice> device, size_t bytes);
  PinnedMemory(PinnedMemory&& other) noexcept { swap(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    PinnedMemory moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~PinnedMemory();
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void swap(PinnedMemory& other) noexcept {
    device_.swap(other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::shared_ptr<CudaDevice> device_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace tintype
