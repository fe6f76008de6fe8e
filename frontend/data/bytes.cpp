// zlib on mapped files.
#include "frontend/data/bytes.h"

#include "frontend/data/data_error.h"
#include "runtime/mapped_file.h"

#include <algorithm>
#include <limits>
#include <vector>
#include <zlib.h>

namespace tintype {

namespace {

constexpr size_t kMostAtOnce = std::numeric_limits<uInt>::max() / 2;  // zlib counts in 32 bits

/// One inflate stream over `packed`. `window_bits` as in zlib: -15 raw deflate, 31 gzip.
class Inflater {
 public:
  Inflater(std::span<const std::byte> packed, int window_bits) : packed_(packed) {
    if (inflateInit2(&stream_, window_bits) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Fills `to` as far as the stream goes and says how far. `ended` tells whether it is complete.
  size_t read(std::span<std::byte> to) {
    size_t done = 0;
    while (done < to.size() && !ended_ && !damaged_) {
      const size_t in = std::min(packed_.size(), kMostAtOnce);
      const size_t out = std::min(to.size() - done, kMostAtOnce);
      // zlib does not write to its input; its interface predates const.
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed_.data()));
      stream_.avail_in = static_cast<uInt>(in);
      stream_.next_out = reinterpret_cast<Bytef*>(to.data() + done);
      stream_.avail_out = static_cast<uInt>(out);
      const int code = inflate(&stream_, Z_NO_FLUSH);
      packed_ = packed_.subspan(in - stream_.avail_in);
      done += out - stream_.avail_out;
      ended_ = code == Z_STREAM_END;
      damaged_ = code != Z_OK && code != Z_STREAM_END;
    }
    return done;
  }
  /// Reads what follows the data (checksum and length), given that all of the data has been read.
  bool ends_here() {
    std::byte beyond{};
    return read({&beyond, 1}) == 0 && ended_;
  }
  bool ended() const { return ended_; }
  bool damaged() const { return damaged_; }
  std::span<const std::byte> rest() const { return packed_; }

 private:
  z_stream stream_{};
  std::span<const std::byte> packed_;
  bool ended_ = false, damaged_ = false;
};

bool is_gzip(std::span<const std::byte> bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

/// A small file that fills the memory is a trap rather than data.
void check_growth(size_t unpacked, size_t packed, const std::string& path) {
  constexpr size_t kAlwaysFine = size_t{64} << 20, kMostGrowth = 200;
  if (unpacked > kAlwaysFine && unpacked / kMostGrowth > packed)
    throw DataError(path, "unpacks to more than 200 times its size; if that is right, unpack it "
                          "with gunzip first");
}

Bytes gunzip(std::span<const std::byte> packed, const std::string& path) {
  const size_t packed_size = packed.size();
  const auto out = std::make_shared<std::vector<std::byte>>();
  size_t size = 0;
  // A gzip file is one or more streams, one behind the other.
  while (!packed.empty()) {
    if (!is_gzip(packed)) throw DataError(path, "something that is not gzip follows the gzip data");
    Inflater inflater(packed, 31);
    while (!inflater.ended()) {
      if (size == out->size()) out->resize(std::max<size_t>(size * 2, 64 << 10));
      size += inflater.read(std::span(*out).subspan(size));
      check_growth(size, packed_size, path);
      if (inflater.damaged())
        throw DataError(path, "the gzip data is damaged or ends early, after " +
                                  std::to_string(size) + " unpacked bytes");
    }
    packed = inflater.rest();
  }
  return {std::span(*out).first(size), out};
}

}  // namespace

Bytes read_bytes(const std::string& path) {
  const auto file = value_or_throw(MappedFile::open(path));
  return is_gzip(file->bytes()) ? gunzip(file->bytes(), path) : Bytes{file->bytes(), file};
}

Bytes inflate_exactly(std::span<const std::byte> packed, size_t size, const std::string& path) {
  // Deflate does not pack better than 1032 to 1: a larger size is a lie, and nothing to allocate.
  if (size / 1032 > packed.size())
    throw DataError(path, "claims " + std::to_string(size) + " bytes packed into " +
                              std::to_string(packed.size()));
  const auto out = std::make_shared<std::vector<std::byte>>(size);
  Inflater inflater(packed, -15);
  const size_t got = inflater.read(*out);
  if (got != size || !inflater.ends_here())
    throw DataError(path, "the packed data is damaged: expected " + std::to_string(size) +
                              " bytes, unpacked " + std::to_string(got));
  return {*out, out};
}

uint32_t crc32_of(std::span<const std::byte> bytes) {
  uLong crc = crc32(0, nullptr, 0);
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kMostAtOnce);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(n));
    bytes = bytes.subspan(n);
  }
  return static_cast<uint32_t>(crc);
}

}  // namespace tintype
