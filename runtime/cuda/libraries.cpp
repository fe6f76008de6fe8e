// Finding cuBLASLt and cuDNN and their functions.
#include "runtime/cuda/libraries.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <span>

namespace tintype {

namespace {

constexpr const char* kCublasLt[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
constexpr const char* kCudnn[] = {"libcudnn.so.9"};
constexpr size_t kOldestCublasLt = 120000, kOldestCudnn = 90000;

std::atomic<const CudaLibraries*> replacement{nullptr};

Status unsupported(std::string message) { return {StatusCode::unsupported, std::move(message)}; }

/// Fills a table through `find_all`, which asks for each symbol, and checks its version.
template <typename Table, typename FindAll>
Result<Table> load(const char* library, size_t oldest, const FindAll& find_all) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return unsupported(why == nullptr ? std::string(library) + " cannot be loaded" : why);
  }
  Table table;
  const char* missing = nullptr;
  find_all(table, [&](const char* symbol) {
    void* address = dlsym(handle, symbol);
    if (address == nullptr && missing == nullptr) missing = symbol;
    return address;
  });
  if (missing == nullptr && table.version() >= oldest) return table;  // never unloaded
  const std::string why = missing != nullptr
                              ? " has no function " + std::string(missing)
                              : " is version " + std::to_string(table.version()) + ", " +
                                    std::to_string(oldest) + " or newer is needed";
  dlclose(handle);
  return unsupported(library + why);
}

/// The first of several names that can be loaded, or why the first cannot.
template <typename Table>
Result<Table> load_first(std::span<const char* const> names,
                         Result<Table> (*load_one)(const char* library)) {
  Result<Table> first = load_one(names[0]);
  for (size_t i = 1; i < names.size() && !first.ok(); ++i)
    if (Result<Table> other = load_one(names[i]); other.ok()) return other;
  return first;
}

CudaLibraries machine_libraries() {
  CudaLibraries l;
  const char* use = std::getenv("TINTYPE_CUDA_LIBRARIES");
  if (use != nullptr && std::strcmp(use, "0") == 0) {
    l.no_cublaslt = l.no_cudnn = "TINTYPE_CUDA_LIBRARIES is 0";
    return l;
  }
  static const Result<CublasLt> cublaslt = load_first<CublasLt>(kCublasLt, load_cublaslt);
  static const Result<Cudnn> cudnn = load_first<Cudnn>(kCudnn, load_cudnn);
  if (cublaslt.ok()) l.cublaslt = &cublaslt.value();
  else l.no_cublaslt = cublaslt.status().message();
  if (cudnn.ok()) l.cudnn = &cudnn.value();
  else l.no_cudnn = cudnn.status().message();
  return l;
}

}  // namespace

#define TINTYPE_LIBRARY_FIND(member, function, ...) \
  table.member = reinterpret_cast<decltype(table.member)>(find(#function));

Result<CublasLt> load_cublaslt(const char* library) {
  return load<CublasLt>(library, kOldestCublasLt, [](CublasLt& table, const auto& find) {
    TINTYPE_CUBLASLT(TINTYPE_LIBRARY_FIND)
  });
}

Result<Cudnn> load_cudnn(const char* library) {
  return load<Cudnn>(library, kOldestCudnn,
                     [](Cudnn& table, const auto& find) { TINTYPE_CUDNN(TINTYPE_LIBRARY_FIND) });
}

#undef TINTYPE_LIBRARY_FIND

const CudaLibraries& cuda_libraries() {
  if (const CudaLibraries* other = replacement.load()) return *other;
  static const CudaLibraries machine = machine_libraries();
  return machine;
}

void set_cuda_libraries(const CudaLibraries* libraries) { replacement.store(libraries); }

}  // namespace tintype
