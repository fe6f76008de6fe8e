// Checksums of files: XXH3 with 128 bits, at memory speed. Guards against damage, not against
// malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tintype {

struct Checksum {
  uint64_t low = 0, high = 0;
  friend bool operator==(const Checksum&, const Checksum&) = default;
};

/// Checksum of bytes that arrive in pieces.
class ChecksumStream {
 public:
  ChecksumStream();
  ~ChecksumStream();
  ChecksumStream(const ChecksumStream&) = delete;
  ChecksumStream& operator=(const ChecksumStream&) = delete;
  void add(std::span<const std::byte> bytes);
  Checksum result() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Checksum checksum_of(std::span<const std::byte> bytes);

}  // namespace tintype
