// Copies of states between the sides.
#include "runtime/state_memory.h"

#include <algorithm>

namespace tintype {

namespace {

Status named(const std::string& state, const Status& status) {
  return status.ok() ? status : Status(status.code(), "state '" + state + "': " + status.message());
}

}  // namespace

Result<Tensor> StateMemory::on_host() {
  if (host_is_latest_) return host_;
  Status s = device_->make_current();
  if (s.ok()) s = device_->copy_to_host(host_.mutable_data(), block_.address(), host_.bytes());
  if (!s.ok()) return named(name_, s);
  host_is_latest_ = true;
  return host_;
}

Result<std::byte*> StateMemory::on_device(const std::shared_ptr<CudaDevice>& device) {
  if (device_ != nullptr && device_ != device)
    return invalid_argument("state '" + name_ + "' lies on the CUDA device " + device_->name() +
                            ", this program runs on " + device->name());
  if (block_.bytes() == 0) {
    Result<CudaMemory> block = CudaMemory::allocate(device, std::max<size_t>(host_.bytes(), 1));
    if (!block.ok()) return named(name_, block.status());
    block_ = std::move(block).value();
    device_ = device;
  }
  if (device_is_latest_) return block_.data();
  if (Status s = device_->copy_to_device(block_.address(), host_.data(), host_.bytes()); !s.ok())
    return named(name_, s);
  device_is_latest_ = true;
  return block_.data();
}

}  // namespace tintype
