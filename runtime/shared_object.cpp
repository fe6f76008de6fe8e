// memfd_create, dlopen, and the table of hooks.
#include "runtime/shared_object.h"

#include "runtime/halide_hooks.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace tintype {

namespace {

#ifndef MFD_EXEC
constexpr unsigned MFD_EXEC = 0x10;  // Linux 6.3
#endif

Status failure(const std::string& why) {
  return {StatusCode::io_error, "cannot load machine code: " + why};
}

/// A file in memory with the given content, or -1 and errno.
int memory_file(std::span<const std::byte> bytes) {
  int descriptor = memfd_create("tintype", MFD_CLOEXEC | MFD_EXEC);
  if (descriptor < 0 && errno == EINVAL) descriptor = memfd_create("tintype", MFD_CLOEXEC);
  while (descriptor >= 0 && !bytes.empty()) {
    const ssize_t n = write(descriptor, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = errno;
      close(descriptor);
      errno = error;
      return -1;
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return descriptor;
}

/// The system's loader has a lock of its own; this one also covers the hook table, which may lie
/// where that of a library just unloaded was.
std::mutex& loader_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// The descriptor stays open as long as the code is loaded: the loader knows libraries by path, and
/// /proc/self/fd/N must not come to mean another one meanwhile.
class SharedObject final : public KernelLibrary {
 public:
  SharedObject() = default;
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;
  ~SharedObject() override {
    const std::lock_guard lock(loader_mutex());
    if (handle_ != nullptr) dlclose(handle_);
    if (descriptor_ >= 0) close(descriptor_);
  }

  Status open(std::span<const std::byte> elf) {
    descriptor_ = memory_file(elf);
    if (descriptor_ < 0) return failure(std::strerror(errno));
    const std::lock_guard lock(loader_mutex());
    const std::string path = "/proc/self/fd/" + std::to_string(descriptor_);
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return connect_hooks();
    const char* why = dlerror();
    return failure(why == nullptr ? "dlopen failed" : why);
  }

  Result<KernelFunction> find(std::string_view symbol) const override {
    void* address = dlsym(handle_, (std::string(symbol) + "_argv").c_str());
    if (address == nullptr)
      return Status(StatusCode::corrupt_file,
                    "the machine code has no kernel '" + std::string(symbol) + "'");
    return reinterpret_cast<KernelFunction>(address);
  }

 private:
  Status connect_hooks() {
    const auto* version = static_cast<const int*>(dlsym(handle_, "tintype_hook_version"));
    auto** table = static_cast<void**>(dlsym(handle_, "tintype_hook_table"));
    if (version == nullptr || table == nullptr)
      return {StatusCode::corrupt_file, "the machine code has no table of hooks"};
    if (*version != kHookVersion)
      return {StatusCode::unsupported, "the machine code wants hooks of version " +
                                           std::to_string(*version) + ", this runtime has " +
                                           std::to_string(kHookVersion) + ": compile it again"};
    for (const HookSymbol& hook : halide_hook_symbols()) *table++ = hook.address;
    return {};
  }

  int descriptor_ = -1;
  void* handle_ = nullptr;
};

}  // namespace

Result<std::shared_ptr<const KernelLibrary>> load_shared_object(std::span<const std::byte> elf) {
  auto library = std::make_shared<SharedObject>();
  if (Status s = library->open(elf); !s.ok()) return s;
  return std::shared_ptr<const KernelLibrary>(std::move(library));
}

}  // namespace tintype
