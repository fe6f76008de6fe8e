// Temporary file, fsync, rename, fsync of the folder.
#include "runtime/atomic_file.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace tintype {

namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_in_folder(const std::string& path) {
  return path.substr(path.find_last_of('/') + 1);  // npos + 1 is 0
}

std::string temporary_prefix(const std::string& name) { return "." + name + ".tmp-"; }

/// Removes temporary files of the same target that were left by a crash: an hour old, and written
/// by a process that no longer runs. Either alone could be a live writer, in another container or a
/// slow one.
void remove_stale(const std::string& path) {
  const std::string folder = folder_of(path), prefix = temporary_prefix(name_in_folder(path));
  const auto close_folder = [](DIR* d) { closedir(d); };
  const std::unique_ptr<DIR, decltype(close_folder)> entries(opendir(folder.c_str()), close_folder);
  if (entries == nullptr) return;
  while (const dirent* entry = readdir(entries.get())) {
    if (std::strncmp(entry->d_name, prefix.c_str(), prefix.size()) != 0) continue;
    const std::string file = folder + "/" + entry->d_name;
    const int writer = std::atoi(entry->d_name + prefix.size());
    struct stat info{};
    const bool old = stat(file.c_str(), &info) == 0 && info.st_mtime < std::time(nullptr) - 3600;
    if (old && writer > 0 && kill(writer, 0) != 0 && errno == ESRCH) unlink(file.c_str());
  }
}

/// At an offset, or, where `offset` is negative, behind what was written last.
bool write_fully(int descriptor, std::span<const std::byte> bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = offset < 0 ? write(descriptor, bytes.data(), bytes.size())
                                 : pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
    if (offset >= 0) offset += n;
  }
  return true;
}

/// Some file systems cannot sync folders, and devices nothing; what is written there is as safe as
/// it gets.
bool sync(int descriptor) {
  int result = 0;
  do result = fsync(descriptor);
  while (result != 0 && errno == EINTR);
  return result == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
}

/// The file that a chain of symbolic links ends in. A link to nothing is replaced itself.
std::string behind_links(const std::string& path) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode)) return path;
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         std::free);
  return real == nullptr ? path : std::string(real.get());
}

}  // namespace

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)), target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)), descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {
  other.temporary_.clear();
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Result<AtomicFile> AtomicFile::create(const std::string& path, unsigned mode) {
  AtomicFile file(path);
  struct stat info{};
  const bool exists = stat(path.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) errno = EISDIR;
  if (exists && S_ISDIR(info.st_mode)) return file.failure("write");
  const Status opened =
      exists && !S_ISREG(info.st_mode) ? file.open_directly() : file.open_beside(mode);
  if (!opened.ok()) return opened;
  return file;
}

Status AtomicFile::open_directly() {
  descriptor_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
  return descriptor_ >= 0 ? Status() : failure("open");
}

Status AtomicFile::open_beside(unsigned mode) {
  static std::atomic<unsigned> counter{0};
  target_ = behind_links(path_);
  remove_stale(target_);
  temporary_ = folder_of(target_) + "/" + temporary_prefix(name_in_folder(target_)) +
               std::to_string(getpid()) + "-" + std::to_string(++counter);
  descriptor_ =
      open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (descriptor_ >= 0) return {};
  Status status = failure("create");
  temporary_.clear();  // it is not this object's to remove
  return status;
}

Status AtomicFile::failure(const char* what) const {
  return {StatusCode::io_error,
          "cannot " + std::string(what) + " '" + path_ + "': " + std::strerror(errno)};
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  const off_t end = temporary_.empty() ? -1 : static_cast<off_t>(size_);
  if (!write_fully(descriptor_, bytes, end)) return failure("write");
  size_ += bytes.size();
  return {};
}

Status AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  if (!write_fully(descriptor_, bytes, static_cast<off_t>(offset))) return failure("write");
  return {};
}

Status AtomicFile::commit() {
  if (!sync(descriptor_)) return failure("sync");
  if (close(std::exchange(descriptor_, -1)) != 0) return failure("close");
  if (temporary_.empty()) return {};
  if (rename(temporary_.c_str(), target_.c_str()) != 0) return failure("rename to");
  temporary_.clear();
  const int folder = open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return failure("open the folder of");
  const bool synced = sync(folder);
  const int error = errno;
  close(folder);
  errno = error;
  return synced ? Status() : failure("sync the folder of");
}

}  // namespace tintype
