// Reading, checking and atomically writing cache entries.
#include "codegen/kernel_cache.h"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

namespace tintype {

namespace {

/// Start of an entry; the key and the object follow.
struct Header {
  char magic[8];
  uint64_t key_bytes;
  uint64_t object_bytes;
  uint64_t checksum;  ///< of key and object
};
constexpr char kMagic[8] = {'T', 'T', 'K', 'E', 'R', 'N', '0', '1'};
constexpr uint64_t kMaxEntry = uint64_t{256} << 20;

uint64_t checksum_of(std::string_view key, const char* object, size_t bytes) {
  return XXH3_64bits_withSeed(object, bytes, XXH3_64bits(key.data(), key.size()));
}

/// Why a folder must not be trusted with code, or "".
std::string untrusted(const std::string& directory) {
  struct stat s{};
  if (lstat(directory.c_str(), &s) != 0)
    return "cannot be read: " + std::string(std::strerror(errno));
  if (!S_ISDIR(s.st_mode)) return "is not a folder";
  if (s.st_uid != geteuid()) return "belongs to another user";
  if ((s.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return "is writable by other users; run chmod 700 on it";
  return "";
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool ok() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  bool read_all(void* data, size_t bytes) const {
    auto* p = static_cast<char*>(data);
    while (bytes > 0) {
      const ssize_t n = read(fd_, p, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      p += n;
      bytes -= static_cast<size_t>(n);
    }
    return true;
  }
  bool write_all(const void* data, size_t bytes) const {
    const auto* p = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = write(fd_, p, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      p += n;
      bytes -= static_cast<size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
};

}  // namespace

std::string KernelCache::default_directory() {
  if (const char* own = std::getenv("TINTYPE_CACHE_DIR")) return own;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0')
    return std::string(xdg) + "/tintype";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::string(home) + "/.cache/tintype";
  return "";
}

KernelCache::KernelCache(std::string directory) : directory_(std::move(directory)) {
  if (directory_.empty()) return;
  std::error_code ignored;
  const std::filesystem::path path(directory_);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), ignored);
  mkdir(directory_.c_str(), 0700);
  const std::string reason = untrusted(directory_);
  if (reason.empty()) return;
  problem_ = "kernel cache '" + directory_ + "' is not used: it " + reason;
  directory_.clear();
}

std::string KernelCache::path_of(std::string_view key) const {
  const XXH128_hash_t h = XXH3_128bits(key.data(), key.size());
  char name[48];
  std::snprintf(name, sizeof name, "/%016llx%016llx.ttk", static_cast<unsigned long long>(h.high64),
                static_cast<unsigned long long>(h.low64));
  return directory_ + name;
}

std::optional<std::vector<char>> KernelCache::load(std::string_view key) const {
  if (directory_.empty()) return std::nullopt;
  const File file(open(path_of(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat s{};
  Header h{};
  if (!file.ok() || fstat(file.fd(), &s) != 0 || !S_ISREG(s.st_mode) || s.st_uid != geteuid())
    return std::nullopt;
  if (!file.read_all(&h, sizeof h) || std::memcmp(h.magic, kMagic, sizeof kMagic) != 0)
    return std::nullopt;
  if (h.key_bytes != key.size() || h.object_bytes > kMaxEntry ||
      static_cast<uint64_t>(s.st_size) != sizeof h + h.key_bytes + h.object_bytes)
    return std::nullopt;
  std::string stored(h.key_bytes, '\0');
  std::vector<char> object(h.object_bytes);
  if (!file.read_all(stored.data(), stored.size()) || stored != key) return std::nullopt;
  if (!file.read_all(object.data(), object.size())) return std::nullopt;
  if (checksum_of(key, object.data(), object.size()) != h.checksum) return std::nullopt;
  return object;
}

bool KernelCache::store(std::string_view key, const std::vector<char>& object) {
  if (directory_.empty()) return false;
  std::string temporary = directory_ + "/write-XXXXXX";
  const File file(mkostemp(temporary.data(), O_CLOEXEC));
  Header h{};
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.key_bytes = key.size();
  h.object_bytes = object.size();
  h.checksum = checksum_of(key, object.data(), object.size());
  const bool written = file.ok() && file.write_all(&h, sizeof h) &&
                       file.write_all(key.data(), key.size()) &&
                       file.write_all(object.data(), object.size()) && fsync(file.fd()) == 0 &&
                       rename(temporary.c_str(), path_of(key).c_str()) == 0;
  if (written) return true;
  problem_ = "kernel cache '" + directory_ + "' cannot be written: " + std::strerror(errno) +
             "; compiled kernels are not kept";
  if (file.ok()) unlink(temporary.c_str());
  return false;
}

}  // namespace tintype
