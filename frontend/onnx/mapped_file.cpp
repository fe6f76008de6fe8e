// Opening files without following where an attacker points, and mapping them.
#include "frontend/onnx/mapped_file.h"

#include "ir/diagnostic.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace tintype {

namespace {

// O_NONBLOCK keeps open() from waiting for the other end of a pipe.
constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
constexpr size_t kMaxLocation = 4096;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::string reason() { return std::strerror(errno); }

struct stat status_of(const Descriptor& file) {
  struct stat status{};
  if (fstat(file.get(), &status) != 0) throw Error("cannot examine the file: " + reason());
  if (!S_ISREG(status.st_mode)) throw Error("expected a regular file");
  return status;
}

/// Also what tells a mapping from other owners of bytes.
struct Unmap {
  size_t size;
  void operator()(const void* address) const { munmap(const_cast<void*>(address), size); }
};

MappedFile map(const Descriptor& file, size_t size) {
  if (size == 0) return {};
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw Error("cannot map the file: " + reason());
  std::shared_ptr<const void> owner(address, Unmap{size});
  return {{static_cast<const uint8_t*>(address), size}, std::move(owner)};
}

void check_location(const std::string& location) {
  if (location.empty()) throw Error("external data location is empty");
  if (location.size() > kMaxLocation)
    throw Error("external data location has " + std::to_string(location.size()) +
                " characters, at most " + std::to_string(kMaxLocation) + " are allowed");
  if (location.find('\0') != std::string::npos || location.find('\\') != std::string::npos)
    throw Error("external data location contains a backslash or a zero byte");
  if (location.front() == '/')
    throw Error("external data location '" + location +
                "' is absolute; it must be relative to the model's directory");
  for (size_t at = 0; at <= location.size();) {
    const size_t end = std::min(location.find('/', at), location.size());
    if (std::string_view(location).substr(at, end - at) == "..")
      throw Error("external data location '" + location + "' leaves the model's directory");
    at = end + 1;
  }
}

/// For kernels without openat2: every component is opened by itself and must not be a link.
Descriptor open_by_components(const Descriptor& directory, const std::string& location) {
  Descriptor current(fcntl(directory.get(), F_DUPFD_CLOEXEC, 0));
  for (size_t at = 0; at < location.size() && current.valid();) {
    const size_t end = std::min(location.find('/', at), location.size());
    const std::string part = location.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    const int directory_flag = end < location.size() ? O_DIRECTORY : 0;
    current =
        Descriptor(openat(current.get(), part.c_str(), kOpenFlags | O_NOFOLLOW | directory_flag));
  }
  return current;
}

Descriptor open_beneath(const Descriptor& directory, const std::string& location) {
  open_how how{};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = syscall(SYS_openat2, directory.get(), location.c_str(), &how, sizeof(how));
  if (fd >= 0) return Descriptor(static_cast<int>(fd));
  // Sandboxes answer EPERM for system calls they do not know.
  if (errno == ENOSYS || errno == EPERM) return open_by_components(directory, location);
  return Descriptor();
}

}  // namespace

std::shared_ptr<const void> lend(std::span<const uint8_t> part,
                                 const std::shared_ptr<const void>& owner) {
  constexpr size_t kWorthwhile = size_t{64} << 10;
  if (part.size() < kWorthwhile || std::get_deleter<Unmap>(owner) == nullptr) return owner;
  // The pages of a read-only mapping come back from the file should anybody read them again.
  const auto drop = [owner, size = part.size()](const void* start) {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto begin = (reinterpret_cast<uintptr_t>(start) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(start) + size) / page * page;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  };
  return {static_cast<const void*>(part.data()), drop};
}

MappedFile map_file(const std::string& path) {
  const Descriptor file(open(path.c_str(), kOpenFlags));
  if (!file.valid()) throw Error("cannot open the file: " + reason());
  return map(file, static_cast<size_t>(status_of(file).st_size));
}

MappedFile map_file_beneath(const std::string& directory, const std::string& location) {
  check_location(location);
  const Descriptor base(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!base.valid()) throw Error("cannot open the model's directory: " + reason());
  const Descriptor file = open_beneath(base, location);
  const std::string what = "external data file '" + location + "': ";
  if (!file.valid()) {
    if (errno == ELOOP || errno == EXDEV)
      throw Error(what + "symbolic links and paths that leave the model's directory are refused");
    throw Error(what + "cannot open: " + reason());
  }
  try {
    const struct stat status = status_of(file);
    // A hard link may be another name of a file outside the model's directory.
    if (status.st_nlink != 1) throw Error("hard links are refused; copy the file instead");
    return map(file, static_cast<size_t>(status.st_size));
  } catch (const Error& e) {
    throw Error(what + e.what());
  }
}

}  // namespace tintype
