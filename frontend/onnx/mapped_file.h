// Maps files into memory: the model the user names, and the data files a model names.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace tintype {

/// Read-only bytes, valid as long as `owner` lives. A file that another process shortens while it
/// is mapped ends the program with SIGBUS, as with every memory-mapped file.
struct MappedFile {
  std::span<const uint8_t> bytes;
  std::shared_ptr<const void> owner;
};

/// An owner for a part of `owner`'s bytes. When the last user of the part is done, its pages leave
/// memory: weights that have been copied into another layout are not resident twice. For bytes that
/// are no mapped file, and for small parts, this is `owner` itself.
std::shared_ptr<const void> lend(std::span<const uint8_t> part,
                                 const std::shared_ptr<const void>& owner);

/// Maps a regular file chosen by the user. Throws Error without the path, which callers prefix.
MappedFile map_file(const std::string& path);

/// Maps a file that a model names: a plain relative path inside `directory`. The opened object is
/// what counts: symbolic links anywhere on the way, hard links, devices, pipes and paths that leave
/// the directory are refused. Throws Error.
MappedFile map_file_beneath(const std::string& directory, const std::string& location);

}  // namespace tintype
