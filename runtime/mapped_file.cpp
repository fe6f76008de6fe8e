// open, fstat, mmap.
#include "runtime/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tintype {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  const auto failure = [&](const char* why) {
    return Status(StatusCode::io_error, "cannot read '" + path + "': " + why);
  };
  const std::shared_ptr<MappedFile> file(
      new MappedFile);  // made first: nothing is open if it fails
  // Opening a pipe or a device must not block or have effects: hence O_NONBLOCK, and the check of
  // what was opened rather than of the name.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return failure(std::strerror(errno));
  struct stat info{};
  int error = fstat(descriptor, &info) == 0 ? 0 : errno;
  const bool regular = error == 0 && S_ISREG(info.st_mode);
  if (regular && info.st_size != 0) {
    const auto size = static_cast<size_t>(info.st_size);
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
      error = errno;
    } else {
      file->data_ = static_cast<const std::byte*>(data);
      file->size_ = size;
    }
  }
  close(descriptor);
  if (error != 0) return failure(std::strerror(error));
  if (!regular) return failure("not a regular file");
  return std::shared_ptr<const MappedFile>(file);
}

MappedFile::~MappedFile() {
  if (size_ != 0) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace tintype
