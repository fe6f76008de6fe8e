// Finding libcuda and its functions.
#include "runtime/cuda/driver.h"

#include <atomic>
#include <dlfcn.h>
#include <string>

namespace tintype {

namespace {

constexpr const char* kLibrary = "libcuda.so.1";
constexpr int kOutOfMemory = 2;  // CUDA_ERROR_OUT_OF_MEMORY

std::atomic<const CudaDriver*> replacement{nullptr};

}  // namespace

Result<CudaDriver> load_cuda_driver(const char* library) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return Status(StatusCode::unsupported,
                  "the CUDA driver library " + std::string(library) + " cannot be loaded (" +
                      (why == nullptr ? "no reason given" : why) +
                      "): install NVIDIA's driver, or compile with --target host");
  }
  CudaDriver driver;
  const char* missing = nullptr;
  const auto find = [&](const char* symbol) {
    void* address = dlsym(handle, symbol);
    if (address == nullptr && missing == nullptr) missing = symbol;
    return address;
  };
#define TINTYPE_CUDA_FIND(member, symbol, ...) \
  driver.member = reinterpret_cast<CudaDriver::member##_type*>(find(symbol));
  TINTYPE_CUDA_DRIVER(TINTYPE_CUDA_FIND)
#undef TINTYPE_CUDA_FIND
  if (missing == nullptr) return driver;  // never unloaded: it keeps threads and handlers
  dlclose(handle);
  return Status(StatusCode::unsupported, "the CUDA driver library " + std::string(library) +
                                             " has no function " + missing +
                                             ": a driver for CUDA 12 or newer is needed");
}

Result<const CudaDriver*> cuda_driver() {
  if (const CudaDriver* other = replacement.load()) return other;
  static const Result<CudaDriver> machine = load_cuda_driver(kLibrary);
  if (!machine.ok()) return machine.status();
  return &machine.value();
}

void set_cuda_driver(const CudaDriver* driver) { replacement.store(driver); }

Status cuda_status(const CudaDriver& driver, int code, const char* doing) {
  if (code == 0) return {};
  const char *name = nullptr, *text = nullptr;
  driver.error_name(code, &name);
  driver.error_text(code, &text);
  std::string message = std::string(doing) + ": ";
  message += name == nullptr ? "error " + std::to_string(code) : std::string(name);
  if (text != nullptr) message += " (" + std::string(text) + ")";
  return {code == kOutOfMemory ? StatusCode::out_of_memory : StatusCode::internal,
          std::move(message)};
}

}  // namespace tintype
