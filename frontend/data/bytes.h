// Contents of files, unpacked where they are compressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace tintype {

/// Read-only bytes, valid as long as `owner` lives.
struct Bytes {
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner;
};

/// Maps a file; what gzip packed is unpacked into memory. Throws DataError.
Bytes read_bytes(const std::string& path);

/// Unpacks a raw deflate stream that gives exactly `size` bytes. Throws DataError naming `path`.
Bytes inflate_exactly(std::span<const std::byte> packed, size_t size, const std::string& path);

uint32_t crc32_of(std::span<const std::byte> bytes);

}  // namespace tintype
