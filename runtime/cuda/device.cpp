// Opening devices and counting their memory.
#include "runtime/cuda/device.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

namespace tintype {

namespace {

// Values of CUdevice_attribute.
constexpr int kCapabilityMajor = 75, kCapabilityMinor = 76, kSharedMemoryOptIn = 97;

/// A number from the environment, or `otherwise`; an invalid_argument names the variable.
Result<long> number_from(const char* variable, long otherwise) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end == '\0' && value >= 0) return value;
  return invalid_argument(std::string(variable) + " is not a number: '" + text + "'");
}

}  // namespace

Result<int32_t> cuda_streams() {
  constexpr long kStreams = 4, kMost = 8;
  const Result<long> number = number_from("TINTYPE_CUDA_STREAMS", kStreams);
  if (!number.ok()) return number.status();
  if (number.value() >= 1 && number.value() <= kMost) return static_cast<int32_t>(number.value());
  return invalid_argument("TINTYPE_CUDA_STREAMS is not from 1 to " + std::to_string(kMost) + ": " +
                          std::to_string(number.value()));
}

Result<std::shared_ptr<CudaDevice>> CudaDevice::open() {
  static std::mutex mutex;
  static std::map<std::pair<const CudaDriver*, long>, std::weak_ptr<CudaDevice>> devices;
  const Result<const CudaDriver*> driver = cuda_driver();
  if (!driver.ok()) return driver.status();
  const Result<long> number = number_from("TINTYPE_CUDA_DEVICE", 0);
  const Result<long> megabytes = number_from("TINTYPE_CUDA_MEMORY", 0);
  if (!number.ok()) return number.status();
  if (!megabytes.ok()) return megabytes.status();
  const std::lock_guard lock(mutex);
  std::weak_ptr<CudaDevice>& known = devices[{driver.value(), number.value()}];
  if (std::shared_ptr<CudaDevice> device = known.lock()) return device;
  std::shared_ptr<CudaDevice> device(new CudaDevice(*driver.value()));
  if (Status s = device->start(static_cast<int>(number.value())); !s.ok()) return s;
  if (megabytes.value() > 0) device->limit_ = static_cast<size_t>(megabytes.value()) * 1000000;
  known = device;
  return device;
}

Status CudaDevice::start(int number) {
  int count = 0;
  if (Status s = check(driver_.init(0), "cuInit"); !s.ok()) return s;
  if (Status s = check(driver_.device_count(&count), "cuDeviceGetCount"); !s.ok()) return s;
  if (number >= count)
    return {StatusCode::unsupported, count == 0
                                         ? "the CUDA driver finds no device"
                                         : "there is no CUDA device " + std::to_string(number) +
                                               "; the driver finds " + std::to_string(count) +
                                               ", counted from 0 (TINTYPE_CUDA_DEVICE)"};
  int ordinal = 0, major = 0, minor = 0;
  char name[256] = {};
  if (Status s = check(driver_.device_get(&ordinal, number), "cuDeviceGet"); !s.ok()) return s;
  if (Status s = check(driver_.device_name(name, sizeof name - 1, ordinal), "cuDeviceGetName");
      !s.ok())
    return s;
  for (const auto& [attribute, value] :
       {std::pair(kCapabilityMajor, &major), std::pair(kCapabilityMinor, &minor),
        std::pair(kSharedMemoryOptIn, &most_shared_memory_)})
    if (Status s =
            check(driver_.device_attribute(value, attribute, ordinal), "cuDeviceGetAttribute");
        !s.ok())
      return s;
  name_ = name;
  capability_ = 10 * major + minor;
  if (Status s = check(driver_.context_retain(&context_, ordinal), "cuDevicePrimaryCtxRetain");
      !s.ok())
    return s;
  ordinal_ = ordinal;
  return {};
}

CudaDevice::~CudaDevice() {
  if (ordinal_ >= 0) driver_.context_release(ordinal_);
}

Status CudaDevice::make_current() const {
  return check(driver_.context_set(context_), "cuCtxSetCurrent");
}

Status CudaDevice::copy_to_device(uint64_t to, const void* from, size_t bytes) const {
  return bytes == 0 ? Status() : check(driver_.store(to, from, bytes), "cuMemcpyHtoD_v2");
}

Status CudaDevice::copy_to_host(void* to, uint64_t from, size_t bytes) const {
  return bytes == 0 ? Status() : check(driver_.fetch(to, from, bytes), "cuMemcpyDtoH_v2");
}

Result<CudaMemory> CudaMemory::allocate(std::shared_ptr<CudaDevice> device, size_t bytes) {
  CudaMemory memory;
  if (bytes == 0) return memory;
  const size_t before = device->in_use_.fetch_add(bytes);
  Status s;
  if (bytes > device->limit_ || before > device->limit_ - bytes)
    s = {StatusCode::out_of_memory, std::to_string(bytes) + " bytes more than the " +
                                        std::to_string(before) +
                                        " in use on the CUDA device exceed the limit of " +
                                        std::to_string(device->limit_) + " (TINTYPE_CUDA_MEMORY)"};
  else if (s = device->check(device->driver().allocate(&memory.address_, bytes), "cuMemAlloc_v2");
           !s.ok())
    s = {s.code(), s.message() + ", asking for " + std::to_string(bytes) + " bytes on top of the " +
                       std::to_string(before) + " in use"};
  if (!s.ok()) {
    device->in_use_ -= bytes;
    return s;
  }
  memory.bytes_ = bytes;
  memory.device_ = std::move(device);
  return memory;
}

CudaMemory::~CudaMemory() {
  if (device_ == nullptr) return;
  // Whoever frees may be on a thread that never used the device. There is no one to tell of errors.
  if (device_->make_current().ok()) device_->driver().release(address_);
  device_->in_use_ -= bytes_;
}

Result<PinnedMemory> PinnedMemory::allocate(std::shared_ptr<CudaDevice> device, size_t bytes) {
  PinnedMemory memory;
  if (bytes == 0) return memory;
  if (Status s =
          device->check(device->driver().host_allocate(&memory.data_, bytes, 0), "cuMemHostAlloc");
      !s.ok())
    return s;
  memory.bytes_ = bytes;
  memory.device_ = std::move(device);
  return memory;
}

PinnedMemory::~PinnedMemory() {
  if (device_ == nullptr) return;
  if (device_->make_current().ok()) device_->driver().host_release(data_);
}

}  // namespace tintype
