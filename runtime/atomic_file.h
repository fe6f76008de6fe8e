// Files that appear completely or not at all.
#pragma once

#include "runtime/status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tintype {

/// Writes to a temporary file beside the target. `commit` syncs it, renames it over the target and
/// syncs the folder; without it the destructor removes the temporary file and the target stays as
/// it was. A crash at any point leaves the old or the new content, and at worst a temporary file,
/// which a later create for the same target removes.
class AtomicFile {
 public:
  /// `mode` is that of open(2), before the umask.
  static Result<AtomicFile> create(const std::string& path, unsigned mode = 0666);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;

  Status write(std::span<const std::byte> bytes);
  /// Overwrites bytes written before; for headers that hold a checksum of what follows.
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  Status commit();

 private:
  AtomicFile(std::string path, std::string temporary);
  Status failure(const char* what) const;

  std::string path_, temporary_;
  int descriptor_ = -1;
};

}  // namespace tintype
