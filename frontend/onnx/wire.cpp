// Varints, tags and length prefixes.
#include "frontend/onnx/wire.h"

#include <cstring>

namespace tintype::wire {

namespace {

constexpr int kMaxVarintBytes = 10;

/// Nothing read when the result is 0: truncated or longer than ten bytes.
size_t read_varint(Bytes bytes, uint64_t& value) {
  value = 0;
  for (size_t i = 0; i < bytes.size() && i < kMaxVarintBytes; ++i) {
    value |= static_cast<uint64_t>(bytes[i] & 0x7fu) << (7 * i);
    if ((bytes[i] & 0x80u) == 0) return i + 1;
  }
  return 0;
}

}  // namespace

void Reader::fail(const char* what) const {
  throw Malformed(std::string(what) + " at byte " + std::to_string(at_));
}

uint64_t Reader::varint() {
  uint64_t value = 0;
  const size_t read = read_varint(message_.subspan(at_), value);
  if (read == 0) fail("truncated or overlong integer");
  at_ += read;
  return value;
}

Bytes Reader::take(uint64_t count) {
  if (count > message_.size() - at_) fail("field runs past the end");
  const Bytes taken = message_.subspan(at_, count);
  at_ += count;
  return taken;
}

bool Reader::next(Field& field) {
  if (at_ == message_.size()) return false;
  const size_t start = at_;
  const uint64_t tag = varint();
  if (tag >> 3 == 0 || tag >> 3 > 0x1fffffffu) fail("invalid field number");
  field.number = static_cast<uint32_t>(tag >> 3);
  field.bytes = {};
  field.value = 0;
  switch (tag & 7u) {
    case 0: field.type = Type::varint, field.value = varint(); break;
    case 1:
      field.type = Type::fixed64;
      std::memcpy(&field.value, take(8).data(), 8);
      break;
    case 2: field.type = Type::bytes, field.bytes = take(varint()); break;
    case 5:
      field.type = Type::fixed32;
      std::memcpy(&field.value, take(4).data(), 4);
      break;
    default: fail("unknown wire type");
  }
  field.whole = message_.subspan(start, at_ - start);
  return true;
}

uint64_t take_varint(Bytes& rest) {
  uint64_t value = 0;
  const size_t read = read_varint(rest, value);
  if (read == 0) throw Malformed("truncated or overlong integer in a packed list");
  rest = rest.subspan(read);
  return value;
}

void append(std::string& out, Bytes bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80u));
  out.push_back(static_cast<char>(value));
}

void append_varint_field(std::string& out, uint32_t number, uint64_t value) {
  append_varint(out, uint64_t{number} << 3);
  append_varint(out, value);
}

void append_bytes_field(std::string& out, uint32_t number, std::string_view payload) {
  append_varint(out, (uint64_t{number} << 3) | 2u);
  append_varint(out, payload.size());
  out.append(payload);
}

}  // namespace tintype::wire
