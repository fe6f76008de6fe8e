// Read-only mapping of a whole file.
#pragma once

#include "runtime/status.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace tintype {

/// Maps regular files only; what the mapping holds stays readable while the object lives, even when
/// the file is renamed or removed.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tintype
