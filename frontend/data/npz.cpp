// The part of ZIP that NumPy writes: members stored or deflated, found through the central
// directory (APPNOTE.TXT of PKWARE, sections 4.3.12 and 4.3.16).
#include "frontend/data/bytes.h"
#include "frontend/data/data_error.h"
#include "frontend/data/npy.h"
#include "frontend/data/npy_bytes.h"

#include <cstring>

namespace tintype {

namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22;

/// Little-endian fields of an archive.
class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  template <typename T>
  T at(size_t offset) const {
    T value;
    std::memcpy(&value, part(offset, sizeof value).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> part(size_t offset, size_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      throw DataError(path_, "the .npz archive is damaged or cut short");
    return bytes_.subspan(offset, size);
  }
  /// The record at the end, behind which only a comment may follow.
  size_t end_record() const {
    for (size_t back = kEndSize; back <= bytes_.size() && back < kEndSize + 0xffff; ++back)
      if (at<uint32_t>(bytes_.size() - back) == kEnd) return bytes_.size() - back;
    throw DataError(path_, "the .npz archive has no end record: it is cut short");
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
};

struct Member {
  std::string name;
  uint16_t flags, method;
  uint32_t crc, packed_size, size, local_offset;
};

Bytes content(const Archive& archive, const Bytes& file, const Member& m, const std::string& path) {
  if ((m.flags & 1) != 0) throw DataError(path, "is encrypted");
  if (archive.at<uint32_t>(m.local_offset) != kLocal)
    throw DataError(path, "the .npz archive is damaged: no member where the directory says");
  const size_t start = m.local_offset + kLocalSize + archive.at<uint16_t>(m.local_offset + 26) +
                       archive.at<uint16_t>(m.local_offset + 28);
  const std::span<const std::byte> packed = archive.part(start, m.packed_size);
  Bytes bytes;
  if (m.method == 8) bytes = inflate_exactly(packed, m.size, path);
  else if (m.method == 0 && m.size == m.packed_size) bytes = {packed, file.owner};
  else throw DataError(path, "packed by method " + std::to_string(m.method) + "; expected 0 or 8");
  if (crc32_of(bytes.data) != m.crc)
    throw DataError(path, "the checksum does not match: the file is damaged");
  return bytes;
}

}  // namespace

bool is_zip(std::span<const std::byte> bytes) {
  uint32_t magic = 0;
  if (bytes.size() < sizeof magic) return false;
  std::memcpy(&magic, bytes.data(), sizeof magic);
  return magic == kLocal || magic == kEnd;
}

std::map<std::string, Tensor> parse_npz(const Bytes& file, const std::string& path) {
  const Archive archive(file.data, path);
  const size_t end = archive.end_record();
  const auto count = archive.at<uint16_t>(end + 10);
  size_t at = archive.at<uint32_t>(end + 16);
  if (count == 0xffff || at == 0xffffffff)
    throw DataError(path, "archives beyond 4 GiB are not supported: save the arrays as .npy files");
  std::map<std::string, Tensor> arrays;
  uint64_t unpacked = 0;
  for (int i = 0; i < count; ++i) {
    if (archive.at<uint32_t>(at) != kCentral)
      throw DataError(path, "the .npz archive's directory is damaged");
    const auto name_size = archive.at<uint16_t>(at + 28);
    const auto name = archive.part(at + kCentralSize, name_size);
    const Member m = {{reinterpret_cast<const char*>(name.data()), name.size()},
                      archive.at<uint16_t>(at + 8),
                      archive.at<uint16_t>(at + 10),
                      archive.at<uint32_t>(at + 16),
                      archive.at<uint32_t>(at + 20),
                      archive.at<uint32_t>(at + 24),
                      archive.at<uint32_t>(at + 42)};
    at += kCentralSize + name_size + archive.at<uint16_t>(at + 30) + archive.at<uint16_t>(at + 32);
    if (!m.name.ends_with(".npy")) continue;
    const std::string member_path = path + ":" + m.name;
    // Deflate packs 1032 to 1 at best: together, more can only come of members in one place.
    unpacked += m.size;
    if (unpacked / 1032 > file.data.size())
      throw DataError(member_path, "lies where other members of the archive do: it is damaged");
    Tensor array = parse_npy(content(archive, file, m, member_path), member_path);
    if (!arrays.emplace(m.name.substr(0, m.name.size() - 4), std::move(array)).second)
      throw DataError(member_path, "is in the archive twice");
  }
  return arrays;
}

Result<std::map<std::string, Tensor>> load_npz(const std::string& path) {
  return without_throwing(
      [&]() -> Result<std::map<std::string, Tensor>> { return parse_npz(read_bytes(path), path); });
}

}  // namespace tintype
