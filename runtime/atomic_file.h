// Files that appear completely or not at all.
#pragma once

#include "runtime/status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace tintype {

/// Writes to a temporary file beside the target. `commit` syncs it, renames it over the target and
/// syncs the folder; without it the destructor removes the temporary file and the target stays as
/// it was. A crash at any point leaves the old or the new content, and at worst a temporary file,
/// which a later create for the same target removes.
///
/// A symbolic link is followed: the file that it names is replaced. Devices and pipes have no
/// content to keep, so what is written goes straight to them (/dev/null, /dev/stdout).
class AtomicFile {
 public:
  /// `mode` is that of open(2), before the umask. Fails at once where the target is a folder.
  static Result<AtomicFile> create(const std::string& path, unsigned mode = 0666);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;

  Status write(std::span<const std::byte> bytes);
  /// Overwrites bytes written before; for headers that hold a checksum of what follows. A pipe
  /// cannot do that.
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  Status commit();

 private:
  explicit AtomicFile(std::string path) : path_(std::move(path)), target_(path_) {}
  Status failure(const char* what) const;
  Status open_beside(unsigned mode);
  Status open_directly();

  std::string path_;       ///< as the caller has it, for messages
  std::string target_;     ///< what is replaced
  std::string temporary_;  ///< "" when written directly, or when committed
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

}  // namespace tintype
